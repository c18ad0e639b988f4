"""One bounded HTTP POST. Knows of connections and times, not of messages."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from salon.base import ConfigurationError, MissingExtraError, SalonError, is_loopback

if TYPE_CHECKING:
    import httpx

MAX_REPLY = 65_536
"""Bytes of an answer that are read; a longer one counts as unreadable."""
MAX_RETRY_AFTER = 86_400.0
RETRYABLE_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class PostError(SalonError):
    """No whole answer came. With `outcome_unknown` the request may have been carried out."""

    code = "post"

    def __init__(self, error: str, message: str, *, retryable: bool, outcome_unknown: bool) -> None:
        self.error = error
        self.retryable = retryable
        self.outcome_unknown = outcome_unknown
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; header names in lower case. `body` None: longer than `MAX_REPLY`, or encoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None

    @property
    def success(self) -> bool:
        return 200 <= self.status < 300

    def retry_after(self, now: float) -> float | None:
        """Seconds to wait as ``Retry-After`` asks, by number or by date; `now` in Unix time."""
        return parse_retry_after(self.headers.get("retry-after"), now)


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Seconds in 0..86400, None if `value` says nothing usable."""
    if not value or len(value) > 64:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, TypeError, OverflowError):
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = moment.timestamp() - now
    if not math.isfinite(seconds):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def checked_url(url: str, setting: str, *, secure: bool) -> str:
    """`url` if it can be posted to. `secure`: in clear only to this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(f"{setting} is not a URL") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise ConfigurationError(f"{setting} must be an http:// or https:// URL")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(f"{setting} must not carry credentials")
    if secure and parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(f"{setting} would send its credential in clear: use https://")
    return url


class Poster:
    """Posts to one host. `timeout` bounds a whole exchange, `connect_timeout` the wait for a
    connection (a free one of `max_connections`, then its set-up), in seconds. Redirects are not
    followed. `transport` replaces the network, for tests."""

    def __init__(
        self,
        url: str,
        *,
        what: str,
        timeout: float,
        connect_timeout: float,
        max_connections: int,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._host = urlsplit(url).hostname or ""
        self._what = what
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._max_connections = max_connections
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    async def post(
        self,
        url: str,
        content: bytes,
        headers: Mapping[str, str],
        auth: tuple[str, str] | None = None,
    ) -> Reply:
        """Send and read the whole answer; `PostError` if none came in time."""
        client = self._opened()
        import httpx

        try:
            async with (
                asyncio.timeout(self._timeout),
                client.stream("POST", url, content=content, headers=headers, auth=auth) as answer,
            ):
                body = await _read(answer)
                known = {key.lower(): value for key, value in answer.headers.items()}
                return Reply(answer.status_code, known, body)
        except (httpx.PoolTimeout, httpx.ConnectTimeout) as error:
            text = f"no connection to {self._host} within {self._connect_timeout:g} s"
            raise PostError("timeout", text, retryable=True, outcome_unknown=False) from error
        except (TimeoutError, httpx.TimeoutException) as error:
            text = f"{self._host} did not answer within {self._timeout:g} s"
            raise PostError("timeout", text, retryable=True, outcome_unknown=True) from error
        except httpx.ConnectError as error:
            text = f"can't connect to {self._host}"
            raise PostError(
                "connection_failed", text, retryable=True, outcome_unknown=False
            ) from error
        except httpx.HTTPError as error:
            text = f"the connection to {self._host} broke: {type(error).__name__}"
            raise PostError(
                "connection_lost", text, retryable=True, outcome_unknown=True
            ) from error

    async def close(self) -> None:
        """End all connections; the next `post` opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            try:
                import httpx
            except ImportError as error:
                raise MissingExtraError("http", self._what) from error
            self._client = httpx.AsyncClient(
                # asked for plainly: a compressed answer could swell
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                timeout=httpx.Timeout(
                    self._timeout, connect=self._connect_timeout, pool=self._connect_timeout
                ),
                limits=httpx.Limits(max_connections=self._max_connections),
                transport=self._transport,
                follow_redirects=False,
                # a proxy of the environment has no way to a service on this machine
                trust_env=not is_loopback(self._host),
            )
        return self._client


async def _read(answer: httpx.Response) -> bytes | None:
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        return None
    body = bytearray()
    async for piece in answer.aiter_raw():
        body += piece
        if len(body) > MAX_REPLY:
            return None
    return bytes(body)
