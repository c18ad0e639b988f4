"""Media events on their way to the client, the handler and the companions of a call."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from salon.base import SalonError
from salon.gateway.commands import HangupReason
from salon.gateway.events import SilenceEvent
from salon.gateway.translate import translate
from salon.voice.events import (
    Dtmf,
    Final,
    MediaEvent,
    Partial,
    Speaking,
    TrackEnded,
    TrackStarted,
    TurnMeasured,
)
from salon.voice.session import MediaSession

if TYPE_CHECKING:
    from salon.gateway.session import Session

_log = logging.getLogger("salon.gateway")

_INPUT = (Speaking, Dtmf, Partial, Final, TrackStarted)
"""What ends the wait for input after a playback (G78)."""


class EventPump:
    """Reads the events of one `MediaSession`, in order, until it is closed."""

    def __init__(self, session: Session, media: MediaSession) -> None:
        self._session = session
        self._media = media
        self._server = session.query.server_side_track
        self._told = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._over = False

    async def run(self) -> None:
        """Returns when the media is closed and its last event told."""
        try:
            async for event in self._media.events:
                self._one(event)
                self._told += 1
                if self._waiting:
                    self._wake(self._told)
        finally:
            self._over = True
            self._wake(None)
        if self._media.events.overflowed:
            self._session.error("server", "too many events wait, the call ends", 500)
            self._session.hangup(HangupReason.FAILED, outcome="failed")

    async def settle(self) -> None:
        """Returns when everything posted before has been told."""
        posted = self._media.events.posted
        if self._told >= posted or self._over:
            return
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((posted, told))
        await told

    def _wake(self, told: int | None) -> None:
        while self._waiting and (told is None or self._waiting[0][0] <= told):
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)

    def _one(self, event: MediaEvent) -> None:
        session = self._session
        if isinstance(event, _INPUT):
            session.deadlines.input_came()
        elif isinstance(event, TurnMeasured):
            session.services.on_measured(event)
        if not (isinstance(event, Final) and not event.text):
            message = translate(event, session.id, self._server, session.now_ms())
            if message is not None:
                session.emit(message)
        try:
            session.handler.media(event)
        except SalonError as error:
            session.error("server", str(error))
        except Exception:  # noqa: BLE001 - handlers are plugged in; the call goes on
            _log.exception("the handler of call %s failed", session.id)
            session.error("server", "internal failure", 500)
        if session.companions:
            session.accompany("media", event)
        if isinstance(event, TrackEnded):
            session.track.ended(event.ssrc)
        if isinstance(event, TrackEnded) and not session.ending:
            if event.wait_input_ms:
                self._expect_input(event.wait_input_ms)
            if event.auto_hangup:
                session.hangup(HangupReason.SYSTEM)

    def _expect_input(self, timeout_ms: int) -> None:
        """Tell if nothing is said within `timeout_ms` after a playback (G78)."""
        session = self._session
        since = session.now_ms()

        def missed() -> None:
            session.emit(
                SilenceEvent(
                    track_id=self._server,
                    timestamp=session.now_ms(),
                    start_time=since,
                    duration=timeout_ms,
                    refer=False,
                )
            )

        session.deadlines.expect_input(timeout_ms, missed)
