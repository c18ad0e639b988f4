"""Rooms under load, to be killed: ``python -m tests.integration.room_writer URL DELIVERED LOAD``.

Opens the store, takes up the deliveries that a former life left, and, where LOAD is ``load``, has
eight rooms talk until the process ends; else ends when nothing is left to deliver. What it tells
on standard output is one line each: ``open``, ``resumed``, and ``room index id`` of every event
whose commit was acknowledged. Every message that is delivered becomes a line ``room index`` of the
file DELIVERED, which is on the disk before the delivery counts as done.
"""

from __future__ import annotations

import asyncio
import os
import sys

from salon.core import RoomKit
from salon.core.ports import Channel
from salon.models import (
    NO_OUTPUT,
    ChannelBinding,
    ChannelOutput,
    ChannelType,
    EventType,
    InboundMessage,
    RoomContext,
    RoomEvent,
    TextContent,
)
from salon.store import make_stores

ROOMS = [f"room-{number}" for number in range(8)]
AHEAD = 8
"""Events of one room that are committed before their sender waits for a delivery."""
DELIVERY_S = 0.004
"""What the other side takes for each, so that deliveries are under way whenever the end comes."""


class Recording(Channel):
    """A transport that keeps what it delivered; without a file it only speaks."""

    channel_type = ChannelType.WEBSOCKET

    def __init__(self, channel_id: str, file: int | None = None) -> None:
        super().__init__(channel_id)
        self._file = file

    async def deliver(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        if self._file is not None and event.type is EventType.MESSAGE:
            await asyncio.sleep(DELIVERY_S)
            os.write(self._file, f"{event.room_id} {event.index}\n".encode())
            os.fsync(self._file)
        return NO_OUTPUT


def tell(line: str) -> None:
    """At once and whole, whatever happens next."""
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


async def furnish(kit: RoomKit) -> None:
    """What is missing of the rooms: a former life may have died in the middle of it."""
    for room in ROOMS:
        if await kit.store.get_room(room) is None:
            await kit.create_room(room)
        for channel_id in ("source", "target"):
            if await kit.store.get_binding(room, channel_id) is None:
                await kit.attach_channel(room, channel_id)


async def talk(kit: RoomKit, room: str) -> None:
    number = 0
    while True:
        number += 1
        message = InboundMessage(
            channel_id="source", sender_id="ada", content=TextContent(body=f"number {number}")
        )
        result = await kit.process_inbound(message, room_id=room, detached=number % AHEAD != 0)
        assert result.event is not None, result.reason
        tell(f"{room} {result.event.index} {result.event.id}")


async def main(url: str, delivered: str, load: bool) -> None:
    file = os.open(delivered, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    async with RoomKit(store=make_stores(url).conversation) as kit:
        kit.register_channel(Recording("source"))
        kit.register_channel(Recording("target", file))
        tell("open")
        await kit.resume_deliveries()
        if not load:
            for room in ROOMS:
                await kit.idle(room)
        tell("resumed")
        if load:
            await furnish(kit)
            async with asyncio.TaskGroup() as group:
                for room in ROOMS:
                    group.create_task(talk(kit, room))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3] == "load"))
