"""What the sound is like between stages, as WAV files for whoever looks for a fault (V78-V80).

The frame path only puts a reference into a bounded queue; a thread writes. What does not fit into
the queue is left out of the file and counted.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from queue import SimpleQueue
from typing import Final
from zlib import crc32

from salon.base import ConfigurationError
from salon.media.errors import WavError
from salon.media.frame import AudioFrame
from salon.media.pcm import decode_pcm
from salon.media.resample import Resampler
from salon.media.wav import WavWriter

_log = logging.getLogger("salon.voice.pipeline")

_NUMBERS: Final = {
    "transport_raw": "00",
    "raw": "01",
    "post_aec": "02",
    "post_agc": "03",
    "post_denoiser": "04",
    "post_vad_speech": "05",
    "outbound_raw": "06",
    "outbound_final": "07",
    "aec_reference": "08",
}
ALL_STAGES: Final = tuple(_NUMBERS)
"""Where sound can be tapped; the first and the last by transports that cancel echo themselves."""
SPEECH: Final = "post_vad_speech"

_QUEUED: Final = 4096
"""Frames that may wait: 10 s of 8 taps at 50 frames per second."""
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")
_END_WAIT_S: Final = 1.0
_CLOSE_WAIT_S: Final = 5.0


@dataclass
class PipelineDebugTaps:
    """Which points to capture, and where to.

    `output_dir` is made when it is missing; a path with ``..`` raises `ValueError`. `stages` are
    names of `ALL_STAGES`, or ``"all"`` (alone or in the list); an unknown one raises `ValueError`.
    Without `session_scoped` all sessions write to files of the same names, the last one wins.
    `sample_rate` in Hz; None keeps each point's own.
    """

    output_dir: str = ""
    stages: list[str] | str = field(default_factory=lambda: ["all"])
    session_scoped: bool = True
    sample_rate: int | None = None

    def __post_init__(self) -> None:
        if ".." in PurePath(self.output_dir).parts:
            raise ValueError(f"output_dir {self.output_dir!r} has a '..' in it")
        unknown = set(self._named) - {"all", *ALL_STAGES}
        if unknown:
            raise ValueError(
                f"no debug tap is named {', '.join(sorted(unknown))}: there are"
                f" {', '.join(ALL_STAGES)}"
            )
        if self.sample_rate is not None and not 1_000 <= self.sample_rate <= 192_000:
            raise ValueError(f"sample_rate is {self.sample_rate}, not within 1000..192000")

    @property
    def _named(self) -> list[str]:
        return [self.stages] if isinstance(self.stages, str) else list(self.stages)

    @property
    def captured(self) -> frozenset[str]:
        """The names that `stages` stands for."""
        named = frozenset(self._named)
        return frozenset(ALL_STAGES) if "all" in named else named


def file_stem(session_id: str) -> str:
    """`session_id` as part of a file name; one that had to be changed keeps to itself by a sum."""
    safe = _UNSAFE.sub("_", session_id)[:120]
    return safe if safe == session_id else f"{safe}-{crc32(session_id.encode()):08x}"


class _TapFile:
    """One file; opened by its first frame, whose rate and channel count it has."""

    def __init__(self, path: Path, first: AudioFrame, rate: int | None) -> None:
        self._rate = rate or first.sample_rate
        self._channels = first.channels if first.sample_rate == self._rate else 1
        self._resampler: Resampler | None = None
        self._writer = WavWriter(path, self._rate, self._channels)

    def write(self, frame: AudioFrame) -> int:
        """The number of bytes that it became."""
        given = frame.sample_rate, frame.channels, frame.sample_width
        if given == (self._rate, self._channels, 2):
            samples = frame.samples
        else:
            samples = decode_pcm(
                frame.data, sample_width=frame.sample_width, channels=frame.channels
            )
            if frame.sample_rate != self._rate:
                samples = self._converted(frame.sample_rate).process(samples)
            if self._channels > 1:
                samples = samples.repeat(self._channels)
        self._writer.write(samples)
        return int(samples.size) * 2

    def _converted(self, rate: int) -> Resampler:
        if self._resampler is None or self._resampler.in_rate != rate:
            self._resampler = Resampler(rate, self._rate)
        return self._resampler

    def close(self) -> None:
        self._writer.close()


class DebugTaps:
    """The files of all sessions of one pipeline, and the thread that writes them.

    The thread begins with the first frame. `ConfigurationError` without an `output_dir`.
    """

    def __init__(self, config: PipelineDebugTaps, *, queued: int = _QUEUED) -> None:
        if not config.output_dir:
            raise ConfigurationError("debug_taps.output_dir is empty: name a folder")
        self._config = config
        self._stages = config.captured
        self._folder = Path(config.output_dir)
        self._limit = queued
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closed = False
        self._files: dict[tuple[str, str], _TapFile] = {}
        self._broken: set[tuple[str, str]] = set()
        self._segments: dict[str, int] = {}
        self._bytes: dict[str, int] = {}
        self.dropped = 0
        """Frames that found the queue full."""
        _log.warning(
            "debug taps are on: %s go to %s", ", ".join(sorted(self._stages)), self._folder
        )

    def captures(self, stage: str) -> bool:
        """Whether `stage` is asked for."""
        return stage in self._stages

    def write(self, session_id: str, stage: str, frame: AudioFrame) -> None:
        """Add to the session's file of `stage`, if that is asked for. Returns at once."""
        if stage in self._stages:
            suffix = f"{_NUMBERS[stage]}_{stage}"
            self._put(lambda: self._write(session_id, suffix, frame))

    def segment(self, session_id: str, frame: AudioFrame) -> None:
        """Write what a VAD took for speech to the session's next file of that kind."""
        if SPEECH not in self._stages:
            return
        count = self._segments.get(session_id, 0) + 1
        self._segments[session_id] = count
        suffix = f"{_NUMBERS[SPEECH]}_{SPEECH}_{count:03d}"

        def whole() -> None:
            self._write(session_id, suffix, frame)
            self._close_file((session_id, suffix))

        self._put(whole)

    def end(self, session_id: str) -> int:
        """Complete the session's files and wait for it, at most 1 s; the bytes of sound written."""
        self._segments.pop(session_id, None)
        if self._thread is None or self._closed:
            return 0
        done = threading.Event()

        def close() -> None:
            for key in [key for key in self._files if key[0] == session_id]:
                self._close_file(key)
            self._broken -= {key for key in self._broken if key[0] == session_id}
            done.set()

        self._queue.put(close)
        if not done.wait(_END_WAIT_S):
            _log.warning("the debug taps of session %s are still being written", session_id)
        return self._bytes.pop(session_id, 0)

    def close(self) -> None:
        """Complete all files, waiting at most 5 s. Idempotent."""
        with self._starting:
            self._closed = True
            thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join(_CLOSE_WAIT_S)

    def _put(self, job: Callable[[], None]) -> None:
        if self._thread is None:
            self._start()
        if self._closed or self._queue.qsize() >= self._limit:
            self.dropped += 1
            return
        self._queue.put(job)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(
                    target=self._serve, name="salon-debug-taps", daemon=True
                )
                self._thread.start()

    def _serve(self) -> None:
        while (job := self._queue.get()) is not None:
            job()
        for key in list(self._files):
            self._close_file(key)

    def _path(self, session_id: str, suffix: str) -> Path:
        scope = f"{file_stem(session_id)}_" if self._config.session_scoped else ""
        return self._folder / f"{scope}{suffix}.wav"

    def _write(self, session_id: str, suffix: str, frame: AudioFrame) -> None:
        key = session_id, suffix
        if key in self._broken:
            return
        try:
            file = self._files.get(key)
            if file is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                path = self._path(session_id, suffix)
                file = self._files[key] = _TapFile(path, frame, self._config.sample_rate)
            self._bytes[session_id] = self._bytes.get(session_id, 0) + file.write(frame)
        except (OSError, WavError, ValueError) as error:
            self._broken.add(key)
            _log.error("debug tap %s of session %s ends here: %s", suffix, session_id, error)

    def _close_file(self, key: tuple[str, str]) -> None:
        file = self._files.pop(key, None)
        if file is None:
            return
        try:
            file.close()
        except OSError as error:
            _log.error("debug tap %s of session %s is incomplete: %s", key[1], key[0], error)
