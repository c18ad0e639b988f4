"""Voice over plain RTP: a UDP port per session, G.711, G.722, L16 or Opus, keys by RFC 4733.

There is no encryption and no signalling here: both ends are told of each other by other means.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random, SystemRandom
from typing import Any, ClassVar, Final

from salon.base import (
    SYSTEM_CLOCK,
    Clock,
    ConfigurationError,
    LocalProtocolError,
    UnavailableError,
    new_id,
)
from salon.base.ids import IdFactory
from salon.media.errors import MediaError
from salon.media.frame import FRAME_MS
from salon.media.packet_codecs import make_packet_decoder, make_packet_encoder
from salon.media.playout import Playout
from salon.transport.packets import PacketStatistics, PayloadFormat
from salon.transport.ticker import Phase, Ticker, TickHandle
from salon.voice.backends.carried import CarriedVoiceBackend
from salon.voice.backends.connection import Connection
from salon.voice.backends.dtmf import KeyTrack
from salon.voice.backends.peer_connection import Reception
from salon.voice.backends.rtp_track import (
    EVENT,
    Address,
    Latching,
    Rtcp,
    RtpTrack,
    is_sender_report,
    ports_to_try,
)
from salon.voice.backends.session import VoiceSession
from salon.voice.packet_leg import PacketLeg, _Stream

DEFAULT_QUEUE_FRAMES: Final = 1000
"""20 s of sound."""
_STATIC: Final = {0: ("PCMU", 8000), 8: ("PCMA", 8000), 9: ("G722", 8000)}
_LAST_PORT: Final = 65_535
_LAST_TYPE: Final = 127
_BY_RATE: Final = {8000: "PCMU", 16_000: "L16", 48_000: "opus"}


@dataclass(frozen=True, slots=True)
class RTPStatistics:
    """Figures of one session.

    `strangers` are datagrams that were ignored because they did not come from the far end,
    `malformed` those that were not to be read or of a payload type that was not agreed on.
    """

    packets: PacketStatistics
    reception: Reception | None
    strangers: int
    malformed: int


class _RtpLeg(PacketLeg):
    """Says whether what it gave last was made up."""

    playing: Playout | None = None

    def _open_stream(self, found: Any) -> _Stream:
        stream = super()._open_stream(found)
        self.playing = stream.playout
        return stream


class RTPConnection(Connection):
    """Two UDP ports, or one. Ready when the far end's address is known: named, or latched."""

    transport: ClassVar[str] = "rtp"

    def __init__(self, track: RtpTrack, ticker: Ticker, clock: Clock) -> None:
        self.track = track
        self._keys = KeyTrack(track, clock)
        self.leg: _RtpLeg = _RtpLeg(ticker, clock)
        self.leg.attach(self._keys)
        self._ready: Callable[[], None] = _nothing
        self._lost: Callable[[], None] = _nothing
        self._tick: TickHandle = ticker.add(self._housekeeping, Phase.AFTER)

    def watch(self, ready: Callable[[], None], lost: Callable[[], None]) -> None:
        self._ready, self._lost = ready, lost
        self.track.on_latched = ready
        if self.track.remote is not None:
            ready()

    def point(self, remote: Address) -> None:
        """The far end is there; until its first packet says otherwise."""
        self.track.name_remote(remote)
        self._ready()

    def _housekeeping(self, _tick: int) -> None:
        self.track.report()
        if self.track.session.departed:
            self._lost()

    def occupied(self) -> bool:
        return self._keys.tick()

    @property
    def busy(self) -> bool:
        return self._keys.pressing

    def press(self, digit: str, duration_ms: int) -> None:
        self._keys.press(digit, duration_ms)

    @property
    def concealed(self) -> bool:
        return self.leg.playing is not None and self.leg.playing.concealed

    def statistics(self) -> RTPStatistics:
        """So far."""
        track, figures = self.track, self.leg.playout()
        reception = None
        if figures is not None:
            reception = Reception(
                figures.lost,
                round(figures.concealed_ms / FRAME_MS),
                figures.jitter_p95_ms,
                figures.depth_ms,
            )
        packets = replace(track.session.statistics(), unsent=track.unsent)
        return RTPStatistics(packets, reception, track.strangers, track.malformed)

    async def close(self) -> None:
        self._tick.cancel()
        self._ready = self._lost = _nothing
        self.track.close(goodbye=True)


