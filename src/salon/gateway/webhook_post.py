"""The request that announces a call."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from salon.base import ConfigurationError, MissingExtraError, new_id
from salon.gateway.webhook import WebhookError

if TYPE_CHECKING:
    import httpx

_log = logging.getLogger("salon.gateway.webhook")

CONNECT_TIMEOUT_S: Final = 5.0
MOST_AT_ONCE: Final = 256

Sign = Callable[[str, bytes], Mapping[str, str]]
"""Headers that sign a body, by the id of the request."""


class WebhookPost:
    """Posts to `urls`, one after the other; one that can't be reached gives way to the next. A 2xx
    is a yes, its body is not read. Redirects are not followed, no proxy is used. `close` it.

    How long an answer may take is for the caller to bound.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        method: str = "POST",
        headers: Sequence[tuple[str, str]] = (),
        sign: Sign | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if not urls:
            raise ConfigurationError("a webhook for calls needs a URL")
        try:
            import httpx
        except ImportError as error:
            raise MissingExtraError("http", "a webhook for calls") from error
        self.sent = 0
        """Calls the application took."""
        self.failed = 0
        """Calls it did not take, or that did not reach it."""
        self._unreachable = (httpx.ConnectError, httpx.ConnectTimeout)
        self._error = httpx.HTTPError
        self._urls = tuple(urls)
        self._next = itertools.cycle(range(len(self._urls)))
        self._method = method
        self._headers = list(headers)
        self._sign = sign
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=MOST_AT_ONCE),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )

    async def __call__(self, body: Mapping[str, Any]) -> None:
        """Raises `WebhookError`, which names no URL."""
        try:
            status = await self._sent(json.dumps(body).encode())
        except BaseException:
            self.failed += 1
            raise
        if not 200 <= status < 300:
            self.failed += 1
            raise WebhookError(f"the application did not take the call: HTTP {status}")
        self.sent += 1

    async def _sent(self, body: bytes) -> int:
        first = next(self._next)
        order = self._urls[first:] + self._urls[:first]
        request_id = new_id()
        headers = [*self._headers, ("Content-Type", "application/json")]
        if self._sign is not None:
            headers += self._sign(request_id, body).items()
        for url in order:
            try:
                async with self._client.stream(
                    self._method, url, content=body, headers=headers
                ) as answer:
                    return answer.status_code
            except self._unreachable as error:
                _log.warning("a webhook for calls can't be reached: %s", type(error).__name__)
            except self._error as error:
                raise WebhookError(
                    f"the application did not answer: {type(error).__name__}"
                ) from None
        raise WebhookError("the application can't be reached")

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()
