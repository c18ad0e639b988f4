"""What the tests of the stand-in's faults share: a stand-in after which nothing is left, clients
that do not wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import Any, Final, cast

import aiohttp
import pytest
from tests.conformance.odyssey.server_caller import until
from tests.conformance.odyssey.witness import LIMIT_S, Witness

from salon.base import SystemClock
from salon.clients.odyssey import (
    AdvancedConfig,
    Odyssey,
    OdysseyAuthError,
    OdysseyConnectionError,
    addresses,
    broker,
    downloads,
    driver,
    spectator,
)
from salon.clients.odyssey.pending import FORGET_S
from salon.clients.odyssey.signaling import SignalingSocket
from salon.testing.odyssey import (
    API_KEY,
    Connection,
    HttpFault,
    OdysseyStandIn,
    StandInSettings,
)
from salon.transport.packets import IceServer

LATE: Final = 3600.0
"""The stand-in keeps to this one until its test is over."""


SHORT: Final = 0.4
"""Seconds that each request may take inside of `hurried`."""


SMALL: Final = StandInSettings(portrait=(176, 320), fps=12, streamers=1000)


EVERY: Final = tuple(status.value for status in HTTPStatus if status >= 300)


DEEP: Final = "[" * 20_000


BODIES: Final[dict[str, Any]] = {
    "no JSON": b"<html>",
    "no text": b"\xff\xfe\x00",
    "nothing": b"",
    "too deep": DEEP.encode(),
    "a list": [],
    "a text": "yes",
    "no content": None,
}


class ServerClock(SystemClock):
    """The time of a stand-in: what is `LATE` comes when the test is over."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        if seconds < LATE:
            await super().sleep(seconds)
        else:
            await self.over.wait()


class ClientClock(SystemClock):
    """The time of a client that does not wait: a pause is over at once, `ahead` is its length."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    async def sleep(self, seconds: float) -> None:
        self.ahead += seconds
        await asyncio.sleep(0)


@asynccontextmanager
async def stage() -> AsyncIterator[OdysseyStandIn]:
    """A stand-in; afterwards nobody is connected, and no task and no thread is left."""
    tasks, threads, clock = asyncio.all_tasks(), set(threading.enumerate()), ServerClock()

    def left() -> set[Any]:
        started = {one for one in threading.enumerate() if not one.name.startswith("asyncio_")}
        return (asyncio.all_tasks() - tasks) | (started - threads)

    async with asyncio.timeout(2 * LIMIT_S):
        async with OdysseyStandIn(SMALL, clock=clock) as server:
            try:
                yield server
            finally:
                clock.over.set()
            await until(lambda: not server.connections, "nobody is connected")
        try:
            await until(lambda: not left(), "nothing is left")
        except TimeoutError:
            raise AssertionError(f"left: {left()}") from None


@contextmanager
def hurried() -> Iterator[None]:
    """All limits of the client for a request are `SHORT`."""
    with pytest.MonkeyPatch.context() as patch:
        for module, names in (
            (driver, ("CONFIG_S",)),
            (broker, ("REGIONS_S", "PROBE_S")),
            (spectator, ("CONFIG_S", "POST_S", "DELETE_S")),
        ):
            for name in names:
                patch.setattr(module, name, SHORT)
        for method, name in (
            (Broker.request, "timeout_s"),
            (Broker._send, "timeout_s"),
            (SignalingSocket.open, "open_timeout_s"),
        ):
            patch.setitem(cast("Any", method).__kwdefaults__, name, SHORT)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=SHORT, sock_read=SHORT)
        patch.setattr(downloads, "_TIMEOUT", timeout)
        yield


Broker = broker.Broker


def client_of(server: OdysseyStandIn, *, retries: int = 0, **more: Any) -> Odyssey:
    quick = AdvancedConfig(
        max_retries=retries, initial_retry_delay_ms=1, max_retry_delay_ms=1, queue_timeout_s=0
    )
    return Odyssey(API_KEY, api_url=server.url, **({"advanced": quick} | more))


def theirs_of(server: OdysseyStandIn, client: Odyssey) -> Connection:
    return server.connections[str(client.current_session_id)]


@asynccontextmanager
async def meeting(
    *, retries: int = 0, reconnect: bool = False
) -> AsyncIterator[tuple[OdysseyStandIn, Odyssey, Witness]]:
    """A client that is connected."""
    witness = Witness()
    clock = ClientClock()
    async with stage() as server, client_of(server, retries=retries, clock=clock) as client:
        await client.connect(**witness.callbacks(), reconnect=reconnect)
        yield server, client, witness


async def works(client: Odyssey, witness: Witness) -> None:
    """A whole stream, each answer to its own call."""
    stream_id = await client.start_stream("a cat")
    assert witness.of("stream_started")[-1] == (stream_id,)
    assert client.last_applied_prompt == "a cat"
    assert await client.interact("it sleeps") == "it sleeps"
    await client.end_stream()


Expected = tuple[type[Exception], str]


TOKEN: Final = "Failed to get session token: "


REQUEST: Final = "API request failed: "


NO_STREAMER: Final = "No streamers available. Please try again later."


STATUSES: Final[dict[str, tuple[str, dict[int, Expected]]]] = {
    "auth.token": (
        "Authentication failed: ",
        {
            401: (OdysseyAuthError, "Invalid API key"),
            403: (OdysseyAuthError, "API key access denied"),
            422: (OdysseyAuthError, "Invalid API key format"),
        },
    ),
    "sessions.request": (
        REQUEST,
        {
            401: (OdysseyAuthError, f"{REQUEST}401"),
            403: (OdysseyAuthError, f"{REQUEST}403"),
            429: (OdysseyConnectionError, "Request limit exceeded"),
            503: (OdysseyConnectionError, NO_STREAMER),
        },
    ),
    "sessions.token": (
        TOKEN,
        {
            401: (OdysseyAuthError, f"{TOKEN}401"),
            403: (OdysseyAuthError, f"{TOKEN}403"),
            404: (OdysseyConnectionError, "Session not found or not authorized"),
        },
    ),
    "signaling": ("The signaling server refused the connection: ", {}),
}


SOFT: Final = {
    "status": HttpFault(status=500),
    "drop": HttpFault(drop=True),
    "late": HttpFault(delay_s=LATE),
    **{name: HttpFault(status=200, body=body) for name, body in BODIES.items()},
    "no list": HttpFault(fields={"regions": 5, "iceServers": {}, "region": 5}),
    "nonsense": HttpFault(fields={"regions": [5, {"id": 5}], "iceServers": [5, {"urls": 5}]}),
}


@contextmanager
def fallback(server: OdysseyStandIn) -> Iterator[tuple[IceServer, ...]]:
    """The public server of O27 is the stand-in's own: tests ask nobody else."""
    own = (IceServer((f"stun:127.0.0.1:{server.stun.port}",)),)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(addresses, "FALLBACK_ICE_SERVERS", own)
        yield own


