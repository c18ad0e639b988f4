"""A process that commits: ``python -m tests.db.committer URL ROOMS EVENTS CALLERS``.

Tells each room and index when its commit has returned, and nothing else.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

from salon.models import EventSource, RoomEvent, TextContent
from salon.store import make_stores


async def main(url: str, rooms: list[str], events: int, callers: int) -> None:
    stores = make_stores(url)
    await stores.open()
    source = EventSource(channel_id="phone", channel_type="voice")
    print("ready", flush=True)

    async def call(number: int) -> None:
        for turn in range(number, events, callers):
            room = rooms[turn % len(rooms)]
            event = RoomEvent(room_id=room, source=source, content=TextContent(body="hello"))
            event = await stores.conversation.commit_event(event, at=datetime.now(UTC))
            print(room, event.index, flush=True)

    await asyncio.gather(*(call(number) for number in range(callers)))
    await stores.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2].split(","), int(sys.argv[3]), int(sys.argv[4])))
