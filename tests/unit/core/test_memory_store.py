"""The stores in memory hold the contracts."""

from __future__ import annotations

import pytest

from salon.core.memory import calls as module
from salon.core.memory.calls import MemoryCallLog
from salon.core.memory.store import MemoryStore
from salon.core.ports.calls import CallRecord
from salon.testing.contracts import CallLogContract, StoreContract
from salon.testing.contracts.samples import later


class TestMemoryStore(StoreContract):
    @pytest.fixture
    async def store(self) -> MemoryStore:
        store = MemoryStore()
        await store.open()
        return store

    async def test_R201_nothing_else_writes_to_it(self, store: MemoryStore) -> None:
        assert store.is_process_local
        await store.close()
        await store.close()


class TestMemoryCallLog(CallLogContract):
    @pytest.fixture
    def calls(self) -> MemoryCallLog:
        return MemoryCallLog()

    async def test_only_the_newest_are_kept(
        self, calls: MemoryCallLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "KEPT", 3)
        calls = MemoryCallLog()
        for number in range(5):
            await calls.started(CallRecord(str(number), "room", later(number)))
            await calls.ended(str(number), at=later(9), reason="hangup")
        assert [item.id for item in await calls.list_calls()] == ["4", "3", "2"]
