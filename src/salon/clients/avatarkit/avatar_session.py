"""A session with an avatar service: sound in, animation out (chapters 1 to 11).

session = new_avatar_session(api_key=..., app_id=..., avatar_id=..., expire_at=...,
                             console_endpoint_url=..., ingress_endpoint_url=...,
                             transport_frames=lambda data, last: ...)
await session.init()
await session.start()
await session.send_audio(pcm, end=True)
await session.close()
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final

import aiohttp
import websockets
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK

from salon.base.tasks import RAISED
from salon.clients.avatarkit.classification import HANDSHAKE_FAILED
from salon.clients.avatarkit.encoding import RequestEncoder, request_encoder
from salon.clients.avatarkit.endpoint import Opening, opening
from salon.clients.avatarkit.errors import (
    PHASE_HANDSHAKE,
    PHASE_RUNTIME,
    PHASE_SEND,
    AvatarSDKErrorCode,
    SessionTokenError,
)
from salon.clients.avatarkit.failures import connection_closed, connection_failed, session_closed
from salon.clients.avatarkit.logid import generate_log_id
from salon.clients.avatarkit.session_config import SessionConfig
from salon.clients.avatarkit.session_core import (
    Failure,
    Frames,
    Requests,
    confirmed_id,
    received,
)
from salon.clients.avatarkit.session_socket import (
    REFUSED_CLOSE_SECONDS,
    SOCKET_FAILURES,
    Socket,
    close_socket,
    closed_error,
    open_socket,
    reason_of,
    socket_error,
)
from salon.clients.avatarkit.session_token import TokenRequest, token_from, token_request
from salon.clients.avatarkit.wire import audio_message, configure_message, interrupt_message

HANDSHAKE_SECONDS: Final = 10.0
"""How long a server may take to confirm a session (A38)."""
TOKEN_SECONDS: Final = 20.0
"""How long the console may take to answer (A10)."""
MAX_ANSWER_BYTES: Final = 1 << 20
"""More of the console's answer is not read."""

# Programs set this logger's level by its name (A95).
_log = logging.getLogger("avatarkit.avatar_session")


