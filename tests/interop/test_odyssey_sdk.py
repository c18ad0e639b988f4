"""The published JavaScript client of the interactive-video protocol, unmodified, in Chromium
against the stand-in server, which it is told of by URL alone (J1)."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from aiohttp import ClientSession, web
from playwright.async_api import Browser, Page, Playwright
from tests.browser.conftest import chromium, playwright
from tests.integration.conftest import until
from tests.interop.test_werift import node

from salon.testing.odyssey import (
    API_KEY,
    SUSPENDED_KEY,
    HttpFault,
    MessageFault,
    OdysseyStandIn,
    StandInSettings,
    StartRefusal,
)

__all__ = ["chromium", "node", "playwright"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="session"),
]

HERE: Final = Path(__file__).parent
SDK: Final = HERE / "node_modules/@odysseyml/odyssey/dist/index.js"
FLAGS: Final = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
)
SMALL: Final = (352, 640)
BUSY_MS: Final = 5_000
"""From painting a frame to reading it in the page, on a machine busy with other things."""
_PAGE = """<!doctype html><title>test</title>
<script>window.__ODYSSEY_API_URL__ = {url};</script>
<script type="module" src="/page.js"></script>"""


@dataclass(frozen=True, slots=True)
class Tab:
    """A page with the client in it, and the server it knows."""

    page: Page
    server: OdysseyStandIn

    async def do(self, name: str, *given: Any) -> Any:
        """Call a function of `odyssey_page.js`."""
        script = "([name, given]) => window.page[name](...given)"
        return await self.page.evaluate(script, [name, list(given)])

    async def value(self, name: str, *given: Any) -> Any:
        """The same for what must succeed."""
        done = await self.do(name, *given)
        assert "error" not in done, (name, done)
        return done.get("value")

    async def error(self, name: str, *given: Any) -> dict[str, Any]:
        """The same for what must fail; the error."""
        done = await self.do(name, *given)
        assert "error" in done, (name, done)
        error: dict[str, Any] = done["error"]
        return error

    async def connected(self, key: str = API_KEY) -> str:
        """Connect; the session's id."""
        await self.do("make", key)
        session_id: str = await self.value("connect")
        return session_id

    async def names(self) -> list[str]:
        """The events so far, by their names."""
        return [event[0] for event in await self.do("events")]


@pytest_asyncio.fixture(loop_scope="session")
async def server() -> AsyncIterator[OdysseyStandIn]:
    settings = StandInSettings(portrait=SMALL, fps=12)
    async with OdysseyStandIn(settings) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(playwright: Playwright, chromium: str) -> AsyncIterator[Browser]:
    """Without a microphone, so that its candidates are mDNS names (J3)."""
    running = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
    yield running
    await running.close()


@pytest_asyncio.fixture(loop_scope="session")
async def tab(browser: Browser, server: OdysseyStandIn, node: str) -> AsyncIterator[Tab]:
    """A page of another origin than the server's."""
    application = web.Application()

    async def page(request: web.Request) -> web.Response:
        html = _PAGE.replace("{url}", json.dumps(server.url))
        return web.Response(text=html, content_type="text/html")

    async def script(request: web.Request) -> web.FileResponse:
        files = {"/page.js": HERE / "odyssey_page.js", "/odyssey.js": SDK}
        return web.FileResponse(files[request.path], headers={"Content-Type": "text/javascript"})

    application.router.add_get("/", page)
    application.router.add_get("/page.js", script)
    application.router.add_get("/odyssey.js", script)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    context = await browser.new_context()
    opened = await context.new_page()
    await opened.goto(f"http://127.0.0.1:{runner.addresses[0][1]}/")
    await opened.wait_for_function("window.page")
    yield Tab(opened, server)
    await context.close()
    await runner.cleanup()


