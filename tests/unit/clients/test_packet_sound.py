"""Packets out and in, with a stepped clock and no network."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy as np
import pytest
from tests.unit.clients.server import SteppedClock

from salon.clients.call import ClientError
from salon.clients.call.packet_sound import PacketSound
from salon.media import FRAME_SAMPLES, SILENCE, Samples, sine
from salon.media.errors import MediaError
from salon.media.packet_codecs import make_packet_encoder
from salon.media.playout import Playout
from salon.media.telephone_event import TelephoneEventReceiver
from salon.transport.packets import MediaPacket, PayloadFormat

OPUS = PayloadFormat(111, "opus", 48_000, 2)
PCMU = PayloadFormat(0, "PCMU", 8_000)
KEYS = PayloadFormat(126, "telephone-event", 8_000)
FRAME = SILENCE.tobytes()


@dataclass
class Sent:
    payload: bytes
    payload_type: int
    timestamp: int
    marker: bool
    at: float


@dataclass
class Stage:
    """A `PacketSound` and all that goes out of it and is heard."""

    codec: PayloadFormat = PCMU
    keys: PayloadFormat | None = KEYS
    clock: SteppedClock = field(default_factory=SteppedClock)
    sent: list[Sent] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sound = PacketSound(
            self.codec, self.keys, self.send, self.heard.append, clock=self.clock
        )
        self.encoder = make_packet_encoder(self.codec.encoding)
        self.number = 0

    def send(
        self, payload: bytes, payload_type: int, timestamp: int, *, marker: bool = False
    ) -> None:
        now = self.clock.monotonic()
        self.sent.append(Sent(payload, payload_type, timestamp, marker, now))

    def speak(self, count: int) -> None:
        for _ in range(count):
            self.sound.speak(FRAME)
            self.clock.now_s += 0.02

    def hear(self, frame: Samples | None, *, ssrc: int = 1, payload_type: int = 0) -> None:
        """20 ms later a frame has come, or nothing; then 20 ms are to be heard."""
        self.clock.now_s += 0.02
        self.number += 1
        if frame is not None:
            units = self.codec.clock_rate // 50
            self.sound.take(
                MediaPacket(
                    self.encoder.encode(frame),
                    payload_type,
                    self.number,
                    self.number * units,
                    False,
                    self.clock.monotonic(),
                    ssrc,
                )
            )
        self.sound.pull()


@pytest.mark.parametrize(("codec", "units"), [(OPUS, 960), (PCMU, 160)])
def test_a_packet_of_20_ms_every_20_ms(codec: PayloadFormat, units: int) -> None:
    stage = Stage(codec)
    stage.speak(3)
    assert [one.timestamp for one in stage.sent] == [0, units, 2 * units]
    assert [one.marker for one in stage.sent] == [True, False, False]
    assert {one.payload_type for one in stage.sent} == {codec.payload_type}


def test_a_pause_shows_in_the_timestamps() -> None:
    stage = Stage()
    stage.speak(1)
    stage.clock.now_s += 1.0
    stage.speak(1)
    assert stage.sent[1].timestamp == 8_160
    assert stage.sent[1].marker


def test_a_frame_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="640 bytes, not 3"):
        Stage().sound.speak(b"abc")


async def test_G151_keys_are_telephone_events_with_a_pause_between_them() -> None:
    stage = Stage()
    stage.speak(5)
    await stage.sound.press("1#1")
    receiver = TelephoneEventReceiver()
    keys = [one for one in stage.sent if one.payload_type == 126]
    told = [receiver.feed(one.payload, one.timestamp, one.marker) for one in keys]
    assert "".join(filter(None, told)) == "1#1"
    by_press = sorted({one.timestamp for one in keys})
    assert len(by_press) == 3
    assert by_press[0] == 5 * 160
    for timestamp in by_press:
        press = [one for one in keys if one.timestamp == timestamp]
        assert [one.marker for one in press] == [True] + [False] * (len(press) - 1)
        assert [one.payload[1] >> 7 for one in press][-3:] == [1, 1, 1]
        assert press[-1].at - press[0].at == pytest.approx(0.08)


async def test_sound_stays_out_while_a_key_is_pressed_and_its_time_passes() -> None:
    stage = Stage()
    stage.speak(1)
    stage.sound._pressing = True
    stage.speak(3)
    stage.sound._pressing = False
    stage.speak(1)
    assert [one.timestamp for one in stage.sent] == [0, 4 * 160]
    assert stage.sound.unsent == 3


async def test_keys_pressed_from_two_places_come_one_after_another() -> None:
    stage = Stage()
    await asyncio.gather(stage.sound.press("1"), stage.sound.press("2"))
    assert [one.payload[0] for one in stage.sent] == [1] * 7 + [2] * 7


def test_a_payload_that_breaks_the_decoder_costs_its_frame_only(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: Playout, _now: float) -> None:
        raise MediaError("corrupted stream")

    stage = Stage()
    with monkeypatch.context() as patch:
        patch.setattr(Playout, "pull", broken)
        stage.hear(sine(500, 0.02))
    assert "can't be decoded: corrupted stream" in caplog.text
    for _ in range(3):
        stage.hear(sine(500, 0.02))
    assert stage.heard


async def test_keys_on_another_clock_than_the_codec_keep_the_time() -> None:
    stage = Stage(OPUS)
    stage.speak(10)
    await stage.sound.press("5")
    assert stage.sent[10].timestamp == 10 * 160


async def test_a_wrong_key_is_refused_before_anything_is_sent() -> None:
    stage = Stage()
    with pytest.raises(ValueError, match="'x' is no telephone key"):
        await stage.sound.press("12x")
    assert not stage.sent


async def test_without_telephone_events_there_are_no_keys() -> None:
    with pytest.raises(ClientError, match="takes no key presses"):
        await Stage(keys=None).sound.press("1")


def test_what_is_heard_is_sound_and_200_ms_of_what_follows() -> None:
    stage = Stage()
    for number in range(60):
        stage.hear(sine(500, 0.02) if 20 <= number < 25 else SILENCE)
    loud = [bool(np.abs(np.frombuffer(frame, "<i2")).max() > 100) for frame in stage.heard]
    assert all(len(frame) == 2 * FRAME_SAMPLES for frame in stage.heard)
    assert 5 <= sum(loud) <= 7
    assert loud.index(True) == 0
    assert loud[::-1].index(True) == 10


def test_nothing_is_heard_before_the_first_packet_and_long_after_the_last() -> None:
    stage = Stage()
    stage.hear(None)
    stage.hear(sine(500, 0.02))
    for _ in range(200):
        stage.hear(None)
    count = len(stage.heard)
    assert 1 <= count <= 20
    stage.hear(None)
    assert len(stage.heard) == count


def test_a_key_of_the_server_is_no_lost_packet() -> None:
    stage = Stage()
    for number in range(50):
        stage.hear(sine(500, 0.02), payload_type=126 if number == 20 else 0)
    figures = stage.sound.statistics()
    assert figures.lost == 0
    assert figures.received == 49


def test_another_source_begins_anew() -> None:
    stage = Stage()
    for _ in range(5):
        stage.hear(sine(500, 0.02))
    stage.number += 5_000
    for _ in range(10):
        stage.hear(sine(500, 0.02), ssrc=2)
    assert stage.sound.statistics().lost == 0
    assert len(stage.heard) >= 10


async def test_listening_goes_on_every_20_ms() -> None:
    stage = Stage()
    pulls: list[float] = []

    class EnoughError(Exception):
        """Ends the endless."""

    def pull() -> None:
        pulls.append(stage.clock.monotonic())
        if len(pulls) == 3:
            raise EnoughError

    stage.sound.pull = pull  # type: ignore[method-assign]
    with pytest.raises(EnoughError):
        await stage.sound.listen()
    assert [round(at - pulls[0], 3) for at in pulls] == [0.0, 0.02, 0.04]
