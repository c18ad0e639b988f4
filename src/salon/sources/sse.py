"""Messages from a stream of Server-Sent Events."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from salon.base import SYSTEM_CLOCK, Clock, MissingExtraError, RemoteProtocolError
from salon.core.ports.source import EmitCallback
from salon.models import InboundMessage, RateLimit
from salon.sources.connected import ConnectedSource, ConnectionEndedError
from salon.sources.event_stream import MAX_EVENT, EventStreamParser, ServerSentEvent
from salon.sources.parsing import message_from_json

if TYPE_CHECKING:
    import httpx

SSEEventParser = Callable[[str, str, str | None], InboundMessage | None]
"""What an event means, from its name, data and id; None: nothing. It may raise: then the event is
skipped."""
_NO_CONTENT: Final = 204
_OK: Final = 200


def default_json_parser(channel_id: str) -> SSEEventParser:
    """A parser of `salon.sources.message_from_json` messages, whatever the event's name."""

    def parse(event: str, data: str, event_id: str | None) -> InboundMessage | None:
        del event, event_id
        return message_from_json(channel_id, data)

    return parse


class SSESource(ConnectedSource):
    """A reader of `url`. Needs the ``http`` extra.

    `timeout` is the longest silence in seconds, comments of the server count as life. A new
    connection asks for what came after `last_event_id`, waits as long as the server wishes
    (``retry``), and is not tried after 204, which means that there is no more.
    """

    def __init__(
        self,
        url: str,
        channel_id: str,
        *,
        parser: SSEEventParser | None = None,
        headers: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
        timeout: float = 30.0,
        connect_timeout: float = 5.0,
        last_event_id: str | None = None,
        reconnect: bool = False,
        max_reconnect_backoff: float = 30.0,
        rate_limit: RateLimit | None = None,
        max_size: int = MAX_EVENT,
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
        self._headers = headers or {}
        self._params = params
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._last_event_id = last_event_id
        self._max_size = max_size

    @property
    def name(self) -> str:
        return f"sse:{self._where}"

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event that was processed, None before the first with an id."""
        return self._last_event_id

    async def _listen(self, emit: EmitCallback) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingExtraError("http", "a Server-Sent Events source") from error
        headers = self._headers | {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self._last_event_id:
            headers["Last-Event-ID"] = self._last_event_id
        timeout = httpx.Timeout(self._connect_timeout, read=self._timeout)
        try:
            async with (
                httpx.AsyncClient(timeout=timeout) as client,
                client.stream("GET", self._url, headers=headers, params=self._params) as response,
            ):
                self._check(response)
                self._is_connected()
                await self._read(response, emit)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ConnectionEndedError(f"not an HTTP URL: {self._where}", final=True) from error
        except (httpx.HTTPError, RemoteProtocolError) as error:
            raise ConnectionEndedError(f"{type(error).__name__}: {error}") from error

    def _check(self, response: httpx.Response) -> None:
        if response.status_code == _NO_CONTENT:
            raise ConnectionEndedError("the server has no more events (204)", final=True)
        if response.status_code != _OK:
            raise ConnectionEndedError(f"the server answered {response.status_code}")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "text/event-stream":
            raise ConnectionEndedError(f"the server sends {kind or 'nothing it names'}, not events")

    async def _read(self, response: httpx.Response, emit: EmitCallback) -> None:
        stream = EventStreamParser(self._last_event_id or "", max_event=self._max_size)
        async for chunk in response.aiter_bytes():
            for event in stream.feed(chunk):
                await self._pass_on(self._parse(event), emit)
                self._last_event_id = event.id or None
            self._last_event_id = stream.last_event_id or None
            if stream.retry is not None:
                self._first_wait = self._backoff = stream.retry

    def _parse(self, event: ServerSentEvent) -> InboundMessage | None:
        try:
            return self._parser(event.event, event.data, event.id or None)
        except Exception:  # noqa: BLE001 - the host's code
            self._not_parsed()
            return None
