"""Ogg Opus files: PyAV reads them back, sample for sample in time, also cut in the middle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.media import Samples
from salon.media.errors import MediaError
from salon.media.ogg_opus import OggOpusWriter, _self_delimited, ogg_crc

from .signals import tone


def read_back(path: Path) -> Samples:
    """The file as ``int16[n, channels]`` at 48 kHz, by another program's demuxer and decoder."""
    av: Any = pytest.importorskip("av")
    with av.open(str(path)) as file:
        pieces = [frame.to_ndarray() for frame in file.decode(audio=0)]
        channels = file.streams.audio[0].codec_context.channels
    planar = [p if p.shape[0] == channels else p.reshape(-1, channels).T for p in pieces]
    joined = np.concatenate(planar, axis=1).T
    scale = 32767 if joined.dtype.kind == "f" else 1
    return np.asarray(np.clip(joined * scale, -32768, 32767), dtype=np.int16)


def onset(sound: Samples) -> int:
    return int(np.argmax(np.abs(sound.astype(int)) > 3000))


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_length_and_place_of_the_sound_are_kept(tmp_path: Path, rate: int, channels: int) -> None:
    sound = np.zeros((rate * 5 // 2 + 17, channels), dtype=np.int16)
    start = rate
    burst = tone(440, rate // 2, rate, 12000)
    sound[start : start + len(burst), channels - 1] = burst
    with OggOpusWriter(tmp_path / "a.ogg", rate, channels) as writer:
        for at in range(0, len(sound), 333):
            writer.write(sound[at : at + 333])
        assert writer.frames == len(sound)
        assert not writer.closed
    writer.close()
    got = read_back(tmp_path / "a.ogg")
    assert got.shape == (len(sound) * 48000 // rate, channels)
    assert abs(onset(got[:, channels - 1]) - 48000) < 48 * 5
    if channels == 2:
        assert np.abs(got[:, 0]).max() < 100, "the other side stays silent"


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    OggOpusWriter(tmp_path / "a.ogg").close()
    data = (tmp_path / "a.ogg").read_bytes()
    assert data.count(b"OggS") == 3


def test_a_file_cut_by_a_crash_plays_up_to_the_last_second(tmp_path: Path) -> None:
    writer = OggOpusWriter(tmp_path / "a.ogg")
    writer.write(tone(440, 16000 * 5, 16000, 12000))
    (tmp_path / "b.ogg").write_bytes((tmp_path / "a.ogg").read_bytes())
    writer.close()
    assert 48000 * 39 // 10 <= len(read_back(tmp_path / "b.ogg")) <= 48000 * 5


def test_the_checksum_is_the_one_of_the_format() -> None:
    def slowly(data: bytes) -> int:
        value = 0
        for byte in data:
            value ^= byte << 24
            for _ in range(8):
                value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
            value &= 0xFFFFFFFF
        return value

    rng = np.random.default_rng(1)
    for size in (0, 1, 27, 500):
        data = rng.bytes(size)
        assert ogg_crc(data) == slowly(data)


def test_packets_that_fill_a_page_early(tmp_path: Path) -> None:
    noise = np.random.default_rng(2).integers(-9000, 9000, (48000, 2)).astype(np.int16)
    with OggOpusWriter(tmp_path / "a.ogg", 48000, 2, bitrate=256_000) as writer:
        writer.write(noise)
    assert len(read_back(tmp_path / "a.ogg")) == 48000


def test_lengths_of_self_delimited_packets() -> None:
    assert _self_delimited(b"\x08" + b"x" * 251)[:2] == b"\x08\xfb"
    two = _self_delimited(b"\x08" + b"x" * 700)
    assert two[2] * 4 + two[1] == 700
    assert two[1] >= 252
    with pytest.raises(MediaError):
        _self_delimited(b"\x0bxx")


def test_what_it_refuses(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="44100"):
        OggOpusWriter(tmp_path / "a.ogg", 44100)
    with pytest.raises(ValueError, match="channels"):
        OggOpusWriter(tmp_path / "a.ogg", channels=3)
    with (
        OggOpusWriter(tmp_path / "a.ogg", channels=2) as writer,
        pytest.raises(ValueError, match="fill"),
    ):
        writer.write(np.zeros(3, dtype=np.int16))
