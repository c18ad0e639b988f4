"""The contract of room locks (R199-R202)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager


class RoomLockManager(ABC):
    """Serialises the work on one room; rooms are independent of each other."""

    is_process_local: bool = False

    @abstractmethod
    def locked(self, room_id: str) -> AbstractAsyncContextManager[None]:
        """Hold the lock of a room. Cancelling the wait leaves nothing locked; entering again in
        the same execution context (child tasks included) succeeds at once (R202)."""

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
