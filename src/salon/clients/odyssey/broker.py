"""The HTTP interface of the service: tokens, regions, sessions (O11-O25)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from salon.base import SYSTEM_CLOCK, Clock
from salon.clients.odyssey.config import ClientConfig
from salon.clients.odyssey.errors import (
    ApiKeyError,
    DeniedError,
    InvalidReplyError,
    OdysseyError,
    RequestError,
    UnreachableError,
    plain_text,
    usage_error,
)
from salon.clients.odyssey.logs import Log
from salon.clients.odyssey.replies import Reply, read_reply
from salon.clients.odyssey.types import StreamerCapabilities

Sleep = Callable[[float], Awaitable[None]]

REQUEST_S: Final = 300.0
"""Longest request, seconds (O25)."""
REGIONS_S: Final = 10.0
"""Longest that the list of regions may take, and one ping (O16)."""
PROBE_S: Final = 1.0
"""When the results of the pings are taken (O16)."""
NO_ANSWER_MS: Final = 9999
"""What a region without an answer counts (O16)."""
QUEUE_STEP_S: Final = 1.0
"""Between two requests for a session while no streamer is free (O17)."""
EARLY_S: Final = 60.0
"""How long before its end an access token counts as expired (O14)."""
ACCESS_TOKEN_S: Final = 3600
"""How long an access token lasts that does not say so (O14)."""
SESSION_TOKEN_S: Final = 600
"""How long a session token lasts that does not say so (O21)."""
_MAX_REGIONS: Final = 64


@dataclass(frozen=True, slots=True)
class SessionGrant:
    """A session that has a streamer. `signaling_url` is the base of the signaling server's URL."""

    session_id: str
    signaling_url: str
    capabilities: StreamerCapabilities


@dataclass(frozen=True, slots=True)
class SessionToken:
    """A JWT for the signaling socket of one session; `expires_in` in seconds."""

    value: str = field(repr=False)
    expires_in: int


@dataclass(slots=True)
class _Open:
    """Connections, and how many calls use them."""

    http: aiohttp.ClientSession
    holders: int = 0
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    """For an access token: of calls at the same time one asks."""


