"""The contract of persistence (chapter 20 of the conversation rules)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from salon.models import (
    ChannelBinding,
    EventType,
    Observation,
    Participant,
    Room,
    RoomEvent,
    RoomStatus,
    Task,
)


class ConversationStore(ABC):
    """Rooms with their events, bindings, participants and side effects.

    Guarantees: `commit_event` is one transaction that assigns the index and moves the counters, so
    that no reader sees one without the other (R95, R99); writes keep their own copy (R102); rooms,
    bindings and participants returned are the caller's copies, events are frozen. Unknown ids read
    as None or empty. `open` before use, `close` at the end; both idempotent.
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

    @abstractmethod
    async def update_room(self, room: Room) -> Room:
        """Write status, timers, closed_at, policy and organization. Counters and `delivered_index`
        are never taken from `room` (R212). Raises `RoomNotFoundError`."""

    @abstractmethod
    async def patch_room_metadata(
        self, room_id: str, patch: Mapping[str, Any], unset: Collection[str] = ()
    ) -> Room | None:
        """Set and remove single keys, atomically (R212)."""

    @abstractmethod
    async def delete_room(self, room_id: str) -> bool:
        """Delete a room with everything in it (R211)."""

    @abstractmethod
    async def list_rooms(
        self, *, status: RoomStatus | None = None, limit: int = 50, offset: int = 0
    ) -> list[Room]:
        """Newest first."""

    @abstractmethod
    async def find_room_ids_by_channel(
        self, channel_id: str, *, status: RoomStatus | None = None, limit: int = 2
    ) -> list[str]:
        """Rooms that the channel is bound to, by creation time, then id (R181)."""

    @abstractmethod
    async def find_latest_room(
        self, participant_id: str, channel_type: str, *, status: RoomStatus | None = None
    ) -> Room | None:
        """The newest room in which this participant is connected through a channel of this type
        (R179)."""

    # -- events -----------------------------------------------------------------------------------

    @abstractmethod
    async def commit_event(self, event: RoomEvent, *, at: datetime) -> RoomEvent:
        """Number and store `event` as given (its `index` is replaced), move `event_count`,
        `latest_index`, `updated_at` and `timers.last_activity_at` (to `at`): one transaction.
        Raises `RoomNotFoundError`; `ValueError` if the event id or the idempotency key of this
        room exists."""

    @abstractmethod
    async def get_event(self, room_id: str, event_id: str) -> RoomEvent | None: ...

    @abstractmethod
    async def get_event_by_idempotency_key(self, room_id: str, key: str) -> RoomEvent | None: ...

    @abstractmethod
    async def list_events(
        self,
        room_id: str,
        *,
        limit: int = 50,
        offset: int = 0,
        newest_first: bool = False,
        after_index: int | None = None,
        before_index: int | None = None,
        types: Collection[EventType] | None = None,
        exclude_types: Collection[EventType] = (),
        include_blocked: bool = False,
    ) -> list[RoomEvent]:
        """A page, always in ascending order: the oldest, or with `newest_first` the newest
        `limit`, or the first after / the last before an index (not both: `ValueError`). BLOCKED
        events only if asked for (R210)."""

    @abstractmethod
    async def set_delivery_results(
        self, room_id: str, event_id: str, results: Mapping[str, Any]
    ) -> None:
        """Write the one part of a committed event that may still change (R7, R141)."""

    @abstractmethod
    async def advance_delivered_index(self, room_id: str, index: int) -> bool:
        """Compare-and-set upwards; False if it already is there or beyond."""

    # -- bindings ---------------------------------------------------------------------------------

    @abstractmethod
    async def add_binding(self, binding: ChannelBinding) -> ChannelBinding:
        """Store or replace the binding of this room and channel."""

    @abstractmethod
    async def get_binding(self, room_id: str, channel_id: str) -> ChannelBinding | None: ...

    @abstractmethod
    async def remove_binding(self, room_id: str, channel_id: str) -> bool: ...

    @abstractmethod
    async def list_bindings(self, room_id: str) -> list[ChannelBinding]:
        """In the order of attachment."""

    # -- participants -----------------------------------------------------------------------------

    @abstractmethod
    async def put_participant(self, participant: Participant) -> Participant:
        """Store or replace the record of this room and id (R35)."""

    @abstractmethod
    async def get_participant(self, room_id: str, participant_id: str) -> Participant | None: ...

    @abstractmethod
    async def list_participants(self, room_id: str) -> list[Participant]:
        """In the order of joining."""

    # -- side effects -----------------------------------------------------------------------------

    @abstractmethod
    async def add_task(self, task: Task) -> Task: ...

    @abstractmethod
    async def list_tasks(self, room_id: str) -> list[Task]: ...

    @abstractmethod
    async def add_observation(self, observation: Observation) -> Observation: ...

    @abstractmethod
    async def list_observations(self, room_id: str) -> list[Observation]: ...
