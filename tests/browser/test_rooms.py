"""Several windows in one room, and a server that goes away and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from playwright.async_api import Browser
from tests.browser.conftest import Launch, OpenRoom
from tests.browser.hearing import content_words, received_sound, recognised
from tests.browser.room_page import RoomPage

from salon.testing.server import ServerProcess, running_server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_two_people_see_and_hear_the_same(launch: Launch, visit: OpenRoom) -> None:
    ann = await visit(await launch(2_000, "What are your opening hours?"))
    await ann.call_me("Ann")
    ben = await visit(room=ann.room)
    await ben.call_me("Ben")
    await ben.say("Good morning")
    await ann.count("agent", 1)
    await ben.talk()
    await ann.talk()
    of_ann, of_ben = await ann.count("agent", 2), await ben.count("agent", 2)
    assert [entry.text for entry in of_ann] == [entry.text for entry in of_ben]
    assert [entry.name for entry in of_ann if entry.role == "human"] == ["Ben", "You"]
    assert [entry.name for entry in of_ben if entry.role == "human"] == ["You", "Ann"]
    answer = of_ann[-1]
    wanted = content_words(answer.text)
    for page in (ann, ben):
        await page.agent_speaks(False)
        heard = await recognised(await received_sound(page), answer.text)
        print(f"heard {heard!r}")
        assert len(wanted & content_words(heard)) >= 0.5 * len(wanted)
    assert ann.errors == ben.errors == []


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that the test may stop."""
    with running_server(data_dir=tmp_path_factory.mktemp("restart") / "data") as process:
        yield process


async def test_the_page_comes_back_after_a_restart(
    quiet: Browser, own_server: ServerProcess
) -> None:
    context = await quiet.new_context()
    page = await RoomPage.open(context, own_server.url)
    await page.say("What is Salon?")
    before = await page.count("agent", 1)
    await asyncio.to_thread(own_server.stop)
    await page.status("Reconnecting…")
    await page.say("Are you human?")
    await asyncio.to_thread(own_server.start)
    await page.status("Connected")
    after = await page.count("agent", 2)
    assert after[: len(before)] == before
    assert [entry.text for entry in after if entry.role == "human"] == [
        "What is Salon?",
        "Are you human?",
    ]
    await page.page.reload()
    assert await page.count("agent", 2) == after
    await context.close()


async def test_a_call_comes_back_after_a_crash(quiet: Browser, own_server: ServerProcess) -> None:
    context = await quiet.new_context()
    page = await RoomPage.open(context, own_server.url)
    await page.talk()
    await asyncio.to_thread(own_server.kill)
    await page.status("Calling…")
    assert "lost" in await page.element("error").inner_text()
    await asyncio.to_thread(own_server.start)
    await page.status("In a call")
    await page.say("Are you human?")
    await page.agent_speaks()
    assert await page.element("error").is_hidden()
    await context.close()
