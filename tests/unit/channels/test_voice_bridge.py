"""People of a room hear each other, and the agent as well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from salon.media import Samples
from salon.models import HookResult, HookTrigger
from salon.testing import (
    CallPair,
    MockAIProvider,
    ScriptedRooms,
    scripted_engine,
    scripted_rooms,
    tone,
    virtual_time,
)
from salon.voice.bridge_config import AudioBridgeConfig

NAMES = ("ann", "ben", "cat")
PITCH = {"ann": 440.0, "ben": 660.0, "cat": 880.0}


@asynccontextmanager
async def party(count: int = 3) -> AsyncIterator[tuple[ScriptedRooms, list[CallPair]]]:
    async with scripted_engine() as engine:
        agent = MockAIProvider(["an answer for all of you"], clock=engine.clock)
        options = {"bridge": AudioBridgeConfig(mixing_strategy="mix")}
        async with scripted_rooms(engine, agent, voice_options=options) as rooms:
            calls = []
            for name in NAMES[:count]:
                call = rooms.call(participant=name)
                await call.invite()
                calls.append(call)
            yield rooms, calls


def strength(sound: Samples, hertz: float) -> float:
    """Of one tone, 0 to 1, relative to a tone of the same level that fills the sound."""
    t = np.arange(len(sound)) / 16_000
    wave = np.exp(-2j * np.pi * hertz * t)
    return float(abs(np.dot(sound.astype(np.float64), wave)) / max(len(sound), 1) / 3000)


@virtual_time
async def test_V139_everybody_hears_everybody_else_and_never_themself() -> None:
    async with party() as (_, calls):
        await asyncio.gather(
            *(
                call.send_audio(tone(1000, PITCH[name]))
                for call, name in zip(calls, NAMES, strict=True)
            )
        )
        for call, name in zip(calls, NAMES, strict=True):
            sound = call.sound[8000:]
            levels = {other: strength(sound, PITCH[other]) for other in NAMES}
            others = [level for other, level in levels.items() if other != name]
            assert levels[name] < 0.05 * min(others), levels


@virtual_time
async def test_V143_the_agent_and_people_are_heard_together() -> None:
    async with party(2) as (_, (ann, ben)):
        ann.send({"command": "chat", "text": "tell us"})
        await ben.expect("trackStart", trackId="server-side-track")
        before = len(ben.sound)
        await ann.send_audio(tone(400, PITCH["ann"]))
        assert strength(ben.sound[before + 3200 :], PITCH["ann"]) > 0.1


@virtual_time
async def test_V141_a_hook_may_keep_sound_from_the_others() -> None:
    async with party(2) as (rooms, (ann, ben)):
        seen: list[Any] = []

        @rooms.kit.hook(HookTrigger.BEFORE_BRIDGE_AUDIO)
        async def secret(event: Any, _context: Any) -> HookResult:
            seen.append(event)
            return HookResult.block("private")

        await ann.send_audio(tone(600, PITCH["ann"]))
        await asyncio.sleep(0.2)
        assert len(seen) > 20
        assert {event.session.participant_id for event in seen} == {"ann"}
        assert not len(ben.sound) or strength(ben.sound, PITCH["ann"]) < 0.01


@virtual_time
async def test_V136_who_leaves_is_heard_no_more() -> None:
    async with party(2) as (rooms, (ann, ben)):
        ann.send({"command": "hangup"})
        await asyncio.sleep(1)
        await ben.send_audio(tone(200, PITCH["ben"]))
        assert rooms.voice._bridge is not None
        assert rooms.voice._bridge.bridge.session_count == 1
