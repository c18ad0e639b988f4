"""WebRTC by libdatachannel: ICE, DTLS and SRTP in native threads, RTP and RTCP here.

The library calls back from its own threads, which can deadlock with the interpreter's lock. So it
is given no callback at all: a tick of the process looks at its state and empties its queue of
received packets. Two things follow:

- `MediaPacket.arrival` is the time of the tick, up to 20 ms after the datagram came; packets of one
  tick share it, and the jitter computed from it is no finer than that.
- A change of state shows at the next tick.

The library is shown a minimal offer with one audio section, whatever the real one looks like: it
needs to know about transport only. It hands over and takes RTP and RTCP packets as they are, so
the reports are ours. It can't restart ICE and does not exist for Windows.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from salon.base import SYSTEM_CLOCK, Clock, new_id
from salon.transport.answer import (
    AudioChoice,
    RemoteTransport,
    build_answer,
    choose_audio,
    remote_transport,
    usable_candidate,
)
from salon.transport.native_library import (
    GATHER_TIMEOUT_S,
    MID,
    ResolvedServer,
    load_library,
    minimal_offer,
    resolve_servers,
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
from salon.transport.ticker import Phase, Ticker, TickHandle

if TYPE_CHECKING:
    from salon.transport.native_certificate import CertificateFiles

_log = logging.getLogger("salon.transport")

CONNECT_TIMEOUT_S = 15.0
"""From the answer to the end of the DTLS handshake."""
SILENT_S = 10.0
"""Neither media nor a report for this long: disconnected. The checks of ICE can't be seen here; by
them the library gives a silent peer up after 30 s."""
CLOSE_TIMEOUT_S = 2.0
MAX_CANDIDATES = 200
MAX_DRAINED = 256
"""Packets taken from one peer per tick. The library holds 1024 and drops what comes then."""

_POLL_S = 0.005


class NativeTrack(PacketTrack):
    """The audio section of a `LibdatachannelPeer`."""

    kind: Literal["audio", "video"] = "audio"

    def __init__(self, peer: LibdatachannelPeer, session: RtpSession) -> None:
        self.formats: tuple[PayloadFormat, ...] = ()
        self.sending = True
        self.receiving = True
        self.on_packet: Callable[[MediaPacket], None] = _ignore
        self.session = session
        self.accepted: frozenset[int] = frozenset()
        self.unsent = 0
        self._peer = peer

    def agree(self, choice: AudioChoice) -> None:
        """Take formats and directions of an answer."""
        self.formats = choice.formats
        self.accepted = frozenset(item.payload_type for item in choice.formats)
        self.sending = choice.sending
        self.receiving = choice.receiving

    @property
    def remote_lost(self) -> float:
        return self.session.remote.fraction_lost

    def send(
        self, payload: bytes, payload_type: int, timestamp: int, *, marker: bool = False
    ) -> None:
        if not (
            self.sending
            and self._peer.connected
            and self._peer.transmit(
                self.session.outgoing.packet(payload, payload_type, timestamp, marker)
            )
        ):
            self.unsent += 1


def _ignore(packet: MediaPacket) -> None:
    """Nobody listens yet."""


class LibdatachannelPeer(PacketPeer):
    """One connection; used from one event loop."""

    carrier: ClassVar[str] = "libdatachannel"

    def __init__(self, factory: NativeFactory, options: PeerOptions) -> None:
        self.state = PeerState.NEW
        self.tracks: tuple[PacketTrack, ...] = ()
        self.on_state: Callable[[PeerState], None] = _ignore_state
        self._factory = factory
        self._options = options
        self._clock = factory.clock
        self._connection: Any = None
        self._native_track: Any = None
        self._native_state: Any = None
        self._track: NativeTrack | None = None
        self._local: RemoteTransport | None = None
        self._remote_ufrag = ""
        self._early: list[Candidate] = []
        self._candidates = 0
        self._session_id = secrets.randbits(62)
        self._version = 0
        self._cname = new_id()
        self._rejected = 0
        self._ticking: TickHandle | None = None
        self._answered_at = 0.0
        self._heard_at = 0.0
        self._connect_ms: float | None = None

    # -- negotiation ------------------------------------------------------------------------------

    async def answer(self, offer: str) -> str:
        self._check_open()
        description = SessionDescription.parse(offer)
        choice = choose_audio(description, self._options.formats)
        remote = remote_transport(description, choice.media, ipv6=self._options.ipv6)
        if self._track is not None:
            if remote.ufrag != self._remote_ufrag:
                raise AnotherSession("another ICE session needs a new connection")
            self._track.agree(choice)
            return self._describe(description, choice)
        if self._remote_ufrag:
            raise NegotiationError("the first offer is not answered yet")
        self._remote_ufrag = remote.ufrag
        servers = await resolve_servers(self._options.ice_servers)
        self._check_open()
        self._open(remote, servers)
        self._local = await self._gather()
        self._track = track = self._make_track(choice)
        self.tracks = (track,)
        self._answered_at = self._heard_at = self._clock.monotonic()
        self._set_state(PeerState.CONNECTING)
        self._ticking = self._factory.ticker.add(self._tick, Phase.RECEIVE)
        return self._describe(description, choice)

    def _check_open(self) -> None:
        if self.state in (PeerState.FAILED, PeerState.CLOSED):
            raise NegotiationError("the connection is closed")

    def _open(self, remote: RemoteTransport, servers: list[ResolvedServer]) -> None:
        """Start ICE and DTLS."""
        library = self._factory.library
        connection = library.PeerConnection(self._factory.configuration(self._options, servers))
        self._connection = connection
        media = library.Description.Audio(MID, library.Description.Direction.SendRecv)
        media.add_opus_codec(111)
        self._native_track = connection.add_track(media)
        try:
            connection.set_remote_description(
                library.Description(minimal_offer(remote), library.Description.Type.Offer)
            )
        except (ValueError, RuntimeError) as error:
            raise NegotiationError(f"the offer can't be used: {error}") from None
        for candidate in (*remote.candidates[:MAX_CANDIDATES], *self._early):
            self._add(candidate)
        self._early.clear()
        connection.set_local_description(library.Description.Type.Answer)

    def _make_track(self, choice: AudioChoice) -> NativeTrack:
        clock_rate = choice.codec.clock_rate
        session = RtpSession(
            OutgoingStream(clock_rate, clock=self._clock),
            ReceptionStatistics(clock_rate),
            cname=self._cname,
            now=self._clock.monotonic(),
        )
        track = NativeTrack(self, session)
        track.agree(choice)
        return track

    async def _gather(self) -> RemoteTransport:
        """Our own side of the transport, as the library describes it."""
        complete = self._factory.library.PeerConnection.GatheringState.Complete
        deadline = self._clock.monotonic() + GATHER_TIMEOUT_S
        while self._connection.gathering_state() != complete:
            if self._clock.monotonic() >= deadline:
                _log.info("candidates were not complete after %.0f s", GATHER_TIMEOUT_S)
                break
            await self._clock.sleep(_POLL_S)
            self._check_open()
        described = SessionDescription.parse(str(self._connection.local_description()))
        return remote_transport(described, described.media[0], ipv6=self._options.ipv6)

    def _describe(self, description: SessionDescription, choice: AudioChoice) -> str:
        local, track = self._local, self._track
        if local is None or track is None:
            raise NegotiationError("the connection is not set up")
        self._version += 1
        return build_answer(
            description,
            choice,
            ufrag=local.ufrag,
            pwd=local.pwd,
            fingerprints=local.fingerprints,
            candidates=local.candidates,
            setup="active",
            ssrc=track.session.outgoing.ssrc,
            cname=self._cname,
            external_ip=self._options.external_ip,
            ipv6=self._options.ipv6,
            session_id=self._session_id,
            session_version=self._version,
        )

    def add_candidate(self, candidate: str) -> None:
        text = candidate.strip()
        if not text or text == "end-of-candidates":
            return  # the library goes on with what it has
        parsed = Candidate.parse(text)
        self._candidates += 1
        if self._candidates > MAX_CANDIDATES:
            raise NegotiationError(f"more than {MAX_CANDIDATES} candidates")
        if self._connection is not None:
            self._add(parsed)
        elif self.state is PeerState.NEW:
            self._early.append(parsed)

    def _add(self, candidate: Candidate) -> None:
        if self.state in (PeerState.FAILED, PeerState.CLOSED):
            return
        if candidate.ufrag and candidate.ufrag != self._remote_ufrag:
            return  # of another ICE session (RFC 8838, 10)
        if not usable_candidate(candidate, ipv6=self._options.ipv6):
            return
        try:
            self._connection.add_remote_candidate(
                self._factory.library.Candidate(candidate.to_sdp(), MID)
            )
        except (ValueError, RuntimeError) as error:
            raise NegotiationError(f"the candidate can't be used: {error}") from None

    @property
    def connected(self) -> bool:
        """Whether packets can be sent; a peer that is silent may still hear."""
        return self.state is PeerState.CONNECTED or self.state is PeerState.DISCONNECTED

    # -- every tick -------------------------------------------------------------------------------

    def _tick(self, tick: int) -> None:
        now = self._clock.monotonic()
        connection, track = self._connection, self._track
        if connection is None or track is None:
            return
        native = connection.state()
        # a track opens a moment after its connection
        if native is not self._native_state and (
            native.name != "Connected" or self._native_track.is_open()
        ):
            self._native_state = native
            self._follow(native.name, now)
        if self.state is PeerState.CONNECTING:
            if now - self._answered_at > CONNECT_TIMEOUT_S:
                _log.info("a WebRTC connection was not made: timeout")
                self._set_state(PeerState.FAILED)
        elif self.connected:
            self._drain(track, now)
            self._watch(track, now)

    def _follow(self, name: str, now: float) -> None:
        """The library's state is `name` now."""
        if name == "Connected":
            if self._connect_ms is None:
                self._connect_ms = (now - self._answered_at) * 1000
            self._heard_at = now
            self._set_state(PeerState.CONNECTED)
        elif name == "Disconnected":
            self._set_state(PeerState.DISCONNECTED)
        elif name in ("Failed", "Closed"):  # closed: the peer said goodbye
            self._set_state(PeerState.FAILED)

    def _drain(self, track: NativeTrack, now: float) -> None:
        receive = self._native_track.receive
        for _ in range(MAX_DRAINED):
            data = receive()
            if data is None:
                return
            self._heard_at = now
            try:
                if is_rtcp(data):
                    track.session.incoming_rtcp(data, now)
                    continue
                packet = parse_rtp(data, now)
            except PacketError:
                self._rejected += 1
                continue
            if track.receiving and packet.payload_type in track.accepted:
                track.session.reception.received(packet)
                track.on_packet(packet)
            else:
                self._rejected += 1

    def _watch(self, track: NativeTrack, now: float) -> None:
        """Whether the peer is there, and whether it is due a report."""
        if self.state is PeerState.CONNECTED and now - self._heard_at >= SILENT_S:
            self._set_state(PeerState.DISCONNECTED)
        elif (
            self.state is PeerState.DISCONNECTED
            and now - self._heard_at < SILENT_S
            and self._native_state.name == "Connected"
        ):
            self._set_state(PeerState.CONNECTED)
        if track.session.due(now):
            self.transmit(track.session.report(now, self._clock.time()))

    def transmit(self, packet: bytes) -> bool:
        """Send RTP or RTCP while `connected`; whether the library took it."""
        try:
            return bool(self._native_track.send(packet))
        except RuntimeError:  # closed by the peer, which shows at the next tick
            return False

    def _set_state(self, state: PeerState) -> None:
        if state is not self.state and self.state not in (PeerState.FAILED, PeerState.CLOSED):
            self.state = state
            if state is PeerState.FAILED:
                self._stop_ticking()
            self.on_state(state)

    def statistics(self) -> PacketStatistics:
        """Datagrams that could not be authenticated are dropped in the library and not counted."""
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

    def _stop_ticking(self) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None

    async def close(self) -> None:
        if self.state is PeerState.CLOSED:
            return
        if self._track is not None:
            if self.connected:
                self.transmit(self._track.session.bye())
            self._track.on_packet = _ignore
        self.state = PeerState.CLOSED
        self.on_state = _ignore_state
        self._stop_ticking()
        connection, self._connection, self._native_track = self._connection, None, None
        self._native_state = None
        if connection is not None:
            await self._factory.let_go(connection)


