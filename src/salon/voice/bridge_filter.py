"""The filters every bridged frame passes (V141): they may drop it or replace it.

An edge to the integrator's code, where anything may be raised; the frame then passes (V129).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from salon.base import RAISED
from salon.media.frame import AudioFrame
from salon.voice.backends.session import VoiceSession
from salon.voice.bridge_config import BridgeAudioFilter, BridgeFrameFilter
from salon.voice.hook_payloads import BridgeAudioEvent

_log = logging.getLogger("salon.voice.bridge")

SLOW_SECONDS: Final = 0.001


def rare(count: int) -> bool:
    """Whether the 1st, 2nd, 4th, 8th... of a kind is due in the log."""
    return count & (count - 1) == 0


class FilterGate:
    """Calls the filters in the thread that brings the frame. Counts are exact with one thread and
    may miss a few with several."""

    __slots__ = ("_clock", "audio_filter", "blocked", "failures", "frame_filter", "slow")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.frame_filter: BridgeFrameFilter | None = None
        self.audio_filter: BridgeAudioFilter | None = None
        self.blocked = 0
        self.failures = 0
        self.slow = 0

    def passes(
        self,
        session: VoiceSession,
        room_id: str,
        own: BridgeAudioFilter | None,
        frame: AudioFrame,
    ) -> AudioFrame | None:
        """What is left of `frame` after the frame filter, the audio filter and the source's own."""
        plain = self.frame_filter
        if plain is not None:
            left = self._timed(session, lambda given: plain(session, given), frame)
            if left is None:
                return None
            frame = left
        for each in (self.audio_filter, own):
            if each is not None:
                left = self._timed(session, _on_event(each, session, room_id), frame)
                if left is None:
                    return None
                frame = left
        return frame

    def _timed(
        self,
        session: VoiceSession,
        call: Callable[[AudioFrame], AudioFrame | None],
        frame: AudioFrame,
    ) -> AudioFrame | None:
        started = self._clock()
        try:
            left = call(frame)
            # V130: what replaces a frame is a frame.
            if left is not None and not isinstance(left, AudioFrame):
                raise TypeError(f"the filter gave {type(left).__name__}, not AudioFrame or None")
        except RAISED as error:  # a filter's error ends here, counted and logged
            left = frame
            self._failed(session, error)
        took = self._clock() - started
        if took > SLOW_SECONDS:
            self.slow += 1
            if rare(self.slow):
                _log.warning(
                    "a bridge filter took %.1f ms, not under 1 (%d so far)",
                    took * 1000,
                    self.slow,
                    extra={"session_id": session.id},
                )
        if left is None:
            self.blocked += 1
        return left

    def _failed(self, session: VoiceSession, error: BaseException) -> None:
        self.failures += 1
        if rare(self.failures):
            _log.error(
                "a bridge filter failed (%d so far); the frame passes",
                self.failures,
                exc_info=error,
                extra={"session_id": session.id},
            )


def _on_event(
    call: BridgeAudioFilter, session: VoiceSession, room_id: str
) -> Callable[[AudioFrame], AudioFrame | None]:
    return lambda frame: call(BridgeAudioEvent(session, frame, room_id))
