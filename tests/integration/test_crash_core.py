"""SIGKILL under load, at random instants, and what is there afterwards.

Nothing of the store in memory survives its process, by nature: it is not tried here.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.db.server import new_server
from tests.integration.program import clean_environment
from tests.integration.room_writer import ROOMS, Recording

from salon.core import RoomKit
from salon.models import (
    ChannelType,
    EventSource,
    EventStatus,
    EventType,
    InboundMessage,
    Room,
    RoomEvent,
    TextContent,
)
from salon.store import make_stores

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ROUNDS = 5
LATEST_S = 0.8
TIMEOUT_S = 120
PAGE = 500

Told = tuple[str, int, str]
"""Room, index and id of an event whose commit was acknowledged."""


@dataclass
class Life:
    """One process: what it told, what it delivered, and the store as its end left it."""

    told: list[Told]
    delivered: list[tuple[str, int]]
    rooms: dict[str, Room]


@dataclass
class Lives:
    """Several that were killed, one after the other, and a last one that ended by itself."""

    killed: list[Life] = field(default_factory=list)
    last: Life = field(default_factory=lambda: Life([], [], {}))
    events: dict[str, list[RoomEvent]] = field(default_factory=dict)

    @property
    def told(self) -> list[Told]:
        return [told for life in self.killed for told in life.told]


# -- running --------------------------------------------------------------------------------------


class Writer:
    """`room_writer` on one store, again and again."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._file = folder / "delivered"
        self._out = folder / "out"
        self._file.touch()
        self._read = 0

    def live(self, seconds: float | None, *, lines: int = 1) -> Life:
        """Killed so long after it had told so many lines, the first being that it has opened the
        store; None: it ends by itself."""
        load = "rest" if seconds is None else "load"
        command = [sys.executable, "-m", "tests.integration.room_writer"]
        with self._out.open("wb") as out:
            process = subprocess.Popen(
                [*command, self._url, str(self._file), load],
                stdout=out,
                cwd=ROOT,
                env=clean_environment(),
            )
        try:
            if seconds is None:
                assert process.wait(TIMEOUT_S) == 0
            else:
                self._wait_for(process, lines)
                time.sleep(seconds)
        finally:
            process.kill()
            process.wait(TIMEOUT_S)
        if seconds is not None:
            assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
        return Life(self._told(), self._delivered(), asyncio.run(read_rooms(self._url)))

    def _wait_for(self, process: subprocess.Popen[bytes], lines: int) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while self._out.read_bytes().count(b"\n") < lines:
            assert process.poll() is None, "it ended by itself"
            assert time.monotonic() < deadline, "it told too little"
            time.sleep(0.005)

    def _told(self) -> list[Told]:
        lines = [line.split() for line in self._out.read_text().split("\n")[:-1]]
        return [(line[0], int(line[1]), line[2]) for line in lines if len(line) == 3]

    def _delivered(self) -> list[tuple[str, int]]:
        """In this life, in this order."""
        lines = self._file.read_text().split("\n")[:-1]
        new, self._read = lines[self._read :], len(lines)
        return [(room, int(index)) for room, index in map(str.split, new)]


async def read_rooms(url: str) -> dict[str, Room]:
    stores = make_stores(url)
    await stores.open()
    found = {room_id: await stores.conversation.get_room(room_id) for room_id in ROOMS}
    await stores.close()
    return {room_id: room for room_id, room in found.items() if room is not None}


async def leave_undelivered(url: str, room_id: str, count: int) -> None:
    """A room whose process died between commit and delivery."""
    async with RoomKit(store=make_stores(url).conversation) as kit:
        await kit.create_room(room_id)
        for channel_id in ("source", "target"):
            kit.register_channel(Recording(channel_id))
            await kit.attach_channel(room_id, channel_id)
        await kit.idle(room_id)
    stores = make_stores(url)
    await stores.open()
    source = EventSource(channel_id="source", channel_type=ChannelType.WEBSOCKET)
    for number in range(count):
        event = RoomEvent(
            room_id=room_id,
            source=source,
            content=TextContent(body=f"number {number}"),
            status=EventStatus.DELIVERED,
        )
        await stores.conversation.commit_event(event, at=datetime.now(UTC))
    await stores.close()


