"""Several windows in one room, and a server that goes away and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from playwright.async_api import Browser
from tests.browser.conftest import Launch, OpenRoom
from tests.browser.hearing import content_words, loud_ms, received_sound, recognised
from tests.browser.room_page import RoomPage
from tests.integration.asking import ask_until

from salon.testing.server import ServerProcess, running_server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

QUESTION = "What is Salon?"


@pytest.mark.slow
async def test_two_people_see_and_hear_the_same(launch: Launch, visit: OpenRoom) -> None:
    async def once(_number: int) -> tuple[list[str], list[str], bool, bool]:
        return await two_people(launch, visit)

    await ask_until((["Ben", "You"], ["You", "Ann"], True, True), once)


async def two_people(launch: Launch, visit: OpenRoom) -> tuple[list[str], list[str], bool, bool]:
    """Ben writes and Ann speaks. The speakers of all turns as either sees them, whether Ben saw
    what Ann was saying, and whether the answer could be understood: a busy machine may make two
    turns of one, have a recogniser that lags, or cost words."""
    ann = await visit(await launch("What are your opening hours?"))
    await ann.call_me("Ann")
    ben = await visit(room=ann.room)
    await ben.call_me("Ben")
    await ben.say("Good morning")
    await ann.count("agent", 1)
    await ben.talk()
    await ben.watch()
    await ann.talk()
    of_ann, of_ben = await ann.count("agent", 2), await ben.count("agent", 2)
    assert [entry.text for entry in of_ann] == [entry.text for entry in of_ben]
    formed = any(moment.own for moment in await ben.seen())
    answer = of_ann[-1]
    sounds = []
    for page in (ann, ben):
        await page.agent_speaks(False)
        sounds.append(await received_sound(page))
        assert loud_ms(sounds[-1]) > 1_500
    heard = await recognised(sounds[-1], answer.text)
    print(f"heard {heard!r}")
    wanted = content_words(answer.text)
    assert ann.errors == ben.errors == []
    for page in (ann, ben):
        await page.hang_up()
    people = [[entry.name for entry in seen if entry.role == "human"] for seen in (of_ann, of_ben)]
    return people[0], people[1], formed, len(wanted & content_words(heard)) >= 0.5 * len(wanted)


@pytest.fixture(scope="module")
def restartable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(data_dir=tmp_path_factory.mktemp("restart") / "data") as process:
        yield process


@pytest.fixture
def own_server(restartable: ServerProcess) -> ServerProcess:
    """A server that the test may stop; it runs, whatever the test before left."""
    try:
        _ = restartable.pid
    except RuntimeError:
        restartable.start()
    return restartable


async def test_the_page_comes_back_after_a_restart(
    quiet: Browser, own_server: ServerProcess
) -> None:
    context = await quiet.new_context()
    page = await RoomPage.open(context, own_server.url)
    await page.say(QUESTION)
    before = await page.count("agent", 1)
    assert await asyncio.to_thread(own_server.stop) == 0
    await page.status("Reconnecting…")
    await page.say("Are you human?")
    await asyncio.to_thread(own_server.start)
    await page.status("Connected")
    after = await page.count("agent", 2)
    assert after[: len(before)] == before
    assert [entry.text for entry in after if entry.role == "human"] == [
        QUESTION,
        "Are you human?",
    ]
    await page.page.reload()
    assert await page.count("agent", 2) == after
    await _gapless(own_server, page.room)
    await context.close()


async def test_a_call_comes_back_after_a_crash(quiet: Browser, own_server: ServerProcess) -> None:
    """Killed in the middle of an answer: what was committed is there, and nothing has a hole."""
    context = await quiet.new_context()
    page = await RoomPage.open(context, own_server.url)
    await page.say(QUESTION)
    before = await page.count("agent", 1)
    await page.talk()
    await page.say(QUESTION)
    await page.agent_speaks()
    await page.count("human", 2)
    await asyncio.to_thread(own_server.kill)
    await page.status("Calling…")
    await page.until("() => document.getElementById('error').textContent.includes('Reconnecting…')")
    assert await page.element("error").is_visible()
    await asyncio.to_thread(own_server.start)
    await page.status("In a call")
    await page.until("() => document.getElementById('error').hidden")
    await page.say("Are you human?")
    await page.agent_speaks()
    after = await page.count("human", 3)
    assert after[: len(before)] == before
    people = [entry.text for entry in after if entry.role == "human"]
    assert people == [QUESTION, QUESTION, "Are you human?"]
    await _gapless(own_server, page.room)
    await page.hang_up()
    await page.page.reload()
    reloaded = await page.count("human", 3)
    assert reloaded[: len(before)] == before
    assert [entry.text for entry in reloaded if entry.role == "human"] == people
    await context.close()


async def _gapless(server: ServerProcess, room: str) -> None:
    """The indices of the stored timeline count up by one from the first."""
    timeline = await asyncio.to_thread(server.get, f"/rooms/{room}/timeline?limit=500")
    assert not timeline["has_more"]
    indices = [event["index"] for event in timeline["events"]]
    print("indices", indices)
    assert indices == list(range(indices[0], indices[0] + len(indices)))
    assert indices[0] in {0, 1}
