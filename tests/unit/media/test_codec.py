"""The codecs of a call: names, sizes, alignment, level and frequency."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.media import (
    CODEC_NAMES,
    AudioCodec,
    G722Codec,
    PcmaCodec,
    PcmCodec,
    PcmuCodec,
    Samples,
    decode_ulaw,
    encode_ulaw,
    make_codec,
)

from .signals import cut, cut_sizes, fit, int16_arrays, peak_frequency, tone

CODECS = {"pcm": PcmCodec, "pcmu": PcmuCodec, "pcma": PcmaCodec, "g722": G722Codec}


@pytest.mark.parametrize(("name", "kind"), CODECS.items())
def test_G41_names_ignore_case(name: str, kind: type[AudioCodec]) -> None:
    for written in (name, name.upper(), name.title(), f" {name} "):
        codec = make_codec(written)
        assert type(codec) is kind
        assert codec.name == name
    assert name in CODEC_NAMES


@pytest.mark.parametrize("name", [None, "", "opus", "PCM16", "g729"])
def test_G41_anything_unknown_is_pcm(name: str | None) -> None:
    assert make_codec(name).name == "pcm"


@pytest.mark.parametrize(
    ("name", "size"), [("pcm", 640), ("pcmu", 160), ("pcma", 160), ("g722", 160)]
)
def test_G46_every_20_ms_frame_gives_a_full_packet(name: str, size: int) -> None:
    codec = make_codec(name)
    sound = tone(440, 3200, 16000).reshape(-1, 320)
    assert [len(codec.encode(frame)) for frame in sound] == [size] * 10


def test_G46_pcm_may_go_out_at_8_khz() -> None:
    codec = make_codec("pcm", pcm_out_rate=8000)
    sound = tone(1000, 16000, 16000).reshape(-1, 320)
    packets = [codec.encode(frame) for frame in sound]
    assert {len(packet) for packet in packets} == {320}
    heard = np.frombuffer(b"".join(packets), "<i2")[800:]
    assert fit(heard, 1000, 8000)[1] > 50
    assert len(codec.decode(bytes(640))) == 320


def test_pcm_goes_out_at_8_or_16_khz_only() -> None:
    with pytest.raises(ValueError, match="44100"):
        make_codec("pcm", pcm_out_rate=44100)


@pytest.mark.parametrize(
    ("name", "size"), [("pcm", 640), ("pcmu", 160), ("pcma", 160), ("g722", 160)]
)
def test_G42_20_ms_in_are_320_samples(name: str, size: int) -> None:
    codec = make_codec(name)
    assert [len(codec.decode(bytes(size))) for _ in range(5)] == [320] * 5


@pytest.mark.parametrize("name", CODECS)
def test_G40_packets_of_any_size_are_taken(name: str) -> None:
    codec = make_codec(name)
    assert codec.decode(b"").tolist() == []
    total = sum(len(codec.decode(bytes(size))) for size in (2, 0, 14, 1000, 6, 64000))
    size = 2 + 14 + 1000 + 6 + 64000
    assert total == (size // 2 if name == "pcm" else size * 2)


def test_pcm_decoding_copies_nothing() -> None:
    payload = tone(440, 320, 16000).tobytes()
    heard = make_codec("pcm").decode(payload)
    assert np.shares_memory(heard, np.frombuffer(payload, np.uint8))
    assert not heard.flags.writeable


@given(int16_arrays)
def test_pcm_is_lossless(samples: Samples) -> None:
    codec = make_codec("pcm")
    assert np.array_equal(codec.decode(codec.encode(samples)), samples)


def test_G40_a_stray_byte_shifts_nothing_that_follows() -> None:
    frame = tone(440, 320, 16000)
    codec = PcmCodec()
    assert np.array_equal(codec.decode(frame.tobytes() + b"\x99"), frame)
    for _ in range(3):
        assert np.array_equal(codec.decode(frame.tobytes()), frame)
    assert codec.stray_bytes == 1


def test_G40_a_sample_cut_in_two_is_joined() -> None:
    sound = tone(440, 960, 16000)
    raw = sound.tobytes()
    codec = PcmCodec()
    heard = [codec.decode(raw[at : at + 641]) for at in range(0, len(raw), 641)]
    assert np.array_equal(np.concatenate(heard), sound)
    assert codec.stray_bytes == 0


def test_G40_an_empty_packet_does_not_part_the_halves() -> None:
    codec = PcmCodec()
    heard = [codec.decode(part) for part in (b"\x01\x02\x03", b"", b"\x04")]
    assert np.concatenate(heard).tolist() == [0x0201, 0x0403]


@given(st.lists(st.binary(max_size=9), max_size=20))
def test_G40_pcm_never_raises_and_invents_nothing(payloads: list[bytes]) -> None:
    codec = PcmCodec()
    heard = sum(len(codec.decode(payload)) for payload in payloads)
    given_bytes = sum(map(len, payloads))
    assert given_bytes - 2 * heard - codec.stray_bytes in (0, 1)


@pytest.mark.parametrize("name", ["pcmu", "pcma"])
def test_T57_a_tone_through_g711_in_keeps_frequency_and_level(name: str) -> None:
    codec = make_codec(name)
    wire = make_codec(name)
    frames = tone(1000, 32000, 16000, 10000).reshape(-1, 320)
    heard = np.concatenate([codec.decode(wire.encode(frame)) for frame in frames])[3200:]
    assert peak_frequency(heard, 16000) == pytest.approx(1000, rel=0.001)
    assert 20 * np.log10(fit(heard, 1000, 16000)[0] / 10000) == pytest.approx(0, abs=0.2)


def test_T57_pcmu_in_pcm_out() -> None:
    sound = tone(1000, 8000, 8000, 10000)
    into, out = make_codec("pcmu"), make_codec("pcm")
    heard = np.frombuffer(
        b"".join(out.encode(into.decode(encode_ulaw(f))) for f in sound.reshape(-1, 160)), "<i2"
    )[1600:]
    assert peak_frequency(heard, 16000) == pytest.approx(1000, rel=0.01)
    assert abs(20 * np.log10(fit(heard, 1000, 16000)[0] / 10000)) < 1


@settings(max_examples=30, deadline=None)
@given(int16_arrays, cut_sizes, st.sampled_from(["pcmu", "pcma", "g722"]))
def test_decoding_does_not_depend_on_packet_sizes(
    samples: Samples, sizes: list[int], name: str
) -> None:
    payload = samples.view(np.uint8)
    expected = make_codec(name).decode(payload.tobytes())
    codec = make_codec(name)
    heard = np.concatenate([codec.decode(piece.tobytes()) for piece in cut(payload, sizes)])
    assert np.array_equal(heard, expected)


def test_calls_share_no_state() -> None:
    one, other = make_codec("pcmu"), make_codec("pcmu")
    loud = tone(700, 320, 16000, 30000)
    one.encode(loud)
    one.decode(bytes(160))
    silence = np.zeros(320, np.int16)
    assert not decode_ulaw(other.encode(silence)).any()
    assert not other.decode(encode_ulaw(np.zeros(160, np.int16))).any()


def test_importing_the_package_loads_neither_pyav_nor_pydantic() -> None:
    code = (
        "import sys, salon.media; "
        "print([name for name in ('av', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
