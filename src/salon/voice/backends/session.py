"""One participant's voice connection, as channels and integrators see it (part 3 of the rules)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from salon.voice.backends.errors import VoiceSessionEndedError

_log = logging.getLogger("salon.voice")


class VoiceSessionState(StrEnum):
    """Where a session stands."""

    CONNECTING = "connecting"
    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"


_WAYS: Final = {
    VoiceSessionState.CONNECTING: {VoiceSessionState.ACTIVE, VoiceSessionState.ENDED},
    VoiceSessionState.ACTIVE: {VoiceSessionState.PAUSED, VoiceSessionState.ENDED},
    VoiceSessionState.PAUSED: {VoiceSessionState.ACTIVE, VoiceSessionState.ENDED},
    VoiceSessionState.ENDED: set[VoiceSessionState](),
}


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass
class VoiceSession:
    """What a `VoiceBackend` makes for each connection, and takes to say which one is meant.

    Setting `state` follows the table of states: out of `ENDED` it raises `VoiceSessionEndedError`
    (V13); another way that is not in the table is logged and taken, because programs written for
    other backends go back to `CONNECTING` while a provider reconnects.
    """

    id: str
    room_id: str
    participant_id: str
    channel_id: str
    state: VoiceSessionState = VoiceSessionState.CONNECTING
    provider_session_id: str | None = None
    created_at: datetime = field(default_factory=_utc_now)
    metadata: dict[str, Any] = field(default_factory=dict)

    def __setattr__(self, name: str, value: Any) -> None:
        present = self.__dict__.get("state")
        if name == "state" and present is not None and value != present:
            if present is VoiceSessionState.ENDED:
                raise VoiceSessionEndedError(
                    f"voice session {self.id} has ended and can't become {value}; whoever comes"
                    " back gets a new session"
                )
            if value not in _WAYS[present]:
                _log.warning("voice session %s went from %s to %s", self.id, present, value)
        object.__setattr__(self, name, value)
