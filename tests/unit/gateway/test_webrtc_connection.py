"""The connection of a call over WebRTC, from its loss to its end: G150, G321."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.conformance.gateway.scripted_peer import Desk, opened

from salon.gateway.webrtc import GRACE_S
from salon.testing import CallRefusedError
from salon.transport.packets import PeerState
from salon.voice.engine import VoiceEngine
from salon.voice.packet_leg import PacketLeg


@pytest.fixture
async def desk(engine: VoiceEngine) -> AsyncIterator[Desk]:
    async with opened(engine) as made:
        yield made


# -- the connection -------------------------------------------------------------------------------


async def test_G60_a_connection_that_does_not_come_up_in_time_ends_the_call(desk: Desk) -> None:
    await desk.call.invite(offer="mine", handshakeTimeout=3)
    error = await desk.call.expect("error", timeout=4)
    assert error["error"] == "the call is not up after 3 s"
    assert await desk.call.closed() == 1011


async def test_G60_a_connection_that_is_lost_again_is_given_its_grace(desk: Desk) -> None:
    await desk.call.invite(offer="mine", handshakeTimeout=3)
    (peer,) = desk.peers
    await asyncio.sleep(1)
    peer.become(PeerState.CONNECTED)
    await asyncio.sleep(1)
    peer.become(PeerState.DISCONNECTED)
    await asyncio.sleep(5)
    assert not desk.call.of("error")


@pytest.mark.parametrize("state", [PeerState.DISCONNECTED, PeerState.FAILED, PeerState.CLOSED])
async def test_G150_a_connection_that_is_gone_ends_the_call_after_a_grace_period(
    desk: Desk, state: PeerState
) -> None:
    peer = await desk.connected()
    await asyncio.sleep(2)
    peer.become(state)
    (end,) = desk.call.of("trackEnd")
    assert (end["trackId"], end["duration"]) == ("call-1", 2000)
    await asyncio.sleep(GRACE_S - 0.1)
    assert desk.call.socket.code is None
    hangup = await desk.call.expect("hangup", timeout=1)
    assert hangup["reason"] == "caller"
    await desk.over()
    assert desk.session.outcome == "lost"
    assert desk.call.names == ["trackStart", "answer", "trackEnd", "hangup"]


async def test_G150_getting_worse_does_not_begin_the_grace_period_anew(desk: Desk) -> None:
    peer = await desk.connected()
    peer.become(PeerState.DISCONNECTED)
    await asyncio.sleep(GRACE_S - 1)
    peer.become(PeerState.FAILED)
    assert len(desk.call.of("trackEnd")) == 1
    await desk.call.expect("hangup", timeout=1.5)


async def test_G150_a_connection_that_comes_back_keeps_the_call(desk: Desk) -> None:
    peer = await desk.connected()
    for _ in range(2):
        peer.become(PeerState.DISCONNECTED)
        await asyncio.sleep(GRACE_S - 1)
        peer.become(PeerState.CONNECTED)
        peer.become(PeerState.CONNECTED)
        await asyncio.sleep(GRACE_S + 1)
    assert desk.call.socket.code is None
    assert desk.call.names == ["trackStart", "answer", *["trackEnd", "trackStart"] * 2]


async def test_G150_a_connection_that_never_comes_ends_the_call(desk: Desk) -> None:
    await desk.call.invite(offer="mine")
    desk.peers[0].become(PeerState.CONNECTING)
    desk.peers[0].become(PeerState.FAILED)
    await desk.call.expect("hangup", timeout=GRACE_S + 1)
    await desk.over()


async def test_G150_a_call_that_ends_during_the_grace_period_ends_once(desk: Desk) -> None:
    peer = await desk.connected()
    peer.become(PeerState.DISCONNECTED)
    desk.call.send({"command": "hangup"})
    await desk.over()
    await asyncio.sleep(2 * GRACE_S)
    assert desk.call.names.count("hangup") == 1
    assert desk.call.names.count("trackEnd") == 1


async def test_a_connection_without_a_known_time_is_not_measured(desk: Desk) -> None:
    desk.prepare = lambda peer: setattr(peer, "connect_ms", None)
    await desk.connected()
    assert desk.connects == []


# -- the end --------------------------------------------------------------------------------------


async def _hung_up(desk: Desk) -> None:
    desk.call.send({"command": "hangup"})


async def _left(desk: Desk) -> None:
    desk.call.close()


async def _vanished(desk: Desk) -> None:
    desk.call.vanish()


async def _killed(desk: Desk) -> None:
    await desk.gateway.kill("call-1")


async def _drained(desk: Desk) -> None:
    await desk.gateway.close()


@pytest.mark.parametrize("way", [_hung_up, _left, _vanished, _killed, _drained])
async def test_every_end_of_a_call_closes_its_peer(desk: Desk, way: Any) -> None:
    peer = await desk.connected()
    assert isinstance(desk.session.media.leg, PacketLeg)
    await way(desk)
    await desk.over()
    assert len(desk.ended) == 1
    before = len(peer.track.sent)
    await peer.track.say(100)
    assert len(peer.track.sent) == before
    peer.become(PeerState.CLOSED)
    await asyncio.sleep(2 * GRACE_S)


async def test_a_call_that_was_never_invited_has_nothing_to_close(desk: Desk) -> None:
    desk.call.send({"command": "hangup"})
    await desk.over()
    assert desk.ended == []


async def test_G321_a_peer_that_does_not_close_holds_nobody_up(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await desk.connected()
    peer.closing.clear()
    with caplog.at_level(logging.WARNING):
        desk.call.send({"command": "hangup"})
        assert await desk.call.closed(timeout=5.0) == 1000
    assert "call-1" in caplog.text
    peer.closing.set()
    await asyncio.sleep(0.1)
    assert peer.closed == 1


async def test_G200_a_limit_of_calls_counts_both_kinds(desk: Desk) -> None:
    desk.place("second", "/ws")
    desk.place("third")
    with pytest.raises(CallRefusedError, match="503"):
        desk.place("fourth")
    with pytest.raises(CallRefusedError, match="503"):
        desk.place("fifth", "/ws")
