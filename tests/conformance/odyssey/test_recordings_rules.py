"""Recordings (O78, O88-O90)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.unit.clients.odyssey.service import Answer, Service, broker, serving

from salon.clients.odyssey.broker import Broker
from salon.clients.odyssey.errors import OdysseyError
from salon.clients.odyssey.recordings import get_recording, list_stream_recordings
from salon.clients.odyssey.types import Recording, StreamRecordingInfo, StreamRecordingsList

ROW = {"stream_id": "s-1", "width": 704, "height": 1280, "started_at": "2026-04-01T10:00:00Z"}
PAGE = {"recordings": [ROW], "total": 1, "limit": 20, "offset": 0}


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving() as made:
        yield made


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Broker]:
    async with broker(service) as made:
        yield made


async def test_O88_a_recording_has_its_files_and_figures(service: Service, client: Broker) -> None:
    whole = {
        "stream_id": "s-1",
        "video_url": "https://h/v.mp4?sig=1",
        "events_url": "https://h/e.jsonl",
        "thumbnail_url": "https://h/t.jpg",
        "preview_url": "https://h/p.mp4",
        "frame_count": 240,
        "duration_seconds": 10,
        "more": "later",
    }
    service.on("GET", "/recordings/s-1", Answer(200, whole))
    found = await get_recording(client, "s-1")
    del whole["more"]
    assert found == Recording(**whole)  # type: ignore[arg-type]
    assert isinstance(found.duration_seconds, float)
    assert service.last().headers["Authorization"] == "Bearer at-1"
    assert "sig=1" not in repr(found)


async def test_O88_only_the_id_is_required(service: Service, client: Broker) -> None:
    nulls = dict.fromkeys(("video_url", "events_url", "frame_count", "duration_seconds"))
    for body in ({"stream_id": "s-1"}, {"stream_id": "s-1", **nulls}):
        service.on("GET", "/recordings/s-1", Answer(200, body))
        assert await get_recording(client, "s-1") == Recording("s-1")
    service.on("GET", "/recordings/s-1", Answer(200, {}))
    with pytest.raises(KeyError):
        await get_recording(client, "s-1")
    service.on("GET", "/recordings/s-1", Answer(200, [1]))
    with pytest.raises(ValueError, match="not an object"):
        await get_recording(client, "s-1")


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (404, ValueError, "Recording not found"),
        (401, ValueError, "Not authorized"),
        (403, ConnectionError, "Failed to get recording: 403 Forbidden"),
        (500, ConnectionError, "Failed to get recording: 500 Internal Server Error"),
    ],
)
async def test_O78_failures_of_one_recording(
    service: Service, client: Broker, status: int, kind: type[Exception], text: str
) -> None:
    service.on("GET", "/recordings/s-1", Answer(status, {"detail": "x"}))
    with pytest.raises(kind) as caught:
        await get_recording(client, "s-1")
    assert caught.value.args[0] == text
    assert isinstance(caught.value, OdysseyError)
    assert caught.value.status == status


async def test_O88_an_id_is_one_part_of_the_path(service: Service, client: Broker) -> None:
    service.on("GET", "/recordings/..%2Fauth%3Fa", Answer(200, {"stream_id": "x"}))
    await get_recording(client, "../auth?a")
    assert service.last().path == "/recordings/..%2Fauth%3Fa"
    for wrong in ("", ".."):
        with pytest.raises(ValueError, match="stream_id"):
            await get_recording(client, wrong)


async def test_O89_the_list(service: Service, client: Broker) -> None:
    done = {**ROW, "ended_at": "2026-04-01T10:01:00Z", "duration_seconds": 60.5}
    running = {**ROW, "stream_id": "s-2", "ended_at": None, "duration_seconds": None}
    page = {**PAGE, "recordings": [running, done], "total": 2}
    service.on("GET", "/stream-recordings", Answer(200, page))
    found = await list_stream_recordings(client)
    started = ROW["started_at"]
    assert found == StreamRecordingsList(
        [
            StreamRecordingInfo("s-2", 704, 1280, str(started)),
            StreamRecordingInfo("s-1", 704, 1280, str(started), "2026-04-01T10:01:00Z", 60.5),
        ],
        2,
        20,
        0,
    )


@pytest.mark.parametrize("field", [*PAGE, *ROW])
async def test_O89_a_missing_field_is_a_key_error(
    service: Service, client: Broker, field: str
) -> None:
    page: dict[str, Any] = {**PAGE, "recordings": [dict(ROW)]}
    del (page if field in page else page["recordings"][0])[field]
    service.on("GET", "/stream-recordings", Answer(200, page))
    with pytest.raises(KeyError, match=field):
        await list_stream_recordings(client)


@pytest.mark.parametrize("wrong", [{"total": "1"}, {"recordings": {}}, {"recordings": ["s"]}])
async def test_O89_a_field_of_a_wrong_type_is_a_value_error(
    service: Service, client: Broker, wrong: dict[str, Any]
) -> None:
    service.on("GET", "/stream-recordings", Answer(200, {**PAGE, **wrong}))
    with pytest.raises(ValueError, match="not "):
        await list_stream_recordings(client)


@pytest.mark.parametrize(
    ("given", "query"),
    [
        ({}, ""),
        ({"limit": 5}, "?limit=5"),
        ({"offset": 0}, "?offset=0"),
        ({"limit": 500, "offset": -3}, "?limit=500&offset=-3"),
    ],
)
async def test_O90_what_is_given_is_asked_for_unchecked(
    service: Service, client: Broker, given: dict[str, int], query: str
) -> None:
    service.on("GET", "/stream-recordings", Answer(200, PAGE))
    await list_stream_recordings(client, **given)
    assert service.last().path == f"/stream-recordings{query}"


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (401, ValueError, "Not authorized"),
        (404, ConnectionError, "Failed to list stream recordings: 404 Not Found"),
        (502, ConnectionError, "Failed to list stream recordings: 502 Bad Gateway"),
    ],
)
async def test_O78_failures_of_the_list(
    service: Service, client: Broker, status: int, kind: type[Exception], text: str
) -> None:
    service.on("GET", "/stream-recordings", Answer(status))
    with pytest.raises(kind) as caught:
        await list_stream_recordings(client)
    assert caught.value.args[0] == text
