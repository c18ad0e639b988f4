"""The offering side of a peer connection: aiortc's ICE and DTLS, packets past its media path."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

import aioice
import pylibsrtp
from aiortc import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    RTCIceCandidate,
    RTCIceGatherer,
    RTCIceParameters,
    RTCIceServer,
    RTCIceTransport,
)

from salon.base import Clock, TaskScope
from salon.clients.call.errors import ClientError, ConnectFailed
from salon.clients.call.offer import Agreed, LocalTransport, build_offer, read_answer
from salon.transport import aiortc_hook as hook
from salon.transport.packets import IceServer, MediaPacket, PacketStatistics, PayloadFormat
from salon.transport.reception import ReceptionStatistics
from salon.transport.rtp import OutgoingStream, is_rtcp, is_rtp_or_rtcp, parse_rtp
from salon.transport.rtp_session import RtpSession
from salon.transport.sdp import Candidate, Fingerprint

_log = logging.getLogger("salon.clients.call")

FIRST_REPORT_S: Final = 0.2
REPORT_INTERVAL_S: Final = 2.0
"""Short calls shall know their round trip: the first report goes out before the server's, which
can then refer to it."""
SILENT_S: Final = 1.0
"""For so long the first report waits for a packet: only a sender's report can be answered."""
HOUSEKEEPING_S: Final = 0.1
CLOSE_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Route:
    """The pair of candidates in use; `local` and `remote` as `type address:port`."""

    local: str
    remote: str


