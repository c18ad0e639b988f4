"""Public frames and chunks, and their way to the format inside."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from salon.media import (
    SILENCE,
    AudioChunk,
    AudioFormat,
    AudioFrame,
    FrameResampler,
    PhonemeTime,
    WordTime,
    decode_pcm,
)

from .signals import fit, tone


def test_V7_frame_and_chunk_are_two_types() -> None:
    assert not issubclass(AudioFrame, AudioChunk)
    assert not issubclass(AudioChunk, AudioFrame)
    frame, chunk = AudioFrame(bytes(640)), AudioChunk(bytes(640))
    assert not hasattr(frame, "is_final")
    assert not hasattr(frame, "format")
    assert not hasattr(chunk, "metadata")


@pytest.mark.parametrize(
    ("size", "channels", "width"), [(641, 1, 2), (642, 2, 2), (642, 1, 4), (1, 2, 1)]
)
def test_V8_a_misaligned_frame_is_refused_when_built(size: int, channels: int, width: int) -> None:
    with pytest.raises(ValueError, match="whole number of samples"):
        AudioFrame(bytes(size), channels=channels, sample_width=width)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("sample_rate", value) for value in (-1, 0, 192_001)],
        *[("channels", value) for value in (-1, 0, 3)],
        *[("sample_width", value) for value in (-1, 0, 3, 8)],
    ],
)
def test_V8_a_figure_out_of_range_is_refused_and_named(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value}, not"):
        AudioFrame(b"", **cast(dict[str, Any], {field: value}))


@pytest.mark.parametrize("rate", [1, 192_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("width", [1, 2, 4])
def test_V8_the_ends_of_each_range_are_in_it(rate: int, channels: int, width: int) -> None:
    frame = AudioFrame(bytes(8), rate, channels, width)
    assert frame.duration_ms == 8000 / (channels * width * rate)


@pytest.mark.parametrize(
    "data",
    [bytearray(2), memoryview(bytes(2)), "ab", None, [0, 0]],
    ids=lambda data: type(data).__name__,
)
def test_V8_sound_is_bytes_and_nothing_that_may_change(data: object) -> None:
    with pytest.raises(ValueError, match=f"data is {type(data).__name__}, not bytes"):
        AudioFrame(cast(bytes, data))


def test_a_frame_of_samples_holds_their_bytes_and_the_array_itself() -> None:
    sound = tone(440, 320, 16_000)
    frame = AudioFrame.of(sound)
    assert frame == AudioFrame(sound.tobytes())
    assert frame.samples is sound
    notes: dict[str, object] = {"note": 1}
    full = AudioFrame.of(sound, 8000, 41.5, notes)
    assert full == AudioFrame(sound.tobytes(), 8000, 1, 2, 41.5, {"note": 1})
    assert full.metadata is notes
    assert AudioFrame.of(sound).metadata is not frame.metadata
    with pytest.raises(ValueError, match="sample_rate"):
        AudioFrame.of(sound, 0)


def test_samples_are_a_view_of_the_bytes_made_once() -> None:
    data = np.array([1, -2, 32767, -32768], dtype="<i2").tobytes()
    frame = AudioFrame(data, 8000, 2)
    assert frame.samples.tolist() == [1, -2, 32767, -32768], "interleaved"
    assert frame.samples is frame.samples
    with pytest.raises(ValueError, match="read-only"):
        frame.samples[0] = 0
    assert frame == AudioFrame(data, 8000, 2), "what was looked at is no part of it"


@pytest.mark.parametrize("width", [1, 4])
def test_samples_of_another_width_are_refused(width: int) -> None:
    with pytest.raises(ValueError, match=f"{width} bytes wide"):
        _ = AudioFrame(bytes(8), sample_width=width).samples


def test_other_samples_keep_the_stamps_and_share_the_notes() -> None:
    frame = AudioFrame(bytes(8), 8000, 2, 4, 12.0, {"note": 1})
    sound = tone(440, 320, 8000)
    other = frame.with_samples(sound)
    assert other == AudioFrame(sound.tobytes(), 8000, 2, 2, 12.0, {"note": 1})
    assert other.samples is sound
    assert other.metadata is frame.metadata
    assert frame.data == bytes(8)
    with pytest.raises(ValueError, match="whole number"):
        frame.with_samples(sound[:319])


def test_V9_a_chunk_takes_anything() -> None:
    assert AudioChunk(b"\1\2\3", channels=2, is_final=True).data == b"\1\2\3"


def test_V10_frame_to_chunk_drops_metadata() -> None:
    frame = AudioFrame(bytes(1280), 8000, 2, 2, 41.7, {"note": 1})
    chunk = frame.to_chunk(is_final=True)
    assert (chunk.sample_rate, chunk.channels, chunk.timestamp_ms) == (8000, 2, 41)
    assert chunk.is_final
    assert AudioFrame(b"").to_chunk().timestamp_ms is None


def test_V10_chunk_to_frame_checks_alignment_and_starts_without_metadata() -> None:
    frame = AudioChunk(bytes(640), 8000, 2, timestamp_ms=5).to_frame()
    assert (frame.sample_rate, frame.channels, frame.timestamp_ms) == (8000, 2, 5.0)
    assert frame.metadata == {}
    assert AudioChunk(b"").to_frame().timestamp_ms is None
    with pytest.raises(ValueError, match="3 bytes"):
        AudioChunk(bytes(3)).to_frame()


def test_V11_the_format_inside_is_the_default() -> None:
    assert AudioFormat() == AudioFormat(16000, 1, 2, "pcm_s16le")
    assert AudioFrame(bytes(640)).duration_ms == 20
    assert AudioFrame(bytes(1764), 44100, 2, 2).duration_ms == 10


def test_silence_can_not_be_spoiled() -> None:
    with pytest.raises(ValueError, match="read-only"):
        SILENCE[0] = 1


def test_times_of_words_and_sounds_are_plain_facts() -> None:
    assert WordTime("yes", 0, 300, 4, 3).length == 3
    assert PhonemeTime("j", 0, 80).ipa == "j"


def test_V62_the_timestamp_stays_and_the_original_format_is_noted() -> None:
    both = np.repeat(tone(440, 960, 48000), 2)
    frame = AudioFrame(both.tobytes(), 48000, 2, 2, 123.0, {"note": 1})
    out = FrameResampler().process(frame)
    assert (out.sample_rate, out.channels, out.sample_width) == (16000, 1, 2)
    assert out.timestamp_ms == 123.0
    assert out.metadata == {"note": 1, "original_sample_rate": 48000, "original_channels": 2}
    assert frame.metadata == {"note": 1}
    assert len(out.data) == 640


def test_V63_a_sine_stays_continuous_over_frame_borders() -> None:
    worker = FrameResampler()
    pieces = tone(440, 22050, 22050).reshape(50, -1)
    heard = b"".join(worker.process(AudioFrame(p.tobytes(), 22050)).data for p in pieces)
    assert len(heard) == 32000
    assert fit(np.frombuffer(heard, "<i2")[800:], 440, 16000)[1] > 50
    assert 0 < worker.delay_ms <= 3


def test_a_frame_in_the_format_inside_passes_as_it_is() -> None:
    frame = AudioFrame(bytes(640))
    assert FrameResampler().process(frame) is frame


def test_a_change_of_format_starts_the_filter_anew() -> None:
    worker = FrameResampler()
    loud = tone(440, 160, 8000, 30000)
    assert len(worker.process(AudioFrame(loud.tobytes(), 8000)).data) == 640
    out = worker.process(AudioFrame(bytes(960), 48000))
    assert not any(out.data)
    mono = worker.process(AudioFrame(bytes([128, 255] * 320), 16000, 2, 1))
    assert np.frombuffer(mono.data, "<i2").tolist() == [16256] * 320


def test_unknown_sample_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="1 to 4 bytes"):
        decode_pcm(bytes(10), sample_width=5)
    with pytest.raises(ValueError, match="4 or 8"):
        decode_pcm(bytes(6), sample_width=3, floating=True)
    with pytest.raises(ValueError, match="positive"):
        decode_pcm(b"", sample_width=0)
