"""A call that arrives, as a message of its room (V16, V17)."""

from __future__ import annotations

from typing import Any

from salon.models import EventType, InboundMessage, SystemContent
from salon.voice.backends.session import VoiceSession

_TOLD = ("caller", "callee")


def parse_voice_session(
    session: VoiceSession, channel_id: str, *, metadata: dict[str, Any] | None = None
) -> InboundMessage:
    """The message by which a session asks to come in. Given to `RoomKit.process_inbound` it passes
    the same hooks as a text; only then is the session connected to its channel.

    `metadata` is added to the session's own. A session that names its room is routed there by
    ``process_inbound(message, room_id=session.room_id)``.
    """
    facts = {**session.metadata, **(metadata or {})}
    told = {"caller": session.participant_id} | {
        name: facts[name] for name in _TOLD if name in facts
    }
    return InboundMessage(
        channel_id=channel_id,
        sender_id=session.participant_id,
        content=SystemContent(
            body="Voice session started",
            code="session_started",
            data={"session_id": session.id, "channel_id": channel_id, **told},
        ),
        event_type=EventType.SYSTEM,
        session=session,
        metadata=facts,
    )
