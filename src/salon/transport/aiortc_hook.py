"""Where packets leave and enter aiortc below its media path.

aiortc does ICE (aioice), DTLS and the SRTP keys. Received media is taken off at the datagram,
before aiortc's queue, task and jitter buffer; packets to send are encrypted and given to the socket
of the nominated pair. Both use names that aiortc and aioice do not promise to keep, so `probe`
tries them on real objects once per process; where they are gone the stock path is taken.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import cache
from inspect import signature
from typing import Any, Protocol

from aioice import Candidate, Connection
from aioice.ice import StunProtocol
from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceGatherer, RTCIceTransport

_log = logging.getLogger("salon.transport")

LOOPBACK = "127.0.0.1"
GATHER_TIMEOUT_S = 1.5
"""STUN and TURN servers get this long; host candidates are there at once."""

SKIP_S = 60.0

SendTo = Callable[[bytes, Any], None]


class SrtpSession(Protocol):
    """What is used of ``pylibsrtp.Session``."""

    def protect(self, packet: bytes) -> bytes: ...
    def unprotect(self, packet: bytes) -> bytes: ...
    def protect_rtcp(self, packet: bytes) -> bytes: ...
    def unprotect_rtcp(self, packet: bytes) -> bytes: ...


def connection_of(ice: RTCIceTransport) -> Connection:
    """The ICE connection of a transport."""
    connection: Connection = ice._connection
    return connection


def take_datagrams(connection: Connection, media: Callable[[bytes], bool]) -> None:
    """Ask `media` first about every datagram that is not STUN; what it refuses goes the usual
    way."""
    usual = connection.data_received

    def data_received(data: bytes, component: int) -> None:
        if not media(data):
            usual(data, component)

    connection.__dict__["data_received"] = data_received


def note_checks(connection: Connection, alive: Callable[[], None]) -> None:
    """Tell `alive` of every connectivity check of the peer, known by its signature."""
    usual = connection.request_received
    key = connection.local_password.encode()

    def request_received(message: Any, addr: tuple[str, int], protocol: Any) -> None:
        if "MESSAGE-INTEGRITY" in message.attributes and message.check_message_integrity(key):
            alive()
        usual(message, addr, protocol)

    connection.__dict__["request_received"] = request_received


def pair_of(connection: Connection) -> Any | None:
    """The nominated pair; None while there is none."""
    return connection._nominated.get(1)


def note_answers(connection: Connection, alive: Callable[[], None]) -> None:
    """Tell `alive` of every answer to our checks of consent (RFC 7675); once connected."""
    pair = pair_of(connection)
    if pair is None:
        return
    usual = pair.protocol.request

    async def request(*args: Any, **kwargs: Any) -> Any:
        answer = await usual(*args, **kwargs)
        alive()
        return answer

    pair.protocol.__dict__["request"] = request


def backlog(connection: Connection) -> int:
    """Datagrams that wait for aiortc's DTLS."""
    return connection._queue.qsize()


def end_consent(connection: Connection) -> None:
    """Before a connection is closed: one that comes to be in that moment begins to ask for consent
    after its close, and would never end."""

    async def query_consent() -> None:
        return

    connection.__dict__["query_consent"] = query_consent


def release(connection: Connection) -> None:
    """Undo the hooks, which frees whoever they belong to."""
    for name in ("data_received", "request_received", "get_component_candidates"):
        connection.__dict__.pop(name, None)


class SlowServers:
    """Remembers STUN and TURN servers that gave nothing in time, so that not every call waits for
    them: they are left out for a minute."""

    def __init__(self) -> None:
        self._until = float("-inf")

    def skip(self, now: float) -> bool:
        """Whether to do without servers now (monotonic seconds)."""
        return now < self._until

    def gave_nothing(self, now: float) -> None:
        """They were waited for in vain."""
        if not self.skip(now):
            _log.warning(
                "STUN or TURN servers gave nothing within %.1f s; calls do without them for %.0f s",
                GATHER_TIMEOUT_S,
                SKIP_S,
            )
        self._until = now + SKIP_S


