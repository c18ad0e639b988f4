"""How clients of FastRTC's endpoints come to a session; no web framework in here.

Messages are those of FastRTC's public interface: an offer is
``{"sdp", "type": "offer", "webrtc_id"}`` and answered by ``{"sdp", "type": "answer"}``; a trickled
candidate is ``{"type": "ice-candidate", "candidate": {"candidate": ...}, "webrtc_id"}``; what can't
be done is ``{"status": "failed", "meta": {"error": ...}}``. A WebSocket begins with
``{"event": "start", "websocket_id"}`` (``streamSid`` from telephony); ``media``, ``ping``, ``dtmf``
and ``stop`` follow.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from salon.transport.packets import NegotiationError
from salon.voice.backends.auth import auth_context
from salon.voice.backends.peer_connection import PeerConnection
from salon.voice.backends.session import VoiceSession
from salon.voice.backends.socket_connection import JsonSocket, SocketConnection

if TYPE_CHECKING:
    from salon.voice.backends.fastrtc import FastRTCVoiceBackend

_log = logging.getLogger("salon.voice")

SessionFactory = Callable[[str], Awaitable[VoiceSession | None]]
"""Makes the session of a client by the id it gave itself; None turns it away."""

START_TIMEOUT_S: Final = 10.0
"""For a WebSocket to say who it is."""
FACTORY_TIMEOUT_S: Final = 30.0
MAX_ID: Final = 128
MAX_EARLY: Final = 100
"""Candidates kept until their offer is answered."""
_NORMAL: Final = 1000
_INVALID: Final = 1007
_REFUSED: Final = 1008

Reply = dict[str, Any]


class Socket(JsonSocket, Protocol):
    """A WebSocket that was accepted."""

    async def receive(self) -> Any:
        """The next ASGI message."""
        ...


def failed(error: str, **more: Any) -> Reply:
    """What can't be done."""
    return {"status": "failed", "meta": {"error": error, **more}}


class _Malformed(ValueError):
    """A client said what means nothing here."""


@dataclass(slots=True)
class _Client:
    """Somebody who is connected or about to be."""

    session: VoiceSession | None = None
    peer: PeerConnection | None = None
    early: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_EARLY))


class FastRTCDesk:
    """Takes in the clients of one mount: at most `limit` at a time, None for any number."""

    def __init__(
        self, backend: FastRTCVoiceBackend, factory: SessionFactory | None, limit: int | None
    ) -> None:
        self._backend = backend
        self._factory = factory
        self._limit = limit
        self._clients: dict[str, _Client] = {}

    # -- over HTTP --------------------------------------------------------------------------------

    async def offer(self, body: Any, known: dict[str, Any] | None = None) -> Reply:
        """The reply to a body posted to ``/webrtc/offer``; `known` of its sender goes to the
        session factory."""
        try:
            name = _identifier(body, "webrtc_id")
            if body.get("type") == "ice-candidate":
                return self._candidate(name, body.get("candidate"))
            sdp = body.get("sdp")
            if body.get("type") != "offer" or not isinstance(sdp, str):
                raise _Malformed('an offer has "type": "offer" and its sdp as text')
        except _Malformed as error:
            return failed(str(error))
        refusal = self._refusal(name)
        if refusal is not None:
            return refusal
        client = self._clients[name] = _Client()
        try:
            return await self._connect(name, client, sdp, known)
        except NegotiationError as error:
            return failed(str(error))
        finally:
            if client.session is None:
                del self._clients[name]

    async def _connect(
        self, name: str, client: _Client, offer: str, known: dict[str, Any] | None
    ) -> Reply:
        connection, sdp = await self._backend.negotiate(offer)
        joined = False
        try:
            session = await self._make_session(name, known)
            if session is None:
                return failed("no_session")
            self._backend.attach(session, connection)
            joined = True
        finally:
            if not joined:
                await connection.close()
        client.session, client.peer = session, connection
        while client.early:
            self._candidate(name, {"candidate": client.early.popleft()})
        return {"sdp": sdp, "type": "answer"}

    def _candidate(self, name: str, candidate: Any) -> Reply:
        text = candidate.get("candidate") if isinstance(candidate, dict) else None
        if not isinstance(text, str):
            return failed("invalid_candidate_format")
        self._forget_the_gone()
        client = self._clients.get(name)
        if client is None:
            return failed("unknown_connection")
        try:
            if client.peer is None:
                client.early.append(text)
            else:
                client.peer.add_candidate(text)
        except NegotiationError:
            return failed("invalid_candidate_format")
        return {"status": "success"}

    def _forget_the_gone(self) -> None:
        for name, client in [*self._clients.items()]:
            session = client.session
            if session is not None and self._backend.get_session(session.id) is None:
                del self._clients[name]

    def _refusal(self, name: str) -> Reply | None:
        self._forget_the_gone()
        if name in self._clients:
            return failed("connection_already_exists")
        if self._limit is not None and len(self._clients) >= self._limit:
            return failed("concurrency_limit_reached", limit=self._limit)
        return None

    async def _make_session(self, name: str, known: dict[str, Any] | None) -> VoiceSession | None:
        """By the factory, else one that was made in advance; None if there is none to be had."""
        session: VoiceSession | None
        if self._factory is None:
            session = self._backend.waiting_session(name)
        else:
            token = auth_context.set(known)
            try:
                async with asyncio.timeout(FACTORY_TIMEOUT_S):
                    session = await self._factory(name)
            except Exception:  # noqa: BLE001 - the outer edge to other people's code; logged there
                _log.exception("no session could be made for client %r", name)
                return None
            finally:
                auth_context.reset(token)
        if session is None or self._backend.get_session(session.id) is None:
            return None
        session.metadata["websocket_id"] = name
        return session

    # -- over WebSocket ---------------------------------------------------------------------------

    async def serve(
        self,
        socket: Socket,
        kind: Literal["page", "telephone"],
        known: dict[str, Any] | None = None,
    ) -> None:
        """Everything from the acceptance of a WebSocket to its end."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                name = await _started(socket, kind)
        except _Malformed as error:
            await socket.close(_INVALID, str(error)[:120])
            return
        except TimeoutError:
            await socket.close(_REFUSED, "no start message")
            return
        if name is None:
            return
        refusal = self._refusal(name)
        if refusal is not None:
            await socket.send_text(json.dumps(refusal))
            await socket.close(_REFUSED)
            return
        client = self._clients[name] = _Client()
        try:
            connection = self._backend.socket_connection(socket, kind, name)
            session = client.session = await self._make_session(name, known)
            if session is None:
                await socket.send_text(json.dumps(failed("no_session")))
                await socket.close(_REFUSED)
                return
            self._backend.attach(session, connection)
            await _converse(socket, connection)
        finally:
            if self._clients.get(name) is client:
                del self._clients[name]


async def _started(socket: Socket, kind: Literal["page", "telephone"]) -> str | None:
    """The id in the start message; None if the client left before it."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        event = _event(message)
        if event is not None and event.get("event") == "start":
            return _identifier(event, "streamSid" if kind == "telephone" else "websocket_id")


