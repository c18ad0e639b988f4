"""Recognition without a detector, and what is measured (V35, V210, V211, V233-V236, V245)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from tests.conformance.voice.stage import ROOM, Stage, stage

from salon.base import ConfigurationError
from salon.channels.voice import VoiceChannel
from salon.core.ports.telemetry import SpanKind
from salon.models import HookResult, HookTrigger, TextContent
from salon.telemetry.mock import MockTelemetryProvider
from salon.testing import virtual_time
from salon.voice.backends.mock import MockVoiceBackend
from salon.voice.interruption import InterruptionConfig, InterruptionStrategy
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.vad.mock import MockVADProvider
from salon.voice.stt.provider import STTProvider
from salon.voice.stt.result import SpeakerSegment, TranscriptionResult

T = HookTrigger
S = InterruptionStrategy
LONG = "There are many things to tell about this town and its people. " * 4


class LiveSTT(STTProvider):
    """Gives the results it is told, to the newest stream, for as long as the sound lasts."""

    def __init__(self, *, diarizes: bool = False) -> None:
        self.diarizes = diarizes
        self.streams: list[asyncio.Queue[TranscriptionResult | Exception | None]] = []
        self.languages: list[str | None] = []
        self.received = 0

    @property
    def name(self) -> str:
        return "LiveSTT"

    @property
    def supports_streaming(self) -> bool:
        return True

    @property
    def supports_diarization(self) -> bool:
        return self.diarizes

    @property
    def keeps_stream_across_turns(self) -> bool:
        return True

    @property
    def supports_language_override(self) -> bool:
        return True

    async def transcribe(self, audio: Any, *, language: str | None = None) -> TranscriptionResult:
        raise NotImplementedError

    async def transcribe_stream(
        self, audio_stream: AsyncIterator[Any], *, language: str | None = None
    ) -> AsyncIterator[TranscriptionResult]:
        results: asyncio.Queue[Any] = asyncio.Queue()
        self.streams.append(results)
        self.languages.append(language)

        async def listen() -> None:
            async for chunk in audio_stream:
                self.received += len(chunk.data)
            results.put_nowait(None)

        task = asyncio.create_task(listen())
        try:
            while (result := await results.get()) is not None:
                if isinstance(result, Exception):
                    raise result
                yield result
        finally:
            task.cancel()

    def say(self, text: str, *, final: bool = True, **facts: Any) -> None:
        self.streams[-1].put_nowait(TranscriptionResult(text, is_final=final, **facts))


def live(stt: LiveSTT, **options: Any) -> AbstractAsyncContextManager[Stage]:
    return stage(stt=stt, detector=False, **options)


async def until_open(room: Stage, count: int = 1) -> None:
    async with asyncio.timeout(60):
        while len(room.stt.streams) < count:
            await room.feed()


@virtual_time
async def test_V35_without_a_detector_a_streaming_recogniser_listens_all_the_time() -> None:
    stt = LiveSTT()
    async with live(stt, answers=["ok"]) as room:
        room.watch(T.ON_PARTIAL_TRANSCRIPTION, T.ON_TRANSCRIPTION)
        await until_open(room)
        stt.say("hello", final=False)
        await room.quiet(100)
        stt.say("hello there")
        await room.quiet(1500)
        assert room.order() == [T.ON_PARTIAL_TRANSCRIPTION, T.ON_TRANSCRIPTION]
        assert await room.said() == ["hello there", "ok"]
        assert len(stt.streams) == 1
        assert stt.received >= 1500 * 32


@virtual_time
async def test_V96_a_stream_that_fails_is_told_and_opened_again() -> None:
    stt = LiveSTT()
    async with live(stt) as room:
        room.watch_framework("stt_error")
        await until_open(room)
        stt.streams[-1].put_nowait(RuntimeError("gone"))
        await until_open(room, 2)
        stt.say("hello again")
        await room.quiet(300)
        assert await room.said() == ["hello again"]
        ((_, data),) = room.framework
        assert data["session_id"] == room.session.id


@virtual_time
async def test_V115_continuous_words_cut_the_agent() -> None:
    stt = LiveSTT()
    async with live(stt, answers=[LONG, "ok"]) as room:
        await until_open(room)
        stt.say("tell me")
        await room.until_audible()
        await room.quiet(500)
        room.watch(T.ON_BARGE_IN, T.ON_TTS_CANCELLED)
        stt.say("stop", final=False)
        await room.quiet(200)
        stt.say("stop it", final=False)
        await room.quiet(400)
        stt.say("stop it now")
        await room.quiet(1000)
        assert room.order() == [T.ON_BARGE_IN, T.ON_TTS_CANCELLED]
        assert (await room.said())[-2:] == ["stop it now", "ok"]


@virtual_time
async def test_V115_continuous_words_are_queued_where_nothing_may_cut() -> None:
    stt = LiveSTT()
    async with live(stt, answers=[LONG, "ok"], enable_barge_in=False) as room:
        await until_open(room)
        stt.say("tell me")
        await room.until_audible()
        await room.quiet(500)
        room.watch(T.ON_BARGE_IN)
        stt.say("one")
        await room.quiet(500)
        stt.say("two")
        await room.quiet(9000)
        assert not room.fired
        said = await room.said()
        assert [text for text in said if text in ("one", "two")] == ["one", "two"]
        assert said.index(LONG) < said.index("one")


@virtual_time
async def test_V118_V245_a_backchannel_in_continuous_mode() -> None:
    stt = LiveSTT()
    semantic = InterruptionConfig(strategy=S.SEMANTIC)
    async with live(stt, answers=[LONG, "ok"], interruption=semantic) as room:
        await until_open(room)
        stt.say("tell me")
        await room.until_audible()
        await room.quiet(500)
        room.watch(T.ON_BARGE_IN, T.ON_BACKCHANNEL)
        stt.say("uh huh", final=False)
        await room.quiet(1500)
        stt.say("uh huh")
        await room.quiet(300)
        assert room.order() == [T.ON_BACKCHANNEL]
        assert "uh huh" not in await room.said()
        stt.say("no wait stop", final=False)
        await room.quiet(300)
        assert room.order() == [T.ON_BACKCHANNEL, T.ON_BARGE_IN]


@virtual_time
async def test_V243_one_answer_to_both_parts_in_continuous_mode() -> None:
    from salon.testing import MockAIProvider

    stt = LiveSTT()
    provider = MockAIProvider([LONG, "Both."], delay=1.5)
    async with live(stt, provider=provider) as room:
        room.watch(T.ON_BARGE_IN)
        await until_open(room)
        stt.say("I would like")
        await room.quiet(300)
        stt.say("tea", final=False)
        await room.quiet(500)
        stt.say("tea and cake")
        await room.quiet(6000)
        assert not room.fired
        assert (await room.said())[-1] == "Both."
        assert room.played_ms() == len("Both.") * 20


@virtual_time
async def test_V232_another_language_opens_another_stream() -> None:
    stt = LiveSTT()
    async with live(stt) as room:
        await until_open(room)
        room.channel.set_stt_language(room.session, "fr")
        await until_open(room, 2)
        assert stt.languages == [None, "fr"]


@pytest.mark.parametrize("how", ["vad", "batch"])
def test_V234_a_diarizing_recogniser_is_refused_elsewhere(how: str) -> None:
    vad = MockVADProvider() if how == "vad" else None
    with pytest.raises((ConfigurationError, ValueError)):
        VoiceChannel(
            "voice",
            stt=LiveSTT(diarizes=True),
            backend=MockVoiceBackend(),
            pipeline=AudioPipelineConfig(vad=vad),
            batch_mode=how == "batch",
        )


def segments(*parts: tuple[str | None, str]) -> list[SpeakerSegment]:
    return [SpeakerSegment(speaker, text) for speaker, text in parts]


@virtual_time
async def test_V233_V235_each_segment_is_a_message_of_its_speaker() -> None:
    stt = LiveSTT(diarizes=True)
    async with live(stt) as room:
        room.watch(T.ON_TRANSCRIPTION, T.ON_SPEAKER_CHANGE)
        await until_open(room)
        stt.say("hello hi what", segments=segments(("1", "hello"), ("2", "hi"), ("UU", "what")))
        await room.quiet(500)
        assert await room.said() == ["hello", "hi", "what"]
        facts = [
            (
                e.metadata["speaker_label"],
                e.metadata["speaker_epoch"],
                e.metadata["sender_name"],
            )
            for e in await room.messages()
        ]
        assert facts == [
            ("1", 0, "Speaker 1"),
            ("2", 0, "Speaker 2"),
            (None, 0, "Unknown speaker"),
        ]
        assert [event.text for event in room.given(T.ON_TRANSCRIPTION)] == ["hello", "hi", "what"]
        changes = room.given(T.ON_SPEAKER_CHANGE)
        assert [event.speaker_id for event in changes] == ["1", "2"]
        assert {event.source for event in changes} == {"stt"}


@virtual_time
async def test_V235_another_stream_is_another_epoch() -> None:
    stt = LiveSTT(diarizes=True)
    async with live(stt) as room:
        await until_open(room)
        stt.say("hello", segments=segments(("1", "hello")))
        await room.quiet(100)
        stt.streams[-1].put_nowait(RuntimeError("gone"))
        await until_open(room, 2)
        stt.say("again", segments=segments(("1", "again")))
        await room.quiet(300)
        last = (await room.messages())[-1]
        assert last.metadata["speaker_epoch"] == 1
        assert last.metadata["sender_name"] == "Speaker 1#1"


@virtual_time
async def test_V235_a_hook_may_rename_and_block_single_segments() -> None:
    import dataclasses

    stt = LiveSTT(diarizes=True)
    async with live(stt) as room:

        @room.kit.hook(T.ON_TRANSCRIPTION)
        async def name(event: Any, _context: Any) -> HookResult:
            if event.speaker == "2":
                return HookResult.block("not Bob")
            return HookResult.modify(dataclasses.replace(event, sender_name="Ann"))

        await until_open(room)
        stt.say("hello hi", segments=segments(("1", "hello"), ("2", "hi")))
        await room.quiet(500)
        assert [
            (e.metadata["sender_name"], e.content.body)
            for e in await room.messages()
            if isinstance(e.content, TextContent)
        ] == [("Ann", "hello")]


@virtual_time
async def test_batches_of_two_lines_are_kept_apart() -> None:
    async with stage(transcripts=["Ann's", "Bob's"], detector=False, batch_mode=True) as room:
        bob = await room.join("bob")
        await room.feed(10)
        await room.feed(5, bob)
        assert room.channel.stt_buffer_size(room.session) == 10 * 640
        assert room.channel.stt_buffer_size(bob) == 5 * 640
        await room.channel.flush_stt(room.session, route=True)
        await room.channel.flush_stt(bob, route=True)
        await asyncio.sleep(0.3)
        assert [len(heard) for heard in room.stt.heard] == [10 * 640, 5 * 640]
        assert [
            (e.source.participant_id, e.content.body)
            for e in await room.messages()
            if isinstance(e.content, TextContent)
        ] == [("ann", "Ann's"), ("bob", "Bob's")]


@virtual_time
async def test_a_batch_that_fails_raises_and_the_next_works() -> None:
    async with stage(
        transcripts=[RuntimeError("busy"), "hello"], detector=False, batch_mode=True
    ) as room:
        await room.feed(5)
        with pytest.raises(Exception, match=r"busy|ScriptSTT"):
            await room.channel.flush_stt(room.session)
        await room.feed(5)
        assert (await room.channel.flush_stt(room.session)).text == "hello"


# -- what is measured -----------------------------------------------------------------------------


@virtual_time
async def test_V210_V211_metrics_and_spans_of_a_turn() -> None:
    telemetry = MockTelemetryProvider()
    async with stage(transcripts=["hello"], answers=[LONG], telemetry=telemetry) as room:
        await room.ask()
        await room.quiet(6000)
        await room.channel.disconnect_session(room.session, ROOM)
        await asyncio.sleep(0.1)
    names = {metric["name"] for metric in telemetry.metrics}
    assert {
        "pipeline.stt_latency_ms",
        "pipeline.tts_latency_ms",
        "salon.voice.speech_duration",
        "pipeline.barge_in_count",
        "salon.voice.dtmf",
    } <= names
    for kind in (SpanKind.STT_TRANSCRIBE, SpanKind.TTS_SYNTHESIZE):
        spans = telemetry.get_spans(kind)
        assert spans, kind
        assert ROOM in str(spans[0])


@virtual_time
async def test_V210_the_stages_latency() -> None:
    telemetry = MockTelemetryProvider()
    async with stage(
        transcripts=["hello"], pipeline={"telemetry": telemetry}, telemetry=telemetry
    ) as room:
        await room.speak()
        await room.quiet(500)
        await room.channel.disconnect_session(room.session, ROOM)
        await asyncio.sleep(0.1)
    names = {metric["name"] for metric in telemetry.metrics}
    assert "pipeline.stage_latency_ms" in names


@virtual_time
async def test_V210_the_turn_detectors_latency() -> None:
    from salon.voice.pipeline.turn.mock import MockTurnDetector

    telemetry = MockTelemetryProvider()
    parts = {"turn_detector": MockTurnDetector(), "telemetry": telemetry}
    async with stage(transcripts=["hello"], pipeline=parts, telemetry=telemetry) as room:
        await room.speak()
        await room.quiet(500)
    names = {metric["name"] for metric in telemetry.metrics}
    assert "pipeline.turn_detector_latency_ms" in names


@virtual_time
async def test_V210_a_turn_detector_that_fails_took_its_time_too() -> None:
    from salon.voice.pipeline.turn.base import TurnContext, TurnDecision
    from salon.voice.pipeline.turn.mock import MockTurnDetector

    class Broken(MockTurnDetector):
        def evaluate(self, context: TurnContext) -> TurnDecision:
            raise OSError("no model")

    telemetry = MockTelemetryProvider()
    parts = {"turn_detector": Broken()}
    async with stage(transcripts=["hello"], pipeline=parts, telemetry=telemetry) as room:
        await room.speak()
        await room.quiet(500)
        assert await room.said() == ["hello"]
    (told,) = [
        metric
        for metric in telemetry.metrics
        if metric["name"] == "pipeline.turn_detector_latency_ms"
    ]
    assert 0 <= told["value"] < 2000
    assert told["attributes"]["provider"] == Broken().name


@virtual_time
async def test_V210_a_cut_is_counted() -> None:
    telemetry = MockTelemetryProvider()
    async with stage(
        transcripts=["hello", "stop"], answers=[LONG, "ok"], telemetry=telemetry
    ) as room:
        await room.ask()
        await room.quiet(400)
        await room.speak(600)
        await room.quiet(500)
        await room.channel.disconnect_session(room.session, ROOM)
        await asyncio.sleep(0.1)
    counts = [m["value"] for m in telemetry.metrics if m["name"] == "pipeline.barge_in_count"]
    assert counts == [1]
