"""A deleted room is over, whoever has its id next, and whichever process deleted it (R182, R211,
R267). Another process is one that has the store, and not the lanes and memories of this one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from salon.core.context import Contexts
from salon.core.delivery import RootCall
from salon.core.errors import RoomNotFoundError
from salon.core.kit import RoomKit
from salon.core.marks import DeliveredMarks
from salon.core.memory.store import InMemoryStore
from salon.core.passes import Pass
from salon.core.ports.channel import Channel
from salon.core.ports.identity import IdentityResolver
from salon.core.ports.store import ConversationStore
from salon.core.tenancy import Meant
from salon.models import (
    ChannelType,
    EventSource,
    HookResult,
    HookTrigger,
    IdentificationStatus,
    IdentityHookResult,
    IdentityResult,
    InboundMessage,
    InboundResult,
    InjectedEvent,
    Room,
    RoomContext,
    RoomEvent,
    Task,
)

from .helpers import (
    PATIENCE,
    ROOM,
    Agent,
    Screen,
    Stream,
    Transport,
    listen,
    message,
    messages,
    room_with,
    text,
    timeline,
)

ACME, EVIL = "acme", "evil"


async def room_of(kit: RoomKit, organization_id: str, *channel_ids: str) -> None:
    """The room as an organization makes it."""
    await kit.create_room(ROOM, organization_id=organization_id)
    for channel_id in channel_ids:
        await kit.attach_channel(ROOM, channel_id)


async def remade(kit: RoomKit, *channel_ids: str) -> None:
    """Deleted here, and made anew for somebody else."""
    await kit.delete_room(ROOM)
    await room_of(kit, EVIL, *channel_ids)


async def remade_elsewhere(kit: RoomKit, *channel_ids: str) -> None:
    """The same by another process."""
    await kit.store.delete_room(ROOM)
    shared = cast(ConversationStore, Shared(kit.store))
    async with RoomKit(store=shared, shutdown_timeout=0) as other:
        for channel_id in channel_ids:
            here = kit.channels.get(channel_id)
            ai = isinstance(here, Agent)
            other.register_channel(Agent(channel_id) if ai else Transport(channel_id))
        await room_of(other, EVIL, *channel_ids)


class Shared:
    """A store of several kits: closing one leaves it open."""

    def __init__(self, store: object) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass


@pytest.fixture(params=["here", "elsewhere"])
def remake(request: pytest.FixtureRequest) -> Any:
    return remade if request.param == "here" else remade_elsewhere


def said(kit: RoomKit, body: str, channel_id: str = "web") -> asyncio.Task[InboundResult]:
    """A message on its way."""
    sent = message(channel_id, body)
    return asyncio.create_task(
        kit.process_inbound(sent, room_id=ROOM, organization_id=ACME), name=body
    )


async def over(task: asyncio.Task[InboundResult]) -> InboundResult:
    async with asyncio.timeout(PATIENCE):
        return await task


class Plain(Transport):
    """Reads messages as channels do by default, which needs no room just read."""

    handle_inbound = Channel.handle_inbound


class SlowAgent(Agent):
    """Answers once it may."""

    def __init__(self, channel_id: str = "ai") -> None:
        super().__init__(channel_id)
        self.go = asyncio.Event()
        self.fails = False
        self.script = lambda event, context: [f"to {event.text}"]

    async def on_event(self, event: RoomEvent, *args: Any) -> Any:
        output = await super().on_event(event, *args)
        await self.go.wait()
        if self.fails:
            raise ValueError("a secret of the old room")
        return output


# -- what the room still owed (R211) --------------------------------------------------------------


async def test_R211_answers_and_questions_end_with_their_room(kit: RoomKit, remake: Any) -> None:
    web, agent = Transport("web"), SlowAgent()
    kit.register_channel(web)
    kit.register_channel(agent)
    await room_of(kit, ACME, "web", "ai")
    asking = [said(kit, body) for body in ("first", "second")]
    await asyncio.sleep(0.1)
    await remake(kit, "web", "ai")
    agent.go.set()
    results = [await over(task) for task in asking]
    assert [(result.blocked, result.response_events) for result in results] == [(False, [])] * 2
    assert [event.text for event in agent.asked] == ["first"]
    assert await messages(kit) == []
    fresh = await kit.process_inbound(message("web", "mine"), room_id=ROOM, organization_id=EVIL)
    assert [event.text for event in fresh.response_events] == ["to mine"]


async def test_R211_deliveries_end_with_their_room(kit: RoomKit, remake: Any) -> None:
    web, slow = Transport("web"), Transport("slow")
    slow.hold = asyncio.Event()
    kit.register_channel(web)
    kit.register_channel(slow)
    await room_of(kit, ACME, "web", "slow")
    sending = [said(kit, f"secret {number}") for number in range(4)]
    await asyncio.sleep(0.1)
    await remake(kit, "web", "slow")
    await kit.context(ROOM)  # this process gets to know it
    slow.hold.set()
    for task in sending:
        assert (await over(task)).event is not None
    await kit.idle(ROOM)
    assert slow.bodies in ([], ["secret 0"])  # what was on its way may arrive
    room = await kit.get_room(ROOM)
    assert (room.latest_index, room.delivered_index) == (1, 1)
    await kit.process_inbound(message("web", "mine"), room_id=ROOM)
    assert (await kit.get_room(ROOM)).delivered_index == 2


async def test_R211_an_answer_stops_in_mid_sentence(kit: RoomKit) -> None:
    web, screen, agent = Transport("web"), Screen("screen"), Agent("ai")
    stream = Stream("For customer ", asyncio.Event(), "4711")
    agent.script = lambda event, context: stream()
    await room_with(kit, web, screen, agent)
    asking = asyncio.create_task(kit.process_inbound(message("web"), room_id=ROOM))
    await asyncio.sleep(0.1)
    assert screen.heard == ["For customer "]
    await remade(kit, "web", "screen", "ai")
    assert (await over(asking)).response_events == []
    assert (stream.closed, stream.given) == (True, ["For customer "])
    await kit.idle(ROOM)
    assert await messages(kit) == []


async def test_R211_a_streamed_answer_is_not_stored_in_another_room(kit: RoomKit) -> None:
    web, screen, agent = Transport("web"), Screen("screen"), Agent("ai")
    rest = asyncio.Event()
    agent.script = lambda event, context: Stream("For customer ", rest, "4711")()
    await room_with(kit, web, screen, agent)
    asking = asyncio.create_task(kit.process_inbound(message("web"), room_id=ROOM))
    await asyncio.sleep(0.1)
    await remade_elsewhere(kit, "web", "ai")
    rest.set()
    result = await over(asking)
    assert (result.response_events, result.error) == ([], None)
    assert await messages(kit) == []
    assert [stored for _, stored, _ in screen.finished] == [None]


async def test_R211_a_stream_that_begins_too_late_is_told_to_nobody(kit: RoomKit) -> None:
    web, screen, agent = Transport("web"), Screen("screen"), Agent("ai")
    begin = asyncio.Event()
    agent.script = lambda event, context: Stream(begin, "4711")()
    await room_with(kit, web, screen, agent)
    asking = asyncio.create_task(kit.process_inbound(message("web"), room_id=ROOM))
    await asyncio.sleep(0.1)
    await remade_elsewhere(kit, "web", "ai")
    begin.set()
    await over(asking)
    assert (screen.announced, await messages(kit)) == ([], [])


async def test_R211_a_stream_not_begun_is_closed(kit: RoomKit) -> None:
    web, agent = Transport("web"), SlowAgent()
    left: list[str] = []

    class Words:
        """An answer that nobody reads."""

        def __aiter__(self) -> AsyncIterator[str]:
            raise AssertionError

        async def aclose(self) -> None:
            left.append("closed")

    agent.script = lambda event, context: Words()  # type: ignore[assignment,return-value]
    await room_with(kit, web, agent)
    asking = asyncio.create_task(kit.process_inbound(message("web"), room_id=ROOM))
    await asyncio.sleep(0.1)
    await remade_elsewhere(kit, "web", "ai")
    agent.go.set()
    await over(asking)
    assert (left, await messages(kit)) == (["closed"], [])


@pytest.mark.parametrize("fails", [False, True])
async def test_R211_nothing_else_of_an_agent_is_kept_either(kit: RoomKit, fails: bool) -> None:
    web, agent = Transport("web"), SlowAgent()
    agent.fails = fails
    agent.extras = {
        "tasks": (Task(room_id=ROOM, title="call 4711"),),
        "metadata_updates": {"customer": "4711"},
    }
    await room_with(kit, web, agent)
    told: list[str] = []

    @kit.hook(HookTrigger.ON_ERROR)
    async def on_error(event: RoomEvent, context: RoomContext) -> None:
        told.append(context.room.id)

    asking = asyncio.create_task(kit.process_inbound(message("web"), room_id=ROOM))
    await asyncio.sleep(0.1)
    await remade_elsewhere(kit, "web", "ai")
    agent.go.set()
    assert ((await over(asking)).error is not None) is fails
    assert {event.type.value for event in await timeline(kit)} == {"channel_attached"}
    room = await kit.get_room(ROOM)
    assert (room.metadata, await kit.list_tasks(ROOM), told) == ({}, [], [])


async def test_R211_a_regeneration_asks_in_its_own_room_only(kit: RoomKit) -> None:
    web, slow, agent = Transport("web"), Transport("slow"), Agent("ai")
    await room_with(kit, web, slow, agent)
    await kit.process_inbound(message("web"), room_id=ROOM)
    slow.hold = asyncio.Event()
    waiting = asyncio.create_task(kit.process_inbound(message("web"), room_id=ROOM))
    await asyncio.sleep(0.1)
    again = asyncio.create_task(kit.regenerate_response(ROOM))
    await asyncio.sleep(0.1)
    asked = len(agent.asked)
    await remade_elsewhere(kit, "web", "slow", "ai")
    slow.hold.set()
    async with asyncio.timeout(PATIENCE):
        await waiting
        await again
    assert len(agent.asked) == asked


@pytest.mark.parametrize("again", [False, True])
async def test_R128_a_channel_may_delete_its_room(kit: RoomKit, again: bool) -> None:
    web, agent, done = Transport("web"), SlowAgent(), list[str | None]()
    await room_with(kit, web, agent)
    first = asyncio.create_task(kit.process_inbound(message("web", "first"), room_id=ROOM))
    await asyncio.sleep(0.1)

    async def delete(event: RoomEvent) -> None:
        await kit.delete_room(ROOM)
        if again:
            await room_of(kit, EVIL, "web", "bye")
            await kit.delete_room(ROOM)
        done.append(event.text)

    bye = Transport("bye")
    bye.on_delivery = delete
    await room_with(kit, bye)
    sent = message("web", "bye")
    result = await over(asyncio.create_task(kit.process_inbound(sent, room_id=ROOM)))
    assert (done, result.delivery_results["bye"].error) == (["bye"], None)
    assert (await over(first)).response_events == []
    assert [event.text for event in agent.asked] == ["first"]


async def test_R128_an_agent_may_delete_its_room(kit: RoomKit) -> None:
    web, agent = Transport("web"), Agent("ai")

    async def farewell() -> AsyncIterator[str]:
        await kit.delete_room(ROOM)
        yield "gone"

    agent.script = lambda event, context: farewell()
    await room_with(kit, web, agent)
    asking = asyncio.create_task(kit.process_inbound(message("web"), room_id=ROOM))
    result = await over(asking)
    assert (result.response_events, result.error) == ([], None)
    assert not await kit.store.room_exists(ROOM)


async def test_R211_marks_of_another_room_stay() -> None:
    store = InMemoryStore()
    marks = DeliveredMarks(store)
    old = await store.create_room(Room(id=ROOM))
    before = marks.planned(old, 0)
    await store.delete_room(ROOM)
    new = await store.create_room(Room(id=ROOM))
    after = marks.planned(new, 0)
    marks.abandon(before)
    await marks.done(before)
    assert marks.knows(new, 0)
    marks.abandon(after)
    assert not marks.knows(new, 0)
    await marks.close()


# -- whose room it is (R267) ----------------------------------------------------------------------


class SlowResolver(IdentityResolver):
    """Knows nobody, once it may say so."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def resolve(self, message: InboundMessage, context: RoomContext) -> IdentityResult:
        await self.go.wait()
        return IdentityResult(status=IdentificationStatus.UNKNOWN)


