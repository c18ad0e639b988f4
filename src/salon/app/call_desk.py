"""What HTTP may ask of the calls that are live, and of what they left (G202-G204, G210)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from salon.app.call_stream import CallReaders
from salon.gateway import EventBus, Session
from salon.gateway.commands import Command, TtsCommand
from salon.gateway.voices import Cached, Voices

Taken = Literal["sent", "not_found", "full"]


class CallDesk:
    """Finds live calls by their ids and acts on them."""

    def __init__(
        self,
        find: Callable[[str], Session | None],
        bus: EventBus,
        voices: Voices,
        list_records: Callable[[], list[dict[str, str]]] = list,
    ) -> None:
        self.readers = CallReaders(bus.watch)
        self._find = find
        self._voices = voices
        self._list_records = list_records

    def is_live(self, session_id: str) -> bool:
        """Whether there is such a call and it goes on."""
        session = self._find(session_id)
        return session is not None and not session.ending

    def submit(self, session_id: str, command: Command, size: int) -> Taken:
        """Queue a command of `size` bytes as if the call's client had sent it (G202)."""
        session = self._find(session_id)
        if session is None or session.ending:
            return "not_found"
        if session.submit(command, size=size):
            return "sent"
        return "not_found" if session.ending else "full"

    async def precache(self, command: TtsCommand) -> Cached:
        """Make speech ahead (G204). Raises `SalonError`."""
        return await self._voices.precache(command)

    async def records(self) -> list[dict[str, str]]:
        """The rows of G210."""
        return await asyncio.to_thread(self._list_records)
