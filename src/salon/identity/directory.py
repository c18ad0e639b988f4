"""Resolvers that look addresses up: in memory, or in a store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from salon.core.ports.identity import IdentityResolver
from salon.models import IdentificationStatus, InboundMessage, RoomContext
from salon.models.identity import Identity, IdentityResult


class IdentityLookup(Protocol):
    """The one thing needed of a store. Only an identity of exactly this organization, None
    included, may be found (R174)."""

    async def resolve_identity(
        self, channel_type: str, address: str, organization_id: str | None = None
    ) -> Identity | None: ...


class StoreIdentityResolver(IdentityResolver):
    """The identity that a store has under the sender's address, else UNKNOWN."""

    def __init__(self, store: IdentityLookup) -> None:
        self._store = store

    async def resolve(self, message: InboundMessage, context: RoomContext) -> IdentityResult:
        kind, address = _asked(message, context)
        found = None
        if kind is not None:
            found = await self._store.resolve_identity(kind, address, context.room.organization_id)
        return _result(() if found is None else (found,), kind, address)


class InMemoryIdentityResolver(IdentityResolver):
    """A directory of people in this process, with a store's method names.

    An address that several people of one organization share is AMBIGUOUS. Changes are seen by the
    next `resolve`.
    """

    def __init__(self, identities: Iterable[Identity] = ()) -> None:
        self._identities: dict[str, Identity] = {}
        self._by_address: dict[tuple[str | None, str, str], list[str]] = {}
        for identity in identities:
            self._add(identity)

    async def create_identity(self, identity: Identity) -> Identity:
        """Add somebody; raises `ValueError` if the id exists."""
        return self._add(identity)

    async def get_identity(self, identity_id: str) -> Identity | None:
        """Somebody by id."""
        return self._identities.get(identity_id)

    async def link_address(self, identity_id: str, channel_type: str, address: str) -> Identity:
        """One more address of somebody; raises `KeyError` for an unknown id."""
        known = self._identities[identity_id]
        own = known.channel_addresses
        linked = list(own.get(channel_type, ()))
        if address in linked:
            return known
        addresses = {**own, channel_type: [*linked, address]}
        identity = known.model_copy(update={"channel_addresses": addresses})
        self._identities[identity_id] = identity
        self._index(identity, channel_type, address)
        return identity

    async def resolve_identity(
        self, channel_type: str, address: str, organization_id: str | None = None
    ) -> Identity | None:
        """The one person with this address in this organization; None if there are more."""
        found = self._find(channel_type, address, organization_id)
        return found[0] if len(found) == 1 else None

    async def resolve(self, message: InboundMessage, context: RoomContext) -> IdentityResult:
        kind, address = _asked(message, context)
        found: tuple[Identity, ...] = ()
        if kind is not None:
            found = self._find(kind, address, context.room.organization_id)
        return _result(found, kind, address)

    def _find(self, kind: str, address: str, organization_id: str | None) -> tuple[Identity, ...]:
        ids = self._by_address.get((organization_id, kind, address), ())
        return tuple(self._identities[item] for item in ids)

    def _add(self, identity: Identity) -> Identity:
        if identity.id in self._identities:
            raise ValueError(f"identity {identity.id!r} exists")
        self._identities[identity.id] = identity
        for kind, addresses in identity.channel_addresses.items():
            for address in addresses:
                self._index(identity, kind, address)
        return identity

    def _index(self, identity: Identity, kind: str, address: str) -> None:
        ids = self._by_address.setdefault((identity.organization_id, kind, address), [])
        if identity.id not in ids:
            ids.append(identity.id)


def _asked(message: InboundMessage, context: RoomContext) -> tuple[str | None, str]:
    """The channel type, if it is known, and the address."""
    binding = context.binding(message.channel_id)
    return (None if binding is None else str(binding.channel_type)), message.sender_id


def _result(found: tuple[Identity, ...], kind: str | None, address: str) -> IdentityResult:
    status, identity, candidates = IdentificationStatus.UNKNOWN, None, found
    if len(found) == 1:
        status, identity, candidates = IdentificationStatus.IDENTIFIED, found[0], ()
    elif found:
        status = IdentificationStatus.AMBIGUOUS
    return IdentityResult(
        status=status,
        identity=identity,
        candidates=candidates,
        address=address,
        channel_type=kind,
    )
