"""PostgreSQL holds the contracts of the stores."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.db.conftest import execute

from salon.store import PostgresStore, SqlCallLog, Stores, make_stores
from salon.testing.contracts import CallLogContract, StoreContract

TABLES = "rooms, events, bindings, participants, tasks, observations, calls"


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


class TestPostgresStore(StoreContract):
    @pytest.fixture
    def store(self, stores: Stores) -> PostgresStore:
        assert isinstance(stores.conversation, PostgresStore)
        return stores.conversation


class TestPostgresCallLog(CallLogContract):
    @pytest.fixture
    def calls(self, stores: Stores) -> SqlCallLog:
        assert isinstance(stores.calls, SqlCallLog)
        return stores.calls
