"""Recording of one call: WAV, 16 kHz, stereo; left the caller, right what the caller hears (G215).

Sound is aligned by arrival (G216). The media plane only appends to lists; one thread per process
writes, and its queue is bounded: what does not fit is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from salon.base.files import private_folder
from salon.media.frame import FRAME_SAMPLES, SAMPLE_RATE, SILENCE, Samples
from salon.media.wav import WavWriter

_log = logging.getLogger("salon.voice.recorder")

FLUSH_SAMPLES = SAMPLE_RATE // 5
"""Data and header are written every 200 ms (G66)."""
SLACK_SAMPLES = SAMPLE_RATE // 10
CLOSE_TIMEOUT_S = 5.0


class RecordingWriter:
    """The process's writing thread. Start it once, `close` it at the end."""

    def __init__(self, bound: int = 4096) -> None:
        self.dropped = 0
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(bound)
        self._thread = threading.Thread(target=self._run, name="recordings", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], None]) -> bool:
        """Queue work; False (and counted) if the disk is too slow."""
        try:
            self._queue.put_nowait(work)
        except queue.Full:
            self.dropped += 1
            return False
        return True

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            try:
                work()
            except OSError:
                _log.exception("a recording could not be written")

    def close(self) -> None:
        """Write what is queued and end the thread; bounded by `CLOSE_TIMEOUT_S`."""
        try:
            self._queue.put(None, timeout=CLOSE_TIMEOUT_S)
        except queue.Full:
            return
        self._thread.join(CLOSE_TIMEOUT_S)


class StereoRecorder:
    """The recording of one call. `inbound` and `outbound` run in the media plane."""

    def __init__(self, path: Path, writer: RecordingWriter) -> None:
        private_folder(path.parent)
        self.path = path
        self._writer = writer
        self._wav = WavWriter(path, SAMPLE_RATE, 2)
        self._left: list[Samples] = []
        self._right: list[Samples] = []
        self._left_size = 0
        self._right_size = 0
        self._closed = False

    def inbound(self, samples: Samples) -> None:
        """What the caller said."""
        if not self._closed:
            self._left.append(samples)
            self._left_size += len(samples)

    def outbound(self, frame: Samples | None) -> None:
        """What the caller hears at this tick; None is silence. Called once per 20 ms."""
        if self._closed:
            return
        self._right.append(SILENCE if frame is None else frame)
        self._right_size += FRAME_SAMPLES
        if self._right_size >= FLUSH_SAMPLES:
            self._flush()

    def _flush(self, *, all_of_it: bool = False) -> None:
        missing = self._right_size - self._left_size
        if missing > (0 if all_of_it else SLACK_SAMPLES):
            self._left.append(np.zeros(missing, dtype=np.int16))
            self._left_size += missing
        if self._left_size - self._right_size > SAMPLE_RATE or (all_of_it and missing < 0):
            pad = self._left_size - self._right_size
            self._right.append(np.zeros(pad, dtype=np.int16))
            self._right_size += pad
        size = min(self._left_size, self._right_size)
        if not size:
            return
        left, right = np.concatenate(self._left), np.concatenate(self._right)
        stereo = np.empty((size, 2), dtype=np.int16)
        stereo[:, 0], stereo[:, 1] = left[:size], right[:size]
        self._left, self._right = [left[size:]], [right[size:]]
        self._left_size -= size
        self._right_size -= size
        wav = self._wav

        def write() -> None:
            wav.write(stereo)
            wav.flush()

        self._writer.submit(write)

    async def close(self) -> None:
        """Write the rest and close the file; idempotent, bounded in time."""
        if self._closed:
            return
        self._flush(all_of_it=True)
        self._closed = True
        done = threading.Event()

        def finish() -> None:
            self._wav.close()
            done.set()

        if self._writer.submit(finish):
            await asyncio.to_thread(done.wait, CLOSE_TIMEOUT_S)
