"""The messages an agent was last told of a room, so that only what is new is made anew."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from salon.channels.ai_prompt import message_of
from salon.core.ports.ai import AIMessage
from salon.models import ChannelBinding, Participant, RoomContext, RoomEvent

MAX_ROOMS: Final = 256
"""Rooms remembered at a time; what is forgotten is made again."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What was made of events while people and channels were these, by the events' ids. An event
    that was edited is another object."""

    participants: Sequence[Participant]
    bindings: Sequence[ChannelBinding]
    made: dict[str, tuple[RoomEvent, AIMessage | None]]


class Told:
    """`message_of` for one reader's histories. Of each room no more is kept than the last time was
    asked for."""

    def __init__(self, reader: str) -> None:
        self._reader = reader
        self._rooms: OrderedDict[str, _Told] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rooms)

    def messages(self, events: Iterable[RoomEvent], context: RoomContext) -> list[AIMessage]:
        """The events as messages; those without words are left out."""
        room_id = context.room.id
        people, bindings = context.participants, context.bindings
        known = self._rooms.get(room_id)
        same = known is not None and known.participants is people and known.bindings is bindings
        before = known.made if known is not None and same else {}
        made: dict[str, tuple[RoomEvent, AIMessage | None]] = {}
        found: list[AIMessage] = []
        for event in events:
            entry = before.get(event.id)
            if entry is None or entry[0] is not event:
                entry = (event, message_of(event, self._reader, context))
            made[event.id] = entry
            if entry[1] is not None:
                found.append(entry[1])
        self._rooms[room_id] = _Told(people, bindings, made)
        self._rooms.move_to_end(room_id)
        if len(self._rooms) > MAX_ROOMS:
            self._rooms.popitem(last=False)
        return found

    def forget(self, room_id: str) -> None:
        """The agent left the room, or the room ended."""
        self._rooms.pop(room_id, None)

    def clear(self) -> None:
        """The channel is closed."""
        self._rooms.clear()
