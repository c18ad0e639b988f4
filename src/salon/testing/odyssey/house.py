"""What the drivers of one stand-in share."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from salon.base import Clock, IdFactory
from salon.testing.odyssey.archive import Archive
from salon.testing.odyssey.broker_core import BrokerCore
from salon.testing.odyssey.faults import Faults
from salon.testing.odyssey.jobs import JobBook
from salon.testing.odyssey.sessions import Sessions
from salon.testing.odyssey.settings import StandInSettings
from salon.testing.odyssey.tokens import Signer

if TYPE_CHECKING:
    from salon.testing.odyssey.connection import Connection


@dataclass(slots=True)
class House:
    """The cores, the switches, and the folder in which recordings lie, one folder each."""

    settings: StandInSettings
    faults: Faults
    clock: Clock
    ids: IdFactory
    folder: Path
    broker: BrokerCore
    sessions: Sessions
    archive: Archive
    jobs: JobBook
    connections: dict[str, Connection] = field(default_factory=dict)
    """Open sockets by session id."""
    submitted: asyncio.Event = field(default_factory=asyncio.Event)
    """A job was submitted."""

    @classmethod
    def build(
        cls,
        settings: StandInSettings,
        faults: Faults,
        clock: Clock,
        ids: IdFactory,
        folder: Path,
        secret: bytes,
    ) -> House:
        """Put the cores together."""
        signer = Signer(secret)

        def forget(stream_id: str) -> None:
            shutil.rmtree(folder / stream_id, ignore_errors=True)

        sessions = Sessions(settings, ids)
        archive = Archive(settings, signer, forget)
        jobs = JobBook(settings, ids)
        broker = BrokerCore(settings, signer, sessions, archive, jobs)
        return cls(settings, faults, clock, ids, folder, broker, sessions, archive, jobs)

    def reach(self, origin: str) -> None:
        """The address is known."""
        self.broker.origin = self.archive.origin = origin

    def streams_of(self, owner: str) -> int:
        """Streams of an account that run now."""
        held = self.connections.values()
        return sum(one.owner == owner and one.stream is not None for one in held)

    async def new_folder(self, stream_id: str) -> Path:
        """The folder of a recording; `stream_id` is one of our own making."""
        folder = self.folder / stream_id
        await asyncio.to_thread(folder.mkdir)
        return folder
