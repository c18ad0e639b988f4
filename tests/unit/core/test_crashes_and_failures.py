"""What holds of a room among edits, broken hooks, broken deliveries and crashes, in any order.

Every example is one life of a store under several frameworks, one after the other: each but the
last ends in the middle of its work, as a killed process does.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salon.core.errors import ChannelNotFoundError
from salon.core.kit import RoomKit
from salon.core.memory.store import InMemoryStore
from salon.core.permissions import scope_includes
from salon.models import (
    ChannelBinding,
    ChannelCategory,
    DeleteContent,
    EditContent,
    EventStatus,
    EventType,
    HookResult,
    HookTrigger,
    InboundMessage,
    RoomContext,
    RoomEvent,
)
from salon.testing import run_virtual

from .helpers import ROOM, Agent, Transport, message, room_with, text, timeline

PEOPLE = ("one", "two", "watch")
WHO = st.sampled_from(PEOPLE)
SCOPE = st.sampled_from(["all", "none", "transport", "two", "ana,ben", "intelligence"])
MAX_DEPTH = 3
STEP = st.one_of(
    st.tuples(st.just("say"), WHO, st.sampled_from(["hi", "bad", "boom", "slow", "fix"]), SCOPE),
    st.tuples(st.just("say"), WHO, st.just("hi"), st.just("all")),
    st.tuples(st.just("edit"), WHO, st.integers(0, 5), st.sampled_from(["new", "bad"])),
    st.tuples(st.just("delete"), WHO, st.integers(0, 5)),
    st.tuples(st.just("mute"), WHO, st.booleans()),
    st.tuples(st.just("scope"), WHO, SCOPE),
    st.tuples(st.just("attach"), WHO),
    st.tuples(st.just("detach"), WHO),
    st.tuples(st.just("break"), st.sampled_from(["two", "watch"]), st.booleans()),
    st.tuples(st.just("crash")),
    st.tuples(st.just("close")),
)
STEPS = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.4]), STEP), min_size=4, max_size=18)


class Disk(InMemoryStore):
    """Outlives the framework, and a commit takes its time."""

    is_process_local = False

    async def commit_event(self, event: RoomEvent, **more: Any) -> RoomEvent:
        await asyncio.sleep(0.01)
        return await super().commit_event(event, **more)


@dataclass
class World:
    """The store, and what was seen from outside over all frameworks."""

    store: Disk = field(default_factory=Disk)
    acknowledged: dict[str, str] = field(default_factory=dict)
    """Event id to status, of everything a caller was told of."""
    orders: list[tuple[str, list[int]]] = field(default_factory=list)
    """Per framework and transport the indices as delivered."""
    got: dict[str, list[RoomEvent]] = field(default_factory=dict)
    shown: list[tuple[str, RoomEvent]] = field(default_factory=list)
    """What agents found in their history."""
    whole: bool = True
    """Nobody was attached, detached or broken meanwhile, so everything must arrive."""


async def guard(event: RoomEvent, context: RoomContext) -> HookResult:
    content = event.content
    words = content.new_content if isinstance(content, EditContent) else content
    return HookResult.block("bad word") if words == text("bad") else HookResult.allow()


async def fragile(event: RoomEvent, context: RoomContext) -> HookResult:
    if event.text == "boom":
        raise RuntimeError("hook")
    if event.text == "slow":
        await asyncio.sleep(60)
    if event.text == "fix":
        return HookResult.modify(event.model_copy(update={"content": text("fixed")}))
    return HookResult.allow()


class Life:
    """One framework on the store."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.kit = RoomKit(world.store, max_chain_depth=MAX_DEPTH, shutdown_timeout=0)
        self.transports = {name: Transport(name) for name in PEOPLE}
        self.tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        kit = self.kit
        await kit.open()

        def answer(event: RoomEvent, context: RoomContext) -> list[str]:
            return [f"re {event.chain_depth}"]

        channels = [*self.transports.values(), Agent("ana", answer), Agent("ben", answer)]
        for channel in channels:
            kit.register_channel(channel)
        kit.add_hook(HookTrigger.BEFORE_BROADCAST, guard)
        kit.add_hook(HookTrigger.BEFORE_BROADCAST, fragile, timeout=0.2)
        if await self.world.store.get_room(ROOM) is None:
            await room_with(kit, *channels)
        await kit.resume_deliveries()

    def start(self, step: tuple[Any, ...]) -> None:
        self.tasks.append(asyncio.create_task(self._attempt(step)))

    async def _attempt(self, step: tuple[Any, ...]) -> None:
        with contextlib.suppress(ChannelNotFoundError):
            await self._act(step)

    async def _act(self, step: tuple[Any, ...]) -> None:
        kit = self.kit
        match step:
            case ("say", channel, body, scope):
                await self._say(message(channel, body, channel, visibility=scope))
            case ("edit", channel, place, body):
                target = await self._target(place)
                change = EditContent(target_event_id=target, new_content=text(body))
                await self._say(_change(channel, change, EventType.EDIT))
            case ("delete", channel, place):
                change_away = DeleteContent(target_event_id=await self._target(place))
                await self._say(_change(channel, change_away, EventType.DELETE))
            case ("mute", channel, on):
                await (kit.mute(ROOM, channel) if on else kit.unmute(ROOM, channel))
            case ("scope", channel, scope):
                await kit.set_visibility(ROOM, channel, scope)
            case ("attach", channel):
                self.world.whole = False
                await kit.attach_channel(ROOM, channel)
            case ("detach", channel):
                self.world.whole = False
                await kit.detach_channel(ROOM, channel)
            case ("break", channel, on):
                self.world.whole = False
                self.transports[channel].failure = RuntimeError("down") if on else None
            case ("close",):
                await kit.close_room(ROOM)

    async def _target(self, place: int) -> str:
        said = [event for event in await timeline(self.kit) if event.type is EventType.MESSAGE]
        return said[place].id if place < len(said) else "nothing"

    async def _say(self, words: InboundMessage) -> None:
        event = (await self.kit.process_inbound(words, room_id=ROOM, detached=True)).event
        if event is not None:
            self.world.acknowledged[event.id] = event.status.value

    async def end(self, *, crash: bool) -> None:
        if crash:
            for task in self.tasks:
                task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=crash)
        if crash:
            delivery = self.kit._parts.delivery
            for lanes in (delivery.agents, delivery.rooms):
                await lanes.close(0)
            scope = self.kit._parts.marks._scope
            if scope is not None:
                await scope.close()
        else:
            await self.kit.idle(ROOM)
            await self._look_back()
            await self.kit.close()
        for name, transport in self.transports.items():
            self.world.orders.append((name, [event.index for event in transport.got]))
            self.world.got.setdefault(name, []).extend(transport.got)

    async def _look_back(self) -> None:
        for name in ("ana", "ben", *PEOPLE):
            for event in await self.kit.history(ROOM, name):
                self.world.shown.append((name, event))


