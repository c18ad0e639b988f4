"""Messages from a WebSocket server that we connect to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from salon.base import SYSTEM_CLOCK, Clock, MissingExtraError, UnavailableError
from salon.core.ports.source import EmitCallback
from salon.models import InboundMessage, RateLimit
from salon.sources.connected import ConnectedSource, ConnectionEndedError
from salon.sources.parsing import message_from_json

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection
    from websockets.typing import Origin, Subprotocol

MessageParser = Callable[[str | bytes], InboundMessage | None]
"""What a frame means; None: nothing. It may raise: then the frame is skipped."""


def default_json_parser(channel_id: str) -> MessageParser:
    """A parser of `salon.sources.message_from_json` messages."""
    return lambda raw: message_from_json(channel_id, raw)


class WebSocketSource(ConnectedSource):
    """A client of `url`. Times in seconds, `max_size` in bytes; needs the ``client`` extra.

    Pings keep the connection alive also while a message is being processed; up to 16 frames wait
    meanwhile, then the server has to.
    """

    def __init__(
        self,
        url: str,
        channel_id: str,
        *,
        parser: MessageParser | None = None,
        headers: dict[str, str] | None = None,
        subprotocols: list[str] | None = None,
        ping_interval: float | None = 20.0,
        ping_timeout: float | None = 20.0,
        close_timeout: float = 10.0,
        max_size: int = 1_048_576,
        origin: str | None = None,
        reconnect: bool = False,
        max_reconnect_backoff: float = 30.0,
        rate_limit: RateLimit | None = None,
        open_timeout: float = 10.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(
            url,
            channel_id,
            reconnect=reconnect,
            max_reconnect_backoff=max_reconnect_backoff,
            rate_limit=rate_limit,
            clock=clock,
        )
        self._parser = parser or default_json_parser(channel_id)
        self._headers = headers
        self._subprotocols = subprotocols
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout
        self._open_timeout = open_timeout
        self._close_timeout = close_timeout
        self._max_size = max_size
        self._origin = origin
        self._connection: ClientConnection | None = None

    @property
    def name(self) -> str:
        return f"websocket:{self._where}"

    async def send(self, message: str | bytes) -> None:
        """Send a frame on the connection; `UnavailableError` while there is none."""
        connection = self._connection
        if connection is None:
            raise UnavailableError(f"{self.name} is not connected")
        from websockets.exceptions import ConnectionClosed

        try:
            await connection.send(message)
        except ConnectionClosed as error:
            raise UnavailableError(f"{self.name} has lost its connection") from error

    async def _listen(self, emit: EmitCallback) -> None:
        try:
            from websockets.asyncio.client import connect
            from websockets.exceptions import InvalidURI, WebSocketException
        except ImportError as error:
            raise MissingExtraError("client", "a WebSocket source") from error
        try:
            connection = await connect(
                self._url,
                origin=cast("Origin | None", self._origin),
                subprotocols=cast("Sequence[Subprotocol] | None", self._subprotocols),
                additional_headers=self._headers,
                open_timeout=self._open_timeout,
                ping_interval=self._ping_interval,
                ping_timeout=self._ping_timeout,
                close_timeout=self._close_timeout,
                max_size=self._max_size,
            )
            try:
                self._connection = connection
                self._is_connected()
                async for raw in connection:
                    await self._pass_on(self._parse(raw), emit)
            finally:
                self._connection = None
                await connection.close()
        except InvalidURI as error:
            raise ConnectionEndedError(f"not a WebSocket URL: {self._where}", final=True) from error
        except (OSError, WebSocketException) as error:
            raise ConnectionEndedError(f"{type(error).__name__}: {error}") from error

    def _parse(self, raw: str | bytes) -> InboundMessage | None:
        try:
            return self._parser(raw)
        except Exception:  # noqa: BLE001 - the host's code
            self._not_parsed()
            return None
