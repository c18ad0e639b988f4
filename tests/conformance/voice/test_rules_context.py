"""What a session's voice is told of the conversation (V237, V238)."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import numpy as np
import pytest
from tests.conformance.voice.stage import ROOM, Stage, stage
from tests.conformance.voice.test_channel_rooms import typed

from salon.media.frame import AudioChunk, AudioFrame
from salon.models import AudioContent, HookResult, HookTrigger
from salon.testing import virtual_time
from salon.voice.pipeline.dtmf.base import DTMFEvent, DTMFRedaction
from salon.voice.pipeline.dtmf.mock import MockDTMFDetector
from salon.voice.tts.context import TTSContext, TTSContextConfig, TTSContextLevel
from salon.voice.tts.provider import TTSProvider

T = HookTrigger
L = TTSContextLevel


class Knowing(TTSProvider):
    """Wants to know the conversation; 20 ms of sound for each letter."""

    def __init__(self, level: TTSContextLevel = L.TEXT) -> None:
        self._level = level
        self.given: list[tuple[str, TTSContext | None]] = []
        self.released: list[str] = []

    @property
    def context_level(self) -> TTSContextLevel:
        return self._level

    async def synthesize(self, text: str, *, voice: str | None = None) -> AudioContent:
        raise NotImplementedError

    async def synthesize_stream(
        self, text: str, *, voice: str | None = None, context: TTSContext | None = None
    ) -> AsyncIterator[AudioChunk]:
        self.given.append((text, context))
        for letter in text:
            yield AudioChunk(bytes([ord(letter) % 64, 1]) * 320)

    def release_context(self, context_id: str) -> None:
        self.released.append(context_id)

    def told(self) -> list[tuple[str, str]]:
        """Role and words of what came before the newest piece."""
        context = self.given[-1][1]
        assert context is not None
        return [(turn.role, turn.text) for turn in context.turns]


def knowing(level: TTSContextLevel = L.TEXT, **options: Any) -> AbstractAsyncContextManager[Stage]:
    return stage(tts=Knowing(level), **options)


@virtual_time
async def test_V238_the_voice_knows_what_its_session_said_and_heard() -> None:
    async with knowing(
        transcripts=["hello", "and now"], answers=["good day", "good night"]
    ) as room:
        await room.ask()
        await room.quiet(1000)
        assert room.tts.given[0][1].context_id == room.session.id
        assert room.tts.told() == [("user", "hello")]
        await room.ask()
        await room.quiet(1000)
        assert room.tts.told() == [
            ("user", "hello"),
            ("assistant", "good day"),
            ("user", "and now"),
        ]
        user, answer, _ = room.tts.given[-1][1].turns
        assert (user.participant_id, user.played_ms) == ("ann", None)
        assert (answer.participant_id, answer.interrupted) == ("agent", False)
        assert answer.played_ms == 20 * len("good day")
        assert answer.turn_id == room.tts.given[0][1].next_turn_id


@virtual_time
async def test_V238_nothing_comes_from_the_room() -> None:
    async with knowing(transcripts=["hello"]) as room:
        await typed(room, "typed by somebody")
        await room.quiet(1000)
        await room.channel.say(room.session, "a word for you")
        assert room.tts.told() == [("assistant", "typed by somebody")]
        bob = await room.join("bob")
        await room.channel.say(bob, "and for you")
        assert room.tts.told() == []


@virtual_time
async def test_V238_what_several_hear_is_made_without_any_context_and_remembered_by_each() -> None:
    async with knowing(transcripts=["a secret"]) as room:
        bob = await room.join("bob")
        await room.speak()
        await room.quiet(300)
        room.tts.given.clear()
        await typed(room, "for both")
        await room.quiet(1000)
        assert room.tts.given == [("for both", None)]
        await room.channel.say(bob, "you")
        assert "a secret" not in [text for role, text in room.tts.told() if role == "user"]
        assert room.tts.told()[-1] == ("assistant", "for both")


@pytest.mark.parametrize(
    ("level", "config"),
    [(L.NONE, None), (L.TEXT, TTSContextConfig(enabled=False))],
)
@virtual_time
async def test_V238_at_level_none_or_when_off_nothing_is_kept_or_passed(
    level: TTSContextLevel, config: TTSContextConfig | None
) -> None:
    async with knowing(level, tts_context=config, transcripts=["hello"], answers=["hi"]) as room:
        await room.ask()
        await room.quiet(500)
        assert room.tts.given == [("hi", None)]
        assert room.channel._context.sessions() == []


@virtual_time
async def test_V238_what_was_cut_is_known_as_far_as_it_was_heard() -> None:
    text = "one two three four five six seven eight nine ten"
    async with knowing(transcripts=["hello", "stop that now"], answers=[text, "yes"]) as room:
        await room.ask()
        await room.quiet(200)
        await room.ask(600)
        await room.quiet(500)
        context = room.tts.given[-1][1]
        assert [turn.role for turn in context.turns] == ["user", "assistant", "user"]
        cut = context.turns[1]
        assert cut.interrupted
        assert text.startswith(cut.text)
        assert 0 < cut.played_ms < 20 * len(text)


@virtual_time
async def test_V238_an_answer_cut_before_any_sound_leaves_none() -> None:
    async with knowing() as room:
        saying = asyncio.create_task(room.channel.say(room.session, "never heard"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        room.channel.stop_speaking(ROOM)
        await saying
        await room.channel.say(room.session, "heard")
        assert room.tts.told() == []


@virtual_time
async def test_V238_it_is_released_when_the_session_leaves() -> None:
    async with knowing(L.AUDIO, tts_context=TTSContextConfig(include_audio=True)) as room:
        bob = await room.join("bob")
        assert sorted(room.channel._context.sessions()) == sorted([room.session.id, bob.id])
        room.channel.unbind_session(room.session)
        await room.channel.disconnect_session(bob, ROOM)
        assert room.channel._context.sessions() == []
        assert sorted(room.tts.released) == sorted([room.session.id, bob.id])


async def sounds(room: Stage) -> list[bytes | None]:
    """The sound of the turns that the next piece is told of."""
    await room.channel.say(room.session, "next")
    context = room.tts.given[-1][1]
    return [None if turn.audio is None else turn.audio.data for turn in context.turns]


LOUD = AudioFrame.of(np.full(320, 900, dtype=np.int16))


@virtual_time
async def test_V238_sound_is_kept_only_at_its_level_and_if_wanted() -> None:
    for level, include in ((L.AUDIO, True), (L.AUDIO, False), (L.TEXT, True)):
        config = TTSContextConfig(include_audio=include)
        async with knowing(level, tts_context=config, transcripts=["hello"]) as room:
            await room.begin()
            for _ in range(20):
                await room.backend.simulate_audio_received(room.session, LOUD)
                await asyncio.sleep(0.02)
            await room.fall_silent(ms=400)
            await room.quiet(300)
            await room.channel.say(room.session, "said")
            user, answer = await sounds(room)
            assert (user is not None, answer is not None) == (include and level is L.AUDIO,) * 2
            if user is not None:
                assert LOUD.data in user
            if answer is not None:
                assert len(answer) == 4 * 640


@virtual_time
async def test_V238_words_that_a_hook_changed_or_refused_keep_no_sound() -> None:
    config = TTSContextConfig(include_audio=True)
    async with knowing(
        L.AUDIO, tts_context=config, transcripts=["my name is Ann", "refused", "hello"]
    ) as room:

        @room.kit.hook(T.ON_TRANSCRIPTION, name="names")
        async def names(event: Any, _: Any) -> HookResult:
            if event.text == "refused":
                return HookResult.block("no")
            text = event.text.replace("Ann", "***")
            return HookResult.modify(dataclasses.replace(event, text=text))

        for _ in range(3):
            await room.speak()
            await room.quiet(300)
        first, second = await sounds(room)
        assert room.tts.told() == [("user", "my name is ***"), ("user", "hello")]
        assert first is None
        assert second is not None


@pytest.mark.parametrize("redacts", [True, False])
@virtual_time
async def test_V238_words_with_keys_in_them_keep_no_sound_under_redaction(redacts: bool) -> None:
    detector = MockDTMFDetector(events=[None] * 5 + [DTMFEvent(digit="5", duration_ms=80)])
    parts = {"dtmf": detector, "dtmf_redaction": DTMFRedaction() if redacts else None}
    config = TTSContextConfig(include_audio=True)
    async with knowing(
        L.AUDIO, tts_context=config, transcripts=["five", "hello"], pipeline=parts
    ) as room:
        for _ in range(2):
            await room.speak()
            await room.quiet(300)
        first, second = await sounds(room)
        assert (first is None) is redacts
        assert second is not None
