"""What a reading of the voice channel found: each of these once went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from tests.conformance.voice.stage import ROOM, ScriptSTT, stage

from salon.base import LocalProtocolError
from salon.channels.ai import AIChannel
from salon.media.frame import AudioChunk, AudioFrame
from salon.media.wav import wav_bytes
from salon.models import AudioContent, HookTrigger, TextContent
from salon.testing import MockAIProvider, virtual_time
from salon.voice.interruption import InterruptionConfig, InterruptionStrategy
from salon.voice.pipeline.diarization.base import DiarizationProvider, DiarizationResult
from salon.voice.pipeline.recorder import (
    RecordingConfig,
    RecordingConfigurationError,
    WavFileRecorder,
)
from salon.voice.tts.provider import TTSProvider

T = HookTrigger
LONG = "This is a long answer that takes a good while to say to the end of it all."
DISABLED = InterruptionConfig(strategy=InterruptionStrategy.DISABLED)


# -- queued words and a second agent --------------------------------------------------------------


@virtual_time
async def test_V125_queued_words_keep_no_agent_that_waits_from_the_floor() -> None:
    async with stage(
        transcripts=["hello", "more words"], answers=[LONG, "ok"], interruption=DISABLED
    ) as room:
        room.kit.register_channel(AIChannel("two", provider=MockAIProvider(["Here I am.", "fine"])))
        await room.kit.attach_channel(ROOM, "two")
        await room.ask()
        floor = room.channel._rooms.floors[ROOM]
        await room.speak(500)
        silent_ms = 0
        while not any(said.agent == "two" for said in floor.speaking):
            silent_ms += 0 if floor.speaking else 20
            assert silent_ms <= 100
            await room.feed()
        await room.quiet(3000)
        said = await room.said()
        assert said.index("more words") > said.index("Here I am.") > said.index(LONG)


@virtual_time
async def test_V125_words_behind_queued_ones_keep_no_agent_off_either() -> None:
    """Those were said in a gap between two agents, while older words wait for silence."""
    async with stage(
        stt=ScriptSTT(["hello", "more", "and more"], delay=0.05),
        answers=[LONG, "ok", "ok", "ok"],
        interruption=DISABLED,
    ) as room:
        two = AIChannel("two", provider=MockAIProvider(["Here I am.", "fine", "fine", "fine"]))
        room.kit.register_channel(two)
        await room.kit.attach_channel(ROOM, "two")
        await room.ask()
        floor = room.channel._rooms.floors[ROOM]
        await room.speak(300)
        await room.begin()
        async with asyncio.timeout(5):
            while floor.speaking:
                await room.feed()
        await room.feed(10)
        assert [said.agent for said in floor.waiting] == ["two"]
        await room.fall_silent()
        await room.feed(2)
        assert [said.agent for said in floor.speaking] == ["two"]
        await room.quiet(4000)
        said = await room.said()
        assert said.index("and more") > said.index("more") > said.index("Here I am.")


@virtual_time
async def test_queued_words_that_bring_no_text_are_not_waited_for() -> None:
    async with stage(
        stt=ScriptSTT(["hello", "", RuntimeError("no"), "bye"], delay=0.05),
        answers=[LONG, "ok"],
        interruption=DISABLED,
    ) as room:
        await room.ask()
        await room.speak(200)
        await room.quiet(200)
        await room.speak(200)
        await room.quiet(2000)
        assert not room.channel._events._queued
        await room.speak(400)
        await room.quiet(1000)
        assert await room.said() == ["hello", LONG, "bye", "ok"]


@virtual_time
async def test_V125_words_wait_for_what_they_cut_and_for_nothing_else() -> None:
    """An agent that waits to tell the room something does so behind the caller's words."""
    holding = InterruptionConfig(
        strategy=InterruptionStrategy.IMMEDIATE, resume_false_interruption_ms=4000
    )
    async with stage(
        stt=ScriptSTT(["no thanks"], delay=0.05), answers=["ok"], interruption=holding
    ) as room:
        saying = asyncio.create_task(room.channel.say(room.session, LONG))
        await room.until_audible()
        await room.quiet(300)
        await room.kit.send_event(ROOM, "agent", TextContent(body="News for all of you."))
        await room.quiet(100)
        floor = room.channel._rooms.floors[ROOM]
        assert [len(floor.speaking), len(floor.waiting)] == [1, 1]
        await room.speak(400)
        assert floor.speaking[0].held_by
        await room.quiet(300)
        assert "no thanks" in await room.said()
        await saying


# -- the last words of who hangs up ---------------------------------------------------------------


@pytest.mark.parametrize("how", ["gone", "unbind", "disconnect"])
@virtual_time
async def test_V95_a_turn_that_ended_before_the_hang_up_is_routed(how: str) -> None:
    async with stage(stt=ScriptSTT(["cancel my order"], delay=0.3)) as room:
        room.watch(T.ON_SPEECH_END, T.ON_TRANSCRIPTION)
        room.watch_framework("voice_session_ended")
        await room.speak(800)
        await asyncio.sleep(0.1)
        if how == "gone":
            await room.backend.simulate_client_disconnected(room.session)
        elif how == "unbind":
            room.channel.unbind_session(room.session)
        else:
            await room.channel.disconnect_session(room.session, ROOM)
        await asyncio.sleep(2)
        assert await room.said() == ["cancel my order"]
        assert room.order() == [T.ON_SPEECH_END, T.ON_TRANSCRIPTION]
        assert [name for name, _ in room.framework] == ["voice_session_ended"]
        assert not room.channel._rooms.floors


