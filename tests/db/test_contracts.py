"""PostgreSQL holds the contracts of the stores."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.db.conftest import execute
from tests.unit.store.test_same_as_memory import StillClock, compare

from salon.core.memory.store import InMemoryStore
from salon.core.routing import DefaultInboundRoomRouter
from salon.store import PostgresStore, SqlCallLog, Stores, make_stores, schema
from salon.testing.contracts import CallLogContract, RouterContract, StoreContract

TABLES = ", ".join(schema.metadata.tables)


@pytest.fixture(scope="module")
def shared_url(server, template) -> str:  # type: ignore[no-untyped-def]
    name = "contracts"
    execute(server.url("postgres"), f"CREATE DATABASE {name} TEMPLATE {template}")
    return str(server.url(name))


@pytest.fixture
async def stores(shared_url: str) -> AsyncIterator[Stores]:
    """Emptying tables is quicker than a new database."""
    execute(shared_url, f"TRUNCATE {TABLES} RESTART IDENTITY")
    stores = make_stores(shared_url)
    await stores.open()
    yield stores
    await stores.close()


@pytest.fixture
def store(stores: Stores) -> PostgresStore:
    assert isinstance(stores.conversation, PostgresStore)
    return stores.conversation


class TestPostgresStore(StoreContract):
    """Chapter 20."""


class TestRouterOnPostgres(RouterContract):
    @pytest.fixture
    def router(self, store: PostgresStore) -> DefaultInboundRoomRouter:
        return DefaultInboundRoomRouter(store)


class TestPostgresCallLog(CallLogContract):
    @pytest.fixture
    def calls(self, stores: Stores) -> SqlCallLog:
        assert isinstance(stores.calls, SqlCallLog)
        return stores.calls


@pytest.mark.parametrize("seed", range(2))
async def test_R208_it_behaves_as_the_one_in_memory(
    shared_url: str, stores: Stores, seed: int
) -> None:
    clock = StillClock()
    store = PostgresStore(shared_url, clock=clock)
    await store.open()
    await compare(InMemoryStore(clock=clock), store, seed)
    await store.close()
