"""What is known of a room."""

from __future__ import annotations

import pytest

from salon.core.errors import RoomNotFoundError
from salon.core.kit import RoomKit
from salon.models import Identity

from .helpers import ROOM, Transport, room_with


async def test_a_member_is_who_takes_part_now(kit: RoomKit) -> None:
    await kit.create_room(ROOM, organization_id="acme")
    await room_with(kit, Transport("sms"))
    await kit.store.create_identity(Identity(id="id-ann", organization_id="acme"))
    await kit.add_member(ROOM, "sms", "p1", identity_id="id-ann")
    assert await kit.is_member(ROOM, "id-ann")
    assert await kit.is_member(ROOM, "id-ann", organization_id="acme")
    assert not await kit.is_member(ROOM, "p1")  # of the room, not a person everywhere
    await kit.remove_member(ROOM, "p1")
    assert not await kit.is_member(ROOM, "id-ann")
    assert not await kit.is_member("nowhere", "id-ann")


async def test_R267_membership_in_rooms_of_others_is_not_told(kit: RoomKit) -> None:
    await kit.create_room(ROOM, organization_id="acme")
    with pytest.raises(RoomNotFoundError):
        await kit.is_member(ROOM, "id-ann", organization_id="other")
