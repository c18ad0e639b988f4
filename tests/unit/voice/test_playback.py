"""The server track of one call, frame by frame (G73-G79, G113)."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from tests.unit.voice.stage import stage

from salon.media.frame import FRAME_SAMPLES
from salon.testing import tone, virtual_time
from salon.voice.events import (
    Interrupted,
    Synthesized,
    TrackEnded,
    TrackStarted,
)
from salon.voice.playback import Playback, SoundTrack
from salon.voice.speaking import (
    SpeechTrack,
)

TEXT = "one two three four"
TEXT_MS = 18 * 60


def test_G47_the_last_frame_of_a_sound_is_filled_up() -> None:
    track = SoundTrack(tone(50))
    frames = [track.next_frame(0.0) for _ in range(3)]
    assert all(frame is not None and len(frame) == FRAME_SAMPLES for frame in frames)
    assert track.finished
    assert track.next_frame(0.0) is None
    assert np.array_equal(np.concatenate([f for f in frames if f is not None])[:800], tone(50))


def test_a_sound_may_begin_further_in_or_not_at_all() -> None:
    track = SoundTrack(tone(50), offset_ms=40)
    frame = track.next_frame(0.0)
    assert frame is not None
    assert np.array_equal(frame[:160], tone(50)[640:])
    assert SoundTrack(tone(50), offset_ms=60).finished


@virtual_time
async def test_a_sound_plays_to_its_end() -> None:
    async with stage() as it:
        it.player.start(Playback(SoundTrack(tone(100)), "bell", auto_hangup=True, wait_input_ms=7))
        assert len(await it.pull(10)) == 5
        started, ended = it.events
        assert isinstance(started, TrackStarted)
        assert isinstance(ended, TrackEnded)
        assert started.ssrc == ended.ssrc
        assert (ended.play_id, ended.auto_hangup, ended.wait_input_ms) == ("bell", True, 7)
        assert ended.duration_ms == pytest.approx(100, abs=1)


@virtual_time
async def test_a_cut_sound_only_ends() -> None:
    async with stage() as it:
        it.player.start(Playback(SoundTrack(tone(1000)), "bell", auto_hangup=True))
        await it.pull(5)
        assert it.player.stop(graceful=True) is None
        assert it.kinds() == [TrackStarted, TrackEnded]
        assert not it.events[-1].auto_hangup  # type: ignore[union-attr]
        assert await it.pull(3) == []


# -- speech ----------------------------------------------------------------------------------------


@virtual_time
async def test_speech_plays_to_its_end() -> None:
    async with stage() as it:
        playback = await it.play(TEXT)
        assert it.player.audible
        frames = await it.pull(60)
        assert len(frames) == TEXT_MS // 20
        assert it.kinds() == [TrackStarted, TrackEnded]
        assert playback.speech is not None
        assert playback.speech.heard() == TEXT
        assert playback.speech.played_ms == TEXT_MS
        (made,) = it.news
        assert isinstance(made, Synthesized)
        assert (made.length_bytes, made.play_id) == (TEXT_MS * 32, "p")
        assert not it.player.audible


@pytest.mark.parametrize(
    ("frames", "heard", "position"),
    [(5, "", 0), (12, "one", None), (13, "one", 4), (21, "one two", 4), (30, "one two", 8)],
)
@virtual_time
async def test_G113_what_was_heard_is_known_to_the_word(
    frames: int, heard: str, position: int | None
) -> None:
    async with stage() as it:
        await it.play(TEXT)
        await it.pull(frames)
        cut = it.player.stop()
        assert isinstance(cut, Interrupted)
        assert (cut.heard, cut.subtitle, cut.total_ms) == (heard, TEXT, TEXT_MS)
        assert cut.current_ms == frames * 20
        assert position is None or cut.position == position
        assert it.kinds() == [TrackStarted, Interrupted, TrackEnded]
        assert it.player.stop() is None


@virtual_time
async def test_several_pieces_are_heard_one_after_another() -> None:
    async with stage() as it:
        await it.play("one two", "three four")
        await it.pull(21 + 20)
        cut = it.player.stop()
        assert cut is not None
        assert (cut.heard, cut.subtitle, cut.current_ms) == ("one two three", "three four", 400)


@virtual_time
async def test_a_cut_before_the_first_sound() -> None:
    async with stage() as it:
        await it.play(streaming=True)
        cut = it.player.stop()
        assert cut is not None
        assert (cut.heard, cut.position, cut.total_ms) == ("", None, 0)


@virtual_time
async def test_G76_graceful_ends_with_the_piece() -> None:
    async with stage() as it:
        await it.play("one two", "three four")
        await it.pull(3)
        assert it.player.stop(graceful=True) is not None
        assert it.player.stop(graceful=True) is None
        assert len(await it.pull(60)) == 21 - 3
        assert it.kinds() == [TrackStarted, Interrupted, TrackEnded]


@pytest.mark.parametrize("case", ["streaming", "paused", "unheard"])
@virtual_time
async def test_G76_graceful_is_immediate_when_nothing_can_end(case: str) -> None:
    async with stage() as it:
        playback = await it.play(TEXT, streaming=case == "streaming")
        if case != "unheard":
            await it.pull(3)
        playback.paused = case == "paused"
        it.player.stop(graceful=True)
        assert it.player.current is None


@virtual_time
async def test_graceful_leaves_shared_speech_to_the_others() -> None:
    async with stage() as it:
        playback = await it.play("one two", "three four", shared=True)
        other = SpeechTrack(playback.track.speech)  # type: ignore[union-attr]
        await it.pull(3)
        it.player.stop(graceful=True)
        await it.pull(60)
        assert it.player.current is None
        heard = [other.next_frame(n * 0.02) for n in range(60)]
        assert sum(frame is not None for frame in heard) == 21 + 30


@virtual_time
async def test_a_fade_gets_quieter_to_its_end() -> None:
    async with stage() as it:
        await it.play(TEXT)
        await it.pull(5)
        it.player.stop(fade_ms=100)
        it.player.stop(fade_ms=2000)  # the first fade stays
        frames = await it.pull(20)
        loudness = [int(np.abs(frame).max()) for frame in frames]
        assert len(loudness) == 5
        assert loudness == sorted(loudness, reverse=True)
        assert it.kinds() == [TrackStarted, Interrupted, TrackEnded]


@virtual_time
async def test_a_fade_ends_with_the_sound() -> None:
    async with stage() as it:
        it.player.start(Playback(SoundTrack(tone(100)), "bell"))
        it.player.stop(fade_ms=1000)
        assert len(await it.pull(20)) == 5
        assert it.player.current is None


@virtual_time
async def test_G77_pause_freezes() -> None:
    async with stage() as it:
        assert not it.player.pause()
        assert not it.player.resume()
        await it.play(TEXT)
        await it.pull(5)
        assert it.player.pause()
        assert not it.player.audible
        assert await it.pull(10) == []
        assert it.player.resume()
        assert len(await it.pull(100)) == TEXT_MS // 20 - 5


@virtual_time
async def test_G75_a_streaming_track_waits_for_more() -> None:
    async with stage() as it:
        playback = await it.play("one two", streaming=True)
        assert len(await it.pull(40)) == 21
        assert it.player.current is playback
        speech = playback.track.speech  # type: ignore[union-attr]
        speech.say("three")
        speech.end()
        assert speech.reopen()
        speech.say("four")
        await asyncio.sleep(0.01)
        assert len(await it.pull(40)) == (5 + 4) * 3
        speech.end()
        await it.pull(2)
        assert it.kinds() == [TrackStarted, TrackEnded]
        assert not speech.reopen()