def _change(channel: str, content: Any, kind: EventType) -> InboundMessage:
    return InboundMessage(channel_id=channel, sender_id=channel, content=content, event_type=kind)


def as_target(name: str) -> ChannelBinding:
    agent = name in ("ana", "ben")
    return ChannelBinding(
        channel_id=name,
        room_id=ROOM,
        channel_type="sms",
        category=ChannelCategory.INTELLIGENCE if agent else ChannelCategory.TRANSPORT,
    )


async def scene(steps: list[tuple[float, tuple[Any, ...]]]) -> None:
    world = World()
    life = Life(world)
    await life.begin()
    for delay, step in steps:
        await asyncio.sleep(delay)
        if step == ("crash",):
            await life.end(crash=True)
            life = Life(world)
            await life.begin()
        else:
            life.start(step)
    await life.end(crash=False)
    await check(world)


async def check(world: World) -> None:
    kit = RoomKit(world.store)
    events = await timeline(kit)
    room = await kit.get_room(ROOM)
    by_id = {event.id: event for event in events}
    assert [event.index for event in events] == list(range(len(events)))  # R94
    assert (room.event_count, room.latest_index) == (len(events), len(events) - 1)  # R99
    for event_id, status in world.acknowledged.items():  # nothing a caller was told of is lost
        assert by_id[event_id].status.value == status  # R100
    for _, order in world.orders:
        assert order == sorted(set(order))  # R137, in each framework
    for name, got in world.got.items():
        target = as_target(name)
        for event in got:
            assert by_id[event.id].status is EventStatus.DELIVERED  # R122
            assert event.source.channel_id != name  # R74
            assert scope_includes(by_id[event.id].visibility, target)  # R73
    for name, event in world.shown:
        own = event.source.channel_id == name
        assert own or scope_includes(event.visibility, as_target(name))  # R80
        assert event.status is not EventStatus.BLOCKED  # AMB-26
    for event in events:
        check_event(event, by_id)
    if world.whole:
        for name in PEOPLE:
            due = {
                event.id
                for event in events
                if event.status is EventStatus.DELIVERED
                and event.source.channel_id != name
                and scope_includes(event.visibility, as_target(name))
            }
            assert due == {event.id for event in world.got.get(name, ())}  # R207
        assert room.delivered_index == room.latest_index  # R138


def check_event(event: RoomEvent, by_id: dict[str, RoomEvent]) -> None:
    if event.status is EventStatus.DELIVERED:
        assert event.chain_depth < MAX_DEPTH  # R148
    elif event.chain_depth >= MAX_DEPTH:
        assert event.blocked_by == "event_chain_depth_limit"
    if event.text == "bad":
        assert event.status is EventStatus.BLOCKED or event.metadata.get("edited") is None
    if event.responds_to is not None and event.source.channel_id in ("ana", "ben"):
        trigger = by_id[event.responds_to]
        assert event.chain_depth == trigger.chain_depth + 1  # R147
        assert event.index > trigger.index
    if event.type is EventType.EDIT and event.status is EventStatus.DELIVERED:
        assert isinstance(event.content, EditContent)
        target = by_id[event.content.target_event_id]
        assert target.metadata.get("edited") is True  # R111
        assert target.source.participant_id == event.source.participant_id  # R105


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_nothing_is_lost_reordered_or_shown_to_more_people_whatever_happens(
    steps: list[Any],
) -> None:
    run_virtual(scene(steps))
