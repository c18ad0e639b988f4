"""The contract of persistence (chapter 20 of the conversation rules)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from salon.core.errors import RoomKitError
from salon.models import (
    ChannelBinding,
    EventType,
    Observation,
    Participant,
    Room,
    RoomEvent,
    RoomStatus,
    Task,
    TaskStatus,
)
from salon.models.filters import EventFilter, ThreadSummary
from salon.models.identity import Identity


class EventNotFoundError(RoomKitError, ValueError):
    """A commit was to change an event that its room does not have."""

    code = "event_not_found"

    def __init__(self, room_id: str, event_id: str) -> None:
        super().__init__(f"room {room_id!r} has no event {event_id!r}")


class TaskNotFoundError(RoomKitError):
    """The room has no such task."""

    code = "task_not_found"

    def __init__(self, room_id: str, task_id: str) -> None:
        super().__init__(f"room {room_id!r} has no task {task_id!r}")


class AddressLinkedError(RoomKitError, ValueError):
    """The address is somebody else's in this organization."""

    code = "address_linked"

    def __init__(self, channel_type: str, address: str) -> None:
        super().__init__(f"the {channel_type} address {address!r} belongs to another identity")


def due_at(room: Room) -> datetime | None:
    """When the timers of a room fall due: its pause while ACTIVE (R28, R30), its closing while
    PAUSED (R29, AMB-4). None: never, as things stand. A naive instant counts as UTC."""
    timers = room.timers
    if room.status is RoomStatus.ACTIVE and timers.inactive_after_seconds is not None:
        since: datetime | None = timers.last_activity_at or room.created_at
        seconds = timers.inactive_after_seconds
    elif room.status is RoomStatus.PAUSED and timers.closed_after_seconds is not None:
        since, seconds = room.paused_at, timers.closed_after_seconds
    else:
        return None
    if since is None:
        return None
    return (since if since.tzinfo else since.replace(tzinfo=UTC)) + timedelta(seconds=seconds)


def may_change(event: RoomEvent, target: RoomEvent) -> bool:
    """Whether `target` may be the earlier event that the commit of `event` changes."""
    return target.room_id == event.room_id and target.id != event.id


