"""WebRTC by aiortc's ICE and DTLS, with packets taken past its media path.

No task, queue or executor hop exists per packet: a datagram is decrypted and handed over in the
event loop's read callback, and a payload is encrypted and sent by the call of `send`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Literal

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

from salon.base import SYSTEM_CLOCK, Clock, TaskScope
from salon.transport import aiortc_hook as hook
from salon.transport.answer import (
    AudioChoice,
    answer_setup,
    build_answer,
    choose_audio,
    remote_transport,
    usable_candidate,
)
from salon.transport.packets import (
    AnotherSession,
    MediaPacket,
    NegotiationError,
    PacketPeer,
    PacketStatistics,
    PacketTrack,
    PayloadFormat,
    PeerOptions,
    PeerState,
)
from salon.transport.reception import ReceptionStatistics
from salon.transport.rtp import OutgoingStream, PacketError, is_rtcp, parse_rtp
from salon.transport.rtp_session import RtpSession
from salon.transport.sdp import Candidate, SessionDescription

_log = logging.getLogger("salon.transport")

CONNECT_TIMEOUT_S = 15.0
"""From the answer to the end of the DTLS handshake."""
SILENT_S = 13.0
"""Nothing authentic for this long, neither media nor a check of consent nor an answer to ours,
which come every 4 to 6 s (RFC 7675, 5.1): disconnected."""
LOST_S = 30.0
"""And after this long the connection is given up."""
CLOSE_TIMEOUT_S = 2.0
CERTIFICATE_AGE_S = 7 * 86_400.0
MAX_CANDIDATES = 200
MAX_BACKLOG = 32
"""Datagrams of DTLS that may wait; a handshake needs a few."""


class Certificates:
    """One certificate for all peers of a process, renewed long before it expires."""

    def __init__(self) -> None:
        self._made: tuple[float, RTCCertificate] | None = None

    def current(self) -> RTCCertificate:
        """The certificate to use for a new peer."""
        now = time.monotonic()
        if self._made is None or now - self._made[0] > CERTIFICATE_AGE_S:
            self._made = now, RTCCertificate.generateCertificate()
        return self._made[1]


Route = tuple[Callable[[bytes], bytes], hook.SendTo, Any]
"""What encrypts a packet, what sends it, and where to."""


class AiortcTrack(PacketTrack):
    """The audio section of an `AiortcPeer`."""

    kind: Literal["audio", "video"] = "audio"

    def __init__(self, route: Callable[[], Route | None], session: RtpSession) -> None:
        self.formats: tuple[PayloadFormat, ...] = ()
        self.sending = True
        self.receiving = True
        self.on_packet: Callable[[MediaPacket], None] = ignore
        self.session = session
        self.accepted: frozenset[int] = frozenset()
        self.unsent = 0
        self._route = route

    @property
    def remote_lost(self) -> float:
        return self.session.remote.fraction_lost

    def send(
        self, payload: bytes, payload_type: int, timestamp: int, *, marker: bool = False
    ) -> None:
        route = self._route() if self.sending else None
        if route is None:
            self.unsent += 1
            return
        protect, sendto, address = route
        outgoing = self.session.outgoing
        sendto(protect(outgoing.packet(payload, payload_type, timestamp, marker)), address)


def ignore(packet: MediaPacket) -> None:
    """Nobody listens yet."""


class AiortcPeer(PacketPeer):
    """One connection. Everything runs on the event loop it was made in."""

    carrier: ClassVar[str] = "aiortc"

    def __init__(
        self,
        options: PeerOptions,
        certificates: Certificates,
        *,
        servers: hook.SlowServers | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.state = PeerState.NEW
        self.tracks: tuple[PacketTrack, ...] = ()
        self.on_state: Callable[[PeerState], None] = lambda _state: None
        self._options = options
        self._clock = clock
        self._servers = servers or hook.SlowServers()
        self._gathering: asyncio.Task[None] | None = None
        self._certificate = (
            RTCCertificate.generateCertificate()
            if options.fresh_identity
            else certificates.current()
        )
        self._scope = TaskScope("webrtc peer")
        self._gatherer = RTCIceGatherer(iceServers=ice_servers(options))
        self._ice = RTCIceTransport(self._gatherer)
        self._dtls = RTCDtlsTransport(self._ice, [self._certificate])
        self._connection = hook.connection_of(self._ice)
        self._track: AiortcTrack | None = None
        self._remote_ufrag = ""
        self._setup: Literal["active", "passive"] = "active"
        self._version = 0
        self._session_id = secrets.randbits(62)
        self._cname = secrets.token_hex(8)
        self._protect: Callable[[bytes], bytes] | None = None
        self._unprotect: Callable[[bytes], bytes] | None = None
        self._srtp: tuple[hook.SrtpSession, hook.SrtpSession] | None = None
        self._rejected = 0
        self._candidates = 0
        self._candidates_ended = False
        self._alive_at = clock.monotonic()
        self._answered_at = 0.0
        self._connect_ms: float | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._dtls.on("statechange", self._on_transport)
        self._ice.on("statechange", self._on_transport)

    # -- negotiation ------------------------------------------------------------------------------

    async def answer(self, offer: str) -> str:
        if self.state in (PeerState.FAILED, PeerState.CLOSED):
            raise NegotiationError("the connection is closed")
        description = SessionDescription.parse(offer)
        choice = choose_audio(description, self._options.formats)
        remote = remote_transport(description, choice.media, ipv6=self._options.ipv6)
        if self._track is not None:
            if remote.ufrag != self._remote_ufrag:
                raise AnotherSession("another ICE session needs a new connection")
            self._agree(self._track, choice)
            for candidate in remote.candidates:
                self._add(candidate)
            return self._describe(description, choice)
        self._remote_ufrag = remote.ufrag
        hook.bound_gathering(self._connection, self._servers, ipv6=self._options.ipv6)
        hook.take_datagrams(self._connection, self._datagram)
        hook.note_checks(self._connection, self._alive)
        # a task of its own: cancelled half-way, it would leave sockets that nobody knows
        self._gathering = self._scope.spawn(self._gatherer.gather(), name="gather")
        await asyncio.shield(self._gathering)
        self._connection.ice_controlling = remote.ice_lite
        self._setup = answer_setup(remote.setup, "active")
        hook.set_dtls_role(self._dtls, "client" if self._setup == "active" else "server")
        track = self._make_track(choice)
        self._track = track
        self.tracks = (track,)
        for candidate in remote.candidates:
            self._add(candidate)
        self._candidates_ended = remote.end_of_candidates
        self._answered_at = self._clock.monotonic()
        self._set_state(PeerState.CONNECTING)
        parameters = RTCIceParameters(remote.ufrag, remote.pwd, remote.ice_lite)
        fingerprints = [RTCDtlsFingerprint(f.algorithm, f.value) for f in remote.fingerprints]
        self._connecting = self._scope.spawn(
            self._connect(parameters, RTCDtlsParameters(fingerprints)), name="connect"
        )
        return self._describe(description, choice)

    def _make_track(self, choice: AudioChoice) -> AiortcTrack:
        clock_rate = choice.codec.clock_rate
        session = RtpSession(
            OutgoingStream(clock_rate, clock=self._clock),
            ReceptionStatistics(clock_rate),
            cname=self._cname,
            now=self._clock.monotonic(),
        )
        track = AiortcTrack(self._route, session)
        self._agree(track, choice)
        return track

    def _agree(self, track: AiortcTrack, choice: AudioChoice) -> None:
        track.formats = choice.formats
        track.accepted = frozenset(item.payload_type for item in choice.formats)
        track.sending, track.receiving = choice.sending, choice.receiving

    def _describe(self, description: SessionDescription, choice: AudioChoice) -> str:
        self._version += 1
        local = self._gatherer.getLocalParameters()
        fingerprint = self._dtls.getLocalParameters().fingerprints[0]
        session = self._track.session if self._track is not None else None
        if session is None:
            raise NegotiationError("the connection is not set up")
        return build_answer(
            description,
            choice,
            ufrag=local.usernameFragment or "",
            pwd=local.password or "",
            fingerprints=((fingerprint.algorithm, fingerprint.value),),
            candidates=tuple(
                Candidate.parse(f"candidate:{candidate.to_sdp()}")
                for candidate in self._connection.local_candidates
            ),
            setup=self._setup,
            ssrc=session.outgoing.ssrc,
            cname=self._cname,
            external_ip=self._options.external_ip,
            ipv6=self._options.ipv6,
            session_id=self._session_id,
            session_version=self._version,
        )

    def add_candidate(self, candidate: str) -> None:
        text = candidate.strip()
        if not text or text == "end-of-candidates":
            # aioice is not told: it would give up at once where every candidate was filtered,
            # although the peer can be learnt from its own checks
            self._candidates_ended = True
            return
        parsed = Candidate.parse(text)
        if not usable_candidate(parsed, ipv6=self._options.ipv6):
            return
        if parsed.ufrag and self._remote_ufrag and parsed.ufrag != self._remote_ufrag:
            return  # of an ICE session that is over (RFC 8838, 10)
        self._add(parsed)

    def _add(self, candidate: Candidate) -> None:
        self._candidates += 1
        if self._candidates > MAX_CANDIDATES:
            raise NegotiationError(f"more than {MAX_CANDIDATES} candidates")
        if self._candidates_ended or self.state in (PeerState.FAILED, PeerState.CLOSED):
            return
        # neither waits: names are not resolved here
        self._scope.spawn(self._ice.addRemoteCandidate(to_aiortc(candidate)), name="candidate")

    # -- connecting -------------------------------------------------------------------------------

    async def _connect(self, ice: RTCIceParameters, dtls: RTCDtlsParameters) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._ice.start(ice)
                if self._ice.state == "completed":
                    await self._dtls.start(dtls)
        except (TimeoutError, ConnectionError) as error:
            _log.info("a WebRTC connection was not made: %s", str(error) or "timeout")
        except Exception:  # noqa: BLE001 - the edge of the connection; it fails, the call is told
            _log.exception("a WebRTC connection failed")
        self._srtp = hook.srtp_of(self._dtls) if self._dtls.state == "connected" else None
        if self._srtp is None:
            self._set_state(PeerState.FAILED)
            return
        self._protect, self._unprotect = self._srtp[0].protect, self._srtp[1].unprotect
        hook.note_answers(self._connection, self._alive)
        self._alive_at = self._clock.monotonic()
        self._connect_ms = (self._alive_at - self._answered_at) * 1000
        self._set_state(PeerState.CONNECTED)
        self._housekeeping()

    def _on_transport(self) -> None:
        if self.state is PeerState.CLOSED:
            return
        if self._dtls.state == "closed" or (
            self._ice.state == "failed" and self._connect_ms is not None
        ):  # the peer said goodbye, or ICE is gone
            self._set_state(PeerState.FAILED)

    def _set_state(self, state: PeerState) -> None:
        if state is not self.state and self.state not in (PeerState.FAILED, PeerState.CLOSED):
            self.state = state
            self.on_state(state)

    def _alive(self) -> None:
        self._alive_at = self._clock.monotonic()

    def _housekeeping(self) -> None:
        """Twice a second: reports to the peer, and whether it is still there."""
        if self.state not in (PeerState.CONNECTED, PeerState.DISCONNECTED):
            return
        now = self._clock.monotonic()
        silent = now - self._alive_at
        if silent >= LOST_S:
            self._set_state(PeerState.FAILED)
            return
        self._set_state(PeerState.DISCONNECTED if silent >= SILENT_S else PeerState.CONNECTED)
        if self._track is not None and self._track.session.due(now):
            self._transmit_report(self._track.session.report(now, self._clock.time()))
        self._watch = asyncio.get_running_loop().call_later(0.5, self._housekeeping)

    # -- packets ----------------------------------------------------------------------------------

    def _datagram(self, data: bytes) -> bool:
        """A datagram that is not STUN; False leaves it to aiortc (DTLS). Anybody may send them:
        what is not awaited is dropped and counted."""
        if not data or self.state in (PeerState.FAILED, PeerState.CLOSED):
            self._rejected += 1
            return True
        if not 127 < data[0] < 192:
            if 19 < data[0] < 64 and hook.backlog(self._connection) < MAX_BACKLOG:
                return False
            self._rejected += 1
            return True
        unprotect, track = self._unprotect, self._track
        if unprotect is None or track is None:
            self._rejected += 1
            return True
        now = self._clock.monotonic()
        try:
            if is_rtcp(data):
                self._report_received(track, data, now)
                self._alive_at = now
                return True
            packet = parse_rtp(unprotect(data), now)
            self._alive_at = now
        except (pylibsrtp.Error, PacketError, ValueError):
            self._rejected += 1
            return True
        if track.receiving and packet.payload_type in track.accepted:
            track.session.reception.received(packet)
            track.on_packet(packet)
        else:
            self._rejected += 1
        return True

    def _report_received(self, track: AiortcTrack, data: bytes, now: float) -> None:
        if self._srtp is not None:
            track.session.incoming_rtcp(self._srtp[1].unprotect_rtcp(data), now)

    def _route(self) -> Route | None:
        """The way of a packet to send; None while there is none."""
        protect = self._protect
        route = hook.route_of(self._connection) if protect is not None else None
        return None if protect is None or route is None else (protect, *route)

    def _transmit_report(self, packet: bytes) -> None:
        route = hook.route_of(self._connection)
        if route is not None and self._srtp is not None:
            route[0](self._srtp[0].protect_rtcp(packet), route[1])

    def statistics(self) -> PacketStatistics:
        if self._track is None:
            return PacketStatistics(rejected=self._rejected)
        figures = self._track.session.statistics()
        return replace(
            figures,
            rejected=figures.rejected + self._rejected,
            unsent=self._track.unsent,
            connect_ms=self._connect_ms,
        )

    # -- the end ----------------------------------------------------------------------------------

    async def close(self) -> None:
        if self.state is PeerState.CLOSED:
            return
        if self._track is not None and self.state is PeerState.CONNECTED:
            self._transmit_report(self._track.session.bye())
        self.state = PeerState.CLOSED
        self._protect = self._unprotect = None
        if self._watch is not None:
            self._watch.cancel()
        if self._track is not None:
            self._track.on_packet = ignore
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                if self._gathering is not None:
                    await asyncio.wait({self._gathering})
                if self._connecting is not None:
                    self._connecting.cancel()
                    await asyncio.gather(self._connecting, return_exceptions=True)
                await self._dtls.stop()
                await self._ice.stop()
        except TimeoutError:
            _log.warning("a WebRTC connection did not close in time")
        finally:
            await self._scope.close()
            hook.release(self._connection)
            self._dtls.remove_all_listeners()
            self.on_state = lambda _state: None
            self._srtp = None


def ice_servers(options: PeerOptions) -> list[RTCIceServer]:
    """In aiortc's shape; never None, which would mean a public server."""
    return [
        RTCIceServer(urls=list(server.urls), username=server.username, credential=server.credential)
        for server in options.ice_servers
    ]


def to_aiortc(candidate: Candidate) -> RTCIceCandidate:
    """In aiortc's shape."""
    return RTCIceCandidate(
        component=candidate.component,
        foundation=candidate.foundation,
        ip=candidate.address,
        port=candidate.port,
        priority=candidate.priority,
        protocol=candidate.protocol,
        type=candidate.type,
    )


__all__ = ["AiortcPeer", "Certificates"]
