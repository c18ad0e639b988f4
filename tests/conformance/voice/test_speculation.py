"""Answers that are begun while the caller pauses, from the caller's end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from salon.core.ports.ai import AIContext, AIProvider, AIStreamPart, AIToolCall, TextDelta
from salon.media import Samples
from salon.models import HookResult, HookTrigger
from salon.testing import (
    CallPair,
    MockSpeechToText,
    ScriptedRooms,
    scripted_engine,
    scripted_rooms,
    silence,
    tone,
    virtual_time,
)
from salon.voice.errors import SpeechError
from salon.voice.stt.mock import Scripted
from salon.voice.turns import TurnConfig

SERVER = "server-side-track"
THINKS_S = 0.5
LONG = " ".join(f"w{number}" for number in range(200))
"""So long that not all of it is heard before a pause."""


class Thinking(AIProvider):
    """Answers ``re: <question>`` after half a second. `ended` holds what became of each."""

    name = "thinking"

    def __init__(self) -> None:
        self.asked: list[AIContext] = []
        self.ended: list[str] = []

    async def generate_stream(self, context: AIContext) -> AsyncIterator[AIStreamPart]:
        self.asked.append(context)
        try:
            await asyncio.sleep(THINKS_S)
            yield TextDelta(f"re: {context.messages[-1].text}")
        except BaseException:
            self.ended.append("closed")
            raise
        self.ended.append("said")


@dataclass(slots=True)
class House:
    rooms: ScriptedRooms
    agent: Thinking
    ears: MockSpeechToText

    @property
    def counts(self) -> tuple[int, int, int, int]:
        found = self.rooms.agent.preparations
        return found.prepared, found.adopted, found.withdrawn, found.mismatched

    async def enter(self, participant: str = "ann") -> CallPair:
        call = self.rooms.call(participant=participant)
        await call.invite()
        return call


@asynccontextmanager
async def house(
    heard: Sequence[Scripted], after_ms: int | None = 100, **turns: Any
) -> AsyncIterator[House]:
    agent = Thinking()
    config = TurnConfig(speculate_after_ms=after_ms, adaptive=False, **turns)
    ears = MockSpeechToText(heard)
    async with (
        scripted_engine(recognizer=ears) as engine,
        scripted_rooms(engine, agent, turns=config) as rooms,
    ):
        yield House(rooms, agent, ears)


def said(ms: int = 640, *, after: int = 800) -> Samples:
    return np.concatenate((silence(320), tone(ms), silence(after)))


async def until_answered(house: House) -> float:
    """Say something; seconds from its end until the answer sets in."""
    call = await house.enter()
    began = asyncio.get_running_loop().time()
    sending = asyncio.create_task(call.send_audio(said(after=3000)))
    await call.expect("trackStart", trackId=SERVER)
    while not call.audio:
        await asyncio.sleep(0.01)
    took = asyncio.get_running_loop().time() - began - 0.96
    await sending
    return took


@virtual_time
async def test_the_answer_sets_in_earlier_by_what_the_silence_took() -> None:
    async with house(["hello"], None) as plain:
        late = await until_answered(plain)
        assert await plain.rooms.said() == ["hello", "re: hello"]
        assert plain.counts == (0, 0, 0, 0)
    async with house(["hello"]) as eager:
        early = await until_answered(eager)
        assert await eager.rooms.said() == ["hello", "re: hello"]
        assert eager.counts == (1, 1, 0, 0)
        assert len(eager.agent.asked) == 1
    assert late - early == pytest.approx(0.2, abs=0.04), "end of turn 300 ms, pause 100 ms"


@virtual_time
async def test_who_goes_on_hears_nothing_of_it() -> None:
    async with house([LONG]) as held:
        fired: list[HookTrigger] = []

        async def note(_event: Any, _context: Any) -> None:
            fired.append(HookTrigger.ON_AI_RESPONSE)

        held.rooms.kit.hook(HookTrigger.ON_AI_RESPONSE)(note)
        call = await held.enter()
        await call.send_audio(np.concatenate((silence(320), tone(400), silence(200))))
        assert held.counts == (1, 0, 0, 0)
        await call.send_audio(tone(400))
        assert held.counts == (1, 0, 1, 0)
        assert held.agent.ended == ["closed"]
        assert (await held.rooms.said(), call.audio, fired) == ([], [], [])
        await call.send_audio(silence(300))
        await call.send_audio(silence(500))
        await call.expect("trackStart", trackId=SERVER)
        assert held.counts == (2, 0, 2, 0), "in the end it was more than was guessed"
        assert (await held.rooms.said())[0] == LONG


@virtual_time
async def test_a_turn_without_words_takes_it_back() -> None:
    async with house([LONG], min_turn_ms=90) as held:
        ears = held.ears
        call = await held.enter()
        await call.send_audio(np.concatenate((silence(320), tone(400), silence(200))))
        assert held.counts == (1, 0, 0, 0)
        ears._script.clear()
        await call.send_audio(silence(500))
        assert held.counts == (2, 0, 2, 0), "the words that came late too"
        assert await held.rooms.said() == []


@virtual_time
async def test_recognition_that_fails_takes_it_back() -> None:
    async with house([LONG]) as held:
        ears = held.ears
        call = await held.enter()
        await call.send_audio(np.concatenate((silence(320), tone(400), silence(200))))
        assert held.counts == (1, 0, 0, 0)
        ears._script[0] = SpeechError("mock", "defect")
        await call.send_audio(silence(500))
        await call.expect("error")
        assert held.counts == (2, 0, 2, 0), "the words that came late too"


@virtual_time
async def test_who_leaves_takes_it_along() -> None:
    async with house([LONG]) as held:
        call = await held.enter()
        await call.send_audio(np.concatenate((silence(320), tone(400), silence(200))))
        assert held.counts == (1, 0, 0, 0)
        call.vanish()
        await asyncio.sleep(0.1)
        assert held.counts == (1, 0, 1, 0)
        assert held.agent.ended == ["closed"]


@virtual_time
async def test_words_that_a_hook_may_change_do_not_leave_early() -> None:
    async with house(["my number is secret"]) as held:

        async def redact(event: Any, _context: Any) -> HookResult:
            return HookResult.modify(replace(event, text=event.text.replace("secret", "[...]")))

        held.rooms.kit.hook(HookTrigger.ON_TRANSCRIPTION)(redact)
        await until_answered(held)
        assert held.counts == (0, 0, 0, 0)
        (asked,) = held.agent.asked
        assert asked.messages[-1].text == "my number is [...]"


@virtual_time
async def test_two_callers_who_pause_at_once() -> None:
    async with house(["hello", "hello"]) as held:
        calls = [await held.enter("ann"), await held.enter("bob")]
        await asyncio.gather(*(call.send_audio(said()) for call in calls))
        await asyncio.sleep(3)
        assert held.counts[0] == 2
        assert sum(held.counts[1:]) == 2
        assert held.counts[1] == 1, "whoever is second says it after the other"
        assert await held.rooms.said() == ["hello", "hello", "re: hello", "re: hello"]


@virtual_time
async def test_where_nobody_prepares_the_call_goes_on() -> None:
    async with house(["hello"]) as held:
        call = await held.enter()
        held.rooms.kit.unregister_channel(held.rooms.agent.channel_id)
        await call.send_audio(said())
        assert held.agent.asked == []
        assert await held.rooms.said() == ["hello"]


class Booking(AIProvider):
    name = "booking"

    async def generate_stream(self, context: AIContext) -> AsyncIterator[AIStreamPart]:
        if context.messages[-1].role == "tool":
            yield TextDelta("Booked.")
        else:
            yield AIToolCall("1", "book", {})


@virtual_time
async def test_tools_run_when_the_turn_is_over() -> None:
    ran: list[float] = []

    async def book(name: str, arguments: dict[str, Any]) -> str:
        ran.append(asyncio.get_running_loop().time())
        return "ok"

    async with house(["book it"]) as held:
        agent = held.rooms.agent
        agent._provider = Booking()
        agent._tools.handler = book
        call = await held.enter()
        await held.rooms.kit.update_binding_metadata(
            "room", agent.channel_id, {"tools": [{"name": "book"}]}
        )
        await call.send_audio(np.concatenate((silence(320), tone(640), silence(240))))
        assert held.counts == (1, 0, 0, 0)
        assert ran == []
        await call.send_audio(silence(300))
        await asyncio.sleep(2)
        assert len(ran) == 1
        assert await held.rooms.said() == ["book it", "Booked."]
        assert held.counts == (1, 1, 0, 0)


@virtual_time
async def test_words_that_come_late_are_guessed_again() -> None:
    """Interim words are behind the sound: the last ones come while the caller is silent."""
    async with house([" ".join(LONG.split()[:41])]) as held:
        await until_answered(held)
        assert held.counts == (2, 1, 1, 0)
