"""The record of a call that ended, as billing and archives read it (G218). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from salon.gateway.commands import HangupReason
from salon.gateway.events import Party, rfc3339
from salon.gateway.journal import Journal, kept_text
from salon.gateway.options import masked, masked_data
from salon.voice.recorder import StereoRecorder

if TYPE_CHECKING:
    from salon.gateway.session import Session

_REASONS = {
    HangupReason.CALLER: "byCaller",
    HangupReason.CALLEE: "byCallee",
    HangupReason.REFER: "byRefer",
    HangupReason.SYSTEM: "bySystem",
}
"""Classes whose name differs from that on the wire."""
_STATUS = {
    HangupReason.CALLER: 487,
    HangupReason.CANCELED: 487,
    HangupReason.NO_ANSWER: 408,
    HangupReason.NO_BALANCE: 402,
    HangupReason.REJECTED: 603,
    HangupReason.SERVER_UNAVAILABLE: 503,
    HangupReason.FAILED: 500,
}
"""What a call that was not answered ended with, in the numbers of SIP."""
_NOT_ANSWERED = 480


@dataclass(frozen=True, slots=True)
class EndedCall:
    """A call record and the files that belong to it. `media` maps the id of the recorded track to
    its file; `events` is the events file, which other calls of the same id share."""

    id: str
    started_at: float
    record: dict[str, Any]
    media: tuple[tuple[str, Path], ...] = ()
    events: Path | None = None


def ended_call(session: Session) -> EndedCall | None:
    """The record of a session that has ended, None if nobody ever asked it for a call."""
    if session.option is None and session.ringing_at is None and session.reason != "rejected":
        return None
    recorder, journal = _recorder(session), _journal(session)
    return EndedCall(
        id=session.id,
        started_at=session.started_at,
        record=call_record(session),
        media=((session.id, recorder.path),) if recorder is not None else (),
        events=journal.path if journal is not None else None,
    )


def call_record(session: Session) -> dict[str, Any]:
    """The record as JSON-like data, secrets masked; what is not known is left out."""
    caller, callee = session.parties
    recorder, journal = _recorder(session), _journal(session)
    reason = session.reason
    status = _status(session)
    record: dict[str, Any] = {
        "callType": session.call_type,
        "option": masked(session.option) if session.option is not None else {},
        "callId": session.id,
        "startTime": rfc3339(session.started_at),
        "ringTime": rfc3339(session.ringing_at) if session.ringing_at else None,
        "answerTime": rfc3339(session.answered_at) if session.answered_at else None,
        "endTime": rfc3339(session.ended_at or session.services.clock.time()),
        "caller": _name(caller),
        "callee": _name(callee),
        "statusCode": status,
        "hangupReason": hangup_reason(reason) if reason is not None else None,
        "recorder": [_media(session.id, recorder)] if recorder is not None else None,
        "extras": session.variables or None,
        "dumpEventFile": str(journal.path) if journal is not None and journal.path else None,
    }
    if session.answered_at is None and reason is not None:
        record["hangupMessages"] = [{"code": status, "reason": reason}]
    shown = masked_data({key: value for key, value in record.items() if value is not None})
    kept: dict[str, Any] = from_json(kept_text(shown))
    return kept


def hangup_reason(reason: str) -> str | dict[str, str]:
    """How a record names why a call ended."""
    try:
        known = HangupReason(reason)
    except ValueError:
        return {"other": reason}
    return _REASONS.get(known, known.value)


def _status(session: Session) -> int:
    if session.answered_at is not None:
        return 200
    try:
        return _STATUS.get(HangupReason(session.reason or ""), _NOT_ANSWERED)
    except ValueError:
        return _NOT_ANSWERED


def _name(party: Party | None) -> str:
    return party.source or "" if party is not None else ""


def _recorder(session: Session) -> StereoRecorder | None:
    return session.media.recorder if session.pumping is not None else None


def _journal(session: Session) -> Journal | None:
    for companion in session.companions:
        if isinstance(companion, Journal):
            return companion
    return None


def _media(track_id: str, recorder: StereoRecorder) -> dict[str, Any]:
    extra: dict[str, Any] = {"durationMs": round(recorder.duration_ms), "samplerate": recorder.rate}
    if recorder.lost:
        extra["lostMs"] = recorder.lost // 16
    return {"trackId": track_id, "path": str(recorder.path), "size": recorder.bytes, "extra": extra}
