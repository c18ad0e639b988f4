"""The live end of a timeline: no gap, no double, no waiting for slow readers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from salon.app import tail as module
from salon.app.following import EventStream, as_frame, as_message, follow_socket
from salon.app.observer import Observer
from salon.app.tail import BOUND, Beat, End, Item, Shown, Tail, Tails, TooManyTailsError
from salon.base import Clock
from salon.channels import AIChannel, WebSocketChannel
from salon.core import RoomKit
from salon.models import (
    Access,
    ChannelType,
    EventSource,
    HookResult,
    HookTrigger,
    InjectedEvent,
    ParticipantStatus,
    RoomEvent,
    TextContent,
)
from salon.providers import MockAIProvider


@dataclass
class HandClock(Clock):
    now_s: float = 1000.0

    def time(self) -> float:
        return self.now_s

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps here")


@pytest.fixture
async def kit() -> AsyncIterator[RoomKit]:
    async with RoomKit() as made:
        made.register_channel(WebSocketChannel())
        made.register_channel(AIChannel("agent", provider=MockAIProvider(["yes"])))
        await made.create_room("r")
        await made.attach_channel("r", "websocket")
        yield made


async def say(kit: RoomKit, words: str, **options: Any) -> int:
    event = await kit.send_event("r", "websocket", words, detached=True, **options)
    return event.index


class Reader:
    """Takes items one by one."""

    def __init__(self, tail: Tail, after_index: int | None) -> None:
        self.tail = tail
        self._items = tail.items(after_index)

    async def take(self) -> Item:
        async with asyncio.timeout(10):
            return await anext(self._items)

    async def until(self, kind: type[Item]) -> list[Item]:
        """Everything up to the first item of this kind."""
        got = [await self.take()]
        while not isinstance(got[-1], kind):
            got.append(await self.take())
        return got

    async def words(self, count: int) -> list[str]:
        got: list[str] = []
        while len(got) < count:
            item = await self.take()
            if isinstance(item, Shown):
                got.append(item.data["content"].get("body", item.data["content"]["type"]))
        return got

    async def leave(self) -> None:
        await self._items.aclose()


@asynccontextmanager
async def reading(
    kit: RoomKit,
    after_index: int | None = None,
    *,
    tails: Tails | None = None,
    internal: bool = False,
    blocked: bool = False,
    **options: Any,
) -> AsyncIterator[Reader]:
    tails = tails or Tails(kit)
    room = await kit.get_room("r")
    observer = Observer.of(await kit.store.list_bindings("r"), internal=internal, blocked=blocked)
    with tails.listen(room, observer, **options) as tail:
        reader = Reader(tail, after_index)
        try:
            yield reader
        finally:
            await reader.leave()


async def test_only_what_comes_is_told_unless_asked(kit: RoomKit) -> None:
    await say(kit, "before")
    async with reading(kit) as reader:
        assert await reader.take() == Beat()
        index = await say(kit, "now")
        item = await reader.take()
        assert isinstance(item, Shown)
        assert (item.index, item.data["content"]["body"]) == (index, "now")


async def test_the_past_is_told_first_then_what_comes(kit: RoomKit) -> None:
    for number in range(5):
        await say(kit, str(number))
    async with reading(kit, -1) as reader:
        await say(kit, "5")
        assert await reader.words(3) == ["0", "1", "2"]
        await say(kit, "6")
        assert await reader.words(4) == ["3", "4", "5", "6"]


async def test_a_reader_resumes_after_the_index_it_names(kit: RoomKit) -> None:
    indices = [await say(kit, str(number)) for number in range(4)]
    async with reading(kit, indices[1]) as reader:
        assert await reader.words(2) == ["2", "3"]


async def test_what_is_committed_while_the_store_is_read_comes_once(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    await say(kit, "0")
    read = kit.store.list_events
    async with reading(kit, -1) as reader:

        async def slow(*args: Any, **options: Any) -> Any:
            monkeypatch.setattr(kit.store, "list_events", read)
            await say(kit, "before the page")
            page = await read(*args, **options)
            await say(kit, "after the page")
            return page

        monkeypatch.setattr(kit.store, "list_events", slow)
        await reader.take()
        assert await reader.words(3) == ["0", "before the page", "after the page"]
        await say(kit, "last")
        assert await reader.words(1) == ["last"]


async def test_many_writers_and_pages_leave_no_gap(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAGE", 7)
    async with reading(kit, -1, internal=True, blocked=True) as reader:
        writers = [asyncio.create_task(say(kit, f"{n}")) for n in range(60)]
        seen: list[int] = []
        while len(seen) < 60:
            item = await reader.take()
            if isinstance(item, Shown):
                seen.append(item.index)
        await asyncio.gather(*writers)
    assert seen == list(range(seen[0], seen[0] + 60))


async def test_what_is_not_told_as_a_commit_is_found_in_the_store(kit: RoomKit) -> None:
    injected = RoomEvent(
        room_id="r",
        source=EventSource(channel_id="system", channel_type=ChannelType.SYSTEM),
        content=TextContent(body="by the way"),
    )

    async def inject(*_: object) -> HookResult:
        return HookResult(action="allow", injected_events=(InjectedEvent(event=injected),))

    tails = Tails(kit, heartbeat=0.01)
    async with reading(kit, tails=tails, internal=True) as reader:  # nobody else is shown it
        await reader.take()
        kit.add_hook(HookTrigger.BEFORE_BROADCAST, inject)
        await say(kit, "hello")
        assert await reader.words(2) == ["hello", "by the way"]


async def test_a_gap_is_filled_at_once_when_something_follows(kit: RoomKit) -> None:
    async with reading(kit) as reader:
        await reader.take()
        listeners = kit._parts.timeline.listeners
        kept = listeners[:]
        listeners.clear()
        await say(kit, "unheard")
        listeners.extend(kept)
        await say(kit, "heard")
        assert await reader.words(2) == ["unheard", "heard"]


async def test_an_event_deleted_before_it_is_read_is_left_out(kit: RoomKit) -> None:
    async with reading(kit, -1) as reader:
        await reader.take()
        listeners = kit._parts.timeline.listeners
        kept = listeners[:]
        listeners.clear()
        await say(kit, "unheard")
        listeners.extend(kept)
        gone = await kit.send_event("r", "websocket", "gone", detached=True)
        await kit.delete_event("r", gone.id)
        await say(kit, "last")
        assert await reader.words(2) == ["unheard", "last"]


async def test_a_slow_reader_is_sent_away_and_told_where_to_go_on(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BOUND", 3)
    tails = Tails(kit)
    async with reading(kit, tails=tails) as reader:
        await reader.take()
        await say(kit, "stored")
        assert await reader.words(1) == ["stored"]
        first = await say(kit, "live")
        assert await reader.words(1) == ["live"]
        for number in range(5):
            await say(kit, str(number))
        assert await reader.take() == End("too_slow", first)
        assert (tails.evicted, reader.tail.waiting) == (1, 0)
        assert reader.tail.hear(await kit.send_event("r", "websocket", "more", detached=True))
    async with reading(kit, first, tails=tails) as again:
        assert await again.words(6) == ["0", "1", "2", "3", "4", "more"]


async def test_who_reads_the_past_is_not_too_slow_for_the_present(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BOUND", 3)
    for number in range(3):
        await say(kit, f"old {number}")
    async with reading(kit, -1) as reader:
        assert await reader.words(1) == ["old 0"]
        for number in range(10):
            await say(kit, f"new {number}")
        rest = await reader.words(12)
    assert rest == ["old 1", "old 2", *(f"new {number}" for number in range(10))]
    assert BOUND == 256


async def test_silence_is_told_every_so_often(kit: RoomKit) -> None:
    async with reading(kit, tails=Tails(kit, heartbeat=0.001)) as reader:
        assert [await reader.take() for _ in range(4)] == [Beat()] * 4


async def test_people_see_neither_whispers_nor_what_was_refused(kit: RoomKit) -> None:
    kit.register_channel(WebSocketChannel("screen"))
    await kit.attach_channel("r", "screen")

    async def refuse(event: RoomEvent, _: object) -> HookResult:
        return HookResult.block("rude") if event.text == "rude" else HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, refuse)
    async with (
        reading(kit, -1) as people,
        reading(kit, -1, internal=True) as staff,
        reading(kit, -1, internal=True, blocked=True) as all_of_it,
    ):
        await say(kit, "rude")
        await say(kit, "for a screen", visibility="screen")
        await say(kit, "for nobody", visibility="none")
        await say(kit, "for all")
        assert await people.words(1) == ["for all"]
        records = ["channel attached"] * 2
        expected = [*records, "for a screen", "for nobody", "for all"]
        assert await staff.words(5) == expected
        assert await all_of_it.words(6) == [*records, "rude", *expected[2:]]


async def test_eyes_follow_the_bindings_of_the_room(kit: RoomKit) -> None:
    await kit.attach_channel("r", "agent")
    async with reading(kit) as reader:
        await reader.take()
        await kit.set_visibility("r", "agent", "intelligence")
        await kit.send_event("r", "agent", "thinking aloud", detached=True)
        await kit.set_visibility("r", "agent", "all")
        await kit.send_event("r", "agent", "answer", detached=True)
        assert await reader.words(1) == ["answer"]


async def test_a_guest_of_a_room_whose_pages_may_not_read_sees_nothing(kit: RoomKit) -> None:
    await kit.set_access("r", "websocket", Access.WRITE_ONLY)
    event = await kit.send_event("r", "websocket", "hi", detached=True)
    bindings = await kit.list_bindings("r")
    assert Observer.of(bindings).sees(event)
    assert not Observer.of(bindings, guest=True).sees(event)
    assert Observer.of((), guest=True).sees(event)
    whispered = event.model_copy(update={"metadata": {"salon:injected_for": ["sms"]}})
    assert not Observer.of(()).sees(whispered)


@pytest.mark.parametrize("reason", ["room_deleted", "shutting_down", "expired", "not_admitted"])
async def test_every_end_has_its_reason(kit: RoomKit, reason: str) -> None:
    clock = HandClock()
    tails = Tails(kit, clock=clock, heartbeat=0.001 if reason == "expired" else 15.0)
    await kit.add_member("r", "websocket", "ann")
    await kit.add_member("r", "websocket", "bob")
    async with reading(kit, tails=tails, participant_id="ann", until=1001.0) as reader:
        await reader.take()
        place = await say(kit, "x")
        assert await reader.words(1) == ["x"]
        match reason:
            case "room_deleted":
                await kit.delete_room("r")
            case "shutting_down":
                tails.close()
            case "expired":
                clock.now_s = 1001.0
            case "not_admitted":
                await kit.remove_member("r", "bob", status=ParticipantStatus.BANNED)
                await kit.remove_member("r", "ann", status=ParticipantStatus.BANNED)
                place += 2
        assert (await reader.until(End))[-1] == End(reason, place)
        with pytest.raises(StopAsyncIteration):
            await reader.take()
    assert tails.readers == 0


async def test_who_only_left_may_still_read(kit: RoomKit) -> None:
    await kit.add_member("r", "websocket", "ann")
    async with reading(kit, participant_id="ann") as reader:
        await reader.take()
        await kit.remove_member("r", "ann")
        await say(kit, "still here")
        assert await reader.words(1) == ["still here"]


async def test_readers_are_counted(kit: RoomKit) -> None:
    tails = Tails(kit, limit=1)
    async with reading(kit, tails=tails):
        assert tails.readers == 1
        with pytest.raises(TooManyTailsError):
            async with reading(kit, tails=tails):
                pass
    assert tails.readers == 0
    tails.close()
    with pytest.raises(TooManyTailsError):
        async with reading(kit, tails=tails):
            pass


# -- on the wire ----------------------------------------------------------------------------------


def test_an_item_is_one_message_whatever_its_words() -> None:
    shown = Shown(7, {"body": "two\nlines\r\nid: 9\n\n"})
    lines = as_message(shown).decode().split("\n")
    assert lines[0] == "id: 7"
    assert json.loads(lines[1].removeprefix("data: ")) == shown.data
    assert lines[2:] == ["", ""]
    assert as_message(Beat()).startswith(b":")
    assert as_message(End("too_slow", 4)) == (
        b'event: end\ndata: {"reason":"too_slow","after_index":4}\n\n'
    )
    assert json.loads(as_frame(shown)) == {"type": "event", "index": 7, "event": shown.data}
    assert json.loads(as_frame(Beat())) == {"type": "heartbeat"}
    assert json.loads(as_frame(End("expired", 4)))["after_index"] == 4


class Wire:
    """An ASGI server in the test's hands."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.gone = asyncio.Event()
        self.arrived = asyncio.Event()

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        self.sent.append(message)
        self.arrived.set()

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}


