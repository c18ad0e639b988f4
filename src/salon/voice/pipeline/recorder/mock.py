"""A recorder for tests: keeps what it is given, writes nothing."""

from __future__ import annotations

from salon.media.frame import AudioFrame
from salon.voice.backends.session import VoiceSession
from salon.voice.pipeline.recorder.base import (
    AudioRecorder,
    RecordingConfig,
    RecordingHandle,
    RecordingResult,
)


class MockAudioRecorder(AudioRecorder):
    """Lists in the order of the calls: `started` (session id, config), `stopped` (handles),
    `inbound_frames` and `outbound_frames` (recording id, frame), `speech_marks` (recording id,
    active), `held` (ids on hold now).

    Every frame counts, whatever the recording's mode, before its stop and after it; those that
    come while it is on hold do not. Every recording lasts one second of 32,000 bytes.
    """

    def __init__(self) -> None:
        self.started: list[tuple[str, RecordingConfig]] = []
        self.stopped: list[RecordingHandle] = []
        self.inbound_frames: list[tuple[str, AudioFrame]] = []
        self.outbound_frames: list[tuple[str, AudioFrame]] = []
        self.speech_marks: list[tuple[str, bool]] = []
        self.held: set[str] = set()
        self.cuts: list[str] = []
        self.reset_count = 0
        self.closed = False
        self._next_id = 0
        self._configs: dict[str, RecordingConfig] = {}

    @property
    def name(self) -> str:
        return "MockAudioRecorder"

    def start(self, session: VoiceSession, config: RecordingConfig) -> RecordingHandle:
        self._next_id += 1
        handle = RecordingHandle(
            f"rec_{self._next_id}",
            session.id,
            path=f"recording_{self._next_id}.wav",
        )
        self.started.append((session.id, config))
        self._configs[handle.id] = config
        return handle

    def stop(self, handle: RecordingHandle) -> RecordingResult:
        self.stopped.append(handle)
        handle.state = "stopped"
        config = self._configs.pop(handle.id, RecordingConfig())
        if handle.result is None:
            handle.result = RecordingResult(
                handle.id, [handle.path], 1.0, config.format, config.channels, 32_000
            )
        return handle.result

    async def finish(self, handle: RecordingHandle) -> RecordingResult:
        return self.stop(handle)

    def tap_inbound(self, handle: RecordingHandle, frame: AudioFrame) -> None:
        if handle.id not in self.held:
            self.inbound_frames.append((handle.id, frame))

    def tap_outbound(self, handle: RecordingHandle, frame: AudioFrame) -> None:
        if handle.id not in self.held:
            self.outbound_frames.append((handle.id, frame))

    def speech(self, handle: RecordingHandle, active: bool) -> None:
        self.speech_marks.append((handle.id, active))

    def hold(self, handle: RecordingHandle) -> None:
        self.held.add(handle.id)

    def release(self, handle: RecordingHandle) -> None:
        self.held.discard(handle.id)

    def outbound_cut(self, handle: RecordingHandle) -> None:
        self.cuts.append(handle.id)

    def reset(self) -> None:
        self.reset_count += 1

    def close(self) -> None:
        self.closed = True
