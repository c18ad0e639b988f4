"""What people need who don't see the page, have a small screen, or no microphone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.browser.conftest import Launch, OpenRoom
from tests.browser.room_page import RoomPage
from tests.integration.conftest import emptied

from salon.testing.server import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
MOST_STOPS = 60
"""More than Tab has stops on the page."""

_FOCUS = """() => {
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  const style = getComputedStyle(element);
  const shown = style.outlineStyle !== "none" || style.boxShadow !== "none";
  return { id: element.id || `${element.tagName} ${element.textContent.trim()}`, shown };
}"""

CONTROLS = {
    "button",
    "checkbox",
    "combobox",
    "DisclosureTriangle",
    "link",
    "meter",
    "searchbox",
    "slider",
    "textbox",
}


async def accessibility_tree(page: RoomPage) -> list[tuple[str, str]]:
    """Role and name of every node that assistive technology is shown."""
    session = await page.page.context.new_cdp_session(page.page)
    answer: dict[str, Any] = await session.send("Accessibility.getFullAXTree")
    await session.detach()
    return [
        (node["role"]["value"], node.get("name", {}).get("value", "").strip())
        for node in answer["nodes"]
        if not node["ignored"]
    ]


async def test_every_control_has_a_name_idle_and_in_a_call(visit: OpenRoom) -> None:
    page = await visit()
    await page.say("What is Salon?")
    await page.count("agent", 1)
    for moment in ("idle", "in a call"):
        if moment == "in a call":
            await page.talk()
        tree = await accessibility_tree(page)
        controls = [(role, name) for role, name in tree if role in CONTROLS]
        assert [role for role, name in controls if not name] == [], moment
        buttons = {name for role, name in controls if role == "button"}
        assert {"Mute", "Interrupt", "Send", "Copy link"} <= buttons
        assert ("Talk" if moment == "idle" else "Hang up") in buttons
        assert {role for role, _ in tree} >= {"main", "banner", "log", "status", "heading"}
    await page.hang_up()
    assert page.errors == []


async def test_the_document_says_what_it_is(visit: OpenRoom) -> None:
    page = await visit()
    document = page.page
    assert await document.title() == "Salon"
    assert await document.get_attribute("html", "lang") == "en"
    assert await document.get_attribute("#log", "aria-live") in {"polite", "off"}
    await page.until("() => document.getElementById('log').getAttribute('aria-live') === 'polite'")
    assert await document.get_attribute("#error", "role") == "alert"
    assert await document.get_attribute("#status", "role") == "status"
    ids = await document.evaluate("[...document.querySelectorAll('[id]')].map(({id}) => id)")
    assert len(ids) == len(set(ids))
    await document.keyboard.press("Tab")
    focused = await document.evaluate("document.activeElement.textContent")
    assert "Skip" in focused


async def test_tab_goes_through_the_page_in_reading_order(visit: OpenRoom) -> None:
    page = await visit()
    for moment, wanted in (
        ("idle", ["share", "new-room", "message", "send", "talk", "name", "transcript"]),
        ("in a call", ["message", "send", "mute", "talk", "interrupt", "name", "transcript"]),
    ):
        if moment == "in a call":
            await page.talk()
        order = await _tab_order(page)
        assert [element for element in order if element in wanted] == wanted, (moment, order)
    await page.hang_up()
    # leaving the call must not leave the focus nowhere
    assert await page.page.evaluate("document.activeElement?.id") == "talk"


async def _tab_order(page: RoomPage) -> list[str]:
    """The ids that Tab reaches from the top of the page to its end; each shows its focus."""
    # the skip link is the first stop
    await page.page.locator("a.skip").focus()
    order: list[str] = []
    for _ in range(MOST_STOPS):
        await page.page.keyboard.press("Tab")
        stop = await page.page.evaluate(_FOCUS)
        if stop is None or (order and stop["id"] == order[0]):
            return order
        assert stop["shown"], f"nothing shows that {stop} has the focus"
        order.append(stop["id"])
    raise AssertionError(f"Tab never gets to the end: {order}")


async def test_axe_finds_nothing(visit: OpenRoom) -> None:
    if not AXE.exists():
        give_up = pytest.fail if os.environ.get("SALON_REQUIRE_ALL") else pytest.skip
        give_up("axe-core is not there: cd web && npm ci")
    page = await visit()
    await page.say("What is Salon?")
    await page.count("agent", 1)
    await page.talk()
    await page.page.evaluate(AXE.read_text())
    found = await page.page.evaluate(
        """async () => (await axe.run()).violations.map(({ id, help, nodes }) =>
             `${id}: ${help} ${nodes.map(({ html }) => html.slice(0, 120)).join(" | ")}`)"""
    )
    await page.hang_up()
    assert found == []


@pytest.mark.parametrize(("width", "height"), [(360, 640), (320, 568)])
async def test_a_phone_shows_all_of_it(visit: OpenRoom, width: int, height: int) -> None:
    page = await visit(
        viewport={"width": width, "height": height},
        is_mobile=True,
        has_touch=True,
        device_scale_factor=2,
    )
    await _fits(page, width, height)
    for number in range(1, 4):
        await page.say(f"What is Salon? {'unbreakable' * 12}" if number == 2 else "What is Salon?")
        await page.count("agent", number)
    await page.element("talk").tap()
    await page.status("In a call")
    await _fits(page, width, height)
    last = page.page.locator("#timeline > li").last
    await page.until(
        """() => {
          const item = document.querySelector("#timeline > li:last-child");
          const end = document.getElementById("scroller").getBoundingClientRect().bottom;
          return item.getBoundingClientRect().bottom <= end + 1;
        }"""
    )
    assert await last.is_visible()
    await page.element("talk").tap()
    await page.status("Connected")
    assert page.errors == []


async def _fits(page: RoomPage, width: int, height: int) -> None:
    assert await page.page.evaluate("document.documentElement.scrollWidth") <= width
    for element in ("talk", "message", "send", "mute", "interrupt"):
        box = await page.element(element).bounding_box()
        assert box is not None, element
        assert box["x"] >= 0, element
        assert box["x"] + box["width"] <= width, element
        assert box["y"] >= 0, element
        assert box["y"] + box["height"] <= height, element
    box = await page.element("talk").bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) >= 44


async def test_a_denied_microphone_is_told_in_words(
    launch: Launch, visit: OpenRoom, server: ServerProcess
) -> None:
    flags = ("--use-fake-device-for-media-stream", "--deny-permission-prompts")
    page = await visit(await launch(flags=flags))
    await emptied(server)
    await page.element("talk").click()
    await page.until("() => document.getElementById('error').textContent.includes('is blocked')")
    assert await page.element("error").is_visible()
    assert await page.element("talk-label").inner_text() == "Talk"
    assert server.get("/list")["active_calls"] == []
    await page.say("What is Salon?")
    await page.count("agent", 1)
