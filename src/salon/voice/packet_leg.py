"""A call's sound as packets: a jitter buffer on the way in, one packet per tick on the way out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from salon.base import Clock
from salon.media.frame import FRAME_SAMPLES, SAMPLE_RATE, SILENCE, Samples
from salon.media.packet_codec import PacketEncoder
from salon.media.packet_codecs import make_packet_decoder, make_packet_encoder
from salon.media.playout import Playout, PlayoutStatistics
from salon.media.telephone_event import DIGITS, TelephoneEventReceiver, telephone_event_packets
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
MAX_KEYS = 32
"""Keys that wait to be sent; more are dropped."""
KEY_PAUSE = 3
"""Packets of sound between two keys."""


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


class _Key:
    """A key on its way out: its packets, all with the time at which it was pressed."""

    def __init__(self, digit: str, ms: int, found: PayloadFormat, timestamp: int) -> None:
        rate = found.clock_rate
        longest = 0xFFFF * 1000 // rate  # what one event can count
        self._packets = deque(telephone_event_packets(digit, min(ms, longest), clock_rate=rate))
        self._type = found.payload_type
        self._timestamp = timestamp

    def send(self, track: PacketTrack) -> bool:
        """This tick's packet, the end with its repeats at once; False when it was the last."""
        while self._packets:
            payload, marker, end = self._packets.popleft()
            track.send(payload, self._type, self._timestamp, marker=marker)
            if not end:
                break
        return bool(self._packets)


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
        self._keys: deque[tuple[str, int, PayloadFormat]] = deque()
        self._key_going: _Key | None = None
        self._key_pause = 0
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
        self._keys.clear()
        self._key_going = None
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

    @property
    def quiet(self) -> bool:
        return not self._tail and self._key_going is None

    def send(self, frame: Samples) -> None:
        self._tail = TAIL_FRAMES
        if self._encoder is not None and not self._press():
            self._transmit(self._encoder.encode(frame))

    def send_shared(self, frame: Samples, mix: Mix, index: int) -> None:
        self._tail = TAIL_FRAMES
        if self._encoder is not None and not self._press():
            if self._loss:
                mix.expect_loss(self._loss)
            payload = mix.payload(self._key, self._make_encoder, index, frame)
            self._transmit(self._encoder.encode(frame) if payload is None else payload)

    def idle(self) -> None:
        if not self._press() and self._tail:
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

    def send_digit(self, digit: str, ms: int = 160) -> None:
        """As telephone events (RFC 4733) in place of the sound of their time, if agreed on."""
        if digit.upper() not in DIGITS or len(digit) != 1:
            raise ValueError(f"{digit!r} is no telephone key; one of {DIGITS} is")
        found = self._key_format()
        if found is not None and len(self._keys) < MAX_KEYS:
            self._keys.append((digit, ms, found))

    def _key_format(self) -> PayloadFormat | None:
        """How keys are sent: best in the clock of the sound, whose timestamps they share."""
        found = [item for item in self._formats.values() if item.encoding == EVENT]
        rate = self._sender.clock_rate if self._sender is not None else 0
        return next((item for item in found if item.clock_rate == rate), next(iter(found), None))

    def _press(self) -> bool:
        """Whether this tick belongs to a key, of which a packet was sent."""
        if not self._keys and self._key_going is None:
            return False
        if self._key_going is None and self._key_pause:
            self._key_pause -= 1
            return False
        track, timing = self._track, self._timing
        if track is None or timing is None or not self.ready:
            return False
        timestamp, _ = timing.next(self._units, self._clock.monotonic())
        key = self._key_going
        if key is None:
            digit, ms, found = self._keys.popleft()
            key = self._key_going = _Key(digit, ms, found, timestamp)
        if not key.send(track):
            self._key_going = None
            self._key_pause = KEY_PAUSE
        return True

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
