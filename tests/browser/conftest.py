"""Chromium with a microphone of our own, and a real server to open."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Playwright, async_playwright
from tests.browser.microphone import microphone_wav
from tests.browser.namespaces import Namespace
from tests.browser.room_page import RoomPage

from salon.testing.server import ServerProcess, running_server

OpenRoom = Callable[..., Awaitable[RoomPage]]
Launch = Callable[..., Awaitable[Browser]]

_MICROPHONE = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
_ALWAYS = (
    "--autoplay-policy=no-user-gesture-required",
    "--no-sandbox",
    "--disable-dev-shm-usage",
)
_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program; without one the test is skipped, but fails where all is required."""
    for name in _NAMES:
        if found := shutil.which(name):
            return found
    missing = "these tests need Chromium: apt install chromium"
    if os.environ.get("SALON_REQUIRE_ALL"):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server on defaults, in a folder of its own."""
    with running_server(data_dir=tmp_path_factory.mktemp("server") / "data") as process:
        yield process


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def playwright() -> AsyncIterator[Playwright]:
    async with async_playwright() as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def quiet(
    playwright: Playwright, chromium: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Browser]:
    """A browser whose microphone is silent, for everything that is not spoken."""
    wav = microphone_wav(tmp_path_factory.mktemp("quiet") / "silence.wav")
    browser = await _launch(playwright, chromium, _fake(wav))
    yield browser
    await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def launch(playwright: Playwright, chromium: str, tmp_path: Path) -> AsyncIterator[Launch]:
    """Start browsers: ``await launch("Sentence.", 2500, "Another.")`` has one whose microphone
    hears that, from the moment it is opened; `flags` instead replace the fake microphone. With
    `network` the browser has no other."""
    browsers: list[Browser] = []

    async def start(
        *parts: str | int, flags: tuple[str, ...] | None = None, network: Namespace | None = None
    ) -> Browser:
        if flags is None:
            wav = tmp_path / f"microphone-{len(browsers)}.wav"
            flags = _fake(await asyncio.to_thread(microphone_wav, wav, *parts))
        program = chromium
        if network is not None:
            script = tmp_path / f"chromium-{len(browsers)}"
            program = str(network.program(script, chromium))
        browser = await _launch(playwright, program, flags)
        browsers.append(browser)
        return browser

    yield start
    for browser in browsers:
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(quiet: Browser, server: ServerProcess) -> AsyncIterator[OpenRoom]:
    """Open a room in a window of its own: ``await visit()``; `browser` (default: one with a
    silent microphone), `at` another server, `room`, `audio` and options of the context can be
    given."""
    contexts: list[BrowserContext] = []

    async def open_room(
        browser: Browser | None = None,
        *,
        at: ServerProcess = server,
        room: str = "",
        audio: str = "",
        **options: object,
    ) -> RoomPage:
        context = await (browser or quiet).new_context(**options)  # type: ignore[arg-type]
        contexts.append(context)
        given = {"room": room, "audio": audio}
        query = urlencode({name: value for name, value in given.items() if value})
        return await RoomPage.open(context, f"{at.url}/?{query}")

    yield open_room
    for context in contexts:
        await context.close()


def _fake(wav: Path) -> tuple[str, ...]:
    return (*_MICROPHONE, f"--use-file-for-fake-audio-capture={wav}%noloop")


async def _launch(playwright: Playwright, program: str, flags: tuple[str, ...]) -> Browser:
    return await playwright.chromium.launch(executable_path=program, args=[*_ALWAYS, *flags])
