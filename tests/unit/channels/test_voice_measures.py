"""What of a channel's lines is kept and told, and for how long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.channels.test_voice import ask, enter, room, said

from salon.channels.voice import Caller, MeasuredTurn
from salon.channels.voice_measures import MAX_ROOMS, MAX_TURNS, VoiceMeasures
from salon.core.ports.telemetry import Attr
from salon.core.telemetry import Tracer
from salon.media import make_codec
from salon.telemetry import MockTelemetryProvider, TelemetryProvider
from salon.testing import MockSpeechToText, MockTextToSpeech, scripted_engine, virtual_time
from salon.testing.clock import EPOCH
from salon.voice.engine import VoiceEngine
from salon.voice.events import (
    BargeIn,
    Dtmf,
    Final,
    Level,
    TurnClock,
    TurnDropped,
    TurnEnded,
    TurnMeasured,
)
from salon.voice.leg import SocketLeg
from salon.voice.session import MediaSession

MEASURED = TurnMeasured(0, "words", 200, 300, 420, 400, speech_end=1.0)


@dataclass
class Line:
    """A caller whose events the test makes up."""

    engine: VoiceEngine
    telemetry: MockTelemetryProvider
    measures: VoiceMeasures
    caller: Caller

    def other(self, room_id: str) -> Caller:
        caller = Caller(self.caller.session, room_id, "bob")
        self.measures.join(caller)
        return caller

    def told(self, name: str) -> list[float]:
        return [item["value"] for item in self.telemetry.metrics if item["name"] == name]


@asynccontextmanager
async def line(telemetry: TelemetryProvider | None = None, **parts: Any) -> AsyncIterator[Line]:
    async with scripted_engine(**parts) as engine:
        session = MediaSession("s1", engine, leg=SocketLeg(make_codec("pcm"), lambda _: None))
        measures = VoiceMeasures("voice", engine)
        kept = MockTelemetryProvider()
        measures.bind(Tracer(telemetry or kept))
        caller = Caller(session, "r", "ann")
        measures.join(caller)
        try:
            yield Line(engine, kept, measures, caller)
        finally:
            await session.close()


@virtual_time
async def test_a_turn_is_kept_with_the_instant_at_which_its_speech_ended() -> None:
    async with line() as here:
        here.engine.clock.advance(1.42)  # type: ignore[attr-defined]
        here.measures.take(here.caller, MEASURED)
        (turn,) = here.measures.turns("r")
        assert turn == MeasuredTurn(
            "r",
            "voice",
            "s1",
            "ann",
            0,
            datetime.fromtimestamp(EPOCH + 1, UTC),
            200,
            300,
            400,
            420,
            "mock",
            "mock",
        )
        assert (turn.stt_ms, turn.ai_ms, turn.tts_ms, turn.playout_ms) == (200, 100, 100, 20)
        assert turn.at(200) == turn.ended_at + timedelta(seconds=0.2)
        assert here.measures.turns("another") == ()


@virtual_time
async def test_no_stage_comes_before_the_one_it_follows() -> None:
    async with line() as here:
        here.measures.take(here.caller, TurnMeasured(0, "", -30, 250, 200))
        (turn,) = here.measures.turns("r")
        stages = (turn.recognised_ms, turn.first_word_ms, turn.first_sound_ms, turn.first_audio_ms)
        assert stages == (0, 250, 250, 250)


@virtual_time
async def test_the_newest_turns_of_a_room_are_kept() -> None:
    async with line() as here:
        for index in range(MAX_TURNS + 3):
            here.measures.take(here.caller, TurnMeasured(index, "", 1, 2, 3))
        turns = here.measures.turns("r")
        assert [turn.index for turn in turns] == list(range(3, MAX_TURNS + 3))


@virtual_time
async def test_the_room_without_a_turn_for_longest_is_forgotten_first() -> None:
    async with line() as here:
        for number in range(MAX_ROOMS):
            here.measures.take(here.other(str(number)), MEASURED)
        here.measures.take(here.other("0"), MEASURED)
        here.measures.take(here.caller, MEASURED)
        assert len(here.measures.turns("0")) == 2
        assert here.measures.turns("1") == ()
        assert here.measures.turns("2")
        assert here.measures.turns("r")


@virtual_time
async def test_what_comes_of_a_line_that_has_left_counts_no_more() -> None:
    async with line() as here:
        here.measures.leave(here.caller)
        told = len(here.telemetry.metrics)
        here.measures.take(here.caller, MEASURED)
        here.measures.barged_in(here.caller)
        here.measures.leave(here.caller)
        assert here.measures.turns("r") == ()
        assert len(here.telemetry.metrics) == told


@virtual_time
async def test_a_room_made_anew_under_an_id_begins_without_turns() -> None:
    async with line() as here:
        here.measures.take(here.caller, MEASURED)
        bob = here.other("elsewhere")
        here.measures.forget_room("r")
        here.measures.take(here.caller, MEASURED)  # still on the line
        here.measures.take(bob, MEASURED)
        assert here.measures.turns("r") == ()
        assert len(here.measures.turns("elsewhere")) == 1


@virtual_time
async def test_rates_are_told_where_there_is_something_to_divide_by() -> None:
    async with line() as here:
        here.measures.leave(here.caller)
        assert here.told("pipeline.vad_false_positive_rate") == []
        assert here.told("pipeline.backchannel_rate") == []
        assert here.told("pipeline.barge_in_count") == [0]


@virtual_time
async def test_speech_is_counted_by_what_came_of_it() -> None:
    async with line() as here:
        for event in (
            TurnEnded(0, 1000, 1750),
            Final(0, "yes", 1000, 1750),
            TurnDropped(1, 2000),
            TurnDropped(2, 3000, backchannel=True, words="mhm"),
            Final(3, " ", 4000, 4500),
            Dtmf("1"),
            Dtmf("2"),
            Level(-20.0),
            BargeIn(5),
        ):
            here.measures.take(here.caller, event)
        here.measures.barged_in(here.caller)
        here.measures.barged_in(here.caller)
        here.measures.leave(here.caller)
        assert here.told("salon.voice.speech_duration") == [750]
        assert here.told("pipeline.vad_false_positive_rate") == [0.5]
        assert here.told("pipeline.backchannel_rate") == [0.5]
        assert here.told("pipeline.barge_in_count") == [2]
        assert here.told("salon.voice.dtmf") == [2]
        assert here.told("salon.voice.backchannels") == [1]
        assert here.told("pipeline.stt_latency_ms") == []  # of these words no time is known


@virtual_time
async def test_recognition_is_measured_without_an_answer_too() -> None:
    async with line() as here:
        here.caller.session.hearing.last_turn = TurnClock(4, 1.0, 1.25, text="yes")
        here.measures.take(here.caller, Final(4, "yes", 0, 1))
        here.measures.take(here.caller, Final(5, "of another turn", 0, 1))
        assert here.told("pipeline.stt_latency_ms") == [250]


@virtual_time
async def test_an_engine_is_named_only_where_it_is_certain() -> None:
    async with scripted_engine() as engine:
        other = MockSpeechToText()
        other.name = "other"
        engine.recognizers = {**engine.recognizers, "other": other}
        engine.synthesizers = {}
        voice = MockTextToSpeech(name="own")
        session = MediaSession("s1", engine, leg=SocketLeg(make_codec("pcm"), lambda _: None))
        for chosen, expected in (((None, None), (None, None)), ((other, voice), ("other", "own"))):
            measures = VoiceMeasures("voice", engine, *chosen)
            caller = Caller(session, "r", "ann")
            measures.join(caller)
            measures.take(caller, MEASURED)  # nobody listens: it is kept all the same
            (turn,) = measures.turns("r")
            assert (turn.stt, turn.tts) == expected
        await session.close()


@virtual_time
async def test_the_channel_measures_what_the_caller_is_told() -> None:
    async with room(["what time is it"]) as rooms:
        call = await enter(rooms)
        await call.send_audio(said(640))
        told = await call.expect("metrics", key="turn.latency")
        (turn,) = rooms.voice.measured_turns("room")
        assert told["data"] == {
            "turn": turn.index,
            "text": "what time is it",
            "recognised": turn.recognised_ms,
            "firstWord": turn.first_word_ms,
            "firstSound": turn.first_sound_ms,
            "firstAudio": turn.first_audio_ms,
        }
        assert (turn.participant_id, turn.stt, turn.tts) == ("ann", "mock", "mock")
        await rooms.kit.close_room("room")
        assert rooms.voice.measured_turns("room") == (turn,)
        await rooms.kit.delete_room("room")
        assert rooms.voice.measured_turns("room") == ()


@virtual_time
async def test_a_typed_question_is_no_turn_of_a_caller() -> None:
    async with room() as rooms:
        await ask(await enter(rooms))
        assert rooms.voice.measured_turns("room") == ()


@pytest.mark.parametrize("answers", [1, 2])
@virtual_time
async def test_each_answer_is_one_turn(answers: int) -> None:
    async with room(["one", "two"], answers=["yes", "no"]) as rooms:
        call = await enter(rooms)
        for _ in range(answers):
            await call.send_audio(said(640))
            await call.expect("trackEnd")
        turns = rooms.voice.measured_turns("room")
        assert [turn.index for turn in turns] == list(range(answers))


@virtual_time
async def test_V210_how_long_a_turn_detector_took_is_told_under_its_name() -> None:
    async with line() as held:
        held.measures.judged("Detector", 12.5)
        (told,) = [
            item
            for item in held.telemetry.metrics
            if item["name"] == "pipeline.turn_detector_latency_ms"
        ]
        assert told["value"] == 12.5
        assert told["attributes"][Attr.PROVIDER] == "Detector"
