"""The stand-in on loopback: console and ingress over aiohttp, driving the sans-IO parts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from aiohttp import WSMsgType, web

from salon.base.clock import SYSTEM_CLOCK, Clock
from salon.base.ids import IdFactory, new_id
from salon.base.tasks import TaskScope
from salon.testing.avatar.actions import Action, Close, Drop, Send, SendText
from salon.testing.avatar.faults import Faults, HttpFault, Step
from salon.testing.avatar.http import (
    CONSOLE_PATH,
    INGRESS_PATH,
    TOKEN_PATHS,
    WEBSOCKET_PATH,
    Console,
    HttpAnswer,
    admit,
)
from salon.testing.avatar.record import SessionRecord
from salon.testing.avatar.session import AvatarServerSession
from salon.testing.avatar.settings import AvatarSettings
from salon.testing.avatar.tokens import TokenDesk

MAX_RECORDS: Final = 1000
MAX_OUTBOX: Final = 1000
"""Messages that wait for a client that does not read; more cuts the connection."""
CLOSE_TIMEOUT_S: Final = 5.0
MAX_BODY_BYTES: Final = 64 << 10

_log = logging.getLogger("salon.testing.avatar")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request at the console: `body` as it came. The key is not kept."""

    path: str
    body: bytes
    content_type: str
    status: int


class AvatarStandIn:
    """A console and an ingress for clients of the avatar protocol, on a free port of loopback.

        async with AvatarStandIn() as stand_in:
            session = new_avatar_session(
                console_endpoint_url=stand_in.console_url,
                ingress_endpoint_url=stand_in.ingress_url,
                api_key=API_KEY, app_id=APP_ID, avatar_id=AVATAR_ID, …
            )

    It speaks the whole protocol, with keyframes made from the sound itself, and goes wrong as
    `faults` say. In egress mode it joins no room: it keeps the time of playout. `clock` gives the
    wall time for tokens and the time of sessions; waiting is the event loop's.
    """

    def __init__(
        self,
        settings: AvatarSettings | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        new_id: IdFactory = new_id,
        port: int = 0,
    ) -> None:
        self.settings = settings or AvatarSettings()
        self.faults = Faults()
        self.tokens = TokenDesk(new_id)
        self.asked: deque[Asked] = deque(maxlen=MAX_RECORDS)
        """Requests for tokens, the oldest first."""
        self.records: deque[SessionRecord] = deque(maxlen=MAX_RECORDS)
        """Sessions, running and over, the oldest first."""
        self._console = Console(self.settings, self.tokens, new_id)
        self._clock = clock
        self._new_id = new_id
        self._port = port
        self._links: set[_Link] = set()
        self._runner: web.AppRunner | None = None

    @property
    def console_url(self) -> str:
        """``http://127.0.0.1:port/v1/console`` (A4)."""
        return f"http://127.0.0.1:{self._port}{CONSOLE_PATH}"

    @property
    def ingress_url(self) -> str:
        """``ws://127.0.0.1:port/v2/driveningress`` (A14)."""
        return f"ws://127.0.0.1:{self._port}{INGRESS_PATH}"

    @property
    def live(self) -> int:
        """Connections that are open now."""
        return len(self._links)

    async def start(self) -> None:
        """Listen. `OSError` if the port is taken."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        for path in TOKEN_PATHS:
            app.router.add_post(path, self._token)
        app.router.add_get(WEBSOCKET_PATH, self._ingress)
        runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=1.0,
            handler_cancellation=True,  # a late answer that nobody waits for is given up
        )
        await runner.setup()
        self._runner = runner
        await web.TCPSite(runner, "127.0.0.1", self._port).start()
        self._port = runner.addresses[0][1]

    async def close(self) -> None:
        """Go away (1001 to every session) and stop listening; idempotent. Who does not read is
        cut off after 5 s."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.inject(Close(1001, "going away"))
        except TimeoutError:
            for link in self._links:
                link.cut()
        finally:
            await runner.cleanup()

    async def inject(self, *steps: Step, connection_id: str | None = None) -> None:
        """Do something wrong in every running session, or in one; returns when it was sent."""
        links = [
            link
            for link in self._links
            if connection_id in (None, link.session.record.connection_id)
        ]
        await asyncio.gather(*(link.inject(steps) for link in links))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _token(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        answer = await self._wrong(request, self.faults.take_console())
        if answer is None:
            key = request.headers.get("X-Api-Key", "")
            answer = self._console.answer(key, body, self._clock.time())
        self.asked.append(Asked(request.path, body, request.content_type, answer.status))
        return _response(answer)

    async def _ingress(self, request: web.Request) -> web.StreamResponse:
        answer = await self._wrong(request, self.faults.take_upgrade())
        if answer is not None:
            return _response(answer)
        admission = admit(
            self.settings, self.tokens, request.headers, request.query, self._clock.time()
        )
        if isinstance(admission, HttpAnswer):
            return _response(admission)
        now = self._clock.monotonic()
        record = SessionRecord(
            f"conn-{self._new_id()}", admission.app.app_id, admission.avatar_id, now
        )
        self.records.append(record)
        limit = self.settings.max_sessions
        full = limit is not None and len(self._links) >= limit
        session = AvatarServerSession(record, self.settings, self.faults, now, full=full)
        socket = web.WebSocketResponse(
            timeout=CLOSE_TIMEOUT_S,
            heartbeat=self.settings.ping_interval_s,
            compress=self.settings.compress,
            max_msg_size=self.settings.max_message_bytes,
        )
        await socket.prepare(request)
        link = _Link(session, socket, request, self._clock)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)
        return socket

    async def _wrong(self, request: web.Request, fault: HttpFault | None) -> HttpAnswer | None:
        """The answer of a fault; None: the right one. A dropped connection ends the handler."""
        if fault is None:
            return None
        if fault.delay_s:
            await self._clock.sleep(fault.delay_s)
        if fault.drop:
            _abort(request)
            raise web.HTTPServiceUnavailable  # nobody is there to get it
        return fault.answer


