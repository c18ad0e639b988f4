"""A server without recognition or without a voice: calls run, and who needs it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.integration.wire import placed

from salon.testing.server import ServerProcess, running_server
from salon.testing.speech import silence, speak


@pytest.fixture(scope="module")
def bare() -> Iterator[ServerProcess]:
    """Neither recognition nor voice."""
    with running_server(environment={"SALON_STT": "none", "SALON_TTS": "none"}) as process:
        yield process
        log = process.log_text()
        assert "Traceback" not in log, log[-4000:]


async def test_G82_a_call_runs_without_engines_and_tells_who_needs_one(
    bare: ServerProcess,
) -> None:
    async with placed(bare.ws_url) as call:
        await call.invite(vad={}, asr={}, tts={})
        (error,) = call.of("error")
        assert error["sender"] == "asr"
        assert "SALON_STT" in error["error"]
        for number in range(2):
            await call.send("tts", text="Hello.", playId=f"play-{number}")
            error = await call.expect("error")
            assert "SALON_TTS" in error["error"]
        await call.talk(np.concatenate([silence(200), speak("hello there")]))
        async with call.quiet():
            await call.expect("speaking")
            await call.expect("silence")
        assert not call.of("asrFinal")
        assert not call.audio
        await call.send("hangup")
        assert (await call.expect("hangup"))["reason"] == "system"
        assert await call.closed() == 1000


async def test_a_room_answers_in_writing_without_a_voice(bare: ServerProcess) -> None:
    path = "/ws?handler=room&room=silent&participant=ada&name=Ada"
    async with placed(bare.ws_url, path) as call:
        await call.invite(vad={}, asr={}, tts={})
        await call.send("chat", text="what is salon")
        error = await call.expect("error", timeout=40)
        assert "SALON_" in error["error"]
        async with httpx.AsyncClient(base_url=bare.url, timeout=20) as client:
            async with asyncio.timeout(30):
                while True:
                    page = (await client.get("/rooms/silent/timeline")).json()
                    if sum(event["type"] == "message" for event in page["events"]) == 2:
                        break
                    await call.send("mute")  # a live call answers commands all the while
                    await call.send("history", speaker="ada", text="waiting")
                    await call.expect("addHistory")
        await call.send("hangup")
        assert await call.closed() == 1000


async def test_the_server_says_what_is_missing(bare: ServerProcess) -> None:
    async with httpx.AsyncClient(base_url=bare.url, timeout=20) as client:
        engines = (await client.get("/api/info")).json()["engines"]
        assert (await client.get("/ready")).status_code == 200
    assert not engines["recognition"]["available"]
    assert "SALON_STT" in engines["recognition"]["note"]
    assert not engines["synthesis"]["available"]
    assert "SALON_TTS" in engines["synthesis"]["note"]
    assert engines["vad"]["available"]
    assert "missing" in bare.log_text()


HIDE = """
import sys
from importlib.machinery import PathFinder


class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in {"pocketsphinx", "espeakng_loader", "G722"}:
            return None
        return super().find_spec(name, path, target)


sys.meta_path[:] = [Hiding if finder is PathFinder else finder for finder in sys.meta_path]
"""


async def test_packages_that_are_not_installed_are_named_with_their_extra(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    with running_server(environment={"PYTHONPATH": str(tmp_path)}) as server:
        async with placed(server.ws_url) as call:
            await call.invite(vad={}, asr={}, tts={})
            (error,) = call.of("error")
            assert error["sender"] == "asr"
            assert "salon[recognition]" in error["error"]
            await call.send("tts", text="Hello.")
            assert "salon[espeak]" in (await call.expect("error", sender="command"))["error"]
            await call.send("hangup")
            assert await call.closed() == 1000
        async with placed(server.ws_url, codec="g722") as call:
            await call.send("invite", option={"codec": "g722"})
            assert "salon[codecs]" in (await call.expect("error", sender="invite"))["error"]
            await call.expect("hangup", reason="failed")
            await call.closed()
        assert "Traceback" not in server.log_text()
