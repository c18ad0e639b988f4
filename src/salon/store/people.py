"""Identities in a SQL database."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from salon.core.errors import IdentityNotFoundError
from salon.core.memory.people import Place, places, with_address, without_address
from salon.core.ports.store import AddressLinkedError
from salon.models.identity import Identity
from salon.store import rows
from salon.store.queries import SqlPart
from salon.store.schema import addresses, identities

_Change = Callable[[Identity | None], Identity | None]
"""What becomes of somebody; None: nothing is written."""


class SqlPeople(SqlPart):
    """Within an organization an address is one person's (R174)."""

    async def create_identity(self, identity: Identity) -> Identity:
        made = identity.model_copy(deep=True)

        def change(known: Identity | None) -> Identity:
            if known is not None:
                raise ValueError(f"identity {made.id!r} exists")
            return made

        await self._write(made.id, change)
        return made

    async def get_identity(self, identity_id: str) -> Identity | None:
        query = select(identities.c.document).where(identities.c.id == identity_id)
        return await self._first(query, rows.identity_from)

    async def update_identity(self, identity: Identity) -> Identity:
        made = identity.model_copy(deep=True)

        def change(known: Identity | None) -> Identity:
            if known is None:
                raise IdentityNotFoundError(made.id)
            return made

        await self._write(made.id, change)
        return made

    async def resolve_identity(
        self, channel_type: str, address: str, organization_id: str | None = None
    ) -> Identity | None:
        query = (
            select(identities.c.document)
            .join(addresses, addresses.c.identity_id == identities.c.id)
            .where(_at((organization_id, str(channel_type), address)))
        )
        return await self._first(query, rows.identity_from)

    async def link_address(
        self,
        identity_id: str,
        channel_type: str,
        address: str,
        organization_id: str | None = None,
    ) -> Identity:
        def change(known: Identity | None) -> Identity:
            if known is None or known.organization_id != organization_id:
                raise IdentityNotFoundError(identity_id)
            return with_address(known, channel_type, address)

        linked = await self._write(identity_id, change)
        assert linked is not None
        return linked

    async def unlink_address(
        self,
        identity_id: str,
        channel_type: str,
        address: str,
        organization_id: str | None = None,
    ) -> bool:
        place = (organization_id, str(channel_type), address)

        def change(known: Identity | None) -> Identity | None:
            if known is None or place not in places(known):
                return None
            return without_address(known, channel_type, address)

        return await self._write(identity_id, change) is not None

    async def _write(self, identity_id: str, change: _Change) -> Identity | None:
        def work(connection: Connection) -> Identity | None:
            this = identities.c.id == identity_id
            query = select(identities.c.document).where(this).with_for_update()
            row = connection.execute(query).mappings().first()
            known = None if row is None else rows.identity_from(row)
            made = change(known)
            if made is not None and made is not known:
                _store(connection, made, new=known is None)
            return made

        try:
            return await self._database.write(work)
        except IntegrityError:
            # Somebody else was faster: now it shows who has what.
            return await self._database.write(work)


def _store(connection: Connection, identity: Identity, *, new: bool) -> None:
    wanted = list(dict.fromkeys(places(identity)))
    for place in wanted:
        held = connection.execute(select(addresses.c.identity_id).where(_at(place))).scalar()
        if held not in (None, identity.id):
            raise AddressLinkedError(place[1], place[2])
    values = rows.identity_row(identity)
    if new:
        connection.execute(insert(identities), values)
    else:
        this = identities.c.id == identity.id
        connection.execute(update(identities).where(this).values(values))
        connection.execute(delete(addresses).where(addresses.c.identity_id == identity.id))
    if wanted:
        names = ("organization_id", "channel_type", "address")
        linked = [
            {"identity_id": identity.id, **dict(zip(names, place, strict=True))} for place in wanted
        ]
        connection.execute(insert(addresses), linked)


def _at(place: Place) -> ColumnElement[bool]:
    organization_id, kind, address = place
    column = addresses.c.organization_id
    scope = column.is_(None) if organization_id is None else column == organization_id
    return scope & (addresses.c.channel_type == kind) & (addresses.c.address == address)
