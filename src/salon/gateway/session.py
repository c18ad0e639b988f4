"""One session: one socket, one call (G11)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Literal

from salon.base import SalonError, TaskScope
from salon.gateway.actions import carry_out
from salon.gateway.commands import (
    AcceptCommand,
    Command,
    HangupCommand,
    HangupReason,
    InterruptCommand,
    InviteCommand,
    PlayCommand,
    RejectCommand,
    parse_command,
)
from salon.gateway.deadlines import Deadlines
from salon.gateway.early import EarlySound
from salon.gateway.errors import CommandError
from salon.gateway.events import (
    ErrorEvent,
    Event,
    SilenceEvent,
    TrackEndEvent,
    TrackStartEvent,
    rfc3339,
)
from salon.gateway.executor import CommandExecutor
from salon.gateway.farewell import close_code, farewell
from salon.gateway.invitation import Invitation
from salon.gateway.options import CallOption, masked
from salon.gateway.query import CallQuery
from salon.gateway.server_track import ServerTrack
from salon.gateway.services import SessionServices
from salon.gateway.state import SessionState, Signal, advance
from salon.gateway.translate import translate
from salon.gateway.transports import BaseTransport
from salon.voice.events import Final, Partial, Speaking, TrackEnded, TrackStarted, TurnMeasured
from salon.voice.leg import SilentLeg
from salon.voice.session import MediaSession
from salon.voice.stt.base import SpeechToText

_log = logging.getLogger("salon.gateway")

Outcome = Literal["completed", "failed", "killed", "lost"]
"""How a call ended: by somebody in it, by an error, from outside, by a connection that broke."""
INVITE_TIMEOUT_S = 0.25
MEDIA_TIMEOUT_S = 2.0
EVENTS_TIMEOUT_S = 0.25
CARRIER_TIMEOUT_S = 1.0
HANDLER_TIMEOUT_S = 1.0
"""What each step of the end may take: an aborted invite, the recording, the last media events, the
carrier's sound, the handler. Together less than 5 s, in which the socket closes (G321)."""


