"""The contract of `InboundRoomRouter`s that route by what a store holds."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

import pytest

from salon.core.ports.router import InboundRoomRouter
from salon.core.ports.store import ConversationStore
from salon.models import ChannelType, ParticipantStatus, RoomStatus
from salon.testing.contracts.samples import make_binding, make_participant, new_room

ACTIVE = RoomStatus.ACTIVE


async def _room(
    store: ConversationStore,
    room_id: str,
    *people: str,
    at: float = 0,
    status: RoomStatus = ACTIVE,
    organization_id: str | None = None,
    group: bool = False,
    bound_to: str | None = None,
    recipient: str | None = None,
) -> None:
    """A room with the channel "phone", through which `people` are connected."""
    await new_room(store, room_id, at=at, status=status, organization_id=organization_id)
    binding = make_binding(
        "phone", room_id, group=group, participant_id=bound_to, recipient=recipient
    )
    await store.add_binding(binding)
    for name in people:
        await store.add_participant(make_participant(name, room_id))


async def _route(
    router: InboundRoomRouter,
    sender: str | None = "ann",
    channel_id: str = "phone",
    organization_id: str | None = None,
) -> str | None:
    kind = ChannelType.VOICE
    found = await router.route(channel_id, kind, sender, {}, organization_id=organization_id)
    again = await router.route(channel_id, kind, sender, {}, organization_id=organization_id)
    assert found == again  # R181
    return found


class RouterContract:
    """Give it two fixtures: a `store`, new, open and empty, and a `router` on it."""

    # -- where the sender is known (R179 step 1, AMB-1) -------------------------------------------

    async def test_R179_the_latest_room_of_the_sender(
        self, store: ConversationStore, router: InboundRoomRouter
    ) -> None:
        await _room(store, "old", "ann", at=1)
        await _room(store, "new", "ann", at=3)
        await _room(store, "others", "bob", at=5)
        assert await _route(router) == "new"

    async def test_R181_of_rooms_made_at_once_the_highest_id(
        self, store: ConversationStore, router: InboundRoomRouter
    ) -> None:
        for name in ("b", "c", "a"):
            await _room(store, name, "ann")
        assert await _route(router) == "c"

    @pytest.mark.parametrize("status", [RoomStatus.CLOSED, RoomStatus.ARCHIVED])
    async def test_R179_never_a_room_that_takes_no_events(
        self, store: ConversationStore, router: InboundRoomRouter, status: RoomStatus
    ) -> None:
        await _room(store, "shut", "ann", at=3, status=status)
        assert await _route(router) is None
        await _room(store, "open", "ann", at=1)
        assert await _route(router) == "open"

    async def test_AMB1_a_paused_room_of_the_sender(
        self, store: ConversationStore, router: InboundRoomRouter
    ) -> None:
        await _room(store, "paused", "ann", status=RoomStatus.PAUSED)
        assert await _route(router) == "paused"

    async def test_AMB1_only_through_this_very_channel(
        self, store: ConversationStore, router: InboundRoomRouter
    ) -> None:
        await _room(store, "one", "ann")
        await store.add_binding(make_binding("mobile", "one"))
        await _room(store, "two", "bob", at=1)
        await store.add_binding(make_binding("mobile", "two"))
        assert await _route(router, channel_id="phone") == "one"
        assert await _route(router, channel_id="mobile") is None

    async def test_R179_who_left_is_not_there(
        self, store: ConversationStore, router: InboundRoomRouter
    ) -> None:
        await _room(store, "other", "bob")
        await _room(store, "room", "cid")
        gone = make_participant("ann", "room", status=ParticipantStatus.LEFT)
        await store.add_participant(gone)
        assert await _route(router) is None

    async def test_R179_a_sender_is_known_by_address(
        self, store: ConversationStore, router: InboundRoomRouter
    ) -> None:
        for room_id, name, address in (("one", "ann", "+1"), ("two", "bob", "+2")):
            await _room(store, room_id)
            await store.add_participant(make_participant(name, room_id, external_id=address))
        assert (await _route(router, "+1"), await _route(router, "+2")) == ("one", "two")
        assert await _route(router, "+3") is None

    # -- whom a binding names (R180, AMB-2) -------------------------------------------------------

    async def test_R180_of_several_rooms_the_one_that_names_the_sender(
        self, store: ConversationStore, router: InboundRoomRouter
    ) -> None:
        await _room(store, "anns", "agent", recipient="ann")
        await _room(store, "bobs", at=1, recipient="bob")
        assert (await _route(router, "ann"), await _route(router, "bob")) == ("anns", "bobs")
        assert await _route(router, "eve") is None
        await _room(store, "newer", at=2, recipient="ann")
        await _room(store, "shut", at=3, recipient="ann", status=RoomStatus.CLOSED)
        assert await _route(router, "ann") == "newer"
        await _room(store, "known", "ann")
        assert await _route(router, "ann") == "known"

    # -- where only the channel is known (R179 step 2, R180, AMB-2) -------------------------------

    async def test_R179_the_only_room_of_a_group_channel(
        self, store: ConversationStore, router: InboundRoomRouter
    ) -> None:
        await _room(store, "room", "bob", group=True)
        await _room(store, "shut", at=5, status=RoomStatus.CLOSED, group=True)
        assert await _route(router) == "room"
        assert await _route(router, None) == "room"

    async def test_R180_two_rooms_are_not_guessed_between(
        self, store: ConversationStore, router: InboundRoomRouter
    ) -> None:
        await _room(store, "one", group=True)
        await _room(store, "two", at=1, group=True)
        assert await _route(router) is None

    async def test_R179_a_channel_without_rooms(
        self, store: ConversationStore, router: InboundRoomRouter
    ) -> None:
        await _room(store, "room", "ann", group=True)
        assert await _route(router, channel_id="none") is None

    async def test_AMB2_whoever_comes_first_gets_the_room(
        self, store: ConversationStore, router: InboundRoomRouter
    ) -> None:
        await _room(store, "room")
        assert await _route(router) == "room"

    async def test_AMB2_nobody_gets_into_somebody_elses_conversation(
        self, store: ConversationStore, router: InboundRoomRouter
    ) -> None:
        await _room(store, "room", "bob")
        assert await _route(router) is None
        assert await _route(router, "bob") == "room"

    async def test_AMB2_somebody_barred_is_left_to_the_gate_of_the_room(
        self, store: ConversationStore, router: InboundRoomRouter
    ) -> None:
        await _room(store, "room", "bob")
        barred = make_participant("ann", "room", external_id="+1", status=ParticipantStatus.BANNED)
        await store.add_participant(barred)
        assert (await _route(router, "ann"), await _route(router, "+1")) == ("room", "room")
        assert await _route(router, "eve") is None

    async def test_AMB2_a_binding_admits_whom_it_names(
        self, store: ConversationStore, router: InboundRoomRouter
    ) -> None:
        await _room(store, "room", bound_to="bob")
        assert await _route(router) is None
        assert await _route(router, "bob") == "room"

    # -- organizations ----------------------------------------------------------------------------

    async def test_R267_only_rooms_of_the_organization(
        self, store: ConversationStore, router: InboundRoomRouter
    ) -> None:
        await _room(store, "x", "ann", at=1, organization_id="x")
        await _room(store, "y", "ann", at=2, organization_id="y")
        assert await _route(router, organization_id="x") == "x"
        assert await _route(router) == "y"
        assert await _route(router, organization_id="z") is None
        assert await _route(router, "bob", organization_id="x") is None
