"""Calls and links that end before their time: D2, D6, O37."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from tests.conformance.odyssey.scripted_signaling import ScriptedSignaling, within
from tests.conformance.odyssey.witness import connected
from tests.unit.transport.streamer import Streamer
from websockets.asyncio.server import ServerConnection

from salon.clients.odyssey import AudioFrame, ClientConfig, DevConfig, VideoFrame
from salon.clients.odyssey.broker import Broker
from salon.clients.odyssey.driver import SessionDriver
from salon.clients.odyssey.plans import DirectPlan
from salon.clients.odyssey.session import SessionCore
from salon.testing.odyssey import MessageFault, OdysseyStandIn
from salon.transport import video_link
from salon.transport.video_viewer import VideoViewer


async def test_D2_a_call_that_could_not_be_sent_takes_no_answer_from_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with OdysseyStandIn() as server, connected(server) as (client, _):
        await client.start_stream("a dog")
        with monkeypatch.context() as full:
            full.setattr(video_link, "MAX_WAITING_BYTES", 0)
            with pytest.raises(ConnectionError):
                await client.interact("it barks")
        assert await client.interact("it sleeps", timeout=10) == "it sleeps"
        assert client.statistics().late_answers == 0


async def test_D6_the_answer_to_a_cancelled_call_is_not_that_of_the_next() -> None:
    async with OdysseyStandIn() as server, connected(server) as (client, theirs):
        await client.start_stream("a dog")
        server.faults.message("update_acknowledged", MessageFault(drop=True, times=1))
        cancelled = asyncio.ensure_future(client.interact("it barks"))
        async with asyncio.timeout(10):
            while not any(one.get("prompt") == "it barks" for one in theirs.heard):
                await asyncio.sleep(0.001)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        server.faults.message("update_acknowledged", MessageFault(drop=True, times=1))
        following = asyncio.ensure_future(client.interact("it sleeps"))
        await asyncio.sleep(0)
        for prompt in ("it barks", "it sleeps"):
            theirs.send_stream(json.dumps({"type": "update_acknowledged", "prompt": prompt}))
        assert await within(following) == "it sleeps"
        assert client.statistics().late_answers == 1


class _Nobody:
    """Listens to nothing."""

    def notify(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Let go."""

    def picture(self, frame: VideoFrame) -> None:
        """Let go."""

    def sound(self, frame: AudioFrame) -> None:
        """Let go."""


async def test_O37_a_second_offer_closes_the_link_before_it() -> None:
    viewers: list[VideoViewer] = []
    second = asyncio.Event()

    def viewer(**options: Any) -> VideoViewer:
        viewers.append(VideoViewer(**options))
        return viewers[-1]

    async def two_offers(socket: ServerConnection) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(2):
                streamer = Streamer()
                stack.push_async_callback(streamer.close)
                await socket.send(json.dumps({"type": "offer", "sdp": await streamer.offer()}))
                message: dict[str, Any] = {}
                while message.get("type") != "answer":
                    message = json.loads(await socket.recv())
                await streamer.accept(message["sdp"])
            second.set()
            await socket.wait_closed()

    async with ScriptedSignaling(two_offers).running() as server:
        config = ClientConfig(dev=DevConfig(signaling_url=server.url, session_id="s-1"))
        driver = SessionDriver(
            SessionCore(), Broker(config), _Nobody(), debug=False, make_viewer=viewer
        )
        try:
            plan = DirectPlan(config.dev)
            await within(driver.connect(plan, reconnect=False, begun=lambda: None))
            await within(second.wait())
            assert [one.state == "closed" for one in viewers] == [True, False]
        finally:
            await driver.disconnect()
        assert [one.state for one in viewers] == ["closed", "closed"]
