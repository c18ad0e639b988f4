"""Commits that meet go to the disk together, and still stand each for itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from salon.base import UnavailableError
from salon.core.errors import RoomNotFoundError
from salon.models import RoomEvent
from salon.store import SqliteDatabase, SqlStore
from salon.store.commits import GROUP, SCAN
from salon.testing.contracts.samples import indices, later, make_event, new_room


class CountedDatabase(SqliteDatabase):
    transactions = 0
    lost_after = 10**9

    def _transact(self, engine, work):  # type: ignore[no-untyped-def]
        if self.transactions >= self.lost_after:
            raise UnavailableError("lost")
        self.transactions += 1
        return super()._transact(engine, work)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    store = SqlStore(CountedDatabase(tmp_path / "salon.db"))
    await store.open()
    yield store
    await store.close()


def transactions(store: SqlStore) -> int:
    assert isinstance(store._database, CountedDatabase)
    return store._database.transactions


async def test_R95_concurrent_commits_share_a_transaction(store: SqlStore) -> None:
    for name in "abc":
        await new_room(store, name)
    before = transactions(store)
    made = [make_event("abc"[number % 3], words=str(number)) for number in range(30)]
    committed = await asyncio.gather(
        *(store.commit_event(event, at=later(n)) for n, event in enumerate(made))
    )
    assert transactions(store) == before + 1
    assert [event.index for event in committed] == [number // 3 for number in range(30)]
    for number, name in enumerate("abc"):
        assert await store.list_events(name) == committed[number::3]
        room = await store.get_room(name)
        assert room is not None
        assert (room.event_count, room.latest_index) == (10, 9)
        assert room.updated_at == later(27 + number)


async def test_one_at_fault_does_not_fail_the_others(store: SqlStore) -> None:
    await new_room(store)
    await store.commit_event(make_event(id="old"), at=later(0))
    good, known, again, nowhere, last = await asyncio.gather(
        store.commit_event(make_event(idempotency_key="k"), at=later(1)),
        store.commit_event(make_event(id="old"), at=later(2)),
        store.commit_event(make_event(idempotency_key="k"), at=later(3)),
        store.commit_event(make_event("none"), at=later(4)),
        store.commit_event(make_event(), at=later(5)),
        return_exceptions=True,
    )
    assert isinstance(good, RoomEvent)
    assert isinstance(known, ValueError)
    assert isinstance(again, ValueError)
    assert isinstance(nowhere, RoomNotFoundError)
    assert isinstance(last, RoomEvent)
    assert (good.index, last.index) == (1, 2)
    assert await indices(store) == [0, 1, 2]


async def test_a_batch_is_one_transaction(store: SqlStore) -> None:
    await new_room(store)
    before = transactions(store)
    batch = [make_event(words=str(number)) for number in range(2500)]
    stored = await store.commit_events(batch, at=later(1))
    assert transactions(store) == before + 1
    assert [event.index for event in stored] == list(range(2500))
    assert await store.list_events("room", limit=2500) == stored


async def test_R111_changes_of_earlier_events_share_a_transaction(store: SqlStore) -> None:
    await new_room(store)
    await new_room(store, "other")
    target = await store.commit_event(make_event(id="t"), at=later(0))
    before = transactions(store)
    outcomes = await asyncio.gather(
        *(store.commit_event(make_event("other"), at=later(n)) for n in range(3)),
        *(store.commit_event(make_event(), at=later(n), target=target) for n in range(3)),
    )
    assert transactions(store) == before + 1
    assert [event.index for event in outcomes] == [0, 1, 2, 1, 2, 3]
    for name, revision in (("room", 3), ("other", 0)):
        room = await store.get_room(name)
        assert room is not None
        assert room.revision == revision


async def test_many_more_than_a_group(store: SqlStore) -> None:
    await new_room(store)
    await new_room(store, "other")
    await new_room(store, "third")
    count = SCAN + GROUP + 1
    calls = [store.commit_event(make_event(), at=later(n)) for n in range(count)]
    calls.append(store.commit_event(make_event("other"), at=later(0)))
    first = asyncio.gather(*calls)
    await asyncio.sleep(0)
    third = await store.commit_event(make_event("third"), at=later(0))
    committed = await first
    assert [event.index for event in committed] == [*range(count), 0]
    assert third.index == 0


async def test_cancelled_before_it_begins_it_does_not_happen(store: SqlStore) -> None:
    await new_room(store)
    first = asyncio.create_task(store.commit_event(make_event(), at=later(0)))
    second = asyncio.create_task(store.commit_event(make_event(), at=later(1)))
    await asyncio.sleep(0)
    second.cancel()
    assert (await first).index == 0
    assert (await asyncio.gather(second, return_exceptions=True))[0] is not None
    assert (await store.commit_event(make_event(), at=later(2))).index == 1


async def test_close_finishes_what_waits_and_refuses_what_comes_later(store: SqlStore) -> None:
    await new_room(store)
    calls = [
        asyncio.create_task(store.commit_event(make_event(), at=later(n))) for n in range(GROUP + 5)
    ]
    await asyncio.sleep(0)
    closing = asyncio.create_task(store.close())
    committed = await asyncio.gather(*calls)
    assert len(committed) == GROUP + 5
    await closing
    with pytest.raises(UnavailableError, match="not open"):
        await store.commit_event(make_event(), at=later(1))
    await store.open()
    assert await indices(store) == list(range(GROUP + 5))


async def test_closed_before_it_begins(store: SqlStore) -> None:
    await new_room(store)
    store._database.lanes = 0  # as if all were busy
    calls = [
        asyncio.create_task(store.commit_event(make_event(), at=later(n))) for n in range(GROUP + 1)
    ]
    await asyncio.sleep(0)
    await store._database.close()
    store._database.lanes = 1
    store._committer._schedule(asyncio.get_running_loop())
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(outcome, UnavailableError)


async def test_R99_a_loss_in_the_middle_does_not_deny_what_was_stored(store: SqlStore) -> None:
    """One at fault, so that each goes alone; then the database is lost for the last one."""
    await new_room(store)
    assert isinstance(store._database, CountedDatabase)
    store._database.lost_after = store._database.transactions + 3
    first, nowhere, last = await asyncio.gather(
        store.commit_event(make_event(id="e"), at=later(1)),
        store.commit_event(make_event(id="e"), at=later(2)),
        store.commit_event(make_event(), at=later(3)),
        return_exceptions=True,
    )
    assert isinstance(first, RoomEvent)
    assert isinstance(nowhere, ValueError)
    assert isinstance(last, UnavailableError)
    assert await indices(store) == [0]