class RTPVoiceBackend(CarriedVoiceBackend):
    """A UDP port for each session, at `local_addr` (loopback unless told otherwise; port 0 is any).

    What is sent has `payload_type`; which codec that is, is known for 0 (PCMU), 8 (PCMA) and 9
    (G722), else said by `codec` (``PCMU PCMA G722 L16 opus``) or guessed from `clock_rate` (48000:
    Opus, 16000: L16). All of `formats` are received besides. Keys have `dtmf_payload_type`; None
    for no keys.

    Where the far end is, `connect` is told by its metadata (``remote_host`` and ``remote_port``, or
    ``remote_addr``), or `remote_addr` says for all; else the session waits for the first packet.
    `latching` says whose packets are taken (see `Latching`): the sender of the first one is the far
    end from then on, and all others are counted and ignored. `rtcp` says where reports go, every
    `rtcp_interval` seconds about; their BYE ends the session.

    `port_allocator` is any object with ``allocate() -> int`` and ``release(port)``.
    """

    def __init__(
        self,
        *,
        local_addr: Address = ("127.0.0.1", 0),
        remote_addr: Address | None = None,
        payload_type: int = 0,
        clock_rate: int = 8000,
        dtmf_payload_type: int | None = 101,
        rtcp_interval: float = 5.0,
        port_allocator: Any | None = None,
        codec: str | None = None,
        codec_parameters: Mapping[str, str] | None = None,
        formats: Sequence[PayloadFormat] = (),
        latching: Latching | str = Latching.ANY,
        rtcp: Rtcp | str = Rtcp.PAIR,
        input_sample_rate: int = 16_000,
        output_sample_rate: int = 16_000,
        audio_queue_maxsize: int = DEFAULT_QUEUE_FRAMES,
        ticker: Ticker | None = None,
        clock: Clock = SYSTEM_CLOCK,
        ids: IdFactory = new_id,
        random: Random | None = None,
    ) -> None:
        """`ConfigurationError` for a payload type, codec or interval that can't be used,
        `MissingExtraError` for a codec whose library is not installed."""
        super().__init__(
            input_sample_rate=input_sample_rate,
            output_sample_rate=output_sample_rate,
            audio_queue_maxsize=audio_queue_maxsize,
            ticker=ticker,
            clock=clock,
            ids=ids,
        )
        if rtcp_interval <= 0:
            raise ConfigurationError(f"rtcp_interval is {rtcp_interval}; it must be positive")
        self._local = local_addr
        self._remote = remote_addr
        self._allocator = port_allocator
        self._latching, self._rtcp = Latching(latching), Rtcp(rtcp)
        last = _LAST_PORT - (self._rtcp is Rtcp.PAIR)
        if not 0 <= local_addr[1] <= last:
            raise ConfigurationError(f"local_addr is {local_addr}: its port is not 0 to {last}")
        self._rtcp_interval = rtcp_interval
        self._random = random or SystemRandom()
        self._ports: dict[str, int] = {}
        sent = _format(payload_type, clock_rate, codec, codec_parameters or {})
        self._formats = _all_formats(sent, formats, dtmf_payload_type)

    @property
    def name(self) -> str:
        return "RTP"

    @property
    def formats(self) -> tuple[PayloadFormat, ...]:
        """What is received; the first is what is sent."""
        return self._formats

    # -- sessions ---------------------------------------------------------------------------------

    async def connect(
        self,
        room_id: str,
        participant_id: str,
        channel_id: str,
        *,
        metadata: dict[str, Any] | None = None,
    ) -> VoiceSession:
        """A session with its UDP port, told as ``metadata["local_addr"]``. `ConfigurationError` if
        the far end's address is none, `UnavailableError` if no port is free."""
        remote = _remote_of(metadata or {}) or self._remote
        session = await super().connect(room_id, participant_id, channel_id, metadata=metadata)
        connection: RTPConnection | None = None
        try:
            connection = await self._open(session, remote)
            self.attach(session, connection)  # it may be over by now
        except BaseException:
            if connection is not None:
                await connection.close()
            await self.disconnect(session)
            raise
        return session

    async def accept(self, session: VoiceSession, connection: Address | None) -> Address:
        """The far end of a session made by `connect` is at `connection`; where we listen for it.

        None for whoever sends first. `LocalProtocolError` for a session that is over.
        """
        present = self._connection_of(session)
        if connection is not None:
            present.point(_address(connection))
        address: Address = session.metadata["local_addr"]
        return address

    async def _open(self, session: VoiceSession, remote: Address | None) -> RTPConnection:
        track = RtpTrack(
            self._formats,
            latching=self._latching,
            rtcp=self._rtcp,
            rtcp_interval=self._rtcp_interval,
            clock=self._clock,
            random=self._random,
        )
        if remote is not None:
            track.name_remote(await _resolved(remote))
        host, port = self._local
        if self._allocator is not None:
            port = self._ports[session.id] = int(self._allocator.allocate())
        pair = self._rtcp is Rtcp.PAIR
        ports = ports_to_try(port, pair=pair, random=self._random)
        session.metadata["local_addr"] = await track.open(host, ports)
        track.on_report = lambda inbound, data: self._reported(session, inbound, data)
        return RTPConnection(track, self._ticker, self._clock)

    def _reported(self, session: VoiceSession, inbound: bool, data: bytes) -> None:
        if self._emitter is not None:
            kind = "sender report" if is_sender_report(data) else "receiver report"
            self._trace(session, "inbound" if inbound else "outbound", f"RTCP {kind}", data)

    async def disconnect(self, session: VoiceSession) -> None:
        await super().disconnect(session)
        port = self._ports.pop(session.id, None)
        if port is not None and self._allocator is not None:
            self._allocator.release(port)

    # -- figures ----------------------------------------------------------------------------------

    def statistics(self, session: VoiceSession) -> RTPStatistics:
        """Figures so far. `LocalProtocolError` for a session that is over."""
        return self._connection_of(session).statistics()

    def packets_lost(self, session: VoiceSession) -> int:
        """Packets of sound that never came in time (V32)."""
        reception = self.statistics(session).reception
        return 0 if reception is None else reception.packets_lost

    def concealed_frames(self, session: VoiceSession) -> int:
        """Frames of 20 ms that were made up in place of what was lost (V32)."""
        reception = self.statistics(session).reception
        return 0 if reception is None else reception.concealed_frames

    def _connection_of(self, session: VoiceSession) -> RTPConnection:
        connection = self._call_of(session).connection
        if not isinstance(connection, RTPConnection):
            raise LocalProtocolError(f"voice session {session.id} has no RTP connection")
        return connection


