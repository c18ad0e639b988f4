"""What may be plugged into a call's sound: sources, a background, cleaning, other tracks."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from tests.unit.voice.scripted_call import Call, calling

from salon.media.frame import FRAME_SAMPLES, Samples
from salon.testing import tone, virtual_time
from salon.voice.events import Paused, TrackEnded, TrackStarted
from salon.voice.playback import NotPausableError, Playback, SoundTrack

FRAME = np.full(FRAME_SAMPLES, 100, dtype=np.int16)


def sent(call: Call) -> list[Samples]:
    return [np.frombuffer(packet, dtype=np.int16) for packet in call.sent]


class Live:
    """Sound as it comes; it can't be held."""

    pausable = False

    def __init__(self) -> None:
        self.frames: list[Samples] = []
        self.finished = False
        self.closed = 0

    def next_frame(self, now: float) -> Samples | None:
        return self.frames.pop(0) if self.frames else None

    def close(self) -> None:
        self.closed += 1


@virtual_time
async def test_sources_are_heard_beside_what_plays_and_beside_each_other() -> None:
    async with calling() as call:
        ticks = iter([FRAME, FRAME, None, FRAME])
        call.session.sources.append(lambda: next(ticks, None))
        call.session.sources.append(lambda: FRAME if len(call.sent) == 1 else None)
        call.session.mix = lambda: FRAME if len(call.sent) == 1 else None
        await asyncio.sleep(0.2)
        assert [int(frame[0]) for frame in sent(call)] == [100, 300, 100]
        call.session.deaf = True  # rooms keep their people from a caller, not a bridge
        ticks = iter([FRAME])
        await asyncio.sleep(0.1)
        assert len(call.sent) == 4
        call.session.sources.clear()
        call.session.play(Playback(SoundTrack(tone(100)), "bell"))
        await asyncio.sleep(0.2)
        assert len(call.sent) == 9


@virtual_time
async def test_G135_a_background_has_the_last_word_at_each_tick() -> None:
    async with calling() as call:
        got: list[bool] = []

        def background(frame: Samples | None) -> Samples | None:
            got.append(frame is not None)
            return FRAME if len(got) % 2 else None

        call.session.background = background
        call.session.play(Playback(SoundTrack(tone(100)), "bell"))
        assert not call.sent  # not before its tick
        await asyncio.sleep(0.3)
        assert got[:6] == [True] * 5 + [False]
        assert len(got) >= 14
        assert all(np.array_equal(frame, FRAME) for frame in sent(call))
        assert len(call.sent) == (len(got) + 1) // 2
        call.leg.ready = False
        count = len(got)
        await asyncio.sleep(0.1)
        assert len(got) == count


@virtual_time
async def test_G130_what_is_cleaned_is_recorded_and_heard() -> None:
    async with calling() as call:
        taken: list[Samples] = []
        held: list[Samples] = []

        def clean(samples: Samples) -> Samples:
            held.append(samples)
            return held[-2] // 2 if len(held) > 1 else samples[:0]

        call.session.clean = clean
        call.session.taps.append(taken.append)
        for value in (100, 200, 300):
            call.session.hear(np.full(FRAME_SAMPLES, value, dtype=np.int16))
        call.session.muted = True
        call.session.hear(FRAME)
        assert [int(part[0]) for part in taken] == [50, 100, 150]
        assert not held[-1].any()


@virtual_time
async def test_G87_a_muted_playback_is_silent_and_ends_in_its_time() -> None:
    async with calling() as call:
        playback = Playback(SoundTrack(tone(200)), "bell")
        call.session.play(playback)
        await asyncio.sleep(0.1)
        playback.muted = True
        heard = len(call.sent)
        await asyncio.sleep(0.06)
        assert not np.concatenate(sent(call)[heard:]).any()
        playback.muted = False
        await asyncio.sleep(0.2)
        assert len(call.sent) == 10
        assert sent(call)[-1].any()


@virtual_time
async def test_G77_a_track_that_cannot_pause_says_so() -> None:
    async with calling() as call:
        live = Live()
        call.session.play(Playback(live, "line"))
        with pytest.raises(NotPausableError, match="does not support pausing: line"):
            call.session.pause()
        live.frames += [FRAME, FRAME]
        await asyncio.sleep(0.2)
        assert len(call.sent) == 2
        assert len(call.of(TrackStarted)) == 1
        assert not call.of(TrackEnded)
        live.finished = True
        await asyncio.sleep(0.1)
        assert len(call.of(TrackEnded)) == live.closed == 1


@virtual_time
async def test_G77_speech_over_such_a_track_cuts_it_where_it_would_hold_another() -> None:
    async with calling() as call:
        live = Live()
        call.session.holds = True
        call.session.play(Playback(live, None))
        call.session.barge_in(0)
        assert live.closed == 1
        call.session.play(Playback(SoundTrack(tone(200)), "bell"))
        call.session.barge_in(0)
        await asyncio.sleep(0.1)
        assert len(call.of(Paused)) == 1
        assert call.session.player.current is not None
