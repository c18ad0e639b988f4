"""Answers that people at browsers see while they form (R55, R63, V240)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from salon.base import SalonError
from salon.channels.websocket import (
    BOUND,
    MAX_LIVE,
    MERGED,
    Connection,
    Message,
    WebSocketChannel,
    event_json,
)
from salon.core.kit import RoomKit
from salon.core.ports.channel import StreamOutcome
from salon.models import (
    ChannelBinding,
    HookResult,
    HookTrigger,
    RoomContext,
    RoomEvent,
)

from .rooms import ROOM, Bot, Phone, furnish, say, stored, taken, texts


class Ear(Phone):
    """A listener who interrupts after `patience` pieces."""

    def __init__(self, heard: str | None, patience: int = 1) -> None:
        super().__init__("ear")
        self.heard = heard
        self.patience = patience

    @property
    def supports_streaming_delivery(self) -> bool:
        return True

    async def deliver_stream(
        self,
        text_stream: AsyncIterator[str],
        event: RoomEvent,
        binding: ChannelBinding,
        context: RoomContext,
    ) -> StreamOutcome:
        for _ in range(self.patience):
            await anext(text_stream)
        return StreamOutcome(self.heard, interrupted=True)


# -- answers while they form -----------------------------------------------------------------------


async def test_R55_an_answer_is_shown_while_it_forms(kit: RoomKit, web: WebSocketChannel) -> None:
    await furnish(kit, Bot("Hel", "lo."))
    reader = web.connect(ROOM)
    await say(kit)
    answer = (await stored(kit))[1]
    question, start, *chunks, end = taken(reader)
    assert question["type"] == "event"
    assert (start["type"], start["room_id"], start["stream_id"]) == (
        "stream_start",
        ROOM,
        answer.id,
    )
    assert (start["source"]["channel_id"], start["source"]["name"]) == ("bot", "Robin")
    assert "raw_payload" not in start["source"]
    assert chunks == [
        {"type": "stream_chunk", "stream_id": answer.id, "at": 0, "delta": "Hello."},
    ]
    assert end == {"type": "stream_end", "stream_id": answer.id, "event": event_json(answer)}


async def test_R55_the_words_come_as_they_are_said(kit: RoomKit, web: WebSocketChannel) -> None:
    go = asyncio.Event()
    await furnish(kit, Bot("one ", go, "two"))
    reader = web.connect(ROOM)
    asking = asyncio.create_task(say(kit))
    await asyncio.sleep(1)
    assert [item["type"] for item in taken(reader)] == ["event", "stream_start", "stream_chunk"]
    assert len(await stored(kit)) == 1
    go.set()
    await asking
    assert [item["type"] for item in taken(reader)] == ["stream_chunk", "stream_end"]


async def test_R63_a_room_without_readers_takes_no_stream(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    binding = await kit.store.get_binding(ROOM, "websocket")
    assert binding is not None
    assert not web.accepts_stream(binding)
    far = web.connect("other")
    assert not web.accepts_stream(binding)
    reader = web.connect(ROOM)
    assert web.accepts_stream(binding)
    web.disconnect(reader)
    web.disconnect(far)
    assert not web.accepts_stream(binding)


class Page:
    """Reads a connection as the owner of a socket does."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.got: list[Message] = []
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self.connection.messages():
            self.got.append(message)
            await asyncio.sleep(0)

    @property
    def kinds(self) -> list[str]:
        return [message["type"] for message in self.got]

    def text(self) -> str:
        """The one answer that was streamed, put together; every piece where it belongs."""
        text = ""
        for message in self.got:
            if message["type"] == "stream_chunk":
                assert message["at"] == len(text)
                text += message["delta"]
        return text

    async def close(self) -> None:
        self.connection.close()
        await self.reading


