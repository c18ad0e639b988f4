"""Public frames and chunks, and their way to the format inside."""

from __future__ import annotations

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
    ("size", "channels", "width"), [(641, 1, 2), (642, 2, 2), (640, 1, 3), (1, 2, 1)]
)
def test_V8_a_misaligned_frame_is_refused_when_built(size: int, channels: int, width: int) -> None:
    with pytest.raises(ValueError, match="whole number of samples"):
        AudioFrame(bytes(size), channels=channels, sample_width=width)


@pytest.mark.parametrize("field", ["sample_rate", "channels", "sample_width"])
def test_V8_a_frame_needs_positive_figures(field: str) -> None:
    with pytest.raises(ValueError, match="positive"):
        AudioFrame(b"", **{field: 0})


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
