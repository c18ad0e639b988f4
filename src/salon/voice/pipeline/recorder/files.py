"""Recorders that write files; the kinds of file are in `wav` and `ogg`."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from abc import abstractmethod
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final

from salon.base import SYSTEM_CLOCK, Clock, IdFactory, SalonError, new_id, safe_name
from salon.base.files import private_folder
from salon.media.frame import AudioFrame
from salon.voice.backends.session import VoiceSession
from salon.voice.pipeline.recorder.base import (
    AudioRecorder,
    RecordingChannelMode,
    RecordingConfig,
    RecordingConfigurationError,
    RecordingHandle,
    RecordingMode,
    RecordingResult,
    RecordingTrigger,
)
from salon.voice.pipeline.recorder.capture import Capture
from salon.voice.pipeline.recorder.retention import write_note
from salon.voice.pipeline.recorder.storage import RecordingStorage, RecordingStorages
from salon.voice.pipeline.recorder.tracks import SoundFile, Tracks, layouts
from salon.voice.pipeline.recorder.writer import (
    RecordingThread,
    finishing_thread,
    sound_thread,
)

_log = logging.getLogger("salon.voice.recorder")

STOP_TIMEOUT_S: Final = 10.0


class _Recording:
    """One recording from its start until its result."""

    def __init__(
        self,
        handle: RecordingHandle,
        config: RecordingConfig,
        storage: RecordingStorage,
        stem: Path,
        tracks: Tracks,
    ) -> None:
        self.handle = handle
        self.config = config
        self.storage = storage
        self.stem = stem
        self.tracks = tracks
        self.capture: Capture
        self.outcome: Future[RecordingResult] = Future()
        # From here on a caller that gives up can't cancel it.
        self.outcome.set_running_or_notify_cancel()

    def complete(self) -> RecordingResult:
        """Encrypt, note the end of its time, publish. On the finishing thread."""
        config, tracks, capture = self.config, self.tracks, self.capture
        error = capture.error
        paths: list[Path] = []
        urls: list[str] = []
        try:
            for path in filter(Path.exists, tracks.files):
                encryption = config.encryption
                paths.append(
                    path if encryption is None else Path(encryption.encrypt_file(str(path)))
                )
            self.note(paths)
            size = sum(path.stat().st_size for path in paths)
            urls = [self.storage.publish(path) for path in paths]
        except (OSError, SalonError) as failure:
            error = error or f"the recording could not be finished: {failure}"
            _log.error("recording %s: %s", self.handle.id, failure)
            paths = [p for p in {*paths, *tracks.files} if p.exists()]
            size = sum(path.stat().st_size for path in paths)
            urls = sorted(map(str, paths))
        metadata = dict(config.metadata)
        metadata["encryption"] = "storage" if config.encryption is None else config.encryption.name
        if capture.dropped:
            metadata["dropped_seconds"] = capture.dropped / capture.rate
        return RecordingResult(
            self.handle.id,
            urls,
            tracks.written / tracks.rate if tracks.rate else 0.0,
            config.format,
            config.channels,
            size,
            metadata,
            error,
        )

    def note(self, paths: list[Path]) -> None:
        """Leave the note about its retention beside it."""
        days, started = self.config.retention_days, self.handle.started_at
        if days is not None and started is not None:
            private_folder(self.stem.parent)
            write_note(self.stem, self.handle.id, paths, started, days)


class FileRecorder(AudioRecorder):
    """What the recorders of files have in common.

    `directory` is where files go (see `RecordingStorages`; or give those). A recording has the
    rate of its first frame unless `sample_rate` says otherwise. `pre_roll_ms` is what
    `SPEECH_ONLY` keeps of the time before speech is reported. `stop` and `close` wait up to
    `stop_timeout_s`; what takes longer is completed in the background.
    """

    formats: ClassVar[tuple[str, ...]]
    suffix: ClassVar[str]

    def __init__(
        self,
        directory: str | Path | None = None,
        *,
        storages: RecordingStorages | None = None,
        sample_rate: int | None = None,
        pre_roll_ms: int = 500,
        stop_timeout_s: float = STOP_TIMEOUT_S,
        clock: Clock = SYSTEM_CLOCK,
        new_id: IdFactory = new_id,
        thread: RecordingThread | None = None,
    ) -> None:
        if directory is not None and storages is not None:
            raise RecordingConfigurationError("give a recorder a directory or storages, not both")
        self.storages = RecordingStorages(directory) if storages is None else storages
        self._sample_rate = sample_rate
        self._pre_roll_s = pre_roll_ms / 1000
        self._stop_timeout_s = stop_timeout_s
        self._clock = clock
        self._new_id = new_id
        self._thread = sound_thread() if thread is None else thread
        self._recordings: dict[str, _Recording] = {}
        self._closed = False
        self._check_rate(sample_rate)

    @abstractmethod
    def _open_sound(self, path: Path, rate: int, channels: int) -> SoundFile:
        """Open one file. On the sound thread."""

    def _check_rate(self, rate: int | None) -> None:
        """Refuse a rate that the files can't have."""
        if rate is not None and not 1_000 <= rate <= 192_000:
            raise RecordingConfigurationError(f"sample_rate {rate} is not within 1000..192000")

    def _rate_for(self, first: int) -> int:
        """The rate of a recording whose first frame has the rate `first`."""
        return self._sample_rate or first

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def running(self) -> int:
        """Recordings that run or are being completed."""
        return len(self._recordings)

    def start(self, session: VoiceSession, config: RecordingConfig) -> RecordingHandle:
        config = self._checked(config)
        storage = self.storages.resolve(config.storage)
        now = self._clock.now()
        recording_id = self._new_id()
        stem = storage.directory / (
            f"{safe_name(session.id)}_{now:%Y%m%dT%H%M%S}_{safe_name(recording_id)[:8]}"
        )
        endings = layouts(config.channels, config.mode)
        files = {Path(f"{stem}{end}{self.suffix}"): layout for end, layout in endings.items()}
        path = str(next(iter(files)) if len(files) == 1 else stem)
        handle = RecordingHandle(recording_id, session.id, "recording", now, path)
        recording = _Recording(handle, config, storage, stem, Tracks(files, self._open_sound))
        recording.capture = Capture(
            config,
            recording.tracks,
            clock=self._clock,
            rate_for=self._rate_for,
            thread=self._thread,
            pre_roll_s=self._pre_roll_s,
            on_closed=lambda: finishing_thread().submit(lambda: self._complete(recording)),
        )
        self._recordings[handle.id] = recording
        self._thread.submit(lambda: self._note(recording))
        return handle

    def stop(self, handle: RecordingHandle) -> RecordingResult:
        recording = self._stopping(handle)
        if recording is None:
            return self._past(handle)
        try:
            return recording.outcome.result(self._stop_timeout_s)
        except TimeoutError:
            return self._unfinished(recording)

    async def finish(self, handle: RecordingHandle) -> RecordingResult:
        recording = self._stopping(handle)
        if recording is None:
            return self._past(handle)
        outcome = asyncio.shield(asyncio.wrap_future(recording.outcome))
        try:
            return await asyncio.wait_for(outcome, self._stop_timeout_s)
        except TimeoutError:
            return self._unfinished(recording)

    def tap_inbound(self, handle: RecordingHandle, frame: AudioFrame) -> None:
        recording = self._recordings.get(handle.id)
        if recording is not None and recording.config.mode.inbound:
            recording.capture.tap(frame, inbound=True)

    def tap_outbound(self, handle: RecordingHandle, frame: AudioFrame) -> None:
        recording = self._recordings.get(handle.id)
        if recording is not None and recording.config.mode.outbound:
            recording.capture.tap(frame, inbound=False)

    def speech(self, handle: RecordingHandle, active: bool) -> None:
        recording = self._recordings.get(handle.id)
        if recording is not None:
            recording.capture.speech(active)

    def hold(self, handle: RecordingHandle) -> None:
        recording = self._recordings.get(handle.id)
        if recording is not None:
            recording.capture.held = True

    def release(self, handle: RecordingHandle) -> None:
        recording = self._recordings.get(handle.id)
        if recording is not None:
            recording.capture.held = False

    def outbound_cut(self, handle: RecordingHandle) -> None:
        recording = self._recordings.get(handle.id)
        if recording is not None:
            recording.capture.cut()

    def flush(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Wait until what was handed to the sound thread is written; False if that takes longer.

        For programs that record faster than real time, such as tests: more than a minute of sound
        that waits for the disk is dropped.
        """
        written = threading.Event()
        self._thread.submit(written.set)
        return written.wait(timeout_s)

    def close(self) -> None:
        self._closed = True
        left = list(self._recordings.values())
        for recording in left:
            self._stopping(recording.handle)
        deadline = time.monotonic() + self._stop_timeout_s
        for recording in left:
            try:
                recording.outcome.result(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                _log.error("recording %s is not complete yet", recording.handle.id)

    def _checked(self, config: RecordingConfig) -> RecordingConfig:
        """The config with enums for their values, or `RecordingConfigurationError`."""
        if self._closed:
            raise RecordingConfigurationError("this recorder is closed")
        if config.format not in self.formats:
            raise RecordingConfigurationError(
                f"{self.name} writes {' and '.join(self.formats)}, not {config.format!r};"
                " WavFileRecorder writes wav, OggOpusFileRecorder ogg, and nothing mp3 or flac"
            )
        if config.encryption is None and not config.storage_encrypted_at_rest:
            raise RecordingConfigurationError(
                "recordings are encrypted at rest: give RecordingConfig.encryption, or say"
                " storage_encrypted_at_rest=True if the disk or the storage does it"
            )
        if config.retention_days is not None and config.retention_days < 0:
            raise RecordingConfigurationError(
                f"retention_days is {config.retention_days}, not 0 or more"
            )
        try:
            return replace(
                config,
                mode=RecordingMode(config.mode),
                channels=RecordingChannelMode(config.channels),
                trigger=RecordingTrigger(config.trigger),
            )
        except ValueError as error:
            raise RecordingConfigurationError(str(error)) from error

    def _stopping(self, handle: RecordingHandle) -> _Recording | None:
        recording = self._recordings.get(handle.id)
        if recording is not None:
            handle.state = recording.handle.state = "stopped"
            recording.capture.stop()
        return recording

    def _past(self, handle: RecordingHandle) -> RecordingResult:
        return handle.result or RecordingResult(handle.id, error="there is no such recording")

    def _unfinished(self, recording: _Recording) -> RecordingResult:
        return RecordingResult(
            recording.handle.id,
            [str(path) for path in recording.tracks.files if path.exists()],
            format=recording.config.format,
            mode=recording.config.channels,
            metadata=dict(recording.config.metadata),
            error=f"the recording was not complete after {self._stop_timeout_s} s",
        )

    def _note(self, recording: _Recording) -> None:
        """Before any sound, so that a crash leaves nothing that is kept for ever."""
        try:
            recording.note(list(recording.tracks.files))
        except OSError as error:
            _log.error("recording %s: %s", recording.handle.id, error)

    def _complete(self, recording: _Recording) -> None:
        try:
            result = recording.complete()
        except Exception as error:  # noqa: BLE001 - an encryption or storage of the program's own
            _log.exception("recording %s could not be finished", recording.handle.id)
            result = self._unfinished(recording)
            result.error = f"the recording could not be finished: {error}"
        recording.handle.result = result
        self._recordings.pop(recording.handle.id, None)
        recording.outcome.set_result(result)
