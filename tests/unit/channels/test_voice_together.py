"""People and the agent at the same time: neither takes the place of the other (V143)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
from tests.unit.voice.scripted_call import calling

from salon.media import Samples
from salon.media.frame import FRAME_SAMPLES
from salon.media.mixer import both
from salon.testing import (
    CallPair,
    MockAIProvider,
    scripted_engine,
    scripted_rooms,
    tone,
    virtual_time,
)
from salon.voice.bridge_config import AudioBridgeConfig
from salon.voice.interruption import InterruptionConfig, InterruptionStrategy
from salon.voice.playback import Playback, SoundTrack
from salon.voice.turns import TurnConfig

ANN_HZ = 300.0
LONG = "a long answer which both of you listen to until its very end"


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[CallPair, CallPair]]:
    """Ann and Ben, and an agent whom nobody interrupts."""
    never = InterruptionStrategy.DISABLED
    async with scripted_engine() as engine:
        options = {
            "bridge": AudioBridgeConfig(mixing_strategy="mix"),
            "interruption": InterruptionConfig(strategy=never),
        }
        agent = MockAIProvider([LONG], clock=engine.clock)
        turns = TurnConfig(strategy=never)
        async with scripted_rooms(engine, agent, turns=turns, voice_options=options) as rooms:
            ann, ben = rooms.call(participant="ann"), rooms.call(participant="ben")
            await ann.invite()
            await ben.invite()
            yield ann, ben


def apart(sound: Samples, hertz: float) -> tuple[float, float]:
    """The level of one tone, and of all the rest."""
    t = np.arange(len(sound)) / 16_000
    wave = np.stack([np.sin(2 * np.pi * hertz * t), np.cos(2 * np.pi * hertz * t)])
    found = np.linalg.lstsq(wave.T, sound.astype(np.float64), rcond=None)[0]
    rest = sound - wave.T @ found
    return float(np.hypot(*found)), float(np.sqrt(np.mean(rest**2)))


@virtual_time
async def test_V143_who_speaks_over_the_agent_is_heard_and_so_is_the_agent() -> None:
    async with pair() as (ann, ben):
        ann.send({"command": "chat", "text": "tell us"})
        await ben.expect("trackStart", trackId="server-side-track")
        await asyncio.sleep(0.1)
        before = len(ben.sound)
        await ann.send_audio(tone(600, ANN_HZ))
        assert not ben.of("trackEnd"), "the agent is still speaking"
        window = slice(before + 1600, before + 8000)
        person, agent = apart(ben.sound[window], ANN_HZ)
        assert person > 1000
        assert agent > 1000
        herself, agent = apart(ann.sound[window], ANN_HZ)
        assert herself < 0.1 * person
        assert agent > 1000


@virtual_time
async def test_V143_each_frame_is_the_sum_of_what_is_played_and_of_the_others() -> None:
    async with calling() as call:
        others = tone(20, ANN_HZ)
        call.session.mix = lambda: others
        await asyncio.sleep(0.05)
        agent = tone(100, 440.0)
        call.session.play(Playback(SoundTrack(agent), "bell"))
        await asyncio.sleep(0.3)
        call.session.mix = None
        sums = [both(frame, others).tobytes() for frame in agent.reshape(-1, FRAME_SAMPLES)]
        first = call.sent.index(sums[0])
        assert call.sent[first : first + 5] == sums
        assert first > 0
        alone = {*call.sent[:first], *call.sent[first + 5 :]}
        assert alone == {others.tobytes()}
