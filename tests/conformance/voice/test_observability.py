"""What a turn took, and what is told of it (V210, V211)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.conformance.voice.stage import ROOM, ScriptSTT, Stage, stage

from salon.channels.voice_measures import MeasuredTurn
from salon.telemetry import MockTelemetryProvider, Span, SpanKind, TelemetryProvider
from salon.testing import MockAIProvider, virtual_time
from salon.testing.clock import EPOCH
from salon.voice.tts.mock import MockTextToSpeech

SPOKEN_MS, STT_MS, AI_MS, TTS_MS = 400, 210, 330, 250
NEAR = 1
"""Milliseconds: the resolution of the sample clock."""
WORDS = "my card is 4111"
ANSWER = "That is noted now, and nobody but you will ever see any of it again."
COUNTS = {"pipeline.barge_in_count", "salon.voice.dtmf", "salon.voice.backchannels"}


@asynccontextmanager
async def timed(
    telemetry: TelemetryProvider, *heard: str | Exception, **options: Any
) -> AsyncIterator[Stage]:
    """Engines that take as long as the constants say."""
    async with stage(
        stt=ScriptSTT(heard, delay=STT_MS / 1000),
        tts=MockTextToSpeech(char_ms=20, delay_s=TTS_MS / 1000),
        provider=MockAIProvider([ANSWER] * 9, delay=AI_MS / 1000),
        telemetry=telemetry,
        **options,
    ) as room:
        yield room


async def turn_of(room: Stage) -> MeasuredTurn:
    """Ann asks, and hears the whole answer."""
    before = len(room.channel.measured_turns(ROOM))
    await room.ask(SPOKEN_MS)
    await room.channel.wait_playback_done(ROOM)
    turns = room.channel.measured_turns(ROOM)
    assert len(turns) == before + 1
    return turns[-1]


def metrics(telemetry: MockTelemetryProvider) -> dict[str, list[float]]:
    """The values of each."""
    found: dict[str, list[float]] = {}
    for told in telemetry.metrics:
        found.setdefault(told["name"], []).append(told["value"])
    return found


@virtual_time
async def test_V210_every_stage_of_a_turn_is_measured() -> None:
    async with timed(MockTelemetryProvider(), WORDS) as room:
        turn = await turn_of(room)
        until = (turn.recognised_ms, turn.first_word_ms, turn.first_sound_ms)
        assert until == pytest.approx((STT_MS, STT_MS + AI_MS, STT_MS + AI_MS + TTS_MS), abs=NEAR)
        assert (turn.stt_ms, turn.ai_ms, turn.tts_ms) == pytest.approx(
            (STT_MS, AI_MS, TTS_MS), abs=NEAR
        )
        assert 0 <= turn.playout_ms <= 20  # the next tick
        assert turn.first_audio_ms == turn.first_sound_ms + turn.playout_ms
        assert turn.ended_at.timestamp() == pytest.approx(
            EPOCH + SPOKEN_MS / 1000, abs=2 * NEAR / 1000
        )
        assert (turn.room_id, turn.channel_id, turn.participant_id) == (ROOM, "voice", "ann")
        assert (turn.session_id, turn.index) == (room.session.id, 0)
        assert (turn.stt, turn.tts) == ("ScriptSTT", "mock")


@virtual_time
async def test_V210_latencies_and_lengths_are_told_as_metrics() -> None:
    telemetry = MockTelemetryProvider()
    async with timed(telemetry, WORDS) as room:
        turn = await turn_of(room)
        told = metrics(telemetry)
        assert told["pipeline.stt_latency_ms"] == pytest.approx([STT_MS], abs=NEAR)
        assert told["pipeline.tts_latency_ms"] == pytest.approx([TTS_MS], abs=NEAR)
        assert told["salon.voice.turn_latency"] == [turn.first_audio_ms]
        assert told["salon.voice.speech_duration"] == pytest.approx(
            [SPOKEN_MS + 200], abs=NEAR
        )  # with its pre-roll
        by_name = {item["name"]: item for item in telemetry.metrics}
        for name, provider in (("stt", "ScriptSTT"), ("tts", "mock")):
            item = by_name[f"pipeline.{name}_latency_ms"]
            assert item["unit"] == "ms"
            assert item["attributes"] == {"channel_id": "voice", "provider": provider}


@virtual_time
async def test_V210_what_was_counted_on_a_line_is_told_at_its_end() -> None:
    telemetry = MockTelemetryProvider()
    async with timed(telemetry, WORDS, "", "no wait") as room:
        await turn_of(room)
        await room.speak()  # which holds no words
        await room.quiet(400)
        await room.ask()
        await room.backend.simulate_dtmf_received(room.session, "4")
        await room.quiet(600)
        await room.begin()  # over the answer
        await room.quiet(600)
        assert not COUNTS & metrics(telemetry).keys()
        await room.channel.disconnect_session(room.session, ROOM)
        told = metrics(telemetry)
        assert told["pipeline.vad_false_positive_rate"] == [1 / 3]
        assert told["pipeline.backchannel_rate"] == [0]
        assert {name: told[name] for name in COUNTS} == {
            "pipeline.barge_in_count": [1],
            "salon.voice.dtmf": [1],
            "salon.voice.backchannels": [0],
        }


@virtual_time
async def test_V211_a_turn_is_a_tree_of_spans_with_its_true_times() -> None:
    telemetry = MockTelemetryProvider()
    async with timed(telemetry, WORDS) as room:
        turn = await turn_of(room)
        (whole,) = telemetry.get_spans(SpanKind.VOICE_TURN)
        parts = [span for span in telemetry.spans if span.parent_id == whole.id]

        def times(span: Span) -> tuple[str, int, int]:
            assert span.end_time is not None
            start = (span.start_time - turn.ended_at).total_seconds() * 1000
            end = (span.end_time - turn.ended_at).total_seconds() * 1000
            return span.name, round(start), round(end)

        known, word = turn.recognised_ms, turn.first_word_ms
        sound, audio = turn.first_sound_ms, turn.first_audio_ms
        assert times(whole) == ("voice.turn", 0, audio)
        assert [times(part) for part in parts] == [
            ("stt_transcribe", 0, known),
            ("ai_first_token", known, word),
            ("tts_synthesize", word, sound),
            ("playout", sound, audio),
        ]
        for span in (whole, *parts):
            assert (span.room_id, span.channel_id) == (ROOM, "voice")
            assert span.session_id == room.session.id
            assert span.attributes["latency_ms"] == round(span.duration_ms or 0)
        engines = [part.attributes.get("provider") for part in parts]
        assert engines == ["ScriptSTT", None, "mock", None]


@virtual_time
async def test_V211_no_word_and_no_digit_is_told() -> None:
    telemetry = MockTelemetryProvider()
    async with timed(telemetry, WORDS) as room:
        await turn_of(room)
        await room.backend.simulate_dtmf_received(room.session, "7")
        await room.quiet(40)
        await room.channel.disconnect_session(room.session, ROOM)
    spans = telemetry.get_spans(SpanKind.VOICE_TURN)
    assert spans
    for said in [span.attributes for span in telemetry.spans] + telemetry.metrics:
        assert "4111" not in repr(said)
        assert "noted" not in repr(said)
        assert "'7'" not in repr(said)
