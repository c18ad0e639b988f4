"""The events file: order, bounds, what happens when the disk is slow, full or strange (G213)."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.unit.voice.slow_disk import Blocked

from salon.gateway import CallOption, Session
from salon.gateway import journal as journals
from salon.gateway.commands import CustomCommand, HangupCommand
from salon.gateway.events import BinaryEvent, CustomEvent, ErrorEvent
from salon.gateway.journal import FLUSH_S, Journal, append_lines, journal_path
from salon.testing import scripted_rooms
from salon.testing.engine import scripted_engine
from salon.voice.recorder import RecordingWriter


@pytest.fixture
def writer() -> Iterator[RecordingWriter]:
    made = RecordingWriter()
    yield made
    made.close()


class FakeSession:
    """As much of a session as a journal sees; errors go to the journal, as events do."""

    def __init__(self, call_id: str = "a", handler: str = "controller") -> None:
        self.id = call_id
        self.room_id: str | None = None
        self.query = SimpleNamespace(handler=handler, dump=True)
        self.told: list[str] = []
        self.journal: Journal | None = None

    def now_ms(self) -> int:
        return 7

    def error(self, sender: str, message: str) -> None:
        assert sender == "dump"
        self.told.append(message)
        if self.journal is not None:
            self.journal.event(
                ErrorEvent(track_id=self.id, timestamp=7, sender=sender, error=message)
            )


def made(
    root: Path, writer: RecordingWriter | None, session: FakeSession | None = None, **options: Any
) -> tuple[Journal, FakeSession]:
    session = session or FakeSession()
    journal = Journal(cast(Session, session), root, lambda: writer, **options)
    session.journal = journal
    return journal, session


def say(journal: Journal, data: Any) -> None:
    journal.event(CustomEvent(timestamp=1, data=data))


def contents(path: Path) -> list[Any]:
    return [
        json.loads(json.loads(line)["content"]).get("data")
        for line in path.read_text().split("\n")[:-1]
    ]


async def test_lines_are_written_soon_and_the_rest_at_the_end(
    tmp_path: Path, writer: RecordingWriter
) -> None:
    journal, _ = made(tmp_path, writer)
    path = tmp_path / "a.events.jsonl"
    journal.command(CustomCommand(data={"n": 1}))
    say(journal, 2)
    assert journal.path is None
    await asyncio.sleep(FLUSH_S)
    assert await writer.written()
    assert path.read_text().splitlines() == [
        '{"type":"command","timestamp":7,"content":"{\\"command\\":\\"custom\\",\\"data\\":{\\"n\\":1}}"}',
        '{"type":"event","timestamp":7,"content":"{\\"event\\":\\"custom\\",\\"timestamp\\":1,\\"data\\":2}"}',
    ]
    assert writer.held() == {path}
    journal.command(HangupCommand())
    journal.parted()
    journal.event(CustomEvent(timestamp=1, data="too late"))
    assert await writer.written()
    assert len(path.read_text().splitlines()) == 3
    assert writer.held() == frozenset()
    assert journal.lost == 1


async def test_G213_no_sound(tmp_path: Path, writer: RecordingWriter) -> None:
    journal, _ = made(tmp_path, writer)
    journal.event(BinaryEvent(track_id="a", timestamp=1, data=[1, 2]))
    journal.parted()
    assert await writer.written()
    assert list(tmp_path.iterdir()) == []


def test_G213_dump_decides(tmp_path: Path) -> None:
    session = FakeSession()
    session.query.dump = False
    assert Journal.of(cast(Session, session), tmp_path, lambda: None) == ()


@pytest.mark.parametrize("odd", ["\x00\x7f\x85", float("inf"), {"x": "\u2028\n"}, "ü" * 10])
async def test_whatever_is_said_stays_one_line(
    tmp_path: Path, writer: RecordingWriter, odd: Any
) -> None:
    journal, _ = made(tmp_path, writer)
    say(journal, odd)
    journal.parted()
    assert await writer.written()
    assert len((tmp_path / "a.events.jsonl").read_bytes().splitlines()) == 1


async def test_a_call_may_only_write_so_much_and_is_told(
    tmp_path: Path, writer: RecordingWriter
) -> None:
    journal, session = made(tmp_path, writer, max_bytes=1000)
    for _ in range(100):
        say(journal, "x" * 50)
    journal.parted()
    assert await writer.written()
    path = tmp_path / "a.events.jsonl"
    assert path.stat().st_size < 1500
    last = json.loads(json.loads(path.read_text().splitlines()[-1])["content"])
    assert (last["event"], last["sender"], [last["error"]]) == ("error", "dump", session.told)
    assert journal.lost == 100 - len(path.read_text().splitlines()) + 1 + 1  # and its own error


async def test_a_slow_disk_is_told_and_counted_and_what_waits_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "MAX_WAITING", 1000)
    writer = RecordingWriter(bound=1)
    blocked = Blocked(writer)
    assert writer.submit(lambda: None)  # the queue is full now
    journal, session = made(tmp_path, writer)
    for number in range(30):
        say(journal, f"{number:050}")
    assert journal.lost > 0
    assert len(session.told) == 1
    assert "too slow" in session.told[0]
    lost = journal.lost
    blocked.free.set()
    assert await writer.written()
    await asyncio.sleep(FLUSH_S)  # tried again, with success
    assert await writer.written()
    path = tmp_path / "a.events.jsonl"
    assert len(path.read_text().splitlines()) + lost == 31
    assert contents(path)[0] == f"{0:050}"
    writer.close()


async def test_what_does_not_fit_at_the_end_is_counted(tmp_path: Path) -> None:
    writer = RecordingWriter(bound=1)
    journal, session = made(tmp_path, writer)
    say(journal, 1)
    await asyncio.sleep(FLUSH_S)
    assert await writer.written()
    blocked = Blocked(writer)
    assert writer.submit(lambda: None)
    say(journal, 2)
    journal.parted()
    assert journal.lost == 1
    assert session.told == []  # nobody is there any more
    assert writer.held() == frozenset()
    blocked.free.set()
    writer.close()


async def test_without_a_writer_lines_are_counted(tmp_path: Path) -> None:
    journal, _ = made(tmp_path, None)
    say(journal, 1)
    journal.parted()
    assert journal.lost == 1
    assert journal.path is None


async def test_a_disk_that_refuses_is_told_once(
    tmp_path: Path, writer: RecordingWriter, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.events.jsonl").mkdir()
    journal, session = made(tmp_path, writer)
    for number in range(3):
        say(journal, number)
        await asyncio.sleep(FLUSH_S)
        assert await writer.written()
        await asyncio.sleep(0)
    assert len(session.told) == 1
    assert "not written" in session.told[0]
    assert journal.lost >= 3
    assert writer.failed >= 3
    assert caplog.text.count("are not written") == 1
    (tmp_path / "a.events.jsonl").rmdir()
    say(journal, "again")
    journal.parted()
    assert await writer.written()
    assert contents(tmp_path / "a.events.jsonl") == ["again"]


def test_a_loop_that_is_gone_is_not_told(tmp_path: Path, writer: RecordingWriter) -> None:
    async def one() -> None:
        (tmp_path / "a.events.jsonl").mkdir()
        journal, _ = made(tmp_path, writer)
        blocked = Blocked(writer)
        say(journal, 1)
        journal.parted()
        asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)
        waiting.append(blocked)

    waiting: list[Blocked] = []
    asyncio.run(one())
    waiting[0].free.set()
    done = threading.Event()
    assert writer.submit(done.set)
    assert done.wait(10)
    assert writer.failed == 1


# -- rooms ----------------------------------------------------------------------------------------


async def test_of_a_call_into_a_room_is_written_in_the_folder_of_the_room(
    tmp_path: Path, writer: RecordingWriter
) -> None:
    session = FakeSession(handler="room")
    journal, _ = made(tmp_path, writer, session)
    say(journal, "before")
    await asyncio.sleep(FLUSH_S)
    assert await writer.written()
    assert list(tmp_path.iterdir()) == []
    session.room_id = "../kitchen"
    await journal.begin(cast(Session, session), CallOption())
    say(journal, "after")
    journal.parted()
    assert await writer.written()
    path = journal_path(tmp_path, "a", "../kitchen")
    assert path.parent.parent == tmp_path / "rooms"
    assert contents(path) == ["before", "after"]


async def test_of_a_call_that_never_got_into_its_room_too(
    tmp_path: Path, writer: RecordingWriter
) -> None:
    journal, _ = made(tmp_path, writer, FakeSession(handler="room"))
    say(journal, 1)
    journal.parted()
    assert await writer.written()
    assert contents(tmp_path / "a.events.jsonl") == [1]


async def test_a_folder_that_leads_elsewhere_is_not_followed(
    tmp_path: Path, writer: RecordingWriter
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "rooms").symlink_to(tmp_path)
    session = FakeSession(handler="room")
    session.room_id = "kitchen"
    journal, _ = made(root, writer, session)
    await journal.begin(cast(Session, session), CallOption())
    say(journal, 1)
    await asyncio.sleep(FLUSH_S)
    await asyncio.sleep(2 * FLUSH_S)
    journal.parted()
    assert journal.lost == 2
    assert session.told == ["the events file is not written: its folder leads elsewhere"]
    assert list(tmp_path.iterdir()) == [root]


async def test_the_room_of_a_real_call(tmp_path: Path, writer: RecordingWriter) -> None:
    from salon.providers.mock import MockAIProvider

    async with (
        scripted_engine() as engine,
        scripted_rooms(
            engine,
            MockAIProvider(responses=["well"]),
            companions=lambda session: Journal.of(session, tmp_path, lambda: writer),
        ) as rooms,
    ):
        call = rooms.call("kitchen", id="c")
        await call.invite()
        call.send({"command": "hangup"})
        await call.closed()
    assert await writer.written()
    assert [path.name for path in tmp_path.iterdir()] == ["rooms"]
    assert (tmp_path / "rooms" / "kitchen" / "c.events.jsonl").is_file()


# -- appending ------------------------------------------------------------------------------------


def test_a_line_that_a_crash_cut_is_ended_first(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b'{"whole":1}\n{"cut')
    append_lines(path, b"{}\n")
    append_lines(path, b"[]\n")
    assert path.read_bytes() == b'{"whole":1}\n{"cut\n{}\n[]\n'


def test_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    append_lines(path, b"first\n")
    true_write, times = os.write, [0]

    def full(descriptor: int, data: bytes) -> int:
        times[0] += 1
        if times[0] == 2:
            raise OSError(28, "No space left on device")
        return true_write(descriptor, data[:3])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        append_lines(path, b"second\n")
    assert path.read_bytes() == b"first\n"


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_only_plain_files_are_written_to(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "a", tmp_path / "other"
    other.write_bytes(b"")
    if kind == "link":
        path.symlink_to(other)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(OSError, match=r"\w"):
        append_lines(path, b"x\n")
    assert other.read_bytes() == b""
