"""What is of one room: hooks by name, feedback (R155, R165, R267)."""

from __future__ import annotations

import pytest
from tests.conformance.core.stage import ROOM, RecordingTransport, Stage, message

from salon.core import RoomNotFoundError
from salon.models import HookResult, HookTrigger, RoomContext, RoomEvent

BEFORE = HookTrigger.BEFORE_BROADCAST


async def two_rooms(stage: Stage) -> None:
    stage.register(RecordingTransport("sms"))
    for room_id in (ROOM, "other"):
        await stage.kit.create_room(room_id, organization_id=f"of {room_id}")
        await stage.kit.attach_channel(room_id, "sms")

    @stage.kit.room_hook("quiet", BEFORE)
    async def quiet(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.block(f"no talk in {context.room.id}")


async def reason(stage: Stage, room_id: str) -> str | None:
    result = await stage.kit.process_inbound(message("sms"), room_id=room_id)
    assert result.event is not None
    assert result.event.blocked_by == ("quiet" if result.blocked else None)
    return result.reason


async def test_R165_a_hook_defined_by_name_runs_where_it_is_enabled(stage: Stage) -> None:
    await two_rooms(stage)
    assert [await reason(stage, room) for room in (ROOM, "other")] == [None, None]
    await stage.kit.enable_room_hook(ROOM, "quiet")
    assert await reason(stage, ROOM) == f"no talk in {ROOM}"
    assert await reason(stage, "other") is None
    assert await stage.kit.disable_room_hook(ROOM, "quiet") is True
    assert await reason(stage, ROOM) is None
    assert await stage.kit.disable_room_hook(ROOM, "quiet") is False


async def test_R165_it_goes_with_its_room(stage: Stage) -> None:
    await two_rooms(stage)
    await stage.kit.enable_room_hook(ROOM, "quiet")
    await stage.kit.delete_room(ROOM)
    await stage.kit.create_room(ROOM)
    await stage.kit.attach_channel(ROOM, "sms")
    assert await reason(stage, ROOM) is None


async def test_R267_hooks_of_another_organizations_room_cannot_be_switched(stage: Stage) -> None:
    await two_rooms(stage)
    with pytest.raises(RoomNotFoundError):
        await stage.kit.enable_room_hook(ROOM, "quiet", organization_id="of other")
    assert await reason(stage, ROOM) is None
    await stage.kit.enable_room_hook(ROOM, "quiet", organization_id=f"of {ROOM}")
    with pytest.raises(RoomNotFoundError):
        await stage.kit.disable_room_hook(ROOM, "quiet", organization_id="of other")
    assert await reason(stage, ROOM) == f"no talk in {ROOM}"


async def test_R267_feedback_on_another_organizations_room_is_not_kept(stage: Stage) -> None:
    await two_rooms(stage)
    with pytest.raises(RoomNotFoundError):
        await stage.kit.submit_feedback(ROOM, 1.0, organization_id="of other")
    assert await stage.kit.list_observations(ROOM) == []
