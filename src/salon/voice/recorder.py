"""Recording of one call: WAV, stereo; left the caller, right what the caller hears (G215).

Sound is aligned by arrival (G216). The media plane only appends to lists; one thread per process
writes, and its queue is bounded: what does not fit is counted, and silence in the file.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from salon.base.files import private_folder
from salon.base.ids import new_id
from salon.media.errors import WavError
from salon.media.frame import FRAME_SAMPLES, SAMPLE_RATE, SILENCE, Samples
from salon.media.resample import Resampler
from salon.media.wav import WavWriter

_log = logging.getLogger("salon.voice.recorder")

PTIME_MS = 200
"""Data and header are written that often unless asked otherwise (G66)."""
PTIMES_MS = (20, 10_000)
SLACK_SAMPLES = SAMPLE_RATE // 10
AHEAD_SAMPLES = SAMPLE_RATE
"""How far the caller's sound may run ahead of the ticks: clients send pieces of any length."""
HEADER_BYTES = 44
CLOSE_TIMEOUT_S = 5.0
NUMBERED = 20
"""Files of one name that get numbers; those after them get something random."""
QUEUE_BOUND = 4096
QUEUE_BYTES = 64 * 1024 * 1024


class RecordingWriter:
    """The process's writing thread for recordings and journals. Start it once, `close` it at the
    end. `bound` pieces of work wait at most, and `bound_bytes` of what they hold."""

    def __init__(self, bound: int = QUEUE_BOUND, bound_bytes: int = QUEUE_BYTES) -> None:
        self.dropped = 0
        """Pieces of work there was no room for: the disk is too slow."""
        self.failed = 0
        """Pieces of work the disk refused."""
        self._bound_bytes = bound_bytes
        self._bytes = 0
        self._held: Counter[Path] = Counter()
        self._lock = threading.Lock()
        self._queue: queue.Queue[tuple[Callable[[], None], int] | None] = queue.Queue(bound)
        self._thread = threading.Thread(target=self._run, name="recordings", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], None], size: int = 0) -> bool:
        """Queue work that holds `size` bytes; False (and counted) if the disk is too slow."""
        with self._lock:
            fits = not self._bytes or self._bytes + size <= self._bound_bytes
            if fits:
                self._bytes += size
        if fits:
            try:
                self._queue.put_nowait((work, size))
            except queue.Full:
                self._release(size)
            else:
                return True
        self.dropped += 1
        return False

    def hold(self, path: Path) -> None:
        """A live call writes this file: nobody is to tidy it away. Once per `let_go`."""
        with self._lock:
            self._held[path] += 1

    def let_go(self, path: Path) -> None:
        """The call that wrote this file is done with it."""
        with self._lock:
            self._held[path] -= 1
            if self._held[path] <= 0:
                del self._held[path]

    def held(self) -> frozenset[Path]:
        """The files of live calls."""
        with self._lock:
            return frozenset(self._held)

    async def written(self, timeout: float = CLOSE_TIMEOUT_S) -> bool:
        """Wait until what is queued now is written; False if that takes longer."""
        return await asyncio.to_thread(self._written, timeout)

    def _written(self, timeout: float) -> bool:
        done, began = threading.Event(), time.monotonic()
        try:
            self._queue.put((done.set, 0), timeout=timeout)
        except queue.Full:
            return False
        return done.wait(max(0.0, timeout - (time.monotonic() - began)))

    def _release(self, size: int) -> None:
        with self._lock:
            self._bytes -= size

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            work, size = item
            try:
                work()
            except Exception:  # noqa: BLE001 - the thread's outer edge; the next work goes on
                self.failed += 1
                _log.exception("a recording could not be written")
            finally:
                self._release(size)

    def close(self) -> None:
        """Write what is queued and end the thread; bounded by `CLOSE_TIMEOUT_S`."""
        try:
            self._queue.put(None, timeout=CLOSE_TIMEOUT_S)
        except queue.Full:
            return
        self._thread.join(CLOSE_TIMEOUT_S)


