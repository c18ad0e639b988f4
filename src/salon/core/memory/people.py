"""Identities in memory, found by address."""

from __future__ import annotations

from collections.abc import Iterator

from salon.core.errors import IdentityNotFoundError
from salon.core.memory.copies import owned
from salon.core.ports.store import AddressLinkedError
from salon.models.identity import Identity

Place = tuple[str | None, str, str]
"""Organization, channel type, address."""


class People:
    """Within an organization an address is one person's (R174)."""

    def __init__(self) -> None:
        self._people: dict[str, Identity] = {}
        self._places: dict[Place, str] = {}

    def create(self, identity: Identity) -> Identity:
        if identity.id in self._people:
            raise ValueError(f"identity {identity.id!r} exists")
        return self._store(identity)

    def get(self, identity_id: str) -> Identity | None:
        return self._people.get(identity_id)

    def update(self, identity: Identity) -> Identity:
        if identity.id not in self._people:
            raise IdentityNotFoundError(identity.id)
        return self._store(identity)

    def resolve(self, kind: str, address: str, organization_id: str | None) -> Identity | None:
        name = self._places.get((organization_id, str(kind), address))
        return None if name is None else self._people[name]

    def link(
        self, identity_id: str, kind: str, address: str, organization_id: str | None
    ) -> Identity:
        known = self._people.get(identity_id)
        if known is None or known.organization_id != organization_id:
            raise IdentityNotFoundError(identity_id)
        return self._store(with_address(known, kind, address))

    def unlink(
        self, identity_id: str, kind: str, address: str, organization_id: str | None
    ) -> bool:
        if self._places.get((organization_id, str(kind), address)) != identity_id:
            return False
        self._store(without_address(self._people[identity_id], kind, address))
        return True

    def _store(self, identity: Identity) -> Identity:
        stored = owned(identity)
        wanted = set(places(stored))
        for place in wanted:
            if self._places.get(place, stored.id) != stored.id:
                raise AddressLinkedError(place[1], place[2])
        known = self._people.get(stored.id)
        for place in () if known is None else places(known):
            self._places.pop(place, None)
        self._places.update(dict.fromkeys(wanted, stored.id))
        self._people[stored.id] = stored
        return stored


def places(identity: Identity) -> Iterator[Place]:
    """Where somebody is found."""
    for kind, addresses in identity.channel_addresses.items():
        for address in addresses:
            yield identity.organization_id, str(kind), address


def with_address(identity: Identity, kind: str, address: str) -> Identity:
    """Somebody with one more address; the same if they have it."""
    own = identity.channel_addresses
    if address in own.get(kind, ()):
        return identity
    linked = {**own, str(kind): [*own.get(kind, ()), address]}
    return identity.model_copy(update={"channel_addresses": linked})


def without_address(identity: Identity, kind: str, address: str) -> Identity:
    """Somebody with one address less."""
    left = [item for item in identity.channel_addresses.get(kind, ()) if item != address]
    others = {name: own for name, own in identity.channel_addresses.items() if name != kind}
    if left:
        others[str(kind)] = left
    return identity.model_copy(update={"channel_addresses": others})
