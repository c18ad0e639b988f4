"""What PostgreSQL does in its own way: schema, session, values, order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect
from tests.db.conftest import execute
from tests.db.server import Server
from tests.unit.store.old_schema import check, fill

from salon.base import ConfigurationError
from salon.core.errors import DuplicateIndexError
from salon.models import RoomStatus
from salon.store import PostgresDatabase, PostgresStore, Stores, make_stores, schema
from salon.store.migrate import SCRIPTS
from salon.testing.contracts.samples import (
    indices,
    later,
    make_binding,
    make_event,
    make_participant,
    new_room,
)


async def test_migrations_and_schema_agree_and_go_back(new_database: Callable[[], str]) -> None:
    stores = make_stores(new_database())
    await stores.open()
    assert isinstance(stores.conversation, PostgresStore)

    def compare(connection: Connection) -> Any:
        context = MigrationContext.configure(connection)
        return compare_metadata(context, schema.metadata)

    def back(connection: Connection) -> list[str]:
        config = Config()
        config.set_main_option("script_location", str(SCRIPTS))
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        return inspect(connection).get_table_names()

    assert await stores.conversation.database.write(compare) == []
    assert await stores.conversation.database.write(back) == ["alembic_version"]
    await stores.close()


async def test_a_database_of_the_first_version_is_migrated(
    new_database: Callable[[], str],
) -> None:
    url = new_database()
    database = PostgresDatabase(url)
    engine = create_engine(database._url, json_serializer=schema.as_text)
    with engine.begin() as connection:
        fill(connection)
    engine.dispose()
    stores = make_stores(url)
    await stores.open()
    await check(stores.conversation)
    await stores.close()


async def test_several_open_a_new_database_at_once(new_database: Callable[[], str]) -> None:
    url = new_database()
    many = [make_stores(url) for _ in range(4)]
    await asyncio.gather(*(stores.open() for stores in many))
    await new_room(many[0].conversation)
    assert await many[3].conversation.get_room("room") is not None
    for stores in many:
        await stores.close()


async def test_a_newer_schema_is_refused(url: str) -> None:
    execute(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="9999"):
        await make_stores(url).open()


async def test_a_role_that_may_not_create_tables_is_refused(
    server: Server, new_database: Callable[[], str]
) -> None:
    url = new_database()
    execute(url, "CREATE ROLE guest LOGIN PASSWORD 'guest'")
    guest = f"postgresql://guest:guest@127.0.0.1:{server.port}/{url.rpartition('/')[2]}"
    with pytest.raises(ConfigurationError, match="permission denied"):
        await make_stores(guest).open()


async def test_sessions_are_durable_and_bounded(url: str) -> None:
    execute(url, f"ALTER DATABASE {url.rpartition('/')[2]} SET synchronous_commit = off")
    store = PostgresStore(url, pool_size=4)
    await store.init()

    def settings(connection: Connection) -> list[Any]:
        names = (
            "synchronous_commit",
            "fsync",
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
            "transaction_isolation",
            "application_name",
        )
        return [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in names]

    expected = ["on", "on", "30s", "15s", "10s", "read committed", "salon"]
    assert await store.database.write(settings) == expected
    assert await store.database.read(settings) == expected
    await store.close()


async def test_the_pool_is_bounded(url: str) -> None:
    store = PostgresStore(url)
    await store.init(min_size=2, max_size=5)
    name = url.rpartition("/")[2]
    rooms = [f"r{number}" for number in range(30)]
    await asyncio.gather(*(new_room(store, room) for room in rooms))
    await asyncio.gather(*(store.get_room(room) for room in rooms))
    await asyncio.gather(*(store.commit_event(make_event(r), at=later(1)) for r in rooms))
    query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'"
    ((count,),) = execute(url, query)
    assert isinstance(count, int)
    assert 3 <= count - 1 <= 5  # one asks
    await store.close()
    async with asyncio.timeout(20):  # the server's processes end a little later
        while execute(url, query) != [(1,)]:
            await asyncio.sleep(0)


async def test_values_that_text_cannot_hold_are_refused(stores: Stores) -> None:
    store = stores.conversation
    await new_room(store)
    bad, good = await asyncio.gather(
        store.commit_event(make_event(id="a\0b"), at=later(1)),
        store.commit_event(make_event(words="nul \0 in words"), at=later(1)),
        return_exceptions=True,
    )
    assert isinstance(bad, ValueError)
    assert await store.list_events("room") == [good]
    with pytest.raises(ValueError, match="does not take"):
        await store.add_binding(make_binding("a\0b"))
    assert await store.get_room("a\0b") is None
    assert await store.list_events("a\0b") == []


async def test_R181_ids_are_in_the_same_order_in_every_language(server: Server) -> None:
    execute(
        server.url("postgres"),
        "CREATE DATABASE tongues TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'",
    )
    stores = make_stores(server.url("tongues"))
    await stores.open()
    store = stores.conversation
    for name in ("b", "B", "a", "ä"):
        await new_room(store, name, at=1)
        await store.add_binding(make_binding("phone", name))
        await store.add_participant(make_participant(room_id=name))
    found = await store.find_room_ids_by_channel("phone", statuses=[RoomStatus.ACTIVE], limit=9)
    assert found == ["B", "a", "b", "ä"]
    latest = await store.find_latest_room("ann", "voice")
    assert latest is not None
    assert latest.id == "ä"
    await stores.close()


async def test_R96_an_index_in_use_is_refused(url: str, stores: Stores) -> None:
    await new_room(stores.conversation)
    await stores.conversation.commit_event(make_event(), at=later(1))
    execute(url, "UPDATE rooms SET latest_index = NULL")
    with pytest.raises(DuplicateIndexError):
        await stores.conversation.commit_event(make_event(), at=later(2))
    assert await indices(stores.conversation) == [0]


async def test_R98_an_index_is_never_used_again(url: str, stores: Stores) -> None:
    await new_room(stores.conversation)
    for number in range(2):
        await stores.conversation.commit_event(make_event(), at=later(number))
    execute(url, 'DELETE FROM events WHERE "index" = 1')
    assert (await stores.conversation.commit_event(make_event(), at=later(3))).index == 2


async def test_a_batch_is_one_statement_and_one_count(url: str, stores: Stores) -> None:
    store = stores.conversation
    assert isinstance(store, PostgresStore)
    await new_room(store)
    batch = [make_event(words=str(number)) for number in range(1500)]
    stored = await store.commit_events(batch, at=later(1))
    assert [event.index for event in stored] == list(range(1500))
    assert await store.list_events("room", limit=2000) == stored
    ((versions,),) = execute(url, "SELECT count(DISTINCT xmin::text) FROM events")
    assert versions == 1
    with pytest.raises(ValueError, match="exists"):
        await store.commit_events([make_event(), batch[3]], at=later(2))
    assert len(await indices(store)) == 1500


async def test_R210_a_page_costs_the_same_wherever_it_is(url: str, stores: Stores) -> None:
    store = stores.conversation
    assert isinstance(store, PostgresStore)
    await new_room(store)
    for start in range(0, 10_000, 1000):
        batch = [make_event(words=str(start + number)) for number in range(1000)]
        await store.commit_events(batch, at=later(1))
    execute(url, "ANALYZE events")
    for where in ('"index" > 9000 ORDER BY "index"', '"index" < 500 ORDER BY "index" DESC'):
        plan = execute(
            url,
            "EXPLAIN (ANALYZE, TIMING OFF) SELECT document FROM events "
            f"WHERE room_id = 'room' AND status <> 'blocked' AND {where} LIMIT 50",
        )
        text = "\n".join(str(line) for (line,) in plan)
        assert "pk_events" in text
        assert "Sort" not in text
    page = await store.list_events("room", after_index=8999, limit=50)
    assert [event.index for event in page] == list(range(9000, 9050))


async def test_who_looks_for_undelivered_rooms_is_in_nobodys_way(url: str, stores: Stores) -> None:
    """Both lock many rooms at a time: commits and marks here, the search there."""
    store, rooms = stores.conversation, [f"room-{number}" for number in range(12)]
    for name in rooms:
        await new_room(store, name)
    other, over = PostgresStore(url), asyncio.Event()
    await other.open()

    async def write(name: str) -> None:
        number = 0
        while not over.is_set():
            await store.commit_event(make_event(id=f"e{number}", room_id=name), at=later(1))
            await store.advance_delivered_indexes(dict.fromkeys(reversed(rooms), number))
            number += 1

    async def look() -> None:
        while not over.is_set():
            await other.find_undelivered_rooms()

    async with asyncio.TaskGroup() as group:
        for name in rooms:
            group.create_task(write(name))
        for _ in range(3):
            group.create_task(look())
        await asyncio.sleep(2)
        over.set()
    await other.close()
    found = [await store.get_room(name) for name in rooms]
    assert all(room is not None and room.event_count > 0 for room in found)