async def test_J1_J2_a_whole_session(tab: Tab) -> None:
    session_id = await tab.connected()
    assert session_id in tab.server.connections
    idle = await tab.do("frames", "main", False, 3)
    assert (idle[-1]["width"], idle[-1]["height"]) == SMALL

    stream_id = await tab.value("start", {"prompt": "a harbour", "portrait": False})
    shown = await tab.do("frames", "main", True, 5)
    assert (shown[-1]["width"], shown[-1]["height"]) == SMALL[::-1], "O59: the size changes"
    assert [one["frame"] for one in shown] == sorted({one["frame"] for one in shown})
    assert all(0 <= one["ageMs"] < BUSY_MS for one in shown)
    before = await tab.do("colour", "main")

    assert await tab.value("interact", "a storm") == "a storm"
    assert (await tab.do("state"))["prompt"] == "a storm"
    # another prompt, another picture, once those on the way are shown
    await tab.do("recoloured", "main", before)

    await tab.value("end")
    await tab.do("frames", "main", False, 2)
    await recorded(tab, stream_id)
    await tab.do("disconnect")
    await until(lambda: not tab.server.connections, "the streamer is free again")
    await until(lambda: tab.server.sessions == 0, "the session is over")
    statuses = [event[1] for event in await tab.do("events") if event[0] == "status"]
    assert statuses[0] == "authenticating"
    assert "connected" in statuses
    assert statuses[-1] == "disconnected"
    assert "failed" not in statuses
    names = [name for name in await tab.names() if name != "status"]
    assert names[:4] == ["connected", "started", "acknowledged", "ended"]
    asked = tab.server.asked
    assert asked.count("sessions.token") == 1, "O15: this client asks once"
    order = ["auth.token", "regions", "ping", "sessions.request", "sessions.token", "signaling"]
    assert [name for name in asked if name in order][: len(order)] == order


async def recorded(tab: Tab, stream_id: str) -> None:
    """O88 to O91, through the client and behind the addresses."""
    recording = await tab.value("call", "getRecording", stream_id)
    assert recording["stream_id"] == stream_id
    assert recording["frame_count"] > 0
    assert recording["duration_seconds"] > 0
    listed = await tab.value("call", "listStreamRecordings", {"limit": 5})
    assert listed["total"] == 1
    assert (listed["recordings"][0]["width"], listed["recordings"][0]["height"]) == SMALL[::-1]
    async with ClientSession() as http:
        async with http.get(recording["events_url"]) as reply:
            lines = [json.loads(line) for line in (await reply.text()).splitlines()]
        assert [line["type"] for line in lines] == [
            "stream_started",
            "update_acknowledged",
            "stream_ended",
        ]
        async with http.get(recording["video_url"]) as reply:
            assert (await reply.read())[4:8] == b"ftyp"


async def test_J3_candidates_that_name_nobody_are_taken(tab: Tab) -> None:
    session_id = await tab.connected()
    connection = tab.server.connections[session_id]
    assert connection.signaling.unresolvable > 0, "mDNS names"
    assert connection.peer_state == "connected"
    await tab.do("frames", "main", False, 2)


async def test_J2_streams_one_after_another_each_have_an_id(tab: Tab) -> None:
    await tab.connected()
    first = await tab.value("start", {"prompt": "one"})
    await tab.value("end")
    second = await tab.value("start", {"prompt": "two"})
    await tab.do("frames", "main", True, 2)
    assert first != second


async def test_J7_a_start_with_an_image_comes_over_the_socket(tab: Tab) -> None:
    session_id = await tab.connected()
    await tab.value("startWithImage", {"prompt": "", "portrait": True}, 120, 90)
    await tab.do("frames", "main", True, 3)
    red, green, blue, _ = await tab.do("colour", "main")
    assert red > 150, (red, green, blue)
    assert green < 100
    assert blue < 100
    (start,) = tab.server.connections[session_id].heard
    assert start["input_image_base64"].startswith("data:image/")


async def test_O50_a_long_prompt_arrives(tab: Tab) -> None:
    session_id = await tab.connected()
    prompt = "ä" * 9_999
    await tab.value("start", {"prompt": prompt})
    assert tab.server.connections[session_id].heard[0]["prompt"] == prompt


