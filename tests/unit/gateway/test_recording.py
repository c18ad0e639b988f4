"""Recordings by option: names, rates, what the disk refuses (G66, G214, G270)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.gateway import CallOption, Session
from salon.gateway.options import RecorderOption
from salon.gateway.recording import CallRecordings, RecordingError, rate_of, recording_path
from salon.voice.recorder import NUMBERED, RecordingWriter, reserve


@pytest.fixture
def writer() -> Iterator[RecordingWriter]:
    made = RecordingWriter()
    yield made
    made.close()


def session(call_id: str = "a") -> Session:
    told: list[str] = []
    return cast(
        Session,
        SimpleNamespace(id=call_id, told=told, error=lambda sender, text: told.append(text)),
    )


def option(**recorder: Any) -> CallOption:
    return CallOption(recorder=RecorderOption(**recorder))


@pytest.mark.parametrize(
    ("call_id", "name", "found"),
    [
        ("a", "", "a.wav"),
        ("../a", "", "_a-*.wav"),
        ("a", "{id}", "a.wav"),
        ("../a", "x/{id}.wav", "x/_a-*.wav"),
        ("a", "{id}{id}", "aa.wav"),
        ("a", "x.Wav", "x.Wav"),
        ("a", "x.mp3", "x.mp3.wav"),
        ("a", "Anruf für Ü.wav", "Anruf für Ü.wav"),
    ],
)
def test_G214_names(tmp_path: Path, call_id: str, name: str, found: str) -> None:
    path = recording_path((tmp_path,), call_id, RecorderOption(recorder_file=name))
    assert path.relative_to(tmp_path).match(found)


def test_G214_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").symlink_to(tmp_path)
    with pytest.raises(RecordingError, match="below the recording folder"):
        recording_path((root,), "a", RecorderOption(recorder_file="out/x"))


@pytest.mark.parametrize(
    "name", ["..", "../x", "/etc/x", "a/../x", "x\\y", "x\0", "x/", "n" * 513, ".wav", ".x"]
)
def test_G214_what_is_no_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecordingError):
        recording_path((tmp_path,), "a", RecorderOption(recorder_file=name))


async def test_only_calls_that_ask_are_recorded_and_only_while_something_writes(
    tmp_path: Path, writer: RecordingWriter
) -> None:
    assert CallRecordings((tmp_path,), lambda: None).recorder_for(session(), option()) is None
    recordings = CallRecordings((tmp_path,), lambda: writer)
    assert recordings.recorder_for(session(), CallOption()) is None
    assert list(tmp_path.iterdir()) == []
    made = recordings.recorder_for(session(), option(samplerate=8000, ptime=40))
    assert made is not None
    assert made.rate == 8000
    await made.close()
    assert recordings.failed == 0


async def test_nothing_is_written_over(tmp_path: Path, writer: RecordingWriter) -> None:
    recordings = CallRecordings((tmp_path,), lambda: writer)
    (tmp_path / "a.wav").write_text("precious")
    (tmp_path / "a-2.wav").symlink_to(tmp_path / "a.wav")
    made = [recordings.recorder_for(session(), option()) for _ in range(2)]
    for recorder in made:
        assert recorder is not None
        await recorder.close()
    assert [recorder.path.name for recorder in made if recorder] == ["a-3.wav", "a-4.wav"]
    assert (tmp_path / "a.wav").read_text() == "precious"


def test_a_disk_that_refuses_and_a_bad_name_are_told(
    tmp_path: Path, writer: RecordingWriter
) -> None:
    (tmp_path / "in").write_text("")
    recordings = CallRecordings((tmp_path,), lambda: writer)
    with pytest.raises(RecordingError, match="is not recorded: "):
        recordings.recorder_for(session(), option(recorder_file="in/x"))
    with pytest.raises(RecordingError, match="plain path"):
        recordings.recorder_for(session(), option(recorder_file="../x"))
    with pytest.raises(RecordingError, match="File name too long"):
        recordings.recorder_for(session(), option(recorder_file="n" * 300))
    assert recordings.failed == 3
    assert writer.held() == frozenset()


async def test_the_client_is_told_of_trouble_later(tmp_path: Path, writer: RecordingWriter) -> None:
    call = session()
    made = CallRecordings((tmp_path,), lambda: writer).recorder_for(call, option())
    assert made is not None
    assert made.on_trouble is not None
    made.on_trouble("the disk is full")
    await made.close()
    assert cast(Any, call).told == ["the disk is full"]


def test_G270_rates() -> None:
    assert [rate_of(RecorderOption(samplerate=rate)) for rate in (8000, 16_000, 48_000, 0)] == [
        8000,
        16_000,
        16_000,
        16_000,
    ]
    assert rate_of(None) == 16_000


def test_a_folder_that_was_tidied_away_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "a.wav"
    assert reserve(path) == path


def test_many_calls_of_one_name_each_get_a_file(tmp_path: Path) -> None:
    made = [reserve(tmp_path / "a.b.wav").name for _ in range(NUMBERED + 5)]
    assert len(set(made)) == NUMBERED + 5
    assert made[:3] == ["a.b.wav", "a.b-2.wav", "a.b-3.wav"]
    assert all(name.endswith(".wav") for name in made)


@given(name=st.text(max_size=40) | st.text(alphabet="./\\{id}aW\x00 ", max_size=20), call=st.text())
def test_G214_whatever_is_named_is_a_wav_file_below_the_folder(name: str, call: str) -> None:
    root = Path("/nowhere/at/all")
    try:
        path = recording_path((root,), call, RecorderOption(recorder_file=name))
    except RecordingError:
        return
    assert root in path.parents
    assert path.suffix.lower() == ".wav"
    assert not path.name.startswith(".")
