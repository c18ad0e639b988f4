"""The list of calls of which there is an events file (G210)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from salon.app.call_files import CallFiles
from salon.base import safe_name
from salon.gateway.journal import Journal, journal_path
from salon.testing import CallPair, scripted_engine, scripted_gateway, virtual_time
from salon.voice.recorder import RecordingWriter

AT = 1_767_600_000


@pytest.fixture
def writer() -> Iterator[RecordingWriter]:
    made = RecordingWriter()
    yield made
    made.close()


def line(at: float, **content: Any) -> str:
    entry = {"type": "event", "timestamp": round(at * 1000), "content": json.dumps(content)}
    return json.dumps(entry) + "\n"


def hangup(at: float, call_id: str, began: str, ended: str, reason: str = "caller") -> str:
    return line(
        at, event="hangup", trackId=call_id, startTime=began, hangupTime=ended, reason=reason
    )


def put(path: Path, text: str, at: float = AT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (at, at))
    return path


def test_G210_newest_first(tmp_path: Path) -> None:
    put(
        tmp_path / "a.events.jsonl",
        line(AT, event="answer")
        + hangup(AT + 70, "a", "2026-01-05T08:00:00.000Z", "2026-01-05T08:01:10.400Z"),
        AT + 70,
    )
    put(
        tmp_path / "rooms" / "kitchen" / "b.events.jsonl",
        hangup(AT + 90, "b", "2026-01-05T08:01:20.000Z", "2026-01-05T08:01:30.000Z", "failed"),
        AT + 90,
    )
    assert CallFiles(tmp_path).list() == [
        {"id": "b", "date": "2026-01-05T08:01:20.000Z", "duration": "10s", "status": "failed"},
        {"id": "a", "date": "2026-01-05T08:00:00.000Z", "duration": "70s", "status": "completed"},
    ]
    assert [row["id"] for row in CallFiles(tmp_path).list(limit=1)] == ["b"]
    assert CallFiles(tmp_path).list(limit=-1) == []


def test_calls_that_did_not_say_goodbye(tmp_path: Path) -> None:
    cut = put(tmp_path / "cut.events.jsonl", line(AT, event="answer") + line(AT + 5, event="dtmf"))
    live = put(tmp_path / "live.events.jsonl", line(AT + 1, event="answer") + '{"half')
    rows = CallFiles(tmp_path, lambda: {live}).list()
    assert [(row["id"], row["duration"], row["status"]) for row in rows] == [
        ("live", "0s", "active"),
        ("cut", "5s", "failed"),
    ]
    assert CallFiles(tmp_path).find("cut") == cut


def test_of_several_calls_in_one_file_the_last_counts(tmp_path: Path) -> None:
    text = "".join(
        hangup(AT, "a", f"2026-01-05T0{hour}:00:00.000Z", f"2026-01-05T0{hour}:00:03.000Z")
        for hour in (7, 8)
    )
    put(tmp_path / "a.events.jsonl", text)
    (row,) = CallFiles(tmp_path).list()
    assert (row["date"], row["duration"]) == ("2026-01-05T08:00:00.000Z", "3s")


def test_the_id_is_that_of_the_call_unless_it_is_another_ones(tmp_path: Path) -> None:
    call_id = "../x y"
    for name, told in ((safe_name(call_id), call_id), ("b", "somebody else")):
        put(tmp_path / f"{name}.events.jsonl", hangup(AT, told, "no time", "2026"))
    rows = CallFiles(tmp_path).list()
    assert sorted(row["id"] for row in rows) == ["../x y", "b"]
    assert {row["date"] for row in rows} == {"2026-01-05T08:00:00.000Z"}


@pytest.mark.parametrize(
    "text",
    ["", "\n", "no json\n", "[]\n", '{"content":"{}"}\n', '{"timestamp":1,"content":"[]"}\n'],
)
def test_what_holds_nothing_is_left_out(tmp_path: Path, text: str) -> None:
    put(tmp_path / "a.events.jsonl", text)
    assert CallFiles(tmp_path).list() == []


def test_only_plain_events_files_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    outside = put(tmp_path / "x.events.jsonl", line(AT, event="answer"))
    put(root / "a.wav", "")
    put(root / "a.jsonl", line(AT, event="answer"))
    (root / "link.events.jsonl").symlink_to(outside)
    (root / "dir.events.jsonl").mkdir()
    (root / "rooms").mkdir()
    (root / "rooms" / "link").symlink_to(tmp_path)
    files = CallFiles(root)
    assert files.list() == []
    for call_id in ("link", "dir", "x", "nobody", "../x"):
        assert files.find(call_id) is None
    assert CallFiles(tmp_path / "nothing").list() == []
    gone = put(root / "gone.events.jsonl", line(AT, event="answer"))
    monkeypatch.setattr(Path, "open", lambda *_args: (_ for _ in ()).throw(OSError()))
    assert files.list() == []
    assert files.find("gone") == gone


def test_a_call_into_a_room_is_found(tmp_path: Path) -> None:
    path = put(journal_path(tmp_path, "../a", "k/1"), line(AT, event="answer"))
    assert CallFiles(tmp_path).find("../a") == path


@virtual_time
async def test_what_a_call_wrote_is_listed(tmp_path: Path, writer: RecordingWriter) -> None:
    files = CallFiles(tmp_path, writer.held)
    async with (
        scripted_engine() as engine,
        scripted_gateway(
            engine, companions=lambda session: Journal.of(session, tmp_path, lambda: writer)
        ) as gateway,
    ):
        call = CallPair.connect(gateway.acceptor, "/ws?id=s.1/2")
        await call.invite()
        call.send({"command": "tts", "text": "hello"})
        await call.expect("trackEnd")
        await writer.written()
        (row,) = files.list()
        assert row["status"] == "active"
        call.send({"command": "hangup"})
        await call.closed()
    await writer.written()
    (row,) = files.list()
    assert (row["id"], row["status"]) == ("s.1/2", "completed")
