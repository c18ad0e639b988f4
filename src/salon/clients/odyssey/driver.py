"""Drives a `SessionCore`: broker calls, socket, peer connection, timer, futures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from salon.base import SYSTEM_CLOCK, Clock, TaskScope
from salon.clients.odyssey import actions as act
from salon.clients.odyssey.addresses import ice_servers, signaling_url
from salon.clients.odyssey.broker import Broker
from salon.clients.odyssey.errors import OdysseyError, connect_error
from salon.clients.odyssey.link import StreamLink
from salon.clients.odyssey.logs import Log, shorten
from salon.clients.odyssey.plans import Plan, Session
from salon.clients.odyssey.session import SessionCore
from salon.clients.odyssey.signaling import SignalingSocket
from salon.clients.odyssey.stream import StreamCore
from salon.clients.odyssey.types import AudioFrame, VideoFrame
from salon.transport.packets import IceServer, NegotiationError
from salon.transport.video_viewer import VideoViewer

CONFIG_S: Final = 5.0
"""Longest that the list of ICE servers may take (O27)."""

CLOSE_S: Final = 15.0
"""Longest that `disconnect` waits; link and socket have shorter limits of their own."""

Made = tuple[int, list[act.Action]]


class Listener(Protocol):
    """Who is told, on the event loop."""

    def notify(self, name: str, arguments: tuple[Any, ...]) -> None: ...

    def picture(self, frame: VideoFrame) -> None: ...

    def sound(self, frame: AudioFrame) -> None: ...


@dataclass(slots=True)
class _Attempt:
    """What stands between a `begin` and a `HangUp`: all of it goes together."""

    plan: Plan
    scope: TaskScope
    session: Session | None = None
    socket: SignalingSocket | None = None
    ice: tuple[IceServer, ...] = ()
    link: StreamLink | None = None
    concluded: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the connection has come about."""


