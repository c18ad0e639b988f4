"""A call gateway as its operators run it: `salon serve --conf` and a webhook that says yes, as
processes, with real calls (G154, G214, G218, G230, G232)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.error
import urllib.request
import wave
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from tests.integration.conftest import until
from tests.integration.program import background
from tests.integration.wire import placed

from salon.media import Samples
from salon.media.wav import WavWriter
from salon.testing import tone
from salon.testing.server import free_port
from salon.testing.speech import silence, speak

pytestmark = pytest.mark.slow


@dataclass
class Application:
    """A web application that calls are announced to; it answers `status` and keeps what came."""

    url: str = ""
    status: int = 200
    method: str = ""
    headers: list[Mapping[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
def application() -> Iterator[Application]:
    made = Application()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            made.method = self.command
            made.headers.append(dict(self.headers.items()))
            body = self.rfile.read(int(self.headers["content-length"]))
            made.bodies.append(json.loads(body))
            self.send_response(made.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            self.do_PUT()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass(frozen=True)
class Running:
    """A gateway that runs on `port` in `folder`."""

    port: int
    folder: Path
    log: Path

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextlib.asynccontextmanager
async def serving(folder: Path, toml: str, *arguments: str) -> AsyncIterator[Running]:
    """``salon serve --conf gateway.toml``: where it listens stands in the file."""
    port = free_port()
    (folder / "gateway.toml").write_text(f'http_addr = "127.0.0.1:{port}"\n{toml}')
    media = folder / "data" / "media"
    media.mkdir(parents=True)
    music = WavWriter(media / "music.wav", 16_000, 1)
    music.write(tone(500))
    music.close()
    running = Running(port, folder, folder / "server.log")
    command = ("-m", "salon.cli", "serve", "--conf", "gateway.toml", *arguments)
    async with background(*command, folder=folder, log=running.log) as process:
        await until(lambda: running.ready(), "the server is ready", timeout=60)
        yield running
        assert process.returncode is None
    log = running.log.read_text()
    assert "Traceback" not in log, log[-4000:]


def channels(path: Path) -> tuple[Samples, Samples]:
    """Left and right of a stereo recording."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 16_000)
        data = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    return data[::2].astype(np.int16), data[1::2].astype(np.int16)


async def test_G230_a_gateway_from_its_file_carries_a_call_to_its_record(tmp_path: Path) -> None:
    toml = """
        udp_port = 5060
        accept_timeout = "20s"
        media_cache_path = "cache"
        codecs = ["pcmu", "opus"]
        [recording]
        path = "kept"
        [callrecord]
        type = "local"
        root = "cdr"
    """
    async with serving(tmp_path, toml) as gateway:
        async with placed(gateway.ws, "/call?id=from-a-file") as call:
            await call.invite(vad={}, recorder={"recorderFile": "{id}"}, caller="sip:ann@x")
            await call.send("play", url="music.wav", playId="m")
            await call.talk(np.concatenate((tone(1000), silence(500))))
            await call.expect("trackEnd", playId="m")
            await call.send("hangup", reason="done")
            hangup = await call.expect("hangup")
            await call.closed()
        assert hangup["reason"] == "done"
        assert len(call.audio) == 25
        records = tmp_path / "cdr"
        await until(
            lambda: [one for one in records.rglob("*.json") if one.stat().st_size], "a record"
        )
        (file,) = records.rglob("*.json")
        record = json.loads(file.read_text("utf-8"))
        recording = tmp_path / "kept" / "from-a-file.wav"
        assert record["callId"] == "from-a-file"
        assert record["hangupReason"] == {"other": "done"}
        assert record["caller"] == "sip:ann@x"
        assert Path(record["recorder"][0]["path"]).resolve() == recording
        heard, said = channels(recording)
        assert int(np.abs(heard).max()) > 3000
        assert int(np.abs(said).max()) > 3000
        events = tmp_path / "kept" / "from-a-file.events.jsonl"
        lines = [json.loads(line) for line in events.read_text("utf-8").splitlines()]
        told = [json.loads(line["content"]).get("event") for line in lines]
        assert {"answer", "trackEnd", "hangup"} <= set(told)
    log = gateway.log.read_text()
    assert "udp_port: telephony (SIP) is not served" in log


async def test_G154_a_webhook_that_says_yes_gets_the_call_answered(
    tmp_path: Path, application: Application
) -> None:
    toml = f"""
        [handler]
        type = "webhook"
        url = "{application.url}"
        method = "PUT"
        headers = [["X-App", "seven"]]
    """
    async with (
        serving(tmp_path, toml) as gateway,
        placed(gateway.ws, "/ws?id=taken&handler=webhook") as call,
    ):
        await call.invite(caller="sip:ann@x", callee="sip:desk@y", vad={})
        (body,) = application.bodies
        assert application.method == "PUT"
        assert application.headers[0]["X-App"] == "seven"
        assert (body["event"], body["dialogId"]) == ("invite", "taken")
        assert (body["caller"], body["callee"]) == ("sip:ann@x", "sip:desk@y")
        played = {"command": "play", "url": "music.wav", "playId": "m"}
        sent = await asyncio.to_thread(gateway.post, "/command/taken", played)
        assert sent == {"status": "sent", "id": "taken"}
        await call.expect("trackEnd", playId="m")
        assert len(call.audio) == 25
        await call.talk(np.concatenate((speak("please tell me the code word"), silence(500))))
        await call.expect("speaking")
        await asyncio.to_thread(
            gateway.post, "/command/taken", {"command": "hangup", "reason": "enough"}
        )
        assert (await call.expect("hangup"))["reason"] == "enough"
        await call.closed()


async def test_G153_a_webhook_that_says_no_ends_the_call(
    tmp_path: Path, application: Application
) -> None:
    application.status = 486
    async with serving(tmp_path, "", "--handler", application.url) as gateway:
        async with placed(gateway.ws, "/ws?id=refused&handler=webhook") as call:
            await call.send("invite", option={})
            error = await call.expect("error")
            assert error["sender"] == "invite"
            assert "HTTP 486" in error["error"]
            await call.closed()
        assert not [event for event in call.events if event["event"] == "answer"]
        assert application.bodies[0]["dialogId"] == "refused"
        with pytest.raises(urllib.error.HTTPError):
            await asyncio.to_thread(gateway.post, "/command/refused", {"command": "interrupt"})