async def read_events(url: str) -> dict[str, list[RoomEvent]]:
    stores = make_stores(url)
    await stores.open()
    found: dict[str, list[RoomEvent]] = {room_id: [] for room_id in ROOMS}
    for room_id, events in found.items():
        more = True
        while more:
            after = events[-1].index if events else None
            page = await stores.conversation.list_events(room_id, limit=PAGE, after_index=after)
            events += page
            more = len(page) == PAGE
    await stores.close()
    return found


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    psycopg = pytest.importorskip("psycopg")
    server = new_server()
    try:
        server.start()
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE crash TEMPLATE template0")
        yield server.url("crash")
    finally:
        server.stop("immediate")
        shutil.rmtree(server.folder)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.db)])
def lives(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lives:
    """Every test looks at the same ones."""
    folder = tmp_path_factory.mktemp("crash")
    if request.param == "sqlite":
        url = f"sqlite:///{folder}/salon.db"
    else:
        url = request.getfixturevalue("postgres_url")
    writer, found = Writer(url, folder), Lives()
    # The first one has to furnish the rooms; some of the others die while they resume.
    found.killed.append(writer.live(random.uniform(0.0, LATEST_S), lines=8 * len(ROOMS)))
    for _ in range(ROUNDS - 1):
        found.killed.append(writer.live(random.uniform(0.0, LATEST_S)))
    found.last = writer.live(None)
    found.events = asyncio.run(read_events(url))
    return found


# -- what must hold -------------------------------------------------------------------------------


def test_R99_no_acknowledged_event_is_lost(lives: Lives) -> None:
    stored = {(room, event.index): event.id for room in ROOMS for event in lives.events[room]}
    lost = [told for told in lives.told if stored.get(told[:2]) != told[2]]
    assert not lost, f"{len(lost)} of {len(lives.told)}: {lost[:5]}"
    assert len(set(lives.told)) == len(lives.told)


def test_R95_indices_have_no_gap_and_counters_agree(lives: Lives) -> None:
    for room_id, events in lives.events.items():
        assert [event.index for event in events] == list(range(len(events))), room_id
        room = lives.last.rooms[room_id]
        assert (room.event_count, room.latest_index) == (len(events), len(events) - 1)


def test_R137_each_life_delivers_in_order_and_only_what_was_not_marked(lives: Lives) -> None:
    marks: dict[str, int] = {}
    for life in [*lives.killed, lives.last]:
        for room_id in ROOMS:
            indices = [index for room, index in life.delivered if room == room_id]
            assert indices == sorted(set(indices)), room_id
            if indices:
                assert indices[0] > marks.get(room_id, -1), room_id
        marks = {room_id: room.delivered_index for room_id, room in life.rooms.items()}


def test_R139_a_mark_says_that_everything_up_to_it_was_delivered(lives: Lives) -> None:
    done: set[tuple[str, int]] = set()
    for life in [*lives.killed, lives.last]:
        done.update(life.delivered)
        for room_id, room in life.rooms.items():
            marked = [
                (room_id, event.index)
                for event in lives.events[room_id]
                if event.type is EventType.MESSAGE and event.index <= room.delivered_index
            ]
            assert set(marked) <= done, room_id


def test_R139_deliveries_under_way_are_taken_up_after_a_restart(lives: Lives) -> None:
    assert any(
        room.latest_index is not None and room.latest_index > room.delivered_index
        for life in lives.killed
        for room in life.rooms.values()
    ), "every delivery was over whenever the process was killed"
    done = {pair for life in [*lives.killed, lives.last] for pair in life.delivered}
    due = {
        (room_id, event.index)
        for room_id, events in lives.events.items()
        for event in events
        if event.type is EventType.MESSAGE and event.status is EventStatus.DELIVERED
    }
    assert due <= done, f"{len(due - done)} of {len(due)} were never delivered"
    for room_id, room in lives.last.rooms.items():
        assert room.delivered_index == room.latest_index, room_id


async def test_R139_a_message_that_comes_before_the_resuming_takes_nothing_away(
    tmp_path: Path,
) -> None:
    """Rooms are resumed one after the other while the process already serves people."""
    url = f"sqlite:///{tmp_path}/salon.db"
    await leave_undelivered(url, "room", 3)
    with (tmp_path / "delivered").open("wb") as file:
        async with RoomKit(store=make_stores(url).conversation) as kit:
            kit.register_channel(Recording("source"))
            kit.register_channel(Recording("target", file.fileno()))
            message = InboundMessage(
                channel_id="source", sender_id="ada", content=TextContent(body="the next")
            )
            result = await kit.process_inbound(message, room_id="room", detached=True)
            assert result.event is not None
            await kit.idle("room")
            await kit.resume_deliveries()
            await kit.idle("room")
    lines = (tmp_path / "delivered").read_text().splitlines()
    newest = result.event.index
    expected = {f"room {index}" for index in range(newest - 3, newest + 1)}
    assert set(lines) == expected
