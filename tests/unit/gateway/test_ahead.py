"""Several syntheses at once: `maxConcurrentTasks` (G65, G142)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import numpy as np
import pytest

from salon.base import TaskScope
from salon.gateway import Gateway
from salon.gateway.ahead import AHEAD_SAMPLES, MOST_TASKS, SpeechAhead
from salon.testing import CallPair, scripted_engine, scripted_gateway, tone
from salon.voice.engine import VoiceEngine
from salon.voice.errors import SpeechError
from salon.voice.tts.base import DEFAULT_VOICE, SpeechChunk, TextToSpeech, VoiceSettings

PIECE_MS = 200


class SlowVoice(TextToSpeech):
    """Needs a second for each piece, which then sounds at an amplitude of its own; counts what runs
    at once. The text ``broken`` fails."""

    name = "slow"

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.began: list[str] = []
        self.cut: list[str] = []

    async def speak(
        self, text: str, settings: VoiceSettings = DEFAULT_VOICE
    ) -> AsyncGenerator[SpeechChunk, None]:
        del settings
        self.began.append(text)
        self.running += 1
        self.most = max(self.most, self.running)
        whole = False
        try:
            await asyncio.sleep(1)
            if text == "broken":
                raise SpeechError("slow", "no such word")
            yield SpeechChunk(np.full(PIECE_MS * 16, len(text) * 1000, dtype=np.int16))
            whole = True
        finally:
            self.running -= 1
            if not whole:
                self.cut.append(text)


@pytest.fixture
def slow() -> SlowVoice:
    return SlowVoice()


@pytest.fixture
async def engine(slow: SlowVoice) -> AsyncIterator[VoiceEngine]:
    async with scripted_engine([]) as made:
        made.synthesizers = {"": slow, "slow": slow}
        yield made


@pytest.fixture
async def gateway(engine: VoiceEngine) -> AsyncIterator[Gateway]:
    async with scripted_gateway(engine) as made:
        yield made


async def invited(gateway: Gateway, **tts: Any) -> CallPair:
    call = CallPair.connect(gateway.acceptor, "/ws?id=call-1")
    await call.invite(tts=tts)
    return call


def speak(call: CallPair, *texts: str, **fields: Any) -> None:
    for text in texts:
        call.send({"command": "tts", "text": text, "playId": "p", **fields})


def amplitudes(call: CallPair) -> list[int]:
    """Of what was heard, without repetition."""
    heard = call.sound[call.sound != 0]
    return [int(value) for value in heard[np.insert(np.diff(heard) != 0, 0, True)]]


@pytest.mark.parametrize(("given", "most"), [({}, 1), ({"maxConcurrentTasks": 0}, 1), (3, 3)])
async def test_G142_so_many_syntheses_run_at_once(
    gateway: Gateway, slow: SlowVoice, given: Any, most: int
) -> None:
    call = await invited(gateway, **({"maxConcurrentTasks": 3} if given == 3 else given))
    speak(call, "a", "bb", "ccc", "dddd")
    end = await call.expect("trackEnd")
    assert slow.most == most
    assert amplitudes(call) == [1000, 2000, 3000, 4000]
    assert sorted(slow.began) == ["a", "bb", "ccc", "dddd"]  # each once
    # one second per piece, one after the other or three at a time
    assert end["duration"] < 3500 if most == 3 else end["duration"] > 3900


async def test_G142_what_is_ready_first_waits_for_its_turn(gateway: Gateway) -> None:
    call = await invited(gateway, maxConcurrentTasks=4)
    speak(call, "dddd", "a", "ccc", "bb")
    await call.expect("trackEnd")
    assert amplitudes(call) == [4000, 1000, 3000, 2000]
    done = [event["data"]["cmdSeq"] for event in call.of("metrics", key="completed.tts.slow")]
    assert done == [0, 1, 2, 3]


async def test_G65_the_command_says_it_for_its_own_track(gateway: Gateway, slow: SlowVoice) -> None:
    call = await invited(gateway)
    speak(call, "a", "bb", option={"maxConcurrentTasks": 2})
    await call.expect("trackEnd")
    assert slow.most == 2


async def test_G142_sentences_of_a_stream_are_made_at_once_too(
    gateway: Gateway, slow: SlowVoice
) -> None:
    call = await invited(gateway, maxConcurrentTasks=2)
    speak(call, "First of all this. ", "Then the other one. ", streaming=True)
    speak(call, "", streaming=True, endOfStream=True)
    await call.expect("trackEnd")
    assert slow.most == 2
    assert len(slow.began) == 2


async def test_G82_a_piece_that_fails_is_told_in_its_turn(gateway: Gateway) -> None:
    call = await invited(gateway, maxConcurrentTasks=3)
    speak(call, "a", "broken", "ccc")
    await call.expect("trackEnd")
    (error,) = call.of("error")
    assert (error["sender"], error["code"]) == ("tts", 500)
    assert amplitudes(call) == [1000, 3000]


@pytest.mark.parametrize("how", ["interrupt", "another", "play", "hangup"])
async def test_what_nobody_will_hear_is_given_up(
    gateway: Gateway, slow: SlowVoice, how: str
) -> None:
    call = await invited(gateway, maxConcurrentTasks=3)
    speak(call, "a", "bb", "ccc", "dddd")
    await asyncio.sleep(0.5)
    assert slow.running == 3
    if how == "another":
        call.send({"command": "tts", "text": "eeeee", "playId": "other"})
    elif how == "play":
        call.send({"command": "play", "url": "nothing.wav"})
    else:
        call.send({"command": how})
    await call.expect("trackEnd")
    await asyncio.sleep(0.1)
    assert slow.running == (how == "another")
    assert sorted(slow.cut) == ["a", "bb", "ccc"]
    assert "dddd" not in slow.began


async def test_G76_a_graceful_end_makes_nothing_more(gateway: Gateway, slow: SlowVoice) -> None:
    call = await invited(gateway, maxConcurrentTasks=2)
    speak(call, "a", "bb", "ccc", "dddd", "eeeee")
    await asyncio.sleep(1.1)
    assert slow.began == ["a", "bb", "ccc", "dddd"]
    call.send({"command": "interrupt", "graceful": True})
    await asyncio.sleep(0)
    await call.expect("trackEnd")
    await asyncio.sleep(2)
    assert amplitudes(call) == [1000]
    assert "dddd" in slow.cut
    assert "eeeee" not in slow.began
    assert slow.running == 0


class EndlessVoice(TextToSpeech):
    """Speaks for ever, without waiting."""

    name = "endless"

    def __init__(self) -> None:
        self.samples = 0

    async def speak(
        self, text: str, settings: VoiceSettings = DEFAULT_VOICE
    ) -> AsyncGenerator[SpeechChunk, None]:
        del text, settings
        while True:
            self.samples += 16_000
            yield SpeechChunk(tone(1000))
            await asyncio.sleep(0)


async def test_a_piece_that_waits_is_made_so_far_and_no_further() -> None:
    scope, voice = TaskScope("test"), EndlessVoice()
    ahead = SpeechAhead(scope, 2)
    ahead.piece(voice, "now", DEFAULT_VOICE)
    await asyncio.sleep(1)
    assert voice.samples == AHEAD_SAMPLES
    ahead.drop()
    ahead.drop()
    await asyncio.sleep(0)
    assert await scope.drain(1)
    await scope.close()


async def test_no_call_gets_more_than_so_many() -> None:
    scope, voice = TaskScope("test"), SlowVoice()
    ahead = SpeechAhead(scope, 1000)
    for number in range(20):
        ahead.piece(voice, str(number), DEFAULT_VOICE)
    await asyncio.sleep(0.5)
    assert voice.running == MOST_TASKS
    await scope.close()


async def test_another_text_is_left_to_the_engine() -> None:
    scope, voice = TaskScope("test"), SlowVoice()
    piece = SpeechAhead(scope, 2).piece(voice, "one", DEFAULT_VOICE)
    for text, amplitude in (("three", 5000), ("one", 3000), ("one", 3000)):
        sound = [chunk async for chunk in piece.speak(text)]
        assert [chunk.samples[0] for chunk in sound] == [amplitude]
    await scope.close()
