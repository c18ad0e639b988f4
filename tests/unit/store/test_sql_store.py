"""The SQL stores hold the contracts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from salon.store import SqlCallLog, SqlStore, Stores, make_stores
from salon.testing.contracts import CallLogContract, StoreContract


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    stores = make_stores(f"sqlite:///{tmp_path}/salon.db")
    await stores.open()
    yield stores
    await stores.close()


class TestSqlStore(StoreContract):
    @pytest.fixture
    def store(self, stores: Stores) -> SqlStore:
        assert isinstance(stores.conversation, SqlStore)
        return stores.conversation


class TestSqlCallLog(CallLogContract):
    @pytest.fixture
    def calls(self, stores: Stores) -> SqlCallLog:
        assert isinstance(stores.calls, SqlCallLog)
        return stores.calls
