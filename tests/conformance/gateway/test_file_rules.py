"""Files of calls: G66, G210, G213-G218, G270; T23, T24, T52, T54."""

from __future__ import annotations

import json
import re
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from stat import S_IMODE
from typing import Any

import numpy as np
import pytest

from salon.app.call_files import CallFiles
from salon.app.call_record_sinks import LocalSink
from salon.app.call_records import CallRecordQueue
from salon.gateway import Session
from salon.gateway.call_record import EndedCall
from salon.gateway.journal import Journal
from salon.gateway.recording import CallRecordings
from salon.gateway.rights import CallRights
from salon.media.frame import Samples
from salon.testing import CallPair, tone, virtual_time
from salon.voice.recorder import RecordingWriter

from .house import House, house


@pytest.fixture
def writer() -> Iterator[RecordingWriter]:
    made = RecordingWriter()
    yield made
    made.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "calls"


@asynccontextmanager
async def files(
    root: Path, writer: RecordingWriter, *further: Path, **services: Any
) -> AsyncIterator[House]:
    """A gateway that writes events files and recordings below `root`."""
    recordings = CallRecordings((root, *further), lambda: writer)
    async with house(
        companions=lambda session: Journal.of(session, root, lambda: writer),
        recorder_for=recordings.recorder_for,
        **services,
    ) as made:
        yield made


async def hang_up(call: CallPair) -> None:
    call.send({"command": "hangup"})
    await call.closed()


async def lines(path: Path, writer: RecordingWriter) -> list[dict[str, Any]]:
    """The events file when all is written, `content` parsed."""
    assert await writer.written()
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for line in found:
        assert list(line) == ["type", "timestamp", "content"]
        line["content"] = json.loads(line["content"])
    return found


def sides(path: Path) -> tuple[Samples, Samples, int]:
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth()) == (2, 2)
        stereo = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, 2)
        return stereo[:, 0].astype(np.int16), stereo[:, 1].astype(np.int16), file.getframerate()


# -- events files ---------------------------------------------------------------------------------


@virtual_time
async def test_T23_every_event_and_command_is_in_the_events_file(
    root: Path, writer: RecordingWriter
) -> None:
    async with files(root, writer) as place:
        call = await place.call("/ws?id=a")
        call.send({"command": "tts", "text": "hello", "playId": "p"})
        await call.expect("trackEnd")
        await hang_up(call)
        found = await lines(root / "a.events.jsonl", writer)
    told = [line["content"] for line in found if line["type"] == "event"]
    assert [event for event in told if event["event"] != "ping"] == call.events
    asked = [line["content"] for line in found if line["type"] == "command"]
    assert [command["command"] for command in asked] == ["invite", "tts", "hangup"]
    assert asked[1] == {"command": "tts", "text": "hello", "playId": "p"}
    stamps = [line["timestamp"] for line in found]
    assert stamps == sorted(stamps)
    assert found[-1]["content"]["event"] == "hangup"


@virtual_time
@pytest.mark.parametrize(
    "query", ["dump=false", "dump_events=false", "dump=false&dump_events=true"]
)
async def test_T23_without_dump_there_is_none(
    root: Path, writer: RecordingWriter, query: str
) -> None:
    async with files(root, writer) as place:
        await hang_up(await place.call(f"/ws?id=a&{query}"))
        await writer.written()
    assert not root.exists()


@virtual_time
async def test_G217_pings_are_events(root: Path, writer: RecordingWriter) -> None:
    async with files(root, writer) as place:
        call = await place.call("/ws?id=a&ping=1000")
        await hang_up(call)
        first = (await lines(root / "a.events.jsonl", writer))[0]
    assert first["type"] == "event"
    assert first["content"]["event"] == "ping"
    assert first["content"]["payload"].endswith("Z")
    assert not call.of("ping")


@virtual_time
async def test_G213_sound_is_not_in_it(root: Path, writer: RecordingWriter) -> None:
    async with files(root, writer) as place:
        call = await place.call("/ws?id=a")
        await call.send_audio(tone(200))
        await hang_up(call)
        found = await lines(root / "a.events.jsonl", writer)
    assert "binary" not in {line["content"].get("event") for line in found}


