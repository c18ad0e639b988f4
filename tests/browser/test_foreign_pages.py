"""A page of another origin in the same browser gets nothing and changes nothing."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Response
from tests.browser.conftest import Launch, OpenRoom
from tests.browser.room_page import WAIT_MS
from tests.integration.conftest import emptied

from salon.testing.server import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# localhost is another site than 127.0.0.1; another port of 127.0.0.1 is another origin only
FOREIGN_HOSTS = ("localhost", "127.0.0.1")

_ATTACK = """async ({base, call, room}) => {
  const ws = base.replace("http", "ws");
  const ask = async (path, init) => {
    try {
      const response = await fetch(base + path, init);
      return response.type === "opaque" ? "opaque" : `read ${await response.text()}`;
    } catch {
      return "nothing";
    }
  };
  const load = (tag, path) => new Promise((resolve) => {
    const element = document.createElement(tag);
    element.onload = () => resolve("loaded");
    element.onerror = () => resolve("nothing");
    element.src = base + path;
    document.body.append(element);
  });
  const connect = (path) => new Promise((resolve) => {
    const socket = new WebSocket(ws + path);
    socket.onopen = () => { socket.close(); resolve("open"); };
    socket.onclose = () => resolve("nothing");
  });
  const plain = { method: "POST", mode: "no-cors", headers: { "Content-Type": "text/plain" } };
  return {
    "fetch kill": await ask(`/kill/${call}`),
    "fetch kill, no-cors": await ask(`/kill/${call}`, { mode: "no-cors" }),
    "fetch kill, POST": await ask(`/kill/${call}`, plain),
    "image kill": await load("img", `/kill/${call}`),
    "image kill, no referrer": await (async () => {
      const image = document.createElement("img");
      image.referrerPolicy = "no-referrer";
      return new Promise((resolve) => {
        image.onload = () => resolve("loaded");
        image.onerror = () => resolve("nothing");
        image.src = `${base}/kill/${call}`;
      });
    })(),
    "script timeline": await load("script", `/rooms/${room}/timeline`),
    "fetch timeline": await ask(`/rooms/${room}/timeline`),
    "fetch list": await ask("/list"),
    "post rooms": await ask("/rooms", { ...plain, body: "{}" }),
    "post rooms, json": await ask("/rooms", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" }),
    "socket of a room's call": await connect(`/ws?handler=room&room=${room}`),
    "socket of a call": await connect("/ws"),
    "socket of a call, other path": await connect("/call"),
    "socket of a room's call over WebRTC": await connect(`/webrtc?handler=room&room=${room}`),
    "socket of a room": await connect(`/ws/${room}`),
  };
}"""

_FORM = """({base, path}) => {
  const form = document.createElement("form");
  form.method = "POST";
  form.action = base + path;
  form.enctype = "text/plain";
  document.body.append(form);
  form.submit();
}"""


class _Blank(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>elsewhere</title><body></body>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def foreign_port() -> Iterator[int]:
    """A web server that is not ours."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Blank)
    thread = threading.Thread(target=server.serve_forever, name="foreign pages")
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
async def test_a_foreign_page_gets_nothing(
    quiet: Browser, visit: OpenRoom, server: ServerProcess, foreign_port: int, host: str
) -> None:
    victim = await visit()
    await victim.say("Are you human?")
    await victim.count("agent", 1)
    await emptied(server)
    await victim.talk()
    call = server.get("/list")["active_calls"][0]["id"]
    foreign = await _foreign_page(victim.page, f"http://{host}:{foreign_port}/")
    statuses: list[int] = []

    def note(response: Response) -> None:
        if response.url.startswith(server.url):
            statuses.append(response.status)

    foreign.on("response", note)
    target = {"base": server.url, "call": call, "room": victim.room}
    outcome = await foreign.evaluate(_ATTACK, target)
    got = {name: what for name, what in outcome.items() if what not in {"nothing", "opaque"}}
    assert got == {}
    for path in (f"/kill/{call}", "/rooms"):
        await foreign.goto(f"http://{host}:{foreign_port}/")
        async with foreign.expect_navigation(url=server.url + path, timeout=WAIT_MS) as navigation:
            await foreign.evaluate(_FORM, {"base": server.url, "path": path})
        answer = await navigation.value
        assert answer is not None
        assert answer.status == 403, path
    await foreign.goto(f"http://{host}:{foreign_port}/")
    async with foreign.expect_navigation(timeout=WAIT_MS) as navigation:
        await foreign.evaluate("(url) => { location.href = url; }", f"{server.url}/kill/{call}")
    answer = await navigation.value
    assert answer is not None
    assert answer.status == 403
    print(host, sorted(statuses), outcome)
    assert statuses
    assert min(statuses) >= 400
    # the call lives: it is listed, and its sound goes on
    assert [item["id"] for item in server.get("/list")["active_calls"]] == [call]
    await victim.frames_sent((await victim.stats())["framesSent"] + 25)
    assert await victim.element("status").inner_text() == "In a call"
    await victim.hang_up()
    assert victim.errors == []


async def _foreign_page(beside: Page, url: str) -> Page:
    page = await beside.context.new_page()
    page.set_default_timeout(WAIT_MS)
    await page.goto(url)
    return page


async def test_a_foreign_page_may_link_to_ours_but_not_embed_it(
    visit: OpenRoom, server: ServerProcess, foreign_port: int
) -> None:
    foreign = await _foreign_page((await visit()).page, f"http://localhost:{foreign_port}/")
    async with foreign.expect_response(server.url + "/") as embedded:
        await foreign.evaluate(
            """(url) => {
              const frame = document.createElement("iframe");
              frame.src = url;
              document.body.append(frame);
            }""",
            server.url + "/",
        )
    assert (await embedded.value).status == 403
    async with foreign.expect_navigation() as navigation:
        await foreign.evaluate("(url) => { location.href = url; }", server.url + "/")
    answer = await navigation.value
    assert answer is not None
    assert answer.status == 200


async def test_our_own_page_gets_what_a_foreign_one_does_not(
    visit: OpenRoom, server: ServerProcess
) -> None:
    """The refusals above are for the origin: the same requests of our own page are answered."""
    own = await visit()
    await own.say("Are you human?")
    await own.count("agent", 1)
    target = {"base": server.url, "call": "no-such-call", "room": own.room}
    outcome = await own.page.evaluate(_ATTACK, target)
    read = {name for name, what in outcome.items() if what.startswith("read")}
    assert read >= {"fetch timeline", "fetch list", "post rooms, json"}
    sockets = {name: what for name, what in outcome.items() if name.startswith("socket")}
    assert len(sockets) == 5
    assert set(sockets.values()) == {"open"}, sockets


async def test_a_rebound_name_is_refused(launch: Launch, server: ServerProcess) -> None:
    """A foreign name that resolves to this machine is the same origin as its own page."""
    browser = await launch(flags=("--host-resolver-rules=MAP rebound.example 127.0.0.1",))
    page = await browser.new_page()
    for path in ("/", "/list", "/api/info", "/rooms"):
        answer = await page.goto(f"http://rebound.example:{server.port}{path}")
        assert answer is not None
        assert answer.status == 403, path
    opened = await page.evaluate(
        """(path) => new Promise((resolve) => {
          const socket = new WebSocket(`ws://${location.host}${path}`);
          socket.onopen = () => resolve(true);
          socket.onclose = () => resolve(false);
        })""",
        "/ws?handler=room",
    )
    assert opened is False


@pytest.mark.parametrize("path", ["/", "/list", "/ws?handler=room", "/webrtc", "/ws/some-room"])
@pytest.mark.parametrize("host", ["rebound.example", "127.0.0.1.rebound.example", ""])
async def test_a_foreign_host_header_is_refused(
    server: ServerProcess, path: str, host: str
) -> None:
    assert await asyncio.to_thread(_status, server.port, path, host) in {400, 403}


def _status(port: int, path: str, host: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_MS / 1000)
    try:
        connection.putrequest("GET", path, skip_host=True)
        connection.putheader("Host", host)
        if path.startswith(("/ws", "/webrtc")):
            connection.putheader("Connection", "Upgrade")
            connection.putheader("Upgrade", "websocket")
            connection.putheader("Sec-WebSocket-Version", "13")
            connection.putheader("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()
