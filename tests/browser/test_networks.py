"""Calls through networks that let only TCP through, or none at all, or go away and come back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser
from tests.browser.conftest import Launch
from tests.browser.hearing import loud_ms, received_sound, resembles
from tests.browser.namespaces import (
    CLIENT_ADDRESS,
    DEVICE,
    SERVER_ADDRESS,
    Namespace,
    TlsServer,
    linked,
    namespace,
    running_in,
)
from tests.browser.room_page import RoomPage

from salon.testing.server import ServerProcess

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="session"),
]

OTHER_ADDRESS = "10.77.0.77"
KEY = "a-key-for-these-tests-only"
FIRST = "What are your opening hours?"
SECOND = "What is Salon?"
FALLBACK_MS = 5_000
"""Before the first word, where WebRTC is tried in vain: 3 s (`line.test.ts`), and some to spare."""
AWAY_S = 4.0
MOST_ANSWER_MS = 15_000
TWO = (FIRST, 35_000, SECOND)
"""The pause is the first answer, and the network's being away."""


class Site:
    """A server in one namespace, a cable, and another namespace for browsers."""

    def __init__(self, server: ServerProcess, client: Namespace) -> None:
        self.server = server
        self.client = client

    async def ip(self, command: str) -> None:
        """``ip`` on the browsers' side."""
        await asyncio.to_thread(self.client.ip, command)

    async def move(self) -> None:
        """Give the browsers' side another address, all at once."""
        await self.ip(f"address delete {CLIENT_ADDRESS}/24 dev {DEVICE}")
        await self.ip(f"address add {OTHER_ADDRESS}/24 dev {DEVICE}")

    async def visit(self, browser: Browser, *, audio: str = "auto") -> RoomPage:
        """Open a room as somebody who knows the key."""
        context = await browser.new_context(ignore_https_errors=True)
        page = RoomPage(await context.new_page())
        await page.page.goto(f"{self.server.url}/?audio={audio}#capture")
        await page.page.fill("#key", KEY)
        await page.page.keyboard.press("Enter")
        await page.status("Connected")
        return page


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Server and browsers apart, and nothing in the way."""
    with linked() as (far, client):
        server = TlsServer(tmp_path / "data", SERVER_ADDRESS, KEY)
        with running_in(far, server):
            yield Site(server, client)


async def _question_is_answered(page: RoomPage) -> str:
    """The first question; what was understood."""
    await page.agent_speaks()
    question = (await page.count("agent", 1))[0]
    assert resembles(question.text, FIRST)
    await page.agent_speaks(False)
    assert loud_ms(await received_sound(page)) > 1_500
    return question.text


async def _fell_back(page: RoomPage) -> None:
    await page.sound_goes_by("WebSocket")
    stats = await page.stats()
    print(f"WebSocket after {stats['connectMs']} ms, since {stats['fallback']!r}")
    assert stats["audioPath"] == "websocket"
    assert stats["fallback"]
    assert stats["calls"] == 1


@pytest.mark.parametrize("how", ["prohibit", "blackhole"])
async def test_without_udp_a_call_goes_by_websocket(site: Site, launch: Launch, how: str) -> None:
    """UDP is refused, or silently lost; TCP passes."""
    await site.ip(f"rule add ipproto udp {how}")
    page = await site.visit(await launch(FALLBACK_MS, FIRST, network=site.client))
    await page.talk()
    await _fell_back(page)
    await _question_is_answered(page)
    await page.hang_up()
    assert page.errors == []


async def test_without_any_network_device_a_call_goes_by_websocket(
    launch: Launch, tmp_path: Path
) -> None:
    """On loopback alone Chromium has no address to offer."""
    with namespace() as alone:
        server = ServerProcess(tmp_path / "data")
        with running_in(alone, server):
            browser = await launch(FALLBACK_MS, FIRST, network=alone)
            page = await RoomPage.open(await browser.new_context(), f"{server.url}/?audio=auto")
            await page.talk()
            await _fell_back(page)
            await _question_is_answered(page)
            await page.hang_up()
            assert page.errors == []


async def test_a_call_outlives_a_pulled_cable(site: Site, launch: Launch) -> None:
    page = await site.visit(await launch(*TWO, network=site.client), audio="webrtc")
    await page.talk()
    await page.sound_goes_by("WebRTC")
    first = await _question_is_answered(page)
    await page.forget_sound()
    room = page.room
    await page.watch()
    await site.ip(f"link set {DEVICE} down")
    await asyncio.sleep(AWAY_S)
    await page.status("Calling…")
    await site.ip(f"link set {DEVICE} up")
    await _is_back(page)
    await _next_question_is_heard(page, first)
    entries = await page.count("agent", 2)
    assert page.room == room
    people = [entry.text for entry in entries if entry.role == "human"]
    assert len(people) == 2
    assert resembles(people[1], SECOND)


async def test_a_call_follows_to_another_address(site: Site, launch: Launch) -> None:
    page = await site.visit(await launch(*TWO, network=site.client), audio="webrtc")
    await page.talk()
    await page.sound_goes_by("WebRTC")
    first = await _question_is_answered(page)
    await page.forget_sound()
    await page.watch()
    await site.move()
    await _is_back(page)
    await _next_question_is_heard(page, first)


async def test_the_timeline_follows_a_call_to_another_address(site: Site, launch: Launch) -> None:
    page = await site.visit(await launch(network=site.client), audio="webrtc")
    await page.talk()
    await page.watch()
    await site.move()
    await _is_back(page)
    await page.say("Are you human?")
    await page.page.locator("#timeline > li[data-role=agent]").wait_for(timeout=MOST_ANSWER_MS)


async def _is_back(page: RoomPage) -> None:
    """The watched page told that the call was lost, for however short, and it is there again, by
    WebRTC."""
    await page.until("() => window.seen.some(({ status }) => status === 'Calling…')")
    began = time.monotonic()
    await page.status("In a call")
    print(f"back after {time.monotonic() - began:.1f} s, calls {(await page.stats())['calls']}")
    await page.until("() => document.getElementById('error').hidden")
    await page.sound_goes_by("WebRTC")


async def _next_question_is_heard(page: RoomPage, first: str) -> None:
    """Another than `first`, which was understood before."""
    await page.until(
        """(first) => {
          const text = window.salonStats.lastTurn?.text;
          return text && text !== first;
        }""",
        first,
    )
    assert resembles((await page.stats())["lastTurn"]["text"], SECOND)
    await page.agent_speaks()
    await page.agent_speaks(False)
    assert loud_ms(await received_sound(page)) > 1_500
