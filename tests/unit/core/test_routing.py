"""The room of a message that names none (chapter 17)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from salon.core.kit import RoomKit
from salon.core.memory import InMemoryStore
from salon.core.ports.router import InboundRoomRouter
from salon.core.routing import DefaultInboundRoomRouter, admits, known_as
from salon.models import (
    AnyChannelType,
    ChannelBinding,
    ChannelType,
    Identity,
    InboundMessage,
    Participant,
    ParticipantStatus,
    Room,
    RoomContext,
    RoomEvent,
    RoomStatus,
    TextContent,
)

from .helpers import ROOM, Transport, listen, message, messages, room_with, text


async def arrived(kit: RoomKit, channel: str = "sms", sender: str = "ann") -> str:
    """The room in which a message came to lie."""
    result = await kit.process_inbound(message(channel, sender=sender))
    assert result.event is not None
    return result.event.room_id


async def test_R179_the_senders_latest_room_on_this_kind_of_channel(kit: RoomKit) -> None:
    for room_id in ("old", "new"):
        await room_with(kit, Transport("sms"), room_id=room_id)
        await kit.add_member(room_id, "sms", "ann")
    await kit.create_room("newest")
    assert await arrived(kit) == "new"
    await kit.close_room("new")
    assert await arrived(kit) == "old"


async def test_R179_a_room_one_left_is_not_ones_own(kit: RoomKit) -> None:
    for room_id in ("old", "new"):
        await room_with(kit, Transport("sms"), room_id=room_id)
        await kit.add_member(room_id, "sms", "ann")
    await kit.remove_member("new", "ann")
    assert await arrived(kit) == "old"


async def test_R179_another_kind_of_channel_does_not_count(kit: RoomKit) -> None:
    mail = Transport("mail", channel_type=ChannelType.EMAIL)
    await room_with(kit, mail, room_id="letters")
    await kit.add_member("letters", "mail", "ann")
    await room_with(kit, Transport("sms"), room_id="texts")
    assert await arrived(kit, "sms") == "texts"
    assert await arrived(kit, "mail") == "letters"


async def test_R179_else_the_one_room_the_channel_is_bound_to(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    assert await arrived(kit, sender="stranger") == ROOM


async def test_R180_of_two_rooms_none_is_guessed_and_one_is_made(kit: RoomKit) -> None:
    sms = Transport("sms")
    for room_id in ("one", "two"):
        await room_with(kit, sms, room_id=room_id)
    made = listen(kit, "room_created")
    found = await arrived(kit, sender="stranger")
    assert found not in ("one", "two")
    assert [event.room_id for event in made] == [found]
    assert await kit.store.get_binding(found, "sms") is not None
    assert await arrived(kit, sender="stranger") == found


async def test_R181_the_same_state_gives_the_same_room(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    assert {await arrived(kit) for _ in range(3)} == {ROOM}


@pytest.mark.parametrize("status", [RoomStatus.CLOSED, RoomStatus.ARCHIVED])
async def test_R179_a_room_that_is_over_is_not_found(kit: RoomKit, status: RoomStatus) -> None:
    await room_with(kit, Transport("sms"))
    room = await kit.get_room(ROOM)
    assert room is not None
    room.status = status
    await kit.store.update_room(room)
    assert await arrived(kit) != ROOM


async def test_R182_who_names_a_room_bypasses_the_router_not_the_gates(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    named = await kit.process_inbound(message("sms"), room_id="named")
    assert named.event is not None
    assert named.event.room_id == "named"
    await kit.close_room("named")
    refused = await kit.process_inbound(message("sms"), room_id="named")
    assert (refused.blocked, refused.reason, refused.event) == (True, "room_closed", None)
    assert await messages(kit, ROOM) == []


class Fixed(InboundRoomRouter):
    def __init__(self, room_id: str | None) -> None:
        self.room_id = room_id
        self.asked: list[tuple[Any, ...]] = []

    async def route(
        self,
        channel_id: str,
        channel_type: AnyChannelType,
        participant_id: str | None = None,
        channel_data: dict[str, Any] | None = None,
        *,
        organization_id: str | None = None,
        identity: Identity | None = None,
    ) -> str | None:
        self.asked.append((channel_id, channel_type, participant_id, channel_data))
        return self.room_id


@pytest.mark.parametrize("named", ["lobby", None])
async def test_R178_the_router_may_be_replaced(named: str | None) -> None:
    router = Fixed(named)
    async with RoomKit(inbound_router=router, shutdown_timeout=0) as kit:
        kit.register_channel(Transport("sms"))
        result = await kit.process_inbound(message("sms", metadata={"to": "1"}))
        assert set(map(str, router.asked)) == {str(router.asked[0])}
        assert router.asked[0] == ("sms", "sms", "ann", {"to": "1"})
        assert result.event is not None
        assert named in (None, result.event.room_id)
        assert await kit.get_room(result.event.room_id) is not None


async def test_a_message_without_a_person_makes_no_participant(kit: RoomKit) -> None:
    class Sensor(Transport):
        async def handle_inbound(self, message: InboundMessage, context: RoomContext) -> RoomEvent:
            event = self.inbound_event(message, context)
            source = event.source.model_copy(update={"participant_id": None})
            return event.model_copy(update={"source": source, "visibility": "transport"})

    await room_with(kit, Sensor("sensor"))
    result = await kit.process_inbound(
        InboundMessage(
            channel_id="sensor", sender_id="x", content=TextContent(body="21 °C"), visibility="none"
        ),
        room_id=ROOM,
    )
    assert result.event is not None
    assert result.event.visibility == "transport"  # R18: the channel's own choice stays
    assert await kit.store.list_participants(ROOM) == []
    assert result.event.content == text("21 °C")


# -- who may enter (AMB-1, AMB-2) -----------------------------------------------------------------


def bound(**more: Any) -> ChannelBinding:
    return ChannelBinding(channel_id="sms", room_id=ROOM, channel_type="sms", **more)


def person(name: str, *channels: str, **more: Any) -> Participant:
    via = list(channels or ("sms",))
    return Participant(id=name, room_id=ROOM, channel_id=via[0], connected_via=via, **more)


ANN = Identity(id="person-ann")
TO_BOB: dict[str, Any] = {"metadata": {"to": "bob"}}


@pytest.mark.parametrize(
    ("binding", "others", "admitted"),
    [
        # names nobody: whoever comes first
        ({}, [], True),
        ({}, [("bob",)], False),
        ({}, [("bob", "web")], True),
        ({}, [("ann",)], True),
        ({}, [("ann",), ("bob",)], True),
        # names somebody
        ({"participant_id": "ann"}, [], True),
        ({"participant_id": "ann"}, [("bob",)], True),
        ({"participant_id": "bob"}, [], False),
        ({"participant_id": "bob"}, [("ann",)], True),
        ({"metadata": {"to": "ann"}}, [("bob",)], True),
        (TO_BOB, [], False),
        (TO_BOB | {"participant_id": "ann"}, [], True),
        # a recipient that is no address is somebody nobody is
        ({"metadata": {"to": ["ann"]}}, [], False),
        ({"metadata": {"to": True}}, [], False),
        ({"metadata": {"to": ""}}, [], False),
        ({"metadata": {"to": None}}, [], True),
        ({"metadata": {"from": "bob"}}, [], True),
        # anybody
        ({"group": True}, [("bob",)], True),
        (TO_BOB | {"group": True}, [("bob",)], True),
    ],
)
def test_AMB2_whom_a_binding_admits(
    binding: dict[str, Any], others: list[tuple[str, ...]], admitted: bool
) -> None:
    people = [person(*other) for other in others]
    assert admits(bound(**binding), people, "ann", recipient_key="to") == admitted


@pytest.mark.parametrize("group", [True, False])
@pytest.mark.parametrize(("name", "identity"), [("ann", None), ("x", "person-ann")])
def test_AMB2_somebody_barred_is_left_to_the_gate(
    group: bool, name: str, identity: str | None
) -> None:
    barred = person(name, status=ParticipantStatus.BANNED, identity_id=identity)
    assert admits(bound(group=group), [barred, person("bob")], "ann", identity=ANN)


@pytest.mark.parametrize("group", [True, False])
async def test_AMB2_who_is_barred_from_the_only_room_gets_no_other(
    kit: RoomKit, group: bool
) -> None:
    await room_with(kit, Transport("sms"))
    own = await kit.store.get_binding(ROOM, "sms")
    assert own is not None
    await kit.store.update_binding(own.model_copy(update={"group": group}))
    assert await arrived(kit, sender="eve") == ROOM
    await kit.remove_member(ROOM, "eve", status=ParticipantStatus.BANNED)
    result = await kit.process_inbound(message("sms", sender="eve"))
    assert (result.blocked, result.event) == (True, None)
    assert [room.id for room in await kit.store.list_rooms()] == [ROOM]


def test_AMB2_who_has_left_comes_back_unless_somebody_else_was_there() -> None:
    left = person("ann", status=ParticipantStatus.LEFT)
    assert admits(bound(), [left], "ann")
    assert not admits(bound(), [left, person("bob", status=ParticipantStatus.LEFT)], "ann")


def test_AMB2_a_person_is_known_by_any_of_their_ids() -> None:
    known = person("x", identity_id="person-ann")
    assert admits(bound(), [known, person("bob")], "+1555", identity=ANN)
    assert admits(bound(participant_id="person-ann"), [], "+1555", identity=ANN)
    assert not admits(bound(), [known], "+1555")
    assert known_as("+1555", ANN) == {"+1555", "person-ann"}
    assert known_as(None) == known_as("") == frozenset()


def test_AMB2_a_message_of_nobody_is_nobodys_correspondent() -> None:
    assert admits(bound(), [], None)
    assert not admits(bound(), [person("ann")], None)
    assert not admits(bound(participant_id="ann"), [], None)
    assert admits(bound(group=True), [person("ann")], None)
    assert not admits(bound(metadata={"to": ""}), [], None, recipient_key="to")


def test_AMB2_an_address_may_be_a_number() -> None:
    assert admits(bound(metadata={"to": 42}), [], "42", recipient_key="to")
    assert not admits(bound(metadata={"to": 42}), [], "43", recipient_key="to")


class Rooms:
    """A store with rooms, and its router."""

    def __init__(self) -> None:
        self.store = InMemoryStore()
        self.channels = {"sms": Transport("sms")}
        self.router = DefaultInboundRoomRouter(self.store, channel_of=self.channels.get)
        self.made = 0

    async def add(
        self,
        room_id: str,
        *people: Participant,
        status: RoomStatus = RoomStatus.ACTIVE,
        organization_id: str | None = None,
        **binding: Any,
    ) -> None:
        self.made += 1
        at = datetime(2026, 1, self.made, tzinfo=UTC)
        await self.store.create_room(
            Room(id=room_id, status=status, created_at=at, organization_id=organization_id)
        )
        await self.store.add_binding(bound(**binding).model_copy(update={"room_id": room_id}))
        for one in people:
            await self.store.add_participant(one.model_copy(update={"room_id": room_id}))

    async def route(self, sender: str | None = "ann", **more: Any) -> str | None:
        return await self.router.route("sms", ChannelType.SMS, sender, {}, **more)


async def test_AMB1_the_newest_open_room_where_this_very_channel_knows_the_sender() -> None:
    rooms = Rooms()
    await rooms.add("old", person("ann"))
    await rooms.add("paused", person("ann"), status=RoomStatus.PAUSED)
    await rooms.add("closed", person("ann"), status=RoomStatus.CLOSED)
    await rooms.add("archived", person("ann"), status=RoomStatus.ARCHIVED)
    await rooms.add("elsewhere", person("ann", "other-sms"))
    await rooms.add("left", person("ann", status=ParticipantStatus.LEFT))
    assert await rooms.route() == "paused"


async def test_AMB1_a_room_knows_a_person_by_either_id() -> None:
    rooms = Rooms()
    await rooms.add("address", person("+1555"))
    await rooms.add("person", person("person-ann"))
    await rooms.add("bobs", person("bob"))
    assert await rooms.route("+1555") == "address"
    assert await rooms.route("+1555", identity=ANN) == "person"


async def test_AMB2_a_stranger_is_not_put_into_somebodys_only_room() -> None:
    rooms = Rooms()
    await rooms.add("bobs", person("bob"))
    assert await rooms.route("ann") is None
    assert await rooms.route("bob") == "bobs"
    assert await rooms.route(None) is None


async def test_AMB2_a_group_is_open_to_strangers() -> None:
    rooms = Rooms()
    await rooms.add("group", person("bob"), group=True)
    assert await rooms.route("ann") == "group"


@pytest.mark.parametrize("sender", ["ann", "eve"])
async def test_AMB2_the_recipient_under_the_channels_key_may_answer(sender: str) -> None:
    rooms = Rooms()
    rooms.channels["sms"].recipient_key = "phone_number"
    await rooms.add("anns", metadata={"phone_number": "ann"})
    assert await rooms.route(sender) == ("anns" if sender == "ann" else None)


async def test_AMB2_without_the_channel_nobody_knows_its_key() -> None:
    rooms = Rooms()
    await rooms.add("anns", metadata={"phone_number": "ann"})
    assert await DefaultInboundRoomRouter(rooms.store).route("sms", "sms", "eve") == "anns"
    rooms.channels.clear()
    assert await rooms.route("eve") == "anns"


async def test_R180_of_two_rooms_none_is_guessed_even_if_one_would_do() -> None:
    rooms = Rooms()
    await rooms.add("bobs", person("bob"))
    await rooms.add("free")
    assert await rooms.route() is None


async def test_R179_a_paused_room_counts_where_there_is_no_active_one() -> None:
    rooms = Rooms()
    assert await rooms.route() is None
    await rooms.add("paused", status=RoomStatus.PAUSED)
    await rooms.add("closed", status=RoomStatus.CLOSED)
    assert await rooms.route() == "paused"
    await rooms.add("active")
    assert await rooms.route() == "active"


async def test_R178_rooms_of_other_organizations_are_not_found() -> None:
    rooms = Rooms()
    await rooms.add("theirs", person("ann"), organization_id="them")
    assert await rooms.route(organization_id="us") is None
    assert await rooms.route(organization_id="them") == "theirs"
    await rooms.add("ours", organization_id="us")
    assert await rooms.route(organization_id="us") == "ours"


async def test_AMB2_two_strangers_on_a_shared_number_get_a_room_each(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    assert await arrived(kit, sender="ann") == ROOM
    hers = await arrived(kit, sender="eve")
    assert hers != ROOM
    assert await arrived(kit, sender="ann") == ROOM
    assert await arrived(kit, sender="eve") == hers
