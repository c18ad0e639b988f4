"""Messages of people who are known by another name than their address, and answers to messages
that began a conversation (R179, R180, AMB-2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from salon.channels.factories import HTTPChannel, SMSChannel, TelegramChannel
from salon.core.kit import RoomKit
from salon.core.ports.identity import IdentityResolver
from salon.core.routing import may_be_found, recipient_of
from salon.models import (
    ChannelType,
    IdentificationStatus,
    Identity,
    IdentityResult,
    InboundMessage,
    ParticipantStatus,
    RoomContext,
)
from salon.providers.sms.mock import MockSMSProvider
from salon.providers.telegram.mock import MockTelegramProvider

from .helpers import Transport, message

ANN, BOB = "+15550100123", "+15550100199"


class Book(IdentityResolver):
    """Knows whose address is whose; `asleep`, nobody's."""

    def __init__(self, **names: str) -> None:
        self.names = {address: name for name, address in names.items()}
        self.asleep = False

    async def resolve(self, message: InboundMessage, context: RoomContext) -> IdentityResult:
        name = None if self.asleep else self.names.get(message.sender_id)
        if name is None:
            return IdentityResult(status=IdentificationStatus.UNKNOWN)
        return IdentityResult(
            status=IdentificationStatus.IDENTIFIED, identity=Identity(id=f"id-{name}")
        )


@pytest.fixture
def book() -> Book:
    return Book(ann=ANN, bob=BOB)


@pytest.fixture
async def kit(book: Book) -> AsyncIterator[RoomKit]:
    async with RoomKit(identity_resolver=book, shutdown_timeout=0) as kit:
        yield kit


async def land(kit: RoomKit, sender: str, channel: str = "in", **more: Any) -> str:
    """The room in which a message came to lie."""
    result = await kit.process_inbound(message(channel, sender=sender, **more))
    assert result.event is not None
    return result.event.room_id


async def to(kit: RoomKit, room_id: str, recipient: object, **more: Any) -> None:
    """A room in which somebody is written to first."""
    channel = kit.get_channel("in")
    assert channel is not None
    assert channel.recipient_key is not None
    await kit.create_room(room_id)
    await kit.attach_channel(room_id, "in", metadata={channel.recipient_key: recipient}, **more)


# -- known by address (R179) ----------------------------------------------------------------------


async def test_R179_two_identified_customers_of_one_number_keep_their_rooms(kit: RoomKit) -> None:
    kit.register_channel(SMSChannel("in", provider=MockSMSProvider()))
    rooms = [await land(kit, sender) for sender in (ANN, BOB) * 3]
    assert rooms == rooms[:2] * 3
    assert rooms[0] != rooms[1]
    people = [await kit.list_members(room) for room in rooms[:2]]
    assert [[(one.id, one.external_id) for one in room] for room in people] == [
        [("id-ann", ANN)],
        [("id-bob", BOB)],
    ]


@pytest.mark.parametrize("names_a_recipient", [True, False])
@pytest.mark.parametrize("kind", ["http", "telegram", "plain"])
async def test_R179_an_identified_customer_keeps_the_room(
    kit: RoomKit, kind: str, names_a_recipient: bool
) -> None:
    made = {
        "http": HTTPChannel("in"),
        "telegram": TelegramChannel("in", provider=MockTelegramProvider()),
        "plain": Transport("in"),
    }
    kit.register_channel(made[kind])
    said: dict[str, Any] = {"metadata": {"chat_id": ANN} if names_a_recipient else {}}
    rooms = {await land(kit, ANN, **said) for _ in range(3)}
    assert len(rooms) == 1
    await kit.close_room(rooms.pop())
    again = [await land(kit, ANN, **said) for _ in range(2)]
    assert again == again[:1] * 2


async def test_R179_the_newest_room_counts_under_whatever_name(kit: RoomKit, book: Book) -> None:
    kit.register_channel(Transport("in"))
    first = await land(kit, ANN)
    await kit.create_room("later")
    await kit.attach_channel("later", "in")
    await kit.add_member("later", "in", ANN)
    assert await land(kit, ANN) == "later"
    await kit.close_room("later")
    assert await land(kit, ANN) == first


async def test_R179_an_address_counts_only_where_its_owner_is_reached(kit: RoomKit) -> None:
    for name, kind in (("in", ChannelType.SMS), ("other", ChannelType.EMAIL)):
        kit.register_channel(Transport(name, channel_type=kind))
    room = await land(kit, ANN)
    await kit.attach_channel(room, "other")
    assert await land(kit, ANN, "other") == room  # its only room, where she is not heard yet
    await kit.create_room("second")
    await kit.attach_channel("second", "other")
    assert await land(kit, ANN, "other") == room
    assert await land(kit, BOB, "other") not in (room, "second")


async def test_AMB2_somebody_barred_under_another_name_stays_out(kit: RoomKit, book: Book) -> None:
    kit.register_channel(Transport("in"))
    room = await land(kit, ANN)
    await kit.remove_member(room, "id-ann", status=ParticipantStatus.BANNED)
    for book.asleep in (False, True):  # R171: a resolver that fails opens nothing
        result = await kit.process_inbound(message("in", sender=ANN))
        assert (result.event, result.reason) == (None, "participant_not_admitted")
    assert [known.id for known in await kit.store.list_rooms()] == [room]
    assert [person.id for person in await kit.list_members(room, include_left=True)] == ["id-ann"]


