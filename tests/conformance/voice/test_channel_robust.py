"""What goes wrong on one line, in one hook or in one plugged-in part stays there (V204, V205)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.conformance.voice.stage import ROOM, Stage, stage

from salon.models import Access, HookResult, HookTrigger
from salon.testing import virtual_time
from salon.voice.bridge_config import AudioBridgeConfig
from salon.voice.events import Dtmf
from salon.voice.interruption import InterruptionConfig, InterruptionStrategy
from salon.voice.pipeline.backchannel.base import BackchannelDetector

T = HookTrigger
ANSWER = "There are many things to tell about this town and its people."


async def hears_an_answer(room: Stage) -> None:
    """Ann asks, and hears what is said."""
    before = room.played_ms()
    await room.ask()
    await asyncio.sleep(4)
    assert room.played_ms() > before


@virtual_time
async def test_V243_who_leaves_while_speaking_holds_nobody_s_answer() -> None:
    async with stage(transcripts=["tell me"], answers=[ANSWER]) as room:
        bob = await room.join("bob")
        await room.begin(bob)
        room.channel.unbind_session(bob)
        await hears_an_answer(room)


@virtual_time
async def test_who_leaves_a_paused_answer_lets_it_go_on() -> None:
    interruption = InterruptionConfig(resume_false_interruption_ms=1000)
    async with stage(transcripts=["tell me"], answers=[ANSWER], interruption=interruption) as room:
        bob = await room.join("bob")
        await room.ask()
        await room.quiet(300)
        await room.begin(bob)
        await room.quiet(500, bob)
        await room.channel.disconnect_session(bob, ROOM)
        before = room.played_ms()
        await asyncio.sleep(4)
        assert room.played_ms() > before + 200


@virtual_time
async def test_a_room_deleted_in_mid_answer_leaves_no_floor_behind() -> None:
    async with stage(transcripts=["tell me"], answers=[ANSWER]) as room:
        await room.ask()
        await room.quiet(300)
        await room.kit.delete_room(ROOM)
        await room.channel.disconnect_session(room.session, ROOM)
        await asyncio.sleep(10)
        assert ROOM not in room.channel._rooms.floors


@virtual_time
async def test_V204_a_backchannel_detector_that_raises_takes_no_line_down() -> None:
    class Broken(BackchannelDetector):
        @property
        def name(self) -> str:
            return "broken"

        def classify(self, context: Any) -> Any:
            raise RuntimeError("broken")

    interruption = InterruptionConfig(
        strategy=InterruptionStrategy.SEMANTIC, backchannel_detector=Broken()
    )
    async with stage(
        transcripts=["tell me", "stop"], answers=[ANSWER, "ok"], interruption=interruption
    ) as room:
        await room.ask()
        await room.quiet(300)
        await room.speak(600)
        await asyncio.sleep(4)
        assert (await room.said())[-2:] == ["stop", "ok"]


@virtual_time
async def test_a_line_whose_events_come_too_fast_is_ended_alone() -> None:
    async with stage(transcripts=["tell me"], answers=[ANSWER]) as room:
        bob = await room.join("bob")
        line = room.channel._lines.get(bob.id)
        assert line is not None
        for _ in range(3000):
            line.caller.session.events.post(Dtmf("1"))
        await asyncio.sleep(0.5)
        assert room.channel._lines.get(bob.id) is None
        await hears_an_answer(room)


@pytest.mark.parametrize("way", ["add_media_tap", "add_outbound_media_tap"])
@virtual_time
async def test_V204_a_media_tap_that_raises_is_counted(way: str) -> None:
    def broken(*_args: Any) -> None:
        raise RuntimeError("broken")

    async with stage(transcripts=["tell me"], answers=[ANSWER], bound=False) as room:
        getattr(room.channel, way)(broken)
        room.channel.bind_session(room.session, ROOM)
        await hears_an_answer(room)
        line = room.channel._lines.get(room.session.id)
        assert line is not None
        assert line.caller.session.tap_failures > 3


@virtual_time
async def test_V205_who_may_not_speak_is_heard_by_nobody() -> None:
    bridge = AudioBridgeConfig(mixing_strategy="mix")
    async with stage(transcripts=["tell me", "no"], answers=[ANSWER], bridge=bridge) as room:
        bob = await room.join("bob")
        await room.ask()
        await room.quiet(300)
        room.watch(T.ON_SPEECH_START, T.ON_BARGE_IN, T.ON_TRANSCRIPTION)
        await room.kit.mute(ROOM, "voice")
        await room.speak(800, bob)
        await asyncio.sleep(4)
        assert room.order() == []
        assert (await room.said())[-1] == ANSWER
        await room.kit.unmute(ROOM, "voice")
        await room.kit.set_access(ROOM, "voice", Access.READ_ONLY)
        await room.speak(800, bob)
        assert room.order() == []


@virtual_time
async def test_V205_who_joins_a_muted_channel_is_not_heard_either() -> None:
    async with stage(transcripts=["no"], bound=False) as room:
        await room.kit.mute(ROOM, "voice")
        room.channel.bind_session(room.session, ROOM)
        await asyncio.sleep(0.1)
        room.watch(T.ON_SPEECH_START)
        await room.speak(400)
        assert room.order() == []


@virtual_time
async def test_V93_interim_words_are_not_shown_where_they_may_be_refused() -> None:
    shown: list[str] = []
    async with stage(
        transcripts=["my card is 4111"],
        caption=lambda _room, _who, _name, text, _final: shown.append(text),
    ) as room:

        @room.kit.hook(T.ON_TRANSCRIPTION)
        async def refuse(_event: Any, _context: Any) -> HookResult:
            return HookResult.block("private")

        await room.speak(600)
        await asyncio.sleep(1)
        assert not any(shown)


@virtual_time
async def test_V85_a_session_that_never_became_live_leaves_no_task() -> None:
    async with stage(bound=False) as room:
        before = len(asyncio.all_tasks())
        for _ in range(5):
            session = await room.backend.connect(ROOM, "ann", "voice")
            room.channel.bind_session(session, ROOM)
            await room.channel.disconnect_session(session, ROOM)
        await asyncio.sleep(1)
        assert len(asyncio.all_tasks()) <= before + 1