class StereoRecorder:
    """The recording of one call. `inbound` and `outbound` run in the media plane.

    `rate` is that of the file, `ptime_ms` how often it is written to; what is outside 20 ms to 10 s
    is brought within. A disk that refuses ends the recording: what was written stays readable, the
    rest is counted in `lost`, and `on_trouble` is told once, on the event loop, why. Raises
    `OSError` if the file can't be made.
    """

    def __init__(
        self,
        path: Path,
        writer: RecordingWriter,
        *,
        rate: int = SAMPLE_RATE,
        ptime_ms: int = PTIME_MS,
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        private_folder(path.parent)
        self.path = path
        self.rate = rate
        self.on_trouble = on_trouble
        self.lost = 0
        """Samples of one side, 16 kHz, that did not get into the file."""
        self._writer = writer
        self._wav = WavWriter(path, rate, 2)
        self._flush_samples = min(max(ptime_ms, PTIMES_MS[0]), PTIMES_MS[1]) * SAMPLE_RATE // 1000
        self._resamplers = (
            None
            if rate == SAMPLE_RATE
            else (Resampler(SAMPLE_RATE, rate), Resampler(SAMPLE_RATE, rate))
        )
        self._left: list[Samples] = []
        self._right: list[Samples] = []
        self._left_size = 0
        self._right_size = 0
        self._missed = 0
        """Samples the queue had no room for; silence in the file when there is room again."""
        self._broken = False
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        writer.hold(path)

    @property
    def bytes(self) -> int:
        """Size of the file so far, header included."""
        return HEADER_BYTES + self._wav.frames * 4

    @property
    def duration_ms(self) -> float:
        """Length of what was written so far."""
        return self._wav.duration_ms

    def inbound(self, samples: Samples) -> None:
        """What the caller said."""
        if not self._closed:
            self._left.append(samples)
            self._left_size += len(samples)
            ahead = self._left_size - self._right_size
            if ahead > AHEAD_SAMPLES:  # it came all at once, so it was said before now
                self._right.append(np.zeros(ahead, dtype=np.int16))
                self._right_size += ahead

    def outbound(self, frame: Samples | None) -> None:
        """What the caller hears at this tick; None is silence. Called once per 20 ms."""
        if self._closed:
            return
        self._right.append(SILENCE if frame is None else frame)
        self._right_size += FRAME_SAMPLES
        if self._right_size >= self._flush_samples:
            self._flush()

    def _flush(self, *, all_of_it: bool = False) -> None:
        missing = self._right_size - self._left_size
        if missing > (0 if all_of_it else SLACK_SAMPLES):
            self._left.append(np.zeros(missing, dtype=np.int16))
            self._left_size += missing
        elif all_of_it and missing < 0:
            self._right.append(np.zeros(-missing, dtype=np.int16))
            self._right_size -= missing
        size = min(self._left_size, self._right_size)
        if not size:
            return
        left, right = np.concatenate(self._left), np.concatenate(self._right)
        stereo = np.empty((size, 2), dtype=np.int16)
        stereo[:, 0], stereo[:, 1] = left[:size], right[:size]
        self._left, self._right = [left[size:]], [right[size:]]
        self._left_size -= size
        self._right_size -= size
        self._queue(stereo)

    def _queue(self, stereo: Samples) -> None:
        if self._loop is None:
            self._loop = _running_loop()
        missed = self._missed
        if self._writer.submit(lambda: self._write(stereo, missed), stereo.nbytes):
            self._missed = 0
            return
        self._missed += len(stereo)
        self.lost += len(stereo)
        if not missed:
            self._tell("the disk is too slow, some sound is missing from the recording")

    def _write(self, stereo: Samples, missed: int) -> None:
        """In the writing thread."""
        if self._broken:
            self.lost += len(stereo)
            return
        try:
            if missed:
                self._wav.write(self._at_rate(np.zeros((missed, 2), dtype=np.int16)))
            self._wav.write(self._at_rate(stereo))
            self._wav.flush()
        except (OSError, WavError) as error:
            self._broken = True
            self.lost += len(stereo)
            self._writer.failed += 1
            _log.error("recording %s ends: %s", self.path.name, error)
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            if self._loop is not None:
                _call_soon(self._loop, lambda: self._tell(f"the recording ends: {why}"))

    def _at_rate(self, stereo: Samples) -> Samples:
        if self._resamplers is None:
            return stereo
        left, right = self._resamplers
        return np.stack(
            (
                left.process(np.ascontiguousarray(stereo[:, 0])),
                right.process(np.ascontiguousarray(stereo[:, 1])),
            ),
            axis=1,
        )

    def _tell(self, message: str) -> None:
        told, self.on_trouble = self.on_trouble, None
        if told is not None:
            told(message)

    def _finish(self) -> None:
        """In the writing thread."""
        try:
            self._wav.close()
        except OSError as error:
            _log.error("recording %s was not closed cleanly: %s", self.path.name, error)
        finally:
            self._writer.let_go(self.path)

    async def close(self) -> None:
        """Write the rest and close the file; idempotent, bounded in time."""
        if self._closed:
            return
        self._flush(all_of_it=True)
        self._closed = True
        try:
            await self._close_file()
        finally:
            self.on_trouble = None  # whoever is told keeps this recorder

    async def _close_file(self) -> None:
        done = threading.Event()

        def finish() -> None:
            self._finish()
            done.set()

        if self._writer.submit(finish):
            await asyncio.to_thread(done.wait, CLOSE_TIMEOUT_S)
            return
        # the disk does not keep up: the file is closed when the recorder is let go of
        self._writer.let_go(self.path)


def reserve(path: Path) -> Path:
    """Make an empty file for its owner only, under `path` or, where that is taken, the same name
    with ``-2``, ``-3``, … before its ending: what is there is never written over. `OSError`."""
    for number in range(1, NUMBERED + 1):
        name = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        try:
            _create(name)
        except FileExistsError:
            continue
        except FileNotFoundError:  # its folder was empty and has just been tidied away
            private_folder(name.parent)
            _create(name)
        return name
    name = path.with_name(f"{path.stem}-{new_id()}{path.suffix}")
    _create(name)
    return name


def _create(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _call_soon(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(work)
    except RuntimeError:
        """The loop is closed: nobody is there to be told."""
