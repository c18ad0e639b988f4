"""The contract of room locks (R199-R202)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager, nullcontext


class RoomLockManager(ABC):
    """Serialises the work on one room; rooms are independent of each other."""

    is_process_local: bool = False

    @abstractmethod
    def locked(self, room_id: str) -> AbstractAsyncContextManager[None]:
        """Hold the lock of a room. Cancelling the wait leaves nothing locked (R202).

        Whoever holds it may enter again, and so may the tasks it started, one at a time; those in
        turn within theirs. The room is free when the holder and all who entered so are out; a task
        that comes later waits like others. May raise `RoomDeadlockError` instead of waiting for
        somebody who waits for the caller (R128)."""

    def alone(self, room_id: str) -> AbstractAsyncContextManager[None]:
        """For a holder that ran code of others: when the tasks they started are out, go on without
        them; one that comes meanwhile waits for the lock. The default is for managers that let no
        such task in."""
        del room_id
        return nullcontext()

    def held(self, room_id: str) -> bool:
        """Whether the caller holds the lock of a room; then it must not wait for others that need
        it (R128)."""
        del room_id
        return False

    def holds_any(self) -> bool:
        """The same for any room: who holds one lock must not wait for what needs it elsewhere."""
        return False

    async def close(self) -> None:  # noqa: B027 - optional to override
        """Free everything; idempotent."""
