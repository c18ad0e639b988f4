"""Inbound routing (chapter 17; R178-R182)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.conformance.core.stage import RecordingTransport, Stage, bodies, staged

from salon.core.memory import InMemoryStore
from salon.core.ports.router import InboundRoomRouter


async def rooms(stage: Stage) -> list[str]:
    return [room.id for room in await stage.kit.store.list_rooms()]


async def into(stage: Stage, channel_id: str, sender: str, body: str = "hi") -> str:
    """Where a message that names no room lands."""
    result = await stage.inbound(channel_id, body, sender, room_id=None)
    assert result.event is not None
    return result.event.room_id


async def test_R178_the_router_is_replaceable() -> None:
    class ToTheLobby(InboundRoomRouter):
        async def route(self, *args: Any, **more: Any) -> str | None:
            return "lobby"

    async with staged(inbound_router=ToTheLobby()) as stage:
        stage.register(RecordingTransport("sms"))
        assert await into(stage, "sms", "ann") == "lobby"


async def test_R179_the_senders_own_room_comes_first(stage: Stage) -> None:
    sms = RecordingTransport("sms")
    stage.register(sms)
    first = await into(stage, "sms", "ann")
    other = await into(stage, "sms", "bob")
    assert first != other
    assert await into(stage, "sms", "ann") == first
    assert await into(stage, "sms", "bob") == other
    assert sorted(await rooms(stage)) == sorted([first, other])


async def test_R179_of_several_the_newest_room_of_the_sender(stage: Stage) -> None:
    sms = RecordingTransport("sms")
    for room_id in ("old", "new"):
        await stage.room(sms, room_id=room_id)
        await stage.inbound("sms", sender="ann", room_id=room_id)
        await asyncio.sleep(10)
    assert await into(stage, "sms", "ann") == "new"


async def test_R179_a_channel_bound_to_one_room_leads_there(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), room_id="only")
    assert await into(stage, "sms", "ann") == "only"


async def test_R179_else_a_room_is_made_and_the_channel_attached(stage: Stage) -> None:
    stage.register(RecordingTransport("sms"))
    room_id = await into(stage, "sms", "ann")
    assert await rooms(stage) == [room_id]
    assert (await stage.binding("sms", room_id)).channel_id == "sms"
    assert bodies(await stage.messages(room_id)) == ["hi"]


async def test_R180_between_two_rooms_nothing_is_guessed(stage: Stage) -> None:
    sms = RecordingTransport("sms")
    for room_id in ("a", "b"):
        await stage.room(sms, room_id=room_id)
    assert await into(stage, "sms", "ann") not in ("a", "b")


async def test_R180_a_stranger_does_not_enter_somebody_elses_conversation(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), room_id="ann's")
    assert await into(stage, "sms", "ann") == "ann's"
    assert await into(stage, "sms", "eve") != "ann's"
    assert bodies(await stage.messages("ann's")) == ["hi"]


async def test_R180_strangers_who_come_at_once_do_not_share_a_room(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), room_id="free")
    landed = await asyncio.gather(*(into(stage, "sms", f"p{n}") for n in range(4)))
    assert len(set(landed)) == 4


async def test_R180_a_group_binding_admits_everybody(stage: Stage) -> None:
    await stage.room(room_id="group")
    stage.register(RecordingTransport("sms"))
    await stage.kit.attach_channel("group", "sms", group=True)
    assert [await into(stage, "sms", name) for name in ("ann", "bob")] == ["group", "group"]


@pytest.mark.parametrize("status", ["closed", "archived"])
async def test_R179_shut_rooms_are_not_found(stage: Stage, status: str) -> None:
    await stage.room(RecordingTransport("sms"), room_id="old")
    await stage.inbound("sms", sender="ann", room_id="old")
    await (stage.kit.close_room if status == "closed" else stage.kit.archive_room)("old")
    assert await into(stage, "sms", "ann") != "old"


async def test_R181_two_stores_with_the_same_state_give_the_same_room() -> None:
    landed = []
    for _ in range(2):
        async with staged(store=InMemoryStore()) as stage:
            sms = RecordingTransport("sms")
            for room_id in ("b", "a", "c"):
                await stage.room(sms, room_id=room_id)
                await stage.inbound("sms", sender="ann", room_id=room_id)
            landed.append(await into(stage, "sms", "ann"))
    assert landed[0] == landed[1]


async def test_R182_a_named_room_that_is_not_there_is_made(stage: Stage) -> None:
    stage.register(RecordingTransport("sms"))
    await stage.inbound("sms", room_id="named")
    assert await rooms(stage) == ["named"]


async def test_R182_naming_a_room_does_not_bypass_its_gates(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    stage.block("no")
    assert (await stage.inbound("sms")).reason == "no"
