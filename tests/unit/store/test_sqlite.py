"""What SQLite adds: files, restarts, several processes, crashes."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from salon.base import ConfigurationError, UnavailableError
from salon.core.errors import DuplicateIndexError
from salon.core.ports.calls import CallRecord
from salon.models import ParticipantStatus, Task
from salon.store import SqliteDatabase, Stores, make_stores
from salon.store import sqlite as sqlite_module
from salon.testing.contracts.samples import (
    indices,
    later,
    make_binding,
    make_event,
    make_participant,
    new_room,
)

# Commits, telling each index it was given. Imports little, to start fast.
COMMITTER = """
import asyncio, sys
from datetime import UTC, datetime
from salon.models import EventSource, RoomEvent, TextContent
from salon.store import make_stores

async def main():
    stores = make_stores(sys.argv[1])
    await stores.open()
    source = EventSource(channel_id="phone", channel_type="voice")
    for _ in range(int(sys.argv[2])):
        event = RoomEvent(room_id="room", source=source, content=TextContent(body="hello"))
        event = await stores.conversation.commit_event(event, at=datetime.now(UTC))
        print(event.index, flush=True)
    await stores.close()

asyncio.run(main())
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/salon.db"


@pytest.fixture
async def stores(url: str) -> AsyncIterator[Stores]:
    stores = make_stores(url)
    await stores.open()
    yield stores
    await stores.close()


def _execute(url: str, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute(statement, values)


async def test_R208_reopening_gives_everything_back(url: str) -> None:
    first = make_stores(url)
    await first.open()
    store = first.conversation
    await new_room(store)
    await store.commit_event(make_event(idempotency_key="k"), at=later(1))
    await store.add_binding(make_binding())
    await store.add_participant(make_participant())
    await store.add_task(Task(room_id="room", title="t"))
    await first.calls.started(CallRecord("c", "room", later(0)))

    async def everything(stores: Stores) -> list[Any]:
        store = stores.conversation
        return [
            await store.get_room("room"),
            await store.list_events("room"),
            await store.list_bindings("room"),
            await store.list_participants("room"),
            await store.list_tasks("room"),
            await stores.calls.list_calls(),
        ]

    before = await everything(first)
    await first.close()
    second = make_stores(url)
    await second.open()
    assert await everything(second) == before
    event = await second.conversation.commit_event(make_event(), at=later(2))
    assert event.index == 1
    assert [call.id for call in await second.calls.fail_live(at=later(3))] == ["c"]
    await second.close()


async def test_open_and_close_are_idempotent_and_may_alternate(url: str) -> None:
    stores = make_stores(url)
    with pytest.raises(UnavailableError, match="not open"):
        await stores.conversation.list_rooms()
    await stores.close()
    await asyncio.gather(stores.open(), stores.open())
    await new_room(stores.conversation)
    await asyncio.gather(stores.close(), stores.close())
    with pytest.raises(UnavailableError, match="not open"):
        await stores.conversation.commit_event(make_event(), at=later(1))
    await stores.open()
    assert await stores.conversation.get_room("room") is not None
    await stores.close()


async def test_close_lets_a_begun_write_finish(stores: Stores) -> None:
    await new_room(stores.conversation)
    commit = asyncio.create_task(stores.conversation.commit_event(make_event(), at=later(1)))
    await asyncio.sleep(0)
    await stores.close()
    assert (await commit).index == 0
    await stores.open()
    assert await indices(stores.conversation) == [0]


async def test_R95_two_stores_on_one_file_share_the_numbering(url: str) -> None:
    pair = [make_stores(url), make_stores(url)]
    await asyncio.gather(*(stores.open() for stores in pair))
    await new_room(pair[0].conversation)
    committed = await asyncio.gather(
        *(
            pair[number % 2].conversation.commit_event(make_event(), at=later(number))
            for number in range(60)
        )
    )
    assert sorted(event.index for event in committed) == list(range(60))
    for stores in pair:
        assert await indices(stores.conversation) == list(range(60))
        room = await stores.conversation.get_room("room")
        assert room is not None
        assert (room.event_count, room.latest_index) == (60, 59)
        await stores.close()


@pytest.mark.slow
async def test_R209_several_processes_share_the_numbering(url: str, stores: Stores) -> None:
    await new_room(stores.conversation)
    command = [sys.executable, "-c", COMMITTER, url, "40"]
    children = [
        await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE) for _ in range(2)
    ]
    assert children[0].stdout is not None
    own = [int(await asyncio.wait_for(children[0].stdout.readline(), 60))]
    for number in range(40):
        event = await stores.conversation.commit_event(make_event(), at=later(number))
        own.append(event.index)
    for child in children:
        output, _ = await asyncio.wait_for(child.communicate(), 60)
        assert child.returncode == 0
        own += [int(line) for line in output.split()]
    assert sorted(own) == list(range(120))
    assert await indices(stores.conversation) == list(range(120))


