"""Delivery sets and lanes (chapter 12), framework events (chapter 15)."""

from __future__ import annotations

import asyncio

import pytest

from salon.base import UnavailableError
from salon.core.delivery import agent_lane
from salon.core.framework import FrameworkEvent
from salon.core.kit import RoomKit
from salon.core.lanes import LaneClosedError, Lanes
from salon.core.ports.transcoder import ContentTranscoder
from salon.models import (
    ChannelBinding,
    CompositeContent,
    DeleteContent,
    EventContent,
    EventStatus,
    EventType,
    HookTrigger,
    RoomContext,
    RoomEvent,
)

from .helpers import (
    PATIENCE,
    ROOM,
    Agent,
    Transport,
    listen,
    message,
    messages,
    room_with,
    text,
    timeline,
    words,
)


async def test_R137_rooms_are_independent_and_each_keeps_its_order(kit: RoomKit) -> None:
    sms, slow, quick = Transport("sms"), Transport("slow"), Transport("quick")
    await room_with(kit, sms, slow)
    await room_with(kit, sms, quick, room_id="b")
    slow.hold = asyncio.Event()
    calls = [
        asyncio.create_task(kit.process_inbound(message("sms", str(n)), room_id=ROOM))
        for n in range(5)
    ]
    result = await asyncio.wait_for(kit.process_inbound(message("sms"), room_id="b"), PATIENCE)
    assert (result.blocked, quick.bodies, slow.bodies) == (False, ["hi"], [])
    slow.hold.set()
    await asyncio.gather(*calls)
    assert slow.bodies == [e.text for e in await messages(kit)]


async def test_R131_R141_one_failure_touches_nobody_else(kit: RoomKit) -> None:
    class NoSignalError(Exception):
        code = "no_signal"
        retryable = False

    sms, bad, good = Transport("sms"), Transport("bad"), Transport("good")
    bad.failure = NoSignalError("tunnel")
    await room_with(kit, sms, bad, good)
    heard = listen(kit)
    result = await kit.process_inbound(message("sms"), room_id=ROOM)
    error = result.delivery_results["bad"].error
    assert error is not None
    assert (error.code, error.message, error.retryable) == ("no_signal", "tunnel", False)
    assert result.delivery_results["good"].status == "sent"
    assert good.bodies == ["hi"]
    stored = (await messages(kit))[0]
    assert stored.status is EventStatus.DELIVERED
    assert stored.delivery_results["bad"]["error"]["code"] == "no_signal"
    assert set(stored.delivery_results) == {"bad", "good"}
    names = [(e.type, e.channel_id) for e in heard if "deliver" in e.type or "broad" in e.type]
    assert sorted(names, key=str) == sorted(
        [
            ("delivery_failed", "bad"),
            ("delivery_succeeded", "good"),
            ("broadcast_partial_failure", None),
        ],
        key=str,
    )
    assert result.error is None


async def test_R100_R206_a_delivery_that_hangs_is_bounded_and_the_event_stays() -> None:
    async with RoomKit(delivery_timeout=0.02, shutdown_timeout=0) as kit:
        slow, good = Transport("slow"), Transport("good")
        slow.hold = asyncio.Event()
        await room_with(kit, Transport("sms"), slow, good)
        result = await asyncio.wait_for(kit.process_inbound(message("sms"), room_id=ROOM), PATIENCE)
        error = result.delivery_results["slow"].error
        assert error is not None
        assert error.code == "timeout"
        assert good.bodies == ["hi"]
        assert await words(kit) == [("hi", "delivered")]


async def test_R131_a_delivery_that_cancels_itself_failed_like_any_other(kit: RoomKit) -> None:
    bad, good = Transport("bad"), Transport("good")
    bad.failure = asyncio.CancelledError()
    await room_with(kit, Transport("sms"), bad, good)
    result = await kit.process_inbound(message("sms", "one"), room_id=ROOM)
    error = result.delivery_results["bad"].error
    assert error is not None
    assert error.code == "cancelled"
    bad.failure = None
    await kit.process_inbound(message("sms", "two"), room_id=ROOM)
    assert (good.bodies, bad.bodies) == (["one", "two"], ["two"])


