"""Threads, edits, deletes, direct mutation (chapter 10.2; R103-R117)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.conformance.core.stage import (
    ROOM,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    bodies,
    text,
)

from salon.models import (
    ChannelCapabilities,
    ChannelType,
    DeleteContent,
    DeleteType,
    EditContent,
    EventContent,
    EventStatus,
    EventType,
    HookResult,
    HookTrigger,
    InboundResult,
    ParticipantRole,
    RoomContext,
    RoomEvent,
    TextContent,
)

NATIVE = ChannelCapabilities(supports_edit=True, supports_delete=True)


async def say(stage: Stage, body: str = "teh", sender: str = "ann", **more: Any) -> RoomEvent:
    event = (await stage.inbound("sms", body, sender, **more)).event
    assert event is not None
    return event


async def edit(
    stage: Stage, target: str, body: str = "the", sender: str = "ann", **more: Any
) -> InboundResult:
    channel = more.pop("channel", "sms")
    content = EditContent(target_event_id=target, new_content=text(body), **more)
    return await stage.inbound(channel, sender=sender, content=content, event_type=EventType.EDIT)


async def erase(
    stage: Stage,
    target: str,
    kind: DeleteType = DeleteType.SENDER,
    sender: str = "ann",
    channel: str = "sms",
) -> InboundResult:
    content = DeleteContent(target_event_id=target, delete_type=kind)
    return await stage.inbound(channel, sender=sender, content=content, event_type=EventType.DELETE)


async def stored(stage: Stage, event_id: str) -> RoomEvent:
    (found,) = [event for event in await stage.timeline() if event.id == event_id]
    return found


async def refused(stage: Stage, result: InboundResult, reason: str, target: RoomEvent) -> None:
    """Nothing was stored, the target is what it was."""
    assert (result.blocked, result.reason, result.event) == (True, reason, None)
    kinds = {event.type for event in await stage.timeline()}
    assert kinds.isdisjoint({EventType.EDIT, EventType.DELETE})
    assert await stored(stage, target.id) == target


async def test_R103_threads_have_two_levels(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    root = await say(stage, "root")
    reply = await say(stage, "reply", parent_event_id=root.id)
    nested = await say(stage, "nested", parent_event_id=reply.id)
    assert (reply.parent_event_id, nested.parent_event_id) == (root.id, root.id)
    summaries = await stage.kit.store.get_thread_summaries(ROOM, [root.id])
    assert summaries[root.id].reply_count == 2
    assert summaries[root.id].last_reply_at == nested.created_at


async def test_R103_an_agents_reply_is_in_its_triggers_thread(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), ScriptedAgent("ai"))
    root = await say(stage, "root")
    reply = await say(stage, "reply", parent_event_id=root.id)
    await stage.settle()
    answer = (await stage.messages())[-1]
    assert answer.text == "ai: reply"
    assert (answer.parent_event_id, answer.responds_to) == (root.id, reply.id)


@pytest.mark.parametrize("foreign", [False, True])
async def test_R103_a_missing_or_foreign_parent_is_dropped(stage: Stage, foreign: bool) -> None:
    sms = RecordingTransport("sms")
    await stage.room(sms)
    await stage.room(sms, room_id="other")
    parent = "nowhere"
    if foreign:
        parent = (await stage.send("sms", "elsewhere", room_id="other")).id
    event = await say(stage, "reply", parent_event_id=parent)
    assert event.parent_event_id is None
    assert event.status is EventStatus.DELIVERED


@pytest.mark.parametrize("which", ["missing", "foreign"])
@pytest.mark.parametrize("kind", ["edit", "delete"])
async def test_R104_R109_the_target_must_be_of_the_same_room(
    stage: Stage, which: str, kind: str
) -> None:
    sms = RecordingTransport("sms")
    await stage.room(sms)
    await stage.room(sms, room_id="other")
    mine = await say(stage)
    target = "nowhere"
    if which == "foreign":
        event = (await stage.inbound("sms", "theirs", room_id="other")).event
        assert event is not None
        target = event.id
    result = await (edit(stage, target) if kind == "edit" else erase(stage, target))
    await refused(stage, result, "target_event_not_found", mine)


@pytest.mark.parametrize("kind", ["edit", "delete"])
async def test_R105_R111_the_author_may_change_what_they_said(stage: Stage, kind: str) -> None:
    await stage.room(RecordingTransport("sms"))
    said = await say(stage)
    result = await (
        edit(stage, said.id, edit_source="sender") if kind == "edit" else erase(stage, said.id)
    )
    assert not result.blocked
    changed = await stored(stage, said.id)
    if kind == "edit":
        assert (changed.text, changed.metadata["edited"]) == ("the", True)
    else:
        assert (changed.text, changed.metadata["deleted"]) == ("teh", True)
    last = (await stage.timeline())[-1]
    assert (last.type.value, last.index) == (kind, changed.index + 1)
    assert changed.index == said.index


@pytest.mark.parametrize("kind", ["edit", "delete"])
@pytest.mark.parametrize("source", ["sender", "whatever", None])
async def test_R105_R107_nobody_else_may(stage: Stage, kind: str, source: str | None) -> None:
    await stage.room(RecordingTransport("sms"))
    said = await say(stage)
    if kind == "edit":
        result = await edit(stage, said.id, sender="bob", edit_source=source)
    else:
        result = await erase(stage, said.id, sender="bob")
    await refused(stage, result, "not_original_author", said)


async def test_R106_an_owner_may_delete_as_admin(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    await stage.kit.add_member(ROOM, "sms", "boss", role=ParticipantRole.OWNER)
    said = await say(stage)
    result = await erase(stage, said.id, DeleteType.ADMIN, sender="boss")
    assert not result.blocked
    assert (await stored(stage, said.id)).metadata["deleted"] is True


@pytest.mark.parametrize("role", [ParticipantRole.MEMBER, ParticipantRole.AGENT])
async def test_R106_a_claim_of_being_admin_is_not_authority(
    stage: Stage, role: ParticipantRole
) -> None:
    await stage.room(RecordingTransport("sms"))
    await stage.kit.add_member(ROOM, "sms", "bob", role=role)
    said = await say(stage)
    result = await erase(stage, said.id, DeleteType.ADMIN, sender="bob")
    await refused(stage, result, "not_authorized", said)


@pytest.mark.parametrize("kind", ["edit", "delete"])
async def test_R107_system_changes_do_not_come_from_a_normal_channel(
    stage: Stage, kind: str
) -> None:
    await stage.room(RecordingTransport("sms"))
    said = await say(stage)
    if kind == "edit":
        result = await edit(stage, said.id, edit_source="system")
    else:
        result = await erase(stage, said.id, DeleteType.SYSTEM)
    await refused(stage, result, "not_authorized", said)


@pytest.mark.parametrize("kind", ["edit", "delete"])
async def test_R107_a_system_channel_may(stage: Stage, kind: str) -> None:
    await stage.room(
        RecordingTransport("sms"), RecordingTransport("house", channel_type=ChannelType.SYSTEM)
    )
    said = await say(stage)
    if kind == "edit":
        result = await edit(stage, said.id, sender="bot", channel="house", edit_source="system")
    else:
        result = await erase(stage, said.id, DeleteType.SYSTEM, sender="bot", channel="house")
    assert not result.blocked


def anonymous(_: Any, event: RoomEvent) -> RoomEvent:
    source = event.source.model_copy(update={"participant_id": None})
    return event.model_copy(update={"source": source})


@pytest.mark.parametrize("who", ["sender", "author"])
async def test_R108_without_an_identity_nothing_is_changed(stage: Stage, who: str) -> None:
    sms = RecordingTransport("sms")
    await stage.room(sms)
    if who == "author":
        sms.make = anonymous
    said = await say(stage)
    sms.make = anonymous if who == "sender" else None
    result = await edit(stage, said.id)
    await refused(stage, result, "identity_required_for_edit", said)


async def test_R109_a_refused_edit_is_not_broadcast_and_runs_no_hooks(stage: Stage) -> None:
    web = RecordingTransport("web", capabilities=NATIVE)
    updated = stage.hear(HookTrigger.ON_EVENT_UPDATED)
    await stage.room(RecordingTransport("sms"), web)
    said = await say(stage)
    asked = stage.hear(HookTrigger.BEFORE_BROADCAST)
    await edit(stage, said.id, sender="bob")
    await stage.settle()
    assert (web.bodies, asked, updated) == (["teh"], [], [])


@pytest.mark.parametrize("kind", ["edit", "delete"])
async def test_R110_a_blocked_change_leaves_its_target(stage: Stage, kind: str) -> None:
    triggers = (HookTrigger.ON_EVENT_UPDATED, HookTrigger.ON_EVENT_DELETED)
    heard = [stage.hear(trigger) for trigger in triggers]
    await stage.room(RecordingTransport("sms"))
    said = await say(stage)
    stage.block("no")
    result = await (edit(stage, said.id) if kind == "edit" else erase(stage, said.id))
    await stage.settle()
    assert (result.blocked, result.reason) == (True, "no")
    assert await stored(stage, said.id) == said
    assert heard == [[], []]
    assert (await stage.timeline())[-1].status is EventStatus.BLOCKED


async def test_R111_the_new_content_is_what_the_hooks_left(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    said = await say(stage)

    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def polish(event: RoomEvent, context: RoomContext) -> HookResult:
        content = event.content
        assert isinstance(content, EditContent)
        better = content.model_copy(update={"new_content": text("polished")})
        return HookResult.modify(event.model_copy(update={"content": better}))

    await edit(stage, said.id)
    assert (await stored(stage, said.id)).text == "polished"


async def test_R112_a_change_fires_its_trigger_once_with_the_changed_target(stage: Stage) -> None:
    updated = stage.hear(HookTrigger.ON_EVENT_UPDATED)
    deleted = stage.hear(HookTrigger.ON_EVENT_DELETED)
    await stage.room(RecordingTransport("sms"))
    said = await say(stage)
    await edit(stage, said.id)
    await erase(stage, said.id)
    await stage.settle()
    assert [(event.id, event.text) for event in updated] == [(said.id, "the")]
    assert [(event.id, event.metadata["deleted"]) for event in deleted] == [(said.id, True)]


async def test_R112_the_trigger_runs_after_the_lock_is_released(stage: Stage) -> None:
    free: list[bool] = []

    @stage.kit.hook(HookTrigger.ON_EVENT_UPDATED)
    async def look(event: RoomEvent, context: RoomContext) -> HookResult:
        async with stage.kit.locks.locked(ROOM):
            free.append(True)
        return HookResult.allow()

    await stage.room(RecordingTransport("sms"))
    said = await say(stage)
    await edit(stage, said.id)
    await stage.settle()
    assert free == [True]


def plain(content: EventContent) -> str | None:
    return content.body if isinstance(content, TextContent) else None


async def test_R113_changes_go_native_where_supported_else_as_words(stage: Stage) -> None:
    rich = RecordingTransport("rich", capabilities=NATIVE)
    poor = RecordingTransport("poor")
    await stage.room(RecordingTransport("sms"), rich, poor)
    said = await say(stage)
    await edit(stage, said.id)
    await erase(stage, said.id)
    await stage.settle()
    assert [event.content.type for event in rich.got] == ["text", "edit", "delete"]
    assert [plain(event.content) for event in poor.got] == [
        "teh",
        "Correction: the",
        "[Message deleted]",
    ]


async def test_R114_a_host_may_replace_fields_of_an_event(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    said = await say(stage, metadata={"a": 1})
    changed = await stage.kit.update_event(ROOM, said.id, content=text("other"), metadata={"b": 2})
    assert changed is not None
    assert (changed.text, changed.metadata) == ("other", {"b": 2})
    assert await stored(stage, said.id) == changed
    assert changed.index == said.index


async def test_R115_deleting_takes_the_replies_along(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    root = await say(stage, "root")
    reply = await say(stage, "reply", parent_event_id=root.id)
    await say(stage, "other")
    assert await stage.kit.delete_event(ROOM, root.id) == [root.id, reply.id]
    assert bodies(await stage.messages()) == ["other"]


async def test_R115_deleting_without_cascade_leaves_the_replies(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    root = await say(stage, "root")
    await say(stage, "reply", parent_event_id=root.id)
    assert await stage.kit.delete_event(ROOM, root.id, cascade_replies=False) == [root.id]
    assert bodies(await stage.messages()) == ["reply"]


async def test_R116_direct_changes_fire_their_triggers(stage: Stage) -> None:
    updated = stage.hear(HookTrigger.ON_EVENT_UPDATED)
    deleted = stage.hear(HookTrigger.ON_EVENT_DELETED)
    await stage.room(RecordingTransport("sms"))
    said = await say(stage)
    await stage.kit.update_event(ROOM, said.id, content=text("other"))
    await stage.kit.delete_event(ROOM, said.id)
    await stage.settle()
    assert [event.text for event in updated] == ["other"]
    assert [event.id for event in deleted] == [said.id]


async def test_R116_an_unknown_target_is_a_no_op_that_fires_nothing(stage: Stage) -> None:
    updated = stage.hear(HookTrigger.ON_EVENT_UPDATED)
    deleted = stage.hear(HookTrigger.ON_EVENT_DELETED)
    await stage.room(RecordingTransport("sms"))
    assert await stage.kit.update_event(ROOM, "nowhere", content=text("x")) is None
    assert await stage.kit.delete_event(ROOM, "nowhere") == []
    await stage.settle()
    assert (updated, deleted) == ([], [])


async def test_R117_the_tally_does_not_go_back(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    said = await say(stage)
    before = (await stage.read()).event_count
    await stage.kit.delete_event(ROOM, said.id)
    assert (await stage.read()).event_count == before
    assert await stage.kit.store.get_event_count(ROOM) == before - 1
