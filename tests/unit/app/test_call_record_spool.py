"""Call records that were put aside are sent again (G218)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from salon.app import call_records as queues
from salon.app.call_parts import CallParts
from salon.app.call_record_sinks import LocalSink, SinkError
from salon.app.call_record_spool import LEAST_S, MOST_S, ROUND, Resender
from salon.app.call_records import CallRecordQueue
from salon.app.engines import Engines
from salon.app.metrics import Metrics
from salon.app.settings import load_settings
from salon.gateway import Session
from salon.gateway.call_record import EndedCall
from salon.testing import MockAIProvider, VirtualClock

AT = 1_767_600_000.0
START = "2026-01-05T08:00:00.000Z"


def ended(call_id: str, at: float = AT, **fields: Any) -> EndedCall:
    return EndedCall(call_id, at, {"callId": call_id, "startTime": START, **fields})


class Goal:
    """Takes what it is sent, unless `down`; refuses for good who is in `refused`."""

    def __init__(self, *, down: bool = False) -> None:
        self.down = down
        self.refused: set[str] = set()
        self.broken: set[str] = set()
        self.taken: list[EndedCall] = []
        self.tried: list[str] = []
        self.closed = False
        self.hold: Callable[[], Awaitable[object]] | None = None

    async def put(self, call: EndedCall) -> None:
        assert not self.closed
        self.tried.append(call.id)
        if self.hold is not None:
            await self.hold()
        if self.down:
            raise SinkError("nobody there")
        if call.id in self.refused:
            raise SinkError("answered 400", retryable=False)
        if call.id in self.broken:
            raise ValueError("a fault of the sink")
        self.taken.append(call)

    async def close(self) -> None:
        self.closed = True

    @property
    def ids(self) -> list[str]:
        return [call.id for call in self.taken]


async def aside(root: Path, *ids: str) -> None:
    for number, call_id in enumerate(ids):
        await LocalSink(root).put(ended(call_id, AT + number))


def left(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


async def test_the_oldest_go_first_and_leave_nothing_behind(tmp_path: Path) -> None:
    await aside(tmp_path, "c", "a", "b")
    goal = Goal()
    resender = Resender(goal, tmp_path)
    assert await resender.round()
    assert goal.ids == ["c", "a", "b"]
    assert resender.resent == 3
    assert goal.taken[0] == ended("c")  # as it was, times included
    assert not list(tmp_path.iterdir())
    assert await resender.round()
    assert goal.ids == ["c", "a", "b"]


async def test_no_folder_is_nothing_to_do(tmp_path: Path) -> None:
    assert await Resender(Goal(), tmp_path / "none").round()


async def test_a_goal_that_is_not_there_is_asked_once_a_round(tmp_path: Path) -> None:
    await aside(tmp_path, "a", "b")
    goal = Goal(down=True)
    resender = Resender(goal, tmp_path)
    assert not await resender.round()
    assert goal.tried == ["a"]
    assert len(left(tmp_path)) == 2
    goal.down = False
    assert await resender.round()
    assert goal.ids == ["a", "b"]


@pytest.mark.parametrize("kind", ["refused", "broken"])
async def test_what_is_refused_for_good_waits_for_the_next_start(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    await aside(tmp_path, "a", "b")
    goal = Goal()
    getattr(goal, kind).add("a")
    resender = Resender(goal, tmp_path)
    for _ in range(3):
        assert await resender.round()
    assert goal.tried == ["a", "b"]
    assert len(left(tmp_path)) == 1
    assert "stays in" in caplog.text or "failed at" in caplog.text
    getattr(goal, kind).clear()
    assert await Resender(goal, tmp_path).round()
    assert goal.ids == ["b", "a"]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '"a"', '{"callId": 1, "recorder": [{}]}'])
async def test_what_is_no_record_stops_nobody(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "0.json").write_text(text)
    (tmp_path / ".being-written.tmp").write_text("{")
    await aside(tmp_path, "a")
    goal = Goal()
    resender = Resender(goal, tmp_path)
    assert await resender.round()
    assert await resender.round()
    assert goal.ids == ["a"]
    assert caplog.text.count("is no call record") == 1
    assert (tmp_path / "0.json").exists()


async def test_an_empty_file_is_one_that_is_being_written(tmp_path: Path) -> None:
    (tmp_path / "0.json").write_text("")
    goal = Goal()
    resender = Resender(goal, tmp_path)
    assert await resender.round()
    (tmp_path / "0.json").write_text(json.dumps({"callId": "a"}))
    assert await resender.round()
    assert goal.ids == ["a"]


async def test_only_files_of_calls_go_along(tmp_path: Path) -> None:
    files, spool = tmp_path / "files", tmp_path / "spool"
    inside, secret = files / "a.wav", tmp_path / "secret"
    escaping = files / ".." / "secret"
    record: dict[str, Any] = {
        "recorder": [
            {"trackId": "a", "path": str(inside)},
            {"trackId": "b", "path": str(secret)},
            {"trackId": "c", "path": str(escaping)},
        ],
        "dumpEventFile": str(files / "a.events.jsonl"),
    }
    await LocalSink(spool).put(ended("a", **record))
    await LocalSink(spool).put(ended("b", AT + 1, dumpEventFile=str(secret)))
    goal = Goal()
    assert await Resender(goal, spool, files=(files,)).round()
    assert goal.taken[0].media == (("a", inside),)
    assert goal.taken[0].events == files / "a.events.jsonl"
    assert goal.taken[1].events is None


async def test_a_round_is_bounded(tmp_path: Path) -> None:
    await aside(tmp_path, *(str(number) for number in range(ROUND + 1)))
    goal = Goal()
    resender = Resender(goal, tmp_path)
    await resender.round()
    assert len(goal.taken) == ROUND
    await resender.round()
    assert len(goal.taken) == ROUND + 1


class Waits(VirtualClock):
    """Notes how long is waited, and lets `wake` end it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []
        self.wake = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.wake.clear()
        await self.wake.wait()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.waits) < count:
                self.wake.set()
                await asyncio.sleep(0.001)