@pytest.mark.parametrize("after", [1, 25])
async def test_R99_a_kill_in_mid_commit_leaves_a_gapless_timeline(url: str, after: int) -> None:
    stores = make_stores(url)
    await stores.open()
    await new_room(stores.conversation)
    await stores.close()
    command = [sys.executable, "-c", COMMITTER, url, "1000000"]
    child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    for _ in range(after):
        await asyncio.wait_for(child.stdout.readline(), 60)
    os.kill(child.pid, signal.SIGKILL)
    rest, _ = await asyncio.wait_for(child.communicate(), 60)
    told = after + len([line for line in rest.split(b"\n")[:-1] if line])
    await stores.open()
    found = await indices(stores.conversation)
    room = await stores.conversation.get_room("room")
    assert room is not None
    assert found == list(range(len(found)))
    assert len(found) in (told, told + 1)  # nothing that was told is lost
    assert (room.event_count, room.latest_index) == (len(found), len(found) - 1)
    assert (await stores.conversation.commit_event(make_event(), at=later(1))).index == len(found)
    await stores.close()


async def test_R96_an_index_in_use_is_refused(url: str, stores: Stores) -> None:
    await new_room(stores.conversation)
    await stores.conversation.commit_event(make_event(), at=later(1))
    _execute(url, "UPDATE rooms SET latest_index = NULL")
    with pytest.raises(DuplicateIndexError):
        await stores.conversation.commit_event(make_event(), at=later(2))
    assert await indices(stores.conversation) == [0]


async def test_R98_an_index_is_never_used_again(url: str, stores: Stores) -> None:
    await new_room(stores.conversation)
    for number in range(2):
        await stores.conversation.commit_event(make_event(), at=later(number))
    _execute(url, 'DELETE FROM events WHERE "index" = 1')
    assert (await stores.conversation.commit_event(make_event(), at=later(3))).index == 2


async def test_R179_the_search_goes_on_past_rooms_that_do_not_fit(stores: Stores) -> None:
    store = stores.conversation
    await new_room(store, "old")
    await store.add_binding(make_binding("phone", "old"))
    await store.add_participant(make_participant(room_id="old"))
    for number in range(70):
        name = f"r{number}"
        await new_room(store, name, at=number + 1)
        await store.add_binding(make_binding("phone", name))
        gone = make_participant(room_id=name, channel_id="chat", status=ParticipantStatus.ACTIVE)
        await store.add_participant(gone)
    latest = await store.find_latest_room("ann", "voice")
    assert latest is not None
    assert latest.id == "old"


async def test_folder_and_file_are_private(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "salon.db"
    old = os.umask(0)
    try:
        stores = make_stores(f"sqlite:///{path}")
        await stores.open()
        await new_room(stores.conversation)
        modes = {item.name: stat.S_IMODE(item.stat().st_mode) for item in path.parent.iterdir()}
        assert set(modes.values()) == {0o600}
        assert len(modes) == 3  # the database, its log and its index
        for folder in path.parents[:2]:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        await stores.close()
    finally:
        os.umask(old)


async def test_a_newer_schema_is_refused(url: str, stores: Stores) -> None:
    await stores.close()
    _execute(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="9999"):
        await stores.open()
    with pytest.raises(UnavailableError):
        await stores.conversation.list_rooms()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be mistaken" * 50)
    with pytest.raises(ConfigurationError, match=r"notes\.txt"):
        await make_stores(f"sqlite:///{tmp_path}/notes.txt").open()


async def test_a_path_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "salon.db"):
        with pytest.raises(ConfigurationError, match="cannot create"):
            await make_stores(f"sqlite:///{path}").open()


async def test_a_database_locked_for_long_is_unavailable(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "BUSY_TIMEOUT_MS", 10)
    stores = make_stores(url)
    await stores.open()
    await new_room(stores.conversation)
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="locked"):
        await stores.conversation.commit_event(make_event(), at=later(1))
    assert await indices(stores.conversation) == []
    other.execute("ROLLBACK")
    other.close()
    assert (await stores.conversation.commit_event(make_event(), at=later(2))).index == 0
    await stores.close()


async def test_a_read_that_fails_is_unavailable(url: str, stores: Stores) -> None:
    _execute(url, "DROP TABLE tasks")
    with pytest.raises(UnavailableError, match="cannot read"):
        await stores.conversation.list_tasks("room")


async def test_values_that_json_cannot_hold_are_refused(stores: Stores) -> None:
    await new_room(stores.conversation)
    with pytest.raises(ValueError, match="serialize"):
        await stores.conversation.commit_event(make_event(metadata={"a": object()}), at=later(1))
    with pytest.raises(ValueError, match="serialize"):
        await stores.conversation.patch_room_metadata("room", {"a": object()})
    assert await indices(stores.conversation) == []


async def test_cancelled_reads_and_writes_keep_the_connections(stores: Stores) -> None:
    await new_room(stores.conversation)
    for turns in range(15):
        pending = [
            asyncio.create_task(stores.conversation.list_rooms()),
            asyncio.create_task(stores.conversation.patch_room_metadata("room", {"n": turns})),
        ]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    assert await stores.conversation.patch_room_metadata("room", {"n": "last"}) is not None
    (room,) = await stores.conversation.list_rooms()
    assert room.metadata == {"n": "last"}


async def test_pragmas(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "salon.db")
    await database.open()

    def pragmas(connection: Connection) -> list[Any]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert await database.read(pragmas) == ["wal", 2, 1, 5000]
    assert await database.write(pragmas) == ["wal", 2, 1, 5000]
    await database.close()
