"""The codecs of real-time packets: round trips, gaps, damage, format parameters, sharing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.media import MediaError, Samples
from salon.media.opus import OpusDecoder, OpusEncoder
from salon.media.packet_codec import PacketDecoder, PacketEncoder
from salon.media.packet_codecs import (
    MAX_PAYLOAD_SAMPLES,
    PACKET_CODEC_NAMES,
    G711PacketDecoder,
    G711PacketEncoder,
    L16PacketDecoder,
    L16PacketEncoder,
    OpusPacketDecoder,
    OpusPacketEncoder,
    SharedPacketEncoder,
    make_packet_decoder,
    make_packet_encoder,
)

from .signals import fit, peak_frequency, speechlike, tone

CLOCKS = {"opus": 48_000, "PCMU": 8_000, "PCMA": 8_000, "G722": 8_000, "L16": 16_000}


def decoder_of(name: str) -> PacketDecoder:
    return make_packet_decoder(name, CLOCKS[name])


def payloads(name: str, sound: Samples, **parameters: str) -> list[bytes]:
    encoder = make_packet_encoder(name, parameters)
    return [encoder.encode(frame) for frame in sound.reshape(-1, 320)]


def rms(sound: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(sound.astype(np.float64)))))


# --- every codec --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PACKET_CODEC_NAMES)
def test_a_tone_comes_back_at_its_level(name: str) -> None:
    decoder = decoder_of(name)
    sent = payloads(name, tone(800, 16_000, 16_000, 8000))
    back = np.concatenate([decoder.decode(payload) for payload in sent])
    assert len(back) == 16_000
    assert fit(back[4800:], 800, 16_000)[0] == pytest.approx(8000, rel=0.12)


@pytest.mark.parametrize("name", PACKET_CODEC_NAMES)
def test_duration_is_what_decoding_gives(name: str) -> None:
    decoder = decoder_of(name)
    for payload in payloads(name, speechlike(3200)):
        assert decoder.duration(payload) == len(decoder.decode(payload)) == 320


@pytest.mark.parametrize("name", PACKET_CODEC_NAMES)
def test_clock_rates_are_those_of_the_registry(name: str) -> None:
    assert decoder_of(name).clock_rate == CLOCKS[name]
    assert make_packet_encoder(name).clock_rate == CLOCKS[name]


@pytest.mark.parametrize("name", PACKET_CODEC_NAMES)
@pytest.mark.parametrize("change", [str.lower, str.upper, str.title])
def test_names_are_the_same_in_any_case(name: str, change: Callable[[str], str]) -> None:
    decoder = make_packet_decoder(change(name), CLOCKS[name])
    assert type(decoder) is type(decoder_of(name))
    assert type(make_packet_encoder(change(name))) is type(make_packet_encoder(name))


@pytest.mark.parametrize("name", ["", "speex", "telephone-event", "opus/48000"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(MediaError, match="no codec"):
        make_packet_decoder(name, 48_000)
    with pytest.raises(MediaError, match="no codec"):
        make_packet_encoder(name)


@pytest.mark.parametrize("name", PACKET_CODEC_NAMES)
def test_another_clock_rate_is_refused(name: str) -> None:
    with pytest.raises(MediaError, match=f"runs at {CLOCKS[name]} Hz, not 44100"):
        make_packet_decoder(name, 44_100)


@pytest.mark.parametrize("name", PACKET_CODEC_NAMES)
def test_a_gap_goes_on_with_the_sound_and_is_silent_after_120_ms(name: str) -> None:
    decoder = decoder_of(name)
    for payload in payloads(name, tone(300, 16_000, 16_000, 8000)):
        before = decoder.decode(payload)
    gap = np.concatenate([decoder.conceal(320) for _ in range(10)])
    assert rms(gap[:160]) > 0.4 * rms(before)
    assert rms(gap[: 2 * 320]) > 2 * rms(gap[4 * 320 : 6 * 320])
    # The resampler's delay of 44 samples comes on top for telephones.
    assert np.abs(gap[120 * 16 + 88 :]).max() <= 2


@pytest.mark.parametrize("name", PACKET_CODEC_NAMES)
def test_sound_returns_without_a_click_after_a_long_gap(name: str) -> None:
    decoder = decoder_of(name)
    sent = payloads(name, tone(300, 32_000, 16_000, 8000))
    for payload in sent[:50]:
        decoder.decode(payload)
    for _ in range(20):
        gap = decoder.conceal(320)
    back = np.concatenate([decoder.decode(payload) for payload in sent[70:]])
    edge = np.concatenate([gap[-40:], back[:40]]).astype(int)
    steepest = 8000 * 2 * np.pi * 300 / 16_000
    assert np.abs(np.diff(edge)).max() < 1.5 * steepest
    assert rms(back[1600:]) == pytest.approx(8000 / np.sqrt(2), rel=0.12)


@pytest.mark.parametrize("name", PACKET_CODEC_NAMES)
@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(0, 700), min_size=1, max_size=8))
def test_gaps_of_any_length_are_filled_exactly(name: str, sizes: list[int]) -> None:
    decoder = decoder_of(name)
    for payload in payloads(name, speechlike(1600)):
        decoder.decode(payload)
    for size in sizes:
        assert len(decoder.conceal(size)) == size
    assert len(decoder.decode(payload)) == 320


@pytest.mark.parametrize("name", PACKET_CODEC_NAMES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_bytes_decode_to_their_duration_or_are_refused(name: str, data: st.DataObject) -> None:
    decoder = decoder_of(name)
    for payload in data.draw(st.lists(st.binary(max_size=90), max_size=6)):
        size = decoder.duration(payload)
        if size:
            assert len(decoder.decode(payload)) == size
        else:
            with pytest.raises(MediaError):
                decoder.decode(payload)


@pytest.mark.parametrize("name", PACKET_CODEC_NAMES)
def test_a_damaged_payload_leaves_the_state_unhurt(name: str) -> None:
    bad = b"" if name != "L16" else b"\0" * 641
    plain, hurt = decoder_of(name), decoder_of(name)
    for payload in payloads(name, speechlike(6400)):
        assert hurt.duration(bad) == 0
        with pytest.raises(MediaError):
            hurt.decode(bad)
        assert np.array_equal(plain.decode(payload), hurt.decode(payload))


@pytest.mark.parametrize("name", ["PCMU", "PCMA", "G722", "L16"])
def test_payloads_of_more_than_200_ms_are_refused(name: str) -> None:
    decoder = decoder_of(name)
    size = MAX_PAYLOAD_SAMPLES * (2 if name == "L16" else 1) // (1 if name == "L16" else 2)
    assert len(decoder.decode(bytes(size))) == MAX_PAYLOAD_SAMPLES
    assert decoder.duration(bytes(size + 2)) == 0
    with pytest.raises(MediaError, match="too long"):
        decoder.decode(bytes(size + 2))


@pytest.mark.parametrize("name", PACKET_CODEC_NAMES)
def test_reset_makes_a_decoder_new(name: str) -> None:
    sent = payloads(name, speechlike(3200))
    decoder = decoder_of(name)
    first = [decoder.decode(payload) for payload in sent]
    decoder.conceal(333)
    decoder.reset()
    again = [decoder.decode(payload) for payload in sent]
    assert np.array_equal(np.concatenate(first), np.concatenate(again))


@pytest.mark.parametrize("name", ["PCMU", "PCMA", "G722", "L16"])
def test_without_redundancy_nothing_is_recovered(name: str) -> None:
    assert decoder_of(name).recover(payloads(name, speechlike(320))[0], 320) is None


# --- G.711, L16 ---------------------------------------------------------------------------------


@pytest.mark.parametrize("law", ["ulaw", "alaw"])
def test_G711_is_160_bytes_and_telephone_sound(law: Literal["ulaw", "alaw"]) -> None:
    encoder = G711PacketEncoder(law)
    decoder = G711PacketDecoder(law)
    sent = [encoder.encode(frame) for frame in speechlike(3200).reshape(-1, 320)]
    assert {len(payload) for payload in sent} == {160}
    assert len(decoder.decode(sent[0][:80])) == 160


def test_a_short_gap_in_G711_keeps_the_pitch() -> None:
    decoder = G711PacketDecoder("ulaw")
    for payload in payloads("PCMU", tone(250, 16_000, 16_000, 8000)):
        decoder.decode(payload)
    assert peak_frequency(decoder.conceal(960), 16_000) == pytest.approx(250, abs=10)


@pytest.mark.parametrize("order", ["little", "big"])
def test_L16_is_the_samples_themselves_in_either_order(order: Literal["little", "big"]) -> None:
    frame = speechlike(320)
    assert L16PacketEncoder().encode(frame) == frame.astype("<i2").tobytes()
    assert L16PacketEncoder("big").encode(frame) == frame.astype(">i2").tobytes()
    payload = L16PacketEncoder(order).encode(frame)
    assert np.array_equal(L16PacketDecoder(order).decode(payload), frame)


# --- Opus ---------------------------------------------------------------------------------------


def test_RFC7587_without_parameters_there_is_neither_redundancy_nor_dtx() -> None:
    encoder = make_packet_encoder("opus")
    assert isinstance(encoder, OpusPacketEncoder)
    encoder.set_expected_loss(20)
    sound = np.concatenate([speechlike(16_000), np.zeros(16_000, dtype=np.int16)])
    sent = [encoder.encode(frame) for frame in sound.reshape(-1, 320)]
    assert all(sent)
    assert not any(OpusDecoder().has_redundancy(payload) for payload in sent)


def test_RFC7587_useinbandfec_allows_redundancy_once_loss_is_reported() -> None:
    encoder = make_packet_encoder("opus", {"UseInbandFEC": " 1 "})
    assert isinstance(encoder, OpusPacketEncoder)
    frames = speechlike(96_000).reshape(-1, 320)
    probe = OpusDecoder()

    def carriers(part: Samples) -> int:
        return sum(probe.has_redundancy(encoder.encode(frame)) for frame in part)

    assert carriers(frames[:100]) == 0
    encoder.set_expected_loss(10)
    assert carriers(frames[100:200]) > 50
    encoder.set_expected_loss(0)
    encoder.encode(frames[200])  # may still carry the copy that was under way
    assert carriers(frames[201:]) == 0


@pytest.mark.parametrize("limit", [None, "24000"])
@pytest.mark.parametrize("loss", [3, 10, 30])
def test_redundancy_never_costs_the_upper_half_of_the_spectrum(
    loss: int, limit: str | None
) -> None:
    parameters = {"useinbandfec": "1"} | ({"maxaveragebitrate": limit} if limit else {})
    encoder = make_packet_encoder("opus", parameters)
    assert isinstance(encoder, OpusPacketEncoder)
    encoder.set_expected_loss(loss)
    wideband = {8, 9, 10, 11}
    for frame in speechlike(32_000).reshape(-1, 320):
        assert encoder.encode(frame)[0] >> 3 in wideband


def test_RFC7587_usedtx_saves_packets_in_silence() -> None:
    sent = payloads("opus", np.zeros(48_000, dtype=np.int16), usedtx="1")
    assert sent.count(b"") > 100
    assert any(sent[75:])


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("12000", 12_000),
        ("1", 6_000),
        ("510000", 24_000),
        ("fast", 24_000),
        ("", 24_000),
        ("-5", 24_000),
        ("9" * 5000, 24_000),
        ("\u0663\u0664\u0665\u0666\u0667", 24_000),
    ],
)
def test_RFC7587_maxaveragebitrate_is_a_limit_from_6000_on(asked: str, expected: int) -> None:
    sound = speechlike(16_000)
    plain = OpusEncoder(bitrate=expected, fec=False)
    wanted = [plain.encode(frame) for frame in sound.reshape(-1, 320)]
    assert payloads("opus", sound, maxaveragebitrate=asked) == wanted


def test_the_limit_of_the_receiver_holds_under_loss() -> None:
    encoder = make_packet_encoder("opus", {"maxaveragebitrate": "20000", "useinbandfec": "1"})
    assert isinstance(encoder, OpusPacketEncoder)
    encoder.set_expected_loss(20)
    frames = speechlike(96_000).reshape(-1, 320)
    assert sum(len(encoder.encode(frame)) for frame in frames) * 8 / 6 < 22_000


def test_a_lost_frame_is_recovered_from_the_next_payload() -> None:
    encoder = OpusPacketEncoder(expected_loss=20)
    sent = [encoder.encode(frame) for frame in speechlike(48_000).reshape(-1, 320)]
    true, decoder = OpusPacketDecoder(), OpusPacketDecoder()
    whole = [true.decode(payload) for payload in sent]
    lost = next(i for i in range(40, 140) if OpusDecoder().has_redundancy(sent[i + 1]))
    for payload in sent[:lost]:
        decoder.decode(payload)
    for samples in (0, -40, 50, 160, 1960):
        assert decoder.recover(sent[lost + 1], samples) is None
    sound = decoder.recover(sent[lost + 1], 320)
    assert sound is not None
    likeness = np.corrcoef(sound.astype(float), whole[lost].astype(float))[0, 1]
    assert likeness > 0.5
    assert len(decoder.decode(sent[lost + 1])) == 320


# --- sharing ------------------------------------------------------------------------------------


class CountingEncoder(PacketEncoder):
    clock_rate = 8_000

    def __init__(self) -> None:
        self.heard: list[int] = []

    def encode(self, frame: Samples) -> bytes:
        value = int(frame[0])
        self.heard.append(value)
        return b"" if value % 5 == 0 else bytes([value])


def numbered(index: int) -> Samples:
    return np.full(320, index, dtype=np.int16)


def test_a_mix_is_encoded_once_for_all_listeners() -> None:
    encoder = CountingEncoder()
    shared = SharedPacketEncoder(encoder)
    assert shared.encoder is encoder
    assert shared.clock_rate == 8_000
    for index in range(7, 30):
        answers = [shared.encode(index, numbered(index)) for _ in range(4)]
        assert answers == [b"" if index % 5 == 0 else bytes([index])] * 4
    assert encoder.heard == list(range(7, 30))


def test_a_listener_behind_gets_what_is_kept_and_none_beyond() -> None:
    encoder = CountingEncoder()
    shared = SharedPacketEncoder(encoder, keep=10)
    for index in range(100, 120):
        shared.encode(index, numbered(index))
    for index in range(110, 120):
        assert shared.encode(index, numbered(0)) == (bytes([index]) if index % 5 else b"")
    assert shared.encode(109, numbered(109)) is None
    assert shared.encode(-1, numbered(1)) is None
    assert encoder.heard == list(range(100, 120))


def test_a_skipped_frame_is_none_and_does_not_disturb_the_order() -> None:
    encoder = CountingEncoder()
    shared = SharedPacketEncoder(encoder)
    assert shared.encode(1, numbered(1)) == b"\1"
    assert shared.encode(3, numbered(3)) is None
    assert shared.encode(2, numbered(2)) == b"\2"
    assert shared.encode(3, numbered(3)) == b"\3"
    assert shared.encode(0, numbered(0)) is None
    assert encoder.heard == [1, 2, 3]


def test_after_a_restart_any_number_may_come() -> None:
    shared = SharedPacketEncoder(CountingEncoder())
    shared.encode(1, numbered(1))
    shared.restart()
    assert shared.encode(9, numbered(9)) == b"\x09"
    assert shared.encode(1, numbered(1)) is None


def test_a_failed_frame_may_be_tried_again() -> None:
    shared = SharedPacketEncoder(OpusPacketEncoder())
    with pytest.raises(ValueError, match="320"):
        shared.encode(4, numbered(4)[:100])
    assert shared.encode(4, numbered(4))


def test_at_least_one_payload_is_kept() -> None:
    with pytest.raises(ValueError, match="at least one"):
        SharedPacketEncoder(CountingEncoder(), keep=0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=80), st.integers(1, 12))
def test_every_answer_is_the_payload_of_its_own_frame(asked: list[int], keep: int) -> None:
    encoder = CountingEncoder()
    shared = SharedPacketEncoder(encoder, keep=keep)
    for index in asked:
        answer = shared.encode(index, numbered(index))
        assert answer in (None, b"" if index % 5 == 0 else bytes([index]))
    assert encoder.heard == sorted(set(encoder.heard))
    if asked:
        assert encoder.heard == list(range(asked[0], encoder.heard[-1] + 1))