async def stream(kit: RoomKit, tails: Tails, wire: Wire) -> None:
    room = await kit.get_room("r")
    response = EventStream(tails.listen(room, Observer.of(())), -1)
    async with asyncio.timeout(10):
        await response({"type": "http"}, wire.receive, wire.send)


async def test_a_stream_ends_with_the_tail(kit: RoomKit) -> None:
    tails, wire = Tails(kit), Wire()
    serving = asyncio.create_task(stream(kit, tails, wire))
    await wire.arrived.wait()
    await say(kit, "hi")
    tails.close()
    await serving
    assert wire.sent[0]["status"] == 200
    assert (b"content-type", b"text/event-stream; charset=utf-8") in wire.sent[0]["headers"]
    assert b"event: end" in wire.sent[-2]["body"]
    assert wire.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_a_stream_ends_with_its_reader(kit: RoomKit) -> None:
    tails, wire = Tails(kit), Wire()
    serving = asyncio.create_task(stream(kit, tails, wire))
    await wire.arrived.wait()
    wire.gone.set()
    await serving
    assert tails.readers == 0


async def test_who_takes_nothing_is_dropped(kit: RoomKit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salon.app.following.SEND_TIMEOUT_S", 0.001)
    tails, wire = Tails(kit), Wire()
    serving = asyncio.create_task(stream(kit, tails, wire))
    await wire.arrived.wait()
    wire.reads.clear()
    await say(kit, "hi")
    await serving
    assert tails.readers == 0


class BrokenSocket:
    """Accepts, then is gone."""

    application_state = None

    async def accept(self) -> None: ...

    async def receive(self) -> Any:
        await asyncio.Event().wait()

    async def send_text(self, text: str) -> None:
        raise RuntimeError("gone")


async def test_a_socket_that_breaks_is_left_alone(kit: RoomKit) -> None:
    tails = Tails(kit)
    with tails.listen(await kit.get_room("r"), Observer.of(())) as tail:
        async with asyncio.timeout(10):
            await follow_socket(BrokenSocket(), tail, -1)  # type: ignore[arg-type]
