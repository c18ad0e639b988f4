"""SIGKILL in mid-call, and the same data folder opened again."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from tests.integration.conftest import until
from tests.integration.wire import placed
from websockets.asyncio.client import ClientConnection, connect

from salon.testing.server import ServerProcess
from salon.testing.speech import silence, speak

ROOM = "kitchen"
PATH = f"/ws?handler=room&room={ROOM}&participant=ada&name=Ada"


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path / "data")
    process.start()
    yield process
    process.stop()
    assert "Traceback" not in process.log_text(), process.log_text()[-4000:]


def calls_in(server: ServerProcess) -> list[dict[str, Any]]:
    with sqlite3.connect(f"file:{server.data_dir / 'salon.db'}?mode=ro", uri=True) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute("select * from calls order by started_at")]


def events_in(server: ServerProcess) -> list[dict[str, Any]]:
    answer = httpx.get(f"{server.url}/rooms/{ROOM}/timeline", params={"limit": 500}, timeout=20)
    assert answer.status_code == 200, answer.text
    events: list[dict[str, Any]] = answer.json()["events"]
    assert [event["index"] for event in events] == list(range(len(events)))
    return events


def bodies(events: list[dict[str, Any]]) -> list[str]:
    return [event["content"]["body"] for event in events if event["type"] == "message"]


def is_hers(event: dict[str, Any]) -> bool:
    return bool(event["source"]["participant_id"] == "ada")


def is_answered(events: list[dict[str, Any]], understood: list[str]) -> bool:
    """Whether all that was understood is there, and an answer after it."""
    said = [event for event in events if event["type"] == "message"]
    hers = bodies([event for event in said if is_hers(event)])
    return hers == understood and not is_hers(said[-1])


async def message(socket: ClientConnection, *kinds: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            found: dict[str, Any] = json.loads(await socket.recv())
            if found["type"] in kinds:
                return found


async def ask(server: ServerProcess, text: str, *, kill: bool) -> tuple[str, list[str]]:
    """One spoken turn in the room; with `kill` the server dies while the agent speaks. The id of
    the call, and what was understood."""
    async with placed(server.ws_url, PATH) as call:
        answer = await call.invite(asr={}, vad={}, tts={})
        await call.talk(np.concatenate([silence(300), speak(text)]))
        async with call.quiet():
            await call.expect("asrFinal")
            await call.expect("trackStart", trackId="server-side-track")
            await call.heard(25)
            if kill:
                # the call's row is written beside the call
                await until(lambda: calls_in(server), "a row of the call")
                workers = psutil.Process(server.pid).children(recursive=True)
                await asyncio.to_thread(server.kill)
                assert await call.closed() == 1006
                _, left = await asyncio.to_thread(psutil.wait_procs, workers, 30)
                assert not left, "workers outlive their server"
            else:
                await call.expect("trackEnd", trackId="server-side-track")
                await call.send("hangup")
                await call.closed()
    return str(answer["trackId"]), [str(final["text"]) for final in call.of("asrFinal")]


@pytest.mark.slow
async def test_a_killed_server_keeps_the_room_and_records_the_call_as_failed(
    own_server: ServerProcess,
) -> None:
    server = own_server
    cut, understood = await ask(server, "what is salon", kill=True)
    (row,) = calls_in(server)
    assert row["ended_at"] is None

    server.start()
    # an answer that the crash cut before it was stored is asked for again (R207)
    await until(lambda: len(bodies(events_in(server))) > 1, "an answer to the cut question")
    before = events_in(server)
    *asked, answered = bodies(before)
    assert asked == understood
    assert answered
    (note,) = [event for event in before if event["content"].get("code") == "call_failed"]
    assert note["type"] == "system"
    assert note["content"]["data"]["call_id"] == cut
    (row,) = calls_in(server)
    assert (row["id"], row["state"]) == (cut, "failed")
    assert row["ended_at"] is not None

    # a machine too busy to send the sound in time may make a pause, and two turns, of it
    _, understood = await ask(server, "does it work offline", kill=False)
    await until(lambda: is_answered(events_in(server)[len(before) :], understood), "an answer")
    after = events_in(server)
    assert [event["id"] for event in after][: len(before)] == [event["id"] for event in before]

    url = f"{server.ws_url}/ws/{ROOM}?participant=ben&name=Ben"
    async with connect(url) as socket:
        assert (await message(socket, "hello"))["room_id"] == ROOM
        history = await message(socket, "history")
        assert set(bodies(before)) <= set(bodies(history["events"]))
        await socket.send(json.dumps({"type": "message", "text": "what can i say"}))
        typed = (await message(socket, "event"))["event"]
        reply = (await message(socket, "stream_end"))["event"]
    assert bodies([typed]) == ["what can i say"]
    assert typed["source"]["participant_id"] == "ben"
    assert bodies(events_in(server)) == [*bodies(after), *bodies([typed, reply])]
    wanted = ["failed", "ended"]
    await until(lambda: [row["state"] for row in calls_in(server)] == wanted, "the calls' states")
