"""Edits, deletes, threads, direct changes (R103-R117)."""

from __future__ import annotations

from typing import Any

import pytest

from salon.core.kit import RoomKit
from salon.models import (
    ChannelCapabilities,
    ChannelType,
    DeleteContent,
    DeleteType,
    EditContent,
    EventContent,
    EventStatus,
    EventType,
    HookExecution,
    HookResult,
    HookTrigger,
    InboundMessage,
    InjectedEvent,
    ParticipantRole,
    RoomContext,
    RoomEvent,
    TextContent,
)

from .helpers import ROOM, Transport, message, room_with, text, timeline

EDITS = ChannelCapabilities(supports_edit=True, supports_delete=True)


def edit(target: str, body: str = "new", source: str | None = None) -> EditContent:
    return EditContent(target_event_id=target, new_content=text(body), edit_source=source)


def delete(target: str, kind: DeleteType = DeleteType.SENDER) -> DeleteContent:
    return DeleteContent(target_event_id=target, delete_type=kind)


def change(content: EventContent, sender: str = "ann", channel: str = "sms") -> InboundMessage:
    kind = EventType.EDIT if isinstance(content, EditContent) else EventType.DELETE
    return InboundMessage(channel_id=channel, sender_id=sender, content=content, event_type=kind)


async def said(kit: RoomKit, body: str = "old", sender: str = "ann") -> RoomEvent:
    event = (await kit.process_inbound(message("sms", body, sender), room_id=ROOM)).event
    assert event is not None
    return event


async def stored(kit: RoomKit, event_id: str) -> RoomEvent:
    event = await kit.store.get_event(event_id, ROOM)
    assert event is not None
    return event


def watch(kit: RoomKit, trigger: HookTrigger) -> list[RoomEvent]:
    seen: list[RoomEvent] = []

    async def look(event: RoomEvent, context: RoomContext) -> None:
        assert not kit.locks.held(ROOM)
        seen.append(event)

    kit.add_hook(trigger, look, execution=HookExecution.ASYNC)
    return seen


async def settled(kit: RoomKit) -> None:
    await kit.idle(ROOM)
    await kit._parts.observers.drained(ROOM)


async def test_R111_R112_an_edit_replaces_the_content_and_fires_once(kit: RoomKit) -> None:
    web, mail = Transport("web", capabilities=EDITS), Transport("mail")
    await room_with(kit, Transport("sms"), web, mail)
    seen = watch(kit, HookTrigger.ON_EVENT_UPDATED)
    target = await said(kit)
    result = await kit.process_inbound(change(edit(target.id)), room_id=ROOM)
    await settled(kit)
    changed = await stored(kit, target.id)
    assert (changed.text, changed.metadata["edited"], changed.index) == ("new", True, target.index)
    assert result.event is not None
    assert (result.event.type, result.event.index) == (EventType.EDIT, target.index + 1)
    assert [event.text for event in seen] == ["new"]
    assert isinstance(web.got[-1].content, EditContent)  # R113
    assert mail.bodies[-1] == "Correction: new"


async def test_R111_a_delete_marks_and_keeps_the_content(kit: RoomKit) -> None:
    web, mail = Transport("web", capabilities=EDITS), Transport("mail")
    await room_with(kit, Transport("sms"), web, mail)
    seen = watch(kit, HookTrigger.ON_EVENT_DELETED)
    target = await said(kit)
    await kit.process_inbound(change(delete(target.id)), room_id=ROOM)
    await settled(kit)
    changed = await stored(kit, target.id)
    assert (changed.text, changed.metadata["deleted"]) == ("old", True)
    assert [event.id for event in seen] == [target.id]
    assert isinstance(web.got[-1].content, DeleteContent)
    assert mail.bodies[-1] == "[Message deleted]"


@pytest.mark.parametrize("make", [edit, delete])
async def test_R105_only_the_author_may(kit: RoomKit, make: Any) -> None:
    await room_with(kit, Transport("sms"))
    target = await said(kit)
    before = await timeline(kit)
    result = await kit.process_inbound(change(make(target.id), "bob"), room_id=ROOM)
    assert (result.blocked, result.reason, result.event) == (True, "not_original_author", None)
    assert await timeline(kit) == before  # R109


