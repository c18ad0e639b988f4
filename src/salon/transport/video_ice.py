"""Candidates of a viewer: host candidates at once, servers never waited for without need.

aiortc asks STUN and TURN servers for 5 s before it answers. Here the answer goes out with the host
candidates. A reflexive address only helps if the peer must be told of it (it is behind a NAT
itself) and then it is waited for a short, bounded time; a relay needs no telling, because the peer
learns it from our checks, so it joins whenever it comes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from aioice import Connection
from aioice.ice import StunProtocol, relayed_candidate, server_reflexive_candidate
from aiortc import RTCIceServer
from aiortc.rtcicetransport import parse_stun_turn_uri

from salon.base import TaskScope
from salon.transport.aiortc_hook import LOOPBACK, SlowServers
from salon.transport.packets import IceServer, NegotiationError
from salon.transport.sdp import Candidate

_log = logging.getLogger("salon.transport")

WAIT_S = 0.25
"""For a reflexive address that the peer needs to be told of."""
BACKGROUND_S = 10.0
"""For relays, and for addresses that are told later."""


def aiortc_servers(servers: Sequence[IceServer]) -> list[RTCIceServer]:
    """In aiortc's shape, with their credentials (D11); never None, which would mean a public
    server (O44). What can't be read is left out with a warning."""
    usable = []
    for server in servers:
        urls = [url for url in server.urls if _readable(url)]
        if urls:
            usable.append(
                RTCIceServer(urls=urls, username=server.username, credential=server.credential)
            )
    return usable


def _readable(url: str) -> bool:
    try:
        parse_stun_turn_uri(url)
    except ValueError as error:
        _log.warning("an ICE server is left out: %r: %s", url[:200], error)
        return False
    return True


@dataclass(frozen=True, slots=True)
class Reach:
    """What a peer's description says of how it can be reached."""

    loopback: bool
    """It may be on this machine."""
    needs_telling: bool
    """It may have to be told of our reflexive address: it is behind a NAT, or says nothing yet."""


def reach_of(description: str | None) -> Reach:
    """From the candidates of a description; None if there is none so far."""
    found = []
    for line in (description or "").splitlines():
        if line.startswith("a=candidate:"):
            try:
                found.append(Candidate.parse(line[2:].strip()))
            except NegotiationError:
                continue
    if not found:
        return Reach(loopback=True, needs_telling=True)
    return Reach(
        loopback=any(item.is_mdns or _is_loopback(item.address) for item in found),
        needs_telling=any(item.type != "host" for item in found),
    )


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


class Gathering:
    """Replaces how one ICE connection gathers; `wait_s` bounds what a description waits for."""

    def __init__(
        self,
        connection: Connection,
        scope: TaskScope,
        *,
        loopback: bool,
        wait_s: float,
        trickle: Callable[[Any], None] | None,
        servers: SlowServers,
    ) -> None:
        self._connection: Any = connection
        self._usual: Any = connection.get_component_candidates
        self._scope = scope
        self._loopback = loopback
        self._wait_s = wait_s
        self._trickle = trickle
        self._servers = servers
        self._told = False
        connection.__dict__["get_component_candidates"] = self._gather

    def release(self) -> None:
        """Undo the replacement."""
        self._connection.__dict__.pop("get_component_candidates", None)

    async def _gather(self, component: int, addresses: list[str], timeout: float = 0) -> list[Any]:
        connection = self._connection
        stun, turn = connection.stun_server, connection.turn_server
        wanted = [*addresses, LOOPBACK] if self._loopback or not addresses else addresses
        connection.stun_server = connection.turn_server = None
        try:
            found: list[Any] = await self._usual(component=component, addresses=wanted, timeout=1)
        finally:
            connection.stun_server, connection.turn_server = stun, turn
        waiting: list[asyncio.Task[Any]] = []
        now = time.monotonic()
        if stun is not None and (self._trickle or (self._wait_s and not self._servers.skip(now))):
            waiting = [
                self._scope.spawn(self._reflexive(protocol, stun), name="reflexive address")
                for protocol in connection._protocols
                if _outward(protocol.local_candidate.host)
            ]
        if turn is not None:
            relay = self._scope.spawn(self._relay(component), name="relay")
            waiting += [relay] if self._wait_s else []
        if waiting and self._trickle is None and self._wait_s:
            found += await self._within(waiting)
        self._told = True
        return found

    async def _within(self, tasks: list[asyncio.Task[Any]]) -> list[Any]:
        """What comes in time, without what is double."""
        done, late = await asyncio.wait(tasks, timeout=self._wait_s)
        found = {
            (item.host, item.port): item for task in done if (item := task.result()) is not None
        }
        if late and not found:
            self._servers.gave_nothing(time.monotonic())
        return list(found.values())

    async def _reflexive(self, protocol: Any, server: tuple[str, int]) -> Any | None:
        try:
            async with asyncio.timeout(BACKGROUND_S):
                candidate, _ = await server_reflexive_candidate(protocol, server)
        except Exception as error:  # noqa: BLE001 - the edge of the task: STUN, DNS, sockets
            _log.debug("a STUN server gave nothing: %s", error)
            return None
        self._tell(candidate)
        return candidate

    async def _relay(self, component: int) -> Any | None:
        connection = self._connection
        try:
            async with asyncio.timeout(BACKGROUND_S):
                candidate, protocol = await relayed_candidate(
                    component=component,
                    hide_related_address=False,
                    protocol_factory=lambda: StunProtocol(connection),
                    turn_server=connection.turn_server,
                    turn_username=connection.turn_username,
                    turn_password=connection.turn_password,
                    turn_ssl=connection.turn_ssl,
                    turn_transport=connection.turn_transport,
                )
        except Exception as error:  # noqa: BLE001 - the edge of the task: TURN, TLS, DNS
            _log.info("a TURN server gave no relay: %s", str(error) or type(error).__name__)
            return None
        if connection._closing:
            await protocol.close()
            return None
        connection._protocols.append(protocol)
        for remote in connection.remote_candidates:
            connection._pair_remote_candidate(remote)
        connection.sort_check_list()
        self._tell(candidate)
        return candidate

    def _tell(self, candidate: Any) -> None:
        """Of what was not in the description."""
        if self._trickle is not None and self._told:
            self._trickle(candidate)


def _outward(host: str) -> bool:
    """A STUN server tells IPv4 addresses, and none of the loopback interface."""
    return ":" not in host and not _is_loopback(host)