@pytest.mark.parametrize("challenged", [False, True])
async def test_R267_a_message_does_not_reach_who_took_the_room_over(challenged: bool) -> None:
    resolver, sms = SlowResolver(), Transport("sms")
    async with RoomKit(identity_resolver=resolver, shutdown_timeout=0) as kit:
        if challenged:

            @kit.identity_hook(HookTrigger.ON_IDENTITY_UNKNOWN)
            async def challenge(*_: object) -> IdentityHookResult:
                note = RoomEvent(
                    room_id=ROOM,
                    source=EventSource(channel_id="system", channel_type=ChannelType.SYSTEM),
                    content=text("who are you?"),
                )
                asked = InjectedEvent(event=note, target_channel_ids=["sms"])
                return IdentityHookResult.challenge(asked)

        kit.register_channel(sms)
        await room_of(kit, ACME, "sms")
        sending = said(kit, "secret", "sms")
        await asyncio.sleep(0.1)
        await remade(kit)
        resolver.go.set()
        with pytest.raises(RoomNotFoundError):
            await over(sending)
        assert (await timeline(kit), sms.got) == ([], [])


@pytest.mark.parametrize("needs_lock", [True, False])
async def test_R267_what_waited_for_the_room_does_not_come_into_anothers(
    kit: RoomKit, needs_lock: bool
) -> None:
    hold, seen = asyncio.Event(), list[tuple[str | None, str | None]]()
    kit.register_channel(Transport("web"))
    await room_of(kit, ACME, "web")

    @kit.hook(HookTrigger.BEFORE_BROADCAST, needs_lock=needs_lock)
    async def watch(event: RoomEvent, context: RoomContext) -> HookResult:
        seen.append((event.text, context.room.organization_id))
        await hold.wait()
        return HookResult.allow()

    first = said(kit, "first")
    await asyncio.sleep(0.1)
    remaking = asyncio.create_task(remade(kit, "web"))
    await asyncio.sleep(0.1)
    second = said(kit, "second")
    send = kit.send_event(ROOM, "web", "third", organization_id=ACME)
    third = asyncio.create_task(send)
    await asyncio.sleep(0.1)
    hold.set()
    ends = await asyncio.gather(first, second, third, remaking, return_exceptions=True)
    assert {type(end) for end in ends[1:3]} == {RoomNotFoundError}
    assert {whose for _, whose in seen} == {ACME}
    assert await messages(kit) == []


