"""One session: one socket, one call (G11)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal

from salon.base import Clock, SalonError, TaskScope
from salon.gateway.bus import EventBus
from salon.gateway.commands import (
    AcceptCommand,
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
    initiator_of,
    normalize_reason,
    parse_command,
)
from salon.gateway.early import EarlySound
from salon.gateway.errors import CommandError
from salon.gateway.events import (
    AddHistoryEvent,
    AnswerEvent,
    CustomEvent,
    ErrorEvent,
    Event,
    HangupEvent,
    InactivityEvent,
    RejectEvent,
    SilenceEvent,
    TrackEndEvent,
    TrackStartEvent,
    rfc3339,
)
from salon.gateway.executor import CommandExecutor
from salon.gateway.handlers import CallHandler, ControllerHandler
from salon.gateway.options import CallOption, masked
from salon.gateway.query import CallQuery
from salon.gateway.server_track import MAX_TEXT, ServerTrack
from salon.gateway.sounds import SoundLoader
from salon.gateway.state import SessionState, Signal, advance
from salon.gateway.translate import translate
from salon.gateway.transports import BaseTransport
from salon.media import make_codec
from salon.voice.engine import VoiceEngine
from salon.voice.events import Final, Partial, Speaking, TrackEnded, TrackStarted, TurnMeasured
from salon.voice.recorder import StereoRecorder
from salon.voice.session import MediaSession
from salon.voice.stt.base import SpeechToText

_log = logging.getLogger("salon.gateway")

INACTIVITY_CHECK_S = 1.0
"""How often inactivity is looked for (G136)."""
Outcome = Literal["completed", "failed", "killed", "lost"]
"""How a call ended: by somebody in it, by an error, from outside, by a connection that broke."""
END_TIMEOUT_S = 4.0
"""A handler and the recordings get this long at the end; the socket closes within 5 s (G321)."""


@dataclass(slots=True)
class SessionServices:
    """What every session of a gateway shares."""

    engine: VoiceEngine
    bus: EventBus
    sounds: SoundLoader
    handler_for: Callable[[CallQuery], CallHandler] = lambda _query: ControllerHandler()
    recorder_for: Callable[[Session, CallOption], StereoRecorder | None] = lambda _s, _o: None
    on_ended: Callable[[Session], None] = lambda _session: None
    on_answered: Callable[[Session], None] = lambda _session: None
    on_measured: Callable[[TurnMeasured], None] = lambda _turn: None
    pcm_out_rate: int = 16_000

    @property
    def clock(self) -> Clock:
        """The clock of all calls."""
        return self.engine.clock


class Session:
    """A call session, independent of what carries it.

    The carrier calls `attach` once, then `text` and `binary` per frame, and `lost` when the
    connection is gone. Everything the client is told goes through `emit`.
    """

    def __init__(self, session_id: str, query: CallQuery, services: SessionServices) -> None:
        self.id = session_id
        self.query = query
        self.services = services
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
        self._lost_audio = 0
        self.done = asyncio.Event()
        self._transport: BaseTransport | None = None
        self._scope = TaskScope(f"session {session_id}")
        self._executor = CommandExecutor(self._execute)
        self._handler = services.handler_for(query)
        self._media: MediaSession | None = None
        self._track: ServerTrack | None = None
        self._wait_input: asyncio.TimerHandle | None = None
        self._inactivity: asyncio.TimerHandle | None = None
        self._pinger: asyncio.TimerHandle | None = None
        self._pumping: asyncio.Task[None] | None = None
        self._end_task: asyncio.Task[None] | None = None
        self._ending = False

    # -- the carrier's side ---------------------------------------------------------------------

    def attach(self, transport: BaseTransport) -> None:
        """The client is connected; called once."""
        self._transport = transport
        self._scope.spawn(self._executor.work(), name="commands")
        if self.query.ping:
            self._ping()

    def text(self, data: str) -> None:
        """One text frame: a command (G30, G31)."""
        try:
            command = parse_command(data)
        except CommandError as error:
            self.error("command", str(error), 400)
            return
        self.submit(command)

    def binary(self, data: bytes) -> None:
        """One binary frame: sound (G40, G43)."""
        if self.answered_at is not None and self._media is not None:
            self._media.receive(data)
        elif not self._ending:
            self.early.add(data)

    def overflow_notice(self) -> str:
        """What a client is told that does not read its events (G119)."""
        return ErrorEvent(
            track_id=self.id,
            timestamp=self._now(),
            sender="session",
            error="the call is closed: the client does not read its events",
            code=1008,
        ).to_json()

    def lost(self, *, polite: bool = False) -> None:
        """The connection is gone (G20); `polite` if the client closed it."""
        if self._transport is not None:
            self._lost_audio = self._transport.dropped_audio
        self._transport = None
        self.hangup(HangupReason.CALLER, outcome="completed" if polite else "lost")

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
                self._interrupt(command)  # now, and again after what was sent before it
                if isinstance(running, PlayCommand):
                    self._executor.skip()
        if self._executor.submit(command):
            return True
        self.error("command", f"too many commands wait, {command.command} was not taken", 429)
        return False

    def emit(self, event: Event) -> None:
        """Tell the client and the bus."""
        if self._transport is not None:
            self._transport.send_event(event.to_json())
        bus = self.services.bus
        if bus.wanted:
            bus.publish(self.id, event.to_dict())

    def error(self, sender: str, message: str, code: int | None = None) -> None:
        """Tell the client that something failed (G32)."""
        self.emit(
            ErrorEvent(
                track_id=self.id, timestamp=self._now(), sender=sender, error=message, code=code
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
            self._media = MediaSession(
                self.id,
                self.services.engine,
                codec=make_codec("pcm", pcm_out_rate=self.services.pcm_out_rate),
                send=self._send_audio,
            )
            self._track = ServerTrack(self._media, self.services.sounds)
            self._pumping = self._scope.spawn(self._pump(self._media), name="events")
        return self._media

    @property
    def room_id(self) -> str | None:
        """The room the call is in, if its handler is a room."""
        return self._handler.room_id

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
        return self._lost_audio if self._transport is None else self._transport.dropped_audio

    def summary(self) -> dict[str, Any]:
        """The row of `/list` (G200), secrets masked."""
        return {
            "id": self.id,
            "callType": "webSocket",
            "cs.option": masked(self.option) if self.option else None,
            "ringTime": None,
            "startTime": rfc3339(self.answered_at) if self.answered_at else None,
            "state": self.state.value,
            "handler": self.query.handler,
        }

    # -- commands ---------------------------------------------------------------------------------

    async def _execute(self, command: Command) -> None:
        try:
            await self._dispatch(command)
        except SalonError as error:
            self.error("command", str(error))
        except Exception:  # noqa: BLE001 - the edge of a command; the client is told (G32)
            _log.exception("command %s of call %s failed", command.command, self.id)
            if isinstance(command, InviteCommand | AcceptCommand):  # G33
                self.error(command.command, "internal failure", 500)
                self.hangup(HangupReason.FAILED, outcome="failed")
            else:
                self.error("command", "internal failure", 500)

    async def _dispatch(self, command: Command) -> None:
        match command:
            case InviteCommand() | AcceptCommand():
                await self._invite(command)
            case TtsCommand():
                self.track.tts(command)
            case PlayCommand():
                await self.track.play(command)
            case InterruptCommand():
                self._interrupt(command)
            case HangupCommand():
                self.hangup(normalize_reason(command.reason, command.initiator))
            case RejectCommand():
                self._reject(command)
            case RingingCommand():
                self.state = advance(self.state, Signal.RINGING)
            case ChatCommand():
                if len(command.text) > MAX_TEXT:
                    raise CommandError(f"text is longer than {MAX_TEXT} characters")
                if not await self._handler.chat(command.text):
                    self.error("command", "this call has no dialogue handler for chat")
            case PauseCommand():
                self.track.pause()
            case ResumeCommand():
                self.track.resume()
            case MuteCommand() | UnmuteCommand():
                if command.track_id in (None, self.id):
                    self.media.muted = isinstance(command, MuteCommand)
            case _:
                self._report(command)

    def _report(self, command: Command) -> None:
        now = self._now()
        match command:
            case HistoryCommand():
                self.emit(
                    AddHistoryEvent(
                        timestamp=now, sender=self.id, speaker=command.speaker, text=command.text
                    )
                )
            case CustomCommand():
                self.emit(CustomEvent(timestamp=now, sender=command.sender, data=command.data))
            case _:
                self.error("command", f"{command.command} is not possible on a WebSocket call")

    def _interrupt(self, command: InterruptCommand) -> None:
        if self._media is not None:
            self.track.interrupt(command)
            self._handler.interrupt()

    async def _invite(self, command: InviteCommand | AcceptCommand) -> None:
        name = command.command
        if self.answered_at is not None:
            self.error(name, "the call is answered already")
            if name == "invite":  # G52
                self.hangup(HangupReason.FAILED, outcome="failed")
            return
        option = command.option
        try:
            self.state = advance(self.state, Signal.INVITE)
            self.option = option
            media = self.media
            media.codec = make_codec(option.codec, pcm_out_rate=self.services.pcm_out_rate)
            self.track.option = option.tts
            config = await self._handler.begin(self, option)
            media.recorder = self.services.recorder_for(self, option)
        except SalonError as error:
            self.error(name, str(error))
            self.hangup(HangupReason.FAILED, outcome="failed")
            return
        media.listen(config)
        self.state = advance(self.state, Signal.ANSWERED)
        self.answered_at = self.services.clock.time()
        self.track.answered = True
        self.emit(TrackStartEvent(track_id=self.id, timestamp=self._now()))
        self.emit(AnswerEvent(track_id=self.id, timestamp=self._now(), sdp="", refer=False))
        self.services.on_answered(self)
        self._warn(option)
        for payload in self.early.take(media.codec.name):
            media.receive(payload)
        if option.inactivity_timeout:
            self._watch_inactivity(option.inactivity_timeout, media)

    def _warn(self, option: CallOption) -> None:
        """What was asked for and is not to be had; the call goes on."""
        if option.vad is not None and option.vad.type not in ("silero", "nop"):
            self.error(
                "vad", f"detector {option.vad.type!r} is not known, the built-in one is used"
            )
        if option.eou is not None:
            self.error("eou", f"end-of-utterance engine {option.eou.type!r} is not known")
        for name in ("media_pass", "realtime", "denoise", "agc", "ambiance"):
            if getattr(option, name):
                self.error("invite", f"option {name} is not available here")

    def _reject(self, command: RejectCommand) -> None:
        self.emit(
            RejectEvent(
                track_id=self.id, timestamp=self._now(), reason=command.reason, code=command.code
            )
        )
        self.hangup(HangupReason.REJECTED)

    # -- media events -----------------------------------------------------------------------------

    def _send_audio(self, payload: bytes) -> None:
        if self._transport is not None:
            self._transport.send_audio(payload)

    async def _pump(self, media: MediaSession) -> None:
        server = self.query.server_side_track
        async for event in media.events:
            if isinstance(event, Speaking | Partial | Final | TrackStarted):
                self._disarm()
            elif isinstance(event, TurnMeasured):
                self.services.on_measured(event)
            if (message := translate(event, self.id, server, self._now())) is not None and not (
                isinstance(event, Final) and not event.text
            ):
                self.emit(message)
            try:
                self._handler.media(event)
            except SalonError as error:
                self.error("server", str(error))
            except Exception:  # noqa: BLE001 - handlers are plugged in; the call goes on
                _log.exception("the handler of call %s failed", self.id)
                self.error("server", "internal failure", 500)
            if isinstance(event, TrackEnded) and not self._ending:
                if event.wait_input_ms:
                    self._arm(event.wait_input_ms, server)
                if event.auto_hangup:
                    self.hangup(HangupReason.SYSTEM)
        if media.events.overflowed:
            self.error("server", "too many events wait, the call ends", 500)
            self.hangup(HangupReason.FAILED, outcome="failed")

    def _arm(self, timeout_ms: int, server: str) -> None:
        self._disarm()
        since = self._now()

        def fire() -> None:
            self._wait_input = None
            self.emit(
                SilenceEvent(
                    track_id=server,
                    timestamp=self._now(),
                    start_time=since,
                    duration=timeout_ms,
                    refer=False,
                )
            )

        loop = asyncio.get_running_loop()
        self._wait_input = loop.call_later(timeout_ms / 1000, fire)

    def _disarm(self) -> None:
        if self._wait_input is not None:
            self._wait_input.cancel()
            self._wait_input = None

    def _watch_inactivity(self, seconds: int, media: MediaSession) -> None:
        """No packet for `seconds` ends the call (G60, G136)."""
        loop = asyncio.get_running_loop()
        seen, since = media.frames_in, loop.time()

        def check() -> None:
            nonlocal seen, since
            if self._ending:
                return
            if media.frames_in != seen:
                seen, since = media.frames_in, loop.time()
            elif loop.time() - since >= seconds:
                self.emit(InactivityEvent(track_id=self.id, timestamp=self._now()))
                self.hangup(HangupReason.INACTIVITY_TIMEOUT)
                return
            self._inactivity = loop.call_later(INACTIVITY_CHECK_S, check)

        self._inactivity = loop.call_later(INACTIVITY_CHECK_S, check)

    def _ping(self) -> None:
        if self._transport is None or self._ending:
            return
        self._transport.ping(rfc3339(self.services.clock.time()).encode())
        self._pinger = asyncio.get_running_loop().call_later(self.query.ping, self._ping)

    # -- the end ----------------------------------------------------------------------------------

    async def _end(self, reason: HangupReason | str) -> None:
        self._executor.abort()
        for timer in (self._inactivity, self._pinger):
            if timer is not None:
                timer.cancel()
        if self._media is not None and self._pumping is not None:
            await self._bounded(self._media.close(), END_TIMEOUT_S / 2)
            await asyncio.wait({self._pumping}, timeout=END_TIMEOUT_S / 4)
        self._disarm()
        await self._bounded(self._handler.end(str(reason)), END_TIMEOUT_S / 4)
        self.ended_at = self.services.clock.time()
        self.state = advance(self.state, Signal.HANGUP)
        try:
            self.services.on_ended(self)  # first, so that whoever is told finds the id free
        finally:
            self._farewell(reason)
            if self._transport is not None:
                self._transport.close(self._close_code(reason))
            self._transport = None
            await self._scope.close()
            self.done.set()

    async def _bounded(self, step: Coroutine[Any, Any, None], timeout: float) -> None:
        """One step of the end; a call ends all the same if it fails."""
        try:
            await asyncio.wait_for(step, timeout)
        except TimeoutError:
            _log.warning("call %s did not end cleanly in time", self.id)
        except Exception:  # noqa: BLE001 - the outer edge of the call; it must end all the same
            _log.exception("ending call %s failed", self.id)

    def _close_code(self, reason: HangupReason | str) -> int:
        """G21."""
        if self.outcome == "failed":
            return 1011
        return 1001 if reason is HangupReason.SERVER_UNAVAILABLE and self.stopping else 1000

    def _farewell(self, reason: HangupReason | str) -> None:
        """`trackEnd` of the main track, then `hangup`, the last frame (G112, G120)."""
        now = self._now()
        ended = self.ended_at or self.started_at
        if self.answered_at is not None:
            self.emit(
                TrackEndEvent(
                    track_id=self.id,
                    timestamp=now,
                    duration=max(0, round((ended - self.answered_at) * 1000)),
                    ssrc=0,
                )
            )
        self.emit(
            HangupEvent(
                track_id=self.id,
                timestamp=now,
                reason=str(reason),
                initiator=initiator_of(reason),
                start_time=rfc3339(self.started_at),
                hangup_time=rfc3339(ended),
                answer_time=rfc3339(self.answered_at) if self.answered_at else None,
            )
        )

    def _now(self) -> int:
        return self.services.clock.now_ms()
