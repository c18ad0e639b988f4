"""`SQLiteStore` opens itself, as RoomKit's does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from salon import ChannelType, EventSource, RoomEvent, SQLiteStore, TextContent
from salon.base import UnavailableError
from salon.models import Room
from salon.models.base import utc_now
from salon.store.calls import SqlCallLog


def event() -> RoomEvent:
    source = EventSource(channel_id="a", channel_type=ChannelType.SMS)
    return RoomEvent(room_id="r", source=source, content=TextContent(body="hi"))


async def test_the_first_operations_open_it_however_many_they_are(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "rooms.db")
    found = await asyncio.gather(*(store.get_room(str(number)) for number in range(5)))
    assert found == [None] * 5
    assert not await SQLiteStore(tmp_path / "rooms.db").room_exists("r")
    await store.close()


async def test_a_commit_may_be_the_first_operation(tmp_path: Path) -> None:
    first = SQLiteStore(str(tmp_path / "rooms.db"))
    await first.create_room(Room(id="r"))
    await first.close()
    for commit in ("one", "several"):
        store = SQLiteStore(tmp_path / "rooms.db")
        if commit == "one":
            await store.commit_event(event(), at=utc_now())
        else:
            await store.commit_events([event(), event()], at=utc_now())
        await store.close()
    again = SQLiteStore(tmp_path / "rooms.db")
    assert [item.index for item in await again.list_events("r")] == [0, 1, 2]
    await again.close()


async def test_what_was_closed_stays_closed_until_it_is_opened(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "rooms.db")
    await store.close()
    with pytest.raises(UnavailableError):
        await store.get_room("r")
    with pytest.raises(UnavailableError):
        await store.commit_event(event(), at=utc_now())
    await store.open()
    assert await store.get_room("r") is None
    await store.close()


async def test_other_stores_share_its_database(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "rooms.db")
    assert await SqlCallLog(store.database).list_calls() == []
    assert repr(store).startswith("SQLiteStore(")
    await store.close()
