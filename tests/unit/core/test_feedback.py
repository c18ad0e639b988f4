"""Ratings of a conversation become observations."""

from __future__ import annotations

import asyncio
import math

import pytest

from salon.core.errors import RoomNotFoundError
from salon.core.kit import RoomKit
from salon.models import HookExecution, HookTrigger, Observation, RoomContext
from salon.testing import VirtualClock

from .helpers import PATIENCE, ROOM, Agent, Transport, listen, message, room_with, timeline


async def test_a_rating_is_kept_as_an_observation() -> None:
    clock = VirtualClock()
    async with RoomKit(clock=clock, shutdown_timeout=0) as kit:
        await room_with(kit, Transport("a"))
        made = await kit.submit_feedback(
            ROOM,
            0.754,
            event_id="e1",
            channel_id="ai",
            comment="nearly",
            dimension="tone",
            metadata={"page": 3, "rating": 9},
        )
        assert await kit.list_observations(ROOM) == [made]
        assert (made.content, made.category) == ("[tone] 0.75: nearly", "feedback:tone")
        assert (made.channel_id, made.confidence) == ("ai", 0.754)
        assert made.created_at == clock.now()
        assert made.metadata == {
            "type": "feedback",
            "dimension": "tone",
            "rating": 0.754,
            "comment": "nearly",
            "event_id": "e1",
            "page": 3,
        }


@pytest.mark.parametrize(("given", "kept"), [(-1, 0.0), (0, 0.0), (1, 1.0), (7, 1.0)])
async def test_a_rating_is_from_0_to_1(kit: RoomKit, given: float, kept: float) -> None:
    await kit.create_room(ROOM)
    made = await kit.submit_feedback(ROOM, given)
    assert (made.confidence, made.metadata["rating"]) == (kept, kept)
    assert (made.content, made.channel_id) == (f"[overall] {kept:.2f}", "")


async def test_what_is_no_number_is_refused(kit: RoomKit) -> None:
    await kit.create_room(ROOM)
    with pytest.raises(ValueError, match="nan"):
        await kit.submit_feedback(ROOM, math.nan)
    assert await kit.list_observations(ROOM) == []


async def test_R162_hooks_and_listeners_are_told_and_not_waited_for(kit: RoomKit) -> None:
    await kit.create_room(ROOM)
    heard = listen(kit, "feedback")
    got: list[tuple[Observation, str]] = []
    gate = asyncio.Event()

    @kit.hook(HookTrigger.ON_FEEDBACK, execution=HookExecution.ASYNC)
    async def note(observation: Observation, context: RoomContext) -> None:
        await gate.wait()
        got.append((observation, context.room.id))

    made = await kit.submit_feedback(ROOM, 1, event_id="e1", channel_id="ai")
    assert got == []
    gate.set()
    async with asyncio.timeout(PATIENCE):
        await kit._parts.observers.drained(ROOM)
    assert got == [(made, ROOM)]
    (event,) = heard
    assert (event.room_id, event.channel_id, event.event_id) == (ROOM, "ai", "e1")
    assert event.data == {"dimension": "overall", "rating": 1.0}


async def test_a_closed_room_is_rated_and_its_timeline_stays(kit: RoomKit) -> None:
    await room_with(kit, Transport("a"), Agent("ai"))
    await kit.process_inbound(message("a"), room_id=ROOM)
    await kit.close_room(ROOM)
    before = await timeline(kit)
    await kit.submit_feedback(ROOM, 0.5)
    assert await timeline(kit) == before
    assert len(await kit.list_observations(ROOM)) == 1


async def test_R267_a_room_of_others_is_not_found(kit: RoomKit) -> None:
    await kit.create_room(ROOM, organization_id="acme")
    heard = listen(kit, "feedback")
    for room_id, organization in ((ROOM, "other"), ("nowhere", None)):
        with pytest.raises(RoomNotFoundError):
            await kit.submit_feedback(room_id, 1, organization_id=organization)
    assert (await kit.list_observations(ROOM), heard) == ([], [])
    await kit.submit_feedback(ROOM, 1, organization_id="acme")
    assert len(heard) == 1


async def test_a_room_that_is_deleted_meanwhile_has_nobody_to_tell(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kit.create_room(ROOM)
    got: list[Observation] = []

    @kit.hook(HookTrigger.ON_FEEDBACK)
    async def note(observation: Observation, context: RoomContext) -> None:
        got.append(observation)

    keep = kit.store.add_observation

    async def then_delete(observation: Observation) -> Observation:
        kept = await keep(observation)
        await kit.store.delete_room(ROOM)
        return kept

    monkeypatch.setattr(kit.store, "add_observation", then_delete)
    await kit.submit_feedback(ROOM, 1)
    await kit._parts.observers.drained(ROOM)
    assert got == []
