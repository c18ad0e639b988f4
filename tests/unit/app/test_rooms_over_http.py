"""Rooms over HTTP: timelines, transcripts, recordings."""

from __future__ import annotations

import os
import wave
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from salon.app.recordings import Recordings
from salon.app.settings import Settings
from salon.app.transcript import speaker_of, transcript_lines
from salon.base import PolicyError, safe_name
from salon.media import write_wav

Client = Callable[..., TestClient]
ENDED = 1_767_323_045


def record(settings: Settings, room_id: str, name: str, seconds: float, ended: int = ENDED) -> Path:
    """A stereo recording on disk."""
    file = settings.recordings / safe_name(room_id) / f"{name}.wav"
    file.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(file), "wb") as sound:
        sound.setparams((2, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(bytes(int(16_000 * seconds) * 4))
    os.utime(file, (ended, ended))
    return file


def test_a_room_is_made_and_described(client: Client) -> None:
    browser = client()
    with browser:
        made = browser.post("/rooms")
        assert (made.status_code, made.json()["status"]) == (201, "active")
        assert browser.get(f"/rooms/{made.json()['id']}").json()["channels"] == [
            {"id": "websocket", "type": "websocket", "muted": False}
        ]
        answer = browser.get("/rooms/nowhere")
        assert (answer.status_code, answer.json()) == (
            404,
            {"detail": "there is no room 'nowhere'", "code": "room_not_found"},
        )


def test_a_timeline_is_paged(client: Client) -> None:
    browser = client()
    newest = browser.get("/rooms/r1/timeline", params={"limit": 2}).json()
    assert ([e["index"] for e in newest["events"]], newest["has_more"]) == ([1, 2], True)
    older = browser.get("/rooms/r1/timeline", params={"before_index": 1}).json()
    assert ([e["index"] for e in older["events"]], older["has_more"]) == ([0], False)
    assert browser.get("/rooms/nowhere/timeline").status_code == 404


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 501}, {"before_index": -1}, {"before_index": "x"}]
)
def test_pages_are_bounded(client: Client, query: dict[str, int]) -> None:
    assert client().get("/rooms/r1/timeline", params=query).status_code == 422


def test_a_transcript_is_a_text_file_of_what_was_said(client: Client) -> None:
    answer = client().get("/rooms/r1/transcript")
    assert answer.headers["content-disposition"] == 'attachment; filename="r1.txt"'
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == (
        "[2026-01-02 03:04:05] Ada: Hello there.\n"
        "[2026-01-02 03:04:05] Salon: Good mor [interrupted]\n"
    )
    assert client().get("/rooms/nowhere/transcript").status_code == 404


def test_a_transcript_is_read_page_by_page_and_holds_everything_once(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salon.app.routes.records._READ", 1)
    lines = client().get("/rooms/r1/transcript").text.splitlines()
    assert [line.partition("] ")[2] for line in lines] == [
        "Ada: Hello there.",
        "Salon: Good mor [interrupted]",
    ]


def test_an_empty_room_has_an_empty_transcript(client: Client) -> None:
    browser = client()
    with browser:
        browser.post("/rooms", json={"id": "empty", "channels": []})
        assert browser.get("/rooms/empty/transcript").text == ""


@pytest.mark.parametrize(
    ("event", "speaker"),
    [
        ({"metadata": {"sender_name": "Ann\nLee"}, "source": {"participant_id": "p"}}, "Ann Lee"),
        ({"source": {"participant_name": "Bob", "participant_id": "p"}}, "Bob"),
        ({"source": {"participant_id": "p", "channel_id": "c"}}, "p"),
        ({"source": {"channel_id": "c"}, "metadata": None}, "c"),
        ({}, "unknown"),
    ],
)
def test_the_speaker_is_named_as_well_as_known(event: dict[str, object], speaker: str) -> None:
    assert speaker_of(event) == speaker


@pytest.mark.parametrize(
    ("stamp", "shown"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02 03:04:05"),
        ("2026-01-02T03:04:05.678+00:00", "2026-01-02 03:04:05"),
        ("yesterday", "yesterday"),
        (None, "-"),
    ],
)
def test_every_line_of_a_transcript_has_a_time(stamp: object, shown: str) -> None:
    event = {"type": "message", "content": {"type": "text", "body": "hi"}, "created_at": stamp}
    assert list(transcript_lines([event])) == [f"[{shown}] unknown: hi\n"]


def test_only_words_are_in_a_transcript() -> None:
    image = {"type": "message", "content": {"type": "media", "url": "x"}}
    assert list(transcript_lines([image, {"type": "message"}, {"type": "system"}])) == []


def test_recordings_are_listed_newest_first(client: Client, settings: Settings) -> None:
    record(settings, "r1", "early", 1.0)
    record(settings, "r1", "late", 2.5, ENDED + 60)
    record(settings, "r2", "other", 1.0)
    listed = client().get("/rooms/r1/recordings").json()
    assert [item["id"] for item in listed] == ["late", "early"]
    assert listed[1] == {
        "id": "early",
        "started_at": "2026-01-02T03:04:04.000+00:00",
        "duration_ms": 1000,
        "bytes": 44 + 64_000,
    }
    assert client().get("/rooms/nowhere/recordings").json() == []


def test_what_is_no_recording_is_left_out(client: Client, settings: Settings) -> None:
    folder = record(settings, "r1", "good", 0.1).parent
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("not a sound at all, but long enough for a header " * 2)
    (folder / "notes.txt").write_text("x")
    (folder / "gone.wav").symlink_to(folder / "nowhere")
    assert [item["id"] for item in client().get("/rooms/r1/recordings").json()] == ["good"]


def test_a_recording_under_way_has_the_length_it_has_so_far(settings: Settings) -> None:
    file = record(settings, "r1", "running", 0.0)
    with file.open("ab") as out:
        out.write(bytes(64_000))
    (recording,) = Recordings(settings.recordings).list("r1")
    assert recording.duration_ms == 1000


def test_a_recording_can_be_taken_along(client: Client, settings: Settings) -> None:
    file = record(settings, "kitchen/1", "call", 0.1)
    browser = client()
    answer = browser.get("/rooms/r1/recordings/call.wav")
    assert answer.status_code == 404
    record(settings, "r1", "call", 0.1)
    answer = browser.get("/rooms/r1/recordings/call.wav")
    assert answer.content == file.read_bytes()
    assert answer.headers["content-type"] == "audio/wav"
    assert "call.wav" in answer.headers["content-disposition"]


@pytest.mark.parametrize("name", ["../r2/other", "..%2Fr2%2Fother", "%2Fetc%2Fpasswd", "other"])
def test_recordings_of_another_room_are_not_found(
    client: Client, settings: Settings, name: str
) -> None:
    record(settings, "r2", "other", 0.1)
    assert client().get(f"/rooms/r1/recordings/{name}.wav").status_code == 404


def test_a_link_out_of_the_folder_is_not_followed(settings: Settings, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    write_wav(secret, np.zeros(160, np.int16))
    folder = record(settings, "r1", "good", 0.1).parent
    (folder / "link.wav").symlink_to(secret)
    found = Recordings(settings.recordings)
    assert found.find("r1", "link") is None
    (settings.recordings / "outside").symlink_to(tmp_path)
    assert found.find("outside", "secret") is None
    with pytest.raises(PolicyError):
        found.folder("outside")
