"""The recording of one session, as the pipeline drives it (V81, V82, V85)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salon.base import RAISED, ConfigurationError
from salon.voice.pipeline.failures import Failures

if TYPE_CHECKING:
    from salon.voice.backends.session import VoiceSession
    from salon.voice.pipeline.recorder.base import (
        AudioRecorder,
        RecordingConfig,
        RecordingHandle,
        RecordingMode,
        RecordingResult,
    )


class Recording:
    """A recorder that has started. While `held`, nothing is captured (V85).

    The mode holds whatever the recorder makes of it: one direction's recording never sees the other
    (V82).
    """

    __slots__ = ("_takes_inbound", "_takes_outbound", "handle", "held", "recorder")

    def __init__(
        self, recorder: AudioRecorder, handle: RecordingHandle, mode: RecordingMode
    ) -> None:
        self.recorder = recorder
        self.handle = handle
        self.held = False
        self._takes_inbound = mode.inbound
        self._takes_outbound = mode.outbound

    @classmethod
    def start(
        cls,
        recorder: AudioRecorder,
        session: VoiceSession,
        config: RecordingConfig,
        failures: Failures,
    ) -> Recording | None:
        """Begin. `ConfigurationError` rises (V83); any other error is counted, and the session goes
        on without a recording."""
        try:
            handle = recorder.start(session, config)
        except ConfigurationError:
            raise
        except RAISED as error:
            failures.note("recorder", session.id, error)
            return None
        return cls(recorder, handle, config.mode)

    @property
    def captures_inbound(self) -> bool:
        """Whether the participant's sound is captured now."""
        return self._takes_inbound and not self.held

    @property
    def captures_outbound(self) -> bool:
        """Whether what is played is captured now."""
        return self._takes_outbound and not self.held

    def hold(self) -> None:
        """Capture nothing from here on; the recording's time goes on."""
        self.held = True
        self.recorder.hold(self.handle)

    def release(self) -> None:
        """Capture."""
        self.held = False
        self.recorder.release(self.handle)

    def stop(self) -> RecordingResult:
        """End it and wait for the files."""
        return _checked(self.recorder.stop(self.handle))

    async def finish(self) -> RecordingResult:
        """`stop` without holding up the event loop."""
        return _checked(await self.recorder.finish(self.handle))


def _checked(result: object) -> RecordingResult:
    """What a recorder gave; `TypeError` if that is no result."""
    from salon.voice.pipeline.recorder.base import RecordingResult

    if not isinstance(result, RecordingResult):
        raise TypeError(f"it gave {type(result).__name__}, no RecordingResult")
    return result