@virtual_time
async def test_G213_secrets_are_masked_in_it(root: Path, writer: RecordingWriter) -> None:
    offer = "v=0\r\na=ice-pwd:sesame-open\r\n"
    async with files(root, writer) as place:
        call = await place.call(
            "/ws?id=a",
            asr={"apiKey": "hidden-1"},
            tts={"secretId": "hidden-2"},
            offer=offer,
            caller="Ann <sip:ann:hidden-7@example.org;x=1>",
        )
        call.send({"command": "play", "url": "http://u:hidden-3@x.example/a.wav?token=hidden-4"})
        await call.expect("error")
        call.send({"command": "custom", "data": {"password": "hidden-5", "deep": [{"token": "h"}]}})
        call.send({"command": "tts", "text": "x", "option": {"secretKey": "hidden-6"}})
        await call.expect("trackEnd")
        await hang_up(call)
        await writer.written()
    text = (root / "a.events.jsonl").read_text()
    assert "hidden" not in text
    assert "sesame" not in text
    assert "***" in text


@virtual_time
async def test_G213_two_calls_of_one_id_lose_nothing(root: Path, writer: RecordingWriter) -> None:
    async with files(root, writer) as place:
        for number in range(2):
            call = await place.call("/ws?id=a", recorder={})
            call.send({"command": "custom", "data": number})
            await call.send_audio(tone(100 * (number + 1)))
            await hang_up(call)
        found = await lines(root / "a.events.jsonl", writer)
    told = [line["content"] for line in found if line["type"] == "event"]
    assert [event["data"] for event in told if event["event"] == "custom"] == [0, 1]
    assert [event["event"] for event in told].count("hangup") == 2
    assert len(sides(root / "a.wav")[0]) < len(sides(root / "a-2.wav")[0])


@virtual_time
async def test_G213_files_are_for_their_owner_only(root: Path, writer: RecordingWriter) -> None:
    async with files(root, writer) as place:
        await hang_up(await place.call("/ws?id=a", recorder={}))
        await writer.written()
    assert S_IMODE(root.stat().st_mode) == 0o700
    for name in ("a.events.jsonl", "a.wav"):
        assert S_IMODE((root / name).stat().st_mode) == 0o600


@virtual_time
@pytest.mark.parametrize(
    "call_id", ["../../x", "..%2F..%2Fx", "/etc/x", "a/b", ".", "..", "x" * 256, "ü"]
)
async def test_T54_no_id_leads_out_of_the_folder(
    tmp_path: Path, root: Path, writer: RecordingWriter, call_id: str
) -> None:
    async with files(root, writer) as place:
        await hang_up(await place.call(f"/ws?id={call_id}", recorder={"recorderFile": "s/{id}"}))
        await writer.written()
    made = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(path.parent for path in made) == [root, root / "s"]
    assert sorted("".join(path.suffixes[-1:]) for path in made) == [".jsonl", ".wav"]


# -- recordings -----------------------------------------------------------------------------------


@virtual_time
async def test_T24_left_is_the_caller_right_what_the_caller_hears(
    root: Path, writer: RecordingWriter
) -> None:
    async with files(root, writer) as place:
        call = await place.call("/ws?id=a", recorder={})
        said = tone(600, 500.0)
        await call.send_audio(said)
        call.send({"command": "tts", "text": "hello"})
        await call.expect("trackEnd")
        await hang_up(call)
        left, right, rate = sides(root / "a.wav")
        heard = call.sound
    assert rate == 16_000
    assert np.array_equal(left[: len(said)], said)
    assert not right[: len(said) - 640].any()
    begins = int(np.flatnonzero(right)[0])
    first = int(np.flatnonzero(heard)[0])
    assert np.array_equal(right[begins : begins + len(heard) - first], heard[first:])


@virtual_time
async def test_G216_sound_from_before_the_invite_is_in_it(
    root: Path, writer: RecordingWriter
) -> None:
    async with files(root, writer) as place:
        call = place.connect("/ws?id=a")
        await call.send_audio(tone(2000))
        await call.invite(recorder={})
        call.send({"command": "tts", "text": "hello"})
        await call.expect("trackEnd")
        await hang_up(call)
        left, right, _ = sides(root / "a.wav")
    assert np.abs(left[:31_000]).max() > 1000
    assert not right[:16_000].any()
    assert right.any()
    assert len(left) == len(right)


