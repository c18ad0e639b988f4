"""What each command of a session does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salon.base import SalonError
from salon.gateway.commands import (
    AcceptCommand,
    AddIceCandidateCommand,
    CandidateCommand,
    ChatCommand,
    Command,
    CustomCommand,
    HangupCommand,
    HangupReason,
    HistoryCommand,
    InterruptCommand,
    InviteCommand,
    MuteCommand,
    PauseCommand,
    PlayCommand,
    RejectCommand,
    ResumeCommand,
    RingingCommand,
    TtsCommand,
    UnmuteCommand,
    normalize_reason,
)
from salon.gateway.equipment import start_recorder
from salon.gateway.errors import CommandError
from salon.gateway.events import AddHistoryEvent, CustomEvent, RejectEvent
from salon.gateway.options import CallOption
from salon.gateway.server_track import MAX_TEXT
from salon.gateway.state import Signal, advance

if TYPE_CHECKING:
    from salon.gateway.session import Session


async def carry_out(session: Session, command: Command) -> None:
    """Returns when the command is done; `SalonError` if it can't be (G32)."""
    match command:
        case InviteCommand() | AcceptCommand():
            await session.invite(command)
        case TtsCommand():
            session.track.tts(command)
        case PlayCommand():
            await session.track.play(command)
        case InterruptCommand():
            session.interrupt(command)
        case PauseCommand():
            session.track.pause()
        case ResumeCommand():
            session.track.resume()
        case MuteCommand() | UnmuteCommand():
            _mute(session, command.track_id, isinstance(command, MuteCommand))
        case RingingCommand():
            await _ring(session, command)
        case ChatCommand():
            await _chat(session, command.text)
        case AddIceCandidateCommand():
            _add_candidates(session, [command])
        case CandidateCommand():
            _add_candidates(session, command.expand())
        case _:
            action = session.services.actions.get(type(command))
            if action is not None:
                await action(session, command)
            else:
                _control(session, command)


def _control(session: Session, command: Command) -> None:
    now = session.now_ms()
    match command:
        case HangupCommand() if command.refer:
            raise CommandError("there is no transfer to hang up")
        case HangupCommand():
            session.hangup(normalize_reason(command.reason, command.initiator))
        case RejectCommand():
            session.emit(
                RejectEvent(
                    track_id=session.id, timestamp=now, reason=command.reason, code=command.code
                )
            )
            session.hangup(HangupReason.REJECTED)
        case HistoryCommand():
            session.emit(
                AddHistoryEvent(
                    timestamp=now, sender=session.id, speaker=command.speaker, text=command.text
                )
            )
        case CustomCommand():
            session.emit(CustomEvent(timestamp=now, sender=command.sender, data=command.data))
        case _:
            raise CommandError(f"{command.command} is not possible on this call")


def _mute(session: Session, track_id: str | None, muted: bool) -> None:
    """G87: the tracks there are now; an unknown id is no error."""
    if track_id in (None, session.id):
        session.media.muted = muted
    if track_id in (None, session.query.server_side_track):
        session.track.mute(muted)
    hidden = session.hidden_tracks if track_id is None else session.hidden_tracks & {track_id}
    if muted:
        session.muted |= hidden
    else:
        session.muted -= session.muted if track_id is None else {track_id}


async def _ring(session: Session, command: RingingCommand) -> None:
    """The call rings; `accept` answers it."""
    session.state = advance(session.state, Signal.RINGING)
    session.ringing_at = session.ringing_at or session.services.clock.time()
    if command.recorder is not None and session.media.recorder is None:
        start_recorder(session, CallOption(recorder=command.recorder))
    if command.ringtone is not None:
        await session.track.ring(command.ringtone)


async def _chat(session: Session, text: str) -> None:
    if len(text) > MAX_TEXT:
        raise CommandError(f"text is longer than {MAX_TEXT} characters")
    if not await session.handler.chat(text):
        raise CommandError("this call has no dialogue handler for chat")


def _add_candidates(session: Session, commands: list[AddIceCandidateCommand]) -> None:
    """G88, G318; one that can't be read keeps no other away."""
    transport = session.transport
    if transport is None:
        return
    for command in commands:
        try:
            transport.add_candidate(command.candidate)
        except (SalonError, ValueError) as error:
            session.error("command", f"{command.command}: {error}")