async def test_O101_a_page_connects_with_credentials_minted_before(tab: Tab) -> None:
    await tab.do("make", API_KEY)
    minted = await tab.do("mint")
    assert minted["signaling_url"] == tab.server.signaling_url
    asked = len(tab.server.asked)
    assert await tab.value("connectWithCredentials") == minted["session_id"]
    assert set(tab.server.asked[asked:]) <= {"config", "signaling"}, "no call of the broker"
    await tab.do("frames", "main", False, 2)


async def test_J8_a_spectator_watches_a_broadcast(tab: Tab) -> None:
    await tab.connected()
    stream_id = await tab.value("start", {"prompt": "a harbour", "broadcast": True})
    events = await tab.do("until", "broadcast")
    (info,) = [event[1] for event in events if event[0] == "broadcast"]
    assert info["hlsUrl"] is None
    missing = await tab.error("watch", f"{tab.server.url}/live/nothing", info["spectatorToken"])
    assert "not found" in missing["message"].lower()
    wrong = await tab.error("watch", info["webrtcUrl"], "wrong")
    assert "token" in wrong["message"].lower()
    await tab.value("watch", info["webrtcUrl"], info["spectatorToken"])
    seen = await tab.do("frames", "spectator", True, 4)
    assert seen[-1]["frame"] > seen[0]["frame"]
    assert tab.server.spectators(stream_id) == 1
    await tab.do("leave")
    await until(lambda: tab.server.spectators(stream_id) == 0, "DELETE when it leaves")
    assert tab.server.asked[-1] == "whep.delete"


async def test_O92_a_simulation_is_rendered(tab: Tab) -> None:
    await tab.do("make", API_KEY)
    script = [
        {"timestamp_ms": 0, "start": {"prompt": "a harbour"}},
        {"timestamp_ms": 600, "interact": {"prompt": "a storm"}},
        {"timestamp_ms": 1000, "end": {}},
    ]
    tab.server.faults.hold_jobs = True
    job = await tab.value("call", "simulate", {"script": script, "portrait": False})
    assert job["status"] == "pending"
    other = await tab.value("call", "simulate", {"scripts": [script, script]})
    assert (await tab.value("call", "cancelSimulation", other["job_id"]))["status"] == "cancelled"
    tab.server.faults.hold_jobs = False
    while (found := await tab.value("call", "getSimulateStatus", job["job_id"]))["status"] in (
        "pending",
        "dispatched",
        "processing",
    ):
        pass
    assert found["status"] == "completed", found
    (stream,) = found["streams"]
    assert stream["frame_count"] == 12
    assert stream["script_index"] == 0
    listed = await tab.value("call", "listSimulations", {"active": False, "limit": 10})
    assert [one["status"] for one in listed["jobs"]] == ["cancelled", "completed"]
    missing = await tab.error("call", "getSimulateStatus", "nothing")
    assert "not found" in missing["message"].lower()


async def test_O13_keys_that_are_refused(tab: Tab) -> None:
    for key, word in (
        ("ody_somebody_else_0009", "invalid api key"),
        (SUSPENDED_KEY, "suspended"),
        ("something else", "format"),
    ):
        await tab.do("make", key)
        error = await tab.error("connect")
        assert word in error["message"].lower(), error
        assert (await tab.do("state"))["status"] == "failed"
    assert tab.server.sessions == 0


async def test_O17_a_client_waits_for_a_streamer(tab: Tab) -> None:
    busy = HttpFault(status=503, body={"detail": "No streamers available"}, times=2)
    tab.server.faults.http("sessions.request", busy)
    await tab.connected()
    assert tab.server.asked.count("sessions.request") == 3


async def test_O18_O75_limits_are_told_as_usage_errors(tab: Tab) -> None:
    detail = {
        "error": "MONTHLY_LIMIT_REACHED",
        "message": "All hours are used",
        "action": "Wait for next month",
        "details": {"used_hours": 5, "limit_hours": 5},
    }
    tab.server.faults.http("sessions.request", HttpFault(status=429, body={"detail": detail}))
    await tab.do("make", API_KEY)
    error = await tab.error("connect")
    assert error["code"] == "MONTHLY_LIMIT_REACHED"
    assert "All hours are used" in error["message"]


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("streamer_not_available", "Streamer not available"),
        ("streamer_disconnected", "disconnected"),
        ("duration_limit_reached", "maximum allowed duration"),
    ],
)
async def test_O30_the_socket_tells_an_error(tab: Tab, reason: str, text: str) -> None:
    tab.server.faults.signaling.error_reason = reason
    await tab.do("make", API_KEY)
    assert text in (await tab.error("connect"))["message"]
    assert (await tab.do("state"))["status"] == "failed"


