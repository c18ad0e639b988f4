"""What is known of a room: its timeline, what hooks see of it, and who has read how far."""

from __future__ import annotations

from salon.core.context import Contexts
from salon.core.permissions import history_for
from salon.core.ports.store import ConversationStore
from salon.core.tenancy import Tenancy
from salon.models import (
    EventFilter,
    Observation,
    ParticipantStatus,
    RoomContext,
    RoomEvent,
    Task,
    TaskStatus,
)


class Reading:
    """Answers from the store; nothing changes by it but read positions."""

    def __init__(self, store: ConversationStore, *, contexts: Contexts) -> None:
        self._store = store
        self._contexts = contexts
        self._tenancy = Tenancy(store)

    async def timeline(
        self,
        room_id: str,
        offset: int = 0,
        limit: int = 50,
        visibility_filter: str | None = None,
        *,
        after_index: int | None = None,
        before_index: int | None = None,
        newest_first: bool = False,
        include_blocked: bool = False,
        organization_id: str | None = None,
    ) -> list[RoomEvent]:
        """A page of a room's events in ascending order (R210); with `newest_first` it is counted
        from the end. The indexes are exclusive. Raises `RoomNotFoundError`."""
        await self._tenancy.room(room_id, organization_id)
        return await self._store.list_events(
            room_id,
            offset,
            limit,
            visibility_filter,
            after_index=after_index,
            before_index=before_index,
            newest_first=newest_first,
            event_filter=EventFilter(include_blocked=include_blocked),
        )

    async def context(self, room_id: str, *, organization_id: str | None = None) -> RoomContext:
        """What hooks see of a room now. Raises `RoomNotFoundError`."""
        await self._tenancy.check(room_id, organization_id)
        return await self._contexts.build(room_id)

    async def history(
        self, room_id: str, channel_id: str, *, organization_id: str | None = None
    ) -> tuple[RoomEvent, ...]:
        """The recent messages as a channel may know them (R80). Raises `RoomNotFoundError`."""
        context = await self.context(room_id, organization_id=organization_id)
        return history_for(channel_id, context.recent_events, context.bindings)

    async def is_member(
        self, room_id: str, identity_id: str, *, organization_id: str | None = None
    ) -> bool:
        """Whether somebody of this identity takes part in a room now. Raises `RoomNotFoundError`
        for a room of another organization."""
        await self._tenancy.check(room_id, organization_id)
        return any(
            person.identity_id == identity_id and person.status is ParticipantStatus.ACTIVE
            for person in await self._store.list_participants(room_id)
        )

    async def tasks(
        self, room_id: str, status: TaskStatus | None = None, *, organization_id: str | None = None
    ) -> list[Task]:
        """The tasks that hooks and channels left in a room."""
        await self._tenancy.check(room_id, organization_id)
        return await self._store.list_tasks(room_id, status)

    async def observations(
        self, room_id: str, *, organization_id: str | None = None
    ) -> list[Observation]:
        """What hooks and channels noticed in a room."""
        await self._tenancy.check(room_id, organization_id)
        return await self._store.list_observations(room_id)

    # -- read positions ---------------------------------------------------------------------------

    async def mark(
        self, room_id: str, channel_id: str, event_id: str, *, organization_id: str | None = None
    ) -> None:
        """A channel has read up to an event (R214)."""
        await self._tenancy.check(room_id, organization_id)
        await self._store.mark_read(room_id, channel_id, event_id)

    async def mark_all(
        self, room_id: str, channel_id: str, *, organization_id: str | None = None
    ) -> None:
        """A channel has read everything (R214)."""
        await self._tenancy.check(room_id, organization_id)
        await self._store.mark_all_read(room_id, channel_id)

    async def unread(
        self, room_id: str, channel_id: str, *, organization_id: str | None = None
    ) -> int:
        """How many events come after a channel's mark; all of them without one."""
        await self._tenancy.check(room_id, organization_id)
        return await self._store.get_unread_count(room_id, channel_id)

    async def markers(self, room_id: str, *, organization_id: str | None = None) -> dict[str, int]:
        """The index up to which each channel has read."""
        await self._tenancy.check(room_id, organization_id)
        return await self._store.list_read_markers(room_id)
