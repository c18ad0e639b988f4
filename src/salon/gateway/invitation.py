"""How a call is set up: `invite`, and `accept`, which is the same here (G51, G285)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from salon.base import SalonError
from salon.gateway.commands import AcceptCommand, HangupReason, InviteCommand
from salon.gateway.companions import Companion
from salon.gateway.equipment import start_recorder
from salon.gateway.events import AnswerEvent, InactivityEvent
from salon.gateway.rights import permitted
from salon.gateway.state import Signal, advance
from salon.gateway.transports import BaseTransport
from salon.gateway.warnings import warnings

if TYPE_CHECKING:
    from salon.gateway.session import Session

_log = logging.getLogger("salon.gateway")

COMPANION_TIMEOUT_S = 5.0


class Invitation:
    """One `invite` or `accept` to a session. Cancelling `run` leaves the call unanswered."""

    def __init__(
        self, session: Session, transport: BaseTransport, command: InviteCommand | AcceptCommand
    ) -> None:
        self._session = session
        self._transport = transport
        self._name = command.command
        self._option, self._refused = permitted(command.option, session.rights)

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
        if self._session.track.stop_ringing():
            await self._session.settle()  # its end is told before the answer
        self._answer(sdp)

    async def _prepare(self) -> str:
        """The answer's SDP. The carrier first: what it can't carry enters no room."""
        session, option = self._session, self._option
        session.state = advance(session.state, Signal.INVITE)
        session.option = option
        session.variables = {**(option.extra or {}), **session.variables}
        if option.handshake_timeout:
            session.deadlines.expect_handshake(option.handshake_timeout, self._established)
        media = session.media
        session.track.option = option.tts
        sdp = await self._transport.answer(option, media)
        config = await session.handler.begin(session, option)
        if media.recorder is None:  # `ringing` may have set one
            start_recorder(session, option)
        for companion in session.companions:
            await self._begin(companion)
        media.listen(config)
        return sdp

    async def _begin(self, companion: Companion) -> None:
        session = self._session
        try:
            async with asyncio.timeout(COMPANION_TIMEOUT_S):
                await companion.begin(session, self._option)
        except SalonError as error:
            session.error(companion.name, str(error))
        except TimeoutError:
            session.error(companion.name, f"not ready within {COMPANION_TIMEOUT_S:.0f} s")
        except Exception:  # noqa: BLE001 - companions are plugged in; the call goes on
            _log.exception("%s of call %s could not begin", companion.name, session.id)
            session.error(companion.name, "internal failure", 500)

    def _answer(self, sdp: str) -> None:
        session = self._session
        session.state = advance(session.state, Signal.ANSWERED)
        session.answered_at = session.services.clock.time()
        session.track.answered = True
        session.main_track_started()
        self._tell(sdp)
        if session.companions:
            session.accompany("answered")
        session.services.on_answered(session)
        self._warn()
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

    def _established(self) -> None:
        """The call should be up by now (G60)."""
        session = self._session
        if session.answered_at is None or not self._transport.established:
            seconds = self._option.handshake_timeout
            session.error(self._name, f"the call is not up after {seconds} s")
            session.hangup(HangupReason.FAILED, outcome="failed")

    def _inactive(self) -> None:
        session = self._session
        now = session.now_ms()
        session.emit(InactivityEvent(track_id=session.id, timestamp=now))
        session.hangup(HangupReason.INACTIVITY_TIMEOUT)

    def _warn(self) -> None:
        """What was asked for and is not to be had; the call goes on."""
        session = self._session
        for what in self._refused:
            session.error(self._name, f"{what} is not allowed on this call")
        serves = frozenset[str]().union(*(companion.serves for companion in session.companions))
        for sender, message in warnings(self._option, session.call_type, serves):
            session.error(sender, message)