class SessionDriver:
    """One client's connection, from one `connect` to the next. After `disconnect` no task and no
    socket of it is left."""

    def __init__(
        self,
        core: SessionCore,
        broker: Broker,
        listener: Listener,
        *,
        debug: bool,
        clock: Clock = SYSTEM_CLOCK,
        make_viewer: Callable[..., VideoViewer] = VideoViewer,
    ) -> None:
        self._core = core
        self._broker = broker
        self._listener = listener
        self._clock = clock
        self._make_viewer = make_viewer
        self._log = Log("signaling", "Signaling", debug=debug)
        self._rtc_log = Log("webrtc", "WebRTC", debug=debug)
        self._closing = TaskScope("odyssey closing")
        self._door = asyncio.Lock()
        self._plan: Plan | None = None
        self._attempt: _Attempt | None = None
        self._connecting: asyncio.Future[None] | None = None
        self._calls: dict[int, asyncio.Future[str | None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    # -- what the client asks for -----------------------------------------------------------------

    async def connect(self, plan: Plan, *, reconnect: bool, begun: Callable[[], None]) -> None:
        """Connect, and return when it is done. `begun` is called if an attempt begins: not when
        there is a connection (O64). Cancelled, it disconnects."""
        async with self._door:
            made = self._core.begin(plan.route, self._clock.monotonic(), reconnect=reconnect)
            if self._core.session_stands:
                return
            begun()
            self._plan = plan
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._connecting = waiter
            self._run(made)
        try:
            await waiter
        except asyncio.CancelledError:
            await self.disconnect()
            raise
        except OdysseyError:
            await self._closing.drain(CLOSE_S)
            raise

    async def call(self, make: Callable[[StreamCore, float, int | None], Made]) -> str | None:
        """Ask the streamer for something and wait for its answer. `make` gets the core, the time
        and what the channel takes. Cancelled, the answer is waited for by nobody."""
        link = self._attempt.link if self._attempt is not None else None
        stream = self._core.stream
        ticket, made = make(
            stream, self._clock.monotonic(), link.channel_bytes if link is not None else None
        )
        future: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._calls[ticket] = future
        try:
            self._run(made)
        except (ConnectionError, ValueError):
            stream.withdraw(ticket)
            del self._calls[ticket]
            raise
        try:
            return await future
        finally:
            if self._calls.pop(ticket, None) is not None:
                stream.abandon(ticket, self._clock.monotonic())
                self._arm()

    async def disconnect(self) -> None:
        """End whatever there is, in the order of O63. Afterwards nothing is left of it. Cancelled,
        it is over all the same and everybody is told; what still closes does so by itself."""
        async with self._door:
            made = self._core.disconnect(self._clock.monotonic())
            told = [action for action in made if isinstance(action, act.Notify)]
            self._run([action for action in made if not isinstance(action, act.Notify)])
            try:
                await self._closing.drain(CLOSE_S)
                await self._broker.close()
            finally:
                self._run(told)

    @property
    def session(self) -> Session | None:
        """The session of the connection."""
        return self._attempt.session if self._attempt is not None else None

    @property
    def link(self) -> StreamLink | None:
        """The peer connection."""
        return self._attempt.link if self._attempt is not None else None

    # -- carrying out -----------------------------------------------------------------------------

    def _run(self, made: Sequence[act.Action]) -> None:
        for action in made:
            self._do(action)
        self._arm()

    def _do(self, action: act.Action) -> None:
        match action:
            case act.Notify(name, arguments):
                self._listener.notify(name, arguments)
            case act.SendStream(text):
                self._send_stream(text)
            case act.SendSignal(text):
                self._send_signal(text)
            case act.Resolve(ticket, value):
                self._settle(ticket, value, None)
            case act.Reject(ticket, error):
                self._settle(ticket, None, error)
            case act.Prepare():
                self._prepare()
            case act.Dial(attempt):
                self._dial(attempt)
            case act.AddCandidate(candidate, mid, index):
                if self.link is not None:
                    self.link.add_candidate(candidate, mid, index)
            case act.Connected():
                self._conclude(None)
            case act.ConnectFailed(error):
                self._conclude(error)
            case act.HangUp(farewell):
                self._hang_up(farewell)
            case act.Negotiate():  # only messages of the socket lead to it: `_signal`
                raise AssertionError("an offer outside of the socket's messages")

    def _send_stream(self, text: str) -> None:
        if self.link is None:
            raise ConnectionError("Client to streamer channel not open")
        self.link.send(text)

    def _send_signal(self, text: str) -> None:
        socket = self._attempt.socket if self._attempt is not None else None
        if socket is None:
            raise ConnectionError("The signaling socket is not open")
        socket.send(text)

    def _settle(self, ticket: int, value: str | None, error: Exception | None) -> None:
        future = self._calls.pop(ticket, None)
        if future is None or future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)

    def _conclude(self, error: Exception | None) -> None:
        waiter, self._connecting = self._connecting, None
        if self._attempt is not None:
            self._attempt.concluded.set()
        if waiter is None or waiter.done():
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._core.deadline()
        if due is not None:
            wait = max(0.0, due - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(wait, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._run(self._core.tick(self._clock.monotonic()))

    # -- a session and its socket -----------------------------------------------------------------

    def _prepare(self) -> None:
        if self._plan is None:
            raise AssertionError("nothing says how to connect")
        attempt = _Attempt(self._plan, TaskScope("odyssey connection"))
        self._attempt = attempt
        attempt.scope.spawn(self._hold(attempt), name="hold")
        attempt.scope.spawn(self._prepared(attempt), name="prepare")

    async def _hold(self, attempt: _Attempt) -> None:
        """Keep the broker's connections while its calls follow one another."""
        async with self._broker.hold():
            await attempt.concluded.wait()

    async def _prepared(self, attempt: _Attempt) -> None:
        try:
            attempt.session = await attempt.plan.prepare()
        except Exception as error:  # noqa: BLE001 - edge of the task: the attempt fails with it
            if attempt is self._attempt:
                found = connect_error(error)
                self._run(self._core.prepare_failed(found, self._clock.monotonic()))
            return
        if attempt is self._attempt:
            session_id = attempt.session.session_id
            self._run(self._core.prepared(session_id, self._clock.monotonic()))

    def _dial(self, number: int) -> None:
        attempt = self._attempt
        if attempt is None or attempt.session is None:
            raise AssertionError("there is no session to dial")
        self._log.debug("attempt %d", number + 1)
        attempt.scope.spawn(self._dialed(attempt, attempt.session), name="dial")

    async def _dialed(self, attempt: _Attempt, session: Session) -> None:
        """One attempt (O15, O27); then the socket is read until its end."""
        try:
            async with self._broker.hold() as http:
                base = session.signaling_url
                attempt.ice = await ice_servers(http, base, timeout_s=CONFIG_S)
                token = await attempt.plan.token(session)
            url = signaling_url(base, session.session_id, token)
            socket = await SignalingSocket.open(url)
        except Exception as error:  # noqa: BLE001 - edge of the attempt, which fails with it
            if attempt is self._attempt:
                found = connect_error(error)
                self._log.debug("attempt failed: %s", found.args[0])
                self._run(self._core.dial_failed(found, self._clock.monotonic()))
            return
        if attempt is not self._attempt:
            await socket.close(farewell=True)
            return
        attempt.socket = socket
        attempt.scope.spawn(socket.write(), name="write")
        self._run(self._core.socket_opened(self._clock.monotonic()))
        code, reason = await socket.read(lambda text: self._signal(attempt, text))
        if attempt is self._attempt:
            self._log.debug("closed by the server: %d %s", code, reason)
            self._run(self._core.socket_closed(code, reason, self._clock.monotonic()))

    async def _signal(self, attempt: _Attempt, text: str | bytes) -> None:
        """One message, to its end (O42)."""
        if attempt is not self._attempt:
            return
        if isinstance(text, str):
            self._log.debug("received %s", shorten(text))
        for action in self._core.socket_message(text, self._clock.monotonic()):
            if isinstance(action, act.Negotiate):
                await self._negotiate(attempt, action.sdp)
            else:
                self._do(action)
        self._arm()

    async def _negotiate(self, attempt: _Attempt, offer: str) -> None:
        if attempt.link is not None:
            await attempt.link.close()
        link = StreamLink(_Told(self, attempt), attempt.ice, self._make_viewer)
        attempt.link = link
        try:
            answer = await link.answer(offer)
        except (NegotiationError, ValueError, OSError) as error:
            if attempt is self._attempt:
                self._rtc_log.error("the offer can't be answered: %s", error)
                self._run(self._core.offer_failed(error, self._clock.monotonic()))
            return
        if attempt is self._attempt:
            self._run(self._core.answered(answer, self._clock.monotonic()))

    def _hang_up(self, farewell: bool) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        if attempt.link is not None:
            attempt.link.mute()
        self._closing.spawn(self._close(attempt, farewell), name="close")

    async def _close(self, attempt: _Attempt, farewell: bool) -> None:
        if attempt.link is not None:
            await attempt.link.close()
        if attempt.socket is not None:
            await attempt.socket.close(farewell=farewell)
        await attempt.scope.close()

    # -- the link ---------------------------------------------------------------------------------

    def told(self, attempt: _Attempt, event: Callable[[float], list[act.Action]]) -> None:
        """The link of `attempt` has something for the core."""
        if attempt is self._attempt:
            self._run(event(self._clock.monotonic()))

    @property
    def core(self) -> SessionCore:
        """What decides."""
        return self._core

    @property
    def listener(self) -> Listener:
        """Who is told."""
        return self._listener


class _Told:
    """From the events of a link to the core, as long as the link is the one in use."""

    def __init__(self, driver: SessionDriver, attempt: _Attempt) -> None:
        self._driver = driver
        self._attempt = attempt

    def video_announced(self) -> None:
        self._driver.told(self._attempt, self._driver.core.video_announced)

    def channel_opened(self) -> None:
        self._driver.told(self._attempt, self._driver.core.channel_opened)

    def message(self, text: str) -> None:
        core = self._driver.core
        self._driver.told(self._attempt, lambda now: core.stream_message(text, now))

    def video_ended(self) -> None:
        self._driver.told(self._attempt, self._driver.core.video_ended)

    def state_changed(self, state: str) -> None:
        core = self._driver.core
        self._driver.told(self._attempt, lambda now: core.link_changed(state, now))

    def picture(self, frame: VideoFrame) -> None:
        self._driver.listener.picture(frame)

    def sound(self, frame: AudioFrame) -> None:
        self._driver.listener.sound(frame)