async def test_R124_who_comes_after_the_commit_does_not_get_the_event(kit: RoomKit) -> None:
    sms, slow, late = Transport("sms"), Transport("slow"), Transport("late")
    slow.hold = asyncio.Event()
    await room_with(kit, sms, slow)
    one = asyncio.create_task(kit.process_inbound(message("sms", "one"), room_id=ROOM))
    two = asyncio.create_task(kit.process_inbound(message("sms", "two"), room_id=ROOM))
    while len(await words(kit)) < 2:
        await asyncio.sleep(0)
    await room_with(kit, late)
    await kit.detach_channel(ROOM, "slow")
    slow.hold.set()
    await asyncio.gather(one, two)
    await kit.process_inbound(message("sms", "three"), room_id=ROOM)
    assert late.bodies == ["three"]
    assert slow.bodies == ["one", "two"]  # still in the plan (R124)


class Wordless(ContentTranscoder):
    async def transcode(
        self,
        content: EventContent,
        source_binding: ChannelBinding,
        target_binding: ChannelBinding,
    ) -> EventContent | None:
        return None


async def test_R133_R186_what_cannot_be_represented_is_not_delivered() -> None:
    web = Transport("web")
    async with RoomKit(transcoder=Wordless()) as kit:
        await room_with(kit, Transport("sms"), web)
        result = await kit.process_inbound(message("sms"), room_id=ROOM)
    error = result.delivery_results["web"].error
    assert error is not None
    assert error.code == "transcoding_failed"
    assert web.told == []


async def test_R134_a_bound_but_unregistered_channel_is_skipped(kit: RoomKit) -> None:
    good = Transport("good")
    await room_with(kit, Transport("sms"), Transport("gone"), Agent("lost"), good)
    kit.unregister_channel("gone")
    kit.unregister_channel("lost")
    result = await kit.process_inbound(message("sms"), room_id=ROOM)
    assert set(result.delivery_results) == {"good"}


async def test_R184_each_target_gets_its_own_form_and_the_store_the_original(kit: RoomKit) -> None:
    web = Transport("web")
    await room_with(kit, Transport("sms"), web)
    parts = CompositeContent(parts=[text("a"), text("b")])
    sent = await kit.send_event(ROOM, "sms", parts, participant_id="ann")
    withdrawn = DeleteContent(target_event_id=sent.id)
    await kit.send_event(ROOM, "sms", withdrawn, EventType.DELETE, participant_id="ann")
    assert web.bodies == ["a\nb", "[Message deleted]"]
    stored = [e for e in await timeline(kit) if e.source.channel_id == "sms"]
    assert [e.content.type for e in stored] == ["composite", "delete"]