async def test_R267_no_hook_is_shown_a_message_in_anothers_room(kit: RoomKit) -> None:
    web, seen = Transport("web"), list[str | None]()

    async def remake_it(_: object, context: RoomContext) -> None:
        await remade(kit, "web")

    @kit.hook(HookTrigger.BEFORE_BROADCAST, needs_lock=False)
    async def watch(event: RoomEvent, context: RoomContext) -> HookResult:
        seen.append(event.text)
        return HookResult.allow()

    web.parse = remake_it
    kit.register_channel(web)
    await room_of(kit, ACME, "web")
    with pytest.raises(RoomNotFoundError):
        await over(said(kit, "secret"))
    assert seen == []


@pytest.mark.parametrize("kind", [Transport, Plain])
async def test_R267_a_remembered_room_is_not_trusted(kit: RoomKit, kind: type[Transport]) -> None:
    kit.register_channel(kind("web"))
    await room_of(kit, ACME, "web")
    await over(said(kit, "remember"))
    await remade_elsewhere(kit, "web")
    with pytest.raises(RoomNotFoundError):
        await over(said(kit, "secret"))
    assert await messages(kit) == []


async def test_R267_a_channel_is_not_shown_anothers_room(kit: RoomKit) -> None:
    shown: list[str | None] = []

    class Reader(Transport):
        async def handle_inbound(self, message: InboundMessage, context: RoomContext) -> RoomEvent:
            shown.append(context.room.organization_id)
            return await super().handle_inbound(message, context)

    kit.register_channel(Reader("web"))
    await room_of(kit, ACME, "web")
    await over(said(kit, "remember"))
    await remade_elsewhere(kit, "web")
    with pytest.raises(RoomNotFoundError):
        await over(said(kit, "secret"))
    assert shown == [ACME]