@virtual_time
async def test_last_words_are_waited_for_five_seconds_at_most() -> None:
    async with stage(stt=ScriptSTT(["too late"], delay=60)) as room:
        room.watch_framework("voice_session_ended")
        await room.speak(800)
        await room.backend.simulate_client_disconnected(room.session)
        await asyncio.sleep(4)
        assert not room.framework
        await asyncio.sleep(1.5)
        assert len(room.framework) == 1
        await asyncio.sleep(60)
        assert await room.said() == []


# -- a session that can't be bound ----------------------------------------------------------------


@virtual_time
async def test_V83_a_session_that_could_not_be_bound_is_not_bound(tmp_path: Path) -> None:
    for config in (
        RecordingConfig(),
        RecordingConfig(storage="nowhere", storage_encrypted_at_rest=True),
    ):
        pipeline = {"recorder": WavFileRecorder(str(tmp_path)), "recording_config": config}
        async with stage(answers=["hi."], bound=False, pipeline=pipeline, bridge=True) as room:
            before, ticker = room.session.state, room.channel._engine.ticker
            for _ in range(2):
                with pytest.raises(RecordingConfigurationError):
                    room.channel.bind_session(room.session, ROOM)
                assert room.channel._lines.get(room.session.id) is None
                assert room.session.state is before
            await asyncio.sleep(0.1)
            assert ticker.statistics().callbacks == 1  # the detector's own
            config.storage_encrypted_at_rest, config.storage = True, ""
            room.channel.bind_session(room.session, ROOM)
            assert len(room.channel._rooms.callers(ROOM)) == 1


# -- speakers after a pause without packets -------------------------------------------------------


class Labels(DiarizationProvider):
    """Hears who it is told speaks."""

    label = ""

    @property
    def name(self) -> str:
        return "Labels"

    def process(self, frame: AudioFrame, stream: str) -> DiarizationResult | None:
        return DiarizationResult(self.label, 0.9, False) if self.label else None


@pytest.mark.parametrize("gap", [0, 3, 30])
@virtual_time
async def test_V236_a_pause_without_packets_moves_no_speaker(gap: int) -> None:
    told = Labels()
    async with stage(
        transcripts=["warm", "hello"], pipeline={"diarization": told}, pipeline_speakers=True
    ) as room:
        told.label = "A"
        await room.speak(400)
        await room.quiet(100)
        told.label = ""
        await asyncio.sleep(gap)
        told.label = "A"
        await room.begin()
        await room.feed(40)
        told.label = "B"
        await room.feed(8)
        await room.fall_silent()
        await room.quiet(500)
        labels = [message.metadata.get("speaker_label") for message in await room.messages()]
        assert labels == ["A", "A"]


# -- smaller things -------------------------------------------------------------------------------


@virtual_time
async def test_words_that_are_no_unicode_are_mended() -> None:
    async with stage(transcripts=["a \ud800 b", "\ud83d\ude00 c"]) as room:
        for _ in range(2):
            await room.speak(500)
            await room.quiet(500)
        assert await room.said() == ["a \ufffd b", "\U0001f600 c"]


@virtual_time
async def test_what_can_t_be_said_or_played_is_refused_by_its_type() -> None:
    async with stage() as room:
        with pytest.raises(TypeError, match="text is NoneType, not str"):
            await room.channel.say(room.session, cast(Any, None))
        with pytest.raises(TypeError, match="audio is int, not a path or bytes"):
            await room.channel.play(room.session, cast(Any, 5))


@virtual_time
async def test_V20_nothing_is_said_in_a_closed_room_to_one_session_either() -> None:
    async with stage() as room:
        await room.kit.close_room(ROOM)
        await asyncio.sleep(0.1)
        for saying in (
            room.channel.say(room.session, "hello"),
            room.channel.play(room.session, wav_bytes(np.ones(1600, np.int16))),
        ):
            with pytest.raises(LocalProtocolError, match="room 'room' is closed"):
                await saying
        assert room.played_ms() == 0


class NoSound(TTSProvider):
    """Says nothing, and fails in nothing."""

    @property
    def name(self) -> str:
        return "NoSound"

    async def synthesize(self, text: str, *, voice: str | None = None) -> AudioContent:
        raise NotImplementedError

    async def synthesize_stream(
        self, text: str, *, voice: str | None = None, context: Any = None
    ) -> AsyncIterator[AudioChunk]:
        return
        yield


@virtual_time
async def test_V106_a_voice_without_a_sound_has_failed() -> None:
    async with stage(tts=NoSound(), answers=["Hello there. All well?"], transcripts=["hi"]) as room:
        room.watch_framework("tts_error")
        await room.speak()
        await room.quiet(500)
        assert [(name, data["provider"]) for name, data in room.framework] == [
            ("tts_error", "NoSound")
        ]
        assert "no sound" in room.framework[0][1]["error"]
