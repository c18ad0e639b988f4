"""A pause that packets stall in is no longer than it was: the end of a turn waits for the sound."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from salon.media.frame import FRAME_SAMPLES, Samples
from salon.testing import VirtualClock, virtual_time
from salon.testing.vad import EnergyVad
from salon.transport.ticker import Ticker
from salon.voice.engine import VoiceEngine
from salon.voice.events import TurnEnded
from salon.voice.hearing import HearingConfig
from salon.voice.leg import SilentLeg
from salon.voice.session import MediaSession
from salon.voice.turns import TurnConfig
from salon.voice.vad.batch import BatchedVad

FRAME_S = 0.02


def frames(count: int, loud: bool) -> list[Samples]:
    wave = 8000 * np.sin(np.arange(count * FRAME_SAMPLES) * 2 * np.pi * 300 / 16_000) * loud
    return list(wave.astype(np.int16).reshape(-1, FRAME_SAMPLES))


async def turns_of(pause: int, stalled: int, *, end_silence_ms: int = 300) -> int:
    """Turns in which two sayings are heard, `pause` frames apart, of whose packets `stalled` come
    late, together."""
    engine = VoiceEngine(vad=BatchedVad(EnergyVad()), ticker=Ticker(), clock=VirtualClock())
    session = MediaSession("a", engine, leg=SilentLeg())
    engine.start()
    config = TurnConfig(end_silence_ms=end_silence_ms, max_end_silence_ms=700, adaptive=False)
    session.listen(HearingConfig(turns=config))
    sound = frames(10, False) + frames(30, True) + frames(pause, False) + frames(30, True)
    first = 10 + 30 + pause // 2
    for number, frame in enumerate(sound + frames(60, False)):
        if not first < number <= first + stalled:
            await asyncio.sleep(FRAME_S)
        elif number == first + 1:
            await asyncio.sleep(FRAME_S * stalled)
        session.hear(frame)
    await session.close()
    engine.stop()
    return len([event async for event in session.events if isinstance(event, TurnEnded)])


@virtual_time
async def test_a_pause_that_is_long_enough_ends_a_turn() -> None:
    assert await turns_of(17, 0) == 2


@pytest.mark.parametrize("stalled", [0, 2, 6, 10])
@virtual_time
async def test_packets_that_come_late_do_not_lengthen_a_pause(stalled: int) -> None:
    assert await turns_of(10, stalled) == 1


@pytest.mark.parametrize("packets", [True, False])
@virtual_time
async def test_a_clean_end_is_one_without_packets_too(packets: bool) -> None:
    """Who sends nothing while silent did not go on at once (the sample clock stands still)."""
    engine = VoiceEngine(vad=BatchedVad(EnergyVad()), ticker=Ticker(), clock=VirtualClock())
    session = MediaSession("a", engine, leg=SilentLeg())
    engine.start()
    session.listen(HearingConfig(turns=TurnConfig(end_silence_ms=300)))
    assert session.hearing is not None
    machine = session.hearing._windows
    assert machine is not None
    for _ in range(4):
        for frame in frames(30, True) + frames(25, False):
            session.hear(frame)
            await asyncio.sleep(FRAME_S)
        for frame in frames(100, False):
            if packets:
                session.hear(frame)
            await asyncio.sleep(FRAME_S)
    assert machine.end_silence_ms < 300
    await session.close()
    engine.stop()
