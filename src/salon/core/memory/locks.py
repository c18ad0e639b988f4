"""Room locks within one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from salon.core.ports.locks import RoomLockManager


@dataclass(slots=True, eq=False)
class _Entry:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


@dataclass(slots=True, eq=False)
class _Hold:
    """One ownership. A task that inherited it may enter only while it lasts."""

    manager: InMemoryLockManager
    room_id: str
    active: bool = True


_held: ContextVar[tuple[_Hold, ...]] = ContextVar("salon_held_rooms", default=())


class InMemoryLockManager(RoomLockManager):
    """`asyncio.Lock` per room, first come first served; a lock nobody uses takes no memory.

    `sole_process`: the host says that no other process serves the store, so that there is nothing
    to warn of (R201).
    """

    def __init__(self, *, sole_process: bool = False) -> None:
        self.is_process_local = not sole_process
        self._entries: dict[str, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def locked(self, room_id: str) -> AbstractAsyncContextManager[None]:
        return self._locked(room_id)

    def held(self, room_id: str) -> bool:
        return any(
            hold.active and hold.manager is self and hold.room_id == room_id for hold in _held.get()
        )

    def holds_any(self) -> bool:
        return any(hold.active and hold.manager is self for hold in _held.get())

    @asynccontextmanager
    async def _locked(self, room_id: str) -> AsyncIterator[None]:
        if self.held(room_id):
            yield
            return
        entry = self._entries.setdefault(room_id, _Entry())
        entry.users += 1
        try:
            async with entry.lock:
                hold = _Hold(self, room_id)
                token = _held.set((*_held.get(), hold))
                try:
                    yield
                finally:
                    hold.active = False
                    _held.reset(token)
        finally:
            entry.users -= 1
            if not entry.users:
                self._entries.pop(room_id, None)
