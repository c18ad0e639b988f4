"""The command lines for recordings and simulations, against a real server."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.unit.clients.odyssey.service import KEY, Answer, Asked, Service, serving

EXAMPLES = Path(__file__).parents[4] / "examples" / "odyssey"
JOB = {"job_id": "j-1", "status": "pending", "priority": "normal", "created_at": "2026-04-01"}
PATH = "/simulation-jobs"


def example(name: str) -> ModuleType:
    """The program as a module."""
    spec = importlib.util.spec_from_file_location(f"odyssey_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    async with serving() as made:
        monkeypatch.setenv("ODYSSEY_API_KEY", KEY)
        monkeypatch.setenv("ODYSSEY_API_URL", made.url)
        files = {f"{name}_url": f"{made.url}/files/{name}" for name in ("video", "events")}
        recording = {"stream_id": "../s 1", "duration_seconds": 2.5, "frame_count": 60, **files}
        made.on("GET", "/recordings/s-1", Answer(200, recording))
        made.on("GET", "/files/video", Answer(200, b"moving"))
        made.on("GET", "/files/events", Answer(200, b"{}\n"))
        yield made


async def test_O89_recordings_are_listed(service: Service, capsys: Any) -> None:
    row = {"stream_id": "s-1", "width": 704, "height": 1280, "started_at": "2026-04-01T10:00:00Z"}
    rows = [row, {**row, "stream_id": "s-0", "duration_seconds": 12.34}]
    page = {"recordings": rows, "total": 7, "limit": 2, "offset": 1}
    service.on("GET", "/stream-recordings", Answer(200, page))
    assert await example("recordings").run(["list", "--limit", "2", "--offset", "1"]) == 0
    assert service.last().path == "/stream-recordings?limit=2&offset=1"
    assert capsys.readouterr().out.splitlines() == [
        "s-1  2026-04-01T10:00:00Z  704x1280  running",
        "s-0  2026-04-01T10:00:00Z  704x1280  12.3 s",
        "2 of 7, from 1",
    ]


async def test_O88_a_recording_is_shown(service: Service, capsys: Any) -> None:
    assert await example("recordings").run(["get", "s-1"]) == 0
    out = capsys.readouterr().out
    assert f"video     {service.url}/files/video" in out
    assert "2.5 s" in out
    assert "preview" not in out


async def test_O91_files_are_fetched_under_a_safe_name(
    service: Service, tmp_path: Path, capsys: Any
) -> None:
    words = ["download", "s-1", "--files", "video", "events", "--to", str(tmp_path / "clips")]
    assert await example("recordings").run(words) == 0
    found = {path.suffix: path for path in (tmp_path / "clips").iterdir()}
    assert {suffix: path.read_bytes() for suffix, path in found.items()} == {
        ".mp4": b"moving",
        ".jsonl": b"{}\n",
    }
    assert not list(tmp_path.glob("*s*1*"))
    assert str(found[".mp4"]) in capsys.readouterr().out


async def test_O88_a_file_that_is_not_there_is_a_failure(
    service: Service, tmp_path: Path, capsys: Any
) -> None:
    words = ["download", "s-1", "--files", "preview", "video", "--to", str(tmp_path)]
    assert await example("recordings").run(words) == 1
    assert "preview: the recording has none" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "words", [["get", "gone"], ["list"], ["download", "s-1", "--max-bytes", "3"]]
)
async def test_O78_failures_are_said_in_a_line(
    service: Service, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert await example("recordings").run(words) == 1
    assert capsys.readouterr().err.startswith("recordings: ")
    assert not list(tmp_path.iterdir())


async def test_O7_without_a_key_it_says_so(
    service: Service, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ODYSSEY_API_KEY")
    assert await example("recordings").run(["list"]) == 1
    assert "api_key is required" in capsys.readouterr().err


async def test_O93_O95_prompts_are_rendered(service: Service, capsys: Any) -> None:
    stream = {"stream_id": "s-9", "video_url": "http://h/v.mp4"}
    states = ["dispatched", "processing", "processing", "completed"]
    answers = [Answer(200, {**JOB, "status": state}) for state in states]
    answers[-1].body["streams"] = [stream]
    service.on("POST", PATH, Answer(201, JOB))
    service.on("GET", f"{PATH}/j-1", *answers)
    words = ["a cat", "it jumps", "--seconds", "4", "--every", "0", "--landscape"]
    assert await example("simulation").run(words) == 0
    submitted = next(asked for asked in service.asked if asked.path == PATH)
    assert submitted.body == {
        "portrait": False,
        "output_video": True,
        "script": [
            {"timestamp_ms": 0, "start": {"prompt": "a cat"}},
            {"timestamp_ms": 4000, "interact": {"prompt": "it jumps"}},
            {"timestamp_ms": 8000, "end": {}},
        ],
    }
    captured = capsys.readouterr()
    assert captured.out == "s-9  http://h/v.mp4\n"
    assert [line.split(": ")[1] for line in captured.err.splitlines()] == [
        "pending",
        "dispatched",
        "processing",
        "completed",
    ]


async def test_O95_a_failed_job_is_a_failure(service: Service, capsys: Any) -> None:
    service.on(
        "POST", PATH, Answer(201, {**JOB, "status": "failed", "error_message": "no streamer"})
    )
    assert await example("simulation").run(["a cat"]) == 1
    assert "failed: no streamer" in capsys.readouterr().err


async def test_O97_out_of_patience_the_job_is_cancelled(service: Service, capsys: Any) -> None:
    service.on("POST", PATH, Answer(201, JOB))
    service.on("GET", f"{PATH}/j-1", Answer(200, JOB))
    service.on("DELETE", f"{PATH}/j-1", Answer(200, {**JOB, "status": "cancelled"}))
    assert await example("simulation").run(["a cat", "--patience", "0.05", "--every", "0"]) == 1
    assert service.paths()[-1] == f"DELETE {PATH}/j-1"
    assert "not rendered in 0.05 s" in capsys.readouterr().err


async def test_O93_changes_too_close_together_are_refused(service: Service) -> None:
    assert await example("simulation").run(["a cat", "--seconds", "1"]) == 2
    assert not service.asked


async def test_O93_an_image_becomes_a_data_url(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))

    def refuse(asked: Asked) -> Answer:
        return Answer(422, {"detail": json.dumps(asked.body)[:60]})

    service.on("POST", PATH, refuse)
    assert await example("simulation").run(["a cat", "--image", str(path)]) == 1
    image = service.last().body["script"][0]["start"]["image"]
    assert image.startswith("data:image/png;base64,")
