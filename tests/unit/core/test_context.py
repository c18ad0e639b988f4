"""What is remembered of rooms between two events (R20)."""

from __future__ import annotations

from typing import Any

import pytest

from salon.core import context
from salon.core.context import Contexts
from salon.core.memory.store import InMemoryStore
from salon.models import Room
from salon.testing import VirtualClock

from .helpers import ROOM


class Counting(InMemoryStore):
    """Notes whose bindings are read: the rooms that were not remembered."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.read: list[str] = []

    async def list_bindings(self, room_id: str) -> Any:
        self.read.append(room_id)
        return await super().list_bindings(room_id)


@pytest.mark.parametrize("used", ["build", "roughly"])
async def test_the_room_not_used_for_longest_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, used: str
) -> None:
    monkeypatch.setattr(context, "MAX_ROOMS", 2)
    store = Counting()
    contexts = Contexts(store)
    for name in ("one", "two", "three"):
        await store.create_room(Room(id=name))
    await contexts.build("one")
    await contexts.build("two")
    await getattr(contexts, used)("one")
    await contexts.build("three")
    store.read.clear()
    await contexts.build("one")
    assert store.read == []
    await contexts.build("two")
    assert store.read == ["two"]


async def test_a_room_made_anew_under_its_id_is_another_room() -> None:
    """Another process deleted and made it: the revisions are the same."""
    clock = VirtualClock()
    store = Counting(clock=clock)
    contexts = Contexts(store)
    first = await store.create_room(Room(id=ROOM, created_at=clock.now()))
    await contexts.build(ROOM)
    await store.delete_room(ROOM)
    clock.advance(1)
    second = await store.create_room(Room(id=ROOM, created_at=clock.now(), metadata={"new": 1}))
    assert second.revision == first.revision
    store.read.clear()
    assert (await contexts.build(ROOM)).room.metadata == {"new": 1}
    assert store.read == [ROOM]
    await contexts.build(ROOM)
    assert store.read == [ROOM]
