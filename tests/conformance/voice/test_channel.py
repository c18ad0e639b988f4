"""The voice channel from outside (test list of part 24)."""

from __future__ import annotations

import asyncio

from tests.conformance.voice.stage import START, end, stage

from salon.models import HookTrigger
from salon.testing import virtual_time

T = HookTrigger


@virtual_time
async def test_V90_speech_end_transcription_and_routing_come_in_order() -> None:
    async with stage([START, None, end()], ["hello there"]) as room:
        room.watch(T.ON_SPEECH_START, T.ON_SPEECH_END, T.ON_TRANSCRIPTION, T.BEFORE_BROADCAST)
        await room.feed(3)
        await asyncio.sleep(0.5)
        assert room.order() == [
            T.ON_SPEECH_START,
            T.ON_SPEECH_END,
            T.ON_TRANSCRIPTION,
            T.BEFORE_BROADCAST,
        ]
        assert await room.said() == ["hello there"]
        (message,) = await room.messages()
        assert message.source.participant_id == "ann"
        assert message.source.provider == room.backend.name


@virtual_time
async def test_V99_an_answer_is_spoken() -> None:
    async with stage([START, None, end()], ["hello"], answers=["good morning to you"]) as room:
        await room.feed(3)
        await asyncio.sleep(3)
        assert await room.said() == ["hello", "good morning to you"]
        assert room.backend.sent_audio


@virtual_time
async def test_V15_a_session_starts_once_it_is_bound_and_live() -> None:
    for bind_first in (True, False):
        async with stage(bound=False) as room:
            room.watch(T.ON_SESSION_STARTED)
            if bind_first:
                room.channel.bind_session(room.session, "room")
                await asyncio.sleep(0.1)
                assert not room.fired
            await room.backend.simulate_session_ready(room.session)
            if not bind_first:
                await asyncio.sleep(0.1)
                assert not room.fired
                room.channel.bind_session(room.session, "room")
            await room.backend.simulate_session_ready(room.session)
            await asyncio.sleep(0.1)
            assert room.order() == [T.ON_SESSION_STARTED]
