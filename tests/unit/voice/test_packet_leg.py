"""Sound of a call as packets: G87, G138, G139, G151, G160."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from salon.media import Samples
from salon.media.frame import FRAME_SAMPLES
from salon.media.packet_codec import PacketEncoder
from salon.media.packet_codecs import L16PacketEncoder, make_packet_encoder
from salon.media.telephone_event import telephone_event_packets
from salon.testing import VirtualClock, scripted_engine, silence, tone, virtual_time
from salon.transport.packets import MediaPacket, PacketTrack, PayloadFormat
from salon.transport.ticker import Phase, TickCallback, Ticker, TickHandle
from salon.voice import packet_leg
from salon.voice.events import Dtmf, MediaEvent
from salon.voice.packet_leg import LOSS_PERIOD, TAIL_FRAMES, PacketLeg
from salon.voice.playback import Playback
from salon.voice.session import MediaSession
from salon.voice.speaking import Mix, Speech, SpeechTrack

L16 = PayloadFormat(96, "L16", 16_000)
PCMU = PayloadFormat(0, "PCMU", 8_000)
G722 = PayloadFormat(9, "G722", 8_000)
OPUS = PayloadFormat(111, "opus", 48_000, 2, {"useinbandfec": "1"})
KEYS = PayloadFormat(126, "telephone-event", 8_000)


class Track(PacketTrack):
    """Keeps what is sent and says how much of it is missed."""

    kind = "audio"

    def __init__(self, *formats: PayloadFormat) -> None:
        self.formats = formats or (L16, KEYS)
        self.sending = True
        self.on_packet: Callable[[MediaPacket], None] = lambda _packet: None
        self.missed = 0.0
        self.payloads: list[bytes] = []
        self.types: list[int] = []
        self.timestamps: list[int] = []
        self.markers: list[bool] = []

    @property
    def remote_lost(self) -> float:
        return self.missed

    def send(
        self, payload: bytes, payload_type: int, timestamp: int, *, marker: bool = False
    ) -> None:
        self.payloads.append(payload)
        self.types.append(payload_type)
        self.timestamps.append(timestamp)
        self.markers.append(marker)


class Hand(Ticker):
    """A ticker that the test turns."""

    def __init__(self) -> None:
        super().__init__()
        self.callbacks: list[TickCallback] = []

    def add(self, callback: TickCallback, phase: Phase = Phase.OUTBOUND) -> TickHandle:
        assert phase is Phase.RECEIVE
        self.callbacks.append(callback)
        return TickHandle(self, callback, phase)

    def _remove(self, handle: TickHandle) -> None:
        self.callbacks.clear()


@dataclass
class Line:
    """An open leg on a track, and what comes out of it; the test turns time."""

    leg: PacketLeg
    track: Track
    clock: VirtualClock
    hand: Hand
    heard: list[Samples] = field(default_factory=list)
    events: list[MediaEvent] = field(default_factory=list)
    sequence: int = 0

    def packet(
        self,
        payload: bytes,
        payload_type: int = 96,
        *,
        timestamp: int | None = None,
        ssrc: int = 5,
        marker: bool = False,
    ) -> None:
        at = self.sequence * FRAME_SAMPLES if timestamp is None else timestamp
        now = self.clock.monotonic()
        self.track.on_packet(
            MediaPacket(payload, payload_type, self.sequence, at, marker, now, ssrc)
        )
        self.sequence += 1

    def tick(self, ticks: int = 1) -> None:
        for _ in range(ticks):
            self.clock.advance(0.02)
            for callback in list(self.hand.callbacks):
                callback(0)

    def say(self, ms: int, *, level: float = 0.3, ssrc: int = 5) -> None:
        for frame in tone(ms, level=level).reshape(-1, FRAME_SAMPLES):
            self.packet(frame.tobytes(), ssrc=ssrc)
            self.tick()

    @property
    def sound(self) -> Samples:
        return np.concatenate(self.heard) if self.heard else np.zeros(0, np.int16)


def opened(*formats: PayloadFormat) -> Line:
    clock, hand = VirtualClock(), Hand()
    leg = PacketLeg(hand, clock)
    track = Track(*formats)
    line = Line(leg, track, clock, hand)
    leg.attach(track)
    leg.open(line.heard.append, line.events.append)
    return line


def loudness(samples: Samples) -> float:
    return float(np.abs(samples.astype(float)).mean()) if len(samples) else 0.0


# -- what the caller says -------------------------------------------------------------------------


@pytest.mark.parametrize("format_", [L16, PCMU, G722, OPUS], ids=lambda item: str(item.encoding))
def test_G138_sound_comes_out_of_the_jitter_buffer_decoded(format_: PayloadFormat) -> None:
    line = opened(format_, KEYS)
    encoder = make_packet_encoder(format_.encoding, format_.parameters)
    step = encoder.clock_rate // 50
    for number, frame in enumerate(tone(600).reshape(-1, FRAME_SAMPLES)):
        line.packet(encoder.encode(frame), format_.payload_type, timestamp=number * step)
        line.tick()
    assert len(line.sound) > 6000
    assert loudness(line.sound[3000:6000]) == pytest.approx(loudness(tone(600)), rel=0.15)
    figures = line.leg.playout()
    assert figures is not None
    assert line.leg.packets_in == 30


def test_nothing_is_heard_before_the_first_packet() -> None:
    line = opened()
    line.tick(50)
    assert line.heard == []
    assert line.leg.playout() is None


def test_a_lost_packet_leaves_no_gap() -> None:
    line = opened()
    for number, frame in enumerate(tone(600).reshape(-1, FRAME_SAMPLES)):
        if number != 15:
            line.packet(frame.tobytes())
        else:
            line.sequence += 1
        line.tick()
    figures = line.leg.playout()
    assert figures is not None
    assert figures.lost == 1
    frames = line.sound[2000:8000].reshape(-1, 400)
    assert min(loudness(frame) for frame in frames) > 0.3 * loudness(tone(100))


def test_packets_of_an_unknown_payload_type_count_and_are_not_heard() -> None:
    line = opened()
    for _ in range(20):
        line.packet(tone(20).tobytes(), 13)
        line.tick()
    assert (line.heard, line.events, line.leg.packets_in) == ([], [], 20)
    assert line.leg.playout() is None


def test_a_damaged_payload_does_no_harm() -> None:
    line = opened()
    line.say(200)
    line.packet(b"x")
    line.tick()
    line.say(400)
    assert loudness(line.sound[-2000:]) > 1000


def test_another_ssrc_begins_a_stream_of_its_own() -> None:
    line = opened()
    line.say(400, ssrc=5)
    before = line.leg.playout()
    line.sequence = 40_000  # nothing is lost in between
    line.say(400, ssrc=6)
    after = line.leg.playout()
    assert before is not None
    assert after is not None
    assert (before.lost, after.lost) == (0, 0)
    assert len(line.sound) > 10_000


def test_another_payload_type_is_decoded_as_what_it_is() -> None:
    line = opened(L16, PCMU, KEYS)
    line.say(400)
    encoder = make_packet_encoder("PCMU")
    heard = len(line.sound)
    for number, frame in enumerate(tone(400).reshape(-1, FRAME_SAMPLES)):
        line.packet(encoder.encode(frame), 0, timestamp=number * 160)
        line.tick()
    assert loudness(line.sound[heard:][2000:]) == pytest.approx(loudness(tone(400)), rel=0.2)


# -- keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload_type", [96, 101, 110, 126])
def test_G151_T28_a_press_is_told_once_whatever_its_payload_type(payload_type: int) -> None:
    keys = PayloadFormat(payload_type, "telephone-event", 8_000)
    line = opened(PayloadFormat(0, "PCMU", 8_000), keys)
    for press in range(2):  # the same digit twice
        for payload, marker, _ in telephone_event_packets("5", 100):
            line.packet(payload, payload_type, timestamp=press * 8000, marker=marker)
    assert line.events == [Dtmf("5"), Dtmf("5")]
    line.tick(20)
    assert line.heard == []


@virtual_time
async def test_G87_keys_of_a_muted_caller_are_not_told() -> None:
    async with scripted_engine() as engine:
        leg = PacketLeg(engine.ticker, engine.clock)
        session = MediaSession("call", engine, leg=leg)
        track = Track()
        leg.attach(track)
        for number, muted in enumerate((False, True, False)):
            session.muted = muted
            payload = bytes([number, 10, 0, 160])
            track.on_packet(MediaPacket(payload, 126, number, number * 8000, True, 0.0, 5))
        await session.close()
        told = [event async for event in session.events if isinstance(event, Dtmf)]
    assert told == [Dtmf("0"), Dtmf("2")]


# -- what the caller hears ------------------------------------------------------------------------


def test_G138_the_first_audio_format_of_the_answer_is_sent() -> None:
    line = opened(KEYS, PCMU, OPUS)
    line.leg.send(tone(20))
    assert line.track.types == [0]
    assert len(line.track.payloads[0]) == 160


@pytest.mark.parametrize(
    ("format_", "step"), [(L16, 320), (PCMU, 160), (G722, 160), (OPUS, 960)], ids=str
)
def test_G139_timestamps_count_in_the_clock_of_the_format(
    format_: PayloadFormat, step: int
) -> None:
    line = opened(format_)
    for _ in range(5):
        line.leg.send(tone(20))
        line.clock.advance(0.02)
    assert np.diff(line.track.timestamps).tolist() == [step] * 4
    assert line.track.markers == [True, False, False, False, False]


def test_a_tail_of_silence_follows_the_last_sound_and_then_nothing() -> None:
    line = opened()
    for _ in range(100):
        line.leg.idle()  # nothing was said: there is nothing to end
    assert line.track.payloads == []
    line.leg.send(tone(20))
    for _ in range(100):
        line.clock.advance(0.02)
        line.leg.idle()
    assert len(line.track.payloads) == 1 + TAIL_FRAMES
    assert not any(b"".join(line.track.payloads[1:]))
    line.leg.send(tone(20))
    assert line.track.markers[-1]
    assert line.track.timestamps[-1] == 100 * 320  # the pause took its time
    assert len(line.track.payloads) == 2 + TAIL_FRAMES


def test_a_payload_that_need_not_be_sent_still_takes_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Pausing(L16PacketEncoder):
        def encode(self, frame: Samples) -> bytes:
            return super().encode(frame) if np.any(frame) else b""

    monkeypatch.setattr(packet_leg, "make_packet_encoder", lambda *_: Pausing())
    line = opened()
    for frame in (tone(20), silence(20), tone(20)):
        line.leg.send(frame)
        line.clock.advance(0.02)
    assert line.track.timestamps == [0, 640]


def test_without_a_track_nothing_is_sent() -> None:
    leg = PacketLeg(Hand(), VirtualClock())
    leg.open(lambda _samples: None, lambda _event: None)
    leg.send(tone(20))
    leg.idle()
    leg.send_shared(tone(20), Mix(), 0)
    assert leg.packets_in == 0
    with pytest.raises(RuntimeError, match="no track"):
        leg._make_encoder()


def test_a_closed_leg_lets_go_of_everything() -> None:
    line = opened()
    line.say(200)
    line.leg.send(tone(20))
    heard, sent = len(line.heard), len(line.track.payloads)
    line.leg.close()
    line.leg.close()
    line.say(200)
    line.leg.send(tone(20))
    line.leg.send_shared(tone(20), Mix(), 0)
    line.leg.idle()
    line.packet(bytes([5, 10, 0, 160]), 126)
    assert (len(line.heard), len(line.track.payloads), line.events) == (heard, sent, [])
    assert line.hand.callbacks == []
    assert line.leg.playout() is None


def test_a_leg_that_was_never_opened_can_be_closed() -> None:
    leg = PacketLeg(Hand(), VirtualClock())
    leg.close()
    assert leg.packets_in == 0


# -- another track --------------------------------------------------------------------------------


def test_a_renegotiated_format_is_sent_and_understood_from_then_on() -> None:
    line = opened(L16, KEYS)
    line.say(200)
    line.leg.send(tone(20))
    line.track.formats = (PCMU, PayloadFormat(101, "telephone-event", 8_000))
    line.leg.attach(line.track)
    line.leg.send(tone(20))
    assert line.track.types == [96, 0]
    assert line.track.markers == [True, True]
    line.packet(bytes([5, 10, 0, 160]), 126)  # no longer agreed on
    line.packet(bytes([6, 10, 0, 160]), 101)
    assert line.events == [Dtmf("6")]
    heard = len(line.sound)
    encoder = make_packet_encoder("PCMU")
    for number, frame in enumerate(tone(400).reshape(-1, FRAME_SAMPLES)):
        line.packet(encoder.encode(frame), 0, timestamp=number * 160)
        line.tick()
    assert loudness(line.sound[heard:][2000:]) > 1000


def test_a_renegotiation_that_leaves_the_format_leaves_the_stream() -> None:
    line = opened()
    line.leg.send(tone(20))
    line.clock.advance(0.02)
    line.leg.attach(line.track)
    line.leg.send(tone(20))
    assert line.track.timestamps == [0, 320]
    assert line.track.markers == [True, False]


def test_a_new_track_takes_over_and_the_old_one_is_not_listened_to() -> None:
    line = opened()
    line.say(200)
    old, new = line.track, Track()
    line.leg.send(tone(20))
    line.leg.attach(new)
    line.leg.send(tone(20))
    assert (len(old.payloads), len(new.payloads)) == (1, 1)
    heard = line.leg.packets_in
    line.say(200)
    assert line.leg.packets_in == heard
    line.track = new
    line.say(200, ssrc=9)
    assert line.leg.packets_in == heard + 10


# -- many listeners -------------------------------------------------------------------------------


class Counted(L16PacketEncoder):
    """Counts what is encoded and notes what it is told."""

    made: list[Counted]

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.losses: list[int] = []
        self.made.append(self)

    def encode(self, frame: Samples) -> bytes:
        self.calls += 1
        return super().encode(frame)

    def set_expected_loss(self, percent: int) -> None:
        self.losses.append(percent)


@pytest.fixture
def encoders(monkeypatch: pytest.MonkeyPatch) -> list[Counted]:
    """Every encoder made, in order."""
    made: list[Counted] = []
    monkeypatch.setattr(Counted, "made", made, raising=False)

    def make(_encoding: str, _parameters: Any) -> PacketEncoder:
        return Counted()

    monkeypatch.setattr(packet_leg, "make_packet_encoder", make)
    return made


def frames(count: int) -> list[Samples]:
    return list(tone(count * 20).reshape(-1, FRAME_SAMPLES))


def test_what_two_hear_alike_is_encoded_once(encoders: list[Counted]) -> None:
    first, second, mix = opened(), opened(), Mix()
    for index, frame in enumerate(frames(50)):
        first.leg.send_shared(frame, mix, index)
        if index >= 3:  # three frames behind
            second.leg.send_shared(frames(50)[index - 3], mix, index - 3)
    assert [encoder.calls for encoder in encoders] == [0, 0, 50]
    assert first.track.payloads[:47] == second.track.payloads
    assert first.track.payloads == [frame.tobytes() for frame in frames(50)]


def test_listeners_of_different_formats_share_nothing(encoders: list[Counted]) -> None:
    first, second, mix = opened(L16), opened(OPUS), Mix()
    for index, frame in enumerate(frames(10)):
        first.leg.send_shared(frame, mix, index)
        second.leg.send_shared(frame, mix, index)
    assert [encoder.calls for encoder in encoders] == [0, 0, 10, 10]


def test_a_late_joiner_encodes_for_itself(encoders: list[Counted]) -> None:
    first, mix = opened(), Mix()
    said = frames(100)
    for index, frame in enumerate(said):
        first.leg.send_shared(frame, mix, index)
    late = opened()
    for index, frame in enumerate(said):
        late.leg.send_shared(frame, mix, index)
        late.clock.advance(0.02)
    own, shared, of_late = (encoder.calls for encoder in encoders)
    assert (own, shared, of_late) == (0, 100, 50)  # 50 payloads are kept
    assert late.track.payloads == [frame.tobytes() for frame in said]
    assert np.diff(late.track.timestamps).tolist() == [320] * 99


def test_what_is_shared_ends_in_silence_too(encoders: list[Counted]) -> None:
    line = opened()
    line.leg.send_shared(tone(20), Mix(), 0)
    for _ in range(TAIL_FRAMES + 5):
        line.leg.idle()
    assert len(line.track.payloads) == 1 + TAIL_FRAMES


@virtual_time
async def test_two_calls_that_hear_one_speech_cost_one_encoder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Counted] = []
    monkeypatch.setattr(Counted, "made", made, raising=False)
    monkeypatch.setattr(packet_leg, "make_packet_encoder", lambda *_: Counted())
    async with scripted_engine() as engine:
        sessions, tracks = [], []
        for name in ("ann", "bob"):
            leg = PacketLeg(engine.ticker, engine.clock)
            track = Track()
            leg.attach(track)
            tracks.append(track)
            sessions.append(MediaSession(name, engine, leg=leg))
        speech = Speech(engine.synthesizer(""), sessions[0].scope, engine.clock)
        speech.say("this is heard by both of them")
        speech.end()
        for session in sessions:
            session.play(Playback(SpeechTrack(speech, shared=True), "p"))
        await engine.clock.sleep(5)
        for session in sessions:
            await session.close()
    first, second = (track.payloads for track in tracks)
    assert first == second
    spoken = len(first) - TAIL_FRAMES
    assert spoken > 50
    assert [encoder.calls for encoder in made] == [TAIL_FRAMES, TAIL_FRAMES, spoken]


# -- loss -----------------------------------------------------------------------------------------


def test_redundancy_follows_the_reported_loss(encoders: list[Counted]) -> None:
    line = opened()
    line.track.missed = 0.104
    for _ in range(LOSS_PERIOD - 1):
        line.leg.send(tone(20))
    assert encoders[0].losses == []
    for _ in range(1 + LOSS_PERIOD):
        line.leg.send(tone(20))
    assert encoders[0].losses == [10]  # told once
    line.track.missed = 0.0
    for _ in range(LOSS_PERIOD):
        line.leg.send(tone(20))
    assert encoders[0].losses == [10, 0]


def test_a_mix_is_made_for_who_misses_most(encoders: list[Counted]) -> None:
    good, bad, mix = opened(), opened(), Mix()
    bad.track.missed = 0.2
    for index, frame in enumerate(frames(2 * LOSS_PERIOD)):
        good.leg.send_shared(frame, mix, index)
        bad.leg.send_shared(frame, mix, index)
    assert encoders[2].losses == [20]
    later = Mix()  # the next utterance knows it from its first frame on
    bad.leg.send_shared(tone(20), later, 0)
    good.leg.send_shared(tone(20), later, 0)
    assert encoders[3].losses == [20]


def test_a_new_encoder_knows_the_loss_that_its_forerunner_knew(encoders: list[Counted]) -> None:
    line = opened()
    line.track.missed = 0.1
    for _ in range(LOSS_PERIOD):
        line.leg.send(tone(20))
    line.track.formats = (PayloadFormat(97, "L16", 16_000),)
    line.leg.attach(line.track)
    for _ in range(2 * LOSS_PERIOD):
        line.leg.send(tone(20))
    assert encoders[0].losses == [10]
    assert encoders[1].losses == [10]
