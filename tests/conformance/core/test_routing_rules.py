"""Routing at its edges, on both stores (chapter 17; R178-R182)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.core.stage import RecordingTransport, Stage, bodies, message, staged

from salon.channels.factories import SMSChannel
from salon.core import RoomNotFoundError
from salon.core.memory import InMemoryStore
from salon.core.ports.router import InboundRoomRouter
from salon.core.ports.store import ConversationStore
from salon.providers.sms.mock import MockSMSProvider


def make_store(kind: str, folder: Path) -> ConversationStore:
    if kind == "memory":
        return InMemoryStore()
    pytest.importorskip("sqlalchemy")
    from salon.store.factory import make_stores

    return make_stores(f"sqlite:///{folder / 'rooms.db'}").conversation


both = pytest.mark.parametrize("kind", ["memory", "sqlite"])


async def into(stage: Stage, channel_id: str, sender: str = "ann", **more: Any) -> str:
    """Where a message that names no room lands."""
    result = await stage.kit.process_inbound(message(channel_id, "hi", sender), **more)
    assert result.event is not None
    return result.event.room_id


async def test_R178_the_router_is_asked_with_what_the_message_says() -> None:
    asked: list[tuple[Any, ...]] = []

    class Writing(InboundRoomRouter):
        async def route(
            self,
            channel_id: str,
            channel_type: Any,
            participant_id: str | None = None,
            channel_data: dict[str, Any] | None = None,
            **more: Any,
        ) -> str | None:
            asked.append((channel_id, str(channel_type), participant_id, channel_data))
            return None

    async with staged(inbound_router=Writing()) as stage:
        stage.register(RecordingTransport("sms"))
        await stage.kit.process_inbound(message("sms", metadata={"campaign": 7}))
        assert asked[0] == ("sms", "sms", "ann", {"campaign": 7})
        often = len(asked)
        assert len(await stage.kit.store.list_rooms()) == 1
        await stage.kit.process_inbound(message("sms"), room_id="named")
        assert len(asked) == often, "a named room bypasses the router (R182)"


async def test_R178_what_a_router_finds_does_not_open_a_shut_room() -> None:
    class Stubborn(InboundRoomRouter):
        async def route(self, *args: Any, **more: Any) -> str | None:
            return "shut"

    async with staged(inbound_router=Stubborn()) as stage:
        await stage.room(RecordingTransport("sms"), room_id="shut")
        await stage.kit.close_room("shut")
        result = await stage.kit.process_inbound(message("sms"))
        assert (result.blocked, result.reason) == (True, "room_closed")


@both
async def test_R179_the_senders_room_beats_the_channels_only_one(tmp_path: Path, kind: str) -> None:
    async with staged(store=make_store(kind, tmp_path)) as stage:
        sms = RecordingTransport("sms")
        await stage.room(sms, room_id="older")
        assert await into(stage, "sms", "ann") == "older"
        await stage.room(sms, room_id="newer")
        assert await into(stage, "sms", "ann") == "older"


@both
async def test_R179_knowing_the_sender_on_another_channel_does_not_count(
    tmp_path: Path, kind: str
) -> None:
    async with staged(store=make_store(kind, tmp_path)) as stage:
        await stage.room(RecordingTransport("sms"), room_id="by-sms")
        await stage.inbound("sms", room_id="by-sms")
        stage.register(RecordingTransport("mail", channel_type="email"))
        assert await into(stage, "mail", "ann") != "by-sms"


@both
async def test_R179_a_paused_room_of_the_sender_is_found_and_resumed(
    tmp_path: Path, kind: str
) -> None:
    async with staged(store=make_store(kind, tmp_path)) as stage:
        await stage.room(RecordingTransport("sms"), room_id="mine")
        await stage.inbound("sms", room_id="mine")
        await stage.kit.pause_room("mine")
        assert await into(stage, "sms") == "mine"
        assert (await stage.read("mine")).status.value == "active"


@both
async def test_R180_a_second_sender_on_a_shared_number_gets_a_room(
    tmp_path: Path, kind: str
) -> None:
    async with staged(store=make_store(kind, tmp_path)) as stage:
        await stage.room(RecordingTransport("sms"), room_id="first")
        assert await into(stage, "sms", "ann") == "first"
        other = await into(stage, "sms", "bob")
        assert other != "first"
        assert await into(stage, "sms", "bob") == other
        assert bodies(await stage.messages("first")) == ["hi"]


@both
async def test_R180_two_bound_rooms_mean_a_new_one(tmp_path: Path, kind: str) -> None:
    async with staged(store=make_store(kind, tmp_path)) as stage:
        sms = RecordingTransport("sms")
        await stage.room(sms, room_id="a")
        await stage.room(sms, room_id="b")
        assert await into(stage, "sms") not in ("a", "b")


async def test_R180_a_binding_admits_the_correspondent_it_names(stage: Stage) -> None:
    channel = SMSChannel("sms", provider=MockSMSProvider())
    await stage.kit.create_room("ann's")
    stage.register(channel)
    await stage.kit.attach_channel("ann's", "sms", metadata={"phone_number": "+15550100123"})
    assert await into(stage, "sms", "+15550100123") == "ann's"
    assert await into(stage, "sms", "+15550100199") != "ann's"
    assert await into(stage, "sms", "+15550100123") == "ann's"


async def test_R180_of_several_rooms_the_one_that_names_the_sender_is_no_guess(
    stage: Stage,
) -> None:
    stage.register(SMSChannel("sms", provider=MockSMSProvider()))
    for number in ("+15550100123", "+15550100199"):
        await stage.kit.create_room(number)
        await stage.kit.attach_channel(number, "sms", metadata={"phone_number": number})
    assert await into(stage, "sms", "+15550100199") == "+15550100199"


async def test_R181_both_stores_find_the_same_rooms(tmp_path: Path) -> None:
    landed = []
    for kind in ("memory", "sqlite"):
        async with staged(store=make_store(kind, tmp_path)) as stage:
            sms = RecordingTransport("sms")
            for room_id in ("b", "a", "c"):  # one instant of creation: the id decides
                await stage.room(sms, room_id=room_id)
                await stage.inbound("sms", room_id=room_id)
            await asyncio.sleep(5)
            await stage.room(sms, room_id="0-later")
            await stage.inbound("sms", sender="bob", room_id="0-later")
            landed.append([await into(stage, "sms", who) for who in ("ann", "bob")])
    assert landed[0] == landed[1]
    assert landed[0][1] == "0-later"


async def test_R182_a_named_room_is_made_with_its_name_and_organization(stage: Stage) -> None:
    stage.register(RecordingTransport("sms"))
    assert await into(stage, "sms", room_id="new", organization_id="acme") == "new"
    assert (await stage.kit.get_room("new", organization_id="acme")).id == "new"
    with pytest.raises(RoomNotFoundError):
        await stage.kit.get_room("new", organization_id="other")


async def test_R182_two_messages_that_name_a_new_room_share_it(stage: Stage) -> None:
    stage.register(RecordingTransport("sms"))
    landed = await asyncio.gather(*(into(stage, "sms", str(n), room_id="new") for n in range(4)))
    assert set(landed) == {"new"}
    assert len(await stage.kit.store.list_rooms()) == 1


async def test_R182_naming_a_room_does_not_open_it(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), room_id="shut")
    await stage.kit.archive_room("shut")
    result = await stage.kit.process_inbound(message("sms"), room_id="shut")
    assert result.reason == "room_closed"
