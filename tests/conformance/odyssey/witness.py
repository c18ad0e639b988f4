"""A client whose every callback is written down."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from salon.clients.odyssey import Odyssey
from salon.testing.odyssey import Connection, OdysseyStandIn

LIMIT_S: Final = 20.0
"""For anything to happen, on a busy machine."""
NAMES: Final = (
    "connected",
    "disconnected",
    "stream_started",
    "stream_ended",
    "interact_acknowledged",
    "broadcast_ready",
    "stream_error",
    "error",
    "status_change",
)


class Witness:
    """`said` is what the callbacks were told, as (name, arguments...), in order."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []
        self._changed = asyncio.Event()

    def note(self, name: str) -> Callable[..., None]:
        def noted(*arguments: Any) -> None:
            self.said.append((name, *arguments))
            self._changed.set()

        return noted

    def callbacks(self, **others: Any) -> dict[str, Any]:
        """For `connect`; `others` stand in place of the ones that note."""
        return {f"on_{name}": self.note(name) for name in NAMES} | others

    @property
    def names(self) -> list[str]:
        return [one[0] for one in self.said]

    @property
    def statuses(self) -> list[tuple[str, str | None]]:
        return [(one[1].value, one[2]) for one in self.said if one[0] == "status_change"]

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [one[1:] for one in self.said if one[0] == name]

    async def until(self, name: str, count: int = 1) -> list[tuple[Any, ...]]:
        """Wait for so many of these; their arguments."""
        async with asyncio.timeout(LIMIT_S):
            while len(found := self.of(name)) < count:
                self._changed.clear()
                await self._changed.wait()
        return found


@contextlib.asynccontextmanager
async def connected(
    server: OdysseyStandIn, witness: Witness | None = None, **more: Any
) -> AsyncIterator[tuple[Odyssey, Connection]]:
    """A client that is connected, and the server's end of it."""
    async with Odyssey(server.api_key, api_url=server.url) as client:
        await client.connect(**((witness or Witness()).callbacks() | more))
        yield client, server.connections[str(client.current_session_id)]


def tasks_of_others(before: set[asyncio.Task[Any]]) -> set[str]:
    """The names of tasks of the client that were not there `before`."""
    now = asyncio.all_tasks() - before
    return {task.get_name() for task in now if _ours(task.get_name())}


def _ours(name: str) -> bool:
    return name.startswith(("odyssey closing", "odyssey connection:", "odyssey callbacks"))
