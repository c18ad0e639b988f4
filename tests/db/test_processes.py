"""Several processes on one database, and processes that die."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from salon.core.ports.store import ConversationStore
from salon.store import Stores
from salon.testing.contracts.samples import indices, later, make_event, new_room

ROOT = Path(__file__).parents[2]
TIMEOUT = 120


async def committer(url: str, rooms: str, events: int, callers: int) -> Process:
    command = [sys.executable, "-m", "tests.db.committer", url, rooms, str(events), str(callers)]
    child = await asyncio.create_subprocess_exec(*command, stdout=PIPE, cwd=ROOT)
    assert await line_of(child) == "ready"
    return child


async def line_of(child: Process) -> str:
    assert child.stdout is not None
    return (await asyncio.wait_for(child.stdout.readline(), TIMEOUT)).decode().strip()


async def rest_of(child: Process) -> list[tuple[str, int]]:
    """What it told from now on, whole lines only."""
    output, _ = await asyncio.wait_for(child.communicate(), TIMEOUT)
    return [told(line) for line in output.decode().split("\n")[:-1]]


def told(line: str) -> tuple[str, int]:
    room, index = line.split()
    return room, int(index)


async def assert_gapless(store: ConversationStore, room_id: str) -> int:
    """Timeline and counters agree; how many events there are."""
    found = await indices(store, room_id)
    room = await store.get_room(room_id)
    assert room is not None
    assert found == list(range(len(found)))
    assert (room.event_count, room.latest_index) == (len(found), len(found) - 1)
    return len(found)


async def test_R95_four_processes_write_to_one_room(url: str, stores: Stores) -> None:
    await new_room(stores.conversation, "room")
    children = await asyncio.gather(*(committer(url, "room", 500, 4) for _ in range(4)))
    committed = [index for child in children for _, index in await rest_of(child)]
    assert [child.returncode for child in children] == [0] * 4
    assert sorted(committed) == list(range(2000))
    assert await assert_gapless(stores.conversation, "room") == 2000


async def test_R95_processes_that_meet_in_many_rooms_never_deadlock(
    url: str, stores: Stores
) -> None:
    names = [f"r{number}" for number in range(8)]
    for name in names:
        await new_room(stores.conversation, name)
    orders = [",".join(names), ",".join(reversed(names))]
    children = await asyncio.gather(*(committer(url, order, 400, 8) for order in orders))
    committed = [pair for child in children for pair in await rest_of(child)]
    assert [child.returncode for child in children] == [0, 0]
    assert sorted(committed) == [(name, index) for name in names for index in range(100)]
    for name in names:
        assert await assert_gapless(stores.conversation, name) == 100


async def test_R99_a_killed_writer_loses_nothing_that_was_told(url: str, stores: Stores) -> None:
    store = stores.conversation
    await new_room(store, "room")
    await new_room(store, "other")
    for after in (1, 60):
        before = {name: len(await indices(store, name)) for name in ("room", "other")}
        victim = await committer(url, "room,other", 1_000_000, 8)
        survivor = await committer(url, "room", 200, 4)
        pairs = [told(await line_of(victim)) for _ in range(after)]
        os.kill(victim.pid, signal.SIGKILL)
        pairs += await rest_of(victim)
        pairs += await rest_of(survivor)
        assert survivor.returncode == 0
        for name in ("room", "other"):
            acknowledged = [index for room, index in pairs if room == name]
            count = await assert_gapless(store, name)
            assert set(acknowledged) <= set(range(before[name], count))
            assert len(acknowledged) == len(set(acknowledged))
            # Only what was under way may be there without having been told.
            assert count - before[name] <= len(acknowledged) + 8
        number = len(await indices(store, "room"))
        assert (await store.commit_event(make_event(), at=later(1))).index == number


async def test_R95_a_writer_that_stands_still_gives_the_room_back(url: str, stores: Stores) -> None:
    store = stores.conversation
    await new_room(store, "room")
    child = await committer(url, "room", 1_000_000, 8)
    await line_of(child)
    os.kill(child.pid, signal.SIGSTOP)
    try:
        # At once if it was stopped between two transactions, else after the server's timeout.
        event = await asyncio.wait_for(store.commit_event(make_event(), at=later(1)), 30)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        pairs = await rest_of(child)
    count = await assert_gapless(store, "room")
    assert event.index < count
    assert event.index not in {index for _, index in pairs}
