"""Resolvers that know people."""

from __future__ import annotations

import pytest

from salon.identity import (
    Identity,
    InMemoryIdentityResolver,
    MockIdentityResolver,
    StoreIdentityResolver,
)
from salon.models import IdentificationStatus as Status
from salon.testing.contracts.identity import (
    ANN,
    PEOPLE,
    IdentityResolverContract,
    make_context,
    make_message,
)

BOB = Identity(id="bob")
CARL = Identity(id="carl", channel_addresses={"sms": ["+15550001"]})


class TestInMemoryIdentityResolver(IdentityResolverContract):
    """Holds the contract."""

    @pytest.fixture
    def resolver(self) -> InMemoryIdentityResolver:
        return InMemoryIdentityResolver(PEOPLE)


class TestStoreIdentityResolver(IdentityResolverContract):
    """Holds the contract, with a lookup in memory."""

    @pytest.fixture
    def resolver(self) -> StoreIdentityResolver:
        return StoreIdentityResolver(InMemoryIdentityResolver(PEOPLE))


async def test_a_shared_address_is_ambiguous() -> None:
    resolver = InMemoryIdentityResolver([ANN, CARL])
    result = await resolver.resolve(make_message("+15550001"), make_context())
    assert result.status is Status.AMBIGUOUS
    assert result.candidates == (ANN, CARL)
    assert result.identity is None
    assert (result.address, result.channel_type) == ("+15550001", "sms")
    assert await resolver.resolve_identity("sms", "+15550001") is None
    await resolver.close()


async def test_the_directory_grows() -> None:
    resolver = InMemoryIdentityResolver()
    assert await resolver.get_identity("ann") is None
    assert await resolver.create_identity(ANN) == ANN
    assert await resolver.get_identity("ann") == ANN
    assert await resolver.resolve_identity("sms", "+15550001") == ANN
    with pytest.raises(ValueError, match="'ann' exists"):
        await resolver.create_identity(ANN)


async def test_an_address_may_be_linked_later() -> None:
    resolver = InMemoryIdentityResolver([ANN])
    linked = await resolver.link_address("ann", "telegram", "42")
    assert linked.channel_addresses["telegram"] == ["42"]
    assert "telegram" not in ANN.channel_addresses
    assert await resolver.resolve_identity("telegram", "42") == linked
    assert await resolver.resolve_identity("sms", "+15550001") == linked
    assert await resolver.link_address("ann", "telegram", "42") is linked
    with pytest.raises(KeyError):
        await resolver.link_address("nobody", "telegram", "42")


async def test_an_address_listed_twice_is_one() -> None:
    twice = Identity(id="twice", channel_addresses={"sms": ["+1", "+1"]})
    assert await InMemoryIdentityResolver([twice]).resolve_identity("sms", "+1") == twice


async def test_R174_a_linked_address_belongs_to_the_identitys_organization() -> None:
    resolver = InMemoryIdentityResolver([Identity(id="a", organization_id="o")])
    await resolver.link_address("a", "sms", "+1")
    assert await resolver.resolve_identity("sms", "+1") is None
    found = await resolver.resolve_identity("sms", "+1", "o")
    assert found is not None
    assert found.id == "a"


async def test_the_mock_says_what_it_was_told() -> None:
    mock = MockIdentityResolver(
        mapping={"ann-phone": ANN},
        ambiguous={"shared-phone": [ANN, BOB]},
        unknown_status=Status.REJECTED,
    )
    results = [
        await mock.resolve(make_message(sender), make_context())
        for sender in ("ann-phone", "shared-phone", "else")
    ]
    assert [item.status for item in results] == [
        Status.IDENTIFIED,
        Status.AMBIGUOUS,
        Status.REJECTED,
    ]
    assert [item.identity for item in results] == [ANN, None, None]
    assert results[1].candidates == (ANN, BOB)
    assert [item.address for item in results] == ["ann-phone", "shared-phone", "else"]
    assert [message.sender_id for message in mock.calls] == ["ann-phone", "shared-phone", "else"]


async def test_a_mock_without_a_script_knows_nobody() -> None:
    result = await MockIdentityResolver().resolve(make_message("x"), make_context())
    assert result.status is Status.UNKNOWN
