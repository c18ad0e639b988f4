"""WAV: every common kind in, crash-proof files out, RIFF headers off engine streams."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.base import SalonError
from salon.media import (
    RiffHeaderStripper,
    Samples,
    WavError,
    WavWriter,
    read_wav,
    strip_riff_header,
    wav_bytes,
    write_wav,
)

from .signals import int16_arrays, tone

SOUND = tone(440, 800, 16000)


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
        for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body


def fmt(kind: int, bits: int, channels: int = 1, rate: int = 16000) -> tuple[bytes, bytes]:
    step = channels * bits // 8
    return b"fmt ", struct.pack("<HHIIHH", kind, channels, rate, rate * step, step, bits)


def raw(samples: Samples, kind: int, bits: int) -> bytes:
    wide = samples.astype(np.int64)
    if kind == 3:
        return (wide / 32768).astype(f"<f{bits // 8}").tobytes()
    if bits == 8:
        return ((wide >> 8) + 128).astype(np.uint8).tobytes()
    return b"".join(int(v << bits - 16).to_bytes(bits // 8, "little", signed=True) for v in wide)


@pytest.mark.parametrize(("kind", "bits"), [(1, 16), (1, 24), (1, 32), (3, 32), (3, 64)])
def test_every_kind_reads_back_exactly(kind: int, bits: int) -> None:
    samples, rate = read_wav(riff(fmt(kind, bits, rate=22050), (b"data", raw(SOUND, kind, bits))))
    assert rate == 22050
    assert samples.dtype == np.int16
    assert np.array_equal(samples, SOUND)


def test_8_bit_reads_to_its_resolution() -> None:
    samples, _ = read_wav(riff(fmt(1, 8), (b"data", raw(SOUND, 1, 8))))
    assert np.array_equal(samples, (SOUND.astype(int) >> 8) << 8)


def test_an_extensible_header_is_understood() -> None:
    head = fmt(0xFFFE, 24)[1] + struct.pack("<HHIH", 22, 24, 4, 1) + bytes(14)
    samples, _ = read_wav(riff((b"fmt ", head), (b"data", raw(SOUND, 1, 24))))
    assert np.array_equal(samples, SOUND)


@pytest.mark.parametrize(("kind", "bits"), [(1, 16), (1, 24), (3, 32)])
def test_G130_stereo_is_averaged(kind: int, bits: int) -> None:
    both = np.stack([SOUND, np.zeros_like(SOUND)], axis=1).reshape(-1)
    samples, _ = read_wav(riff(fmt(kind, bits, channels=2), (b"data", raw(both, kind, bits))))
    assert np.array_equal(samples, np.rint(SOUND / 2).astype(np.int16))


def test_averaging_two_full_scale_channels_does_not_overflow() -> None:
    samples, _ = read_wav(riff(fmt(1, 16, channels=2), (b"data", b"\xff\x7f" * 20)))
    assert samples.tolist() == [32767] * 10


def test_floats_beyond_full_scale_are_clamped_and_nan_is_silence() -> None:
    data = np.array([2.0, -2.0, np.nan, np.inf], "<f4").tobytes()
    samples, _ = read_wav(riff(fmt(3, 32), (b"data", data)))
    assert samples.tolist() == [32767, -32768, 0, 32767]


def test_other_chunks_are_passed_over() -> None:
    data = riff((b"LIST", b"odd"), fmt(1, 16), (b"fact", bytes(4)), (b"data", SOUND.tobytes()))
    assert np.array_equal(read_wav(data)[0], SOUND)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 1601])
def test_a_promise_of_more_data_is_read_as_far_as_it_goes(size: int) -> None:
    data = riff(fmt(1, 16)) + b"data" + struct.pack("<I", size) + SOUND.tobytes() + b"\x07"
    assert np.array_equal(read_wav(data)[0], SOUND)


def test_reads_from_path_file_and_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, SOUND, 8000)
    for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes())):
        samples, rate = read_wav(source)
        assert rate == 8000
        assert np.array_equal(samples, SOUND)


GOOD = wav_bytes(SOUND)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a WAV"),
        (b"ID3\x04 and so on, an MP3", "not a WAV"),
        (b"RIFF\0\0\0\0AVI ", "not a WAV"),
        (riff((b"data", b"\0\0")), "before the fmt"),
        (riff(), "no fmt chunk"),
        (riff(fmt(1, 16)), "no data chunk"),
        (riff((b"fmt ", bytes(8))), "16 are the least"),
        (riff((b"fmt ", fmt(0xFFFE, 16)[1])), "cut short"),
        (riff(fmt(7, 8)), "0x7 with 8 bits"),
        (riff(fmt(1, 12)), "12 bits"),
        (riff(fmt(3, 16)), "0x3 with 16 bits"),
        (riff(fmt(1, 16, channels=0)), "0 channels"),
        (riff(fmt(1, 16, channels=65)), "65 channels"),
        (riff(fmt(1, 16, rate=0)), "0 Hz"),
    ],
)
def test_bad_files_are_refused_with_a_reason(data: bytes, words: str) -> None:
    with pytest.raises(WavError, match=words) as caught:
        read_wav(data)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, SalonError)
    assert caught.value.code == "wav"


def test_a_file_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(GOOD)
    assert len(read_wav(path, max_bytes=len(GOOD))[0]) == 800
    for source in (path, GOOD, io.BytesIO(GOOD)):
        with pytest.raises(WavError, match="larger than"):
            read_wav(source, max_bytes=len(GOOD) - 1)


@given(st.integers(0, len(GOOD)), st.binary(max_size=40))
def test_damaged_files_give_samples_or_a_wav_error(at: int, junk: bytes) -> None:
    damaged = GOOD[:at] + junk + GOOD[at + len(junk) :]
    for data in (damaged, GOOD[:at]):
        try:
            samples, rate = read_wav(data)
        except WavError:
            continue
        assert samples.dtype == np.int16
        assert 1000 <= rate <= 384_000


@given(int16_arrays, st.sampled_from([8000, 16000, 44100]))
def test_written_files_are_read_by_others_and_by_us(samples: Samples, rate: int) -> None:
    data = wav_bytes(samples, rate)
    with wave.open(io.BytesIO(data)) as file:
        assert file.getparams()[:4] == (1, 2, rate, len(samples))
        assert file.readframes(9999) == samples.tobytes()
    assert np.array_equal(read_wav(data)[0], samples)


def test_the_file_is_readable_at_every_flush(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    writer = WavWriter(path)
    assert len(read_wav(path)[0]) == 0
    writer.write(SOUND)
    writer.flush()
    crashed = path.read_bytes()
    writer.write(SOUND)
    assert np.array_equal(read_wav(crashed)[0], SOUND)
    writer.close()
    assert len(read_wav(path)[0]) == 1600


def test_writing_flushes_once_per_second_of_sound(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    with WavWriter(path) as writer:
        for _ in range(99):
            writer.write(SOUND[:320])
        held = read_wav(path)[0]
        assert len(held) == 16000
        assert writer.frames == 99 * 320
        assert writer.duration_ms == 1980
    assert len(read_wav(path)[0]) == 99 * 320


def test_stereo_files_and_arrays_of_two_columns(tmp_path: Path) -> None:
    path = tmp_path / "both.wav"
    both = np.stack([SOUND, -SOUND], axis=1)
    with WavWriter(path, 16000, 2) as writer:
        writer.write(both)
        writer.write(both.reshape(-1))
        assert writer.frames == 1600
        with pytest.raises(WavError, match="do not fill"):
            writer.write(SOUND[:3])
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getnframes()) == (2, 1600)
    assert not read_wav(path)[0].any()


def test_closing_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with WavWriter(path) as writer:
        writer.write(SOUND)
    assert writer.closed
    writer.close()
    assert len(read_wav(path)[0]) == 800


def test_the_writer_stops_at_4_gib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salon.media.wav._MAX_DATA", 2000)
    with WavWriter(tmp_path / "a.wav") as writer:
        writer.write(SOUND)
        with pytest.raises(WavError, match="4 GiB"):
            writer.write(SOUND)
    assert len(read_wav(tmp_path / "a.wav")[0]) == 800


@pytest.mark.parametrize(("rate", "channels"), [(0, 1), (16000, 0)])
def test_impossible_files_are_refused(tmp_path: Path, rate: int, channels: int) -> None:
    with pytest.raises(WavError):
        WavWriter(tmp_path / "a.wav", rate, channels)
    assert not (tmp_path / "a.wav").exists()


def test_G134_the_first_44_bytes_are_cut() -> None:
    assert strip_riff_header(GOOD) == SOUND.tobytes()
    assert strip_riff_header(SOUND.tobytes()) == SOUND.tobytes()
    assert strip_riff_header(b"") == b""


def test_G134_a_longer_header_is_cut_whole() -> None:
    data = riff((b"LIST", bytes(30)), fmt(1, 16, rate=24000), (b"data", SOUND.tobytes()))
    stripper = RiffHeaderStripper()
    assert stripper.feed(data) == SOUND.tobytes()
    assert (stripper.sample_rate, stripper.channels) == (24000, 1)


@given(st.lists(st.integers(0, 60), max_size=30), st.booleans())
def test_G134_the_header_may_come_in_pieces(sizes: list[int], headed: bool) -> None:
    data = GOOD if headed else SOUND.tobytes()
    stripper = RiffHeaderStripper()
    out, at = b"", 0
    for size in [*sizes, len(data)]:
        out += stripper.feed(data[at : at + size])
        at += size
    assert out + stripper.flush() == SOUND.tobytes()
    assert stripper.sample_rate == (16000 if headed else None)


@pytest.mark.parametrize("size", [5000, 0xFFFFFFF0])
def test_G134_without_a_data_chunk_44_bytes_are_cut(size: int) -> None:
    data = b"RIFF\0\0\0\0WAVEjunk" + struct.pack("<I", size) + bytes(5000)
    assert RiffHeaderStripper().feed(data) == data[44:]


def test_G134_a_stream_that_ends_within_its_header_is_silent() -> None:
    assert strip_riff_header(GOOD[:30]) == b""
    assert strip_riff_header(b"RI") == b"RI"
