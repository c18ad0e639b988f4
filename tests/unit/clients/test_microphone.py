"""The microphone and its beat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from tests.unit.clients.server import SteppedClock, serving

from salon.clients.call import CallClient, CallClosed, Microphone
from salon.clients.call.microphone import MAX_LIVE, MAX_SPEECH
from salon.clients.call.pace import Beat
from salon.media import SILENCE, Samples, make_codec, sine

QUIET = SILENCE.tobytes()


class Wire:
    """Takes frames; can be told to wait for a number of them, or to be closed after some."""

    def __init__(self, fail_after: int | None = None) -> None:
        self.frames: list[bytes] = []
        self.fail_after = fail_after
        self._more = asyncio.Event()

    async def send(self, data: bytes) -> None:
        if self.fail_after is not None and len(self.frames) >= self.fail_after:
            raise CallClosed(1006)
        self.frames.append(data)
        self._more.set()

    async def reach(self, count: int) -> None:
        while len(self.frames) < count:
            self._more.clear()
            await asyncio.wait_for(self._more.wait(), 5)


def mic(wire: Wire, source: AsyncIterator[Samples] | None = None) -> Microphone:
    return Microphone(wire.send, make_codec("pcm"), source=source, clock=SteppedClock())


async def test_silence_before_between_and_after_speech() -> None:
    wire = Wire()
    tone = sine(440, 0.05)
    async with mic(wire) as microphone:
        await wire.reach(3)
        spoken = await microphone.say(tone)
        await wire.reach(len(wire.frames) + 2)
    sound = b"".join(wire.frames)
    assert spoken.frames == 3
    assert spoken.end - spoken.start == pytest.approx(0.06)
    assert sound.strip(b"\0").strip() in tone.tobytes()
    loud = [number for number, frame in enumerate(wire.frames) if frame != QUIET]
    assert loud == [loud[0], loud[0] + 1, loud[0] + 2]
    assert loud[0] >= 3
    assert wire.frames[-2:] == [QUIET, QUIET]
    assert microphone.sent == len(wire.frames)


async def test_two_recordings_follow_each_other_without_a_gap() -> None:
    wire = Wire()
    async with mic(wire) as microphone:
        first, second = await asyncio.gather(
            microphone.say(sine(440, 0.04)), microphone.say(sine(660, 0.04))
        )
    assert second.start == pytest.approx(first.end)


async def test_cancelling_say_takes_the_rest_back() -> None:
    wire = Wire()
    async with mic(wire) as microphone:
        task = asyncio.create_task(microphone.say(sine(440, 5.0)))
        await wire.reach(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert microphone.pending == 0
        count = len(wire.frames)
        await wire.reach(count + 2)
    assert wire.frames[-1] == QUIET


async def test_the_end_of_the_call_reaches_who_speaks() -> None:
    wire = Wire(fail_after=4)
    async with mic(wire) as microphone:
        with pytest.raises(CallClosed, match="1006"):
            await microphone.say(sine(440, 1.0))
        with pytest.raises(CallClosed, match="1006"):
            await microphone.say(sine(440, 1.0))


async def test_closing_the_microphone_reaches_who_speaks() -> None:
    wire = Wire()
    async with mic(wire) as microphone:
        task = asyncio.create_task(microphone.say(sine(440, 60.0)))
        await wire.reach(3)
    with pytest.raises(CallClosed, match="microphone is closed"):
        await task


async def test_speech_that_waits_is_bounded() -> None:
    wire = Wire()
    async with mic(wire) as microphone:
        with pytest.raises(ValueError, match="600 s of speech"):
            await microphone.say(np.zeros(320 * (MAX_SPEECH + 1), dtype=np.int16))
        with pytest.raises(ValueError, match="no sound"):
            await microphone.say(np.zeros(0, dtype=np.int16))


async def test_a_live_source_is_merged_and_speech_goes_first() -> None:
    wire = Wire()
    live = np.full(320, 7, dtype=np.int16)
    go_on = asyncio.Event()

    async def source() -> AsyncIterator[Samples]:
        yield live[:100]
        yield live[100:]
        await go_on.wait()
        yield live

    async with mic(wire, source()) as microphone:
        await wire.reach(4)
        assert wire.frames.count(live.tobytes()) == 1
        go_on.set()
        await wire.reach(len(wire.frames) + 4)
        assert wire.frames.count(live.tobytes()) == 2
        microphone.muted = True


async def test_a_live_source_that_is_too_fast_loses_its_oldest() -> None:
    wire = Wire()

    async def source() -> AsyncIterator[Samples]:
        yield np.repeat(np.arange(1, MAX_LIVE + 11, dtype=np.int16), 320)
        await asyncio.Event().wait()

    async with mic(wire, source()) as microphone:
        await wire.reach(2 + MAX_LIVE)
        dropped = microphone.dropped
    heard = [np.frombuffer(frame, dtype=np.int16)[0] for frame in wire.frames if frame != QUIET]
    assert dropped == 10
    assert heard[:MAX_LIVE] == list(range(11, MAX_LIVE + 11))


async def test_muted_sends_silence_in_place_of_the_live_source() -> None:
    wire = Wire()

    async def source() -> AsyncIterator[Samples]:
        while True:
            yield np.ones(320, dtype=np.int16)
            await asyncio.sleep(0)

    microphone = mic(wire, source())
    microphone.muted = True
    async with microphone:
        await wire.reach(5)
    assert set(wire.frames) == {QUIET}


async def test_stream_wav_goes_through_an_open_microphone(tmp_path: Path) -> None:
    async with serving() as server, CallClient.connect(server.url) as call:
        await call.invite("pcmu")
        async with call.microphone() as microphone:
            spoken = await call.stream_wav(sine(440, 0.06))
            with pytest.raises(ValueError, match="open already"):
                async with call.microphone():
                    pass
        assert microphone.sent >= spoken.frames == 3
        async with call.microphone():
            pass
        await call.hangup()
        await call.wait_closed(5)
        assert {len(frame) for frame in server.peer.frames} == {160}


async def test_deadlines_are_absolute_so_lateness_does_not_add_up() -> None:
    clock = SteppedClock()
    beat = Beat(clock)
    start = clock.monotonic()
    deadlines = [await beat.next()]
    clock.now_s += 0.05
    deadlines += [await beat.next() for _ in range(4)]
    assert deadlines == pytest.approx([start + n * 0.02 for n in range(5)])
    assert clock.naps == pytest.approx([0.01, 0.02])
    assert beat.max_late == pytest.approx(0.03)


async def test_after_a_long_stall_the_beat_starts_anew() -> None:
    clock = SteppedClock()
    beat = Beat(clock)
    await beat.next()
    clock.now_s += 5
    assert await beat.next() == clock.monotonic()
    await beat.next()
    assert clock.naps == pytest.approx([0.02])
    assert beat.restarts == 1
