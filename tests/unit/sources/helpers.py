"""What both kinds of source are tested with: real connections on loopback, in real time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from salon.core.framework import FrameworkEvent, FrameworkEvents
from salon.core.sources import SourceSupervisor
from salon.models import InboundMessage, InboundResult, TextContent

PATIENCE = 10.0


def frame(text: str, sender: str = "ann", **more: Any) -> str:
    return json.dumps({"sender_id": sender, "text": text} | more)


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not happened():
            await asyncio.sleep(0.005)


class Desk:
    """Takes the messages of sources and notes what their supervisor says."""

    def __init__(self) -> None:
        self.messages: list[InboundMessage] = []
        self.events: list[FrameworkEvent] = []
        self.framework = FrameworkEvents()
        self.framework.on("*", self.events.append)
        self.supervisor = SourceSupervisor(self.emit, self.framework)

    async def emit(self, message: InboundMessage) -> InboundResult:
        self.messages.append(message)
        return InboundResult(None)

    @property
    def texts(self) -> list[str]:
        return [m.content.body for m in self.messages if isinstance(m.content, TextContent)]

    @property
    def names(self) -> list[str]:
        return [event.type.removeprefix("source_") for event in self.events]