async def test_who_comes_during_an_answer_gets_it_from_its_beginning(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    go, on = asyncio.Event(), asyncio.Event()
    await furnish(kit, Bot("one ", "two ", go, "three", on))
    first = Page(web.connect(ROOM))
    asking = asyncio.create_task(say(kit))
    await asyncio.sleep(1)
    late = web.connect(ROOM)
    late.post({"type": "hello"})
    page = Page(late)
    await asyncio.sleep(1)
    assert page.kinds == ["hello", "stream_start", "stream_chunk"]
    assert page.got[1] == first.got[1]
    assert page.got[2] | {"stream_id": ""} == {
        "type": "stream_chunk",
        "stream_id": "",
        "at": 0,
        "delta": "one two ",
    }
    await first.close()
    web.disconnect(first.connection)
    go.set()
    await asyncio.sleep(1)
    on.set()
    await asking
    await page.close()
    assert page.text() == "one two three"
    assert page.kinds[-1] == "stream_end"
    assert page.got[-1]["event"]["content"]["body"] == "one two three"
    assert web._live == {}


async def test_who_comes_and_does_not_read_yet_gets_no_piece_of_an_unknown_answer(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    go, on = asyncio.Event(), asyncio.Event()
    await furnish(kit, Bot("one ", go, "two", on))
    web.connect(ROOM)
    asking = asyncio.create_task(say(kit))
    await asyncio.sleep(1)
    late = web.connect(ROOM)
    go.set()
    await asyncio.sleep(1)
    page = Page(late)
    await asyncio.sleep(1)
    assert (page.kinds, page.text()) == (["stream_start", "stream_chunk"], "one two")
    on.set()
    await asking
    await page.close()


async def test_R54_a_fast_agent_evicts_no_reader_that_reads(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    count = 10_000
    await furnish(kit, Bot(*(f"{number:05d} " for number in range(count))))
    page, idle = Page(web.connect(ROOM)), web.connect(ROOM)
    await say(kit)
    await page.close()
    assert not page.connection.evicted
    assert page.text() == "".join(f"{number:05d} " for number in range(count))
    assert page.kinds[-1] == "stream_end"
    # also one that reads nothing meanwhile: pieces that wait are joined, linear in the whole
    waiting = taken(idle)
    assert not idle.evicted
    assert len(waiting) < BOUND / 10
    assert sum(len(item.get("delta", "")) for item in waiting) == 6 * count


async def test_pieces_that_wait_are_joined_per_reader_and_answer(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    one, two = web.connect(ROOM), web.connect(ROOM)
    for reader in (one, two):
        for stream in ("a", "b"):
            reader.post({"type": "stream_start", "stream_id": stream})
    one.post_piece("a", 0, "x")
    two.post_piece("a", 0, "x")
    one.post_piece("b", 0, "1")
    one.post({"type": "caption"})
    one.post_piece("a", 1, "y" * MERGED)
    one.post_piece("a", 1 + MERGED, "z")
    one.post_piece("unknown", 0, "?")
    assert [(m["stream_id"], m["at"], len(m["delta"])) for m in taken(one) if "at" in m] == [
        ("a", 0, 1 + MERGED),
        ("b", 0, 1),
        ("a", 1 + MERGED, 1),
    ]
    assert [m["delta"] for m in taken(two) if "at" in m] == ["x"]


async def test_answers_kept_for_late_readers_are_bounded(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    for number in range(MAX_LIVE + 3):
        web._begin(ROOM, {"type": "stream_start", "stream_id": str(number)})
    page = Page(web.connect(ROOM))
    await asyncio.sleep(1)
    assert page.kinds.count("stream_start") == MAX_LIVE
    await web.on_room_detached(ROOM)
    assert web._live == {}
    await page.close()


async def test_an_answer_that_is_broken_off_from_outside_is_forgotten(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    await furnish(kit, Bot("one ", asyncio.Event()))
    web.connect(ROOM)
    asking = asyncio.create_task(say(kit, detached=True))
    await asyncio.sleep(1)
    assert web._live
    await kit.close()
    await asking
    assert web._live == {}


async def test_who_comes_to_an_answer_nobody_watched_gets_the_event(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    go = asyncio.Event()
    await furnish(kit, Bot("one ", go, "two"))
    asking = asyncio.create_task(say(kit))
    await asyncio.sleep(1)
    late = web.connect(ROOM)
    go.set()
    await asking
    assert texts(taken(late)) == ["one two"]


async def test_V240_an_interruption_ends_the_answer_at_what_was_heard(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    await furnish(kit, Bot("one ", "two ", asyncio.Event(), "three"), Ear("one"))
    reader = web.connect(ROOM)
    await say(kit)
    end = taken(reader)[-1]
    assert end["type"] == "stream_end"
    assert end["event"]["content"]["body"] == "one"
    assert end["event"]["metadata"]["interrupted"] is True


async def test_V240_an_answer_of_which_nothing_was_heard_is_withdrawn(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    await furnish(kit, Bot("one ", asyncio.Event()), Ear(""))
    reader = web.connect(ROOM)
    await say(kit)
    found = taken(reader)
    assert found[-1] == {
        "type": "stream_end",
        "stream_id": found[1]["stream_id"],
        "event": None,
    }
    assert len(await stored(kit)) == 1


class LimitError(SalonError):
    code = "limit"


async def test_R55_a_failure_with_no_words_ends_in_an_error(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    await furnish(kit, Bot(" ", LimitError("the limit is reached")))
    reader = web.connect(ROOM)
    await say(kit)
    await kit.idle(ROOM)
    errors = [item for item in taken(reader) if item["type"] == "stream_error"]
    assert [error["error"] for error in errors] == ["the limit is reached"]


async def test_R142_a_failure_before_the_first_word_reaches_the_readers_in_words(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    await furnish(kit, Bot(ValueError("password")))
    reader = web.connect(ROOM)
    await say(kit)
    await kit.idle(ROOM)
    question, note = taken(reader)
    assert question["event"]["type"] == "message"
    assert note["event"]["type"] == "system"
    assert note["event"]["content"]["code"] == "agent_failed"
    told = "The agent could not answer: ValueError (see the log)"
    assert note["event"]["content"]["body"] == told
    assert "password" not in str(note)


async def test_R63_a_failure_after_words_ends_with_what_was_said(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    await furnish(kit, Bot("one ", LimitError("the limit is reached")))
    reader = web.connect(ROOM)
    await say(kit)
    await kit.idle(ROOM)
    question, start, chunk, *ending = taken(reader)
    assert {item["type"] for item in ending} == {"stream_end", "event"}
    end = next(item for item in ending if item["type"] == "stream_end")
    note = next(item for item in ending if item["type"] == "event")
    assert end["event"]["content"]["body"] == "one "
    assert end["event"]["metadata"]["failed"] is True
    assert end["event"]["metadata"]["error"] == "the limit is reached"
    assert note["event"]["content"]["code"] == "agent_failed"
    del question, start, chunk


async def test_two_answers_at_once_are_told_apart_by_their_streams(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    await furnish(kit, Bot("a1", "a2"), Bot("b1", "b2", channel_id="other"))
    reader = web.connect(ROOM)
    await say(kit)
    spoken: dict[str, str] = {}
    for item in taken(reader):
        if item["type"] == "stream_chunk":
            spoken[item["stream_id"]] = spoken.get(item["stream_id"], "") + item["delta"]
    kept = {event.id: event.text for event in (await stored(kit))[1:]}
    assert spoken == kept
    assert sorted(spoken.values()) == ["a1a2", "b1b2"]


async def test_an_announcement_of_a_blocked_answer_is_withdrawn(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    async def guard(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.block("no") if event.chain_depth else HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, guard)
    await furnish(kit, Bot("words"))
    reader = web.connect(ROOM)
    await say(kit)
    end = taken(reader)[-1]
    assert (end["type"], end["event"]) == ("stream_end", None)


async def test_many_answers_are_shown_in_the_order_of_the_timeline(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    await furnish(kit, Bot("re"))
    reader = web.connect(ROOM, "ann")
    for number in range(5):
        await say(kit, f"n{number}", detached=True)
    await kit.idle(ROOM)
    indices = [item["event"]["index"] for item in taken(reader) if item.get("event")]
    assert indices == sorted(indices)
    assert len(indices) == 10
