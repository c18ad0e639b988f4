"""The agent's voice: synthesis ahead of the listener, start rules, failures (G82, G133)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from tests.unit.voice.stage import stage

from salon.base import SalonError
from salon.media.timing import WordTime
from salon.testing import tone, virtual_time
from salon.voice.events import Failed
from salon.voice.playback import Playback
from salon.voice.speaking import (
    AHEAD_FRAMES,
    MAX_QUEUED_PIECES,
    STARVED_S,
    SpeechTrack,
    SpokenPiece,
)
from salon.voice.tts.base import DEFAULT_VOICE, SpeechChunk, TextToSpeech, VoiceSettings


class Dripping(TextToSpeech):
    """Gives chunks of `sizes` samples, `wait` seconds before each."""

    name = "drip"

    def __init__(self, *sizes: int, wait: float = 0.0, error: Exception | None = None) -> None:
        self._sizes = sizes
        self._wait = wait
        self._error = error

    async def speak(
        self, text: str, settings: VoiceSettings = DEFAULT_VOICE
    ) -> AsyncIterator[SpeechChunk]:
        for size in self._sizes:
            await asyncio.sleep(self._wait)
            yield SpeechChunk(np.full(size, 1000, dtype=np.int16))
        if self._error is not None:
            raise self._error


@virtual_time
async def test_G133_playback_begins_with_200_ms_or_after_half_a_second() -> None:
    async with stage(Dripping(*[800] * 20, wait=0.05)) as it:  # as fast as it is played
        await it.play("x")
        assert len(await it.pull(10)) == 0  # 200 ms are not there yet
        assert len(await it.pull(60)) == 50
    async with stage(Dripping(*[320] * 20, wait=0.1)) as it:  # too slow
        await it.play("x")
        assert len(await it.pull(25)) == 0
        assert len(await it.pull(10)) > 0


@virtual_time
async def test_after_an_underrun_the_same_rule_holds() -> None:
    async with stage(Dripping(3200, 320, 320, wait=2.0)) as it:
        await it.play("x")
        await it.pull(100)
        assert len(await it.pull(60)) == 10
        assert it.player.current is not None
        assert len(await it.pull(200)) == 2
        assert it.player.current is None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SalonError("no licence"), "no licence"),
        (LookupError("secret"), "drip failed (see the log)"),
    ],
)
@virtual_time
async def test_G82_a_failing_piece_is_told_and_the_next_is_spoken(
    error: Exception, message: str
) -> None:
    async with stage(Dripping(320, error=error)) as it:
        await it.play("x", "y")
        assert len(await it.pull(20)) == 2
        told = [news for news in it.news if isinstance(news, Failed)]
        assert [(news.sender, news.message, news.code) for news in told] == [
            ("tts", message, 500)
        ] * 2


@virtual_time
async def test_G133_an_engine_that_says_nothing_is_given_up() -> None:
    async with stage(Dripping(320, wait=STARVED_S + 1)) as it:
        await it.play("x")
        await asyncio.sleep(STARVED_S + 0.5)
        await it.pull(2)
        (failed,) = it.news
        assert isinstance(failed, Failed)
        assert "no sound" in failed.message
        assert it.player.current is None


@virtual_time
async def test_synthesis_runs_ahead_by_a_bounded_amount() -> None:
    async with stage() as it:
        playback = await it.play("x" * 1000)  # 60 s
        await asyncio.sleep(1)
        (piece,) = playback.track.speech.pieces  # type: ignore[union-attr]
        assert AHEAD_FRAMES <= len(piece.frames) <= AHEAD_FRAMES + 5
        await it.pull(100)
        assert AHEAD_FRAMES + 95 <= len(piece.frames) <= AHEAD_FRAMES + 105


@virtual_time
async def test_the_queue_of_pieces_is_bounded() -> None:
    async with stage(Dripping(320, wait=1.0)) as it:
        speech = it.speech()
        for _ in range(MAX_QUEUED_PIECES + 2):
            speech.say("x")
        speech.say_sound(tone(20))
        assert [type(news) for news in it.news] == [Failed] * 3
        speech.stop()
        speech.say("after the end")
        assert speech.idle


@virtual_time
async def test_ready_sound_is_bounded_by_its_length() -> None:
    async with stage() as it:
        speech = it.speech()
        minute = tone(60_000)
        for _ in range(7):
            speech.say_sound(minute)
        await asyncio.sleep(0.1)
        assert len(speech.pieces) == 5
        assert [news.message for news in it.news if isinstance(news, Failed)] == [
            "more than 300 s of sound wait to be played"
        ] * 2


@virtual_time
async def test_sound_that_every_listener_has_heard_is_let_go() -> None:
    async with stage() as it:
        playback = await it.play("one two three", "four five six", "seven", shared=True)
        first = playback.speech
        assert first is not None
        other = SpeechTrack(first.speech, shared=True)
        pieces = first.speech.pieces
        made = [piece.made for piece in pieces]
        while not first.drained:
            await it.pull(1)
        assert [len(piece.frames) for piece in pieces] == made, "the other has heard nothing"
        while other.piece < 2:
            other.next_frame(it.clock.monotonic())
        assert [len(piece.frames) for piece in pieces] == [0, 0, made[2]]
        assert first.heard() == "one two three four five six seven"
        assert [piece.total_ms for piece in pieces] == [20 * count for count in made]


@virtual_time
async def test_ready_sound_is_a_piece_of_its_own() -> None:
    async with stage() as it:
        speech = it.speech()
        speech.say_sound(tone(50), "ding")
        speech.say("dong")
        speech.end()
        it.player.start(Playback(SpeechTrack(speech), None))
        await asyncio.sleep(0.01)
        assert len(await it.pull(30)) == 3 + 12
        assert [piece.text for piece in speech.pieces] == ["ding", "dong"]


@virtual_time
async def test_stop_keeps_what_was_made_playable() -> None:
    async with stage(Dripping(320, 320, 160, 320, wait=0.1)) as it:
        speech = it.speech()
        speech.say("x")
        await asyncio.sleep(0.35)
        speech.stop()
        track = SpeechTrack(speech)
        frames = [track.next_frame(n * 0.02) for n in range(10)]
        assert sum(frame is not None for frame in frames) == 3
        assert track.finished
        assert track.drained


@virtual_time
async def test_a_track_in_a_hurry_begins_with_the_first_frame() -> None:
    async with stage(Dripping(320, 320, wait=1.0)) as it:
        speech = it.speech()
        speech.say("x")
        await asyncio.sleep(1.1)
        assert SpeechTrack(speech).next_frame(0.0) is None
        assert SpeechTrack(speech, hurry=True).next_frame(0.0) is not None


def test_without_word_times_what_was_heard_is_estimated() -> None:
    piece = SpokenPiece("one two three four")
    assert piece.heard(0) == ""
    piece.add(SpeechChunk(tone(1000)))
    assert piece.heard(0) == ""
    assert piece.heard(500) == "one two"
    assert piece.position(500) is None
    piece.finish()
    assert piece.heard(1000) == "one two three four"


def test_word_times_are_taken_where_they_are() -> None:
    piece = SpokenPiece("one two")
    piece.add(SpeechChunk(tone(30), (WordTime("one", 0, 20, 0, 3),)))
    piece.add(SpeechChunk(tone(30), (WordTime("two", 25, 60, 4, 3),)))
    assert (piece.heard(20), piece.heard(59)) == ("one", "one")
    assert (piece.position(20), piece.position(30)) == (0, 4)