async def test_AMB2_an_address_shared_with_somebody_barred_is_not_barred(
    kit: RoomKit, book: Book
) -> None:
    kit.register_channel(Transport("in"))
    room = await land(kit, ANN)
    book.names[ANN] = "cid"
    assert await land(kit, ANN) == room
    await kit.remove_member(room, "id-ann", status=ParticipantStatus.BANNED)
    book.asleep = True
    assert await land(kit, ANN) == room


# -- named by a binding (R180) --------------------------------------------------------------------


@pytest.mark.parametrize("resolved", [True, False])
async def test_R180_the_first_answer_goes_where_the_question_came_from(
    kit: RoomKit, book: Book, resolved: bool
) -> None:
    book.asleep = not resolved
    kit.register_channel(SMSChannel("in", provider=MockSMSProvider()))
    await to(kit, "anns", "+1 (555) 010-0123")
    await to(kit, "bobs", BOB)
    assert [await land(kit, sender) for sender in (ANN, BOB, ANN)] == ["anns", "bobs", "anns"]
    assert await land(kit, "+15550100555") not in ("anns", "bobs")


async def test_R180_of_several_rooms_that_name_the_sender_the_newest(kit: RoomKit) -> None:
    kit.register_channel(SMSChannel("in", provider=MockSMSProvider()))
    for room_id in ("old", "new", "shut"):
        await to(kit, room_id, ANN)
    await kit.close_room("shut")
    assert await land(kit, ANN) == "new"


async def test_R180_another_organizations_room_is_not_found(kit: RoomKit) -> None:
    kit.register_channel(SMSChannel("in", provider=MockSMSProvider()))
    await kit.create_room("theirs", organization_id="them")
    await kit.attach_channel("theirs", "in", metadata={"phone_number": ANN})
    assert await land(kit, BOB) != "theirs"
    ours = await kit.process_inbound(message("in", sender=ANN), organization_id="us")
    assert ours.event is not None
    assert ours.event.room_id != "theirs"


async def test_R180_a_group_chat_is_one_conversation(kit: RoomKit) -> None:
    kit.register_channel(TelegramChannel("in", provider=MockTelegramProvider()))
    await to(kit, "group", "-100", group=True)
    await to(kit, "closed circle", "-200")
    await to(kit, "anns", ANN)
    for sender in (BOB, "+1555"):
        assert await land(kit, sender, metadata={"chat_id": "-100"}) == "group"
    outside = await land(kit, "+1556", metadata={"chat_id": "-200"})
    assert outside not in ("group", "closed circle", "anns")


async def test_R56_a_binding_says_whom_it_names_in_the_channels_spelling(kit: RoomKit) -> None:
    channel = SMSChannel("in", provider=MockSMSProvider())
    kit.register_channel(channel)
    await to(kit, "room", "+1 555-010-0123")
    assert (await kit.get_binding("room", "in")).recipient == ANN
    await kit.update_binding_metadata("room", "in", {"phone_number": "+1 555 010 0199"})
    assert (await kit.get_binding("room", "in")).recipient == BOB
    await kit.mute("room", "in")
    kit.unregister_channel("in")
    await kit.update_binding_metadata("room", "in", {"phone_number": None})
    assert (await kit.get_binding("room", "in")).recipient == BOB  # nobody there who could tell
    kit.register_channel(channel)
    await kit.update_binding_metadata("room", "in", {"note": 1})
    assert (await kit.get_binding("room", "in")).recipient == BOB
    await kit.update_binding_metadata("room", "in", {"phone_number": None})
    await kit.update_binding_metadata("room", "in", {"phone_number": ""})
    assert (await kit.get_binding("room", "in")).recipient is None


async def test_R49_answers_go_to_the_room_that_shares_a_channel_not_the_one_it_is_shared_with(
    kit: RoomKit,
) -> None:
    kit.register_channel(SMSChannel("in", provider=MockSMSProvider()))
    await to(kit, "home", ANN)
    for room_id, metadata in (("helper", None), ("bobs", {"phone_number": BOB})):
        await kit.create_room(room_id)
        await kit.share_channel("home", room_id, "in", metadata=metadata)
    assert await land(kit, ANN) == "home"
    assert await land(kit, BOB) == "bobs"


@pytest.mark.parametrize(
    ("named", "recipient"),
    [(ANN, ANN), (42, "42"), ("", None), (True, None), ([ANN], None), (None, None)],
)
def test_R56_what_is_no_address_names_nobody(named: object, recipient: str | None) -> None:
    channel = Transport("in")
    assert recipient_of(channel, {"to": named}) is None
    channel.recipient_key = "to"
    assert recipient_of(channel, {"to": named}) == recipient
    assert recipient_of(channel, {}) is None


@pytest.mark.parametrize("address", ["", "a\0b", "x" * 513])
def test_an_address_that_stores_cannot_index_finds_nothing(address: str) -> None:
    channel = Transport("in")
    channel.recipient_key = "to"
    assert not may_be_found(address)
    assert recipient_of(channel, {"to": address}) is None
    assert may_be_found("x" * 512)