@pytest.mark.parametrize("meant", [Meant(ACME), Meant(made=Room().created_at)])
async def test_R267_a_pass_is_for_one_room(kit: RoomKit, meant: Meant) -> None:
    kit.register_channel(Transport("web"))
    await room_of(kit, EVIL, "web")
    event = RoomEvent(
        room_id=ROOM,
        source=EventSource(channel_id="web", channel_type=ChannelType.SMS),
        content=text("secret"),
    )
    with pytest.raises(RoomNotFoundError):
        await kit._parts.timeline.run(Pass(event, meant=meant))
    assert await kit._parts.timeline.record(event, meant=meant) is None
    with pytest.raises(RoomNotFoundError):
        await kit._parts.timeline.inject([], ROOM, RootCall(), meant)
    assert await messages(kit) == []


async def test_R267_a_hook_that_remakes_the_room_ends_the_message(kit: RoomKit) -> None:
    await room_with(kit, Transport("web"))

    @kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def remake_it(event: RoomEvent, context: RoomContext) -> HookResult:
        if context.room.organization_id is None:
            await remade(kit, "web")
        return HookResult.allow()

    with pytest.raises(RoomNotFoundError):
        await kit.send_event(ROOM, "web", "secret")
    assert await messages(kit) == []


# -- rooms that others delete (R182) --------------------------------------------------------------


