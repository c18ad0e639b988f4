"""How a call is set up: `invite`, and `accept`, which is the same here (G51, G285)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salon.base import SalonError
from salon.gateway.commands import AcceptCommand, HangupReason, InviteCommand
from salon.gateway.events import AnswerEvent, InactivityEvent
from salon.gateway.options import CallOption
from salon.gateway.state import Signal, advance
from salon.gateway.transports import BaseTransport

if TYPE_CHECKING:
    from salon.gateway.session import Session


class Invitation:
    """One `invite` or `accept` to a session. Cancelling `run` leaves the call unanswered."""

    def __init__(
        self, session: Session, transport: BaseTransport, command: InviteCommand | AcceptCommand
    ) -> None:
        self._session = session
        self._transport = transport
        self._name = command.command
        self._option = command.option

    async def run(self) -> None:
        """Answer; what fails is told and ends the call (G33), unless it is answered already."""
        if self._session.answered_at is not None:
            await self._again()
            return
        try:
            sdp = await self._prepare()
        except SalonError as error:
            self._session.error(self._name, str(error))
            self._session.hangup(HangupReason.FAILED, outcome="failed")
            return
        self._answer(sdp)

    async def _prepare(self) -> str:
        """The answer's SDP. The carrier first: what it can't carry enters no room."""
        session, option = self._session, self._option
        session.state = advance(session.state, Signal.INVITE)
        session.option = option
        media = session.media
        session.track.option = option.tts
        sdp = await self._transport.answer(option, media)
        config = await session.handler.begin(session, option)
        media.recorder = session.services.recorder_for(session, option)
        media.listen(config)
        return sdp

    def _answer(self, sdp: str) -> None:
        session = self._session
        session.state = advance(session.state, Signal.ANSWERED)
        session.answered_at = session.services.clock.time()
        session.track.answered = True
        session.main_track_started()
        self._tell(sdp)
        session.services.on_answered(session)
        self._warn(self._option)
        self._transport.answered()
        if self._option.inactivity_timeout:
            session.deadlines.expect_packets(
                self._option.inactivity_timeout,
                lambda: session.media.leg.packets_in,
                self._inactive,
            )

    async def _again(self) -> None:
        """A second `invite` (G52): a carrier that renegotiates answers it too."""
        session = self._session
        try:
            sdp = await self._transport.reoffer(self._option, session.media)
        except SalonError as error:
            session.error(self._name, str(error))
            return
        if sdp is not None:
            self._tell(sdp)
            return
        session.error(self._name, "the call is answered already")
        if self._name == "invite" and self._transport.ends_at_second_invite:
            session.hangup(HangupReason.FAILED, outcome="failed")

    def _tell(self, sdp: str) -> None:
        session = self._session
        now = session.now_ms()
        session.emit(AnswerEvent(track_id=session.id, timestamp=now, sdp=sdp, refer=False))

    def _inactive(self) -> None:
        session = self._session
        now = session.now_ms()
        session.emit(InactivityEvent(track_id=session.id, timestamp=now))
        session.hangup(HangupReason.INACTIVITY_TIMEOUT)

    def _warn(self, option: CallOption) -> None:
        """What was asked for and is not to be had; the call goes on."""
        session = self._session
        if option.vad is not None and option.vad.type not in ("silero", "nop"):
            session.error(
                "vad", f"detector {option.vad.type!r} is not known, the built-in one is used"
            )
        if option.eou is not None:
            session.error("eou", f"end-of-utterance engine {option.eou.type!r} is not known")
        missing = ["media_pass", "realtime", "denoise", "agc", "ambiance"]
        if session.call_type != "webSocket":
            missing.append("subscribe")  # without effect on `/call` (G48)
        for name in missing:
            if getattr(option, name):
                session.error("invite", f"option {name} is not available here")