class _Link:
    """One connection: a reader, and a writer that also keeps the session's time."""

    def __init__(
        self,
        session: AvatarServerSession,
        socket: web.WebSocketResponse,
        request: web.Request,
        clock: Clock,
    ) -> None:
        self.session = session
        self._socket = socket
        self._request = request
        self._clock = clock
        self._outbox: deque[Action] = deque()
        self._wake = asyncio.Event()
        self._sent = asyncio.Event()

    async def run(self) -> None:
        """Until the connection is over."""
        tasks = TaskScope("avatar stand-in")
        tasks.spawn(self._write(), name="writer")
        try:
            async for message in self._socket:
                now = self._clock.monotonic()
                if message.type is WSMsgType.BINARY:
                    self._put(self.session.receive(message.data, now))
                elif message.type is WSMsgType.TEXT:
                    self._put(self.session.receive_text(now))
        finally:
            self.session.lost(self._clock.monotonic())
            self._sent.set()
            await tasks.close()

    async def inject(self, steps: tuple[Step, ...]) -> None:
        """Have `steps` sent, and wait until they are."""
        actions = self.session.inject(steps, self._clock.monotonic())
        if actions:
            self._sent.clear()
            self._put(actions)
            await self._sent.wait()

    def _put(self, actions: list[Action]) -> None:
        self._outbox += actions
        if len(self._outbox) > MAX_OUTBOX:
            _log.warning("a client does not read: its connection is cut")
            self.cut()
        self._wake.set()

    def cut(self) -> None:
        """End the connection without a word."""
        _abort(self._request)

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionError):
            while await self._step():
                pass

    async def _step(self) -> bool:
        """Send what is there, else make more, else wait; False at the end."""
        if self._outbox:
            going_on = await self._do(self._outbox[0])
            if going_on:
                self._outbox.popleft()
            return going_on
        self._sent.set()
        now = self._clock.monotonic()
        self._outbox += self.session.poll(now)
        if self._outbox:
            await asyncio.sleep(0)  # the reader and the other sessions have their turn
            return True
        self._wake.clear()
        at = self.session.wake_at()
        delay = None if at is None else at - now
        if delay is not None and delay <= 0:
            await asyncio.sleep(0)
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._wake.wait()
        return True

    async def _do(self, action: Action) -> bool:
        if isinstance(action, Send):
            await self._socket.send_bytes(action.data)
            return True
        if isinstance(action, SendText):
            await self._socket.send_str(action.text)
            return True
        self._outbox.clear()
        self._sent.set()
        if isinstance(action, Drop):
            self.cut()
        else:
            await self._socket.close(code=action.code, message=action.reason.encode()[:123])
        return False


def _abort(request: web.Request) -> None:
    if (transport := request.transport) is not None:
        transport.abort()


def _response(answer: HttpAnswer) -> web.Response:
    return web.Response(
        status=answer.status,
        body=answer.body.encode(),
        headers={"Content-Type": answer.content_type, **answer.headers},
    )
