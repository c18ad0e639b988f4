"""The same through OpenTelemetry, as its SDK exports it (V211)."""

from __future__ import annotations

import pytest
from tests.conformance.voice.stage import ROOM
from tests.conformance.voice.test_observability import WORDS, timed, turn_of

from salon.channels.voice import MeasuredTurn
from salon.testing import virtual_time

pytest.importorskip("opentelemetry.sdk.trace")


def after(turn: MeasuredTurn, nanoseconds: int) -> int:
    """Milliseconds from the end of the speech."""
    return round(nanoseconds / 1e6 - turn.ended_at.timestamp() * 1000)


@virtual_time
async def test_V211_an_exporter_gets_a_turn_as_one_trace_with_its_true_times() -> None:
    from tests.unit.telemetry.test_opentelemetry import Collected

    collected = Collected()
    async with timed(collected.provider(), WORDS) as room:
        turn = await turn_of(room)
    (whole,) = [span for span in collected.spans if span.name == "voice.turn"]
    parts = [
        span
        for span in collected.spans
        if span.parent is not None and span.parent.span_id == whole.context.span_id
    ]
    word, sound, audio = turn.first_word_ms, turn.first_sound_ms, turn.first_audio_ms
    told = [
        (span.name, after(turn, span.start_time), after(turn, span.end_time))
        for span in (whole, *parts)
    ]
    assert told == [
        ("voice.turn", 0, audio),
        ("stt_transcribe", 0, turn.recognised_ms),
        ("ai_first_token", turn.recognised_ms, word),
        ("tts_synthesize", word, sound),
        ("playout", sound, audio),
    ]
    assert {span.context.trace_id for span in parts} == {whole.context.trace_id}
    assert {span.attributes["room_id"] for span in (whole, *parts)} == {ROOM}
    assert whole.attributes["session_id"] == room.session.id
    measured = collected.measured()
    assert measured["salon.voice.turn_latency"] == 1
    assert measured["pipeline.stt_latency_ms"] == 1
