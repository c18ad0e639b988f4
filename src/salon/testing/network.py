"""A bad network between a WebRTC client and a server: a UDP relay that loses, delays and reorders.

It stands between the two by giving each the other's session description with its own address in
place of the candidates. What happens to a packet is drawn from seeded numbers, those of media apart
from those of STUN and DTLS, so that the n-th packet of sound meets the same fate in every run.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from math import inf, nextafter
from random import Random
from typing import Final, cast

Address = tuple[str, int]

MAX_IN_FLIGHT: Final = 10_000
"""Packets under way in one direction; more are dropped and counted as `overflowed`."""
_GAMMA_SHAPE: Final = 2.0
_GAMMA_P95: Final = 4.7439  # of that shape with scale 1
_CANDIDATE: Final = re.compile(r"^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host", re.I | re.M)
_RELAYED: Final = "a=candidate:1 1 udp 2130706431 {} {} typ host"


@dataclass(frozen=True, slots=True)
class Impairment:
    """What one direction does to packets. Shares are 0 to 1, times milliseconds.

    `loss` is the share lost, in bursts of `burst` packets on average (Gilbert's model; 1 draws each
    alone). Each packet takes `delay_ms` and a jitter of gamma distribution whose 95th percentile is
    `jitter_ms`; with `ordered` none overtakes another. The share `reorder` is held back by
    `reorder_ms` more, the share `duplicate` comes twice. With `setup` False STUN and DTLS pass at
    once. `ValueError` if a figure is out of its range.
    """

    loss: float = 0.0
    burst: float = 1.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    reorder: float = 0.0
    reorder_ms: float = 50.0
    duplicate: float = 0.0
    ordered: bool = False
    setup: bool = True

    def __post_init__(self) -> None:
        for name in ("loss", "reorder", "duplicate"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 to 1")
        for name in ("delay_ms", "jitter_ms", "reorder_ms"):
            if not 0.0 <= getattr(self, name) <= 60_000.0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 to 60000")
        if not 1.0 <= self.burst <= 1000.0:
            raise ValueError(f"burst is {self.burst}; it must be 1 to 1000")


NO_IMPAIRMENT: Final = Impairment()
"""Every packet passes at once."""


@dataclass(frozen=True, slots=True)
class PathStatistics:
    """Packets of one direction since the start.

    Of `received` some were `lost`, some `cut` off by a gap, some `overflowed`; `setup_lost` are
    those of `lost` and `cut` that were STUN or DTLS. `sent` counts copies, `duplicated` those of
    them that were a second one, `reordered` those that a later packet had overtaken. `refused` came
    from an address that is neither the client's nor the server's.
    """

    received: int = 0
    sent: int = 0
    lost: int = 0
    cut: int = 0
    setup_lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    overflowed: int = 0
    refused: int = 0


class _Draws:
    """Fates of packets, one after the other."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)  # nosec B311 - reproducible, not secret
        self._bad = False

    def delays(self, how: Impairment) -> list[float]:
        """Seconds after which each copy of the next packet comes; none if it is lost.

        As many numbers are drawn for a lost packet as for one that passes.
        """
        source = self._random
        draw, held, doubled = source.random(), source.random(), source.random()
        jitter = source.gammavariate(_GAMMA_SHAPE, how.jitter_ms / _GAMMA_P95 or 1e-9)
        if self._lost(how, draw):
            return []
        delay = how.delay_ms + (jitter if how.jitter_ms else 0.0)
        if held < how.reorder:
            delay += how.reorder_ms
        return [delay / 1000] * (2 if doubled < how.duplicate else 1)

    def _lost(self, how: Impairment, draw: float) -> bool:
        if how.burst == 1.0 or how.loss in (0.0, 1.0):
            return draw < how.loss
        stay = 1.0 - 1.0 / how.burst
        enter = how.loss * (1.0 - stay) / (1.0 - how.loss)
        self._bad = draw < (stay if self._bad else enter)
        return self._bad