def bound_gathering(connection: Connection, servers: SlowServers, *, ipv6: bool) -> None:
    """Leave IPv6 out unless wanted (G147), wait for servers a bounded time, and use the loopback
    interface where there is no other."""
    usual: Any = connection.get_component_candidates
    if servers.skip(time.monotonic()):
        connection.stun_server = connection.turn_server = None

    async def get_component_candidates(
        component: int, addresses: list[str], timeout: float = GATHER_TIMEOUT_S
    ) -> list[Candidate]:
        kept = [address for address in addresses if ipv6 or ":" not in address]
        began = time.monotonic()
        found: list[Candidate] = await usual(
            component=component,
            addresses=kept or [LOOPBACK],
            timeout=min(timeout, GATHER_TIMEOUT_S),
        )
        now = time.monotonic()
        if now - began >= GATHER_TIMEOUT_S and all(item.type == "host" for item in found):
            servers.gave_nothing(now)
        return found

    connection.__dict__["get_component_candidates"] = get_component_candidates


def srtp_of(dtls: RTCDtlsTransport) -> tuple[SrtpSession, SrtpSession] | None:
    """The sessions for sending and for receiving; None before the handshake is done."""
    tx, rx = dtls._tx_srtp, dtls._rx_srtp
    return None if tx is None or rx is None else (tx, rx)


def route_of(connection: Connection) -> tuple[SendTo, Any] | None:
    """The socket and the address of the nominated pair; None while there is none."""
    pair = pair_of(connection)
    if pair is None:
        return None
    return pair.protocol.transport.sendto, pair.remote_addr


def set_dtls_role(dtls: RTCDtlsTransport, role: str) -> None:
    """``client`` begins the handshake, ``server`` waits for it (RFC 8842)."""
    dtls._set_role(role)


class _Unplugged:
    """A socket that sends nowhere."""

    def sendto(self, data: bytes, addr: Any) -> None:
        """Nothing."""


async def _probe() -> None:
    """Raises whatever goes wrong."""
    gatherer = RTCIceGatherer(iceServers=[])
    ice = RTCIceTransport(gatherer)
    dtls = RTCDtlsTransport(ice, [RTCCertificate.generateCertificate()])
    connection = connection_of(ice)
    seen: list[bytes] = []

    def media(data: bytes) -> bool:
        seen.append(data)
        return True

    take_datagrams(connection, media)
    protocol: Any = StunProtocol(connection)
    protocol.local_candidate = Candidate(
        foundation="1",
        component=1,
        transport="udp",
        priority=1,
        host=LOOPBACK,
        port=9,
        type="host",
    )
    protocol.transport = _Unplugged()
    packet = b"\x80\x00" + bytes(30)
    protocol.datagram_received(packet, (LOOPBACK, 9))
    if seen != [packet]:
        raise RuntimeError("a media datagram does not pass Connection.data_received")
    if backlog(connection) != 0:
        raise RuntimeError("a media datagram waits in the queue all the same")
    if srtp_of(dtls) is not None:
        raise RuntimeError("an SRTP session before the handshake")
    if route_of(connection) is not None:
        raise RuntimeError("a nominated pair before any check")
    if "timeout" not in signature(connection.get_component_candidates).parameters:
        raise RuntimeError("gathering can't be bounded")
    release(connection)
    if "data_received" in vars(connection):
        raise RuntimeError("the hook can't be undone")


@cache
def _verdict() -> list[str | None]:
    return []


async def probe() -> str | None:
    """Why packets can't be taken past aiortc's media path, or None if they can; tried once."""
    verdict = _verdict()
    if not verdict:
        try:
            await _probe()
            verdict.append(None)
        except Exception as error:  # noqa: BLE001 - whatever a foreign version does differently
            _log.debug("aiortc's packets can't be had", exc_info=True)
            verdict.append(f"{type(error).__name__}: {error}")
    return verdict[0]
