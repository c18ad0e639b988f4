"""The work that `bench_core` measures, for either package, in the interpreter that runs this.

    python benchmarks/core_peer.py roomkit '{"channels": 10, "rooms": 1, "history": 10000}' ...

Each argument is a case. One line of JSON per case; CPU times are in microseconds per event. Nothing
is imported but the package named and the standard library. With `"profile": path` the case is
profiled and its figures mean nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import cProfile
import importlib
import inspect
import json
import platform
import resource
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

SOURCE = "source"
WARM_UP = 30
WORDS = "Good morning, could you tell me when the next boat leaves?"


class Names:
    """A package's public names, wherever in it they are."""

    def __init__(self, package: str) -> None:
        places = (package, f"{package}.models", f"{package}.core.ports")
        self._modules = [importlib.import_module(places[0])]
        for place in places[1:]:
            with contextlib.suppress(ImportError):
                self._modules.append(importlib.import_module(place))

    def __getattr__(self, name: str) -> Any:
        for module in self._modules:
            with contextlib.suppress(AttributeError):
                found = getattr(module, name)
                setattr(self, name, found)  # asked for once
                return found
        raise AttributeError(name)


class Work:
    """Rooms with channels on `package`'s in-memory store, and events that go through them."""

    def __init__(self, package: str, case: dict[str, Any]) -> None:
        self.package = Names(package)
        self.channels: int = case["channels"]
        self.rooms = [f"room-{number}" for number in range(case["rooms"])]
        self.history: int = case["history"]
        self.delivered = 0
        self.sent = 0

    def _channel_class(self) -> type:
        """A transport that counts what it is given."""
        package, work = self.package, self
        nothing = package.ChannelOutput()

        class Recording(package.Channel):  # type: ignore[name-defined,misc]
            channel_type = package.ChannelType.WEBSOCKET

            async def handle_inbound(self, message: Any, context: Any) -> Any:
                return package.RoomEvent(
                    room_id=context.room.id,
                    source=package.EventSource(
                        channel_id=self.channel_id,
                        channel_type=self.channel_type,
                        participant_id=message.sender_id,
                    ),
                    content=message.content,
                )

            async def deliver(self, event: Any, binding: Any, context: Any) -> Any:
                work.delivered += 1
                return nothing

        return Recording

    async def prepare(self) -> None:
        """Rooms, bindings, history."""
        self.kit = self.package.RoomKit()
        await self.kit.__aenter__()
        recording = self._channel_class()
        names = [SOURCE, *(f"target-{number}" for number in range(1, self.channels))]
        for name in names:
            self.kit.register_channel(recording(name))
        for room in self.rooms:
            await self.kit.create_room(room)
            for name in names:
                await self.kit.attach_channel(room, name)
            await self._fill(room, self.history // len(self.rooms))
        await self.run(WARM_UP)

    async def _fill(self, room: str, events: int) -> None:
        """A past that was delivered."""
        package, store = self.package, self.kit.store
        source = package.EventSource(channel_id=SOURCE, channel_type=package.ChannelType.WEBSOCKET)
        of_salon = "at" in inspect.signature(store.commit_event).parameters
        for _ in range(events):
            event = package.RoomEvent(
                room_id=room,
                source=source,
                content=package.TextContent(body=WORDS),
                status=package.EventStatus.DELIVERED,
            )
            if of_salon:
                stored = await store.commit_event(event, at=datetime.now(UTC))
            else:
                stored = await store.commit_event(room, event)
        if events:
            force = "force" in inspect.signature(store.advance_delivered_index).parameters
            await store.advance_delivered_index(
                room, stored.index, **({"force": True} if force else {})
            )

    async def run(self, events: int) -> None:
        """`events` messages, one after the other, from room to room; all must be delivered."""
        expected = self.delivered + events * (self.channels - 1)
        content = self.package.TextContent(body=WORDS)
        for _ in range(events):
            message = self.package.InboundMessage(
                channel_id=SOURCE, sender_id="ada", content=content
            )
            room = self.rooms[self.sent % len(self.rooms)]
            result = await self.kit.process_inbound(message, room_id=room)
            assert not result.blocked, result
            self.sent += 1
        assert self.delivered == expected, (self.delivered, expected)

    async def close(self) -> None:
        await self.kit.close()


async def measure(package: str, case: dict[str, Any]) -> dict[str, Any]:
    """CPU microseconds per event of each run."""
    work = Work(package, case)
    await work.prepare()
    events = case["events"]
    found = []
    profile = cProfile.Profile() if case.get("profile") else None
    for _ in range(case["runs"]):
        if profile:
            profile.enable()
        began = time.process_time_ns()
        await work.run(events)
        found.append((time.process_time_ns() - began) / events / 1000)
        if profile:
            profile.disable()
    await work.close()
    if profile:
        profile.dump_stats(case["profile"])
    return case | {
        "package": package,
        "version": version(package),
        "python": platform.python_version(),
        "us": found,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    for argument in sys.argv[2:]:
        print(json.dumps(asyncio.run(measure(sys.argv[1], json.loads(argument)))), flush=True)
