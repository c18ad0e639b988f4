"""A server with a key: the page asks for it, and nothing works before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.async_api import Browser, Page
from tests.browser.room_page import WAIT_MS, RoomPage

from salon.testing.server import ServerProcess, running_server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

KEY = "a-key-for-these-tests-only"

_CONNECT = """async () => {
  const outcome = {};
  for (const path of ["/ws?handler=room&room=any", "/ws", "/webrtc", "/call", "/ws/any"])
    outcome[path] = await new Promise((resolve) => {
      const socket = new WebSocket(`ws://${location.host}${path}`);
      socket.onopen = () => { socket.close(); resolve("open"); };
      socket.onclose = () => resolve("refused");
    });
  for (const path of ["/list", "/metrics", "/rooms/any/timeline", "/openapi.json"])
    outcome[path] = (await fetch(path)).status;
  return outcome;
}"""


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that demands `KEY`."""
    data_dir = tmp_path_factory.mktemp("locked") / "data"
    with running_server(data_dir=data_dir, environment={"SALON_API_KEY": KEY}) as process:
        yield process


async def test_the_page_asks_for_the_key_and_lets_in_who_has_it(
    quiet: Browser, locked: ServerProcess
) -> None:
    context = await quiet.new_context()
    page = await context.new_page()
    page.set_default_timeout(WAIT_MS)
    await page.goto(locked.url)
    await page.locator("#login").wait_for()
    assert await page.locator("#app").is_hidden()
    assert await page.locator("#status").inner_text() == "Locked"
    await _everything_refused(page)

    await page.fill("#key", "a wrong key, and long enough")
    await page.keyboard.press("Enter")
    await page.locator("#login-error", has_text="not the API key").wait_for()
    assert await page.locator("#app").is_hidden()
    assert await context.cookies() == []

    await page.fill("#key", KEY)
    await page.click("#login button[type=submit]")
    room_page = RoomPage(page)
    await room_page.status("Connected")
    assert await page.locator("#login").is_hidden()
    (cookie,) = await context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert KEY not in cookie["value"]
    await room_page.talk()
    await room_page.say("Are you human?")
    await room_page.count("agent", 1)
    await room_page.hang_up()

    # the cookie opens the page again, without it the page asks again
    await page.reload()
    await room_page.status("Connected")
    await context.clear_cookies()
    await page.reload()
    await page.locator("#login").wait_for()
    await _everything_refused(page)
    assert KEY not in locked.log_text()
    await context.close()


async def _everything_refused(page: Page) -> None:
    outcome = await page.evaluate(_CONNECT)
    assert set(outcome.values()) == {"refused", 401}, outcome


async def test_a_lost_login_is_asked_for_again(quiet: Browser, locked: ServerProcess) -> None:
    """The server is known, the cookie is gone, and the connection breaks."""
    context = await quiet.new_context()
    page = RoomPage(await context.new_page())
    await page.page.goto(locked.url)
    await page.page.fill("#key", KEY)
    await page.page.keyboard.press("Enter")
    await page.status("Connected")
    await context.clear_cookies()
    # a new name makes the page connect again
    await page.element("name").fill("Ann")
    await page.element("name").press("Enter")
    await page.element("login").wait_for()
    await page.page.fill("#key", KEY)
    await page.page.keyboard.press("Enter")
    await page.status("Connected")
    await context.close()
