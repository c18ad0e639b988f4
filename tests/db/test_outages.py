"""A server that stops, restarts, crashes or refuses."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable

import pytest
from tests.db.conftest import execute
from tests.db.server import PASSWORD, Server

from salon.base import ConfigurationError, UnavailableError
from salon.models import RoomEvent
from salon.store import OutcomeUnknownError, PostgresStore, Stores, make_stores
from salon.store import postgres as postgres_module
from salon.testing.contracts.samples import indices, later, make_event, new_room

STOP_ALL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


async def open_store(url: str) -> PostgresStore:
    store = make_stores(url).conversation
    assert isinstance(store, PostgresStore)
    await store.open()
    return store


async def test_a_restart_between_calls_is_not_noticed(own_server: Server) -> None:
    store = await open_store(own_server.url("postgres"))
    await new_room(store)
    await asyncio.gather(*(store.commit_event(make_event(), at=later(n)) for n in range(5)))
    for mode in ("fast", "immediate"):
        await asyncio.to_thread(own_server.stop, mode)
        with pytest.raises(UnavailableError, match="postgresql://salon:\\*\\*\\*@127") as caught:
            await store.commit_event(make_event(), at=later(1))
        assert not isinstance(caught.value, OutcomeUnknownError)
        with pytest.raises(UnavailableError, match="cannot read from"):
            await store.get_room("room")
        await asyncio.to_thread(own_server.start)
        before = len(await indices(store))
        assert (await store.commit_event(make_event(), at=later(1))).index == before
    await asyncio.to_thread(own_server.stop)
    await asyncio.to_thread(own_server.start)
    assert len(await indices(store)) == 7
    assert (await store.commit_event(make_event(), at=later(1))).index == 7
    await store.close()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_R99_a_restart_under_load_loses_nothing_that_was_told(
    own_server: Server, mode: str
) -> None:
    """`immediate` is a crash: the server recovers from its log."""
    store = await open_store(own_server.url("postgres"))
    rooms = ["a", "b", "c", "d"]
    for name in rooms:
        await new_room(store, name)
    acknowledged: dict[str, list[int]] = {name: [] for name in rooms}
    errors: list[BaseException] = []
    halt = asyncio.Event()

    async def write(name: str) -> None:
        while not halt.is_set():
            try:
                event = await store.commit_event(make_event(name), at=later(1))
            except UnavailableError as error:
                errors.append(error)
                await asyncio.sleep(0.02)
            else:
                acknowledged[name].append(event.index)

    async def told(more: int) -> None:
        goal = {name: len(numbers) + more for name, numbers in acknowledged.items()}
        async with asyncio.timeout(60):
            while any(len(acknowledged[name]) < goal[name] for name in rooms):
                await asyncio.sleep(0.01)

    writers = [asyncio.create_task(write(name)) for name in rooms * 2]
    await told(30)
    await asyncio.to_thread(own_server.stop, mode)
    while not errors:
        await asyncio.sleep(0.01)
    await asyncio.to_thread(own_server.start)
    await told(30)
    halt.set()
    await asyncio.gather(*writers)
    unknown = sum(isinstance(error, OutcomeUnknownError) for error in errors)
    assert all("postgresql://salon:***@" in str(error) for error in errors)
    assert not any(PASSWORD in str(error) for error in errors)
    stored = 0
    for name in rooms:
        found = await indices(store, name)
        room = await store.get_room(name)
        assert room is not None
        assert found == list(range(len(found)))
        assert (room.event_count, room.latest_index) == (len(found), len(found) - 1)
        assert set(acknowledged[name]) <= set(found)
        assert len(set(acknowledged[name])) == len(acknowledged[name])
        stored += len(found)
    told_all = sum(len(numbers) for numbers in acknowledged.values())
    assert told_all <= stored <= told_all + unknown  # only what was called unknown may be there
    await store.close()


async def test_connections_that_were_cut_are_replaced_unnoticed(url: str, stores: Stores) -> None:
    store = stores.conversation
    await new_room(store)
    await asyncio.gather(*(store.get_room("room") for _ in range(8)))
    execute(url, STOP_ALL)
    assert await store.get_room("room") is not None
    assert (await store.commit_event(make_event(), at=later(1))).index == 0
    execute(url, STOP_ALL)
    assert (await store.commit_event(make_event(), at=later(1))).index == 1


async def test_a_commit_cut_off_says_that_it_may_have_happened(url: str, stores: Stores) -> None:
    """The server commits slowly, and is cut off meanwhile."""
    await new_room(stores.conversation)
    execute(
        url,
        """
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_sleep(20); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION slow();
        """,
    )
    call = asyncio.create_task(stores.conversation.commit_event(make_event(), at=later(1)))
    sleeping = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    async with asyncio.timeout(15):
        while not execute(url, sleeping):
            await asyncio.sleep(0.02)
    execute(url, STOP_ALL)
    with pytest.raises(OutcomeUnknownError, match="may have happened or not") as caught:
        await call
    assert caught.value.code == "outcome_unknown"
    assert await indices(stores.conversation) == []


async def test_a_room_that_others_hold_stops_only_itself(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    monkeypatch.setattr(postgres_module, "LOCK_TIMEOUT_MS", 700)
    store = await open_store(url)
    await new_room(store)
    await new_room(store, "other")
    with psycopg.connect(url) as holder:
        holder.execute("SELECT 1 FROM rooms WHERE id = 'room' FOR UPDATE")
        held = asyncio.create_task(store.commit_event(make_event(), at=later(1)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for number in range(20):
            event = await store.commit_event(make_event("other"), at=later(1))
            assert event.index == number
        assert not held.done()
        with pytest.raises(UnavailableError, match="lock timeout"):
            await held
        holder.rollback()
    assert (await store.commit_event(make_event(), at=later(1))).index == 0
    await store.close()


async def test_refusals_name_what_is_wrong_and_no_password(
    server: Server, new_database: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    good = server.url("postgres")
    wrong = good.replace("salon:", "salon:x")
    ascii_only = server.url("narrow")
    execute(good, "CREATE DATABASE narrow ENCODING SQL_ASCII LOCALE 'C' TEMPLATE template0")
    for url, said in (
        (wrong, "password authentication failed"),
        (server.url("missing"), "does not exist"),
        (ascii_only, "UTF8"),
    ):
        store = make_stores(url).conversation
        with pytest.raises(ConfigurationError, match=said) as caught:
            await store.open()
        shown = "".join(traceback.format_exception(caught.value)) + caplog.text
        for secret in (PASSWORD, good.split(":")[2].split("@")[0]):
            assert secret not in shown


async def test_errors_do_not_tell_what_was_said(
    url: str, stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    words = "hush" + "!"  # so that no line of this test holds them
    await new_room(stores.conversation)
    await stores.conversation.commit_event(make_event(id="e"), at=later(1))
    with pytest.raises(ValueError, match="'e' exists") as caught:
        await stores.conversation.commit_event(make_event(id="e", words=words), at=later(2))
    execute(url, "ALTER TABLE events RENAME TO gone")
    with pytest.raises(UnavailableError, match=r"cannot write to .*events") as lost:
        await stores.conversation.commit_event(make_event(words=words), at=later(3))
    for error in (caught.value, lost.value):
        assert words not in "".join(traceback.format_exception(error)) + caplog.text


async def test_cancelled_calls_keep_the_connections(stores: Stores) -> None:
    store = stores.conversation
    await new_room(store)
    for turns in range(15):
        pending: list[asyncio.Task[object]] = [
            asyncio.create_task(store.list_rooms()),
            asyncio.create_task(store.commit_event(make_event(), at=later(turns))),
            asyncio.create_task(store.patch_room_metadata("room", {"n": turns})),
        ]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    last = await store.commit_event(make_event(), at=later(99))
    assert isinstance(last, RoomEvent)
    assert await indices(store) == list(range(last.index + 1))
