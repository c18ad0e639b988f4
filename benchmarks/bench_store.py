"""Durable events a second, in the store alone and through `RoomKit.process_inbound`.

    python benchmarks/bench_store.py [--quick] [--json] [--only sqlite postgres] [--folder PATH]
    python benchmarks/bench_store.py --profile profile.txt

Each room has one writer that sends its next event when the last one is on the disk (and, through
`RoomKit`, delivered to the room's other channel). SQLite has 16 rooms, PostgreSQL 8; its server is
started for the run, with fsync as it comes. "sync" is what one small write with fdatasync takes in
the same folder. Rates are wall time and medians of several runs, CPU is that of this process.
`--folder` must be on a disk: in memory nothing is durable, and the figures mean nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import io
import json
import os
import platform
import pstats
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from salon.core import RoomKit
from salon.core.ports import Channel
from salon.core.ports.store import ConversationStore
from salon.models import (
    NO_OUTPUT,
    ChannelBinding,
    ChannelOutput,
    ChannelType,
    EventSource,
    EventStatus,
    InboundMessage,
    RoomContext,
    RoomEvent,
    TextContent,
)
from salon.store import make_stores

ROOT = Path(__file__).resolve().parents[1]
WRITERS = {"sqlite": 16, "postgres": 8}
LIMIT = 1500.0
"""Events a second through `RoomKit`, on either store."""
WORDS = "Good morning, could you tell me when the next boat leaves?"
SYNCS = 50

Send = Callable[[str], Awaitable[None]]


class Recording(Channel):
    """A transport that counts what it is given."""

    channel_type = ChannelType.WEBSOCKET
    delivered = 0

    async def deliver(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        self.delivered += 1
        return NO_OUTPUT


# -- the two ways in ------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def through_store(store: ConversationStore, rooms: list[str]) -> Any:
    """`commit_event` alone; the rooms exist."""
    del rooms
    source = EventSource(channel_id="source", channel_type=ChannelType.WEBSOCKET)

    async def send(room: str) -> None:
        event = RoomEvent(
            room_id=room,
            source=source,
            content=TextContent(body=WORDS),
            status=EventStatus.DELIVERED,
        )
        await store.commit_event(event, at=datetime.now(UTC))

    yield send


@contextlib.asynccontextmanager
async def through_kit(store: ConversationStore, rooms: list[str]) -> Any:
    """A message to a room with two channels. Raises if a delivery is missing."""
    async with RoomKit(store=store) as kit:
        target = Recording("target")
        for channel in (Recording("source"), target):
            kit.register_channel(channel)
            for room in rooms:
                await kit.attach_channel(room, channel.channel_id)
        before, sent = target.delivered, 0

        async def send(room: str) -> None:
            nonlocal sent
            message = InboundMessage(
                channel_id="source", sender_id=room, content=TextContent(body=WORDS)
            )
            result = await kit.process_inbound(message, room_id=room)
            if result.blocked:
                raise RuntimeError(f"refused: {result.reason}")
            sent += 1

        yield send
        if target.delivered - before < sent:
            raise RuntimeError(f"{sent} sent, {target.delivered - before} delivered")


WAYS = {"store": through_store, "RoomKit": through_kit}


# -- measuring ------------------------------------------------------------------------------------


async def window(send: Send, rooms: list[str], seconds: float) -> dict[str, float]:
    """One writer per room until the time is up."""
    finished = 0
    began = time.perf_counter()

    async def write(room: str) -> None:
        nonlocal finished
        while time.perf_counter() - began < seconds:
            await send(room)
            finished += 1

    cpu = time.process_time()
    async with asyncio.TaskGroup() as group:
        for room in rooms:
            group.create_task(write(room))
    took = time.perf_counter() - began
    return {"rate": finished / took, "cpu_us": (time.process_time() - cpu) / finished * 1e6}


async def measure(
    name: str, url: str, way: str, runs: int, seconds: float, profile: cProfile.Profile | None
) -> dict[str, Any]:
    """Medians of `runs` windows, after one that does not count; then the rooms are checked."""
    stores = make_stores(url)
    store = stores.conversation
    rooms = [f"{way}-{number}" for number in range(WRITERS[name])]
    async with RoomKit(store=store) as kit:
        for room in rooms:
            await kit.create_room(room)
    await stores.open()
    async with WAYS[way](store, rooms) as send:
        await window(send, rooms, seconds / 2)
        if profile:
            profile.enable()
        found = [await window(send, rooms, seconds) for _ in range(runs)]
        if profile:
            profile.disable()
    await stores.close()
    return {
        "store": name,
        "way": way,
        "writers": len(rooms),
        "per_second": statistics.median(item["rate"] for item in found),
        "per_second_all": [round(item["rate"]) for item in found],
        "cpu_us": statistics.median(item["cpu_us"] for item in found),
        "limit": LIMIT if way == "RoomKit" else None,
    }


def sync_us(folder: Path) -> float:
    """What a small durable write takes: the median in microseconds."""
    took = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(SYNCS):
            began = time.perf_counter_ns()
            os.pwrite(file.fileno(), b"x" * 4096, 0)
            os.fdatasync(file.fileno())
            took.append((time.perf_counter_ns() - began) / 1000)
    return statistics.median(took)


def filesystem(folder: Path) -> str:
    """The kind of the one that holds `folder`."""
    mounts = [part for part in psutil.disk_partitions(all=True) if part.mountpoint]
    around = [part for part in mounts if folder.resolve().is_relative_to(part.mountpoint)]
    return max(around, key=lambda part: len(part.mountpoint)).fstype if around else "unknown"


# -- the stores -----------------------------------------------------------------------------------


@contextlib.contextmanager
def sqlite(folder: Path) -> Iterator[tuple[str, Path]]:
    with tempfile.TemporaryDirectory(dir=folder, prefix="bench-") as inside:
        yield f"sqlite:///{inside}/salon.db", Path(inside)


@contextlib.contextmanager
def postgres(_folder: Path) -> Iterator[tuple[str, Path]]:
    """Raises `LookupError` where it cannot be had."""
    sys.path.insert(0, str(ROOT))
    try:
        import psycopg
        import pytest
        from tests.db.server import new_server
    except ImportError as error:
        raise LookupError(f"it needs {error.name}") from error
    try:
        server = new_server()
    except pytest.skip.Exception as error:
        raise LookupError(str(error)) from error
    try:
        server.start()
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE bench TEMPLATE template0")
        yield server.url("bench"), server.folder
    finally:
        with contextlib.suppress(RuntimeError):
            server.stop("immediate")
        shutil.rmtree(server.folder)


STORES = {"sqlite": sqlite, "postgres": postgres}


def run(options: argparse.Namespace, profile: cProfile.Profile | None) -> list[dict[str, Any]]:
    """Every store, both ways."""
    runs, seconds = (2, 1.0) if options.quick else (options.runs, options.seconds)
    ways = ["RoomKit"] if profile else list(WAYS)
    results: list[dict[str, Any]] = []
    for name in options.only:
        try:
            with STORES[name](options.folder) as (url, folder):
                facts = {"sync_us": sync_us(folder), "filesystem": filesystem(folder)}
                for way in ways:
                    result = asyncio.run(measure(name, url, way, runs, seconds, profile))
                    results.append(result | facts)
                    if not options.json:
                        print(line(results[-1]), flush=True)
        except LookupError as error:
            results.append({"store": name, "skipped": str(error)})
            if not options.json:
                print(f"{name:<12}left out: {error}", flush=True)
    return results


HEAD = f"{'durable events':<24}{'writers':>8}{'a second':>10}{'CPU us':>9}{'sync us':>9}"


def line(result: dict[str, Any]) -> str:
    """One row of the table."""
    limit = "" if result["limit"] is None else f"   at least {result['limit']:.0f}"
    return (
        f"{result['store'] + ', ' + result['way']:<24}{result['writers']:>8}"
        f"{result['per_second']:>10.0f}{result['cpu_us']:>9.0f}{result['sync_us']:>9.0f}"
        f"   {result['filesystem']}{limit}"
    )


def default_folder() -> Path:
    """In the user's cache, for it is on a disk more often than the folder of temporary files."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "salon"


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure and print; the figures as a dictionary."""
    parser = argparse.ArgumentParser(description="durable events a second")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="two runs of a second")
    parser.add_argument("--only", nargs="*", choices=list(STORES), default=list(STORES))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--folder", type=Path, default=default_folder(), help="of SQLite's file")
    parser.add_argument("--profile", type=Path, help="write a profile to this file instead")
    options = parser.parse_args(arguments or [])
    options.folder.mkdir(parents=True, exist_ok=True)
    profile = cProfile.Profile() if options.profile else None
    load = [round(os.getloadavg()[0], 1)]
    if not options.json:
        print(HEAD, flush=True)
    results = run(options, profile)
    load.append(round(os.getloadavg()[0], 1))
    over = [
        f"{result['store']}, {result['way']}"
        for result in results
        if result.get("limit") and result["per_second"] < result["limit"]
    ]
    summary = {
        "bench": "store",
        "python": platform.python_version(),
        "load": load,
        "results": results,
        "over": [] if profile else over,
    }
    if profile:
        write_profile(profile, options.profile)
    elif options.json:
        print(json.dumps(summary))
    else:
        print(f"load of the machine {load[0]} before, {load[1]} after, {os.cpu_count()} cores")
        print("too slow: " + ", ".join(over) if over else "all within their limits")
    return summary


def write_profile(profile: cProfile.Profile, target: Path) -> None:
    """Of the event loop's thread: the database's threads are not in it."""
    text = io.StringIO()
    stats = pstats.Stats(profile, stream=text)
    for order in ("tottime", "cumtime"):
        stats.sort_stats(order).print_stats(45)
    target.write_text(text.getvalue())
    print(f"profile: {target}")


if __name__ == "__main__":
    raise SystemExit(1 if main(sys.argv[1:])["over"] else 0)