@pytest.mark.parametrize("kind", [Transport, Plain])
async def test_R182_a_room_deleted_elsewhere_is_made_anew(
    kit: RoomKit, kind: type[Transport]
) -> None:
    kit.register_channel(kind("web"))
    await kit.process_inbound(message("web", "one"), room_id=ROOM)
    await kit.store.delete_room(ROOM)
    for body in ("two", "three"):
        result = await kit.process_inbound(message("web", body), room_id=ROOM)
        assert (result.blocked, result.event and result.event.room_id) == (False, ROOM)
    assert [event.text for event in await messages(kit)] == ["two", "three"]


async def test_R182_a_routed_message_whose_room_goes_begins_anew(kit: RoomKit) -> None:
    hold = asyncio.Event()
    kit.register_channel(Transport("sms"))
    first = await kit.process_inbound(message("sms", "hello"))
    assert first.event is not None

    @kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def slow(event: RoomEvent, context: RoomContext) -> HookResult:
        if event.text == "slow":
            await hold.wait()
        return HookResult.allow()

    before = asyncio.create_task(kit.process_inbound(message("sms", "slow")))
    await asyncio.sleep(0.1)
    deleting = asyncio.create_task(kit.delete_room(first.event.room_id))
    await asyncio.sleep(0.1)
    after = asyncio.create_task(kit.process_inbound(message("sms", "next")))
    await asyncio.sleep(0.1)
    hold.set()
    assert not (await over(before)).blocked
    result = await over(after)
    await deleting
    assert result.event is not None
    assert result.event.room_id != first.event.room_id
    assert [room.id for room in await kit.list_rooms()] == [result.event.room_id]