class ImpairedPath:
    """One direction of a bad network, without a socket: `send` is told when to send what.

    Times are seconds of the running loop's clock, which a virtual one may be.
    """

    def __init__(self, send: Callable[[bytes], None], how: Impairment, seed: str) -> None:
        self.how = how
        """May be changed at any time; what is under way keeps its fate."""
        self._send = send
        self._media, self._setup = _Draws(f"{seed}/media"), _Draws(f"{seed}/setup")
        self._loop = asyncio.get_running_loop()
        self._timers: set[asyncio.TimerHandle] = set()
        self._number = self._newest = 0
        self._last_drawn = self._last_due = -inf
        self._cut_until = -inf
        self._figures = PathStatistics()

    def cut(self, seconds: float) -> None:
        """Lose everything that comes in the next `seconds`."""
        self._cut_until = self._loop.time() + seconds

    def statistics(self) -> PathStatistics:
        """A snapshot."""
        return self._figures

    def refuse(self) -> None:
        """Count a packet from a stranger."""
        self._count(refused=1)

    def push(self, data: bytes) -> None:
        """A packet comes in."""
        setup = is_setup(data)
        self._number += 1
        self._count(received=1)
        now = self._loop.time()
        if now < self._cut_until:
            self._count(cut=1, setup_lost=int(setup))
            return
        if setup and not self.how.setup:
            self._out(data, self._number, second=False)
            return
        delays = (self._setup if setup else self._media).delays(self.how)
        if not delays:
            self._count(lost=1, setup_lost=int(setup))
        for copy, delay in enumerate(delays):
            self._later(data, now + delay, second=copy > 0)

    def _later(self, data: bytes, due: float, *, second: bool) -> None:
        if len(self._timers) >= MAX_IN_FLIGHT:
            self._count(overflowed=1)
            return
        same, self._last_drawn = due == self._last_drawn, due
        if same or (self.how.ordered and due <= self._last_due):
            due = nextafter(self._last_due, inf)  # timers of the same time run in any order
        self._last_due = due
        number = self._number

        def out() -> None:
            self._timers.discard(timer)
            self._out(data, number, second=second)

        timer = self._loop.call_at(due, out)
        self._timers.add(timer)

    def _out(self, data: bytes, number: int, *, second: bool) -> None:
        self._count(sent=1, duplicated=int(second), reordered=int(number < self._newest))
        self._newest = max(self._newest, number)
        self._send(data)

    def _count(self, **more: int) -> None:
        old = self._figures
        self._figures = replace(
            old, **{name: getattr(old, name) + value for name, value in more.items()}
        )

    def close(self) -> None:
        """Drop what is under way."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()


def is_setup(data: bytes) -> bool:
    """Whether a packet is STUN or DTLS and no media (RFC 7983)."""
    return bool(data) and data[0] < 64


class _Side(asyncio.DatagramProtocol):
    """The relay's socket towards the client, or towards the server."""

    def __init__(self) -> None:
        self.peer: Address | None = None
        """Who is there; unknown, it is the first that sends."""
        self.path: ImpairedPath | None = None
        """Where that leads what comes in here."""
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, host: str) -> Address:
        """Where this side is, listening."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(host, 0), family=socket.AF_INET
        )
        address = self._transport.get_extra_info("sockname")
        return str(address[0]), int(address[1])

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.path is None:
            return
        if self.peer is None:
            self.peer = addr[:2]
        if addr[:2] == self.peer:
            self.path.push(data)
        else:
            self.path.refuse()

    def send(self, data: bytes) -> None:
        """To whoever is on this side; dropped while that is unknown."""
        if self._transport is not None and self.peer is not None:
            self._transport.sendto(data, self.peer)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class UdpRelay:
    """A relay for one WebRTC connection whose audio, video and data share one port (BUNDLE).

    Pass the client's offer through `offer` and the server's answer through `answer` on their way;
    then all packets pass here. `host` is the relay's own IPv4 address, else the one from which the
    client is reached. Use `udp_relay` for one that is closed by itself.
    """

    def __init__(
        self,
        to_server: Impairment = NO_IMPAIRMENT,
        to_client: Impairment | None = None,
        *,
        seed: int = 1,
        host: str | None = None,
    ) -> None:
        self._host = host
        self._client, self._server = _Side(), _Side()
        back = to_server if to_client is None else to_client
        self._to_server = ImpairedPath(self._server.send, to_server, f"{seed}/to server")
        self._to_client = ImpairedPath(self._client.send, back, f"{seed}/to client")
        self._client.path, self._server.path = self._to_server, self._to_client

    async def offer(self, sdp: str) -> str:
        """The client's offer, as the server should get it.

        Candidates may be missing (trickled, or of a name); then whoever sends first is the client.
        """
        self._client.peer = candidate(sdp)
        if self._host is None:
            self._host = _own_address(self._client.peer)
        return redirected(sdp, await self._server.open(self._host))

    async def answer(self, sdp: str) -> str:
        """The server's answer, as the client should get it. `ValueError` without a candidate of
        IPv4, `RuntimeError` before `offer`."""
        self._server.peer = candidate(sdp)
        if self._server.peer is None:
            raise ValueError("the answer has no host candidate with an IPv4 address")
        if self._host is None:
            raise RuntimeError("the offer must pass the relay before its answer")
        return redirected(sdp, await self._client.open(self._host))

    def impair(self, to_server: Impairment, to_client: Impairment | None = None) -> None:
        """Another network from now on; the way back is the same unless `to_client` is given."""
        self._to_server.how = to_server
        self._to_client.how = to_server if to_client is None else to_client

    def cut(self, seconds: float) -> None:
        """Lose everything in both directions for so long."""
        self._to_server.cut(seconds)
        self._to_client.cut(seconds)

    @property
    def to_server(self) -> PathStatistics:
        """Counters of the client's packets."""
        return self._to_server.statistics()

    @property
    def to_client(self) -> PathStatistics:
        """Counters of the server's packets."""
        return self._to_client.statistics()

    def close(self) -> None:
        """End both sides; what is under way is dropped."""
        for path in (self._to_server, self._to_client):
            path.close()
        for side in (self._client, self._server):
            side.close()


