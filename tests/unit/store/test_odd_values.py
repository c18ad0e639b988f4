"""One commit that cannot be stored costs those beside it nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from salon.models import ChannelType, EventSource, Room, RoomEvent, TextContent
from salon.store import commits
from salon.store.sqlite_file import SQLiteStore

BEFORE_TIME = datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))
AFTER_TIME = datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def event(room_id: str, body: str = "hi", created_at: datetime = NOW) -> RoomEvent:
    return RoomEvent(
        room_id=room_id,
        source=EventSource(channel_id="c", channel_type=ChannelType.WEBSOCKET),
        content=TextContent(body=body),
        created_at=created_at,
    )


@pytest.fixture
async def store(tmp_path: Path) -> SQLiteStore:
    store = SQLiteStore(tmp_path / "salon.db")
    await store.open()
    for room_id in ("a", "b"):
        await store.create_room(Room(id=room_id))
    return store


@pytest.mark.parametrize("when", [BEFORE_TIME, AFTER_TIME])
async def test_an_instant_that_is_none_fails_alone(store: SQLiteStore, when: datetime) -> None:
    outcomes = await asyncio.gather(
        store.commit_event(event("a"), at=NOW),
        store.commit_event(event("a", created_at=when), at=NOW),
        store.commit_event(event("b"), at=when),
        store.commit_event(event("b"), at=NOW),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [RoomEvent, ValueError, ValueError, RoomEvent]
    assert "in UTC" in str(outcomes[1])
    assert [len(await store.list_events(room_id)) for room_id in ("a", "b")] == [1, 1]
    await store.close()


async def test_an_instant_that_is_none_changes_no_room(store: SQLiteStore) -> None:
    with pytest.raises(ValueError, match="does not take"):
        await store.update_room(Room(id="a", closed_at=AFTER_TIME))
    assert await store.get_room("a") is not None
    await store.close()


async def test_what_is_large_goes_by_itself(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "GROUP_SIZE", 2000)
    groups: list[int] = []
    plain = commits.grow

    def grow(connection: object, growths: object) -> dict[str, int]:
        groups.append(sum(len(growth.rows) for growth in growths))  # type: ignore[attr-defined]
        return plain(connection, growths)  # type: ignore[arg-type]

    monkeypatch.setattr(commits, "grow", grow)
    sizes = (1, 5000, 1, 1)
    await asyncio.gather(*(store.commit_event(event("a", "x" * size), at=NOW) for size in sizes))
    assert groups == [2, 2]
    await store.close()
