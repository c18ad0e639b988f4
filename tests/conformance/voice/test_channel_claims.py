"""Speech over the agent that the transport notices, where everything heard is recognised."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.conformance.voice.listening import ScriptedStreams, final, interim, listening
from tests.conformance.voice.stage import Stage
from tests.conformance.voice.test_channel_rooms import now

from salon.models import HookTrigger
from salon.testing import MockTextToSpeech, virtual_time
from salon.voice.interruption import InterruptionConfig
from salon.voice.interruption import InterruptionStrategy as S

T = HookTrigger
ANSWER = " ".join(["one two three four five six seven eight nine ten eleven twelve"] * 2)
EVENTS = (T.ON_BARGE_IN, T.ON_BACKCHANNEL, T.ON_TTS_CANCELLED, T.ON_SPEECH_START, T.ON_SPEECH_END)


@asynccontextmanager
async def over_the_agent(strategy: S, *steps: Any, **rules: Any) -> AsyncIterator[Stage]:
    """Ann has said hello, the agent answers, and 2 s later the transport claims that she speaks.
    `steps`: what the recogniser says, in ms after that."""
    script = [(20, final("hello")), *((2000 + ms, result) for ms, result in steps)]
    async with listening(
        ScriptedStreams(script),
        answers=[ANSWER, "fine"],
        interruption=InterruptionConfig(strategy=strategy, **rules),
        tts=MockTextToSpeech(char_ms=60),
    ) as room:
        await room.feed(100)
        room.watch(*EVENTS)
        await room.backend.simulate_barge_in(room.session)
        yield room


@virtual_time
async def test_V115_immediate_cuts_at_once() -> None:
    async with over_the_agent(S.IMMEDIATE) as room:
        await room.quiet(40)
        (event,) = room.given(T.ON_BARGE_IN)
        assert event.session is room.session
        assert T.ON_TTS_CANCELLED in room.order()


@pytest.mark.parametrize(("strategy", "after_ms"), [(S.CONFIRMED, 300), (S.SEMANTIC, 1000)])
@virtual_time
async def test_V115_V116_V244_it_lasts_until_the_strategy_has_looked(
    strategy: S, after_ms: int
) -> None:
    async with over_the_agent(strategy) as room:
        await room.quiet(after_ms - 40)
        assert T.ON_BARGE_IN not in room.order()
        await room.quiet(80)
        assert T.ON_BARGE_IN in room.order()


@virtual_time
async def test_V115_words_decide_where_words_are_awaited() -> None:
    async with over_the_agent(S.SEMANTIC, (200, interim("wait a moment"))) as room:
        await room.quiet(160)
        assert T.ON_BARGE_IN not in room.order()
        await room.quiet(100)
        assert T.ON_BARGE_IN in room.order()
        assert len(room.given(T.ON_SPEECH_START)) == 1, "it is the same speech"
    async with over_the_agent(S.SEMANTIC, (200, interim("yeah")), (400, final("yeah"))) as room:
        await room.quiet(3000)
        assert T.ON_BARGE_IN not in room.order()
        assert len(room.given(T.ON_BACKCHANNEL)) == 1


@virtual_time
async def test_V115_disabled_holds_against_the_transport_and_words_are_queued() -> None:
    async with over_the_agent(S.DISABLED, (500, final("stop it now"))) as room:
        await room.quiet(2000)
        assert T.ON_BARGE_IN not in room.order()
        await asyncio.sleep(10)
        assert await room.said() == ["hello", ANSWER, "stop it now", "fine"]


@virtual_time
async def test_V124_not_in_the_first_moments() -> None:
    async with over_the_agent(S.IMMEDIATE, allow_during_first_ms=2300) as room:
        await room.quiet(200)
        assert T.ON_BARGE_IN not in room.order()
        await room.quiet(400)
        assert T.ON_BARGE_IN in room.order()


@virtual_time
async def test_a_claim_without_words_is_over_soon() -> None:
    async with over_the_agent(S.DISABLED) as room:
        began = now()
        while T.ON_SPEECH_END not in room.order():
            await room.quiet(20)
        assert 0.95 < now() - began < 1.1
        await room.backend.simulate_barge_in(room.session)
        await room.backend.simulate_barge_in(room.session)
        await room.quiet(100)
        assert len(room.given(T.ON_SPEECH_START)) == 2


@virtual_time
async def test_a_claim_while_no_agent_is_audible_is_nothing() -> None:
    async with over_the_agent(S.IMMEDIATE) as room:
        await room.quiet(100)
        room.fired.clear()
        await room.backend.simulate_barge_in(room.session)
        await room.quiet(100)
        assert room.fired == []


@pytest.mark.parametrize("barred", [False, True])
@virtual_time
async def test_V205_who_may_not_speak_cuts_nobody(barred: bool) -> None:
    async with over_the_agent(S.DISABLED) as room:
        await room.quiet(1200)
        room.fired.clear()
        line = room.channel._lines.get(room.session.id)
        assert line is not None
        line.caller.session.barred = barred
        line.caller.session.muted = not barred
        await room.backend.simulate_barge_in(room.session)
        await room.quiet(100)
        assert room.fired == []
