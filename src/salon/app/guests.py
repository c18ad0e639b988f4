"""Rooms as the server offers them: made on first entry, with the agent in them."""

from __future__ import annotations

from typing import Any

from salon.app.house import TimelinePage
from salon.base import SalonError, new_id
from salon.channels.websocket import event_json
from salon.core import RoomClosedError, RoomKit
from salon.core.rooms import DETACHED_KEY
from salon.models import EventStatus, EventType, Room

MAX_ID = 128
MAX_NAME = 80
SHOWN = (EventType.MESSAGE, EventType.SYSTEM)
_HIDDEN = frozenset({"internal", "none", "intelligence"})


class BadNameError(SalonError):
    """An id or a name from outside that no room takes."""

    code = "bad_name"


def checked_id(value: str, what: str) -> str:
    """`value` if it may be an id; raises `BadNameError`."""
    if not value or len(value) > MAX_ID or not value.isprintable() or value != value.strip():
        raise BadNameError(f"a {what} has 1 to {MAX_ID} printable characters")
    return value


def shown_name(value: str | None) -> str | None:
    """A display name fit to be shown: printable, one line, at most 80 characters."""
    if value is None:
        return None
    words = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    return words[:MAX_NAME] or None


class Guests:
    """Implements what the application and the gateway need of rooms."""

    def __init__(self, kit: RoomKit, channel_ids: tuple[str, ...]) -> None:
        self._kit = kit
        self._channel_ids = channel_ids

    async def create(self) -> str:
        """A new room with every channel attached."""
        return (await self._prepare(new_id())).id

    async def enter(
        self, room_id: str | None, participant_id: str, channel_id: str, name: str | None
    ) -> str:
        """Let somebody in; the room is made if it is not there. Raises `BadNameError`,
        `RoomClosedError`."""
        room_id = checked_id(room_id or new_id(), "room id")
        checked_id(participant_id, "participant id")
        room = await self._prepare(room_id)
        if not room.status.accepts_events:
            raise RoomClosedError(room_id)
        await self._kit.add_member(
            room_id, participant_id, channel_id, display_name=shown_name(name)
        )
        return room_id

    async def _prepare(self, room_id: str) -> Room:
        kit = self._kit
        async with kit.locks.locked(room_id):
            room = await kit.get_room(room_id) or await kit.create_room(room_id)
            if not room.status.accepts_events:
                return room
            bound = {item.channel_id for item in await kit.store.list_bindings(room_id)}
            gone = room.metadata.get(DETACHED_KEY, ())
            for channel_id in self._channel_ids:
                if channel_id not in bound and channel_id not in gone:
                    await kit.attach_channel(room_id, channel_id)
        return room

    async def describe(self, room_id: str) -> dict[str, Any] | None:
        """The room and who is in it."""
        room = await self._kit.get_room(room_id)
        if room is None:
            return None
        people = await self._kit.store.list_participants(room_id)
        bindings = await self._kit.store.list_bindings(room_id)
        return {
            "id": room.id,
            "status": room.status.value,
            "created_at": room.created_at.isoformat(),
            "event_count": room.event_count,
            "latest_index": room.latest_index,
            "participants": [
                {
                    "id": person.id,
                    "name": person.display_name,
                    "status": person.status.value,
                    "connected_via": person.connected_via,
                }
                for person in people
            ],
            "channels": [
                {"id": item.channel_id, "type": str(item.channel_type), "muted": item.muted}
                for item in bindings
            ],
        }

    async def timeline(
        self, room_id: str, *, before_index: int | None, limit: int, shown_only: bool = False
    ) -> TimelinePage | None:
        """A page of events, ascending; every kind, refused ones too, so that indices have no gaps.
        With `shown_only` just what people are shown."""
        if await self._kit.get_room(room_id) is None:
            return None
        events = await self._kit.store.list_events(
            room_id,
            limit=limit + 1,
            newest_first=before_index is None,
            before_index=before_index,
            types=SHOWN if shown_only else None,
            include_blocked=not shown_only,
        )
        kept = events[-limit:]
        if shown_only:
            kept = [event for event in kept if event.visibility not in _HIDDEN]
        return TimelinePage([_as_json(event) for event in kept], len(events) > limit)


def _as_json(event: Any) -> dict[str, Any]:
    made = event_json(event)
    if event.status is EventStatus.BLOCKED:
        made["content"] = {"type": "system", "code": "blocked", "body": "refused", "data": {}}
    return made
