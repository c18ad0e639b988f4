"""The client of a room's text socket."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.clients.server import Peer, serving

from salon.clients.call import CallClosed, RoomMessage, RoomSocketClient
from salon.clients.call.answers import Answers


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
        peer.message("stream_chunk", stream_id="1", at=0, delta="hel")
        peer.message("stream_chunk", stream_id="1", at=3, delta="lo")
        peer.message("stream_end", stream_id="1", event=None)


async def test_it_joins_the_room_writes_and_reads_the_stream() -> None:
    async with (
        serving(room) as server,
        RoomSocketClient.connect(server.url, "r 1", participant="p", name="N") as client,
    ):
        await client.say("hi", idempotency_key="k")
        chunk = await client.wait_for("stream_chunk", stream_id="1")
        end = await client.wait_for("stream_end")
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
    assert chunk.data["delta"] == "hel"
    assert (client.text("1"), client.text("2"), client.gaps) == ("hello", "", 0)
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


def verbose(peer: Peer, message: dict[str, Any]) -> None:
    """Says what an answer at the server's bound says, in the longest form JSON has for it, on a
    page of history of such answers."""
    event = {"content": {"type": "text", "body": "\x01" * 200_000}}
    peer.message("history", events=[event] * 20, has_more=False)


async def test_long_answers_do_not_end_the_connection() -> None:
    async with serving(verbose) as server, RoomSocketClient.connect(server.url, "r") as client:
        await client.say("more")
        page = await client.wait_for("history")
        assert page is not None
        assert len(page.data["events"]) == 20
        assert client.close_code is None


def test_pieces_are_put_together_and_gaps_are_counted() -> None:
    answers = Answers(kept=2)
    answers.take("a", 0, "one ")
    answers.take("a", 0, "one two ")
    answers.take("a", 2, "e")
    assert (answers.text("a"), answers.gaps) == ("one two ", 0)
    answers.take("a", 20, "nine")
    answers.take("a", 24, " ten")
    assert (answers.text("a"), answers.gaps) == ("one two nine ten", 1)
    answers.take_message({"stream_id": "b", "delta": "x"})
    answers.take_message({"stream_id": "b", "delta": "y"})
    answers.take_message({"stream_id": "b"})
    assert answers.text("b") == "xy"
    answers.take("c", 0, "z")
    assert [answers.text(key) for key in "abc"] == ["", "xy", "z"]


@pytest.mark.parametrize(
    ("kind", "data", "failure"),
    [
        ("event", {"event": {"content": {"code": "agent_failed", "body": "No."}}}, "No."),
        ("event", {"event": {"content": {"code": "agent_failed"}}}, "the agent failed"),
        ("event", {"event": {"content": {"type": "text", "body": "hi"}}}, None),
        ("event", {"event": None}, None),
        ("stream_error", {"stream_id": "1", "error": "gone"}, None),
        ("stream_chunk", {"delta": "a"}, None),
    ],
)
def test_a_message_says_in_words_that_an_agent_failed(
    kind: str, data: dict[str, Any], failure: str | None
) -> None:
    assert RoomMessage(kind, data, 0.0).failure == failure
