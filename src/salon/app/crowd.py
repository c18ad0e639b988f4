"""How many connections one token and one room may have open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from salon.base import LOCAL, Principal, SalonError

PER_TOKEN: Final = 8
PER_ROOM: Final = 256


class CrowdedError(SalonError):
    """This token or this room has as many connections of a kind as are allowed."""

    code = "too_many_connections"


class Crowd:
    """The open connections of one kind. Room tokens of one participant count as one token; other
    callers count for their organization, so that nobody fills another one's room from outside."""

    def __init__(self, per_token: int = PER_TOKEN, per_room: int = PER_ROOM) -> None:
        self._per_token = per_token
        self._per_room = per_room
        self._open: Counter[tuple[str, ...]] = Counter()

    def __len__(self) -> int:
        """Places counted now; 0 once everybody is gone."""
        return len(self._open)

    @contextmanager
    def place(self, room_id: str, principal: Principal = LOCAL) -> Iterator[None]:
        """A connection, until the block ends. Raises `CrowdedError`."""
        places = [(("room", room_id, principal.organization_id or ""), self._per_room)]
        if principal.grant is not None:
            person = principal.grant.participant_id
            places.append((("token", principal.grant.room_id, person), self._per_token))
        for key, limit in places:
            if self._open[key] >= limit:
                raise CrowdedError(f"too many open connections to this {key[0]}")
        for key, _ in places:
            self._open[key] += 1
        try:
            yield
        finally:
            for key, _ in places:
                self._open[key] -= 1
            self._forget(*(key for key, _ in places))

    def _forget(self, *keys: tuple[str, ...]) -> None:
        for key in keys:
            if self._open[key] <= 0:
                del self._open[key]
