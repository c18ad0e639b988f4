"""What is kept of calls: outcomes counted, the log, recordings, the note after a crash."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_IMODE
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from salon.app.metrics import Metrics
from salon.app.recordings import Recordings
from salon.app.records import CallRecords, RoomRecordings
from salon.core import RoomKit
from salon.core.memory.calls import MemoryCallLog
from salon.core.ports.calls import CallRecord
from salon.gateway import Gateway, Session
from salon.gateway.handlers import CallHandler, ControllerHandler
from salon.gateway.options import CallOption
from salon.media import read_wav
from salon.models import SystemContent
from salon.testing import CallPair, scripted_engine, scripted_gateway, virtual_time
from salon.voice.recorder import RecordingWriter

AT = datetime(2026, 1, 2, tzinfo=UTC)
OPTION = CallOption()


@dataclass
class Place:
    """A gateway whose calls are counted and logged as in a server."""

    gateway: Gateway
    metrics: Metrics
    records: CallRecords
    log: MemoryCallLog

    def call(self, url: str = "/ws?id=c1") -> CallPair:
        return CallPair.connect(self.gateway.acceptor, url)

    def counted(self) -> dict[str, float]:
        """`salon_calls_total` by outcome."""
        found = {}
        for outcome in ("completed", "failed", "killed", "lost"):
            value = self.metrics.registry.get_sample_value(
                "salon_calls_total", {"outcome": outcome}
            )
            if value is not None:
                found[outcome] = value
        return found


@asynccontextmanager
async def a_place(handler: type[CallHandler] = ControllerHandler) -> AsyncIterator[Place]:
    log, metrics = MemoryCallLog(), Metrics()
    async with scripted_engine(["words"]) as engine, RoomKit(clock=engine.clock) as kit:
        records = CallRecords(log, kit, metrics)
        async with scripted_gateway(
            engine,
            handler_for=lambda _query: handler(),
            on_answered=records.answered,
            on_ended=records.ended,
        ) as gateway:
            yield Place(gateway, metrics, records, log)
        await records.close()


@virtual_time
async def test_a_call_hung_up_by_somebody_in_it_is_completed() -> None:
    async with a_place() as place:
        call = place.call()
        await call.invite()
        call.send({"command": "hangup", "reason": "caller"})
        await call.expect("hangup")
        assert place.counted() == {"completed": 1}


@virtual_time
async def test_a_call_that_hangs_up_without_a_reason_is_completed_too() -> None:
    async with a_place() as place:
        call = place.call()
        await call.invite()
        call.send({"command": "hangup"})
        await call.expect("hangup")
        assert place.counted() == {"completed": 1}


@virtual_time
async def test_a_rejected_call_is_completed() -> None:
    async with a_place() as place:
        call = place.call()
        call.send({"command": "reject", "reason": "busy"})
        await call.expect("hangup")
        assert place.counted() == {"completed": 1}


@virtual_time
async def test_a_call_ended_by_an_error_is_failed() -> None:
    async with a_place() as place:
        call = place.call()
        await call.invite()
        call.send({"command": "invite", "option": {}})  # G52
        await call.expect("hangup", reason="failed")
        assert place.counted() == {"failed": 1}


class BrokenHandler(ControllerHandler):
    """A handler that cannot begin."""

    async def begin(self, session: Session, option: CallOption) -> Any:
        raise RuntimeError("broken")


@virtual_time
async def test_G33_a_call_whose_handler_breaks_is_failed() -> None:
    async with a_place(BrokenHandler) as place:
        call = place.call()
        call.send({"command": "invite", "option": {}})
        await call.expect("hangup", reason="failed")
        assert place.counted() == {"failed": 1}


@virtual_time
async def test_G201_a_call_ended_from_outside_is_killed() -> None:
    async with a_place() as place:
        call = place.call()
        await call.invite()
        assert await place.gateway.kill("c1")
        await call.expect("hangup")
        assert place.counted() == {"killed": 1}


@virtual_time
async def test_G21_calls_that_outlive_the_server_are_killed() -> None:
    async with a_place() as place:
        call = place.call()
        await call.invite()
        assert not await place.gateway.drain(0)
        assert place.counted() == {"killed": 1}


@virtual_time
async def test_G20_a_call_whose_connection_broke_is_lost() -> None:
    async with a_place() as place:
        call = place.call()
        await call.invite()
        session = place.gateway.get("c1")
        assert session is not None
        call.vanish()
        await session.done.wait()
        assert session.outcome == "lost"
        assert place.counted() == {"lost": 1}


@virtual_time
async def test_the_first_end_of_a_call_is_the_one_that_counts() -> None:
    async with a_place() as place:
        call = place.call()
        await call.invite()
        session = place.gateway.get("c1")
        assert session is not None
        call.send({"command": "hangup", "reason": "caller"})
        call.vanish()
        await place.gateway.kill("c1")
        await session.done.wait()
        assert sum(place.counted().values()) == 1


@virtual_time
async def test_every_outcome_is_counted_on_its_own() -> None:
    async with a_place() as place:
        for number, end in enumerate(("caller", "kill", "vanish", "caller")):
            call = place.call(f"/ws?id=c{number}")
            await call.invite()
            session = place.gateway.get(f"c{number}")
            assert session is not None
            if end == "kill":
                await place.gateway.kill(session.id)
            elif end == "vanish":
                call.vanish()
            else:
                call.send({"command": "hangup", "reason": "caller"})
            await session.done.wait()
        assert place.counted() == {"completed": 2, "killed": 1, "lost": 1}
        assert b'salon_calls_total{outcome="lost"} 1.0' in place.metrics.render()


@virtual_time
async def test_the_log_holds_answered_calls_and_their_ends() -> None:
    async with a_place() as place:
        call = place.call("/ws?id=c1&participant=ann")
        await call.invite()
        call.send({"command": "hangup", "reason": "caller"})
        await call.expect("hangup")
        await place.records.close()
        (record,) = await place.log.list_calls()
    assert (record.id, record.state, record.participant_id) == ("c1", "ended", "ann")
    assert record.reason is not None
    assert "caller" in record.reason.lower()
    assert record.ended_at is not None


@virtual_time
async def test_a_call_that_was_never_answered_is_counted_but_not_logged() -> None:
    async with a_place() as place:
        call = place.call()
        call.send({"command": "hangup", "reason": "caller"})
        await call.expect("hangup")
        await place.records.close()
        assert await place.log.list_calls() == []
        assert place.counted() == {"completed": 1}


@virtual_time
async def test_calls_that_a_crash_cut_are_failed_and_their_rooms_say_so() -> None:
    log = MemoryCallLog()
    async with RoomKit() as kit:
        await kit.create_room("kitchen")
        await log.started(CallRecord("c1", "room", AT, "kitchen", "ann"))
        await log.started(CallRecord("c2", "controller", AT))
        await CallRecords(log, kit, Metrics()).recover()
        assert {call.state for call in await log.list_calls()} == {"failed"}
        events = await kit.store.list_events("kitchen", limit=10)
        notes = [
            event.content
            for event in events
            if isinstance(event.content, SystemContent) and event.content.code == "call_failed"
        ]
        assert [note.data for note in notes] == [{"call_id": "c1", "state": "failed"}]
        await CallRecords(log, kit, Metrics()).recover()
        assert len(await kit.store.list_events("kitchen", limit=10)) == len(events)


# -- recordings -----------------------------------------------------------------------------------


@pytest.fixture
def writer() -> Iterator[RecordingWriter]:
    made = RecordingWriter()
    yield made
    made.close()


def session_of(call_id: str, room_id: str | None) -> Session:
    return cast(Session, SimpleNamespace(id=call_id, room_id=room_id))


async def test_G213_recordings_and_the_data_folder_are_for_the_owner_only(
    tmp_path: Path, writer: RecordingWriter
) -> None:
    data = tmp_path / "data"
    before = os.umask(0)
    try:
        rooms = RoomRecordings(data / "recordings", lambda: writer)
        recorder = rooms.recorder_for(session_of("c1", "kitchen"), OPTION)
    finally:
        os.umask(before)
    assert recorder is not None
    await recorder.close()
    for folder in (data, data / "recordings", data / "recordings" / "kitchen"):
        assert S_IMODE(folder.stat().st_mode) == 0o700, folder


async def test_a_recording_is_found_again_under_its_room(
    tmp_path: Path, writer: RecordingWriter
) -> None:
    rooms = RoomRecordings(tmp_path / "recordings", lambda: writer)
    recorder = rooms.recorder_for(session_of("c1", "kitchen"), OPTION)
    assert recorder is not None
    recorder.inbound(np.full(320, 7, np.int16))
    recorder.outbound(None)
    await recorder.close()
    found = Recordings(tmp_path / "recordings")
    (recording,) = found.list("kitchen")
    assert recording.duration_ms == 20
    file = found.find("kitchen", recording.id)
    assert file == recorder.path.resolve()
    assert file is not None
    assert read_wav(file) is not None


async def test_strange_ids_do_not_leave_the_folder_of_recordings(
    tmp_path: Path, writer: RecordingWriter
) -> None:
    root = tmp_path / "recordings"
    rooms = RoomRecordings(root, lambda: writer)
    for number, room_id in enumerate(("../../up", "/etc", "..", "a/b")):
        recorder = rooms.recorder_for(session_of(f"../{number}", room_id), OPTION)
        assert recorder is not None
        await recorder.close()
        assert recorder.path.parent.parent == root.resolve()
        assert len(Recordings(root).list(room_id)) == 1


def test_only_calls_in_rooms_are_recorded_and_only_while_there_is_a_disk_thread(
    tmp_path: Path, writer: RecordingWriter
) -> None:
    root = tmp_path / "recordings"
    assert RoomRecordings(root, lambda: writer).recorder_for(session_of("c", None), OPTION) is None
    assert RoomRecordings(root, lambda: None).recorder_for(session_of("c", "r"), OPTION) is None
    assert not root.exists()


def test_a_disk_that_refuses_costs_the_recording_not_the_call(
    tmp_path: Path, writer: RecordingWriter, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "recordings").write_text("a file in the way")
    rooms = RoomRecordings(tmp_path / "recordings", lambda: writer)
    assert rooms.recorder_for(session_of("c1", "kitchen"), OPTION) is None
    assert "call c1 is not recorded" in caplog.text