OFFERS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "no offer": ({"offer": False}, "video_track, data_channel"),
    "a late offer": ({"offer_delay_s": LATE}, "video_track, data_channel"),
    "no SDP": ({"offer_sdp": "nonsense"}, "video_track, data_channel"),
    "no video": ({"video": False}, "video_track"),
    "no channel": ({"channels": ()}, "data_channel"),
    "one channel": ({"channels": ("streamerToClient",)}, "data_channel"),
    "other channels": ({"channels": ("news", "streamerToClient")}, "data_channel"),
    "read nothing": ({"read_nothing": True}, "data_channel"),
}


STRANGE: Final = ("{no json", "[1]", DEEP, '{"type": 5}', '{"type": "news"}', '{"type": "offer"}')


Act = Callable[[Connection], Awaitable[None]]


def closed(code: int, reason: str) -> Act:
    return lambda theirs: theirs.close_socket(code, reason)


def forget(client: Odyssey) -> None:
    """The time passes in which a call that was given up keeps its place in the queue."""
    cast("ClientClock", client._clock).ahead += FORGET_S


FIELDS: Final = {
    "stream_started": ("stream_id", "applied_prompt"),
    "update_acknowledged": ("prompt",),
    "stream_ended": (),
    "broadcast_ready": ("webrtc_url", "spectator_token", "broadcast_url"),
    "interactive_stream_error": ("reason", "message"),
}


async def ask(client: Odyssey, kind: str, timeout: float) -> str | None:
    """The call that this message answers."""
    if kind == "update_acknowledged":
        return await client.interact("it barks", timeout=timeout)
    if kind == "stream_ended":
        await client.end_stream(timeout=timeout)
        return None
    return await client.start_stream("a dog", timeout=timeout)