class ConversationStore(ABC):
    """Rooms with their events, bindings, participants and side effects; identities.

    Guarantees: a commit is one transaction that assigns the indices and moves the counters, so
    that no reader sees one without the other (R95, R99). Writes keep their own copy (R102). Rooms
    returned are the caller's copies; everything else is frozen and may be shared with other
    readers, maps inside included. Unknown ids read as None or empty.

    `Room.revision` rises with every write of a binding or participant of the room and with every
    change or deletion of a stored event, in the same transaction; with nothing else.

    `open` before use, `close` at the end; both idempotent.
    """

    is_process_local: bool = False
    """Nothing outside this process can write to the same data (R201)."""

    async def open(self) -> None:  # noqa: B027 - optional to override
        """Connect and bring the schema up to date."""

    async def close(self) -> None:  # noqa: B027 - optional to override
        """Free everything."""

    # -- rooms ------------------------------------------------------------------------------------

    @abstractmethod
    async def create_room(self, room: Room) -> Room:
        """Store a new room; raises `ValueError` if the id exists."""

    @abstractmethod
    async def get_room(self, room_id: str) -> Room | None: ...

    async def room_exists(self, room_id: str) -> bool:
        """Whether there is such a room."""
        return await self.get_room(room_id) is not None

    @abstractmethod
    async def update_room(self, room: Room) -> Room:
        """Write status, timers, paused_at, closed_at, policy and organization. Counters,
        `revision`, `delivered_index`, `timers.last_activity_at` and metadata are never taken from
        `room` (R212). Raises `RoomNotFoundError`."""

    @abstractmethod
    async def patch_room_metadata(
        self, room_id: str, patch: Mapping[str, Any], *, unset: Collection[str] = ()
    ) -> Room | None:
        """Remove and set single keys, atomically (R212); a key in both is set."""

    @abstractmethod
    async def delete_room(self, room_id: str) -> bool:
        """Delete a room with everything in it (R211). Identities stay."""

    @abstractmethod
    async def list_rooms(
        self,
        offset: int = 0,
        limit: int = 50,
        *,
        status: RoomStatus | None = None,
        organization_id: str | None = None,
    ) -> list[Room]:
        """Newest first. Without `organization_id` those of all."""

    @abstractmethod
    async def find_rooms(
        self,
        organization_id: str | None = None,
        status: RoomStatus | None = None,
        metadata_filter: Mapping[str, Any] | None = None,
        *,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Room]:
        """As `list_rooms`; each key of `metadata_filter` must have an equal value in the room's
        metadata, for which every room may have to be read."""

    @abstractmethod
    async def find_room_ids_by_channel(
        self,
        channel_id: str,
        *,
        statuses: Collection[RoomStatus] | None = None,
        organization_id: str | None = None,
        limit: int = 2,
    ) -> list[str]:
        """Rooms that the channel is bound to, by creation time, then id (R181)."""

    @abstractmethod
    async def find_room_ids_by_recipient(
        self,
        channel_id: str,
        address: str,
        *,
        statuses: Collection[RoomStatus] | None = None,
        organization_id: str | None = None,
        limit: int = 2,
    ) -> list[str]:
        """Rooms whose binding of the channel has this `recipient`, newest first; of several of one
        instant, that of the highest id (R180, R181)."""

    @abstractmethod
    async def find_latest_room(
        self,
        participant_id: str,
        channel_type: str | None = None,
        status: RoomStatus | None = None,
        *,
        channel_id: str | None = None,
        statuses: Collection[RoomStatus] | None = None,
        organization_id: str | None = None,
    ) -> Room | None:
        """The room created last (of several, that of the highest id) in which somebody with this
        id or `external_id` is ACTIVE and connected through a bound channel: this one, one of this
        type, any (R179, AMB-1). `status` and `statuses` add up."""

    @abstractmethod
    async def find_rooms_due(self, now: datetime, *, limit: int = 100) -> list[str]:
        """Rooms for which `due_at` is not after `now`, longest due first, then by id."""

    # -- events -----------------------------------------------------------------------------------

    @abstractmethod
    async def commit_event(
        self, event: RoomEvent, *, at: datetime, target: RoomEvent | None = None
    ) -> RoomEvent:
        """Number and store `event` as given (its `index` is replaced), move `event_count`,
        `latest_index`, `updated_at` and `timers.last_activity_at` (to `at`), and write `target`,
        an earlier event of the room, as `update_event` does: one transaction.

        Raises `RoomNotFoundError`; `EventNotFoundError` for an unknown target; `ValueError` if the
        event id exists in this room or the idempotency key for this room and source channel."""

    @abstractmethod
    async def commit_events(self, batch: Sequence[RoomEvent], *, at: datetime) -> list[RoomEvent]:
        """Number and store events of one room, all or none, with consecutive indices. Raises what
        `commit_event` does; `ValueError` if the rooms differ."""

    async def add_event_auto_index(self, room_id: str, event: RoomEvent) -> RoomEvent:
        """Commit an event as of when it was made."""
        own = event.model_copy(update={"room_id": room_id})
        return await self.commit_event(own, at=event.created_at)

    async def add_event(self, event: RoomEvent) -> RoomEvent:
        """The same; its `index` is the next one, whatever it says."""
        return await self.commit_event(event, at=event.created_at)

    @abstractmethod
    async def get_event(self, event_id: str, room_id: str | None = None) -> RoomEvent | None:
        """An event by its id, refused ones included. Ids are unique within a room; without
        `room_id`, if several rooms have one of this id, the earliest by `created_at`, then room."""

    @abstractmethod
    async def get_event_by_idempotency_key(
        self, room_id: str, key: str, *, channel_id: str | None = None
    ) -> RoomEvent | None:
        """The event committed under a key, which counts for the room and the channel it came
        through then (AMB-22); without `channel_id` the earliest through any channel."""

    async def check_idempotency(
        self, room_id: str, key: str, *, channel_id: str | None = None
    ) -> bool:
        """Whether the key was used."""
        found = await self.get_event_by_idempotency_key(room_id, key, channel_id=channel_id)
        return found is not None

    @abstractmethod
    async def list_events(
        self,
        room_id: str,
        offset: int = 0,
        limit: int = 50,
        visibility_filter: str | None = None,
        *,
        newest_first: bool = False,
        after_index: int | None = None,
        before_index: int | None = None,
        event_filter: EventFilter | None = None,
    ) -> list[RoomEvent]:
        """A page, always in ascending order: the oldest, or with `newest_first` the newest
        `limit`, or the first after / the last before an index (not both: `ValueError`), for which
        `offset` counts nothing. BLOCKED events only if the filter asks for them (R210, AMB-26).
        `visibility_filter` yields to the filter's own."""

    @abstractmethod
    async def get_event_count(self, room_id: str, event_filter: EventFilter | None = None) -> int:
        """How many events are stored, refused ones included (`Room.event_count` counts deleted
        ones as well, R117); with a filter how many `list_events` could give."""

    async def get_conversation(
        self, room_id: str, *, limit: int = 50, after_index: int | None = None
    ) -> list[RoomEvent]:
        """The newest MESSAGE events, or the first ones after an index; ascending, refused ones
        included: who shows them to somebody leaves out what that one may not see (R20, AMB-26)."""
        return await self.list_events(
            room_id,
            limit=limit,
            after_index=after_index,
            newest_first=after_index is None,
            event_filter=_MESSAGES,
        )

    async def get_timeline(
        self,
        room_id: str,
        *,
        event_filter: EventFilter | None = None,
        limit: int = 100,
        after_index: int | None = None,
        newest_first: bool = False,
    ) -> list[RoomEvent]:
        """As `list_events`: every kind of event."""
        return await self.list_events(
            room_id,
            limit=limit,
            after_index=after_index,
            newest_first=newest_first,
            event_filter=event_filter,
        )

    @abstractmethod
    async def update_event(self, event: RoomEvent) -> RoomEvent | None:
        """Replace a stored event, but for `index`, `idempotency_key` and `delivery_results`
        (R111, R114); what is stored then, or None if there is no such event in the room."""

    @abstractmethod
    async def delete_event(
        self, room_id: str, event_id: str, *, cascade_replies: bool = True
    ) -> list[RoomEvent]:
        """Delete an event for good, and the replies in its thread; what was deleted, root first,
        then by index (R115). Their idempotency keys are free again, their indices never are
        (R98); no counter moves (R117)."""

    @abstractmethod
    async def get_thread_summaries(
        self, room_id: str, root_ids: Collection[str]
    ) -> dict[str, ThreadSummary]:
        """Of those roots that have replies other than refused ones (R103)."""

    @abstractmethod
    async def set_delivery_results(
        self, room_id: str, event_id: str, results: Mapping[str, Any]
    ) -> None:
        """Write the one part of a committed event that delivery still changes (R7, R141). The
        event's deletion meanwhile is no error."""

    # -- delivery marks ---------------------------------------------------------------------------

    async def get_delivered_index(self, room_id: str) -> int:
        """The highest index whose delivery set was executed; -1 before the first."""
        room = await self.get_room(room_id)
        return -1 if room is None else room.delivered_index

    @abstractmethod
    async def advance_delivered_index(self, room_id: str, index: int) -> bool:
        """Compare-and-set upwards; False if it already is there or beyond."""

    @abstractmethod
    async def advance_delivered_indexes(self, indexes: Mapping[str, int]) -> None:
        """The same for many rooms, by room id, in one transaction; unknown ones are passed by."""

    @abstractmethod
    async def find_undelivered_rooms(
        self, *, limit: int = 100, after: str | None = None
    ) -> list[str]:
        """Rooms with events beyond `delivered_index`, by id in code point order, from the first
        one past `after`: what a crash left to be delivered (R207)."""

    # -- bindings ---------------------------------------------------------------------------------

    @abstractmethod
    async def add_binding(self, binding: ChannelBinding) -> ChannelBinding:
        """Store, or replace in its place, the binding of this room and channel. Raises
        `RoomNotFoundError`."""

    @abstractmethod
    async def update_binding(self, binding: ChannelBinding) -> ChannelBinding:
        """Replace a binding; raises `ChannelNotFoundError` if there is none."""

    @abstractmethod
    async def get_binding(self, room_id: str, channel_id: str) -> ChannelBinding | None: ...

    async def binding_exists(self, room_id: str, channel_id: str) -> bool:
        """Whether the channel is bound to the room."""
        return await self.get_binding(room_id, channel_id) is not None

    @abstractmethod
    async def remove_binding(self, room_id: str, channel_id: str) -> bool: ...

    @abstractmethod
    async def list_bindings(self, room_id: str) -> list[ChannelBinding]:
        """In the order of attachment."""

    # -- participants -----------------------------------------------------------------------------

    @abstractmethod
    async def add_participant(self, participant: Participant) -> Participant:
        """Store, or replace in its place, the record of this room and id (R35). Raises
        `RoomNotFoundError`."""

    @abstractmethod
    async def update_participant(self, participant: Participant) -> Participant:
        """Replace a record; raises `ParticipantNotFoundError` if there is none."""

    @abstractmethod
    async def get_participant(self, room_id: str, participant_id: str) -> Participant | None: ...

    @abstractmethod
    async def remove_participant(self, room_id: str, participant_id: str) -> bool: ...

    @abstractmethod
    async def list_participants(self, room_id: str) -> list[Participant]:
        """In the order of joining."""

    # -- identities -------------------------------------------------------------------------------

    @abstractmethod
    async def create_identity(self, identity: Identity) -> Identity:
        """Store somebody new with their addresses. Raises `ValueError` if the id exists,
        `AddressLinkedError`."""

    @abstractmethod
    async def get_identity(self, identity_id: str) -> Identity | None: ...

    @abstractmethod
    async def update_identity(self, identity: Identity) -> Identity:
        """Replace somebody, addresses and organization included. Raises `IdentityNotFoundError`,
        `AddressLinkedError`."""

    @abstractmethod
    async def resolve_identity(
        self, channel_type: str, address: str, organization_id: str | None = None
    ) -> Identity | None:
        """Whose address it is in exactly this organization; None is one of its own (R174).
        Addresses compare as they were stored."""

    @abstractmethod
    async def link_address(
        self,
        identity_id: str,
        channel_type: str,
        address: str,
        organization_id: str | None = None,
    ) -> Identity:
        """One more address of somebody in this organization; nothing changes if it is theirs.
        Raises `IdentityNotFoundError`, also for somebody of another organization, and
        `AddressLinkedError`."""

    @abstractmethod
    async def unlink_address(
        self,
        identity_id: str,
        channel_type: str,
        address: str,
        organization_id: str | None = None,
    ) -> bool:
        """One address less; False if it is not theirs in this organization."""

    # -- side effects -----------------------------------------------------------------------------

    @abstractmethod
    async def add_task(self, task: Task) -> Task:
        """Store, or replace in its place, the task of this room and id. Raises
        `RoomNotFoundError`."""

    @abstractmethod
    async def get_task(self, task_id: str) -> Task | None:
        """By id alone; of several rooms' the one stored first."""

    @abstractmethod
    async def update_task(self, task: Task) -> Task:
        """Replace a task; raises `TaskNotFoundError` if its room has none of this id."""

    @abstractmethod
    async def list_tasks(self, room_id: str, status: TaskStatus | None = None) -> list[Task]:
        """In the order of storing."""

    @abstractmethod
    async def add_observation(self, observation: Observation) -> Observation: ...

    @abstractmethod
    async def list_observations(self, room_id: str) -> list[Observation]: ...

    # -- read markers -----------------------------------------------------------------------------

    @abstractmethod
    async def mark_read(self, room_id: str, channel_id: str, event_id: str) -> None:
        """The channel has read up to this event; the mark never goes back (R214). An event that
        the room does not have marks nothing."""

    @abstractmethod
    async def mark_all_read(self, room_id: str, channel_id: str) -> None:
        """The channel has read all there is; a room without events gets no mark."""

    @abstractmethod
    async def get_unread_count(self, room_id: str, channel_id: str) -> int:
        """How many stored events, of any kind, are after the mark; all without one."""

    @abstractmethod
    async def list_read_markers(self, room_id: str) -> dict[str, int]:
        """The index up to which each channel has read, by channel."""


_MESSAGES = EventFilter(event_types=(EventType.MESSAGE,), include_blocked=True)
