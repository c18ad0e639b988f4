"""What channels and hooks are shown of a room."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from salon.core.errors import RoomNotFoundError
from salon.core.ports.store import ConversationStore
from salon.models import (
    ChannelBinding,
    EventFilter,
    EventType,
    Participant,
    Room,
    RoomContext,
    RoomEvent,
)

RECENT_EVENTS = 50
MAX_RECENT_EVENTS = 2000
MAX_ROOMS = 1024
"""Rooms remembered at a time; the one not used for longest is forgotten, and read again."""


@dataclass(slots=True)
class _Remembered:
    """A room as it was at `revision`, with its messages up to the index `upto`. `made` tells it
    from an earlier room of the same id, which had the same revisions."""

    room: Room
    made: datetime
    revision: int
    bindings: tuple[ChannelBinding, ...]
    participants: tuple[Participant, ...]
    recent: deque[RoomEvent]
    upto: int
    shown: tuple[RoomEvent, ...] | None = field(default=None)

    def add(self, events: Iterable[RoomEvent]) -> None:
        self.recent.extend(events)
        self.shown = None

    def events(self) -> tuple[RoomEvent, ...]:
        if self.shown is None:
            self.shown = tuple(self.recent)
        return self.shown


class Contexts:
    """Makes `RoomContext`s: the newest MESSAGE events, refused ones included for hooks; readers of
    history filter them (R20, R82).

    What a room consists of is remembered and valid as long as the room's `revision` stands; only
    newer events are read. So an event costs one read of its room, however long its history.
    """

    def __init__(self, store: ConversationStore, *, recent: int = RECENT_EVENTS) -> None:
        self._store = store
        self._recent = recent
        self._rooms: OrderedDict[str, _Remembered] = OrderedDict()

    def widen(self, events: int) -> None:
        """A channel wants to see this many messages; all see as many as the most demanding one."""
        wanted = max(self._recent, min(events, MAX_RECENT_EVENTS))
        if wanted != self._recent:
            self._recent = wanted
            self._rooms.clear()

    async def of(self, room: Room) -> RoomContext:
        """The context of a room just read."""
        known = self._rooms.get(room.id)
        latest = -1 if room.latest_index is None else room.latest_index
        if known is None or (known.made, known.revision) != (room.created_at, room.revision):
            known = await self._read(room, latest)
        else:
            self._rooms.move_to_end(room.id)
            if latest > known.upto:
                await self._catch_up(room.id, known, latest)
        known.room = room
        return RoomContext(room, known.bindings, known.participants, known.events())

    async def build(self, room_id: str) -> RoomContext:
        """The context of a room; raises `RoomNotFoundError`."""
        room = await self._store.get_room(room_id)
        if room is None:
            self.forget(room_id)  # another process deleted it
            raise RoomNotFoundError(room_id)
        return await self.of(room)

    async def again(self, room_id: str, made: datetime) -> RoomContext | None:
        """The context of the room that was made then; None if it is gone, also if its id is
        another room's by now (R211)."""
        try:
            context = await self.build(room_id)
        except RoomNotFoundError:
            return None
        return context if context.room.created_at == made else None

    def replaced(self, room: Room) -> bool:
        """Whether another room under the id of this one was seen since. Nothing is read."""
        known = self._rooms.get(room.id)
        return known is not None and known.made != room.created_at

    async def roughly(self, room_id: str) -> RoomContext:
        """The context as it was last seen, which may be a moment ago; read only if there is none.
        For what needs no more than that before the room is locked. Raises `RoomNotFoundError`."""
        known = self._rooms.get(room_id)
        if known is None:
            return await self.build(room_id)
        self._rooms.move_to_end(room_id)
        return RoomContext(known.room, known.bindings, known.participants, known.events())

    def committed(self, event: RoomEvent) -> None:
        """An event became part of its room; told under the room lock."""
        known = self._rooms.get(event.room_id)
        if known is None or event.index != known.upto + 1:
            return
        known.upto = event.index
        if event.type is EventType.MESSAGE:
            known.add((event,))

    def forget(self, room_id: str) -> None:
        """The room is gone."""
        self._rooms.pop(room_id, None)

    async def _read(self, room: Room, latest: int) -> _Remembered:
        bindings = tuple(await self._store.list_bindings(room.id))
        participants = tuple(await self._store.list_participants(room.id))
        recent = await self._store.list_events(
            room.id, limit=self._recent, newest_first=True, event_filter=_MESSAGES
        )
        upto = max(latest, recent[-1].index if recent else -1)
        known = _Remembered(
            room,
            room.created_at,
            room.revision,
            bindings,
            participants,
            deque(recent, maxlen=self._recent),
            upto,
        )
        self._rooms[room.id] = known
        self._rooms.move_to_end(room.id)
        while len(self._rooms) > MAX_ROOMS:
            self._rooms.popitem(last=False)
        return known

    async def _catch_up(self, room_id: str, known: _Remembered, latest: int) -> None:
        """Read what others committed since."""
        before = known.upto
        few = latest - before <= self._recent
        missing = await self._store.list_events(
            room_id,
            limit=self._recent,
            newest_first=not few,
            after_index=before if few else None,
            event_filter=_MESSAGES,
        )
        if known.upto == before:  # nobody else was faster
            known.add(event for event in missing if event.index > before)
            known.upto = max(latest, missing[-1].index if missing else -1)


_MESSAGES = EventFilter(event_types=[EventType.MESSAGE], include_blocked=True)
