"""Identities in a store."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

import asyncio

import pytest

from salon.core.errors import IdentityNotFoundError
from salon.core.ports.store import AddressLinkedError, ConversationStore
from salon.models import ChannelType
from salon.models.identity import Identity


class PeopleContract:
    """Creation, change, addresses."""

    async def test_R208_an_identity_is_read_back_whole(self, store: ConversationStore) -> None:
        identity = Identity(
            id="ann",
            organization_id="org",
            display_name="Ann ü",
            email="ann@example.org",
            phone="+15550001",
            channel_addresses={"sms": ["+15550001", "+15550009"], "email": ["ann@example.org"]},
            external_id="x",
            external_ids={"crm": "7"},
            metadata={"tier": ["gold", {"nul": "\0"}]},
        )
        assert await store.create_identity(identity) == identity
        assert await store.get_identity("ann") == identity
        assert await store.resolve_identity("sms", "+15550009", "org") == identity
        assert await store.get_identity("bob") is None
        with pytest.raises(ValueError, match="'ann'"):
            await store.create_identity(Identity(id="ann"))

    async def test_R102_the_store_owns_its_identity(self, store: ConversationStore) -> None:
        identity = Identity(id="ann", channel_addresses={"sms": ["1"]}, metadata={"a": [1]})
        await store.create_identity(identity)
        identity.channel_addresses["sms"].append("2")
        identity.metadata["a"].append(2)
        known = await store.get_identity("ann")
        assert known == Identity(id="ann", channel_addresses={"sms": ["1"]}, metadata={"a": [1]})
        assert await store.resolve_identity("sms", "2") is None

    async def test_R174_lookups_stay_within_the_organization(
        self, store: ConversationStore
    ) -> None:
        for name, organization in (("a", "x"), ("b", "y"), ("c", None)):
            await store.create_identity(
                Identity(id=name, organization_id=organization, channel_addresses={"sms": ["1"]})
            )

        async def who(organization: str | None, kind: str = "sms", address: str = "1") -> str:
            found = await store.resolve_identity(kind, address, organization)
            return "" if found is None else found.id

        assert [await who(name) for name in ("x", "y", None, "z", "")] == ["a", "b", "c", "", ""]
        assert await who("x", ChannelType.SMS) == "a"
        assert await who("x", "email") == ""
        assert await who("x", "sms", "2") == ""
        assert await who("x", "sms", "") == ""

    async def test_an_address_is_linked_and_unlinked(self, store: ConversationStore) -> None:
        await store.create_identity(Identity(id="ann", channel_addresses={"sms": ["1"]}))
        linked = await store.link_address("ann", ChannelType.SMS, "2")
        assert linked.channel_addresses == {"sms": ["1", "2"]}
        assert await store.link_address("ann", "sms", "2") == linked
        assert await store.resolve_identity("sms", "2") == linked
        linked = await store.link_address("ann", "email", "a@b.org")
        assert await store.get_identity("ann") == linked
        assert linked.channel_addresses == {"sms": ["1", "2"], "email": ["a@b.org"]}
        assert await store.unlink_address("ann", "sms", "1") is True
        assert await store.unlink_address("ann", "sms", "1") is False
        assert await store.unlink_address("ann", "email", "a@b.org") is True
        assert await store.resolve_identity("sms", "1") is None
        known = await store.resolve_identity("sms", "2")
        assert known is not None
        assert known.channel_addresses == {"sms": ["2"]}

    async def test_R174_an_address_is_one_persons_within_an_organization(
        self, store: ConversationStore
    ) -> None:
        held = {"sms": ["1"]}
        await store.create_identity(Identity(id="ann", channel_addresses=held))
        await store.create_identity(Identity(id="bob"))
        await store.create_identity(Identity(id="cid", organization_id="x"))
        with pytest.raises(AddressLinkedError, match="'1'"):
            await store.link_address("bob", "sms", "1")
        with pytest.raises(AddressLinkedError):
            await store.create_identity(Identity(id="dan", channel_addresses=held))
        with pytest.raises(AddressLinkedError):
            await store.update_identity(Identity(id="bob", channel_addresses=held))
        assert await store.get_identity("dan") is None
        assert await store.get_identity("bob") == Identity(id="bob")
        await store.link_address("cid", "sms", "1", "x")
        assert await store.unlink_address("bob", "sms", "1") is False
        assert await store.unlink_address("ann", "sms", "1", "x") is False
        assert await store.unlink_address("ann", "sms", "1") is True
        await store.link_address("bob", "sms", "1")
        found = await store.resolve_identity("sms", "1")
        assert found is not None
        assert found.id == "bob"

    async def test_R174_somebody_of_another_organization_is_not_found(
        self, store: ConversationStore
    ) -> None:
        await store.create_identity(Identity(id="ann", organization_id="x"))
        for organization in (None, "y"):
            with pytest.raises(IdentityNotFoundError):
                await store.link_address("ann", "sms", "1", organization)
        with pytest.raises(IdentityNotFoundError):
            await store.link_address("none", "sms", "1")
        with pytest.raises(IdentityNotFoundError):
            await store.update_identity(Identity(id="none"))
        assert await store.unlink_address("none", "sms", "1") is False
        assert await store.get_identity("ann") == Identity(id="ann", organization_id="x")

    async def test_a_change_takes_the_addresses_along(self, store: ConversationStore) -> None:
        ann = Identity(id="ann", channel_addresses={"sms": ["1", "2"]})
        await store.create_identity(ann)
        changed = ann.model_copy(
            update={
                "organization_id": "x",
                "display_name": "Ann",
                "channel_addresses": {"sms": ["2", "3", "3"]},
            }
        )
        assert await store.update_identity(changed) == changed
        assert await store.resolve_identity("sms", "2") is None
        for address, known in (("1", None), ("2", changed), ("3", changed)):
            assert await store.resolve_identity("sms", address, "x") == known

    async def test_of_many_at_once_one_gets_the_address(self, store: ConversationStore) -> None:
        made = [Identity(id=f"p{number}", channel_addresses={"sms": ["1"]}) for number in range(6)]
        outcomes = await asyncio.gather(
            *(store.create_identity(identity) for identity in made), return_exceptions=True
        )
        winners = [item for item in outcomes if isinstance(item, Identity)]
        assert len(winners) == 1
        assert sum(isinstance(item, AddressLinkedError) for item in outcomes) == 5
        assert await store.resolve_identity("sms", "1") == winners[0]
