"""What a soak of failing engines found: each of these silenced a room, or nobody was told of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from tests.conformance.voice.stage import stage

from salon.channels.voice_modes import STUCK_S, ContinuousEar
from salon.core.ports.ai import AIContext, AIProvider, TextDelta
from salon.media.frame import AudioFrame, Samples
from salon.models import HookTrigger
from salon.testing import scripted_engine, virtual_time
from salon.voice.events import MediaEvent, RecognitionFailed
from salon.voice.interruption import InterruptionConfig, InterruptionHandler
from salon.voice.leg import SilentLeg
from salon.voice.pipeline.turn.base import TurnContext, TurnDecision, TurnDetector
from salon.voice.session import MediaSession
from salon.voice.stt.provider import STTProvider
from salon.voice.stt.result import TranscriptionResult

FRAME: Samples = np.ones(320, dtype=np.int16)


class SlowDetector(TurnDetector):
    """Notes whether it is called while it is busy."""

    name = "slow"

    def __init__(self, takes: float) -> None:
        self.takes = takes
        self.running = self.most = self.calls = 0
        self.go_on = threading.Event()

    def evaluate(self, context: TurnContext) -> TurnDecision:
        self.running += 1
        self.calls += 1
        self.most = max(self.most, self.running)
        self.go_on.wait(self.takes)
        self.running -= 1
        return TurnDecision(True)


async def test_V110_a_turn_detector_of_several_lines_is_never_called_twice_at_once() -> None:
    detector = SlowDetector(0.05)
    async with stage(
        transcripts=["one", "two"], answers=["ok"] * 4, pipeline={"turn_detector": detector}
    ) as room:
        transcripts = room.channel._transcripts
        context = TurnContext(transcript="one")
        decisions = await asyncio.gather(
            *(transcripts._evaluated(detector, context) for _ in range(3))
        )
    assert all(decision.is_complete for decision in decisions)
    assert detector.calls == 3
    assert detector.most == 1


async def test_a_turn_detector_that_hangs_holds_one_thread_and_not_the_others() -> None:
    detector = SlowDetector(30.0)
    async with stage(transcripts=["one"], pipeline={"turn_detector": detector}) as room:
        transcripts = room.channel._transcripts
        impatient = [
            asyncio.create_task(transcripts._evaluated(detector, TurnContext())) for _ in range(3)
        ]
        while not detector.calls:
            await asyncio.sleep(0)
        for task in impatient:
            task.cancel()
        await asyncio.gather(*impatient, return_exceptions=True)
        assert detector.calls == 1
        detector.go_on.set()
        await transcripts._evaluated(detector, TurnContext())
    assert detector.calls == 2
    assert detector.most == 1


@virtual_time
async def test_a_turn_detector_that_gives_no_decision_leaves_the_turn_complete() -> None:
    class Odd(SlowDetector):
        def evaluate(self, context: TurnContext) -> Any:
            return "yes"

    detector = Odd(0.0)
    async with stage(
        transcripts=["tell me"], answers=["ok"], pipeline={"turn_detector": detector}
    ) as room:
        await room.ask()
        await asyncio.sleep(2)
        assert await room.said() == ["tell me", "ok"]


@virtual_time
async def test_what_a_backend_gives_in_place_of_sound_is_counted_told_and_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with stage(transcripts=["tell me"], answers=["ok"]) as room:
        nonsense: Any
        for nonsense in (None, 17, "sound", b"\x01\x00\x02"):
            await room.backend.simulate_audio_received(room.session, nonsense)
        assert room.channel._lines.refused_frames == 4
        assert room.backend.errors == []
        await room.ask()
    told = [record.getMessage() for record in caplog.records if "AudioFrame" in record.msg]
    assert [line.split(" gave ")[1] for line in told] == [
        "NoneType, not an AudioFrame (1 so far)",
        "int, not an AudioFrame (2 so far)",
        "3 bytes, not an AudioFrame (4 so far)",
    ]


@virtual_time
async def test_what_is_no_sound_is_counted_even_of_a_session_that_has_left() -> None:
    async with stage(transcripts=["tell me"], answers=["ok"]) as room:
        lines = room.channel._lines
        room.channel.unbind_session(room.session)
        before = lines.unbound_frames
        given: list[Any] = [17, b"\x01\x00\x02", b"\x01\x00", AudioFrame(bytes(640))]
        for frame in given:
            await room.backend.simulate_audio_received(room.session, frame)
        assert (lines.unbound_frames - before, lines.refused_frames) == (4, 2)


class Stuck(STTProvider):
    """Its first stream reads nothing; the next one gives a word for the sound it gets."""

    def __init__(self) -> None:
        self.streams = 0

    @property
    def supports_streaming(self) -> bool:
        return True

    @property
    def keeps_stream_across_turns(self) -> bool:
        return True

    async def transcribe(self, audio: Any, *, language: str | None = None) -> Any:
        raise NotImplementedError

    async def transcribe_stream(
        self, audio_stream: AsyncIterator[Any], *, language: str | None = None
    ) -> AsyncIterator[TranscriptionResult]:
        self.streams += 1
        if self.streams == 1:
            await asyncio.Event().wait()
        async for _ in audio_stream:
            yield TranscriptionResult("word")


@virtual_time
async def test_a_stream_that_takes_no_sound_is_given_up_and_the_next_one_hears() -> None:
    provider = Stuck()
    posted: list[MediaEvent] = []
    async with scripted_engine() as engine:
        session = MediaSession("ann", engine, leg=SilentLeg())
        handler = InterruptionHandler(InterruptionConfig())
        ear = ContinuousEar(session, provider, handler)

        async def pump() -> None:
            async for event in session.events:
                posted.append(event)

        pumping = asyncio.create_task(pump())
        for _ in range(int(STUCK_S * 50) + 100):
            ear.hear(FRAME)
            await asyncio.sleep(0.02)
        ear.close()
        await session.close()
        await pumping
    assert provider.streams == 2
    assert any(getattr(event, "text", "") == "word" for event in posted)
    failed = [event for event in posted if isinstance(event, RecognitionFailed)]
    assert [event.message for event in failed] == [f"Stuck: took no sound for {STUCK_S:g} s"]


class Breaks(AIProvider):
    """Says something, then does what it is told to."""

    def __init__(self, then: object) -> None:
        self.then = then

    async def generate_structured_stream(self, context: AIContext) -> AsyncIterator[Any]:
        yield TextDelta("There are many things to tell about this town and its people. ")
        if isinstance(self.then, Exception):
            raise self.then
        yield self.then


@pytest.mark.parametrize("nonsense", [None, 7, b"bytes", {"text": 1}])
@virtual_time
async def test_an_agent_that_gives_nonsense_in_mid_answer_has_failed(nonsense: object) -> None:
    async with stage(transcripts=["tell me"], provider=Breaks(nonsense)) as room:
        room.watch(HookTrigger.ON_ERROR)
        await room.ask()
        await asyncio.sleep(5)
        assert len(room.given(HookTrigger.ON_ERROR)) == 1


@virtual_time
async def test_an_agent_that_failed_before_it_was_interrupted_is_told_of() -> None:
    async with stage(transcripts=["tell me", "stop"], provider=Breaks(ValueError("no"))) as room:
        room.watch(HookTrigger.ON_ERROR)
        await room.ask()
        await room.quiet(200)
        assert room.order() == []
        await room.begin()
        await room.quiet(600)
        await asyncio.sleep(1)
        assert len(room.given(HookTrigger.ON_ERROR)) == 1
