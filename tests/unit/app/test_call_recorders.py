"""Who records a call, and what goes when a room goes (G66, G214)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from salon.app.keeping import forget_events, forget_recordings
from salon.app.recordings import Recordings
from salon.app.records import Recorders, RoomRecordings
from salon.gateway import CallOption, Session
from salon.gateway.journal import append_lines, journal_path
from salon.gateway.options import RecorderOption
from salon.gateway.recording import CallRecordings
from salon.voice.recorder import RecordingWriter


@pytest.fixture
def writer() -> Iterator[RecordingWriter]:
    made = RecordingWriter()
    yield made
    made.close()


def session(handler: str = "controller", room_id: str | None = None) -> Session:
    told: list[str] = []
    return cast(
        Session,
        SimpleNamespace(
            id="c",
            query=SimpleNamespace(handler=handler),
            room_id=room_id,
            told=told,
            error=lambda sender, text: told.append(f"{sender}: {text}"),
        ),
    )


def recorders(root: Path, writer: RecordingWriter, *, enabled: bool = True) -> Recorders:
    return Recorders(
        RoomRecordings(root / "recordings", lambda: writer, enabled=enabled),
        CallRecordings((root / "calls",), lambda: writer),
    )


ASKED = CallOption(recorder=RecorderOption(recorder_file="mine", samplerate=8000, ptime=40))


async def test_a_call_in_a_room_is_recorded_for_the_room(
    tmp_path: Path, writer: RecordingWriter
) -> None:
    call = session("room", "kitchen")
    for option, rate in ((ASKED, 8000), (CallOption(), 16_000)):
        made = recorders(tmp_path, writer).recorder_for(call, option)
        assert made is not None
        assert made.rate == rate
        assert made.path.parent == tmp_path / "recordings" / "kitchen"
        assert made.on_trouble is not None
        made.on_trouble("full")
        await made.close()
    assert cast(Any, call).told == ["recorder: full"] * 2
    assert len(Recordings(tmp_path / "recordings").list("kitchen")) == 2
    assert not (tmp_path / "calls").exists()


def test_where_rooms_are_not_recorded_their_calls_are_not_either(
    tmp_path: Path, writer: RecordingWriter
) -> None:
    off = recorders(tmp_path, writer, enabled=False)
    assert off.recorder_for(session("room", "kitchen"), ASKED) is None
    assert off.recorder_for(session("room"), ASKED) is None  # on its way into one
    assert list(tmp_path.iterdir()) == []


async def test_other_calls_are_recorded_if_they_ask(
    tmp_path: Path, writer: RecordingWriter
) -> None:
    off = recorders(tmp_path, writer, enabled=False)
    assert off.recorder_for(session(), CallOption()) is None
    made = off.recorder_for(session(), ASKED)
    assert made is not None
    assert made.path == tmp_path / "calls" / "mine.wav"
    await made.close()


def test_a_room_that_is_not_recorded_is_counted(tmp_path: Path, writer: RecordingWriter) -> None:
    (tmp_path / "recordings").write_text("")
    rooms = RoomRecordings(tmp_path / "recordings", lambda: writer)
    assert rooms.recorder_for(session("room", "kitchen"), ASKED) is None
    assert rooms.failed == 1


def test_the_events_files_of_a_room_go_with_it(tmp_path: Path) -> None:
    for room in ("kitchen", "hall", "../kitchen"):
        append_lines(journal_path(tmp_path, "c", room), b"{}\n")
    append_lines(journal_path(tmp_path, "c"), b"{}\n")
    forget_events(tmp_path, "kitchen")
    forget_events(tmp_path, "nowhere")
    left = {path.parent.name for path in tmp_path.rglob("*.jsonl")}
    assert len(left) == 3
    assert "kitchen" not in left
    assert {"hall", tmp_path.name} < left


def test_what_cannot_be_deleted_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    append_lines(journal_path(tmp_path, "c", "kitchen"), b"{}\n")

    def refuse(*_args: object, **_more: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("shutil.rmtree", refuse)
    forget_events(tmp_path, "kitchen")
    assert "events files of room kitchen were not deleted" in caplog.text


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "kitchen").mkdir(parents=True)
    root = tmp_path / "root"
    (root / "recordings").mkdir(parents=True)
    (root / "rooms").symlink_to(outside)
    (root / "recordings" / "kitchen").symlink_to(outside / "kitchen")
    forget_events(root, "kitchen")
    forget_recordings(Recordings(root / "recordings"), "kitchen")
    assert (outside / "kitchen").is_dir()
