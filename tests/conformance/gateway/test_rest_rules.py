"""Live calls over HTTP (G16, G200-G204, G210, G262)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from tests.conformance.gateway.house import House, house
from tests.unit.app.rest import Api, serving, small_house

from salon.app.call_desk import CallDesk
from salon.app.call_files import CallFiles
from salon.app.settings import Settings
from salon.gateway.sound_files import SoundFiles
from salon.gateway.speech_cache import SpeechCache
from salon.gateway.voices import Voices
from salon.testing import CallPair, CallRefusedError

JSON = {"Content-Type": "application/json"}


@asynccontextmanager
async def serving_calls(tmp_path: Path, **services: Any) -> AsyncIterator[tuple[House, Api]]:
    """A gateway with its calls behind the HTTP interface."""
    settings = Settings(data_dir=tmp_path)
    async with house(**services) as at:
        cache = SpeechCache(SoundFiles(tmp_path / "cache", 10_000_000))
        desk = CallDesk(
            at.gateway.get,
            at.gateway.services.bus,
            Voices(at.engine, cache=cache),
            CallFiles(tmp_path / "events").list,
        )

        def build(made: Settings) -> Any:
            return replace(small_house(made), gateway=at.gateway, desk=desk)

        async with serving(settings, build=build) as api:
            yield at, api


async def over(call: CallPair) -> None:
    await call.expect("hangup")
    await call.closed()


def events_of(answer: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for block in answer.text.split("\n\n"):
        lines = block.split("\n")
        if len(lines) == 2:
            found.append((lines[0].removeprefix("event: "), json.loads(lines[1][6:])))
    return found


async def test_T20_a_call_is_listed_killed_and_gone(tmp_path: Path) -> None:
    async with serving_calls(tmp_path) as (at, api):
        call = await at.call("/ws?id=room/../a b@x")
        (row,) = (await api.client.get("/list")).json()["active_calls"]
        assert row["id"] == "room/../a b@x"
        path = "/kill/room%2F..%2Fa%20b%40x"
        assert (await api.client.get(path)).json() == {"status": "killed", "id": row["id"]}
        await over(call)
        gone = await api.client.get(path)
        assert (gone.status_code, gone.json()["status"]) == (404, "not_found")


async def test_T21_G202_a_command_is_carried_out_as_if_the_client_had_sent_it(
    tmp_path: Path,
) -> None:
    async with serving_calls(tmp_path) as (at, api):
        call = await at.call("/ws?id=a%2Fb", tts={"provider": ""})
        command = {"command": "tts", "text": "hello", "playId": "p"}
        answer = await api.client.post("/command/a%2Fb", json=command)
        assert (answer.status_code, answer.json()) == (200, {"status": "sent", "id": "a/b"})
        assert (await call.expect("trackStart", playId="p"))["playId"] == "p"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ('{"command": "history", "speaker": "a", "text": "b"}', "application/json", 404),
        ('{"command": "interrupt"}', "application/vnd.x+json; charset=utf-8", 404),
        ("{", "application/json", 400),
        ('{"command": "nonsense"}', "application/json", 400),
        ('{"command": "play", "url": 7}', "application/json", 422),
        ("{}", "text/plain", 415),
        ("{}", "", 415),
    ],
)
async def test_T21_G202_what_is_wrong_with_a_command(
    tmp_path: Path, body: str, kind: str, status: int
) -> None:
    async with serving_calls(tmp_path) as (_, api):
        headers = {"Content-Type": kind} if kind else {}
        answer = await api.client.post("/command/nobody", content=body, headers=headers)
        assert answer.status_code == status
        if status == 404:
            assert answer.json() == {"status": "not_found", "id": "nobody"}
        else:
            assert set(answer.json()) == {"detail", "code"}


async def test_T22_G203_events_and_commands_are_mirrored_until_the_call_ends(
    tmp_path: Path,
) -> None:
    async with serving_calls(tmp_path) as (at, api):
        call = at.connect("/ws?id=a&ping=1")
        reading = asyncio.create_task(api.client.get("/events/a"))
        while not at.gateway.services.bus.watchers("a"):
            await asyncio.sleep(0)
        await call.invite(tts={"secretKey": "hidden-away", "provider": ""})
        call.send({"command": "tts", "text": "hello", "playId": "p"})
        await call.expect("trackEnd", playId="p")
        await api.client.post("/command/a", json={"command": "hangup", "reason": "caller"})
        await over(call)
        answer = await asyncio.wait_for(reading, 5)
        assert answer.headers["content-type"] == "text/event-stream;charset=utf-8"
        got = events_of(answer)
        commands = [data["command"] for kind, data in got if kind == "command"]
        assert commands == ["invite", "tts", "hangup"]
        events = [data for kind, data in got if kind == "event"]
        assert {event["event"] for event in events} >= {"answer", "trackStart", "binary", "hangup"}
        told = [event for event in events if event["event"] not in {"binary", "ping"}]
        assert [event["event"] for event in told] == [event["event"] for event in call.events]
        (binary, *_) = [event for event in events if event["event"] == "binary"]
        assert set(binary["data"]) <= set(range(256))
        assert events[-1]["event"] == "hangup"
        assert "hidden-away" not in answer.text
        assert api.house.desk is not None
        assert len(api.house.desk.readers) == 0


async def test_G203_sound_can_be_left_out_and_an_unknown_call_is_told(tmp_path: Path) -> None:
    async with serving_calls(tmp_path) as (at, api):
        unknown = await api.client.get("/events/nobody")
        assert (unknown.status_code, unknown.text) == (404, "call not found")
        call = await at.call("/ws?id=a")
        reading = asyncio.create_task(api.client.get("/events/a?binary=false"))
        while not at.gateway.services.bus.watchers("a"):
            await asyncio.sleep(0)
        call.send({"command": "tts", "text": "hello", "playId": "p"})
        await call.expect("trackEnd", playId="p")
        call.send({"command": "hangup"})
        await over(call)
        names = [data.get("event") for _, data in events_of(await reading)]
        assert "binary" not in names
        assert "trackEnd" in names


async def test_G204_G262_speech_is_made_ahead_once(tmp_path: Path) -> None:
    async with serving_calls(tmp_path) as (at, api):
        cast("Any", at.engine.synthesizers)["own"] = at.voice
        body = {"command": "tts", "text": "hello", "option": {"provider": "own"}}
        first = (await api.client.post("/precache", json=body)).json()
        assert first["status"] == "cached"
        assert first["bytes"] > 0
        assert first["key"] == first["cacheKey"]
        del body["command"]
        again = (await api.client.post("/precache", json=body)).json()
        assert again == first | {"status": "exists", "bytes": 0}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"command": "play", "url": "x"}, 400),
        ({"text": "hello"}, 400),
        ({"text": "hello", "option": {"provider": "nobody"}}, 400),
        ({"text": 7, "option": {"provider": "x"}}, 422),
        ([], 400),
    ],
)
async def test_G204_what_cannot_be_cached(tmp_path: Path, body: Any, status: int) -> None:
    async with serving_calls(tmp_path) as (_, api):
        answer = await api.client.post("/precache", json=body)
        assert answer.status_code == status
        assert answer.json()["status"] == "error"
        assert answer.json()["error"]


async def test_G204_the_body_is_json(tmp_path: Path) -> None:
    async with serving_calls(tmp_path) as (_, api):
        assert (await api.client.post("/precache", content="{}")).status_code == 415
        wrong = await api.client.post("/precache", content="{", headers=JSON)
        assert (wrong.status_code, wrong.json()["status"]) == (400, "error")


async def test_G210_the_list_of_records(tmp_path: Path) -> None:
    async with serving_calls(tmp_path) as (_, api):
        assert (await api.client.get("/api/records")).json() == []
        (tmp_path / "events").mkdir()
        said = json.dumps({"event": "answer", "trackId": "a"})
        line = json.dumps({"type": "event", "timestamp": 1000, "content": said})
        (tmp_path / "events" / "a.events.jsonl").write_text(line + "\n")
        (row,) = (await api.client.get("/api/records")).json()
        assert (row["id"], row["duration"]) == ("a", "0s")
        assert set(row) == {"id", "date", "duration", "status"}


@pytest.mark.parametrize("query", ["ping=abc", "dump=maybe", "ping=-1"])
async def test_T49_a_query_that_does_not_parse_is_refused_with_400(
    tmp_path: Path, query: str
) -> None:
    async with serving_calls(tmp_path) as (at, _):
        with pytest.raises(CallRefusedError) as refused:
            at.connect(f"/ws?{query}")
        assert refused.value.refusal.status == 400
        at.connect("/ws?foo=1")


async def test_T50_both_spellings_of_the_query(tmp_path: Path) -> None:
    async with serving_calls(tmp_path) as (at, _):
        at.connect("/ws?id=a&dump_events=false")
        assert at.session("a").query.dump is False
        at.connect("/ws?id=b&dump=true&dump_events=false&ping_interval=1&server_side_track=x")
        query = at.session("b").query
        assert (query.dump, query.ping, query.server_side_track) == (True, 1, "x")