async def test_rounds_come_further_apart_while_nothing_is_taken(tmp_path: Path) -> None:
    await aside(tmp_path, "a")
    goal, clock = Goal(down=True), Waits()
    task = asyncio.create_task(Resender(goal, tmp_path, clock=clock).run())
    await clock.until(9)
    assert clock.waits[:3] == [2 * LEAST_S, 4 * LEAST_S, 8 * LEAST_S]
    assert clock.waits[-1] == MOST_S
    goal.down = False
    await clock.until(len(clock.waits) + 1)
    assert clock.waits[-1] == LEAST_S
    assert goal.ids == ["a"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "ended_call", lambda session: session.call)


@pytest.mark.usefixtures("as_they_come")
async def test_what_the_last_server_left_is_sent_at_start(tmp_path: Path) -> None:
    gone = Goal(down=True)
    gone.hold = asyncio.Event().wait
    last = CallRecordQueue(gone, spool=LocalSink(tmp_path))
    last.put(cast(Session, SimpleNamespace(call=ended("a"))))
    await last.close()
    assert (last.spooled, last.resent) == (1, 0)
    goal, clock = Goal(), Waits()
    queue = CallRecordQueue(
        goal,
        spool=LocalSink(tmp_path),
        resender=Resender(goal, tmp_path, clock=clock),
        clock=clock,
    )
    await queue.start()
    await clock.until(1)
    assert (goal.ids, queue.resent) == (["a"], 1)
    began = asyncio.get_running_loop().time()
    await queue.close()
    assert goal.closed
    assert asyncio.get_running_loop().time() - began < 1  # the rounds are not waited for


@pytest.mark.usefixtures("as_they_come")
async def test_a_record_that_is_on_its_way_at_the_end_stays(tmp_path: Path) -> None:
    await aside(tmp_path, "a")
    goal = Goal()
    goal.hold = asyncio.Event().wait
    queue = CallRecordQueue(goal, resender=Resender(goal, tmp_path))
    await queue.start()
    async with asyncio.timeout(5):
        while not goal.tried:
            await asyncio.sleep(0.001)
    await queue.close()
    assert len(left(tmp_path)) == 1


@pytest.mark.parametrize(
    ("target", "again"),
    [
        ("http://127.0.0.1:9/cdr", True),
        ("elsewhere", True),
        ("data/call-records", False),
        ("data/call-records/billing", False),
        ("data", False),
    ],
)
async def test_what_lies_where_it_belongs_is_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, again: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(
        {"SALON_DATA_DIR": "data", "SALON_CALL_RECORDS": target}, env_file=None
    )
    metrics = Metrics()
    parts = CallParts(settings, Engines(settings, metrics, MockAIProvider()), metrics)
    assert parts.records is not None
    assert (parts.records._resender is not None) is again
    await parts.records.close()
