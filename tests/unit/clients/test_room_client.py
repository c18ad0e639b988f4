"""The client of a room's text socket."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.clients.server import Peer, serving

from salon.clients.call import CallClosed, RoomSocketClient


def room(peer: Peer, message: dict[str, Any]) -> None:
    """Streams an answer to each message; goes when asked to."""
    if message["type"] == "history":
        peer.message("history", events=[], has_more=False)
    elif message["text"] == "go":
        peer.socket.close(1011, "broken")
    else:
        peer.socket.send_text("?")
        peer.socket.send_binary(b"?")
        peer.message("stream_start", stream_id="1", room_id="r", source={})
        peer.message("stream_chunk", stream_id="1", delta="hello", text="hello")
        peer.message("stream_end", stream_id="1", event=None)


async def test_it_joins_the_room_writes_and_reads_the_stream() -> None:
    async with (
        serving(room) as server,
        RoomSocketClient.connect(server.url, "r 1", participant="p", name="N") as client,
    ):
        await client.say("hi", idempotency_key="k")
        chunk = await client.wait_for("stream_chunk", stream_id="1")
        end = await client.wait_for()
        assert await client.wait_for(timeout=0.01) is None
        assert client.bad_frames == 2
        assert client.close_code is None
        peer = server.peer
    assert (peer.request.path, dict(peer.request.query)) == (
        "/ws/r 1",
        {"participant": "p", "name": "N"},
    )
    assert peer.texts == [{"type": "message", "text": "hi", "idempotency_key": "k"}]
    assert chunk is not None
    assert chunk.data["delta"] == "hello"
    assert end is not None
    assert end.type == "stream_end"
    assert [message.type async for message in client.messages()][-1] == "stream_end"
    assert await client.wait_for() is None


async def test_older_events_are_asked_for() -> None:
    async with serving(room) as server, RoomSocketClient.connect(server.url, "r") as client:
        await client.history(40, 20)
        assert await client.wait_for("history")
        assert server.peer.texts == [{"type": "history", "before_index": 40, "limit": 20}]


async def test_a_broken_room_is_CallClosed() -> None:
    async with serving(room) as server, RoomSocketClient.connect(server.url, "r") as client:
        await client.say("go")
        with pytest.raises(CallClosed, match="1011"):
            async for _ in client.messages():
                pass
        with pytest.raises(CallClosed):
            await client.say("more")