async def test_O56_a_start_is_refused_and_the_next_one_is_not(tab: Tab) -> None:
    await tab.connected()
    tab.server.faults.start = StartRefusal("quota_exceeded", "All hours are used")
    error = await tab.error("start", {"prompt": "one"})
    assert error["message"] == "Stream error: quota_exceeded - All hours are used"
    assert ["streamError", "quota_exceeded", "All hours are used"] in await tab.do("events")
    tab.server.faults.clear()
    await tab.value("start", {"prompt": "two"})


async def test_O58_an_update_without_a_stream(tab: Tab) -> None:
    await tab.connected()
    error = await tab.error("interact", "anything")
    assert "no_active_stream" in error["message"]


async def test_O58a_a_stream_that_is_over_by_time(tab: Tab) -> None:
    session_id = await tab.connected()
    await tab.value("start", {"prompt": "one"})
    tab.server.connections[session_id].fail_stream("session_timeout", "credit lease expired")
    events = await tab.do("until", "ended")
    names = [event[0] for event in events]
    assert names.index("streamError") < names.index("ended"), "O56: then the end too"


async def test_J5_a_disconnect_fails_what_waits(tab: Tab) -> None:
    await tab.connected()
    tab.server.faults.message("stream_started", MessageFault(drop=True))
    done = await tab.do("startAndDisconnect")
    assert "closed" in done["error"]["message"].lower()
    await until(lambda: not tab.server.connections, "the streamer is free again")


async def test_J4_an_error_on_the_socket_is_a_disconnect(tab: Tab) -> None:
    session_id = await tab.connected()
    await tab.server.connections[session_id].send_signaling(
        json.dumps({"type": "error", "reason": "streamer_disconnected"})
    )
    await tab.do("until", "disconnected")
    assert (await tab.do("state"))["status"] == "failed"


async def test_O33_the_server_closes_the_socket(tab: Tab) -> None:
    session_id = await tab.connected()
    await tab.server.connections[session_id].close_socket(1011, "the streamer broke")
    events = await tab.do("until", "error")
    assert ["status", "failed", "Signaling disconnected: the streamer broke"] in events
    await until(lambda: not tab.server.connections, "the streamer is free again")


async def test_O24_errors_too_may_be_read_by_a_page_of_another_origin(tab: Tab) -> None:
    await tab.do("make", API_KEY)
    error = await tab.error("call", "getRecording", "nothing")
    assert error["message"] == "Recording not found"
    tab.server.faults.http("auth.token", HttpFault(status=500, body={"detail": "broken"}))
    await tab.do("make", API_KEY)
    assert "500" in (await tab.error("connect"))["message"]


_IN_NODE = """
import { Odyssey } from "@odysseyml/odyssey";
const client = new Odyssey({ apiKey: process.argv[1] });
const script = [{ timestamp_ms: 0, start: { prompt: "x" } }, { timestamp_ms: 500, end: {} }];
let job = await client.simulate({ script });
const begun = Date.now();
while (!["completed", "failed"].includes(job.status) && Date.now() < begun + 50000)
  job = await client.getSimulateStatus(job.job_id);
const listed = await client.listStreamRecordings();
const missing = await client.getRecording("nothing").catch((error) => error.message);
console.log(JSON.stringify({ status: job.status, total: listed.total, missing }));
"""


async def test_J9_in_node_the_http_parts_work(server: OdysseyStandIn, node: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(node, "--input-type=module", "--eval", _IN_NODE, "--", API_KEY),
        cwd=HERE,
        env={**os.environ, "API_URL": server.url},
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        out, _ = await process.communicate()
    assert json.loads(out) == {"status": "completed", "total": 0, "missing": "Recording not found"}
