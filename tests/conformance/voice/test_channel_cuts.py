"""What is cut is not in the recording of what the user heard."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.conformance.voice.stage import ROOM, stage
from tests.conformance.voice.test_channel_rooms import LONG

from salon.testing import virtual_time
from salon.voice.interruption import InterruptionConfig
from salon.voice.pipeline.recorder.base import RecordingConfig
from salon.voice.pipeline.recorder.mock import MockAudioRecorder


def recorded() -> tuple[MockAudioRecorder, dict[str, Any]]:
    recorder = MockAudioRecorder()
    return recorder, {"recorder": recorder, "recording_config": RecordingConfig()}


@virtual_time
async def test_V81_a_barge_in_is_told_to_the_recorders_of_all_who_listened() -> None:
    recorder, parts = recorded()
    async with stage(transcripts=["hello", "stop"], answers=[LONG, "ok"], pipeline=parts) as room:
        await room.join("bob")
        await room.ask()
        await room.quiet(400)
        assert recorder.cuts == []
        await room.speak(600)
        await room.quiet(40)
        assert sorted(recorder.cuts) == ["rec_1", "rec_2"], "once each"


@virtual_time
async def test_V81_an_explicit_stop_is_told_and_an_end_is_not() -> None:
    recorder, parts = recorded()
    async with stage(pipeline=parts) as room:
        await room.channel.say(room.session, "All of it.")
        assert recorder.cuts == []
        saying = asyncio.create_task(room.channel.say(room.session, LONG))
        await room.quiet(300)
        await room.channel.interrupt_all(ROOM)
        await saying
        assert len(recorder.cuts) == 1


@virtual_time
async def test_V81_a_pause_is_a_cut_of_what_was_on_its_way() -> None:
    recorder, parts = recorded()
    rules = InterruptionConfig(resume_false_interruption_ms=300)
    async with stage(
        transcripts=["hello", ""], answers=[LONG], interruption=rules, pipeline=parts
    ) as room:
        await room.ask()
        await room.quiet(400)
        await room.speak(600)
        await room.quiet(40)
        assert len(recorder.cuts) == 1
        await room.quiet(9000)
        assert len(recorder.cuts) == 1, "it goes on to its end"
