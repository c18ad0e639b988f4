"""Rooms, newest first, in pages that neither repeat nor miss one while rooms come and go."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from salon.app.problems import InvalidError
from salon.core.kit import RoomKit
from salon.models import Room, RoomStatus

_CHUNK: Final = 100
_LONGEST: Final = 1024
_FARTHEST: Final = 2**31


@dataclass(frozen=True, slots=True)
class _Place:
    """The last room of a page, and how many came before it then."""

    room_id: str
    created_at: datetime
    offset: int

    def encode(self) -> str:
        text = json.dumps([self.room_id, self.created_at.isoformat(), self.offset])
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, cursor: str) -> _Place:
        try:
            if len(cursor) > _LONGEST:
                raise ValueError("too long")
            text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            values: Any = json.loads(text)
            room_id, created_at, offset = values
            made = datetime.fromisoformat(created_at)
            if made.tzinfo is None or not 0 <= offset <= _FARTHEST:
                raise ValueError("not ours")
            place = cls(str(room_id), made.astimezone(UTC), int(offset))
        except (binascii.Error, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise InvalidError("cursor: is not one that this server gave") from error
        return place


class RoomList:
    """The rooms of an organization, or of all, of one status or any."""

    def __init__(
        self, kit: RoomKit, organization_id: str | None, status: RoomStatus | None
    ) -> None:
        self._kit = kit
        self._organization_id = organization_id
        self._status = status

    async def page(self, limit: int, cursor: str | None) -> tuple[list[Room], str | None]:
        """At most `limit` rooms, and the cursor of the next page. Raises `InvalidError`."""
        offset = 0 if cursor is None else await self._after(_Place.decode(cursor))
        found = await self._read(offset, limit + 1)
        rooms = found[:limit]
        if len(found) <= limit:
            return rooms, None
        last = rooms[-1]
        return rooms, _Place(last.id, last.created_at, offset + limit - 1).encode()

    async def _read(self, offset: int, limit: int) -> list[Room]:
        return await self._kit.list_rooms(
            organization_id=self._organization_id, status=self._status, limit=limit, offset=offset
        )

    async def _after(self, place: _Place) -> int:
        """Where the rooms past a place begin now: new ones come before it, deleted ones are
        missing there."""
        start, step = place.offset, _CHUNK
        while start > 0:
            found = await self._read(start, 1)
            if found and found[0].created_at > place.created_at:
                break
            start, step = max(0, start - step), step * 2
        while True:
            chunk = await self._read(start, _CHUNK)
            for number, room in enumerate(chunk):
                if room.id == place.room_id:
                    return start + number + 1
                if room.created_at < place.created_at:
                    return start + number
            start += len(chunk)
            if len(chunk) < _CHUNK:
                return start
