"""`subscribe`: both sides of a call as binary frames (G48)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import numpy as np
import pytest
from tests.unit.gateway.scripted_transport import Carried, carrying

from salon.gateway.subscription import Subscription
from salon.media.frame import Samples
from salon.testing import CallPair, scripted_gateway, tone
from salon.voice.engine import VoiceEngine


@pytest.fixture
async def carried(engine: VoiceEngine) -> AsyncIterator[Carried]:
    async with carrying(engine, companions=lambda _s: (Subscription(),)) as made:
        yield made


def side(call: CallPair, index: int) -> Samples:
    """What was pushed of one side."""
    parts = [
        bytes(frame.data[1:])
        for frame in call.audio
        if isinstance(frame.data, bytes) and frame.data[0] == index
    ]
    return np.frombuffer(b"".join(parts), dtype="<i2")


async def say(carried: Carried, samples: Samples) -> None:
    hear = carried.transport.leg.hear
    assert hear is not None
    for frame in samples.reshape(-1, 320):
        hear(frame)
        await asyncio.sleep(0.02)


async def test_G48_each_frame_says_whose_it_is(carried: Carried) -> None:
    await carried.call.invite(offer="mine", subscribe=True)
    assert not carried.call.of("error")
    await say(carried, tone(400))
    assert np.array_equal(side(carried.call, 1), tone(400))
    assert not len(side(carried.call, 0))
    carried.call.send({"command": "tts", "text": "hello"})
    await carried.call.expect("trackEnd", trackId="server-side-track")
    assert np.array_equal(side(carried.call, 0), np.concatenate(carried.transport.leg.sent))
    assert len(side(carried.call, 0)) == 300 * 16
    assert {len(frame.data) for frame in carried.call.audio} == {641}


async def test_G48_nothing_is_sent_before_the_answer_or_after_the_end(carried: Carried) -> None:
    media = carried.session.media
    carried.transport.gathering.clear()
    carried.call.send(
        {"command": "invite", "option": {"offer": "mine", "subscribe": True}},
    )
    await asyncio.sleep(1)
    media.hear(tone(20))
    carried.transport.gathering.set()
    await carried.call.expect("answer")
    assert "audio" not in carried.call.order
    media.hear(tone(20))
    assert carried.call.order[-1] == "audio"
    carried.call.send({"command": "hangup"})
    await carried.call.closed()
    assert not media.taps
    assert not media.played_taps


@pytest.mark.parametrize("option", [{}, {"subscribe": False}])
async def test_G316_without_it_no_binary_frame_is_sent(
    carried: Carried, option: dict[str, bool]
) -> None:
    await carried.call.invite(offer="mine", **option)
    await say(carried, tone(100))
    assert not carried.call.audio
    carried.call.send({"command": "hangup"})
    await carried.call.closed()


async def test_G48_it_has_no_effect_where_sound_is_binary_anyway(engine: VoiceEngine) -> None:
    async with scripted_gateway(engine, companions=lambda _s: (Subscription(),)) as gateway:
        call = CallPair.connect(gateway.acceptor)
        await call.invite(subscribe=True)
        await call.send_audio(tone(200))
        assert not call.audio
        assert not call.of("error")


async def test_G48_a_background_alone_is_nobodys_track(carried: Carried) -> None:
    hum = np.full(320, 500, dtype=np.int16)
    await carried.call.invite(offer="mine", subscribe=True)
    carried.session.media.background = lambda frame: hum if frame is None else frame
    await asyncio.sleep(0.5)
    assert len(carried.transport.leg.sent) == 25
    assert not carried.call.audio
    carried.call.send({"command": "tts", "text": "hello"})
    await carried.call.expect("trackEnd", trackId="server-side-track")
    assert len(side(carried.call, 0)) == 300 * 16


async def test_a_client_that_does_not_read_loses_sound_and_no_event(carried: Carried) -> None:
    await carried.call.invite(offer="mine", subscribe=True)
    carried.call.socket.reading = False
    await say(carried, tone(2000))
    carried.call.send({"command": "custom", "sender": "me", "data": {}})
    await asyncio.sleep(0.1)
    assert carried.session.dropped_audio == 50
    assert all(earlier.at <= later.at for earlier, later in pairwise(carried.call.audio))


async def test_what_comes_once_nobody_is_there_is_nothing(carried: Carried) -> None:
    await carried.call.invite(offer="mine", subscribe=True)
    (companion,) = carried.session.companions
    assert isinstance(companion, Subscription)
    said, played = carried.session.media.taps[0], carried.session.media.played_taps[0]
    await companion.end("over")
    said(tone(20))
    played(tone(20))
    assert not carried.call.audio
    await companion.end("again")
