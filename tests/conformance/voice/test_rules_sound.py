"""Sound itself: frames and chunks, resampling, what a bad network does (entries 1, 12, 34 of the
test list)."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from tests.conformance.voice.stage import stage
from tests.unit.voice.backends.rtp_sender import Hearing

from salon.media.frame import AudioChunk, AudioFrame
from salon.testing import virtual_time
from salon.voice.pipeline.resampler.sinc import SincResamplerProvider


def test_V7_V10_a_frame_and_a_chunk_are_two_types_and_notes_stay_behind() -> None:
    frame = AudioFrame(bytes(640), timestamp_ms=40.0, metadata={"note": 1})
    chunk = frame.to_chunk(is_final=True)
    assert type(chunk) is AudioChunk
    assert not issubclass(AudioFrame, AudioChunk)
    assert not hasattr(chunk, "metadata")
    assert (chunk.data, chunk.sample_rate, chunk.timestamp_ms) == (frame.data, 16_000, 40)
    again = chunk.to_frame()
    assert again.metadata == {}
    assert (again.data, again.timestamp_ms) == (frame.data, 40.0)


@pytest.mark.parametrize(("size", "channels", "width"), [(641, 1, 2), (642, 2, 2), (6, 1, 4)])
def test_V8_a_misaligned_frame_is_refused_when_it_is_built(
    size: int, channels: int, width: int
) -> None:
    with pytest.raises(ValueError, match="whole number of samples"):
        AudioFrame(bytes(size), 16_000, channels, width)


def test_V9_V12_a_chunk_takes_any_bytes_and_is_checked_when_it_becomes_a_frame() -> None:
    assert AudioChunk(b"", is_final=True).data == b""
    odd = AudioChunk(b"abc")
    with pytest.raises(ValueError, match="whole number of samples"):
        odd.to_frame()


@pytest.mark.parametrize(("given", "wanted"), [(48_000, 16_000), (8000, 16_000), (16_000, 8000)])
def test_V62_V63_a_sine_stays_a_sine_and_keeps_its_time(given: int, wanted: int) -> None:
    place = np.arange(given)
    sine = np.rint(8000 * np.sin(2 * np.pi * 440 * place / given)).astype(np.int16)
    provider, heard = SincResamplerProvider(), []
    for number, piece in enumerate(sine.reshape(50, -1)):
        frame = AudioFrame.of(piece, given, 20.0 * number, {"note": number})
        out = provider.resample(frame, wanted, 1, 2, "a")
        assert out.timestamp_ms == 20.0 * number
        notes = {"note": number, "original_sample_rate": given, "original_channels": 1}
        assert out.metadata == notes
        heard.append(out.samples)
    if (rest := provider.flush(wanted, 1, 2, "a")) is not None:
        heard.append(rest.samples)
    sound = np.concatenate(heard).astype(float)
    assert abs(len(sound) - wanted) <= wanted // 100  # 20 ms in give 20 ms out on average
    middle = sound[wanted // 10 : wanted * 9 // 10]
    turn = 2 * np.pi * 440 * np.arange(len(middle)) / wanted
    waves = np.stack([np.sin(turn), np.cos(turn)], axis=1)
    fitted = waves @ np.linalg.lstsq(waves, middle, rcond=None)[0]
    error = np.sqrt(np.mean((middle - fitted) ** 2))
    assert 20 * np.log10(np.sqrt(np.mean(fitted**2)) / error) > 40


@virtual_time
async def test_V26_V32_what_comes_in_another_order_is_not_lost() -> None:
    hearing = await Hearing().open()
    await hearing.say(*range(30), 31, 30, 32, 34, 33, *range(35, 60))
    assert hearing.backend.packets_lost(hearing.session) == 0
    assert hearing.backend.concealed_frames(hearing.session) <= 1
    await hearing.close()


@virtual_time
async def test_V27_V28_pauses_and_keys_leave_no_hole() -> None:
    hearing = await Hearing().open()
    await hearing.say(*range(30))
    used = hearing.sender.key(30, 30, "7")
    assert used > 1
    await asyncio.sleep(0.6)  # nothing is sent, and time goes on
    for number in range(30 + used, 60 + used):
        hearing.sender.sound(number, at=number - used + 30)
        await asyncio.sleep(0.02)
    assert hearing.backend.packets_lost(hearing.session) == 0
    assert hearing.keys == ["7"]
    await hearing.close()


@virtual_time
async def test_V29_V30_V31_a_long_gap_keeps_its_length_fades_and_falls_silent() -> None:
    hearing = await Hearing().open()
    await hearing.say(*range(30))
    before = len(hearing.frames)
    await hearing.say(*[-1] * 15, *range(45, 60))
    assert {len(frame.samples) for frame in hearing.frames} == {320}
    assert abs(len(hearing.frames) - before - 30) <= 2  # as long as what was said
    gap = hearing.levels[before : before + 14]
    assert max(gap[:2]) > 500
    assert max(gap[8:]) == 0  # it is generic: over after 60 ms, and what waited to be played
    assert hearing.backend.packets_lost(hearing.session) == 15
    await hearing.close()


@virtual_time
async def test_V143_bridging_is_off_unless_asked_for() -> None:
    loud = AudioFrame.of(np.full(320, 3000, dtype=np.int16))
    for options in ({}, {"bridge": False}, {"bridge": None}, {"bridge": True}):
        async with stage(**options) as room:
            bob = await room.join("bob")
            for _ in range(20):
                await room.backend.simulate_audio_received(room.session, loud)
                await room.quiet(20, bob)
            assert bool(room.sound(bob)) is (options.get("bridge") is True)