def _ignore_state(state: PeerState) -> None:
    """Nobody listens."""


class NativeFactory:
    """Makes the peers of a process: a `PeerFactory` that has to be closed after them."""

    def __init__(
        self,
        ticker: Ticker,
        library: Any,
        certificates: CertificateFiles,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.ticker = ticker
        self.library = library
        self.clock = clock
        self._certificates = certificates
        # closing waits for the library's threads, so it must not run on the event loop
        self._closing = ThreadPoolExecutor(1, thread_name_prefix="salon-native-close")

    def __call__(self, options: PeerOptions) -> LibdatachannelPeer:
        """A new peer; nothing is opened before it answers."""
        return LibdatachannelPeer(self, options)

    def configuration(self, options: PeerOptions, servers: list[ResolvedServer]) -> Any:
        """What the library is told about a connection."""
        files = self._certificates.current(fresh=options.fresh_identity)
        configuration = self.library.Configuration()
        configuration.certificate_pem_file = files.certificate
        configuration.key_pem_file = files.key
        configuration.disable_auto_negotiation = True
        if not options.ipv6:
            # no IPv6 sockets; ICE listens on every interface, as it must
            configuration.bind_address = "0.0.0.0"  # nosec B104
        configuration.ice_servers = [self._server(server) for server in servers]
        return configuration

    def _server(self, server: ResolvedServer) -> Any:
        ice = self.library.IceServer
        if server.username is None:
            return ice(server.address, server.port)
        return ice(
            server.address,
            str(server.port),
            server.username,
            server.credential or "",
            ice.RelayType.TurnUdp,
        )

    async def let_go(self, connection: Any) -> None:
        """Close a connection of the library; waits `CLOSE_TIMEOUT_S` at most."""
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self._closing, connection.close)
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await asyncio.shield(done)
        except TimeoutError:
            _log.warning("a WebRTC connection did not close in time")
        except RuntimeError as error:
            _log.warning("a WebRTC connection did not close: %s", error)

    def close(self) -> None:
        """Remove the certificate; idempotent. Peers have to be closed before."""
        self._closing.shutdown(wait=False)
        self._certificates.close()


def native_factory(ticker: Ticker, *, clock: Clock = SYSTEM_CLOCK) -> NativeFactory:
    """The maker of libdatachannel's peers, drained by `ticker`.

    Raises `MissingExtraError` with the reason if the library can't be had.
    """
    library = load_library()
    from salon.transport.native_certificate import CertificateFiles

    return NativeFactory(ticker, library, CertificateFiles(clock=clock), clock=clock)


__all__ = ["LibdatachannelPeer", "NativeFactory", "NativeTrack", "native_factory"]
