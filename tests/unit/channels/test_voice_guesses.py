"""Guesses on their way to the agents of a room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from salon.base import ConfigurationError, TaskScope
from salon.channels.voice import VoiceChannel
from salon.channels.voice_guesses import MAX_RENEWED, SETTLED_S, Guesses
from salon.channels.voice_people import Caller
from salon.core.kit import RoomKit
from salon.testing import MockSpeechToText, virtual_time
from salon.voice.backends.session import VoiceSession
from salon.voice.pipeline import AudioPipelineConfig
from salon.voice.pipeline.vad.silero import SileroVADProvider
from salon.voice.session import MediaSession

from .rooms import ROOM, Bot, Phone, furnish


class Eager(Bot):
    """Notes what it is to prepare."""

    def __init__(self, channel_id: str) -> None:
        super().__init__(channel_id=channel_id)
        self.log: list[Any] = []

    def prepare(self, room_id: str, **given: Any) -> None:
        self.log.append(given["text"])

    def withdraw(self, room_id: str, participant_id: str) -> None:
        self.log.append((room_id, participant_id))


def caller() -> Caller:
    session = SimpleNamespace(id="session")
    return Caller(cast(MediaSession, session), ROOM, "ann")


@pytest.fixture
async def guesses(kit: RoomKit) -> AsyncIterator[Guesses]:
    scope = TaskScope("test")
    made = Guesses("voice", scope)
    made.bind(kit)
    yield made
    await scope.close()


ANN = ("room", "ann")


async def test_every_agent_of_the_room_that_can_is_told(kit: RoomKit, guesses: Guesses) -> None:
    one, two, elsewhere = Eager("one"), Eager("two"), Eager("elsewhere")
    await furnish(kit, Phone(), one, two, Bot())
    await furnish(kit, elsewhere, room_id="other")
    ann = caller()
    guesses.guess(ann, "hello")
    assert one.log == [], "no line waits for it"
    await asyncio.sleep(0.01)
    guesses.withdraw(ann)
    guesses.withdraw(ann)
    assert one.log == two.log == ["hello", ANN]
    assert elsewhere.log == []


async def test_the_same_words_stand_and_others_do_not(kit: RoomKit, guesses: Guesses) -> None:
    agent, ann = Eager("agent"), caller()
    await furnish(kit, agent)
    for final in ("hello", "hello there"):
        guesses.guess(ann, "hello")
        await asyncio.sleep(0.01)
        guesses.confirm(ann, final)
        guesses.withdraw(ann)
    assert agent.log == ["hello", "hello", ANN]


@virtual_time
async def test_words_that_come_late_are_guessed_once_they_have_settled(kit: RoomKit) -> None:
    scope, ann, agent = TaskScope("test"), caller(), Eager("agent")
    guesses = Guesses("voice", scope)
    guesses.bind(kit)
    await furnish(kit, agent)
    guesses.heard(ann, "he")
    guesses.guess(ann, "hello")
    for text in ("hello", "hello th", "hello there", "hello there"):
        guesses.heard(ann, text)
        await asyncio.sleep(0.75 * SETTLED_S)
    assert agent.log == ["hello", ANN, "hello there"]
    guesses.confirm(ann, "hello there")
    await asyncio.sleep(1)
    assert agent.log == ["hello", ANN, "hello there"]
    await scope.close()


@virtual_time
async def test_words_that_are_taken_back_are_not_guessed(kit: RoomKit) -> None:
    scope, ann, agent = TaskScope("test"), caller(), Eager("agent")
    guesses = Guesses("voice", scope)
    guesses.bind(kit)
    await furnish(kit, agent)

    async def late(*texts: str) -> None:
        for text in texts:
            guesses.heard(ann, text)
        await asyncio.sleep(0.01)

    guesses.guess(ann, "hello")
    await late("hello th", "hello")  # as before
    await asyncio.sleep(1)
    await late("hello th", " ")
    await asyncio.sleep(1)
    assert agent.log == ["hello"]
    await late("hello th")
    guesses.withdraw(ann)
    await asyncio.sleep(1)
    assert agent.log == ["hello", ANN]
    guesses.guess(ann, "hello")
    await late("hello th")
    guesses.confirm(ann, "hello")
    await asyncio.sleep(1)
    assert agent.log == ["hello", ANN, "hello"]
    await scope.close()


@virtual_time
async def test_one_pause_costs_so_many_guesses_at_most(kit: RoomKit) -> None:
    scope, ann, agent = TaskScope("test"), caller(), Eager("agent")
    guesses = Guesses("voice", scope)
    guesses.bind(kit)
    await furnish(kit, agent)
    for _ in range(2):  # two pauses
        guesses.guess(ann, "hello")
        for number in range(2 * MAX_RENEWED):
            guesses.heard(ann, f"hello {number}")
            await asyncio.sleep(2 * SETTLED_S)
        guesses.withdraw(ann)
    assert len([told for told in agent.log if told != ANN]) == 2 * (1 + MAX_RENEWED)
    await scope.close()


async def test_what_is_taken_back_at_once_reaches_nobody(kit: RoomKit, guesses: Guesses) -> None:
    agent, ann = Eager("agent"), caller()
    await furnish(kit, agent)
    guesses.guess(ann, "hello")
    guesses.withdraw(ann)
    await asyncio.sleep(0.01)
    assert agent.log == []


async def test_there_may_be_nobody_to_tell(kit: RoomKit, guesses: Guesses) -> None:
    agent, ann = Eager("agent"), caller()
    guesses.guess(ann, "hello")
    kit.register_channel(agent)
    guesses.guess(ann, "no such room")
    await asyncio.sleep(0.01)
    guesses.withdraw(ann)
    guesses.guess(ann, " ")
    unbound = Guesses("voice", TaskScope("test"))
    unbound.guess(ann, "hello")
    await asyncio.sleep(0.01)
    assert agent.log == []


async def test_a_channel_says_after_what_pause() -> None:
    session = VoiceSession("s", ROOM, "ann", "voice")

    def channel(after_ms: int | None) -> VoiceChannel:
        return VoiceChannel(
            stt=MockSpeechToText(),
            pipeline=AudioPipelineConfig(vad=SileroVADProvider()),
            speculate_after_ms=after_ms,
        )

    for after_ms in (None, 100):
        voice = channel(after_ms)
        turns = voice._ears.listening(session).turns
        assert turns is not None
        assert turns.speculate_after_ms == after_ms
        await voice.close()
    with pytest.raises(ConfigurationError, match="speculate_after_ms"):
        channel(1)