class Broker:
    """Calls to the HTTP interface, with the access token they need.

    Connections are open while a call runs, and from one call to the next inside `hold`; none is
    left behind otherwise. `sleep` and `clock` are the caller's time; a session given as `http` is
    used and never closed. Every call may raise `UnreachableError` and, unless it says otherwise,
    what `access_token` raises.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        clock: Clock = SYSTEM_CLOCK,
        sleep: Sleep | None = None,
        http: aiohttp.ClientSession | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._sleep = sleep if sleep is not None else clock.sleep
        self._given = None if http is None else _Open(http)
        self._open: _Open | None = None
        self._closings = 0
        self._token: str | None = None
        self._token_until = 0.0
        self._latencies: dict[str, int] = {}
        self._auth_log = Log("auth", "Auth", debug=config.debugging)
        self._log = Log("session", "Session", debug=config.debugging)
        self._regions_log = Log("regions", "Regions", debug=config.debugging)

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Keep connections open over several calls; the last holder to leave closes them."""
        async with self._held() as held:
            yield held.http

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[_Open]:
        if self._given is not None:
            yield self._given
            return
        if self._open is None:
            timeout = aiohttp.ClientTimeout(total=REQUEST_S)
            self._open = _Open(aiohttp.ClientSession(timeout=timeout))
        held = self._open
        held.holders += 1
        try:
            yield held
        finally:
            held.holders -= 1
            if held.holders == 0:
                if self._open is held:
                    self._open = None
                await held.http.close()

    async def close(self) -> None:
        """Close the connections and forget the token; calls that run fail with
        `UnreachableError`. Idempotent, and the broker can be used again."""
        self._token = None
        self._token_until = 0.0
        self._latencies = {}
        self._closings += 1
        held, self._open = self._open, None
        if held is not None:
            await held.http.close()

    async def access_token(self) -> str:
        """The token for authenticated calls, asked for when there is none that lasts another
        minute (O13, O14).

        Raises `MissingApiKeyError` without a key, `ApiKeyError` (a `ValueError`) for 401, 403 and
        422, `InvalidReplyError` for an answer without a token, else `UnreachableError`.
        """
        key = self._config.require_api_key()
        async with self._held() as held, held.asking:
            asked_at = self._clock.monotonic()
            if self._token is not None and asked_at < self._token_until:
                return self._token
            self._auth_log.debug("asking for an access token")
            reply = await self._send("POST", "/auth/token", json={"api_key": key})
            found = _object(reply) if reply.ok else {}
            if not reply.ok:
                raise self._reported(self._auth_log, _auth_refusal(reply))
            token = found.get("access_token")
            if not isinstance(token, str) or not token:
                raise InvalidReplyError(
                    "Invalid auth response: missing access_token", status=reply.status
                )
            self._token = token
            lasts = _seconds(found.get("expires_in"), ACCESS_TOKEN_S)
            self._token_until = asked_at + lasts - EARLY_S
            return token

    async def region_latencies(self) -> dict[str, int]:
        """How far each region is, in ms (O16); empty when the service has none or does not say.

        Results are taken after a second, or when all regions answered; asked for once only. Never
        raises for a failure of the service.
        """
        if self._latencies:
            return dict(self._latencies)
        try:
            async with self.hold() as http:
                reply = await self.request("GET", "/regions", timeout_s=REGIONS_S)
                regions = _regions(reply) if reply.ok else {}
                self._latencies = await self._probe(http, regions) if regions else {}
        except OdysseyError as error:
            self._regions_log.debug("no regions: %s", plain_text(error))
            return {}
        self._regions_log.debug("latencies in ms: %s", self._latencies)
        return dict(self._latencies)

    async def request_session(self) -> SessionGrant:
        """Ask for a session, and wait for a free streamer as long as the configuration says
        (O15-O20).

        Raises a usage error for a 429 that describes one, `DeniedError` for 401 and 403,
        `InvalidReplyError` for another 429 and for an answer without id or URL, else
        `UnreachableError`, also when no streamer is free.
        """
        async with self.hold():
            await self.access_token()
            latencies = await self.region_latencies()
            reply = await self._queue({"region_latencies": latencies} if latencies else {})
        if not reply.ok:
            raise self._reported(self._log, _session_refusal(reply))
        return _grant(reply)

    async def _queue(self, body: dict[str, Any]) -> Reply:
        """Ask for a session until the answer is not 503 (O17)."""
        patience = self._config.advanced.queue_timeout_s
        began, closings = self._clock.monotonic(), self._closings
        while True:
            reply = await self.request("POST", "/sessions/request", json=body)
            if reply.status != 503:
                return reply
            if patience <= 0:
                text = "No streamers available. Please try again later."
                raise self._reported(self._log, UnreachableError(text, status=503))
            if self._clock.monotonic() - began >= patience:
                text = f"Timed out waiting for a streamer ({patience}s)"
                raise self._reported(self._log, UnreachableError(text, status=503))
            self._log.debug("no streamer is free, asking again")
            await self._sleep(QUEUE_STEP_S)
            if self._closings != closings:
                raise UnreachableError("closed while waiting for a streamer")

    async def session_token(self, session_id: str) -> SessionToken:
        """A token for the signaling socket; every call makes a new one (O15, O21).

        Raises `InvalidReplyError` (a `ValueError`) for 404 and for an answer without a token,
        `DeniedError` for 401 and 403, else `UnreachableError`.
        """
        reply = await self.request("POST", "/sessions/token", json={"session_id": session_id})
        if reply.status == 404:
            error: OdysseyError = InvalidReplyError(
                "Session not found or not authorized", status=404
            )
            raise self._reported(self._log, error)
        if not reply.ok:
            text = f"Failed to get session token: {reply.line}"
            raise self._reported(self._log, _by_status(reply.status, text))
        found = _object(reply)
        token = found.get("session_token")
        if not isinstance(token, str) or not token:
            raise InvalidReplyError("Invalid session token response", status=reply.status)
        return SessionToken(token, int(_seconds(found.get("expires_in"), SESSION_TOKEN_S)))

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: object = None,
        timeout_s: float = REQUEST_S,
    ) -> Reply:
        """One authenticated call; the answer whatever its status. `path` begins with a slash and
        is encoded (`path_part`); `params` are encoded here (D14)."""
        async with self.hold():
            token = await self.access_token()
            reply = await self._send(
                method, path, params=params, json=json, token=token, timeout_s=timeout_s
            )
        if reply.status == 401 and token == self._token:
            self._token = None  # revoked before its time: the next call asks for another
        return reply

    async def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: object = None,
        token: str | None = None,
        timeout_s: float = REQUEST_S,
    ) -> Reply:
        address = self._config.base_url + path + (f"?{urlencode(params)}" if params else "")
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            async with (
                self.hold() as http,
                http.request(
                    method,
                    URL(address, encoded=True),
                    json=json,
                    headers=headers,
                    timeout=aiohttp.ClientTimeout(total=timeout_s),
                ) as response,
            ):
                return await read_reply(response)
        except OdysseyError:
            raise
        except TimeoutError:
            raise UnreachableError(f"{method} {path}: no answer in {timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UnreachableError(f"{method} {path} failed: {plain_text(error)}") from error

    async def _probe(
        self, http: aiohttp.ClientSession, regions: Mapping[str, str]
    ) -> dict[str, int]:
        """Ping all regions at once; what has not answered at the end of the second is cancelled."""
        pings = {
            name: asyncio.ensure_future(self._ping(http, url)) for name, url in regions.items()
        }
        limit = asyncio.ensure_future(self._sleep(PROBE_S))
        try:
            waiting: set[asyncio.Future[Any]] = set(pings.values())
            while waiting and not limit.done():
                await asyncio.wait({*waiting, limit}, return_when=asyncio.FIRST_COMPLETED)
                waiting = {ping for ping in waiting if not ping.done()}
            return {
                name: ping.result() if ping.done() else NO_ANSWER_MS for name, ping in pings.items()
            }
        finally:
            limit.cancel()
            for ping in pings.values():
                ping.cancel()
            await asyncio.gather(limit, *pings.values(), return_exceptions=True)

    async def _ping(self, http: aiohttp.ClientSession, url: str) -> int:
        began = self._clock.monotonic()
        try:
            async with http.get(url, timeout=aiohttp.ClientTimeout(total=REGIONS_S)) as response:
                if not 200 <= response.status < 300:
                    return NO_ANSWER_MS
                return min(NO_ANSWER_MS, int((self._clock.monotonic() - began) * 1000))
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            self._regions_log.debug("no answer from %s: %s", url, plain_text(error))
            return NO_ANSWER_MS

    @staticmethod
    def _reported(log: Log, error: OdysseyError) -> OdysseyError:
        log.error("%s", plain_text(error))
        return error


def path_part(value: str, name: str) -> str:
    """An id as one part of a path (D14); `RequestError` if it can't be one. `name` is what the
    caller calls it."""
    if not isinstance(value, str) or value.strip() in {"", ".", ".."}:
        raise RequestError(f"{name} is not an id: {value!r}")
    return quote(value, safe="")


def _auth_refusal(reply: Reply) -> OdysseyError:
    """What a refused key raises (O13)."""
    if reply.status == 401:
        return ApiKeyError("Invalid API key", status=401)
    if reply.status == 403:
        return ApiKeyError(reply.detail_text or "API key access denied", status=403)
    if reply.status == 422:
        more = f": {reply.detail_text}" if reply.detail_text else ""
        return ApiKeyError(f"Invalid API key format{more}", status=422)
    return UnreachableError(f"Authentication failed: {reply.line}", status=reply.status)


def _session_refusal(reply: Reply) -> OdysseyError:
    """What a refused session raises (O18, O19)."""
    if reply.status == 429:
        usage = usage_error(reply.detail)
        if usage is not None:
            usage.status = 429
            return usage
        text = reply.detail if isinstance(reply.detail, str) and reply.detail else None
        return InvalidReplyError(text or "Request limit exceeded", status=429)
    return _by_status(reply.status, f"API request failed: {reply.line}")


def _by_status(status: int, text: str) -> OdysseyError:
    """Class by status, not by text (D10)."""
    if status in {401, 403}:
        return DeniedError(text, status=status)
    return UnreachableError(text, status=status)


def _grant(reply: Reply) -> SessionGrant:
    found = _object(reply)
    session_id, url = found.get("session_id"), found.get("signalling_url")  # two l: O12
    if not (isinstance(session_id, str) and session_id and isinstance(url, str) and url):
        text = "Invalid API response: missing session_id or signalling_url"
        raise InvalidReplyError(text, status=reply.status)
    capabilities = StreamerCapabilities.from_dict(found.get("capabilities"))
    return SessionGrant(session_id, url, capabilities)


def _regions(reply: Reply) -> dict[str, str]:
    """Id and ping URL of each region; what has no id is left out."""
    listed = _object(reply).get("regions")
    if not isinstance(listed, list):
        return {}
    found: dict[str, str] = {}
    for entry in listed[:_MAX_REGIONS]:
        name = entry.get("id") if isinstance(entry, Mapping) else None
        if isinstance(name, str) and name:
            url = entry.get("ping_url")
            found[name] = url if isinstance(url, str) else ""
    return found


def _object(reply: Reply) -> Mapping[str, Any]:
    return reply.body if isinstance(reply.body, Mapping) else {}


def _seconds(value: object, otherwise: int) -> float:
    """A time that is a number and no infinity; JSON readers take those too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return otherwise
    try:
        return float(value) if math.isfinite(value) else otherwise
    except OverflowError:
        return otherwise
