"""The record of a call (G218)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from salon.gateway import Session
from salon.gateway.call_record import EndedCall, call_record, ended_call, hangup_reason
from salon.gateway.commands import HangupReason
from salon.gateway.journal import Journal
from salon.gateway.recording import CallRecordings
from salon.testing import CallPair, scripted_gateway, tone
from salon.voice.engine import VoiceEngine
from salon.voice.recorder import RecordingWriter


@pytest.fixture
def writer() -> Iterator[RecordingWriter]:
    made = RecordingWriter()
    yield made
    made.close()


Ended = list[EndedCall | None]


@asynccontextmanager
async def place(engine: VoiceEngine, ended: Ended, **services: Any) -> AsyncIterator[Any]:
    def note(session: Session) -> None:
        ended.append(ended_call(session))

    async with scripted_gateway(engine, on_ended=note, **services) as gateway:
        yield gateway


async def test_G218_a_call_that_was_answered(
    engine: VoiceEngine, tmp_path: Path, writer: RecordingWriter
) -> None:
    ended: Ended = []
    async with place(
        engine,
        ended,
        recorder_for=CallRecordings((tmp_path,), lambda: writer).recorder_for,
        companions=lambda session: Journal.of(session, tmp_path, lambda: writer),
    ) as gateway:
        call = CallPair.connect(gateway.acceptor, "/ws?id=a")
        call.send({"command": "ringing"})
        await call.invite(
            caller="sip:ann:secret-1@example.org",
            callee="bob",
            recorder={},
            asr={"secretKey": "secret-2"},
            extra={"order": "7"},
        )
        await call.send_audio(tone(1000))
        call.send({"command": "hangup", "reason": "callee"})
        await call.closed()
        (hangup,) = call.of("hangup")
    (made,) = ended
    assert made is not None
    record = made.record
    assert made.id == record["callId"] == "a"
    assert made.media == (("a", tmp_path / "a.wav"),)
    assert made.events == tmp_path / "a.events.jsonl"
    (media,) = record.pop("recorder")
    assert media["trackId"] == "a"
    assert media["path"] == str(tmp_path / "a.wav")
    assert media["size"] == (tmp_path / "a.wav").stat().st_size
    assert media["extra"]["samplerate"] == 16_000
    assert media["extra"]["durationMs"] == pytest.approx(1000, abs=40)
    for key in ("startTime", "ringTime", "answerTime", "endTime"):
        assert record.pop(key).startswith("2026-01-05T08:00:0"), key
    assert record.pop("extras") == hangup["extra"]
    assert record == {
        "callType": "webSocket",
        "callId": "a",
        "caller": "sip:ann@example.org",
        "callee": "bob",
        "statusCode": 200,
        "hangupReason": "byCallee",
        "dumpEventFile": str(tmp_path / "a.events.jsonl"),
        "option": record["option"],
    }
    assert record["option"]["asr"] == {"secretKey": "***"}
    assert "secret-" not in str(record["option"])


@pytest.mark.parametrize(
    ("commands", "status", "reason"),
    [
        (({"command": "reject", "reason": "busy"},), 603, "rejected"),
        (({"command": "ringing"}, {"command": "hangup", "reason": "noAnswer"}), 408, "noAnswer"),
        (({"command": "ringing"}, {"command": "hangup"}), 480, "bySystem"),
        (
            ({"command": "ringing"}, {"command": "hangup", "reason": "bored"}),
            480,
            {"other": "bored"},
        ),
        (({"command": "ringing"}, {"command": "hangup", "reason": "canceled"}), 487, "canceled"),
    ],
)
async def test_G218_a_call_that_was_not_answered(
    engine: VoiceEngine, commands: tuple[Any, ...], status: int, reason: Any
) -> None:
    ended: Ended = []
    async with place(engine, ended) as gateway:
        call = CallPair.connect(gateway.acceptor, "/ws?id=a")
        for command in commands:
            call.send(command)
        await call.closed()
    (made,) = ended
    assert made is not None
    record = made.record
    assert (record["statusCode"], record["hangupReason"]) == (status, reason)
    assert record["hangupMessages"][0]["code"] == status
    assert record["caller"] == record["callee"] == ""
    assert record["option"] == {}
    assert not {"answerTime", "recorder", "dumpEventFile"} & set(record)
    assert made.media == ()
    assert made.events is None


async def test_a_connection_that_never_asked_for_a_call_leaves_no_record(
    engine: VoiceEngine,
) -> None:
    ended: Ended = []
    async with place(engine, ended) as gateway:
        call = CallPair.connect(gateway.acceptor, "/ws?id=a")
        call.send({"command": "hangup"})
        await call.closed()
    assert ended == [None]


async def test_what_was_lost_of_a_recording_is_in_the_record(
    engine: VoiceEngine, tmp_path: Path, writer: RecordingWriter
) -> None:
    recordings = CallRecordings((tmp_path,), lambda: writer)
    ended: Ended = []
    async with place(engine, ended, recorder_for=recordings.recorder_for) as gateway:
        call = CallPair.connect(gateway.acceptor, "/ws?id=a")
        await call.invite(recorder={})
        session = gateway.get("a")
        session.media.recorder.lost = 32_000
        running = call_record(session)
        assert "hangupReason" not in running
        call.close()
        await session.done.wait()
    assert ended[0] is not None
    assert ended[0].record["recorder"][0]["extra"]["lostMs"] == 2000
    assert ended[0].record["hangupReason"] == "byCaller"


def test_G218_names_of_reasons() -> None:
    assert [hangup_reason(reason.value) for reason in HangupReason] == [
        "byCaller",
        "byCallee",
        "byRefer",
        "bySystem",
        "autohangup",
        "inactivityTimeout",
        "noAnswer",
        "noBalance",
        "answerMachine",
        "serverUnavailable",
        "canceled",
        "rejected",
        "failed",
    ]
    assert hangup_reason("replaced") == {"other": "replaced"}
