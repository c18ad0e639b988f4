"""Answers that people at browsers see while they form (R55, R63, V240)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from salon.base import SalonError
from salon.channels.websocket import WebSocketChannel, event_json
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
        {"type": "stream_chunk", "stream_id": answer.id, "delta": "Hel", "text": "Hel"},
        {"type": "stream_chunk", "stream_id": answer.id, "delta": "lo.", "text": "Hello."},
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


async def test_who_comes_during_an_answer_gets_its_end(kit: RoomKit, web: WebSocketChannel) -> None:
    go = asyncio.Event()
    await furnish(kit, Bot("one ", go, "two"))
    first = web.connect(ROOM)
    asking = asyncio.create_task(say(kit))
    await asyncio.sleep(1)
    late = web.connect(ROOM)
    web.disconnect(first)
    go.set()
    await asking
    chunk, end = taken(late)
    assert (chunk["type"], chunk["text"]) == ("stream_chunk", "one two")
    assert end["event"]["content"]["body"] == "one two"


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
            spoken[item["stream_id"]] = item["text"]
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
