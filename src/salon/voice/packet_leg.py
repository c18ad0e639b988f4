"""A call's sound as packets: a jitter buffer on the way in, one packet per tick on the way out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from salon.base import Clock
from salon.media.frame import FRAME_SAMPLES, SAMPLE_RATE, SILENCE, Samples
from salon.media.packet_codec import PacketEncoder
from salon.media.packet_codecs import make_packet_decoder, make_packet_encoder
from salon.media.playout import Playout, PlayoutStatistics
from salon.media.telephone_event import TelephoneEventReceiver
from salon.transport.packets import MediaPacket, PacketTrack, PayloadFormat
from salon.transport.rtp_clock import OutgoingClock
from salon.transport.ticker import Phase, Ticker, TickHandle
from salon.voice.events import Dtmf, MediaEvent
from salon.voice.leg import AudioLeg
from salon.voice.speaking import Mix

LOSS_PERIOD = 100
"""Packets between two looks at what the listener misses."""
TAIL_FRAMES = 10
"""Silence sent after the last sound, so that the listener's decoder ends in silence and has nothing
to conceal; then nothing is sent until there is sound again."""
EVENT = "telephone-event"


@dataclass(slots=True)
class _Stream:
    """One incoming payload type."""

    playout: Playout
    format: PayloadFormat

    def carries(self, found: PayloadFormat) -> bool:
        """Whether packets of this format go on where the others were."""
        own = self.format
        return own is found or (
            (own.encoding, own.clock_rate, own.parameters)
            == (found.encoding, found.clock_rate, found.parameters)
        )


class PacketLeg(AudioLeg):
    """Carries a `MediaSession` over a `PacketTrack`.

    `attach` may be called again: after a renegotiation, or when a new connection takes the place
    of one that broke; what plays goes on.
    """

    def __init__(self, ticker: Ticker, clock: Clock) -> None:
        self._ticker = ticker
        self._clock = clock
        self._track: PacketTrack | None = None
        self._formats: dict[int, PayloadFormat] = {}
        self._stream: _Stream | None = None
        self._sender: PayloadFormat | None = None
        self._encoder: PacketEncoder | None = None
        self._timing: OutgoingClock | None = None
        self._key = ""
        self._units = 0
        self._loss = 0
        self._until_look = LOSS_PERIOD
        self._digits = TelephoneEventReceiver()
        self._ssrc: int | None = None
        self._tail = 0
        self._hear: Callable[[Samples], None] = _nowhere
        self._post: Callable[[MediaEvent], None] = _nowhere
        self._tick: TickHandle | None = None
        self._packets_in = 0

    # -- the connection's side --------------------------------------------------------------------

    def attach(self, track: PacketTrack) -> None:
        """Take packets from `track` and send through it from now on."""
        previous, self._track = self._track, track
        if previous is not None and previous is not track:
            previous.on_packet = _nowhere
        self._formats = {item.payload_type: item for item in track.formats}
        sender = next(item for item in track.formats if item.encoding != EVENT)
        if sender != self._sender:
            self._sender = sender
            self._key = f"{sender.encoding} {sorted(sender.parameters.items())}"
            self._encoder = self._make_encoder()
            if self._loss:
                self._encoder.set_expected_loss(self._loss)
            self._timing = OutgoingClock(self._encoder.clock_rate)
            self._units = FRAME_SAMPLES * self._encoder.clock_rate // SAMPLE_RATE
        track.on_packet = self._packet

    def _make_encoder(self) -> PacketEncoder:
        sender = self._sender
        if sender is None:
            raise RuntimeError("no track is attached")
        return make_packet_encoder(sender.encoding, sender.parameters)

    def _packet(self, packet: MediaPacket) -> None:
        self._packets_in += 1
        if packet.ssrc != self._ssrc:
            self._ssrc = packet.ssrc
            if self._stream is not None:
                self._stream.playout.reset()
        found = self._formats.get(packet.payload_type)
        if found is None:
            return
        if found.encoding == EVENT:
            if self._stream is not None:
                self._stream.playout.skip(packet.sequence, packet.arrival)
            digit = self._digits.feed(packet.payload, packet.timestamp, packet.marker)
            if digit is not None:
                self._post(Dtmf(digit))
            return
        stream = self._stream
        if stream is None or not stream.carries(found):
            stream = self._stream = self._open_stream(found)
        stream.playout.insert(
            packet.payload,
            packet.sequence,
            packet.timestamp,
            packet.arrival,
            marker=packet.marker,
        )

    def _open_stream(self, found: PayloadFormat) -> _Stream:
        return _Stream(Playout(make_packet_decoder(found.encoding, found.clock_rate)), found)

    def _pull(self, _tick: int) -> None:
        stream = self._stream
        if stream is None:
            return
        samples = stream.playout.pull(self._clock.monotonic())
        if samples is not None:
            self._hear(samples)

    def playout(self) -> PlayoutStatistics | None:
        """Figures of the jitter buffer, once sound has come."""
        return self._stream.playout.statistics() if self._stream is not None else None

    # -- the session's side -----------------------------------------------------------------------

    def open(self, hear: Callable[[Samples], None], post: Callable[[MediaEvent], None]) -> None:
        self._hear, self._post = hear, post
        self._tick = self._ticker.add(self._pull, phase=Phase.RECEIVE)

    @property
    def packets_in(self) -> int:
        return self._packets_in

    def send(self, frame: Samples) -> None:
        self._tail = TAIL_FRAMES
        if self._encoder is not None:
            self._transmit(self._encoder.encode(frame))

    def send_shared(self, frame: Samples, mix: Mix, index: int) -> None:
        self._tail = TAIL_FRAMES
        if self._encoder is not None:
            if self._loss:
                mix.expect_loss(self._loss)
            payload = mix.payload(self._key, self._make_encoder, index, frame)
            self._transmit(self._encoder.encode(frame) if payload is None else payload)

    def idle(self) -> None:
        if self._tail:
            self._tail -= 1
            if self._encoder is not None:
                self._transmit(self._encoder.encode(SILENCE))

    def _transmit(self, payload: bytes) -> None:
        track, sender, timing = self._track, self._sender, self._timing
        if track is None or sender is None or timing is None:
            return
        timestamp, marker = timing.next(self._units, self._clock.monotonic())
        if payload:
            track.send(payload, sender.payload_type, timestamp, marker=marker)
        self._until_look -= 1
        if self._until_look <= 0:
            self._until_look = LOSS_PERIOD
            self._look(track)

    def _look(self, track: PacketTrack) -> None:
        """Redundancy follows what the listener reports to miss."""
        loss = round(track.remote_lost * 100)
        if loss != self._loss and self._encoder is not None:
            self._loss = loss
            self._encoder.set_expected_loss(loss)

    def close(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        if self._track is not None:
            self._track.on_packet = _nowhere
            self._track = None
        self._hear = self._post = _nowhere
        self._stream = None
        self._encoder = None


def _nowhere(_item: object) -> None:
    """Nobody listens."""


__all__ = ["PacketLeg"]
