"""The SQL stores hold the contracts."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from salon.core.routing import DefaultInboundRoomRouter
from salon.identity.directory import StoreIdentityResolver
from salon.store import SqlCallLog, SqlStore, Stores, make_stores
from salon.store.migrate import bring_up_to_date
from salon.testing.contracts import (
    CallLogContract,
    IdentityResolverContract,
    RouterContract,
    StoreContract,
)
from salon.testing.contracts.identity import PEOPLE


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a schema and nothing in it, made once."""
    path = tmp_path_factory.mktemp("store") / "empty.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        bring_up_to_date(connection)
    engine.dispose()
    return path


@pytest.fixture
async def stores(empty: Path, tmp_path: Path) -> AsyncIterator[Stores]:
    shutil.copy(empty, tmp_path / "salon.db")
    stores = make_stores(f"sqlite:///{tmp_path}/salon.db")
    await stores.open()
    yield stores
    await stores.close()


@pytest.fixture
def store(stores: Stores) -> SqlStore:
    assert isinstance(stores.conversation, SqlStore)
    return stores.conversation


class TestSqlStore(StoreContract):
    """Chapter 20."""


class TestRouterOnSql(RouterContract):
    @pytest.fixture
    def router(self, store: SqlStore) -> DefaultInboundRoomRouter:
        return DefaultInboundRoomRouter(store)


class TestIdentitiesOnSql(IdentityResolverContract):
    @pytest.fixture
    async def resolver(self, store: SqlStore) -> StoreIdentityResolver:
        for identity in PEOPLE:
            await store.create_identity(identity)
        return StoreIdentityResolver(store)


class TestSqlCallLog(CallLogContract):
    @pytest.fixture
    def calls(self, stores: Stores) -> SqlCallLog:
        assert isinstance(stores.calls, SqlCallLog)
        return stores.calls
