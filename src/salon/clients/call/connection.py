"""One WebSocket with a reading task; errors of the library become ours."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from salon.base import MissingExtraError, TaskScope
from salon.base.policy import is_loopback
from salon.clients.call.addresses import host
from salon.clients.call.errors import CallClosed, ClientError, ConnectFailed, refused

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection
    from websockets.http11 import Response

_log = logging.getLogger("salon.clients.call")

MAX_MESSAGE = 4 * 1024 * 1024
CLOSE_TIMEOUT = 2.0
PING_INTERVAL = 20.0
PING_TIMEOUT = 20.0
_QUIET_CODES = frozenset({1000, 1005})


class Connection:
    """An open WebSocket. `open` makes it, `start` begins to read, `close` ends it.

    Received messages go to the two callbacks given to `start`, on the event loop, one by one; then
    `ended` is called once with the error to tell readers (None after a normal end).
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._tasks = TaskScope("client")
        self._reader: asyncio.Task[None] | None = None
        self._closing = False
        self.finished = False
        """The peer said that it is done: whatever code follows, it is a normal end."""

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        api_key: str | None,
        open_timeout: float,
        tls: ssl.SSLContext | None,
        max_size: int = MAX_MESSAGE,
    ) -> Connection:
        """Connect. A message longer than `max_size` bytes ends the connection. Raises `Refused` and
        its kinds, `ConnectFailed`, `MissingExtraError`."""
        try:
            from websockets.asyncio.client import connect
            from websockets.exceptions import InvalidStatus, InvalidURI, WebSocketException
        except ModuleNotFoundError:
            raise MissingExtraError("client", "connecting to a call") from None
        options: dict[str, Any] = {}
        if is_loopback(host(url)):
            options["proxy"] = None  # a proxy could not reach this machine
        if tls is not None and url.startswith("wss:"):
            options["ssl"] = tls
        try:
            socket = await connect(
                url,
                additional_headers={"Authorization": f"Bearer {api_key}"} if api_key else None,
                compression=None,
                open_timeout=open_timeout,
                close_timeout=CLOSE_TIMEOUT,
                ping_interval=PING_INTERVAL,
                ping_timeout=PING_TIMEOUT,
                max_size=max_size,
                **options,
            )
        except InvalidStatus as error:
            raise _refusal(error.response) from None
        except InvalidURI as error:
            raise ConnectFailed(f"not the URL of a WebSocket: {error}") from None
        except TimeoutError:
            raise ConnectFailed(f"no answer from {url} within {open_timeout:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise ConnectFailed(
                f"the certificate of {host(url)} is not trusted: {error.verify_message}"
            ) from None
        except (OSError, WebSocketException) as error:
            raise ConnectFailed(f"no connection to {url}: {error}") from None
        return cls(socket)

    def start(
        self,
        on_text: Callable[[str], None],
        on_binary: Callable[[bytes], None],
        ended: Callable[[ClientError | None], None],
    ) -> None:
        """Begin to read."""
        self._reader = self._tasks.spawn(self._read(on_text, on_binary, ended), name="reader")

    async def send(self, data: str | bytes) -> None:
        """Send one frame; waits while the peer does not read. `CallClosed` after the end."""
        from websockets.exceptions import ConnectionClosed

        try:
            await self._socket.send(data)
        except ConnectionClosed:
            raise self._closed() from None

    def require_open(self) -> None:
        """`CallClosed` after the end."""
        if self._socket.close_code is not None:
            raise self._closed()

    async def wait_closed(self) -> None:
        """Wait until the connection has ended and everything received was handed on."""
        if self._reader is not None:
            await asyncio.wait({self._reader})

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send Close, wait at most `CLOSE_TIMEOUT` for the peer's, end the reading; idempotent."""
        self._closing = True
        await self._socket.close(code, reason)
        await self.wait_closed()
        await self._tasks.close()

    @property
    def close_code(self) -> int | None:
        """The code of the Close frame, 1006 if it ended without one; None while it is open."""
        return self._socket.close_code

    def _closed(self) -> CallClosed:
        code = self._socket.close_code
        return CallClosed(1006 if code is None else code, self._socket.close_reason or "")

    async def _read(
        self,
        on_text: Callable[[str], None],
        on_binary: Callable[[bytes], None],
        ended: Callable[[ClientError | None], None],
    ) -> None:
        from websockets.exceptions import ConnectionClosed

        error: ClientError | None = None
        try:
            while True:
                message = await self._socket.recv()
                if isinstance(message, str):
                    on_text(message)
                else:
                    on_binary(message)
        except ConnectionClosed:
            closed = self._closed()
            normal = self._closing or self.finished or closed.close_code in _QUIET_CODES
            error = None if normal else closed
        except Exception as failure:  # noqa: BLE001 - edge of the task: a user's callback failed
            _log.exception("handling a received message failed")
            error = ClientError(f"handling a received message failed: {failure!r}")
            error.__cause__ = failure
            await self._socket.close(1011, "client failed")
        finally:
            ended(error)


def _refusal(response: Response) -> ClientError:
    return refused(
        response.status_code,
        _message(bytes(response.body or b"")),
        _seconds(response.headers.get("Retry-After")),
    )


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() else None


def _message(body: bytes) -> str:
    """What the body of a refusal says, in one short line."""
    text = body[:2000].decode("utf-8", "replace").strip()
    try:
        data = json.loads(text)
    except ValueError:
        data = None
    if isinstance(data, dict):
        said = (data.get(key) for key in ("message", "detail", "error"))
        text = next((item for item in said if isinstance(item, str)), text)
    return " ".join(text.split())[:200]
