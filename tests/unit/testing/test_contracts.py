"""The contracts of ports, as somebody with an implementation of their own would use them."""

from __future__ import annotations

from datetime import datetime

import pytest

import salon.testing
from salon.core.memory.calls import MemoryCallLog
from salon.core.memory.store import MemoryStore
from salon.testing.contracts import CallLogContract, StoreContract


class TestMyStore(StoreContract):
    """All tests of the contract run for the store of this fixture."""

    @pytest.fixture
    async def store(self) -> MemoryStore:
        store = MemoryStore()
        await store.open()
        return store


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


@pytest.mark.parametrize("contract", [StoreContract, CallLogContract])
def test_contracts_are_not_collected_by_themselves(contract: type) -> None:
    assert not contract.__name__.startswith("Test")
    assert len([name for name in dir(contract) if name.startswith("test_")]) >= 3


@pytest.mark.parametrize("name", salon.testing.__all__)
def test_public_names_are_there(name: str) -> None:
    assert hasattr(salon.testing, name)