@virtual_time
@pytest.mark.parametrize(("asked", "rate"), [(8000, 8000), (16_000, 16_000), (44_100, 16_000)])
async def test_G270_the_rate_of_the_file(
    root: Path, writer: RecordingWriter, asked: int, rate: int
) -> None:
    async with files(root, writer) as place:
        call = await place.call("/ws?id=a", recorder={"samplerate": asked, "format": "pcmu"})
        await call.send_audio(tone(1000, 500.0))
        await hang_up(call)
        left, _, found = sides(root / "a.wav")
    assert found == rate
    assert len(left) == pytest.approx(rate, abs=rate // 20)
    loudest = int(np.argmax(np.abs(np.fft.rfft(left[: rate // 2]))))
    assert loudest * 2 == pytest.approx(500, abs=4)


@virtual_time
async def test_G215_it_grows_while_the_call_runs(root: Path, writer: RecordingWriter) -> None:
    async with files(root, writer) as place:
        call = await place.call("/ws?id=a", recorder={"ptime": 100})
        await call.send_audio(tone(1000))
        await writer.written()
        left, _, _ = sides(root / "a.wav")
        assert len(left) >= 16_000 * 9 // 10
        await hang_up(call)


@virtual_time
@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("", "a.wav"),
        ("b", "b.wav"),
        ("b.WAV", "b.WAV"),
        ("day/{id}-x.wav", "day/a-x.wav"),
        ("a.events.jsonl", "a.events.jsonl.wav"),
    ],
)
async def test_G214_the_name_of_the_file(
    root: Path, writer: RecordingWriter, name: str, made: str
) -> None:
    async with files(root, writer) as place:
        await hang_up(await place.call("/ws?id=a", recorder={"recorderFile": name}))
    assert sides(root / made)


@virtual_time
async def test_G214_absolute_names_below_the_folders_for_them_only(
    tmp_path: Path, root: Path, writer: RecordingWriter
) -> None:
    further = tmp_path / "further"
    async with files(root, writer, further) as place:
        for number, name in enumerate((f"{further}/x.wav", f"{root}/y.wav", f"{tmp_path}/z.wav")):
            call = await place.call(f"/ws?id=c{number}", recorder={"recorderFile": name})
            told = call.of("error", sender="recorder")
            assert bool(told) is (number == 2)
            await hang_up(call)
    assert sides(further / "x.wav")
    assert sides(root / "y.wav")
    assert not (tmp_path / "z.wav").exists()


@virtual_time
@pytest.mark.parametrize("name", ["../x", "a/../../x", "a\\..\\x", "x\n", "a/", "n" * 600])
async def test_G214_other_names_are_refused_and_the_call_goes_on(
    tmp_path: Path, root: Path, writer: RecordingWriter, name: str
) -> None:
    async with files(root, writer) as place:
        call = await place.call("/ws?id=a&dump=false", recorder={"recorderFile": name})
        assert call.of("error", sender="recorder")
        call.send({"command": "tts", "text": "hello"})
        await call.expect("trackEnd")
        await hang_up(call)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@virtual_time
async def test_G214_who_may_not_name_files_is_recorded_under_the_id(
    root: Path, writer: RecordingWriter
) -> None:
    async with files(root, writer, rights_for=lambda _query: CallRights(files=False)) as place:
        call = await place.call("/ws?id=a", recorder={"recorderFile": "mine"})
        assert call.of("error", error="recorder.recorderFile is not allowed on this call")
        await hang_up(call)
    assert sides(root / "a.wav")
    assert not (root / "mine.wav").exists()


@virtual_time
async def test_G216_ringing_begins_the_recording_and_the_invite_keeps_it(
    root: Path, writer: RecordingWriter
) -> None:
    async with files(root, writer) as place:
        call = place.connect("/ws?id=a")
        call.send({"command": "ringing", "recorder": {"recorderFile": "rings"}})
        await call.invite(recorder={"recorderFile": "answered"})
        await call.send_audio(tone(200))
        await hang_up(call)
    assert sides(root / "rings.wav")[0].any()
    assert not (root / "answered.wav").exists()


@virtual_time
async def test_T52_a_lost_connection_leaves_a_whole_recording(
    root: Path, writer: RecordingWriter
) -> None:
    async with files(root, writer) as place:
        call = await place.call("/ws?id=a", recorder={})
        session: Session = place.session("a")
        call.send({"command": "tts", "text": "a long story, cut in its middle"})
        await call.expect("trackStart", playId=None)
        await call.send_audio(tone(200))
        call.vanish()
        await session.done.wait()
        assert place.gateway.list_calls() == []
        assert await writer.written()
        assert writer.held() == frozenset()
        left, right, _ = sides(root / "a.wav")
        found = await lines(root / "a.events.jsonl", writer)
    assert left.any()
    assert right.any()
    assert found[-1]["content"]["event"] == "hangup"


@virtual_time
async def test_G66_a_disk_that_refuses_is_told_and_the_call_goes_on(
    tmp_path: Path, root: Path, writer: RecordingWriter
) -> None:
    root.write_text("a file in the way")
    async with files(root, writer) as place:
        call = await place.call("/ws?id=a", recorder={})
        assert call.of("error", sender="recorder")
        await writer.written()
        assert await call.expect("error", sender="dump")
        call.send({"command": "tts", "text": "hello"})
        await call.expect("trackEnd")
        await hang_up(call)
    assert len(call.of("error")) == 2
    assert writer.failed > 0


# -- call records ---------------------------------------------------------------------------------


class Archive:
    """Takes records and looks at their files when it gets them."""

    def __init__(self) -> None:
        self.taken: list[tuple[EndedCall, list[str], Samples]] = []

    async def put(self, call: EndedCall) -> None:
        assert call.events is not None
        ((_, media),) = call.media
        self.taken.append((call, call.events.read_text().splitlines(), sides(media)[0]))

    async def close(self) -> None:
        """Nothing is open."""


@virtual_time
async def test_G218_when_a_record_goes_out_its_files_are_whole(
    root: Path, writer: RecordingWriter
) -> None:
    archive = Archive()
    queue = CallRecordQueue(archive, settled=writer.written)
    await queue.start()
    async with files(root, writer, on_ended=queue.put) as place:
        call = await place.call("/ws?id=a", recorder={}, caller="ann")
        await call.send_audio(tone(500))
        await hang_up(call)
        await hang_up(await place.call("/ws?id=b", recorder={}))
        await queue.close()
    (first, text, left), (second, _, _) = archive.taken
    assert json.loads(json.loads(text[-1])["content"])["event"] == "hangup"
    assert len(left) >= 8000
    assert first.record["recorder"][0]["size"] == 44 + 4 * len(left)
    assert (first.record["caller"], first.record["statusCode"]) == ("ann", 200)
    assert second.record["callId"] == "b"
    assert queue.written == 2


@virtual_time
async def test_G218_records_lie_in_a_folder_per_day(
    tmp_path: Path, root: Path, writer: RecordingWriter
) -> None:
    queue = CallRecordQueue(LocalSink(tmp_path / "cdr"))
    await queue.start()
    async with files(root, writer, on_ended=queue.put) as place:
        for _ in range(2):  # in the same second, with the same id
            call = place.connect("/ws?id=../a")
            call.send({"command": "reject", "reason": "busy"})
            await call.closed()
        call = place.connect("/ws?id=b")  # asks for nothing
        await hang_up(call)
        await queue.close()
    made = sorted(path for path in (tmp_path / "cdr").rglob("*") if path.is_file())
    assert len(made) == 2
    for path in made:
        assert re.fullmatch(
            r"\d{8}/\d{8}-\d{6}__a-[0-9a-f]{12}(-2)?\.json", str(path.relative_to(tmp_path / "cdr"))
        )
        record = json.loads(path.read_text())
        assert (record["callId"], record["hangupReason"]) == ("../a", "rejected")


# -- the list -------------------------------------------------------------------------------------


@virtual_time
async def test_G210_one_entry_per_events_file_newest_first(
    root: Path, writer: RecordingWriter
) -> None:
    async with files(root, writer) as place:
        for call_id in ("a", "b", "c&dump=false"):
            call = await place.call(f"/ws?id={call_id}")
            await call.send_audio(tone(3000))
            await hang_up(call)
        assert await writer.written()
    rows = CallFiles(root).list()
    assert [list(row) for row in rows] == [["id", "date", "duration", "status"]] * 2
    assert [row["id"] for row in rows] == ["b", "a"]
    assert {row["status"] for row in rows} == {"completed"}
    assert {row["duration"] for row in rows} == {"3s"}
