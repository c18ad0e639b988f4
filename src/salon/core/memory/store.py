"""Everything in memory: the library's default and the reference for other stores."""

from __future__ import annotations

from salon.core.memory.events import MemoryEvents
from salon.core.memory.members import MemoryMembers
from salon.core.memory.rooms import MemoryRooms
from salon.models.identity import Identity


class InMemoryStore(MemoryRooms, MemoryEvents, MemoryMembers):
    """Shares with its readers all that is frozen. What finds or pages costs the same however much
    there is; deletions move a list of indices."""

    is_process_local = True

    # -- identities -------------------------------------------------------------------------------

    async def create_identity(self, identity: Identity) -> Identity:
        return self._people.create(identity)

    async def get_identity(self, identity_id: str) -> Identity | None:
        return self._people.get(identity_id)

    async def update_identity(self, identity: Identity) -> Identity:
        return self._people.update(identity)

    async def resolve_identity(
        self, channel_type: str, address: str, organization_id: str | None = None
    ) -> Identity | None:
        return self._people.resolve(channel_type, address, organization_id)

    async def link_address(
        self,
        identity_id: str,
        channel_type: str,
        address: str,
        organization_id: str | None = None,
    ) -> Identity:
        return self._people.link(identity_id, channel_type, address, organization_id)

    async def unlink_address(
        self,
        identity_id: str,
        channel_type: str,
        address: str,
        organization_id: str | None = None,
    ) -> bool:
        return self._people.unlink(identity_id, channel_type, address, organization_id)