@pytest.mark.parametrize("goes", [False, True])
async def test_R182_a_second_first_message_finds_the_room_unless_it_goes(
    kit: RoomKit, goes: bool
) -> None:
    """Both begin before there is a room."""
    sms, seen = Transport("sms"), list[str]()

    async def parse(_: object, context: RoomContext) -> None:
        await asyncio.sleep(0.1)
        seen.append(context.room.id)
        if goes and len(seen) == 2:
            await kit.store.delete_room(context.room.id)

    sms.parse = parse
    kit.register_channel(sms)
    sending = [kit.process_inbound(message("sms", body)) for body in ("one", "two")]
    first, second = await asyncio.gather(*sending)
    assert first.event is not None
    assert second.event is not None
    assert (first.event.room_id != second.event.room_id) is goes
    assert seen == ([seen[0]] * 2 + [second.event.room_id] * goes)


async def test_R182_a_room_that_goes_again_and_again_is_not_found(kit: RoomKit) -> None:
    sms = Transport("sms")

    async def vanish(_: object, context: RoomContext) -> None:
        await kit.store.delete_room(context.room.id)

    kit.register_channel(sms)
    first = await kit.process_inbound(message("sms"))
    assert first.event is not None
    sms.parse = vanish
    with pytest.raises(RoomNotFoundError):
        await kit.process_inbound(message("sms"))
    assert await kit.list_rooms() == []


async def test_the_failure_of_a_channel_is_not_a_room_that_is_gone(kit: RoomKit) -> None:
    sms, calls = Transport("sms"), list[str]()

    async def look(_: object, context: RoomContext) -> None:
        calls.append(context.room.id)
        await kit.get_room("elsewhere")

    sms.parse = look
    await room_with(kit, sms)
    with pytest.raises(RoomNotFoundError, match="elsewhere"):
        await kit.process_inbound(message("sms"), room_id=ROOM)
    assert calls == [ROOM]


async def test_a_context_forgets_what_is_gone() -> None:
    store = InMemoryStore()
    contexts = Contexts(store)
    room = await store.create_room(Room(id=ROOM))
    assert (await contexts.build(ROOM)).room.id == ROOM
    assert not contexts.replaced(room)
    assert await contexts.again(ROOM, room.created_at) is not None
    await store.delete_room(ROOM)
    assert await contexts.again(ROOM, room.created_at) is None
    with pytest.raises(RoomNotFoundError):
        await contexts.roughly(ROOM)
    await store.create_room(Room(id=ROOM))
    assert await contexts.again(ROOM, room.created_at) is None
    assert contexts.replaced(room)


# -- waiting for a room (R128) --------------------------------------------------------------------


@pytest.mark.parametrize("other", [False, True])
async def test_R128_idle_from_inside_says_so(kit: RoomKit, other: bool) -> None:
    web, agent, told = Transport("web"), Agent("ai"), list[str]()
    await room_with(kit, web, agent)
    await room_with(kit, web, room_id="other")

    async def wait(where: str) -> None:
        with pytest.raises(RuntimeError, match="from inside"):
            await kit.idle("other" if other else ROOM)
        told.append(where)

    async def answer() -> AsyncIterator[str]:
        await wait("answer")
        yield "well"

    async def delivered(event: RoomEvent) -> None:
        await wait("delivery")

    @kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def hooked(event: RoomEvent, context: RoomContext) -> HookResult:
        if event.text == "hi":
            await wait("hook")
        return HookResult.allow()

    agent.script = lambda event, context: answer()
    heard = listen(kit, "hook_error")
    web.on_delivery = delivered
    sending = asyncio.create_task(kit.process_inbound(message("web"), room_id=ROOM))
    result = await over(sending)
    assert (result.blocked, result.error, heard) == (False, None, [])
    assert told == ["hook", "answer", "delivery"]
    await kit.idle(ROOM)
