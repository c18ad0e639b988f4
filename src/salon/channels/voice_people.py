"""Somebody who takes part in a room by voice."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field

from salon.voice.backends.session import VoiceSession, VoiceSessionState
from salon.voice.session import MediaSession


@dataclass(slots=True, eq=False)
class Caller:
    """One voice in a room."""

    session: MediaSession
    room_id: str
    participant_id: str
    name: str | None = None
    interrupts: bool = True
    """What this voice says stops the agent (V115)."""
    gone: bool = False
    """It has left the room."""
    voice: InitVar[VoiceSession | None] = None
    line: VoiceSession = field(init=False)
    """The same as hooks and integrators see it: `voice`, or made here."""

    def __post_init__(self, voice: VoiceSession | None) -> None:
        self.line = voice or VoiceSession(
            self.session.id, self.room_id, self.participant_id, "voice", VoiceSessionState.ACTIVE
        )
