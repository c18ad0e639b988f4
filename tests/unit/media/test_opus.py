"""Opus through the native library: what goes in comes out, and nothing from outside does harm."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.media import MediaError, Samples
from salon.media.opus import OpusDecoder, OpusEncoder, OpusError

from .signals import fit, peak_frequency, speechlike, tone

DELAY = 102
"""Samples from the input of the encoder to the output of the decoder at 16 kHz: 6.4 ms."""


def encoded(samples: Samples, **settings: int) -> list[bytes]:
    encoder = OpusEncoder(**settings)  # type: ignore[arg-type]
    return [encoder.encode(frame) for frame in samples.reshape(-1, 320)]


def level_db(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(np.square(samples.astype(np.float64))) + 1e-9))


def toc(config: int, code: int = 0, stereo: bool = False) -> int:
    return config << 3 | stereo << 2 | code


# --- round trip ---------------------------------------------------------------------------------


@pytest.mark.parametrize("frequency", [250, 440, 1000, 2000])
def test_a_tone_keeps_its_level_and_frequency(frequency: int) -> None:
    sound = tone(frequency, 32_000, 16_000, 8000)
    decoder = OpusDecoder()
    back = np.concatenate([decoder.decode(packet) for packet in encoded(sound)])
    assert len(back) == len(sound)
    settled = back[8000:]
    assert peak_frequency(settled, 16_000) == pytest.approx(frequency, abs=2)
    assert fit(settled, frequency, 16_000)[0] == pytest.approx(8000, rel=0.12)


def test_speech_keeps_its_spectrum_at_the_asked_bitrate() -> None:
    """Mean level per octave within 3 dB, and 24 kbit/s within a fifth."""
    sound = speechlike(64_000)
    packets = encoded(sound)
    decoder = OpusDecoder()
    back = np.concatenate([decoder.decode(packet) for packet in packets])[DELAY:]
    for low, high in ((100, 500), (500, 1000), (1000, 2000)):
        levels = []
        for piece in (sound[:-DELAY], back):
            power = np.abs(np.fft.rfft(piece)) ** 2
            hertz = np.fft.rfftfreq(len(piece), 1 / 16_000)
            levels.append(10 * np.log10(power[(hertz >= low) & (hertz < high)].sum()))
        assert levels[0] == pytest.approx(levels[1], abs=3)
    assert sum(map(len, packets)) * 8 / 4 == pytest.approx(24_000, rel=0.2)


@pytest.mark.parametrize("rate", [8_000, 12_000, 16_000, 24_000, 48_000])
def test_both_directions_run_at_every_rate_of_opus(rate: int) -> None:
    encoder, decoder = OpusEncoder(sample_rate=rate), OpusDecoder(rate)
    sound = tone(400, rate, rate, 8000).reshape(-1, rate // 50)
    back = np.concatenate([decoder.decode(encoder.encode(frame)) for frame in sound])
    assert len(back) == rate
    assert peak_frequency(back[rate // 2 :], rate) == pytest.approx(400, abs=3)


def test_a_strided_or_read_only_frame_encodes_like_a_plain_one() -> None:
    sound = speechlike(640)
    wide = np.repeat(sound[320:], 2)[::2]
    frozen = sound[320:].copy()
    frozen.flags.writeable = False
    expected = OpusEncoder().encode(sound[320:].copy())
    assert OpusEncoder().encode(wide) == expected
    assert OpusEncoder().encode(frozen) == expected


def test_decoded_sound_is_not_overwritten_by_the_next_packet() -> None:
    packets = encoded(speechlike(6400))
    decoder = OpusDecoder()
    first = decoder.decode(packets[10])
    kept = first.copy()
    decoder.decode(packets[11])
    assert np.array_equal(first, kept)


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"sample_rate": 44_100},
        {"bitrate": 5_999},
        {"bitrate": 510_001},
        {"complexity": 11},
        {"complexity": -1},
        {"expected_loss": 101},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must be within|runs at"):
        OpusEncoder(**wrong)  # type: ignore[arg-type]


def test_a_decoder_refuses_other_rates() -> None:
    with pytest.raises(ValueError, match="44100"):
        OpusDecoder(44_100)


@pytest.mark.parametrize("size", [0, 1, 160, 319, 321])
def test_only_whole_20_ms_frames_are_encoded(size: int) -> None:
    with pytest.raises(ValueError, match="320"):
        OpusEncoder().encode(np.zeros(size, dtype=np.int16))


def test_bitrate_changes_on_the_run() -> None:
    encoder = OpusEncoder()
    frames = speechlike(64_000).reshape(-1, 320)
    high = sum(len(encoder.encode(frame)) for frame in frames[:100])
    encoder.set_bitrate(8_000)
    assert sum(len(encoder.encode(frame)) for frame in frames[100:]) < high / 2


def test_reset_starts_anew() -> None:
    sound = speechlike(3200)
    encoder, decoder = OpusEncoder(), OpusDecoder()
    frames = sound.reshape(-1, 320)
    first = [encoder.encode(frame) for frame in frames]
    heard = [decoder.decode(packet) for packet in first]
    encoder.reset()
    decoder.reset()
    assert [encoder.encode(frame) for frame in frames] == first
    again = [decoder.decode(packet) for packet in first]
    assert np.array_equal(np.concatenate(again), np.concatenate(heard))


# --- DTX ----------------------------------------------------------------------------------------


def test_dtx_is_quiet_in_silence_and_refreshes_about_every_400_ms() -> None:
    sound = np.concatenate([speechlike(16_000), np.zeros(3 * 16_000, dtype=np.int16)])
    sizes = [len(packet) for packet in encoded(sound, dtx=True)]
    assert all(sizes[:50])
    sent = [i for i, size in enumerate(sizes) if size and i >= 75]
    assert 3 <= len(sent) <= 8
    assert all(17 <= b - a <= 23 for a, b in itertools.pairwise(sent))


def test_without_dtx_every_frame_is_a_packet() -> None:
    assert all(encoded(np.zeros(64_000, dtype=np.int16)))


# --- packets of any shape -----------------------------------------------------------------------

TABLE_2 = [
    *[(config, (10, 20, 40, 60)[config % 4]) for config in range(12)],
    *[(config, (10, 20)[config % 2]) for config in range(12, 16)],
    *[(config, (2.5, 5, 10, 20)[config % 4]) for config in range(16, 32)],
]


@pytest.mark.parametrize("stereo", [False, True])
@pytest.mark.parametrize(("config", "ms"), TABLE_2)
def test_RFC6716_every_configuration_decodes_to_its_duration(
    config: int, ms: float, stereo: bool
) -> None:
    samples = round(ms * 16)
    shapes = [
        (bytes([toc(config, 0, stereo)]) + b"\x55" * 30, 1),
        (bytes([toc(config, 1, stereo)]) + b"\x55" * 40, 2),
        (bytes([toc(config, 2, stereo), 20]) + b"\x55" * 45, 2),
        (bytes([toc(config, 3, stereo), 2]) + b"\x55" * 40, 2),
    ]
    if 3 * ms <= 120:
        # Three frames of variable size with two bytes of padding.
        shapes.append((bytes([toc(config, 3, stereo), 0xC3, 2, 9, 10]) + b"\x55" * 30 + b"\0\0", 3))
    for packet, frames in shapes:
        decoder = OpusDecoder()
        assert decoder.duration(packet) == frames * samples
        sound = decoder.decode(packet)
        assert sound.dtype == np.int16
        assert sound.shape == (frames * samples,)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        bytes([toc(9, 1)]) + b"\x55" * 3,  # two equal frames from an odd number of bytes
        bytes([toc(9, 2)]),  # no length
        bytes([toc(9, 2), 50]) + b"\x55" * 20,  # first frame longer than the packet
        bytes([toc(9, 3)]),  # no count
        bytes([toc(9, 3), 0]),  # no frames
        bytes([toc(11, 3), 3]) + b"\x55" * 30,  # 180 ms
        bytes([toc(9, 3), 0x42, 200]) + b"\x55" * 30,  # more padding than bytes
        bytes([toc(9)]) + b"\x55" * 1276,  # a frame above 1275 bytes
    ],
)
def test_RFC6716_damaged_packets_are_refused_and_the_state_is_unhurt(packet: bytes) -> None:
    good = encoded(speechlike(6400))
    plain, hurt = OpusDecoder(), OpusDecoder()
    assert hurt.duration(packet) == 0
    assert not hurt.has_redundancy(packet)
    for i, following in enumerate(good):
        if i == 12:
            with pytest.raises(OpusError):
                hurt.decode(packet)
        assert np.array_equal(plain.decode(following), hurt.decode(following))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=120), min_size=1, max_size=6))
def test_any_bytes_either_decode_to_their_duration_or_are_refused(packets: list[bytes]) -> None:
    decoder = OpusDecoder()
    for packet in packets:
        expected = decoder.duration(packet)
        recovered = decoder.recover(packet, 320)
        assert recovered is None or len(recovered) == 320
        if expected:
            assert len(decoder.decode(packet)) == expected
        else:
            with pytest.raises(MediaError):
                decoder.decode(packet)
        assert len(decoder.conceal(80)) == 80


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_bits_flipped_on_the_way_do_no_lasting_harm(data: st.DataObject) -> None:
    """After one mangled packet and a second of good ones, the sound is the true one again."""
    packet = bytearray(GOOD[10])
    for _ in range(data.draw(st.integers(1, 8))):
        packet[data.draw(st.integers(0, len(packet) - 1))] ^= data.draw(st.integers(1, 255))
    decoder = OpusDecoder()
    for i, good in enumerate(GOOD):
        try:
            sound = decoder.decode(bytes(packet) if i == 10 else good)
        except MediaError:
            assert i == 10
    wanted = TRUE[-1].astype(np.float64)
    error = sound.astype(np.float64) - wanted
    assert np.sqrt(np.mean(error**2)) < 0.1 * np.sqrt(np.mean(wanted**2)) + 5


GOOD = encoded(speechlike(320 * 70))


def _true() -> Iterator[Samples]:
    decoder = OpusDecoder()
    for packet in GOOD:
        yield decoder.decode(packet)


TRUE = list(_true())


# --- loss ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("units", [0, 1, 2, 3, 7, 8, 24, 48, 49, 200])
def test_concealment_gives_any_multiple_of_2_5_ms(units: int) -> None:
    decoder = OpusDecoder()
    for packet in GOOD[:20]:
        decoder.decode(packet)
    assert len(decoder.conceal(40 * units)) == 40 * units


def test_concealment_of_other_lengths_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 40"):
        OpusDecoder().conceal(100)


def test_concealment_of_a_tone_goes_on_with_it() -> None:
    decoder = OpusDecoder()
    for packet in encoded(tone(440, 32_000, 16_000, 8000)):
        before = decoder.decode(packet)
    gap = decoder.conceal(320)
    assert level_db(gap) > level_db(before) - 12
    assert peak_frequency(gap, 16_000) == pytest.approx(440, abs=40)


def lossy(**settings: int) -> list[bytes]:
    return encoded(speechlike(48_000), bitrate=36_000, expected_loss=20, **settings)


def test_recovery_from_the_following_packet_beats_concealment() -> None:
    """Squared error against the sound without loss, over 40 lost frames: at most two thirds."""
    packets = lossy()
    whole = OpusDecoder()
    true = [whole.decode(packet) for packet in packets]
    errors = np.zeros(2)
    for lost in range(20, 140, 3):
        if not OpusDecoder().has_redundancy(packets[lost + 1]):
            continue
        for way in (0, 1):
            decoder = OpusDecoder()
            for packet in packets[:lost]:
                decoder.decode(packet)
            sound = decoder.recover(packets[lost + 1], 320) if way else decoder.conceal(320)
            assert sound is not None
            errors[way] += np.sum((sound - true[lost].astype(np.float64)) ** 2)
    assert errors[0] > 0
    assert errors[1] < 0.67 * errors[0]


def test_recovery_leaves_the_stream_in_step() -> None:
    packets = lossy()
    decoder = OpusDecoder()
    total = 0
    for i, packet in enumerate(packets):
        if i % 10 == 9:
            continue
        if i % 10 == 0 and i:
            sound = decoder.recover(packet, 320)
            total += len(decoder.conceal(320) if sound is None else sound)
        total += len(decoder.decode(packet))
    assert total == 48_000 - 320


def test_longer_gaps_are_recovered_at_their_end() -> None:
    packets = lossy()
    carrier = next(i for i, p in enumerate(packets) if i > 30 and OpusDecoder().has_redundancy(p))
    decoder = OpusDecoder()
    for packet in packets[: carrier - 2]:
        decoder.decode(packet)
    sound = decoder.recover(packets[carrier], 640)
    assert sound is not None
    assert len(sound) == 640


def test_a_gap_shorter_than_the_copy_is_not_recovered() -> None:
    packets = lossy()
    carrier = next(p for p in packets if OpusDecoder().has_redundancy(p))
    assert OpusDecoder().recover(carrier, 160) is None


@pytest.mark.parametrize("samples", [0, -40, 50, 1960])
def test_recovery_of_impossible_lengths_is_refused(samples: int) -> None:
    with pytest.raises(ValueError, match="recover"):
        OpusDecoder().recover(GOOD[3], samples)


def test_packets_without_a_copy_recover_nothing() -> None:
    decoder = OpusDecoder()
    plain = encoded(speechlike(16_000), fec=False, expected_loss=20)
    assert not any(decoder.has_redundancy(packet) for packet in plain)
    assert decoder.recover(plain[30], 320) is None
    celt = bytes([toc(27)]) + b"\xff" * 40
    assert not decoder.has_redundancy(celt)
    assert decoder.recover(celt, 320) is None
    decoder.decode(celt)
    carrier = next(p for p in lossy() if decoder.has_redundancy(p))
    assert decoder.recover(carrier, 320) is None  # the library can't, straight after CELT


@pytest.mark.parametrize(
    ("config", "stereo", "first", "expected"),
    [
        (9, False, 0x80, False),  # voice activity alone
        (9, False, 0x40, True),
        (10, False, 0x40, False),  # 40 ms: two bits of activity
        (10, False, 0x20, True),
        (11, False, 0x10, True),
        (11, False, 0x20, False),
        (9, True, 0x10, True),  # of the side channel
        (9, True, 0x20, False),
        (11, True, 0x01, True),
        (13, False, 0x40, True),  # hybrid
    ],
)
def test_RFC6716_redundancy_is_read_from_the_head_of_the_first_frame(
    config: int, stereo: bool, first: int, expected: bool
) -> None:
    packet = bytes([toc(config, 0, stereo), first]) + b"\x55" * 20
    assert OpusDecoder().has_redundancy(packet) is expected


def test_redundancy_is_not_seen_in_packets_of_silence() -> None:
    assert not OpusDecoder().has_redundancy(bytes([toc(9)]))


def test_more_reported_loss_brings_redundancy() -> None:
    encoder, decoder = OpusEncoder(bitrate=36_000), OpusDecoder()
    frames = speechlike(64_000).reshape(-1, 320)
    assert not any(decoder.has_redundancy(encoder.encode(frame)) for frame in frames[:100])
    encoder.set_expected_loss(15)
    carriers = sum(decoder.has_redundancy(encoder.encode(frame)) for frame in frames[100:])
    assert carriers > 50


# --- life of the native state -------------------------------------------------------------------


def test_closing_is_final_and_may_be_repeated() -> None:
    encoder, decoder = OpusEncoder(), OpusDecoder()
    for part in (encoder, decoder):
        part.close()
        part.close()
        with pytest.raises(ValueError, match="closed"):
            part.reset()
    with pytest.raises(ValueError, match="closed"):
        encoder.encode(np.zeros(320, dtype=np.int16))
    with pytest.raises(ValueError, match="closed"):
        decoder.decode(GOOD[0])
    with pytest.raises(ValueError, match="closed"):
        decoder.conceal(320)
    assert decoder.duration(GOOD[0]) == 320  # needs no state


def test_2000_encoders_and_decoders_leave_no_memory_behind() -> None:
    """One pair is about 55 kB, so that a leak would be 110 MB."""
    frame = speechlike(320)

    def use(count: int) -> None:
        for i in range(count):
            encoder, decoder = OpusEncoder(), OpusDecoder()
            decoder.decode(encoder.encode(frame))
            if i % 2:
                encoder.close()
                decoder.close()

    use(50)
    gc.collect()
    process = psutil.Process()
    before = process.memory_info().rss
    use(2000)
    gc.collect()
    assert process.memory_info().rss - before < 8_000_000
