"""The contracts of ports, as somebody with an implementation of their own would use them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import pytest

import salon.testing
from salon.core.memory.calls import MemoryCallLog
from salon.core.memory.locks import InMemoryLockManager
from salon.core.memory.store import InMemoryStore
from salon.core.ports.locks import RoomLockManager
from salon.core.routing import DefaultInboundRoomRouter
from salon.models import ChannelBinding
from salon.testing.contracts import (
    CallLogContract,
    LockManagerContract,
    RouterContract,
    StoreContract,
)


@pytest.fixture
async def store() -> InMemoryStore:
    store = InMemoryStore()
    await store.open()
    return store


class TestMyStore(StoreContract):
    """All tests of the contract run for the store of the fixture."""


class TestMyRouter(RouterContract):
    @pytest.fixture
    def router(self, store: InMemoryStore) -> DefaultInboundRoomRouter:
        return DefaultInboundRoomRouter(store)


class TestMyLocks(LockManagerContract):
    @pytest.fixture
    def locks(self) -> InMemoryLockManager:
        return InMemoryLockManager()


class TestMyCallLog(CallLogContract):
    @pytest.fixture
    def calls(self) -> MemoryCallLog:
        return MemoryCallLog()


class _Forgetful(MemoryCallLog):
    async def ended(self, call_id: str, *, at: datetime, reason: str) -> None:
        """Does not note it."""


async def test_an_implementation_that_breaks_the_contract_fails() -> None:
    with pytest.raises(AssertionError):
        await CallLogContract().test_a_call_from_start_to_end(_Forgetful())


class _Unlocked(RoomLockManager):
    @asynccontextmanager
    async def locked(self, room_id: str) -> AsyncIterator[None]:
        yield


async def test_locks_that_lock_nothing_fail() -> None:
    with pytest.raises(AssertionError):
        await LockManagerContract().test_R199_one_at_a_time(_Unlocked())


class _Moved(InMemoryStore):
    async def add_binding(self, binding: ChannelBinding) -> ChannelBinding:
        stored = await super().add_binding(binding)
        self._rooms[binding.room_id].revision -= 1
        return stored


async def test_a_store_that_forgets_the_revision_fails() -> None:
    with pytest.raises(AssertionError):
        await StoreContract().test_the_revision_counts_changes_of_what_is_in_the_room(_Moved())


@pytest.mark.parametrize(
    "contract", [StoreContract, CallLogContract, LockManagerContract, RouterContract]
)
def test_contracts_are_not_collected_by_themselves(contract: type) -> None:
    assert not contract.__name__.startswith("Test")
    assert len([name for name in dir(contract) if name.startswith("test_")]) >= 3


@pytest.mark.parametrize("name", salon.testing.__all__)
def test_public_names_are_there(name: str) -> None:
    assert hasattr(salon.testing, name)