class Offerer:
    """One connection that carries sound, made from this side; for one event loop.

    `offer`, then `accept` the answer and wait for `connected`; `close` in any case.
    """

    def __init__(self, servers: Iterable[IceServer], *, clock: Clock) -> None:
        """`ClientError` for a server that can't be used."""
        self._clock = clock
        self._scope = TaskScope("webrtc call")
        try:
            self._gatherer = RTCIceGatherer(iceServers=[_server(one) for one in servers])
        except ValueError as error:
            raise ClientError(f"not a STUN or TURN server: {error}") from None
        self._ice = RTCIceTransport(self._gatherer)
        self._dtls = RTCDtlsTransport(self._ice, [RTCCertificate.generateCertificate()])
        self._connection = hook.connection_of(self._ice)
        self._cname = secrets.token_hex(8)
        self._stream: OutgoingStream | None = None
        self._session: RtpSession | None = None
        self._srtp: tuple[hook.SrtpSession, hook.SrtpSession] | None = None
        self._accepted: frozenset[int] = frozenset()
        self._watch: asyncio.TimerHandle | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._connected: asyncio.Future[None] | None = None
        self._rejected = 0
        self._unsent = 0
        self._closed = False
        self.on_packet: Callable[[MediaPacket], None] = _ignore
        """Told of every packet of an agreed payload type, in order of arrival."""
        self.ice_at: float | None = None
        """When a pair of candidates was found, in monotonic seconds."""
        self.connected_at: float | None = None
        """When sound could flow."""

    # -- negotiation ------------------------------------------------------------------------------

    async def offer(self, formats: tuple[PayloadFormat, ...]) -> str:
        """Gather (bounded in time) and describe this end. `ConnectFailed` if the installed aiortc
        gives no packets."""
        reason = await hook.probe()
        if reason is not None:
            raise ConnectFailed(f"this version of aiortc does not give its packets: {reason}")
        hook.bound_gathering(self._connection, hook.SlowServers(), ipv6=False)
        hook.take_datagrams(self._connection, self._datagram)
        await self._gatherer.gather()
        self._connection.ice_controlling = True
        self._stream = OutgoingStream(formats[0].clock_rate, clock=self._clock)
        return build_offer(
            formats,
            self._local(),
            session_id=secrets.randbits(62),
            ssrc=self._stream.ssrc,
            cname=self._cname,
        )

    def _local(self) -> LocalTransport:
        ice = self._gatherer.getLocalParameters()
        prints = self._dtls.getLocalParameters().fingerprints
        strong = next(one for one in prints if one.algorithm == "sha-256")
        return LocalTransport(
            ice.usernameFragment or "",
            ice.password or "",
            Fingerprint(strong.algorithm, strong.value),
            tuple(
                Candidate.parse(candidate.to_sdp())
                for candidate in self._connection.local_candidates
            ),
        )

    def accept(self, sdp: str, codec: str) -> Agreed:
        """Read the answer and begin to connect. `NegotiationError` says what is wrong with it."""
        agreed = read_answer(sdp, codec)
        if self._stream is None:
            raise RuntimeError("accept comes after offer")
        self._session = RtpSession(
            self._stream,
            ReceptionStatistics(agreed.codec.clock_rate),
            cname=self._cname,
            now=self._clock.monotonic(),
            first=FIRST_REPORT_S,
            interval=REPORT_INTERVAL_S,
        )
        self._accepted = frozenset(one.payload_type for one in agreed.choice.formats)
        hook.set_dtls_role(self._dtls, agreed.dtls_role)
        self._connected = asyncio.get_running_loop().create_future()
        self._connecting = self._scope.spawn(self._connect(agreed), name="connect")
        return agreed

    async def connected(self) -> None:
        """Wait until sound can flow. `ConnectFailed` says why it can't."""
        if self._connected is None:
            raise RuntimeError("connected comes after accept")
        await asyncio.shield(self._connected)

    def fail(self, error: ClientError) -> None:
        """Tell who waits in `connected` that it will not come to that."""
        if self._connected is not None and not self._connected.done():
            self._connected.set_exception(error)
            self._connected.exception()  # nobody may be waiting

    async def _connect(self, agreed: Agreed) -> None:
        remote = agreed.remote
        try:
            for one in remote.candidates:
                await self._ice.addRemoteCandidate(_candidate(one))
            await self._ice.addRemoteCandidate(None)
            await self._ice.start(RTCIceParameters(remote.ufrag, remote.pwd, remote.ice_lite))
            if self._ice.state != "completed":
                self.fail(ConnectFailed("no pair of candidates answered"))
                return
            self.ice_at = self._clock.monotonic()
            prints = [RTCDtlsFingerprint(one.algorithm, one.value) for one in remote.fingerprints]
            await self._dtls.start(RTCDtlsParameters(prints))
        except ConnectionError as error:
            self.fail(ConnectFailed(f"the connection broke off: {error}"))
            return
        self._srtp = hook.srtp_of(self._dtls) if self._dtls.state == "connected" else None
        if self._srtp is None:
            self.fail(ConnectFailed("the DTLS handshake failed"))
            return
        self.connected_at = self._clock.monotonic()
        self._housekeeping()
        if self._connected is not None and not self._connected.done():
            self._connected.set_result(None)

    # -- packets ----------------------------------------------------------------------------------

    def send(
        self, payload: bytes, payload_type: int, timestamp: int, *, marker: bool = False
    ) -> None:
        """Send one packet now; dropped and counted while there is no connection."""
        route = hook.route_of(self._connection)
        if self._srtp is None or self._stream is None or route is None:
            self._unsent += 1
            return
        packet = self._stream.packet(payload, payload_type, timestamp, marker)
        route[0](self._srtp[0].protect(packet), route[1])

    def _datagram(self, data: bytes) -> bool:
        """A datagram that is not STUN; False leaves it to aiortc (DTLS)."""
        if not is_rtp_or_rtcp(data):
            return False
        srtp, session = self._srtp, self._session
        if srtp is None or session is None:
            self._rejected += 1
            return True
        now = self._clock.monotonic()
        try:
            if is_rtcp(data):
                session.incoming_rtcp(srtp[1].unprotect_rtcp(data), now)
                return True
            packet = parse_rtp(srtp[1].unprotect(data), now)
        except (pylibsrtp.Error, ValueError):  # not of this call, malformed or too long
            self._rejected += 1
            return True
        if packet.payload_type in self._accepted:
            session.reception.received(packet)
            self.on_packet(packet)
        else:
            self._rejected += 1
        return True

    def _housekeeping(self) -> None:
        if self._closed or self._session is None:
            return
        now = self._clock.monotonic()
        began = self._session.outgoing.packets_sent or now - (self.connected_at or now) > SILENT_S
        if began and self._session.due(now):
            self._send_report(self._session.report(now, self._clock.time()))
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(HOUSEKEEPING_S, self._housekeeping)

    def _send_report(self, packet: bytes) -> None:
        route = hook.route_of(self._connection)
        if route is not None and self._srtp is not None:
            route[0](self._srtp[0].protect_rtcp(packet), route[1])

    # -- what is known ----------------------------------------------------------------------------

    @property
    def local_candidates(self) -> tuple[str, ...]:
        """All of this end, as `type address:port`."""
        return tuple(map(_shown, self._connection.local_candidates))

    def route(self) -> Route | None:
        """The pair in use; None before it is known."""
        pair = hook.pair_of(self._connection)
        if pair is None:
            return None
        return Route(_shown(pair.local_candidate), _shown(pair.remote_candidate))

    def statistics(self) -> PacketStatistics:
        """Figures so far, also after `close`; `connect_ms` is left to the caller."""
        if self._session is None:
            return PacketStatistics(rejected=self._rejected, unsent=self._unsent)
        figures = self._session.statistics()
        rejected = figures.rejected + self._rejected
        return replace(figures, rejected=rejected, unsent=self._unsent)

    @property
    def remote_lost(self) -> int:
        """Packets that the server missed, by its last report."""
        return 0 if self._session is None else self._session.remote.lost

    # -- the end ----------------------------------------------------------------------------------

    async def close(self) -> None:
        """Say goodbye and let go of every socket and task, within 2 s; idempotent."""
        if self._closed:
            return
        self._closed = True
        self.on_packet = _ignore
        if self._watch is not None:
            self._watch.cancel()
        self.fail(ConnectFailed("the call is closed"))
        if self._session is not None and self._srtp is not None:
            self._send_report(self._session.bye())
        self._srtp = None
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                if self._connecting is not None:
                    self._connecting.cancel()
                    await asyncio.wait({self._connecting})
                await self._dtls.stop()
                await self._ice.stop()
        except TimeoutError:
            _log.warning("a WebRTC connection did not close in time")
        finally:
            await self._scope.close()
            hook.release(self._connection)
            self._dtls.remove_all_listeners()


def _ignore(_packet: MediaPacket) -> None:
    """Nobody listens."""


def _shown(candidate: aioice.Candidate) -> str:
    return f"{candidate.type} {candidate.host}:{candidate.port}"


def _server(server: IceServer) -> RTCIceServer:
    return RTCIceServer(
        urls=list(server.urls), username=server.username, credential=server.credential
    )


def _candidate(one: Candidate) -> RTCIceCandidate:
    return RTCIceCandidate(
        component=one.component,
        foundation=one.foundation,
        ip=one.address,
        port=one.port,
        priority=one.priority,
        protocol=one.protocol,
        type=one.type,
    )
