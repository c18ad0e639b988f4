"""Room locks within one process."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from contextvars import Token

from salon.core.holds import HELD, Gate, Hold, holds_any, innermost, waiting
from salon.core.ports.locks import RoomLockManager


class InMemoryLockManager(RoomLockManager):
    """`asyncio.Lock` per room, first come first served; a lock nobody uses takes no memory.

    `sole_process`: the host says that no other process serves the store, so that there is nothing
    to warn of (R201).
    """

    def __init__(self, *, sole_process: bool = False) -> None:
        self.is_process_local = not sole_process
        self._doors: dict[str, _Door] = {}

    def __len__(self) -> int:
        return len(self._doors)

    def locked(self, room_id: str) -> AbstractAsyncContextManager[None]:
        return _Section(self, room_id, self._doors)

    def alone(self, room_id: str) -> AbstractAsyncContextManager[None]:
        return _Alone(self, room_id, self._doors)

    def held(self, room_id: str) -> bool:
        return innermost(self, room_id) is not None

    def holds_any(self) -> bool:
        return holds_any(self)


class _Door(Gate):
    """Where one enters at a time. `users` are inside, or wait."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        super().__init__()
        self.lock = asyncio.Lock()
        self.users = 0


class _Owned(Hold):
    """One ownership. The tasks started under it enter through a door of its own."""

    __slots__ = ("door", "inner", "over")

    def __init__(self, owner: object, room_id: str, outer: _Owned | None, door: _Door) -> None:
        super().__init__(owner, room_id, outer)
        self.door = door
        self.inner: _Door | None = None
        self.over = False


class _Section(AbstractAsyncContextManager[None]):
    """What is done inside a room, or inside what the caller has of it."""

    __slots__ = ("_doors", "_hold", "_owner", "_room_id", "_token")

    def __init__(self, owner: object, room_id: str, doors: dict[str, _Door]) -> None:
        self._owner = owner
        self._room_id = room_id
        self._doors = doors
        self._hold: _Owned
        self._token: Token[tuple[Hold, ...]]

    async def __aenter__(self) -> None:
        await self._enter(self._own())

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _own(self) -> _Owned | None:
        hold = innermost(self._owner, self._room_id)
        assert hold is None or isinstance(hold, _Owned)
        return hold

    async def _enter(self, outer: _Owned | None) -> None:
        door = self._door(outer)
        door.users += 1
        held = HELD.get()
        try:
            if held and door.users > 1:
                async with waiting(door, self._room_id):
                    await door.lock.acquire()
            else:
                await door.lock.acquire()
        except BaseException:
            self._left(door, outer)
            raise
        self._hold = door.holder = _Owned(self._owner, self._room_id, outer, door)
        self._token = HELD.set((*held, self._hold))

    def _leave(self) -> None:
        hold = self._hold
        hold.open, hold.over = False, True
        if hold.inner is None or not hold.inner.users:
            self._release(hold)
        HELD.reset(self._token)

    def _door(self, outer: _Owned | None) -> _Door:
        if outer is None:
            door = self._doors.get(self._room_id)
            if door is None:
                door = self._doors[self._room_id] = _Door()
            return door
        if outer.inner is None:
            outer.inner = _Door()
        return outer.inner

    def _release(self, hold: _Owned) -> None:
        """Let the next one in: the owner and all who entered through its hold are out."""
        hold.door.holder = None
        hold.door.lock.release()
        outer = hold.outer
        assert outer is None or isinstance(outer, _Owned)
        self._left(hold.door, outer)

    def _left(self, door: _Door, outer: _Owned | None) -> None:
        door.users -= 1
        if door.users:
            return
        if outer is None:
            del self._doors[self._room_id]
        elif outer.over:
            self._release(outer)


class _Alone(_Section):
    """The same without those who would enter through the caller's hold later."""

    __slots__ = ("_outer",)

    async def __aenter__(self) -> None:
        self._outer = self._own()
        if self._outer is None:
            return
        self._outer.open = False
        try:
            await self._enter(self._outer)
        except BaseException:
            self._reopen(self._outer)
            raise

    async def __aexit__(self, *_: object) -> None:
        if self._outer is not None:
            self._leave()
            self._reopen(self._outer)

    @staticmethod
    def _reopen(hold: _Owned) -> None:
        hold.open = not hold.over