async def _converse(socket: Socket, connection: SocketConnection) -> None:
    """Read and write until the client leaves or the session ends."""
    reading = asyncio.create_task(_read(socket, connection), name="voice socket: read")
    writing = asyncio.create_task(connection.run(), name="voice socket: write")
    try:
        await asyncio.wait((reading, writing), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (reading, writing):
            task.cancel()
        left, broken = await asyncio.gather(reading, writing, return_exceptions=True)
        connection.gone()  # of no effect where it is the session that ended
        connection.leg.close()
    if isinstance(broken, Exception):
        _log.info("a voice client takes no more messages: %r", broken)
    elif isinstance(left, _Malformed):
        await socket.close(_INVALID, str(left)[:120])
    elif isinstance(left, Exception):
        _log.error("reading from a voice client failed", exc_info=left)
    elif left is not True:  # it has not left by itself
        await socket.close(_NORMAL)


async def _read(socket: Socket, connection: SocketConnection) -> bool:
    """True once the client has left, False once it said that it wants to."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return True
        try:
            if message.get("bytes") is not None:
                connection.leg.receive_samples(message["bytes"])
                continue
            event = _event(message)
            if event is not None and not _take(event, connection):
                return False
        except ValueError as error:
            raise _Malformed(str(error)) from error


def _take(event: dict[str, Any], connection: SocketConnection) -> bool:
    """Do what an event says; False for the last one. Unknown ones mean nothing."""
    match event:
        case {"event": "media", "media": {"payload": str(payload)}}:
            connection.leg.receive(payload)
        case {"event": "dtmf", "dtmf": {"digit": str(digit)}}:
            connection.leg.press(digit)
        case {"event": "ping"}:
            connection.tell({"event": "pong"})
        case {"event": "stop"}:
            return False
    return True


def _event(message: Any) -> dict[str, Any] | None:
    """The JSON object in a text message; None for binary ones."""
    text = message.get("text")
    if text is None:
        return None
    try:
        event = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _Malformed(f"a message is no JSON: {error}") from None
    if not isinstance(event, dict):
        raise _Malformed("a message is no JSON object")
    return event


def _identifier(body: Any, key: str) -> str:
    name = body.get(key) if isinstance(body, dict) else None
    if not isinstance(name, str) or not 0 < len(name) <= MAX_ID:
        raise _Malformed(f"{key} must be text of 1 to {MAX_ID} characters")
    return name
