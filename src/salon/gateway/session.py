"""One session: one socket, one call (G11)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Literal

from salon.base import SalonError, TaskScope
from salon.gateway.actions import carry_out
from salon.gateway.commands import (
    AcceptCommand,
    Command,
    HangupReason,
    InterruptCommand,
    InviteCommand,
    PlayCommand,
    RingingCommand,
    parse_command,
)
from salon.gateway.companions import Companion
from salon.gateway.deadlines import Deadlines
from salon.gateway.early import EarlySound
from salon.gateway.ending import end_call
from salon.gateway.equipment import recognizer_for
from salon.gateway.errors import CommandError
from salon.gateway.events import (
    ErrorEvent,
    Event,
    Party,
    PingEvent,
    TrackEndEvent,
    TrackStartEvent,
    rfc3339,
)
from salon.gateway.executor import CommandExecutor, ends_call
from salon.gateway.farewell import parties
from salon.gateway.invitation import Invitation
from salon.gateway.options import CallOption, masked
from salon.gateway.pump import EventPump
from salon.gateway.query import CallQuery
from salon.gateway.rights import ALL_RIGHTS, CallRights
from salon.gateway.server_track import ServerTrack
from salon.gateway.services import SessionServices
from salon.gateway.shown import shown_command, shown_event
from salon.gateway.state import SessionState
from salon.gateway.transports import BaseTransport
from salon.voice.leg import SilentLeg
from salon.voice.session import MediaSession
from salon.voice.stt.base import SpeechToText

_log = logging.getLogger("salon.gateway")


Outcome = Literal["completed", "failed", "killed", "lost"]
"""How a call ended: by somebody in it, by an error, from outside, by a connection that broke."""


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
        rights: CallRights = ALL_RIGHTS,
    ) -> None:
        self.id = session_id
        self.query = query
        self.services = services
        self.call_type = call_type
        self.rights = rights
        self.state = SessionState.CREATED
        self.option: CallOption | None = None
        self.started_at = services.clock.time()
        self.ringing_at: float | None = None
        self.answered_at: float | None = None
        self.ended_at: float | None = None
        self.reason: str | None = None
        self.outcome: Outcome = "completed"
        self.stopping = False
        """The server is being shut down: the connection closes with 1001 (G21)."""
        self.early = EarlySound(services.early_seconds)
        """Sound in binary frames from before the answer (G43)."""
        self.variables: dict[str, Any] = {
            "session_id": session_id,
            "call_type": call_type.lower(),
            "start_time": rfc3339(self.started_at),
        }
        """What is known of the call by name (G186), with what `option.extra` gave; told at the end
        (G112)."""
        self.muted: set[str] = set()
        """Muted tracks but for the server's, which is muted while it lives (G87)."""
        self.hidden_tracks: set[str] = set()
        """Tracks beside the two of every call, such as those of bridges."""
        self.deadlines = Deadlines()
        self.handler = services.handler_for(query)
        self.done = asyncio.Event()
        self.transport: BaseTransport | None = None
        """The client's side, from `attach` until it is let go of at the end."""
        self.scope = TaskScope(f"session {session_id}")
        self.executor = CommandExecutor(self._execute)
        self.inviting: asyncio.Task[Any] | None = None
        """The `invite` that is being carried out."""
        self.pumping: asyncio.Task[None] | None = None
        """Reads the media's events, once there is media."""
        self._connected = False
        self._greeted = False
        self._dropped_audio = 0
        self._main_since: float | None = None
        self._media: MediaSession | None = None
        self._track: ServerTrack | None = None
        self._pump: EventPump | None = None
        self._end_task: asyncio.Task[None] | None = None
        self.ending = False
        """The end has been decided on; no command is taken."""
        self.companions: tuple[Companion, ...] = services.companions(self)

    # -- the carrier's side ---------------------------------------------------------------------

    def attach(self, transport: BaseTransport) -> None:
        """The client is connected; called once."""
        self.transport = transport
        self._connected = True
        self.scope.spawn(self.executor.work(), name="commands")
        self.watched()
        if self.query.ping:
            self.deadlines.keep_alive(self.query.ping, self._ping)
        if self.services.invite_timeout > 0:
            self.deadlines.expect_invite(self.services.invite_timeout, self._silent)

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
        self.submit(command, size=len(data))

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

    def submit(self, command: Command, *, size: int = 0) -> bool:
        """Queue a command that came in `size` bytes; what overtakes does so here (G34). False if
        the queue is full (G35), which is told, or the call is ending."""
        if self.ending:
            return False
        running = self.executor.running
        if running is not None and ends_call(command):
            self.executor.abort()
        if not self.executor.takes(size):
            self.error("command", f"too many commands wait, {command.command} was not taken", 429)
            return False
        self._took(command)
        if running is not None and isinstance(command, InterruptCommand):
            self.interrupt(command)  # now, and again after what was sent before it
            if isinstance(running, PlayCommand):
                self.executor.skip()
        return self.executor.submit(command, size)

    def _took(self, command: Command) -> None:
        if self.companions:
            self.accompany("command", command)
        bus = self.services.bus
        if bus.watchers(self.id):
            bus.show(self.id, "command", shown_command(command))

    def emit(self, event: Event) -> None:
        """Tell the client, the bus, the companions and who watches the call."""
        if self.transport is not None and self._connected:
            self.transport.send_event(event.to_json())
        bus = self.services.bus
        if bus.wanted:
            bus.publish(self.id, event.to_dict())
        self._mention(event)

    def _mention(self, event: Event) -> None:
        """What goes along with the call learns of an event."""
        if self.companions:
            self.accompany("event", event)
        bus = self.services.bus
        if bus.watchers(self.id):
            bus.show(self.id, "event", shown_event(event))

    def accompany(self, what: str, *about: Any) -> None:
        """Call the method `what` of each companion; one that raises disturbs nobody."""
        for companion in self.companions:
            try:
                getattr(companion, what)(*about)
            except Exception:  # noqa: BLE001 - companions are plugged in; the call goes on
                _log.exception("%s of call %s failed at %s", companion.name, self.id, what)

    async def settle(self) -> None:
        """Returns when every media event posted so far has been told."""
        if self._pump is not None:
            await self._pump.settle()

    def watched(self) -> None:
        """Somebody begins to watch the call or nobody does any more."""
        if self.transport is None:
            return
        bus, session_id = self.services.bus, self.id
        self.transport.on_sound = (
            (lambda packet: bus.show(session_id, "binary", packet))
            if bus.watchers(session_id)
            else None
        )

    def error(self, sender: str, message: str, code: int | None = None) -> None:
        """Tell the client that something failed (G32)."""
        self.emit(
            ErrorEvent(
                track_id=self.id, timestamp=self.now_ms(), sender=sender, error=message, code=code
            )
        )

    def hangup(self, reason: HangupReason | str, *, outcome: Outcome = "completed") -> None:
        """End the call; the first reason stays (G54). Returns at once."""
        if self.ending:
            return
        self.ending = True
        self.reason = str(reason)
        self.outcome = outcome
        self._end_task = asyncio.ensure_future(end_call(self, reason))

    def let_go(self, code: int) -> None:
        """The last word is said: close the connection with `code` (G21)."""
        transport = self.transport
        if transport is not None:
            transport.on_sound = None
            if self._connected:
                transport.close(code)
            self._dropped_audio = transport.dropped_audio
        self.transport = None

    def release(self) -> None:
        """The call is over: let go of what knows its session, or everything of the call would wait
        for the cyclic collector, which stops all other calls while it takes many apart."""
        self.companions = ()
        self._pump = None

    def recognizer(self, option: CallOption, *, always: bool = False) -> SpeechToText | None:
        """The engine the `asr` option asks for, without it the default one if `always`; a missing
        one is told and the call runs."""
        return recognizer_for(self, option, always=always)

    @property
    def media(self) -> MediaSession:
        """The media of the call, made on first use."""
        if self._media is None:
            leg = self.transport.first_leg() if self.transport is not None else SilentLeg()
            self._media = MediaSession(self.id, self.services.engine, leg=leg)
            services = self.services
            self._track = ServerTrack(self._media, services.sounds, services.voices, self.rights)
            self._pump = EventPump(self, self._media)
            self.pumping = self.scope.spawn(self._pump.run(), name="events")
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
    def parties(self) -> tuple[Party | None, Party | None]:
        """Who calls and who is called, as the options name them (G112)."""
        return parties(self.option)

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
            "ringTime": rfc3339(self.ringing_at) if self.ringing_at else None,
            "startTime": rfc3339(self.answered_at) if self.answered_at else None,
            "state": self.state.value,
            "handler": self.query.handler,
        }

    # -- commands ---------------------------------------------------------------------------------

    async def _execute(self, command: Command) -> None:
        if self.ending:  # what waited behind the end
            return
        try:
            await carry_out(self, command)
        except SalonError as error:
            self.error("command", str(error))
        except Exception:  # noqa: BLE001 - the edge of a command; the client is told (G32)
            _log.exception("command %s of call %s failed", command.command, self.id)
            inviting = isinstance(command, InviteCommand | AcceptCommand | RingingCommand)
            if inviting and self.answered_at is None:  # G33
                self.error(command.command, "internal failure", 500)
                self.hangup(HangupReason.FAILED, outcome="failed")
            else:
                self.error("command", "internal failure", 500)

    async def invite(self, command: InviteCommand | AcceptCommand) -> None:
        """Answer the call; one at a time."""
        if self.transport is None:
            return
        self.deadlines.invited()
        self.inviting = asyncio.current_task()
        try:
            await Invitation(self, self.transport, command).run()
        finally:
            self.inviting = None

    def interrupt(self, command: InterruptCommand) -> None:
        """Cut what plays (G76)."""
        if self._media is not None:
            self.track.interrupt(command)
            self.handler.interrupt()

    def _ping(self) -> None:
        if self.transport is None or not self._connected:
            return
        stamp = rfc3339(self.services.clock.time())
        self.transport.ping(stamp.encode())
        if self.companions or self.services.bus.watchers(self.id):
            self._mention(PingEvent(timestamp=self.now_ms(), payload=stamp))

    def _silent(self) -> None:
        """Nobody invited in time (G22)."""
        seconds = self.services.invite_timeout
        self.error("session", f"no invite came within {seconds:g} s, the call ends")
        self.hangup(HangupReason.NO_ANSWER, outcome="killed")

    def now_ms(self) -> int:
        """The stamp of an event that happens now."""
        return self.services.clock.now_ms()
