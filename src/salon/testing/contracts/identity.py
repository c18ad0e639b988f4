"""The contract of `IdentityResolver`s that look addresses up."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

from typing import Final

from salon.identity import Identity, IdentityResolver
from salon.models import (
    ChannelType,
    IdentificationStatus,
    InboundMessage,
    Room,
    RoomContext,
    TextContent,
)
from salon.testing.contracts.samples import make_binding

ANN: Final = Identity(
    id="ann",
    display_name="Ann",
    email="ann@example.org",
    phone="+15550001",
    channel_addresses={"sms": ["+15550001", "+15550009"], "email": ["ann@example.org"]},
    external_ids={"crm": "7"},
    metadata={"tier": "gold"},
)
OF_A: Final = Identity(
    id="bob-a", organization_id="a", channel_addresses={"sms": ["+15550002", "+15550003"]}
)
OF_B: Final = Identity(id="bob-b", organization_id="b", channel_addresses={"sms": ["+15550002"]})
PEOPLE: Final = (ANN, OF_A, OF_B)
"""Whom a resolver under test must know."""


def make_message(address: str, channel_id: str = "phone") -> InboundMessage:
    """A message from an address."""
    return InboundMessage(
        channel_id=channel_id, sender_id=address, content=TextContent(body="hello")
    )


def make_context(
    organization_id: str | None = None, channel_type: str = ChannelType.SMS
) -> RoomContext:
    """A room of an organization with the channel ``phone``."""
    binding = make_binding("phone", channel_type=channel_type)
    return RoomContext(Room(id="room", organization_id=organization_id), (binding,))


class IdentityResolverContract:
    """Give it a `resolver` fixture: one that knows exactly `PEOPLE`."""

    async def _who(
        self,
        resolver: IdentityResolver,
        address: str,
        organization_id: str | None = None,
        channel_type: str = ChannelType.SMS,
    ) -> str | None:
        context = make_context(organization_id, channel_type)
        result = await resolver.resolve(make_message(address), context)
        if result.status is IdentificationStatus.IDENTIFIED:
            assert result.identity is not None
            return result.identity.id
        assert (result.status, result.identity) == (IdentificationStatus.UNKNOWN, None)
        assert result.candidates == ()
        return None

    async def test_a_known_address_is_identified(self, resolver: IdentityResolver) -> None:
        result = await resolver.resolve(make_message("+15550001"), make_context())
        assert result.status is IdentificationStatus.IDENTIFIED
        assert result.identity == ANN
        assert await self._who(resolver, "+15550009") == "ann"

    async def test_an_unknown_address_is_unknown(self, resolver: IdentityResolver) -> None:
        assert await self._who(resolver, "+15559999") is None
        assert await self._who(resolver, "") is None

    async def test_an_address_counts_for_its_channel_type_only(
        self, resolver: IdentityResolver
    ) -> None:
        email = ChannelType.EMAIL
        assert await self._who(resolver, "ann@example.org", channel_type=email) == "ann"
        assert await self._who(resolver, "ann@example.org") is None
        assert await self._who(resolver, "+15550001", channel_type=email) is None

    async def test_an_unknown_channel_finds_nobody(self, resolver: IdentityResolver) -> None:
        result = await resolver.resolve(make_message("+15550001", "other"), make_context())
        assert result.status is IdentificationStatus.UNKNOWN

    async def test_R174_lookups_stay_within_the_organization(
        self, resolver: IdentityResolver
    ) -> None:
        assert await self._who(resolver, "+15550002", "a") == "bob-a"
        assert await self._who(resolver, "+15550002", "b") == "bob-b"
        assert await self._who(resolver, "+15550003", "b") is None
        assert await self._who(resolver, "+15550003", "c") is None

    async def test_R174_an_address_without_organization_is_invisible_to_a_scoped_lookup(
        self, resolver: IdentityResolver
    ) -> None:
        assert await self._who(resolver, "+15550001", "a") is None
        assert await self._who(resolver, "+15550003") is None

    async def test_asking_again_gives_the_same(self, resolver: IdentityResolver) -> None:
        first = await resolver.resolve(make_message("+15550001"), make_context())
        assert await resolver.resolve(make_message("+15550001"), make_context()) == first
