"""The contract of a connection that carries encoded media as packets.

Whoever carries them (aiortc's ICE, DTLS and SRTP, a native library, plain RTP) hands over payloads
as they arrive and sends payloads at once; jitter buffers, codecs and pacing belong to whoever uses
them. Everything per packet is a plain call on the event loop: no task, no queue. Sound comes first;
pictures take the same shape (`PacketTrack.kind`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Literal

from salon.base import SalonError


class NegotiationError(SalonError, ValueError):
    """An offer or a candidate from outside that can't be used; the message says what is wrong."""

    code = "negotiation"


class AnotherSession(NegotiationError):
    """The offer begins another ICE session; a new peer can take it."""

    code = "another_session"


@dataclass(frozen=True, slots=True)
class PayloadFormat:
    """What a payload type of a session means (RFC 8866 ``rtpmap`` and ``fmtp``).

    `encoding` is spelled as registered: ``opus PCMU PCMA G722 telephone-event``; ``L16`` is plain
    16-bit little-endian sound where a carrier can only give decoded frames. `clock_rate` is that
    of the RTP timestamps (8000 for G.722, 48000 for Opus).
    """

    payload_type: int
    encoding: str
    clock_rate: int
    channels: int = 1
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class MediaPacket:
    """One received RTP packet, decrypted. `arrival` is monotonic seconds at the socket."""

    payload: bytes
    payload_type: int
    sequence: int
    timestamp: int
    marker: bool
    arrival: float
    ssrc: int = 0


class PeerState(StrEnum):
    """Where a connection stands. From `FAILED` and `CLOSED` there is no way back."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    """Nothing comes from the peer; it may come back."""
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class PacketStatistics:
    """Figures of one connection since it was made.

    `lost` and `jitter_ms` concern what was received (RFC 3550, 6.4.1); `remote_lost` is the part
    (0 to 1) the peer missed lately and `remote_jitter_ms` the jitter it saw, by its last report;
    `round_trip_ms` is None before the first report. `rejected` are datagrams that could not be
    authenticated or read; `unsent` packets that found no connection.
    """

    packets_received: int = 0
    bytes_received: int = 0
    packets_sent: int = 0
    bytes_sent: int = 0
    lost: int = 0
    jitter_ms: float = 0.0
    remote_lost: float = 0.0
    remote_jitter_ms: float = 0.0
    round_trip_ms: float | None = None
    rejected: int = 0
    unsent: int = 0
    connect_ms: float | None = None
    """From the answer to the first moment at which media may flow."""


class PacketTrack(ABC):
    """One media section: what may be received and sent in it."""

    kind: Literal["audio", "video"]
    formats: tuple[PayloadFormat, ...]
    """The negotiated formats in the order of the offer (G138); without telephone events the first
    is the one to send."""
    sending: bool
    """The peer wants to receive."""
    on_packet: Callable[[MediaPacket], None]
    """Told of every packet of a negotiated payload type, in order of arrival; set by the user."""

    @property
    def remote_lost(self) -> float:
        """The part (0 to 1) of our packets that the peer missed, by its last report."""
        return 0.0

    @abstractmethod
    def send(
        self, payload: bytes, payload_type: int, timestamp: int, *, marker: bool = False
    ) -> None:
        """Send one packet now. `timestamp` counts in the clock rate of the format from any start
        (the carrier adds a random offset, RFC 3550, 5.1) and is taken modulo 2**32. Not connected
        or not wanted by the peer: the packet is dropped and counted."""


class PacketPeer(ABC):
    """The answering side of one peer connection.

    Made by a `PeerFactory`, it answers one offer, or several of the same connection in turn.
    """

    carrier: ClassVar[str]
    """Who carries the packets: ``aiortc``, ``aiortc-stock`` or ``libdatachannel``."""
    state: PeerState
    tracks: tuple[PacketTrack, ...]
    """Accepted media sections, known after `answer`."""
    on_state: Callable[[PeerState], None]
    """Told of every change of `state`; set by the user."""

    @abstractmethod
    async def answer(self, offer: str) -> str:
        """Take an SDP offer, give the answer with all candidates (G145); connecting goes on by
        itself. A second offer of the same ICE session changes directions and formats; one with
        other ICE credentials raises `AnotherSession`: it needs a new peer. `NegotiationError` for
        an offer that is malformed or has no audio to agree on."""

    @abstractmethod
    def add_candidate(self, candidate: str) -> None:
        """A trickled remote candidate, the value of an ``a=candidate`` line with or without its
        name; "" ends them (G88). mDNS names are ignored. `NegotiationError` if it can't be
        parsed."""

    @abstractmethod
    def statistics(self) -> PacketStatistics:
        """Figures so far."""

    @abstractmethod
    async def close(self) -> None:
        """Say goodbye and let go of every socket and task; bounded in time, idempotent."""


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server, in the shape of the browser's ``RTCIceServer``."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PeerOptions:
    """What every peer of a process shares. `external_ip` replaces the address of host candidates
    (G149); `ipv6` keeps IPv6 candidates (G147); `formats` is what may be agreed on, the offer
    decides the order (G138). `fresh_identity` asks for a certificate of its own: a peer that takes
    the place of another one must differ from it, else a browser keeps its old DTLS session."""

    ice_servers: tuple[IceServer, ...] = ()
    external_ip: str | None = None
    ipv6: bool = False
    formats: tuple[str, ...] = ("opus", "G722", "PCMU", "PCMA", "telephone-event")
    fresh_identity: bool = False


PeerFactory = Callable[[PeerOptions], PacketPeer]
"""Makes a peer; cheap, no I/O."""