class AvatarSession:
    """One connection to an avatar service at a time.

    `init` gets a token, `start` connects, `send_audio` speaks, `close` ends; after `close` or a
    lost connection the same object may `start` again with the token it holds. Requests follow one
    another: one task at a time calls `send_audio` (A48).

    The callbacks of `config` run on the event loop: `transport_frames` for each piece of
    animation in order, `on_error` for what goes wrong in a running session, `on_close` exactly
    once per session that was started, however it ends.

    `token_timeout` and `handshake_timeout` in seconds; `new_id` makes the ids of requests.
    """

    def __init__(
        self,
        config: SessionConfig,
        *,
        token_timeout: float = TOKEN_SECONDS,
        handshake_timeout: float = HANDSHAKE_SECONDS,
        new_id: Callable[[], str] = generate_log_id,
    ) -> None:
        self._config = config
        self._token_timeout = token_timeout
        self._handshake_timeout = handshake_timeout
        self._requests = Requests(new_id)
        self._encoder: RequestEncoder | None = None
        self._session_token: str | None = None
        self._connection: Socket | None = None
        """Open and confirmed; while there is one, `on_close` is due."""
        self._read_task: asyncio.Task[None] | None = None
        self._starting: _Starting | None = None

    @property
    def config(self) -> SessionConfig:
        """The configuration it was made with, the same object."""
        return self._config

    @property
    def connected(self) -> bool:
        """Whether sound can be sent."""
        return self._connection is not None

    @property
    def last_req_id(self) -> str | None:
        """The request last begun on this connection, ended or not."""
        return self._requests.newest

    async def init(self) -> None:
        """Get a session token. `ValueError` for what the configuration lacks, `SessionTokenError`
        for everything after (A9, A11)."""
        request = token_request(self._config)
        status, body = await self._post(request)
        self._session_token = token_from(status, body)

    async def _post(self, request: TokenRequest) -> tuple[int, str]:
        """Status and body; an unreadable or endless body counts as none."""
        try:
            async with (
                asyncio.timeout(self._token_timeout),
                aiohttp.ClientSession() as http,
                # A redirect is no success (A2), and the key is for the console alone.
                http.post(
                    request.url,
                    json=dict(request.body),
                    headers=dict(request.headers),
                    allow_redirects=False,
                ) as response,
            ):
                return response.status, await _text_of(response)
        except TimeoutError as error:
            raise _token_failure("Timed out while creating session token") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _token_failure(f"Failed to create session token: {reason_of(error)}") from error

    async def start(self) -> str:
        """Connect and configure the session; its connection's id.

        `ValueError` for a wrong call (A16, A34), `AvatarSDKError` when the service refuses (A23,
        A39), does not confirm in time, or when `close` is called meanwhile. A failed start calls
        no callback, leaves no socket open and may be tried again (A40).
        """
        if self._connection is not None or self._starting is not None:
            raise ValueError("Session already started")
        to = opening(self._config, self._session_token)
        self._starting = starting = _Starting()
        try:
            async with starting.limit:
                return await self._connect(to)
        except TimeoutError:
            raise session_closed() from None
        finally:
            self._starting = None
            starting.over.set()

    async def _connect(self, to: Opening) -> str:
        configure = configure_message(self._config)
        socket = await open_socket(websockets.connect, to)
        try:
            connection_id = confirmed_id(await self._first_answer(socket, configure))
        except BaseException:
            await close_socket(socket, REFUSED_CLOSE_SECONDS)
            raise
        self._forget()
        self._connection = socket
        self._read_task = asyncio.create_task(self._read_loop())
        return connection_id

    async def _first_answer(self, socket: Socket, configure: bytes) -> str | bytes:
        """What the server says to the configuration (A33, A38)."""
        try:
            async with asyncio.timeout(self._handshake_timeout) as limit:
                await socket.send(configure)
                return await socket.recv()
        except SOCKET_FAILURES as error:
            if limit.expired():
                raise connection_failed(
                    f"{HANDSHAKE_FAILED}: the server did not confirm the session within "
                    f"{self._handshake_timeout:g} s",
                    PHASE_HANDSHAKE,
                ) from None
            raise socket_error(error, PHASE_HANDSHAKE, HANDSHAKE_FAILED) from error

    async def send_audio(self, audio: bytes, end: bool = False) -> str:
        """Send sound of the current request, or of a new one; `end` says that it is complete
        (A42). The request's id.

        `audio` is mono ``int16`` little-endian at the configured rate, or Ogg Opus bytes if the
        format says so and no encoder is configured. `ValueError` when not connected or for wrong
        sound (A98), `AvatarSDKError` when it can't be sent, `RuntimeError` without libopus.
        """
        connection = self._connection
        if connection is None:
            raise ValueError("WebSocket connection is not established")
        sound = bytes(memoryview(audio))
        req_id = self._requests.take()
        if self._encoder is None:
            self._encoder = request_encoder(self._config)
        encoder, stream = self._encoder, None
        if encoder is not None:
            sound, stream = await encoder.encode(sound, end)
            if self._connection is not connection:
                raise connection_closed(None, None, phase=PHASE_SEND, req_id=req_id)
            if self._requests.current != req_id or not (sound or end):
                # Interrupted while it was encoded, or no page is full yet.
                return req_id
        if end:
            self._requests.ended(req_id)
            self._encoder = None
        await self._send(connection, audio_message(req_id, sound, end), "audio", req_id)
        if stream is not None:
            self._tell_encoded(req_id, stream)
        return req_id

    async def interrupt(self) -> str:
        """Stop the newest request, ended or not; the next sound begins a new one (A57, A58).

        Its id. `ValueError` when not connected or without any request, `AvatarSDKError` when it
        can't be sent. The server answers with what is left of the animation, if anything.
        """
        connection = self._connection
        if connection is None:
            raise ValueError("interrupt: websocket connection is not established")
        req_id = self._requests.interrupt()
        self._encoder = None
        await self._send(connection, interrupt_message(req_id), "interrupt", req_id)
        return req_id

    async def close(self) -> None:
        """End the session; harmless when none runs. `on_close` has been called when it returns,
        also if it was cancelled. A peer that does not answer is given up after 11 s. A `start`
        that is under way fails."""
        if self._starting is not None:
            await self._starting.give_up()
        reader, self._read_task = self._read_task, None
        connection = self._connection
        # At once: who starts anew while the peer is slow to close has requests of its own.
        self._forget()
        try:
            # The reader goes on, and drops what it reads: a peer that sends faster than it is read
            # could not get its Close frame through otherwise.
            if connection is not None:
                await close_socket(connection)
        finally:
            try:
                if reader is not None:
                    await _end(reader)
            finally:
                if connection is not None:
                    self._ended()

    async def _send(self, connection: Socket, message: bytes, what: str, req_id: str) -> None:
        try:
            await connection.send(message)
        except SOCKET_FAILURES as error:
            raise socket_error(error, PHASE_SEND, f"Failed to send {what}", req_id) from error

    async def _read_loop(self) -> None:
        """Reads until the socket is closed, then tells so once (A65)."""
        connection = self._connection
        if connection is None:
            return
        try:
            async for message in connection:
                if isinstance(message, bytes) and self._connection is connection:
                    await self._handle_binary_message(message)
        except ConnectionClosedOK:
            pass
        except ConnectionClosed as error:
            if self._connection is connection:
                self._tell_error(closed_error(error))
        except SOCKET_FAILURES as error:
            if self._connection is connection:
                self._tell_error(socket_error(error, PHASE_RUNTIME, "Failed to receive"))
                await close_socket(connection, REFUSED_CLOSE_SECONDS)
        finally:
            if self._connection is connection:
                self._forget()
                self._ended()

    async def _handle_binary_message(self, payload: bytes) -> None:
        """One message of a running session (A51, A64, A66)."""
        match received(payload):
            case Frames(data, last):
                try:
                    self._config.transport_frames(data, last)
                except RAISED:
                    _log.warning("transport_frames callback raised an exception", exc_info=True)
            case Failure(error):
                self._tell_error(error)

    def _forget(self) -> None:
        """No connection, and nothing unfinished (A92)."""
        self._connection = None
        self._requests.forget()
        self._encoder = None

    def _ended(self) -> None:
        try:
            self._config.on_close()
        except RAISED:
            _log.warning("on_close callback raised an exception", exc_info=True)

    def _tell_error(self, error: Exception) -> None:
        try:
            self._config.on_error(error)
        except RAISED:
            _log.warning("on_error callback raised an exception", exc_info=True)

    def _tell_encoded(self, req_id: str, stream: bytes) -> None:
        if self._config.on_encoded_audio is None:
            return
        try:
            self._config.on_encoded_audio(req_id, stream)
        except RAISED:
            _log.exception("on_encoded_audio callback raised an exception")


