"""The hooks of a voice channel: payloads, rates, filters (part 15)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.conformance.voice.stage import FRAME, ROOM, stage

from salon.media.frame import FRAME_SAMPLES, AudioFrame
from salon.models import (
    ChannelDirection,
    ChannelType,
    HookExecution,
    HookResult,
    HookTrigger,
)
from salon.testing import virtual_time
from salon.voice.pipeline.vad.base import VADEvent, VADEventType

T = HookTrigger
LONG = "This is a sentence that goes on for quite a while, and then some more."


async def _sent(result: Any) -> None:
    """Works whether sending is awaited or not."""
    if result is not None:
        await result


@virtual_time
async def test_V127_V128_levels_come_at_most_ten_times_a_second() -> None:
    loud = AudioFrame(b"\x00\x20" * FRAME_SAMPLES)
    async with stage(transcripts=["hello"], bound=False) as room:
        room.watch(T.ON_INPUT_AUDIO_LEVEL, T.ON_OUTPUT_AUDIO_LEVEL, T.ON_VAD_AUDIO_LEVEL)
        room.channel.bind_session(room.session, ROOM)
        talk = asyncio.create_task(room.channel.say(room.session, LONG * 2))
        for number in range(100):
            await room.backend.simulate_audio_received(room.session, loud if number % 2 else FRAME)
            await asyncio.sleep(0.02)
        await talk
        for trigger in (T.ON_INPUT_AUDIO_LEVEL, T.ON_OUTPUT_AUDIO_LEVEL, T.ON_VAD_AUDIO_LEVEL):
            levels = room.given(trigger)
            assert 15 <= len(levels) <= 32, trigger
            assert all(-100 <= level.level_db <= 0 for level in levels)
            assert all(level.session is room.session for level in levels)
        assert len(room.given(T.ON_INPUT_AUDIO_LEVEL)) <= 21


@virtual_time
async def test_V128_levels_are_told_to_hooks_registered_after_the_call_began() -> None:
    async with stage() as room:
        await room.quiet(200)
        room.watch(T.ON_INPUT_AUDIO_LEVEL)
        await room.quiet(1000)
        assert 8 <= len(room.fired) <= 11


@virtual_time
async def test_V127_silence_and_levels_of_a_detector() -> None:
    async with stage() as room:
        room.watch(T.ON_VAD_SILENCE, T.ON_VAD_AUDIO_LEVEL)
        room.vad.tell(room.session.id, VADEvent(VADEventType.SILENCE, duration_ms=600))
        room.vad.tell(room.session.id, VADEvent(VADEventType.AUDIO_LEVEL, level_db=-33.0))
        await room.feed(2)
        await asyncio.sleep(0.1)
        (silence,) = room.given(T.ON_VAD_SILENCE)
        assert silence.silence_duration_ms == 600
        assert -33.0 in [level.level_db for level in room.given(T.ON_VAD_AUDIO_LEVEL)]


@virtual_time
async def test_V131_filters_hold_for_voice_hooks_that_observe() -> None:
    async with stage(transcripts=["hello"]) as room:
        for right, wrong in (
            ({"channel_ids": ["voice"]}, {"channel_ids": ["other"]}),
            ({"channel_types": [ChannelType.VOICE]}, {"channel_types": [ChannelType.SMS]}),
            (
                {"directions": [ChannelDirection.INBOUND]},
                {"directions": [ChannelDirection.OUTBOUND]},
            ),
            ({"room_id": ROOM}, {"room_id": "elsewhere"}),
        ):
            room.fired.clear()
            room.watch(T.ON_SPEECH_START, **right)
            await room.speak()
            await asyncio.sleep(0.1)
            assert room.fired, right
            before = len(room.fired)
            room.watch(T.ON_SPEECH_START, **wrong)
            await room.speak()
            await asyncio.sleep(0.1)
            assert len(room.fired) - before == before, wrong
            room.kit.hooks.__init__()  # type: ignore[misc]


@pytest.mark.parametrize(
    "filters",
    [
        {"channel_ids": ["other"]},
        {"channel_types": [ChannelType.SMS]},
        {"directions": [ChannelDirection.OUTBOUND]},
        {"room_id": "elsewhere"},
    ],
)
@virtual_time
async def test_V131_and_for_those_that_decide(filters: dict[str, Any]) -> None:
    async with stage(transcripts=["hello"]) as room:

        @room.kit.hook(T.ON_TRANSCRIPTION, name="deaf", **filters)
        async def refuse(_event: Any, _context: Any) -> HookResult:
            return HookResult.block("no")

        await room.speak()
        await asyncio.sleep(0.1)
        assert await room.said() == ["hello"]


@virtual_time
async def test_V131_hooks_of_one_room() -> None:
    async with stage(transcripts=["hello", "again"]) as room:

        async def refuse(_event: Any, _context: Any) -> HookResult:
            return HookResult.block("no")

        await _sent(
            room.kit.add_room_hook(
                ROOM, T.ON_TRANSCRIPTION, HookExecution.SYNC, refuse, name="refuse"
            )
        )
        await room.speak()
        await asyncio.sleep(0.1)
        assert await room.said() == []
        await _sent(room.kit.remove_room_hook(ROOM, "refuse"))
        await room.speak()
        await asyncio.sleep(0.1)
        assert await room.said() == ["again"]


@virtual_time
async def test_V127_hooks_of_a_line_come_in_order_even_if_one_is_slow() -> None:
    async with stage(transcripts=["one", "two"]) as room:
        order: list[str] = []

        @room.kit.hook(T.ON_TRANSCRIPTION)
        async def slow(event: Any, _context: Any) -> HookResult:
            await asyncio.sleep(0.5)
            order.append(event.text)
            return HookResult.allow()

        await room.speak()
        await room.speak()
        await room.quiet(2000)
        assert order == ["one", "two"]
        assert await room.said() == ["one", "two"]
