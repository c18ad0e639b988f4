"""Rooms that are closed, and agents that lose their voice in mid-answer (V20, R24, R75)."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from tests.conformance.voice.stage import ROOM, Stage, stage

from salon.media.frame import AudioFrame
from salon.models import Access, EventType, HookTrigger
from salon.testing import virtual_time
from salon.voice.bridge_config import AudioBridgeConfig
from salon.voice.events import Partial

T = HookTrigger
ANSWER = "There are many things to tell about this town and its people."
LOUD = AudioFrame.of(np.full(320, 6000, dtype=np.int16))


def hears(room: Stage, session: Any) -> None:
    """An interim word of somebody."""
    line = room.channel._lines.get(session.id)
    assert line is not None
    line.caller.session.events.post(Partial(0, "so", 0, 100))


async def talks(room: Stage, who: Any, frames: int = 20) -> None:
    for _ in range(frames):
        await room.backend.simulate_audio_received(who, LOUD)
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("how", ["close_room", "archive_room"])
@virtual_time
async def test_V20_no_words_are_shown_in_a_closed_room(how: str) -> None:
    shown: list[str] = []

    def caption(*told: Any) -> None:
        shown.append(told[3])

    async with stage(caption=caption) as room:
        room.watch(T.ON_PARTIAL_TRANSCRIPTION)
        hears(room, room.session)
        await asyncio.sleep(0.1)
        assert (shown, len(room.fired)) == (["so"], 1)
        await getattr(room.kit, how)(ROOM)
        hears(room, room.session)
        await asyncio.sleep(0.1)
        assert (shown, len(room.fired)) == (["so"], 1)
        if how == "close_room":
            await room.kit.reopen_room(ROOM)
            hears(room, room.session)
            await asyncio.sleep(0.1)
            assert (shown, len(room.fired)) == (["so", "so"], 2)


@virtual_time
async def test_V20_nobody_is_bridged_in_a_closed_room() -> None:
    async with stage(bridge=AudioBridgeConfig(mixing_strategy="mix")) as room:
        bob = await room.join("bob")
        await talks(room, bob)
        heard = room.played_ms()
        assert heard > 100
        await room.kit.close_room(ROOM)
        await asyncio.sleep(0.1)
        heard = room.played_ms()
        await talks(room, bob)
        assert room.played_ms() == heard
        cat = await room.join("cat")
        await asyncio.sleep(0.1)
        heard = room.played_ms()
        await talks(room, cat)
        assert room.played_ms() == heard
        await room.kit.reopen_room(ROOM)
        await talks(room, bob)
        assert room.played_ms() > heard + 100


@virtual_time
async def test_V20_who_joins_a_closed_room_is_not_bridged() -> None:
    async with stage(bridge=AudioBridgeConfig(mixing_strategy="mix"), bound=False) as room:
        await room.kit.close_room(ROOM)
        room.channel.bind_session(room.session, ROOM)
        bob = await room.join("bob")
        await asyncio.sleep(0.1)
        heard = room.played_ms()
        await talks(room, bob)
        assert room.played_ms() == heard
        for who in (room.session, bob):
            room.channel.unbind_session(who)
        await asyncio.sleep(0.1)
        assert not room.channel._rooms.is_over(ROOM)


async def mute(room: Stage) -> None:
    await room.kit.mute(ROOM, "agent")


async def detach(room: Stage) -> None:
    await room.kit.detach_channel(ROOM, "agent")


async def read_only(room: Stage) -> None:
    await room.kit.set_access(ROOM, "agent", Access.READ_ONLY)


async def unregister(room: Stage) -> None:
    room.kit.unregister_channel("agent")


@pytest.mark.parametrize("silenced", [mute, detach, read_only, unregister])
@virtual_time
async def test_R75_an_agent_that_may_not_speak_any_more_stops(silenced: Any) -> None:
    async with stage(transcripts=["tell me"], answers=[ANSWER]) as room:
        room.watch(T.ON_TTS_CANCELLED)
        await room.ask()
        await room.quiet(400)
        await silenced(room)
        await asyncio.sleep(0.1)
        before = room.played_ms()
        await room.quiet(2000)
        assert room.played_ms() == before
        (cancelled,) = room.given(T.ON_TTS_CANCELLED)
        assert (cancelled.reason, cancelled.text) == ("explicit", "There are many things")
        # R71: who may not write any more has it stored, but not delivered
        events = await room.kit.get_timeline(ROOM, include_blocked=True)
        answer = [event for event in events if event.type is EventType.MESSAGE][-1]
        assert answer.text == "There are many things"
        assert answer.metadata["interrupted"] is True


@virtual_time
async def test_R75_what_happens_to_other_channels_stops_nobody() -> None:
    async with stage(transcripts=["tell me"], answers=[ANSWER]) as room:
        await room.ask()
        await room.kit.set_visibility(ROOM, "agent", "all")
        await room.kit.set_access(ROOM, "agent", Access.WRITE_ONLY)
        await room.kit.mute(ROOM, "voice")
        room.kit.unregister_channel("nobody")
        await room.quiet(5000)
        assert (await room.said())[-1] == ANSWER
