"""What recognition and synthesis by Deepgram share: address, key, connections, refusals.

A key goes nowhere but to the configured address: redirects are not followed, and no message of an
error or a log holds it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from salon.base import ConfigurationError, MissingExtraError, redact_text
from salon.base.clock import Clock
from salon.base.redaction import MASK
from salon.voice.errors import SpeechError
from salon.voice.plain_http import plain

if TYPE_CHECKING:
    import httpx
    from websockets.asyncio.client import ClientConnection
    from websockets.exceptions import ConnectionClosed

BASE_URL: Final = "https://api.deepgram.com"
EXTRA: Final = "deepgram"
CONNECT_S: Final = 5.0
KEEP_ALIVE_S: Final = 4.0
"""The service closes a stream after 10 s without a message; its guide asks for one every 3 to 5."""
PING_S: Final = 20.0
CLOSE_S: Final = 1.0
MAX_MESSAGE: Final = 4 * 1024 * 1024
_MAX_REFUSAL: Final = 4096
_SAID_CHARS: Final = 300
_REASONS: Final = ("err_msg", "message", "description", "details")

Query = Sequence[tuple[str, str]]

_log = logging.getLogger("salon.voice.deepgram")
_socket_log = logging.getLogger("salon.voice.deepgram.socket")
# The library writes all headers, and so the key, at the level DEBUG.
_socket_log.setLevel(logging.INFO)


class DeepgramService:
    """One account at one address. `engine` names who asks in errors; `timeout` (seconds) bounds
    every wait for the service but the one for a connection, which `connect_timeout` bounds.

    `ConfigurationError` for a `base_url` that is no bare http(s) address, and a key that cannot
    stand in a header.
    """

    def __init__(
        self,
        engine: str,
        base_url: str,
        api_key: str,
        *,
        timeout: float,
        connect_timeout: float = CONNECT_S,
        keep_alive: float = KEEP_ALIVE_S,
        clock: Clock,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise ConfigurationError(f"Deepgram's base_url {base_url!r} is no http(s) address")
        if not api_key.isascii() or not api_key.isprintable():
            raise ConfigurationError("the Deepgram key holds characters that no key has")
        self.engine = engine
        self.base_url = base_url.rstrip("/")
        self.timeout = timeout
        self.connect_timeout = min(connect_timeout, timeout)
        self.keep_alive = keep_alive
        self.clock = clock
        self._key = api_key

    def __repr__(self) -> str:
        return f"DeepgramService({self.engine!r}, {self.base_url!r})"

    def error(self, message: str) -> SpeechError:
        """What went wrong, without the key."""
        if len(self._key) > 3:
            message = message.replace(self._key, MASK)
        return SpeechError(self.engine, " ".join(redact_text(message).split())[:_SAID_CHARS])

    def late(self) -> SpeechError:
        """The service took too long."""
        return self.error(f"no answer within {self.timeout:g} s")

    def refusal(self, status: int, body: bytes) -> SpeechError:
        """An answer that is an error."""
        text = body[:_MAX_REFUSAL].decode("utf-8", "replace")
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            text = next((str(found[key]) for key in _REASONS if found.get(key)), text)
        return self.error(f"the service answers {status}: {text}")

    def check_extra(self) -> None:
        """`MissingExtraError` unless both libraries are there."""
        try:
            import httpx  # noqa: F401
            import websockets.asyncio.client  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(EXTRA, "Deepgram") from error

    def client(self, max_connections: int) -> httpx.AsyncClient:
        """A pool for HTTP requests; the caller closes it."""
        import httpx

        return httpx.AsyncClient(
            base_url=self.base_url,
            **plain({"Authorization": f"Token {self._key}"}),
            timeout=httpx.Timeout(
                self.timeout, connect=self.connect_timeout, pool=self.connect_timeout
            ),
            limits=httpx.Limits(
                max_connections=max_connections, max_keepalive_connections=max_connections
            ),
            follow_redirects=False,
        )

    async def connect(
        self, path: str, query: Query, *, ping: float | None = PING_S
    ) -> DeepgramSocket:
        """Open a stream. `SpeechError` if it is refused, or not there in time. A service that
        answers no ping for `ping` seconds is gone; whoever may leave messages unread for so long
        gives None."""
        from websockets.exceptions import InvalidStatus, WebSocketException

        url = f"ws{self.base_url.removeprefix('http')}{path}?{urlencode(query)}"
        try:
            connection = await _connector()(
                url,
                additional_headers={"Authorization": f"Token {self._key}"},
                open_timeout=self.connect_timeout,
                close_timeout=CLOSE_S,
                ping_interval=ping,
                ping_timeout=ping,
                max_size=MAX_MESSAGE,
                compression=None,
                logger=_socket_log,
            )
        except InvalidStatus as error:
            response = error.response
            raise self.refusal(response.status_code, bytes(response.body or b"")) from None
        except TimeoutError:
            raise self.error(f"no connection within {self.connect_timeout:g} s") from None
        except (OSError, WebSocketException) as error:
            said = str(error) or type(error).__name__
            raise self.error(f"the connection failed: {said}") from error
        return DeepgramSocket(self, connection)

    @asynccontextmanager
    async def stream(self, path: str, query: Query) -> AsyncIterator[DeepgramSocket]:
        """The same, closed at the end: with a handshake, or at once after a failure."""
        socket = await self.connect(path, query)
        try:
            yield socket
        except BaseException:
            socket.abort()
            raise
        await socket.close()


class DeepgramSocket:
    """An open stream: sound and commands one way, messages and sound the other."""

    def __init__(self, service: DeepgramService, connection: ClientConnection) -> None:
        self._service = service
        self._connection = connection
        self._sent_at = service.clock.monotonic()

    @property
    def is_open(self) -> bool:
        """Neither side has begun to close, as far as is known here."""
        from websockets.protocol import State

        return self._connection.state is State.OPEN

    async def command(self, kind: str, **fields: str) -> None:
        """Send a message of this ``type``. `SpeechError` as `send`."""
        await self.send(json.dumps({"type": kind, **fields}))

    async def send(self, data: bytes | str) -> None:
        """`SpeechError` if the connection is closed, or the service takes nothing for
        `timeout`."""
        from websockets.exceptions import ConnectionClosed

        try:
            async with asyncio.timeout(self._service.timeout):
                await self._connection.send(data)
        except TimeoutError:
            timeout = self._service.timeout
            raise self._service.error(f"nothing was taken for {timeout:g} s") from None
        except ConnectionClosed as error:
            raise self._closed(error) from None
        self._sent_at = self._service.clock.monotonic()

    async def keep_alive(self) -> None:
        """Tell the service that more comes wherever nothing was sent for a while. Ends when the
        connection does."""
        clock, pause = self._service.clock, self._service.keep_alive
        while self.is_open:
            quiet = clock.monotonic() - self._sent_at
            if quiet < pause:
                await clock.sleep(pause - quiet)
                continue
            try:
                await self.command("KeepAlive")
            except SpeechError as error:  # The reader meets the same end and reports it.
                _log.debug("no keep-alive: %s", error)
                return

    async def receive(self) -> dict[str, Any] | bytes | None:
        """The next message, or sound; None is the orderly end. `SpeechError` for any other end,
        garbage, and messages that are errors. May be cancelled without losing a message."""
        from websockets.exceptions import ConnectionClosed, ConnectionClosedOK

        try:
            data = await self._connection.recv()
        except ConnectionClosedOK:
            return None
        except ConnectionClosed as error:
            raise self._closed(error) from None
        if isinstance(data, bytes):
            return data
        try:
            message = json.loads(data)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise self._service.error("sent what is no message")
        if message.get("type") == "Error" or "err_code" in message:
            said = next((str(message[key]) for key in _REASONS if message.get(key)), "an error")
            raise self._service.error(f"the service says: {said}")
        return message

    async def close(self) -> None:
        """Close in order; waits a second at most."""
        await self._connection.close()

    def abort(self) -> None:
        """Close without a word, at once."""
        self._connection.transport.abort()

    def _closed(self, error: ConnectionClosed) -> SpeechError:
        frame = error.rcvd or error.sent
        said = "without a word" if frame is None else f"with {frame.code} {frame.reason}".rstrip()
        return self._service.error(f"the connection was closed {said}")


@asynccontextmanager
async def beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` beside the body and end it with the body. What fails first ends all of it, and is
    raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
            yield
            for task in tasks:
                task.cancel()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _connector() -> Any:
    from websockets.asyncio.client import connect

    class Connect(connect):
        """Goes where it is told to, and nowhere else."""

        def process_redirect(self, exc: Exception) -> Exception | str:
            return exc

    return Connect
