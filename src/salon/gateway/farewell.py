"""The last thing a client is told. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salon.gateway.commands import HangupReason, initiator_of
from salon.gateway.events import HangupEvent, rfc3339

if TYPE_CHECKING:
    from salon.gateway.session import Session


def farewell(session: Session, reason: HangupReason | str) -> HangupEvent:
    """The last text frame of a session that has ended (G112)."""
    answered = session.answered_at
    return HangupEvent(
        track_id=session.id,
        timestamp=session.now_ms(),
        reason=str(reason),
        initiator=initiator_of(reason),
        start_time=rfc3339(session.started_at),
        hangup_time=rfc3339(session.ended_at or session.started_at),
        answer_time=rfc3339(answered) if answered else None,
    )


def close_code(session: Session, reason: HangupReason | str) -> int:
    """The code of the Close frame after it (G21)."""
    if session.outcome == "failed":
        return 1011
    return 1001 if reason is HangupReason.SERVER_UNAVAILABLE and session.stopping else 1000