async def test_R139_the_delivered_index_follows(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    await kit.process_inbound(message("sms"), room_id=ROOM)
    room = await kit.get_room(ROOM)
    assert room is not None
    assert room.delivered_index == room.latest_index == 1


async def test_R72_what_a_transport_notices_is_kept(kit: RoomKit) -> None:
    from salon.models import ChannelOutput, Observation

    web = Transport("web")
    web.output = ChannelOutput(
        observations=(Observation(room_id=ROOM, channel_id="web", content="o"),)
    )
    await room_with(kit, Transport("sms"), web)
    await kit.process_inbound(message("sms"), room_id=ROOM)
    assert [o.content for o in await kit.store.list_observations(ROOM)] == ["o"]


async def test_R169_every_event_of_a_message_is_told_once(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"), Transport("web"))
    heard = listen(kit)

    @kit.on("event_processed")
    def broken(event: FrameworkEvent) -> None:
        raise ValueError("harmless")

    result = await kit.process_inbound(message("sms"), room_id=ROOM)
    assert result.event is not None
    assert [(e.type, e.room_id, e.event_id) for e in heard] == [
        ("event_processed", ROOM, result.event.id),
        ("delivery_succeeded", ROOM, result.event.id),
    ]


async def test_R169_a_listener_can_stop(kit: RoomKit) -> None:
    heard: list[FrameworkEvent] = []
    stop = kit.framework.on("room_created", heard.append)
    await kit.create_room()
    stop()
    stop()
    await kit.create_room()
    assert len(heard) == 1


async def test_stage_16_after_broadcast_comes_after_the_delivery_set(kit: RoomKit) -> None:
    web = Transport("web")
    await room_with(kit, Transport("sms"), web)
    seen: asyncio.Queue[list[str | None]] = asyncio.Queue()

    async def after(event: RoomEvent, context: RoomContext) -> None:
        seen.put_nowait(list(web.bodies))

    kit.add_hook(HookTrigger.AFTER_BROADCAST, after, channel_ids=["sms"])
    await kit.process_inbound(message("sms"), room_id=ROOM)
    assert await asyncio.wait_for(seen.get(), PATIENCE) == ["hi"]


async def test_lanes_run_one_job_at_a_time_and_leave_nothing_behind() -> None:
    lanes = Lanes("test")
    log: list[str] = []

    async def job(name: str) -> str:
        log.append(f"+{name}")
        await asyncio.sleep(0)
        log.append(f"-{name}")
        return name

    async def bad() -> None:
        raise ValueError("mine alone")

    first, failed = lanes.put("k", lambda: job("a")), lanes.put("k", bad)
    last = lanes.put("k", lambda: job("b"))
    assert lanes.waiting("k") == 3
    assert await lanes.drained("k")
    assert (await first, await last) == ("a", "b")
    with pytest.raises(ValueError, match="mine"):
        await failed
    assert log == ["+a", "-a", "+b", "-b"]
    await asyncio.sleep(0)
    assert (lanes.waiting("k"), await lanes.drained("k"), lanes.inside("k")) == (0, False, False)
    await lanes.close(1)
    await lanes.close(0)


async def test_lanes_an_abandoned_future_stops_no_job() -> None:
    lanes = Lanes("test")
    go, done = asyncio.Event(), asyncio.Event()

    async def job() -> None:
        await go.wait()
        done.set()

    async def bad() -> None:
        raise ValueError("nobody hears")

    async def self_cancelled() -> None:
        raise asyncio.CancelledError

    hurt = lanes.put("k", self_cancelled)
    for work in (job, bad, self_cancelled, job):
        lanes.put("k", work).cancel()
    go.set()
    await asyncio.wait_for(done.wait(), PATIENCE)
    with pytest.raises(LaneClosedError):
        await hurt
    await lanes.close(1)


async def test_R139_results_that_cannot_be_stored_stop_nothing(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*args: object) -> None:
        raise UnavailableError("gone")

    bad = Transport("bad")
    bad.failure = RuntimeError("no")
    await room_with(kit, Transport("sms"), bad)
    monkeypatch.setattr(kit.store, "set_delivery_results", down)
    seen: asyncio.Queue[str | None] = asyncio.Queue()

    async def after(event: RoomEvent, context: RoomContext) -> None:
        seen.put_nowait(event.text)

    kit.add_hook(HookTrigger.AFTER_BROADCAST, after, channel_ids=["sms"])
    result = await kit.process_inbound(message("sms"), room_id=ROOM)
    assert result.delivery_results["bad"].status == "failed"
    assert await asyncio.wait_for(seen.get(), PATIENCE) == "hi"
    room = await kit.get_room(ROOM)
    assert await kit.store.get_delivered_index(ROOM) == room.latest_index


def test_agents_of_different_rooms_never_share_a_lane() -> None:
    assert agent_lane("a", "b/c") != agent_lane("a/b", "c")