@asynccontextmanager
async def udp_relay(
    to_server: Impairment = NO_IMPAIRMENT,
    to_client: Impairment | None = None,
    *,
    seed: int = 1,
    host: str | None = None,
) -> AsyncIterator[UdpRelay]:
    """A relay for the length of an ``async with``; the parameters are those of `UdpRelay`."""
    relay = UdpRelay(to_server, to_client, seed=seed, host=host)
    try:
        yield relay
    finally:
        relay.close()


def candidate(sdp: str) -> Address | None:
    """The first host candidate of UDP with an IPv4 address."""
    for host, port in _CANDIDATE.findall(sdp):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            continue
        return host, int(port)
    return None


def redirected(sdp: str, to: Address) -> str:
    """`sdp` with `to` as the only candidate of each media section."""
    head, *sections = re.split(r"(?m)^(?=m=)", sdp)
    line = _RELAYED.format(*to)
    out = [head]
    for section in sections:
        kept = [
            one
            for one in section.splitlines()
            if not one.startswith(("a=candidate:", "a=end-of-candidates"))
        ]
        kept[0] = re.sub(r"^(m=\S+) (?!0 )\d+ ", rf"\g<1> {to[1]} ", kept[0])
        kept = [f"c=IN IP4 {to[0]}" if one.startswith("c=IN ") else one for one in kept]
        out.append("\r\n".join([*kept, line, "a=end-of-candidates", ""]))
    return "".join(out)


def _own_address(peer: Address | None) -> str:
    """This machine's address on the way to `peer`."""
    if peer is None:
        return "127.0.0.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(peer)  # sends nothing
        return cast(Address, probe.getsockname())[0]