async def test_R104_the_target_is_an_event_of_this_room(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    await room_with(kit, Transport("other"), room_id="elsewhere")
    foreign = await kit.process_inbound(message("other"), room_id="elsewhere")
    assert foreign.event is not None
    await kit.mute(ROOM, "sms")
    refused = (await kit.process_inbound(message("sms"), room_id=ROOM)).event
    await kit.unmute(ROOM, "sms")
    assert refused is not None
    for target in ("nothing", foreign.event.id, refused.id):
        result = await kit.process_inbound(change(edit(target)), room_id=ROOM)
        assert (result.reason, result.event) == ("target_event_not_found", None)
    odd = message("sms", event_type=EventType.EDIT)
    assert (await kit.process_inbound(odd, room_id=ROOM)).reason == "target_event_not_found"


async def test_R106_an_admins_authority_is_the_rooms_word(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    await kit.add_member(ROOM, "sms", "boss", role=ParticipantRole.OWNER)
    target = await said(kit)
    admin = delete(target.id, DeleteType.ADMIN)
    for sender in ("bob", "ann"):
        refused = await kit.process_inbound(change(admin, sender), room_id=ROOM)
        assert refused.reason == "not_authorized"
    assert not (await kit.process_inbound(change(admin, "boss"), room_id=ROOM)).blocked
    assert (await stored(kit, target.id)).metadata["deleted"]


async def test_R106_an_owner_who_left_has_none(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    await kit.add_member(ROOM, "sms", "boss", role=ParticipantRole.OWNER)
    target = await said(kit)
    await kit.remove_member(ROOM, "boss")
    admin = delete(target.id, DeleteType.ADMIN)
    assert (await kit.process_inbound(change(admin, "boss"), room_id=ROOM)).blocked


@pytest.mark.parametrize(
    "make", [lambda t: edit(t, source="system"), lambda t: delete(t, DeleteType.SYSTEM)]
)
async def test_R107_the_system_speaks_through_a_system_channel(kit: RoomKit, make: Any) -> None:
    system = Transport("sys", channel_type=ChannelType.SYSTEM)
    await room_with(kit, Transport("sms"), system)
    target = await said(kit)
    refused = await kit.process_inbound(change(make(target.id)), room_id=ROOM)
    assert refused.reason == "not_authorized"
    assert not (
        await kit.process_inbound(change(make(target.id), channel="sys"), room_id=ROOM)
    ).blocked


async def test_R108_nobody_may_edit_without_a_name(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    anonymous = await kit.send_event(ROOM, "sms", text("who"))
    result = await kit.process_inbound(change(edit(anonymous.id)), room_id=ROOM)
    assert result.reason == "identity_required_for_edit"
    target = await said(kit)
    with pytest.raises(Exception, match="identity_required_for_edit"):
        await kit.send_event(ROOM, "sms", edit(target.id), EventType.EDIT)
    with pytest.raises(Exception, match="identity_required_for_edit"):
        await kit.send_event(ROOM, "sms", delete(target.id, DeleteType.ADMIN), EventType.DELETE)


async def test_R110_a_blocked_edit_leaves_the_target(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    seen = watch(kit, HookTrigger.ON_EVENT_UPDATED)
    target = await said(kit)

    async def guard(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.block("no") if event.type is EventType.EDIT else HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, guard)
    result = await kit.process_inbound(change(edit(target.id)), room_id=ROOM)
    await settled(kit)
    assert result.event is not None
    assert result.event.status is EventStatus.BLOCKED
    assert ((await stored(kit, target.id)).text, seen) == ("old", [])


async def test_R111_what_hooks_made_of_the_new_content_counts(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    target, other = await said(kit), await said(kit, "other")
    turned = other.id

    async def rewrite(event: RoomEvent, context: RoomContext) -> HookResult:
        content = event.content
        if isinstance(content, EditContent) and content.new_content == text("turn"):
            moved = content.model_copy(update={"target_event_id": turned})
            return HookResult.modify(event.model_copy(update={"content": moved}))
        if isinstance(content, EditContent):
            calm = content.model_copy(update={"new_content": text("calm")})
            return HookResult.modify(event.model_copy(update={"content": calm}))
        return HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, rewrite)
    await kit.process_inbound(change(edit(target.id, "rude")), room_id=ROOM)
    assert (await stored(kit, target.id)).text == "calm"
    await kit.process_inbound(change(edit(target.id, "turn")), room_id=ROOM)
    assert (await stored(kit, other.id)).text == "other"  # no authority over that one was shown


async def test_an_edit_goes_no_further_than_its_target(kit: RoomKit) -> None:
    web, advisor = Transport("web"), Transport("advisor")
    await room_with(kit, Transport("sms"), web, advisor)
    whisper = message("sms", "psst", visibility="advisor")
    target = (await kit.process_inbound(whisper, room_id=ROOM)).event
    assert target is not None
    await kit.process_inbound(change(edit(target.id, "pssst")), room_id=ROOM)
    assert (web.bodies, advisor.bodies) == ([], ["psst", "Correction: pssst"])


async def test_an_edit_that_calls_itself_a_message_is_one(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    target = await said(kit)
    sly = InboundMessage(channel_id="sms", sender_id="ann", content=edit(target.id))
    result = await kit.process_inbound(sly, room_id=ROOM)
    assert result.event is not None
    assert result.event.type is EventType.EDIT
    assert (await stored(kit, target.id)).text == "new"


async def test_R103_threads_have_two_levels(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    root = await said(kit)

    async def reply(parent: str) -> RoomEvent:
        answer = message("sms", parent_event_id=parent)
        event = (await kit.process_inbound(answer, room_id=ROOM)).event
        assert event is not None
        return event

    first = await reply(root.id)
    second = await reply(first.id)
    assert (first.parent_event_id, second.parent_event_id) == (root.id, root.id)
    for _ in range(60):  # out of the recent events
        await said(kit)
    assert (await reply(second.id)).parent_event_id == root.id
    assert (await reply("nothing")).parent_event_id is None
    summaries = await kit.store.get_thread_summaries(ROOM, [root.id])
    assert summaries[root.id].reply_count == 3


async def test_R114_R116_a_direct_update_replaces_what_is_given(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    seen = watch(kit, HookTrigger.ON_EVENT_UPDATED)
    target = await said(kit)
    changed = await kit.update_event(ROOM, target.id, metadata={"score": 1})
    assert changed is not None
    assert (changed.text, changed.metadata) == ("old", {"score": 1})
    source = target.source.model_copy(update={"provider": "p"})
    changed = await kit.update_event(ROOM, target.id, content=TextContent(body="x"), source=source)
    assert changed is not None
    assert (changed.text, changed.source.provider, changed.metadata) == ("x", "p", {"score": 1})
    assert await kit.update_event(ROOM, "nothing", metadata={}) is None
    await settled(kit)
    assert len(seen) == 2


async def test_R115_R117_R98_a_hard_delete_takes_replies_and_leaves_a_hole(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    seen = watch(kit, HookTrigger.ON_EVENT_DELETED)
    root = await said(kit)
    answer = message("sms", "reply", parent_event_id=root.id)
    reply = (await kit.process_inbound(answer, room_id=ROOM)).event
    assert reply is not None
    count = (await kit.get_room(ROOM)).event_count
    assert await kit.delete_event(ROOM, root.id) == [root.id, reply.id]
    assert await kit.delete_event(ROOM, root.id) == []
    assert (await kit.get_room(ROOM)).event_count == count
    late = await said(kit, "late")
    assert late.index == reply.index + 1
    await settled(kit)
    assert [event.id for event in seen] == [root.id, reply.id]
    assert [e.text for e in await kit.history(ROOM, "sms")] == ["late"]


async def test_R115_without_cascade_replies_stay(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    root = await said(kit)
    answer = message("sms", "reply", parent_event_id=root.id)
    await kit.process_inbound(answer, room_id=ROOM)
    assert await kit.delete_event(ROOM, root.id, cascade_replies=False) == [root.id]
    assert [e.text for e in await kit.history(ROOM, "sms")] == ["reply"]


async def test_history_shows_an_edited_message_as_it_is_now(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    target = await said(kit)
    await kit.process_inbound(change(edit(target.id)), room_id=ROOM)
    assert [e.text for e in await kit.history(ROOM, "sms")] == ["new"]


async def test_R143_a_hooks_injected_event_may_not_be_an_unchecked_edit(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    target = await said(kit)

    async def note(event: RoomEvent, context: RoomContext) -> HookResult:
        added = event.model_copy(update={"id": "added", "content": edit(target.id)})
        return HookResult.allow((InjectedEvent(added),))

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, note)
    await said(kit, "more")
    assert (await stored(kit, target.id)).text == "old"


@pytest.mark.parametrize("kind", [edit, delete])
async def test_R111_a_hook_shows_a_change_to_nobody_who_may_not_see_its_target(
    kit: RoomKit, kind: Any
) -> None:
    async def widen(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.modify(event.model_copy(update={"visibility": "all"}))

    boss, other = Transport("boss"), Transport("other")
    await room_with(kit, Transport("sms"), boss, other)
    whisper = message("sms", "old", visibility="boss")
    target = (await kit.process_inbound(whisper, room_id=ROOM)).event
    assert target is not None
    kit.add_hook(HookTrigger.BEFORE_BROADCAST, widen)
    result = await kit.process_inbound(change(kind(target.id)), room_id=ROOM)
    assert result.event is not None
    assert result.event.visibility == "boss"
    assert (await stored(kit, target.id)).visibility == "boss"
    assert (len(boss.got), other.got) == (2, [])


@pytest.mark.parametrize("withdrawn", [False, True])
@pytest.mark.parametrize("kind", [edit, delete])
async def test_R109_a_target_that_a_hook_took_away_is_not_found(
    kit: RoomKit, kind: Any, withdrawn: bool
) -> None:
    async def take(event: RoomEvent, context: RoomContext) -> HookResult:
        if event.text != "stop" and event.content == wanted:
            if withdrawn:
                gone = {**target.metadata, "deleted": True}
                await kit.update_event(ROOM, target.id, metadata=gone)
            else:
                await kit.delete_event(ROOM, target.id)
        return HookResult.allow()

    await room_with(kit, Transport("sms"))
    target = await said(kit)
    wanted = kind(target.id)
    kit.add_hook(HookTrigger.BEFORE_BROADCAST, take)
    before = len(await timeline(kit))
    result = await kit.process_inbound(change(wanted), room_id=ROOM)
    assert (result.event, result.reason) == (None, "target_event_not_found")
    assert len(await timeline(kit)) == before - (not withdrawn)


async def test_R109_a_target_that_another_process_deleted_is_not_found(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await room_with(kit, Transport("sms"))
    target = await said(kit)
    commit = kit.store.commit_event

    async def late(event: RoomEvent, **more: Any) -> RoomEvent:
        await kit.store.delete_event(ROOM, target.id)
        return await commit(event, **more)

    monkeypatch.setattr(kit.store, "commit_event", late)
    result = await kit.process_inbound(change(edit(target.id)), room_id=ROOM)
    assert (result.event, result.reason) == (None, "target_event_not_found")
    assert "was not stored" not in caplog.text


async def test_R111_what_a_hook_made_of_the_target_is_not_undone_by_the_edit(kit: RoomKit) -> None:
    async def note(event: RoomEvent, context: RoomContext) -> HookResult:
        if event.type is EventType.EDIT:
            await kit.update_event(ROOM, target.id, metadata={"checked": True})
        return HookResult.allow()

    await room_with(kit, Transport("sms"))
    target = await said(kit)
    kit.add_hook(HookTrigger.BEFORE_BROADCAST, note)
    await kit.process_inbound(change(edit(target.id)), room_id=ROOM)
    assert (await stored(kit, target.id)).metadata == {"checked": True, "edited": True}