def _format(
    payload_type: int, clock_rate: int, codec: str | None, parameters: Mapping[str, str]
) -> PayloadFormat:
    if codec is None and payload_type in _STATIC:
        codec, clock_rate = _STATIC[payload_type]
    chosen = codec or _BY_RATE.get(clock_rate)
    if chosen is None:
        raise ConfigurationError(
            f"payload type {payload_type} with {clock_rate} Hz says no codec: pass codec"
        )
    if chosen.lower() == "l16":
        chosen = "L16"
    try:
        rate = make_packet_encoder(chosen, parameters).clock_rate
        make_packet_decoder(chosen, rate)
    except MediaError as error:
        raise ConfigurationError(str(error)) from None
    channels = 2 if chosen.lower() == "opus" else 1
    return PayloadFormat(payload_type, chosen, rate, channels, parameters)


def _all_formats(
    sent: PayloadFormat, more: Sequence[PayloadFormat], keys: int | None
) -> tuple[PayloadFormat, ...]:
    formats = [sent, *(item for item in more if item.payload_type != sent.payload_type)]
    if keys is not None:
        formats.append(PayloadFormat(keys, EVENT, sent.clock_rate))
    types = [item.payload_type for item in formats]
    if not all(0 <= item <= _LAST_TYPE for item in types):
        raise ConfigurationError(f"payload types are {types}, not all 0 to {_LAST_TYPE}")
    if len(set(types)) != len(types):
        raise ConfigurationError(f"payload types must differ: {types}")
    return tuple(formats)


def _remote_of(metadata: Mapping[str, Any]) -> Address | None:
    host, port = metadata.get("remote_host"), metadata.get("remote_port")
    if host is not None and port is not None:
        return _address((host, port))
    named = metadata.get("remote_addr")
    return None if named is None else _address(named)


def _address(value: Any) -> Address:
    try:
        host, port = value
        found = str(host), int(port)
    except (TypeError, ValueError):
        raise ConfigurationError(f"{value!r} is no (host, port)") from None
    if not found[0] or not 0 < found[1] <= _LAST_PORT:
        raise ConfigurationError(f"{value!r} is no address to send to")
    return found


async def _resolved(address: Address) -> Address:
    """With an IPv4 address in place of a name; `UnavailableError` if the name has none."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(*address, family=socket.AF_INET, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise UnavailableError(f"{address[0]} has no IPv4 address: {error}") from None
    host, port = found[0][4][:2]
    return str(host), int(port)


def _nothing() -> None:
    """Nobody wants to know."""


__all__ = ["Latching", "RTPStatistics", "RTPVoiceBackend", "Rtcp"]