def new_avatar_session(
    *,
    token_timeout: float = TOKEN_SECONDS,
    handshake_timeout: float = HANDSHAKE_SECONDS,
    **kwargs: Any,
) -> AvatarSession:
    """A session from the fields of `SessionConfig` as keyword arguments; others are ignored (A89,
    A90). `ValueError` for an unknown audio format. Times in seconds."""
    known = {field.name for field in fields(SessionConfig)}
    config = SessionConfig(**{name: value for name, value in kwargs.items() if name in known})
    return AvatarSession(config, token_timeout=token_timeout, handshake_timeout=handshake_timeout)


class _Starting:
    """A `start` under way, and how to end it early."""

    def __init__(self) -> None:
        self.limit = asyncio.timeout(None)
        self.over = asyncio.Event()

    async def give_up(self) -> None:
        """Make it fail, and wait until it has."""
        if not self.limit.expired():
            self.limit.reschedule(asyncio.get_running_loop().time())
        await self.over.wait()


async def _text_of(response: Any) -> str:
    """The body as text; empty if it is none or longer than `MAX_ANSWER_BYTES`."""
    try:
        if not isinstance(response, aiohttp.ClientResponse):
            return str(await response.text())  # tests put in one of their own (A95)
        body = bytearray()
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > MAX_ANSWER_BYTES:
                return ""
        return body.decode(response.charset or "utf-8")
    except (UnicodeDecodeError, LookupError):
        return ""


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end; our own cancellation rises. One that came before, and
    that the caller is cleaning up after, does not."""
    current = asyncio.current_task()
    before = 0 if current is None else current.cancelling()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        if current is not None and current.cancelling() > before:
            raise


def _token_failure(message: str) -> SessionTokenError:
    return SessionTokenError(message, code=AvatarSDKErrorCode.connectionFailed)
