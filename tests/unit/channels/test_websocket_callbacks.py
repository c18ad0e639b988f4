"""Readers behind callbacks: who is sent what, when, and who is evicted (R54, R55)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from salon.channels.connections import (
    MAX_FAILURES,
    CallbackConnections,
    CallbackStream,
    StreamChunk,
    StreamEnd,
    StreamError,
    StreamMessage,
    StreamStart,
)
from salon.channels.websocket import WebSocketChannel
from salon.models import (
    ChannelBinding,
    ChannelType,
    EventSource,
    Room,
    RoomContext,
    RoomEvent,
    TextContent,
)

ROOM = "room"
BINDING = ChannelBinding(channel_id="ws", room_id=ROOM, channel_type=ChannelType.WEBSOCKET)


def event(body: str = "hi", room_id: str = ROOM, event_id: str = "e1") -> RoomEvent:
    return RoomEvent(
        id=event_id,
        room_id=room_id,
        source=EventSource(channel_id="ai", channel_type=ChannelType.AI),
        content=TextContent(body=body),
    )


def context(organization_id: str | None = None) -> RoomContext:
    return RoomContext(room=Room(id=ROOM, organization_id=organization_id))


class Reader:
    """What one connection was sent; it fails, or hangs, when told to."""

    def __init__(self) -> None:
        self.got: list[RoomEvent | StreamMessage] = []
        self.failing = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, connection_id: str, item: RoomEvent | StreamMessage) -> None:
        if self.failing:
            raise ConnectionError("gone")
        await self.gate.wait()
        self.got.append(item)

    @property
    def said(self) -> str:
        return "".join(item.delta for item in self.got if isinstance(item, StreamChunk))

    @property
    def kinds(self) -> list[str]:
        return [type(item).__name__ for item in self.got]


def join(
    channel: WebSocketChannel,
    name: str,
    *,
    room_id: str = ROOM,
    streams: bool = False,
    organization_id: str | None = None,
) -> Reader:
    reader = Reader()
    channel.register_connection(
        name,
        reader.send,
        room_id=room_id,
        stream_send_fn=reader.send if streams else None,
        organization_id=organization_id,
    )
    return reader


@pytest.fixture
async def ws() -> AsyncIterator[WebSocketChannel]:
    channel = WebSocketChannel("ws", send_timeout=5.0)
    yield channel
    await channel.close()


async def deliver(channel: WebSocketChannel, organization_id: str | None = None) -> None:
    await channel.deliver(event(), BINDING, context(organization_id))


# -- who reads what --------------------------------------------------------------------------------


async def test_R54_only_those_subscribed_to_the_room_are_sent_its_events(
    ws: WebSocketChannel,
) -> None:
    here, there = join(ws, "here"), join(ws, "there", room_id="other")
    await deliver(ws)
    assert (len(here.got), len(there.got)) == (1, 0)
    ws.subscribe("there", ROOM)
    ws.unsubscribe("here", ROOM)
    await deliver(ws)
    assert (len(here.got), len(there.got)) == (1, 1)
    assert ws.rooms_for("there") == {"other", ROOM}
    assert ws.rooms_for("here") == ws.rooms_for("nobody") == set()


async def test_connections_are_counted_and_leaving_is_idempotent(ws: WebSocketChannel) -> None:
    join(ws, "a")
    join(ws, "b", room_id="other")
    ws.subscribe("nobody", ROOM)
    ws.unsubscribe("nobody", ROOM)
    assert ws.connection_count == 2
    assert ws.info == {"connection_count": 2, "room_count": 2, "evictions": 0}
    socket = ws.connect(ROOM)
    assert (ws.connections, ws.connection_count) == (1, 3)
    ws.disconnect(socket)
    ws.unregister_connection("a")
    ws.unregister_connection("a")
    assert ws.connection_count == 1


async def test_an_id_registered_again_is_replaced_and_keeps_its_rooms(ws: WebSocketChannel) -> None:
    old = join(ws, "a")
    new = join(ws, "a", room_id="other")
    await deliver(ws)
    assert (len(old.got), len(new.got)) == (0, 1)
    assert ws.rooms_for("a") == {ROOM, "other"}
    assert ws.connection_count == 1


async def test_R267_a_connection_of_an_organization_gets_only_its_rooms(
    ws: WebSocketChannel,
) -> None:
    mine, open_to_all = join(ws, "a", organization_id="acme"), join(ws, "b")
    await deliver(ws, "rival")
    await deliver(ws, "acme")
    await deliver(ws)
    assert (len(mine.got), len(open_to_all.got)) == (1, 3)


async def test_R267_another_organization_cannot_touch_a_connection(ws: WebSocketChannel) -> None:
    join(ws, "a", organization_id="acme")
    with pytest.raises(ValueError, match="rival"):
        ws.subscribe("a", "x", organization_id="rival")
    with pytest.raises(ValueError, match="rival"):
        ws.unsubscribe("a", ROOM, organization_id="rival")
    for name in ("a", "nobody"):
        with pytest.raises(ValueError, match="rival"):
            ws.unregister_connection(name, organization_id="rival")
    with pytest.raises(ValueError, match="rival"):
        join(ws, "a", organization_id="rival")
    assert ws.rooms_for("a") == {ROOM}
    ws.subscribe("a", "second", organization_id="acme")
    join(ws, "a", room_id="third")
    assert ws.rooms_for("a") == {"third"}, "rooms of an organization are not taken out of it"


async def test_a_plain_function_may_send(ws: WebSocketChannel) -> None:
    got: list[str] = []

    def send(connection_id: str, item: RoomEvent) -> None:
        got.append(f"{connection_id}:{item.text}")

    ws.register_connection("a", send, room_id=ROOM)
    await deliver(ws)
    assert got == ["a:hi"]


# -- bounds ----------------------------------------------------------------------------------------


async def test_R54_sends_to_different_connections_run_at_once(ws: WebSocketChannel) -> None:
    slow, quick = join(ws, "slow"), join(ws, "quick")
    slow.gate.clear()
    delivering = asyncio.create_task(deliver(ws))
    while not quick.got:
        await asyncio.sleep(0)
    assert not delivering.done()
    slow.gate.set()
    await delivering
    assert len(slow.got) == 1


async def test_R54_a_send_is_bounded_and_three_failures_in_a_row_evict() -> None:
    channel = WebSocketChannel("ws", send_timeout=0.001)
    hanging = join(channel, "hanging")
    hanging.gate.clear()
    for _ in range(MAX_FAILURES - 1):
        await deliver(channel)
    assert channel.connection_count == 1
    await deliver(channel)
    assert channel.connection_count == 0
    assert channel.info["evictions"] == 1
    await channel.close()


async def test_R54_a_send_that_goes_well_forgives_the_failures_before_it(
    ws: WebSocketChannel,
) -> None:
    shaky = join(ws, "shaky")
    for failing in (True, True, False, True, True):
        shaky.failing = failing
        await deliver(ws)
    assert ws.connection_count == 1
    await deliver(ws)
    assert ws.connection_count == 0


async def test_a_send_that_cancels_itself_has_failed(ws: WebSocketChannel) -> None:
    async def send(connection_id: str, item: RoomEvent) -> None:
        raise asyncio.CancelledError

    ws.register_connection("a", send, room_id=ROOM)
    for _ in range(MAX_FAILURES):
        await deliver(ws)
    assert ws.connection_count == 0


async def test_cancelling_a_delivery_is_no_failure_of_its_readers(ws: WebSocketChannel) -> None:
    hanging = join(ws, "hanging")
    hanging.gate.clear()
    for _ in range(MAX_FAILURES):
        delivering = asyncio.create_task(deliver(ws))
        await asyncio.sleep(0.001)
        delivering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await delivering
    assert ws.connection_count == 1


async def test_a_reader_evicted_by_one_of_two_sends_is_counted_once() -> None:
    connections = CallbackConnections(0.001)
    hanging = Reader()
    hanging.gate.clear()
    connections.register("a", hanging.send, ROOM, None, None)
    readers = connections.readers(ROOM, None)
    await asyncio.gather(*(connections.send_event(event(), readers) for _ in range(5)))
    assert connections.evictions == 1
    await connections.send_event(event(), readers)
    assert hanging.got == []


# -- streams ---------------------------------------------------------------------------------------


async def words(*pieces: str) -> AsyncIterator[str]:
    for piece in pieces:
        yield piece
        await asyncio.sleep(0)


async def stream(
    channel: WebSocketChannel,
    *pieces: str,
    stored: RoomEvent | None = None,
    error: str | None = None,
) -> None:
    announced = event("")
    await channel.deliver_stream(words(*pieces), announced, BINDING, context())
    await channel.finish_stream(announced, stored, BINDING, error)


async def test_R55_an_answer_comes_in_pieces_then_stored_then_its_end(
    ws: WebSocketChannel,
) -> None:
    reader = join(ws, "a", streams=True)
    await stream(ws, "Hel", "lo", stored=event("Hello"))
    assert reader.kinds[0] == "StreamStart"
    assert reader.kinds[-2:] == ["RoomEvent", "StreamEnd"]
    assert reader.said == "Hello"
    start, end = reader.got[0], reader.got[-1]
    assert isinstance(start, StreamStart)
    assert (start.room_id, start.stream_id, start.source.channel_id) == (ROOM, "e1", "ai")
    assert isinstance(end, StreamEnd)
    assert end.event.text == "Hello"
    last = [item for item in reader.got if isinstance(item, StreamChunk)][-1]
    assert last.text == "Hello"


async def test_R55_who_takes_no_streams_gets_the_whole_event(ws: WebSocketChannel) -> None:
    join(ws, "a", streams=True)
    plain = join(ws, "b")
    await stream(ws, "Hello", stored=event("Hello"))
    assert plain.kinds == ["RoomEvent"]


async def test_R63_a_room_takes_streams_only_while_somebody_reads_them(
    ws: WebSocketChannel,
) -> None:
    assert not ws.accepts_stream(BINDING)
    join(ws, "plain")
    assert not ws.accepts_stream(BINDING)
    join(ws, "a", streams=True)
    assert ws.accepts_stream(BINDING)
    ws.unregister_connection("a")
    assert not ws.accepts_stream(BINDING)


@pytest.mark.parametrize(("error", "said"), [("it broke", "it broke"), (None, "withdrawn")])
async def test_R55_an_answer_that_is_not_stored_ends_in_an_error(
    ws: WebSocketChannel, error: str | None, said: str
) -> None:
    reader, plain = join(ws, "a", streams=True), join(ws, "b")
    await stream(ws, "Hel", error=error)
    last = reader.got[-1]
    assert isinstance(last, StreamError)
    assert said in last.error
    assert "RoomEvent" not in reader.kinds
    assert plain.got == []


async def test_who_comes_during_an_answer_gets_the_stored_event(ws: WebSocketChannel) -> None:
    join(ws, "a", streams=True)
    announced = event("")
    await ws.deliver_stream(words("Hello"), announced, BINDING, context())
    late = join(ws, "late", streams=True)
    await ws.finish_stream(announced, event("Hello"), BINDING, None)
    assert late.kinds == ["RoomEvent"]


async def test_who_registers_again_during_an_answer_gets_the_stored_event(
    ws: WebSocketChannel,
) -> None:
    old = join(ws, "a", streams=True)
    announced = event("")
    await ws.deliver_stream(words("Hello"), announced, BINDING, context())
    new = join(ws, "a", streams=True)
    await ws.finish_stream(announced, event("Hello"), BINDING, None)
    assert new.kinds == ["RoomEvent"]
    assert "StreamEnd" not in old.kinds


async def test_pieces_that_wait_for_a_slow_reader_become_one(ws: WebSocketChannel) -> None:
    slow = join(ws, "slow", streams=True)
    slow.gate.clear()
    announced = event("")
    await ws.deliver_stream(words(*"abcdefgh"), announced, BINDING, context())
    finishing = asyncio.create_task(ws.finish_stream(announced, event("abcdefgh"), BINDING, None))
    await asyncio.sleep(0.001)
    slow.gate.set()
    await finishing
    assert slow.kinds == ["StreamStart", "StreamChunk", "RoomEvent", "StreamEnd"]
    assert slow.said == "abcdefgh"


async def test_an_answer_broken_off_from_outside_is_abandoned(ws: WebSocketChannel) -> None:
    reader = join(ws, "a", streams=True)

    async def endless() -> AsyncIterator[str]:
        yield "on and"
        await asyncio.Event().wait()

    announced = event("")
    showing = asyncio.create_task(ws.deliver_stream(endless(), announced, BINDING, context()))
    while not reader.said:
        await asyncio.sleep(0)
    showing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await showing
    await ws.finish_stream(announced, event("on and"), BINDING, None)
    assert "StreamEnd" not in reader.kinds


async def test_a_room_that_is_left_ends_its_answers(ws: WebSocketChannel) -> None:
    reader = join(ws, "a", streams=True)
    announced, elsewhere = event(""), event("", "other", "e2")
    far = join(ws, "b", room_id="other", streams=True)
    other = BINDING.model_copy(update={"room_id": "other"})
    await ws.deliver_stream(words("Hello"), announced, BINDING, context())
    await ws.deliver_stream(words("Hello"), elsewhere, other, context())
    await ws.on_room_detached(ROOM)
    await ws.finish_stream(announced, event("Hello"), BINDING, None)
    await ws.finish_stream(elsewhere, event("Hello", "other", "e2"), other, None)
    assert reader.kinds[-1] == "StreamError"
    assert "StreamEnd" not in reader.kinds
    assert far.kinds[-1] == "StreamEnd"


async def test_a_stream_without_readers_holds_nothing(ws: WebSocketChannel) -> None:
    from salon.base import TaskScope

    shown = CallbackStream(CallbackConnections(), event(""), None, TaskScope("test"))
    shown.add("Hello")
    assert shown._text == ""
    await shown.finish(event("Hello"), None)
    shown.abandon()
