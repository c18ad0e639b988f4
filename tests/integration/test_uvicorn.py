"""``uvicorn salon.app:app``: the application under a server that knows nothing of our sockets."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.integration.asking import ask_until, plain
from tests.integration.program import background, end
from tests.integration.wire import placed
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from salon.testing.server import free_port
from salon.testing.speech import silence, speak


async def answers(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=20) as client, asyncio.timeout(60):
        while True:
            try:
                if (await client.get("/ready")).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.1)


async def calls(url: str) -> int:
    async with httpx.AsyncClient(base_url=url, timeout=20) as client:
        found: int = (await client.get("/health")).json()["calls"]
        return found


async def asked(url: str, ws_url: str) -> str:
    """The only call that is allowed, with a question in the room; what was understood."""
    async with placed(ws_url, "/ws?handler=room&room=lobby&participant=ada&name=Ada") as call:
        await call.invite(asr={}, vad={}, tts={})
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{ws_url}/ws")
        assert refused.value.response.status_code == 503
        assert "Retry-After" in refused.value.response.headers
        await call.talk(np.concatenate([silence(300), speak("what is salon")]))
        async with call.quiet():
            final = await call.expect("asrFinal")
            await call.expect("trackStart", trackId="server-side-track")
            await call.heard(50)
            await call.send("interrupt")
            await call.expect("trackEnd", trackId="server-side-track")
        assert {len(packet.data) for packet in call.audio} == {640}
        call.assert_paced(jitter=0.5)
        await call.send("hangup")
        assert await call.closed() == 1000
    async with asyncio.timeout(20):
        while await calls(url):
            await asyncio.sleep(0.05)
    return plain(final["text"])


async def test_a_call_and_a_room_under_plain_uvicorn(tmp_path: Path) -> None:
    port = free_port()
    url, ws_url = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
    arguments = ("-m", "uvicorn", "salon.app:app", "--port", str(port))
    environment = {"SALON_DATA_DIR": str(tmp_path / "data"), "SALON_MAX_CALLS": "1"}
    log = tmp_path / "log"
    async with background(*arguments, folder=tmp_path, log=log, environment=environment) as process:
        await answers(url)
        await ask_until("what is salon", lambda _number: asked(url, ws_url))
        async with connect(f"{ws_url}/ws/lobby?participant=ben") as page:
            seen = []
            async with asyncio.timeout(20):
                while (message := json.loads(await page.recv()))["type"] != "history":
                    seen.append(message["type"])
            assert seen[0] == "hello"
            said = [event["content"].get("body", "") for event in message["events"]]
            assert any("what is salon" in text.lower() for text in said)
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{ws_url}/ws", additional_headers={"Origin": "http://evil.example"})
        assert refused.value.response.status_code == 403
        await end(process)
    assert "Traceback" not in log.read_text(), log.read_text()[-4000:]
