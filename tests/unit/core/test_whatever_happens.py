"""What holds of a room whatever is done to it, in whatever order (R74, R94, R99, R137, R195)."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salon.core.errors import ChannelNotFoundError
from salon.core.kit import RoomKit
from salon.core.permissions import visible
from salon.models import (
    Access,
    ChannelBinding,
    ChannelCategory,
    EventStatus,
    HookResult,
    HookTrigger,
    RoomContext,
    RoomEvent,
)
from salon.testing import run_virtual

from .helpers import ROOM, Agent, Screen, Stream, Transport, message, room_with, timeline

CHANNELS = ("one", "two", "screen")
WHO = st.sampled_from(CHANNELS)
DELAY = st.sampled_from([0.0, 0.1, 0.5])
STEP = st.one_of(
    st.tuples(
        st.just("say"),
        WHO,
        st.sampled_from(["hi", "bad", "?"]),
        st.sampled_from([None, "k1", "k2"]),
        st.booleans(),
    ),
    st.tuples(st.just("mute"), WHO, st.booleans()),
    st.tuples(st.just("access"), WHO, st.sampled_from(list(Access))),
    st.tuples(st.just("scope"), WHO, st.sampled_from(["all", "none", "one", "intelligence"])),
    st.tuples(st.just("join"), st.sampled_from(["ann", "bob"])),
    st.tuples(st.just("attach"), WHO),
    st.tuples(st.just("detach"), WHO),
    st.tuples(st.just("close")),
)
STEPS = st.lists(st.tuples(DELAY, STEP), min_size=3, max_size=14)


async def guard(event: RoomEvent, context: RoomContext) -> HookResult:
    return HookResult.block("bad word") if event.text == "bad" else HookResult.allow()


async def act(kit: RoomKit, step: tuple[Any, ...]) -> None:
    match step:
        case ("say", channel, body, key, detached):
            await kit.process_inbound(
                message(channel, body, idempotency_key=key), room_id=ROOM, detached=detached
            )
        case ("mute", channel, on):
            await (kit.mute(ROOM, channel) if on else kit.unmute(ROOM, channel))
        case ("access", channel, access):
            await kit.set_access(ROOM, channel, access)
        case ("scope", channel, scope):
            await kit.set_visibility(ROOM, channel, scope)
        case ("join", person):
            await kit.add_member(ROOM, "one", person)
        case ("attach", channel):
            await kit.attach_channel(ROOM, channel)
        case ("detach", channel):
            await kit.detach_channel(ROOM, channel)
        case ("close",):
            await kit.close_room(ROOM)


async def attempt(kit: RoomKit, step: tuple[Any, ...]) -> None:
    with contextlib.suppress(ChannelNotFoundError):  # it may be detached
        await act(kit, step)


async def scene(steps: list[tuple[float, tuple[Any, ...]]]) -> None:
    kit = RoomKit(shutdown_timeout=0)
    async with kit:
        slow, quick, screen = Transport("one"), Transport("two"), Screen("screen")

        async def take_time(event: RoomEvent) -> None:
            await asyncio.sleep(0.3)

        slow.on_delivery = take_time
        bot = Agent(
            "bot",
            lambda event, context: (
                Stream("well, ", "yes")() if event.text == "?" else [f"re: {event.text}"]
            ),
        )
        await room_with(kit, slow, quick, screen, bot)
        kit.add_hook(HookTrigger.BEFORE_BROADCAST, guard)
        running = []
        for delay, step in steps:
            await asyncio.sleep(delay)
            running.append(asyncio.create_task(attempt(kit, step)))
        await asyncio.gather(*running)
        await kit.idle(ROOM)
        await check(kit, [slow, quick, screen], screen)


async def check(kit: RoomKit, transports: list[Transport], screen: Screen) -> None:
    events = await timeline(kit)
    room = await kit.get_room(ROOM)
    assert room is not None
    assert [event.index for event in events] == list(range(len(events)))  # R94
    assert (room.event_count, room.latest_index) == (len(events), len(events) - 1)  # R99
    assert room.delivered_index == len(events) - 1  # R138, R139
    keys = Counter(
        (event.source.channel_id, event.idempotency_key)
        for event in events
        if event.idempotency_key
    )
    assert set(keys.values()) <= {1}  # R195
    assert all(event.status is not EventStatus.PENDING for event in events)
    assert all(
        event.status is EventStatus.BLOCKED for event in events if event.text == "bad"
    )  # R121
    by_id = {event.id: event for event in events}
    for transport in transports:
        order = [event.index for event in transport.got]
        assert order == sorted(set(order))  # R137
        for event in transport.got:
            assert by_id[event.id].status is EventStatus.DELIVERED  # R122
            assert event.source.channel_id != transport.channel_id  # R74
            target = ChannelBinding(
                channel_id=transport.channel_id,
                room_id=ROOM,
                channel_type="sms",
                category=ChannelCategory.TRANSPORT,
            )
            assert visible(event, None, target)
    whole = {event.id for event in screen.got}
    streamed = [stored.id for _, stored, _ in screen.finished if stored is not None]
    assert len(streamed) == len(set(streamed))
    assert whole.isdisjoint(streamed)  # R63
    for event in events:
        if event.responds_to is not None and event.source.channel_id == "bot":
            trigger = by_id[event.responds_to]
            assert event.chain_depth == trigger.chain_depth + 1  # R147
            assert event.index > trigger.index
            assert trigger.status is EventStatus.DELIVERED


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_a_room_keeps_its_promises_in_any_order(steps: list[Any]) -> None:
    run_virtual(scene(steps))