class Session:
    """A call session, independent of what carries it.

    The carrier calls `attach` once, then `text` per frame, and `lost` when the connection is gone;
    sound is between it and `media`. Everything the client is told goes through `emit`.
    """

    def __init__(
        self,
        session_id: str,
        query: CallQuery,
        services: SessionServices,
        *,
        call_type: str = "webSocket",
    ) -> None:
        self.id = session_id
        self.query = query
        self.services = services
        self.call_type = call_type
        self.state = SessionState.CREATED
        self.option: CallOption | None = None
        self.started_at = services.clock.time()
        self.answered_at: float | None = None
        self.ended_at: float | None = None
        self.reason: str | None = None
        self.outcome: Outcome = "completed"
        self.stopping = False
        """The server is being shut down: the connection closes with 1001 (G21)."""
        self.early = EarlySound()
        """Sound in binary frames from before the answer (G43)."""
        self.deadlines = Deadlines()
        self.handler = services.handler_for(query)
        self.done = asyncio.Event()
        self.transport: BaseTransport | None = None
        """The client's side, from `attach` until it is let go of at the end."""
        self._connected = False
        self._greeted = False
        self._dropped_audio = 0
        self._main_since: float | None = None
        self._scope = TaskScope(f"session {session_id}")
        self._executor = CommandExecutor(self._execute)
        self._media: MediaSession | None = None
        self._track: ServerTrack | None = None
        self._inviting: asyncio.Task[Any] | None = None
        self._pumping: asyncio.Task[None] | None = None
        self._end_task: asyncio.Task[None] | None = None
        self._ending = False

    # -- the carrier's side ---------------------------------------------------------------------

    def attach(self, transport: BaseTransport) -> None:
        """The client is connected; called once."""
        self.transport = transport
        self._connected = True
        self._scope.spawn(self._executor.work(), name="commands")
        if self.query.ping:
            self.deadlines.keep_alive(self.query.ping, self._ping)

    def text(self, data: str) -> None:
        """One text frame: a command (G30, G31), the first one perhaps in the carrier's own form
        (G281)."""
        command: Command | None = None
        try:
            if not self._greeted:
                self._greeted = True
                command = self.transport.preparse(data) if self.transport else None
            command = command or parse_command(data)
        except CommandError as error:
            self.error("command", str(error), 400)
            return
        self.submit(command)

    def overflow_notice(self) -> str:
        """What a client is told that does not read its events (G119)."""
        return ErrorEvent(
            track_id=self.id,
            timestamp=self.now_ms(),
            sender="session",
            error="the call is closed: the client does not read its events",
            code=1008,
        ).to_json()

    def lost(self, *, polite: bool = False) -> None:
        """The connection is gone (G20); `polite` if the client closed it."""
        self._connected = False
        self.hangup(HangupReason.CALLER, outcome="completed" if polite else "lost")

    def main_track_started(self) -> None:
        """The caller's track is there, or there again; told once (G115)."""
        if self._main_since is None:
            self._main_since = self.services.clock.time()
            self.emit(TrackStartEvent(track_id=self.id, timestamp=self.now_ms()))

    def main_track_ended(self) -> None:
        """The caller's track is gone, perhaps for a while; told once (G112, G150)."""
        since, self._main_since = self._main_since, None
        if since is None:
            return
        duration = max(0, round((self.services.clock.time() - since) * 1000))
        ssrc = self.transport.main_ssrc if self.transport is not None else 0
        self.emit(
            TrackEndEvent(track_id=self.id, timestamp=self.now_ms(), duration=duration, ssrc=ssrc)
        )

    def connection_lost(self) -> None:
        """The sound's connection is gone for good (G150); the client may still read events."""
        self.hangup(HangupReason.CALLER, outcome="lost")

    # -- what may be asked of a session -----------------------------------------------------------

    def submit(self, command: Command) -> bool:
        """Queue a command; what overtakes does so here (G34). False if the queue is full (G35)."""
        if self._ending:
            return False
        running = self._executor.running
        if running is not None:
            if isinstance(command, HangupCommand | RejectCommand):
                self._executor.abort()
            elif isinstance(command, InterruptCommand):
                self.interrupt(command)  # now, and again after what was sent before it
                if isinstance(running, PlayCommand):
                    self._executor.skip()
        if self._executor.submit(command):
            return True
        self.error("command", f"too many commands wait, {command.command} was not taken", 429)
        return False

    def emit(self, event: Event) -> None:
        """Tell the client and the bus."""
        if self.transport is not None and self._connected:
            self.transport.send_event(event.to_json())
        bus = self.services.bus
        if bus.wanted:
            bus.publish(self.id, event.to_dict())

    def error(self, sender: str, message: str, code: int | None = None) -> None:
        """Tell the client that something failed (G32)."""
        self.emit(
            ErrorEvent(
                track_id=self.id, timestamp=self.now_ms(), sender=sender, error=message, code=code
            )
        )

    def hangup(self, reason: HangupReason | str, *, outcome: Outcome = "completed") -> None:
        """End the call; the first reason stays (G54). Returns at once."""
        if self._ending:
            return
        self._ending = True
        self.reason = str(reason)
        self.outcome = outcome
        self._end_task = asyncio.ensure_future(self._end(reason))

    def recognizer(self, option: CallOption) -> SpeechToText | None:
        """The engine the `asr` option asks for; a missing one is told and the call runs."""
        if option.asr is None:
            return None
        try:
            return self.services.engine.recognizer(option.asr.provider)
        except SalonError as error:
            self.error("asr", str(error))
            return None

    @property
    def media(self) -> MediaSession:
        """The media of the call, made on first use."""
        if self._media is None:
            leg = self.transport.first_leg() if self.transport is not None else SilentLeg()
            self._media = MediaSession(self.id, self.services.engine, leg=leg)
            self._track = ServerTrack(self._media, self.services.sounds)
            self._pumping = self._scope.spawn(self._pump(self._media), name="events")
        return self._media

    @property
    def room_id(self) -> str | None:
        """The room the call is in, if its handler is a room."""
        return self.handler.room_id

    @property
    def track(self) -> ServerTrack:
        """The server track of the call."""
        _ = self.media
        if self._track is None:
            raise RuntimeError("a media session has a server track")
        return self._track

    @property
    def dropped_audio(self) -> int:
        """Outgoing packets dropped because the client reads too slowly."""
        if self.transport is not None:
            self._dropped_audio = self.transport.dropped_audio
        return self._dropped_audio

    def summary(self) -> dict[str, Any]:
        """The row of `/list` (G200), secrets masked."""
        return {
            "id": self.id,
            "callType": self.call_type,
            "cs.option": masked(self.option) if self.option else None,
            "ringTime": None,
            "startTime": rfc3339(self.answered_at) if self.answered_at else None,
            "state": self.state.value,
            "handler": self.query.handler,
        }

    # -- commands ---------------------------------------------------------------------------------

    async def _execute(self, command: Command) -> None:
        try:
            await carry_out(self, command)
        except SalonError as error:
            self.error("command", str(error))
        except Exception:  # noqa: BLE001 - the edge of a command; the client is told (G32)
            _log.exception("command %s of call %s failed", command.command, self.id)
            inviting = isinstance(command, InviteCommand | AcceptCommand)
            if inviting and self.answered_at is None:  # G33
                self.error(command.command, "internal failure", 500)
                self.hangup(HangupReason.FAILED, outcome="failed")
            else:
                self.error("command", "internal failure", 500)

    async def invite(self, command: InviteCommand | AcceptCommand) -> None:
        """Answer the call; one at a time."""
        if self.transport is None:
            return
        self._inviting = asyncio.current_task()
        try:
            await Invitation(self, self.transport, command).run()
        finally:
            self._inviting = None

    def interrupt(self, command: InterruptCommand) -> None:
        """Cut what plays (G76)."""
        if self._media is not None:
            self.track.interrupt(command)
            self.handler.interrupt()

    # -- media events -----------------------------------------------------------------------------

    async def _pump(self, media: MediaSession) -> None:
        server = self.query.server_side_track
        async for event in media.events:
            if isinstance(event, Speaking | Partial | Final | TrackStarted):
                self.deadlines.input_came()
            elif isinstance(event, TurnMeasured):
                self.services.on_measured(event)
            if (message := translate(event, self.id, server, self.now_ms())) is not None and not (
                isinstance(event, Final) and not event.text
            ):
                self.emit(message)
            try:
                self.handler.media(event)
            except SalonError as error:
                self.error("server", str(error))
            except Exception:  # noqa: BLE001 - handlers are plugged in; the call goes on
                _log.exception("the handler of call %s failed", self.id)
                self.error("server", "internal failure", 500)
            if isinstance(event, TrackEnded) and not self._ending:
                if event.wait_input_ms:
                    self._expect_input(event.wait_input_ms, server)
                if event.auto_hangup:
                    self.hangup(HangupReason.SYSTEM)
        if media.events.overflowed:
            self.error("server", "too many events wait, the call ends", 500)
            self.hangup(HangupReason.FAILED, outcome="failed")

    def _expect_input(self, timeout_ms: int, server: str) -> None:
        """Tell if nothing is said within `timeout_ms` after a playback (G78)."""
        since = self.now_ms()

        def missed() -> None:
            self.emit(
                SilenceEvent(
                    track_id=server,
                    timestamp=self.now_ms(),
                    start_time=since,
                    duration=timeout_ms,
                    refer=False,
                )
            )

        self.deadlines.expect_input(timeout_ms, missed)

    def _ping(self) -> None:
        if self.transport is not None and self._connected:
            self.transport.ping(rfc3339(self.services.clock.time()).encode())

    # -- the end ----------------------------------------------------------------------------------

    async def _end(self, reason: HangupReason | str) -> None:
        self._executor.abort()
        self.deadlines.close()
        if self._inviting is not None:
            await asyncio.wait({self._inviting}, timeout=INVITE_TIMEOUT_S)
        if self._media is not None and self._pumping is not None:
            await self._bounded(self._media.close(), MEDIA_TIMEOUT_S)
            await asyncio.wait({self._pumping}, timeout=EVENTS_TIMEOUT_S)
        if self.transport is not None:
            await self._bounded(self.transport.ended(), CARRIER_TIMEOUT_S)
        await self._bounded(self.handler.end(str(reason)), HANDLER_TIMEOUT_S)
        self.ended_at = self.services.clock.time()
        self.state = advance(self.state, Signal.HANGUP)
        try:
            self.services.on_ended(self)  # first, so that whoever is told finds the id free
        finally:
            self._part(reason)
            await self._scope.close()
            self.done.set()

    def _part(self, reason: HangupReason | str) -> None:
        """Say goodbye to the client and let go of the carrier (G120)."""
        self.main_track_ended()
        self.emit(farewell(self, reason))
        transport = self.transport
        if transport is not None:
            if self._connected:
                transport.close(close_code(self, reason))
            self._dropped_audio = transport.dropped_audio
        self.transport = None

    async def _bounded(self, step: Coroutine[Any, Any, None], timeout: float) -> None:
        """One step of the end; a call ends all the same if it fails."""
        try:
            await asyncio.wait_for(step, timeout)
        except TimeoutError:
            _log.warning("call %s did not end cleanly in time", self.id)
        except Exception:  # noqa: BLE001 - the outer edge of the call; it must end all the same
            _log.exception("ending call %s failed", self.id)

    def now_ms(self) -> int:
        """The stamp of an event that happens now."""
        return self.services.clock.now_ms()
