"""One recogniser after another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from salon.base import ConfigurationError, SalonError
from salon.media.frame import Samples
from salon.models.speech import SpeechHints
from salon.testing import VirtualClock
from salon.testing.contracts.voice_stt import FaultySTTProvider, hear
from salon.voice.errors import SpeechError
from salon.voice.stt import (
    FallbackSpeechToText,
    MockSpeechToText,
    MockSTTProvider,
)

SOUND = np.arange(3200, dtype=np.int16)


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not done():
            await asyncio.sleep(0)


async def chain(*engines: object, **options: object) -> FallbackSpeechToText:
    options.setdefault("clock", VirtualClock())
    engine = FallbackSpeechToText(engines, **options)  # type: ignore[arg-type]
    await engine.start()
    return engine


async def test_the_next_engine_hears_the_whole_utterance() -> None:
    second = MockSpeechToText(["heard"])
    served: list[str] = []
    engine = await chain(
        MockSpeechToText([SpeechError("mock", "broken")]), second, on_served=served.append
    )
    utterance = engine.recognize()
    for at in range(0, len(SOUND), 100):
        utterance.push(SOUND[at : at + 100])
    assert (await utterance.finish()).text == "heard"
    assert np.array_equal(second.heard[0].samples, SOUND)
    assert served == ["mock"]
    assert utterance.served_by == "mock"  # type: ignore[attr-defined]
    assert [(s.served, s.failed, s.healthy) for s in engine.statistics()] == [
        (0, 1, False),
        (1, 0, True),
    ]
    await engine.close()


async def test_a_slow_engine_is_left_after_its_time() -> None:
    provider = FaultySTTProvider("hang")
    engine = await chain(provider, MockSTTProvider(["heard"]), attempt_timeout=0.02)
    assert (await hear(engine, SOUND)).text == "heard"
    assert provider.open == 0
    await engine.close()


async def test_a_failed_engine_rests_and_is_probed_back() -> None:
    clock = VirtualClock()
    first = FaultySTTProvider("crash")
    engine = await chain(first, MockSTTProvider(["second"]), cooldown=30, clock=clock)
    await hear(engine, SOUND)
    assert first.calls == 1
    await hear(engine, SOUND)
    assert first.calls == 1, "it is passed by in its cooldown"
    assert engine.statistics()[0].skipped == 1
    clock.advance(30)
    assert (await hear(engine, SOUND)).text == "second", "nobody waits for the probe"
    await until(lambda: first.calls == 2 and not engine._probes)
    clock.advance(30)
    await hear(engine, SOUND)
    assert first.calls == 2, "a failed probe doubles the cooldown"
    first.fault = ""
    clock.advance(30)
    await hear(engine, SOUND)
    await until(lambda: engine.statistics()[0].healthy)
    assert (await hear(engine, SOUND)).text == "heard"
    assert engine.statistics()[0].probes == 2
    await engine.close()


async def test_if_no_engine_is_fit_all_are_tried_and_named() -> None:
    first, second = FaultySTTProvider("crash"), FaultySTTProvider("garbage")
    engine = await chain(first, second)
    for calls in (1, 2):
        with pytest.raises(SpeechError, match=r"no engine could.*broke.*answered"):
            await hear(engine, SOUND)
        assert (first.calls, second.calls) == (calls, calls)
    await engine.close()


async def test_one_engine_that_cannot_start_does_not_stop_the_other() -> None:
    first = FaultySTTProvider("warmup")
    engine = await chain(first, MockSTTProvider(["second"]))
    assert (await hear(engine, SOUND)).text == "second"
    await engine.prepare(SpeechHints(("hello",)))
    await engine.close()
    with pytest.raises(SalonError, match="no model"):
        await chain(first)


async def test_what_an_engine_cannot_prepare_another_may() -> None:
    class Unprepared(MockSpeechToText):
        async def prepare(self, hints: SpeechHints) -> None:
            raise SpeechError("mock", "no such words")

    await (await chain(Unprepared(), MockSpeechToText())).prepare(SpeechHints(("hello",)))
    with pytest.raises(SpeechError, match="no such words"):
        await (await chain(Unprepared())).prepare(SpeechHints(("hello",)))


async def test_sound_beyond_a_minute_is_dropped_and_counted() -> None:
    second = MockSpeechToText(["x"])
    engine = await chain(MockSpeechToText([SpeechError("mock", "broken")]), second)
    utterance = engine.recognize()
    for _ in range(61):
        utterance.push(np.zeros(16_000, dtype=np.int16))
    await utterance.finish()
    assert engine.dropped_samples == 16_000
    assert len(second.heard[0].samples) == 60 * 16_000
    utterance.push(SOUND)
    with pytest.raises(SpeechError, match="ended"):
        await utterance.finish()


async def test_partial_results_come_from_the_engine_that_listens() -> None:
    partials: list[str] = []
    engine = await chain(MockSpeechToText(["one two"]))
    utterance = engine.recognize(on_partial=lambda partial: partials.append(partial.text))
    empty: Samples = np.zeros(0, dtype=np.int16)
    for sound in (SOUND, empty, SOUND):
        utterance.push(sound)
    assert partials == ["one", "one two"]
    utterance.cancel()


async def test_a_close_meanwhile_is_nobodys_failure() -> None:
    engine = await chain(FaultySTTProvider("hang"), MockSTTProvider(["x"]))
    utterance = engine.recognize()
    utterance.push(SOUND)
    waiting = asyncio.create_task(utterance.finish())
    await asyncio.sleep(0)
    await engine.close()
    with pytest.raises(SpeechError, match="closed"):
        await waiting
    assert engine.statistics()[0].failed == 0


async def test_a_callback_that_raises_is_survived(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_name: str) -> None:
        raise RuntimeError("oops")

    engine = await chain(MockSTTProvider(["x"]), on_served=broken)
    assert (await hear(engine, SOUND)).text == "x"
    assert "on_served failed" in caplog.text


def test_a_chain_needs_an_engine() -> None:
    with pytest.raises(ConfigurationError):
        FallbackSpeechToText([])
