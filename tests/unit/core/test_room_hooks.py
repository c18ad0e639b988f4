"""Hooks that are defined once and run in the rooms which enable them by name."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from salon.core.errors import RoomNotFoundError
from salon.core.hooks import HookRegistration, HookRegistry
from salon.core.kit import RoomKit
from salon.models import HookExecution, HookResult, HookTrigger, Room, RoomContext, RoomEvent

from .helpers import ROOM, Transport, message, room_with

BEFORE, AFTER = HookTrigger.BEFORE_BROADCAST, HookTrigger.AFTER_BROADCAST
SYNC = HookExecution.SYNC
CONTEXT = RoomContext(Room(id=ROOM))


def saying(log: list[str], name: str) -> Any:
    async def fn(payload: Any, context: RoomContext) -> HookResult:
        log.append(f"{name} in {context.room.id}")
        return HookResult.allow()

    fn.__name__ = name
    return fn


async def refuse(event: RoomEvent, context: RoomContext) -> HookResult:
    return HookResult.block("quiet")


@pytest.fixture
def hooks() -> HookRegistry:
    return HookRegistry()


# -- the registry ---------------------------------------------------------------------------------


async def test_a_defined_hook_runs_only_where_its_name_is_enabled(hooks: HookRegistry) -> None:
    log: list[str] = []
    hooks.define("audit", BEFORE, saying(log, "audit"))
    assert not hooks.wants(BEFORE, ROOM)
    hooks.enable(ROOM, "audit")
    assert hooks.wants(BEFORE, ROOM)
    assert not hooks.wants(AFTER, ROOM)
    assert not hooks.wants(BEFORE, "other")
    await hooks.decide(BEFORE, "x", CONTEXT)
    await hooks.decide(BEFORE, "x", RoomContext(Room(id="other")))
    assert log == [f"audit in {ROOM}"]


async def test_a_disabled_hook_runs_no_longer_and_can_be_enabled_again(hooks: HookRegistry) -> None:
    log: list[str] = []
    hooks.define("audit", BEFORE, saying(log, "audit"))
    hooks.enable(ROOM, "audit")
    assert hooks.disable(ROOM, "audit") is True
    assert hooks.disable(ROOM, "audit") is False
    await hooks.decide(BEFORE, "x", CONTEXT)
    assert log == []
    hooks.enable(ROOM, "audit")
    hooks.enable(ROOM, "audit")
    await hooks.decide(BEFORE, "x", CONTEXT)
    assert log == [f"audit in {ROOM}"]


async def test_R155_a_defined_hook_is_a_room_hook_in_the_order_of_hooks(
    hooks: HookRegistry,
) -> None:
    log: list[str] = []
    hooks.define("named", BEFORE, saying(log, "named"))
    hooks.define("first", BEFORE, saying(log, "first"), priority=-1)
    hooks.add(BEFORE, saying(log, "own"), room_id=ROOM)
    hooks.add(BEFORE, saying(log, "everywhere"))
    for name in ("named", "first"):
        hooks.enable(ROOM, name)
    await hooks.decide(BEFORE, "x", CONTEXT)
    assert [line.partition(" ")[0] for line in log] == ["first", "everywhere", "named", "own"]


async def test_a_name_has_a_hook_per_trigger_and_the_last_definition_counts(
    hooks: HookRegistry,
) -> None:
    log: list[str] = []
    hooks.define("audit", BEFORE, saying(log, "old"))
    hooks.define("audit", AFTER, saying(log, "after"), execution=HookExecution.ASYNC)
    hooks.enable(ROOM, "audit")
    hooks.define("audit", BEFORE, saying(log, "new"))
    await hooks.decide(BEFORE, "x", CONTEXT)
    await hooks.observe(AFTER, "x", CONTEXT)
    assert log == [f"new in {ROOM}", f"after in {ROOM}"]


async def test_a_name_may_be_enabled_before_it_is_defined(
    hooks: HookRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    with caplog.at_level(logging.WARNING):
        hooks.enable(ROOM, "audit")
    assert "not defined yet" in caplog.text
    assert not hooks.wants(BEFORE, ROOM)
    assert (await hooks.decide(BEFORE, "x", CONTEXT)).payload == "x"
    hooks.define("audit", BEFORE, saying(log, "audit"))
    await hooks.decide(BEFORE, "x", CONTEXT)
    assert log == [f"audit in {ROOM}"]


async def test_what_is_undefined_runs_nowhere(hooks: HookRegistry) -> None:
    hooks.define("audit", BEFORE, refuse)
    hooks.enable(ROOM, "audit")
    assert hooks.undefine("audit") is True
    assert hooks.undefine("audit") is False
    assert not (await hooks.decide(BEFORE, "x", CONTEXT)).blocked


def test_a_name_is_either_the_rooms_own_or_enabled(hooks: HookRegistry) -> None:
    hooks.define("audit", BEFORE, refuse)
    hooks.add(BEFORE, refuse, name="audit", room_id=ROOM)
    with pytest.raises(ValueError, match="of its own"):
        hooks.enable(ROOM, "audit")
    hooks.enable("other", "audit")
    with pytest.raises(ValueError, match="another name"):
        hooks.add(BEFORE, refuse, name="audit", room_id="other")
    hooks.add(BEFORE, refuse, name="audit")  # those of every room are named apart
    with pytest.raises(ValueError, match="needs a name"):
        hooks.define("", BEFORE, refuse)


def test_what_a_room_has_is_told(hooks: HookRegistry) -> None:
    hooks.add(BEFORE, refuse, name="everywhere")
    hooks.define("b", BEFORE, refuse)
    hooks.define("a", BEFORE, refuse)
    for name in ("b", "a", "unknown"):
        hooks.enable(ROOM, name)
    hooks.add(AFTER, refuse, name="late", room_id=ROOM)
    hooks.add(BEFORE, refuse, name="own", room_id=ROOM)
    assert hooks.room_hook_names(ROOM) == ["late", "own", "a", "b"]
    assert hooks.room_hook_names("other") == []
    assert hooks.defines_room_hooks(["a", "b"])
    assert not hooks.defines_room_hooks(["a", "unknown"])
    assert hooks.has_hooks_for(ROOM, AFTER, "x")
    assert not hooks.has_hooks_for("other", AFTER, "x")
    hooks.forget_room(ROOM)
    assert hooks.room_hook_names(ROOM) == []
    assert not hooks.has_hooks_for(ROOM, AFTER, "x")


def test_rooms_without_hooks_of_their_own_share_one_chain(hooks: HookRegistry) -> None:
    everywhere = hooks.add(BEFORE, refuse)
    hooks.define("audit", BEFORE, refuse)
    for number in range(100):
        hooks.enable(f"r{number}", "audit")
        hooks.add(BEFORE, refuse, name="own", room_id=f"r{number}")
    assert hooks._at(BEFORE, "plain") is hooks._at(BEFORE, "plainer")
    assert list(hooks._at(BEFORE, "plain")) == [everywhere]
    assert len(list(hooks._at(BEFORE, "r7"))) == 3


# -- the kit --------------------------------------------------------------------------------------


async def test_a_hook_is_enabled_for_one_room_of_a_kit(kit: RoomKit) -> None:
    await room_with(kit, Transport("a"), Transport("b"))
    await room_with(kit, Transport("c"), Transport("d"), room_id="other")

    @kit.room_hook("quiet", BEFORE)
    async def quiet(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.block("hush")

    assert not (await kit.process_inbound(message("a"), room_id=ROOM)).blocked
    await kit.enable_room_hook(ROOM, "quiet")
    result = await kit.process_inbound(message("a"), room_id=ROOM)
    assert (result.reason, result.event and result.event.blocked_by) == ("hush", "quiet")
    assert not (await kit.process_inbound(message("c"), room_id="other")).blocked
    assert await kit.disable_room_hook(ROOM, "quiet")
    assert not await kit.disable_room_hook(ROOM, "quiet")
    assert not (await kit.process_inbound(message("a"), room_id=ROOM)).blocked


async def test_it_is_defined_where_RoomKit_defines_it(kit: RoomKit) -> None:
    await room_with(kit, Transport("a"))
    kit.turn_executor.room_hook("audit", HookTrigger.ON_TOOL_CALL, fail_closed=True)(refuse)
    kit.turn_executor.hooks.register(HookRegistration(HookTrigger.ON_AI_RESPONSE, refuse, "seen"))
    assert kit.hooks_for(HookTrigger.ON_TOOL_CALL).defines_room_hooks(["audit"])
    assert kit.hooks_for(BEFORE) is kit.hook_engine
    await kit.enable_room_hook(ROOM, "audit")
    assert (await kit.run_hooks(HookTrigger.ON_TOOL_CALL, ROOM, "x")).blocked_by == "audit"
    await kit.delete_room(ROOM)
    assert kit.hook_engine.room_hook_names(ROOM) == []


async def test_a_hook_added_to_a_room_takes_every_option(kit: RoomKit) -> None:
    await room_with(kit, Transport("a"), Transport("b"))

    async def broken(event: RoomEvent, context: RoomContext) -> HookResult:
        raise ValueError("bug")

    added = await kit.add_room_hook(
        ROOM, BEFORE, SYNC, broken, 3, fail_closed=True, needs_lock=False, channel_ids={"a"}
    )
    assert (added.name, added.priority, added.needs_lock) == ("broken", 3, False)
    refused = await kit.process_inbound(message("a"), room_id=ROOM)
    assert refused.reason == "hook_error:broken"
    assert not (await kit.process_inbound(message("b"), room_id=ROOM)).blocked
    assert await kit.remove_room_hook(ROOM, "broken")


async def test_R267_rooms_of_others_are_not_found(kit: RoomKit) -> None:
    await kit.create_room(ROOM, organization_id="acme")
    kit.room_hook("audit", BEFORE)(refuse)
    with pytest.raises(RoomNotFoundError):
        await kit.enable_room_hook(ROOM, "audit", organization_id="other")
    with pytest.raises(RoomNotFoundError):
        await kit.enable_room_hook("nowhere", "audit")
    await kit.enable_room_hook(ROOM, "audit", organization_id="acme")
    for change in (kit.disable_room_hook, kit.remove_room_hook):
        with pytest.raises(RoomNotFoundError):
            await change(ROOM, "audit", organization_id="other")
    with pytest.raises(RoomNotFoundError):
        await kit.add_room_hook(ROOM, BEFORE, SYNC, refuse, organization_id="other")
    assert kit.hooks.room_hook_names(ROOM) == ["audit"]
    assert await kit.disable_room_hook(ROOM, "audit", organization_id="acme")
