"""Whoever speaks, or presses Interrupt, cuts the agent, and the timeline says what was heard."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from tests.browser.conftest import Launch, OpenRoom
from tests.browser.hearing import content_words, loud_ms, received_sound
from tests.browser.room_page import WAYS, RoomPage, Said
from tests.integration.asking import ask_until

from salon.core.ports.ai import AIMessage
from salon.providers.house import HouseAgent
from salon.testing.server import ServerProcess, running_server
from salon.testing.speech import speak

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

QUESTION = "What is Salon?"
SECOND = "When is the cafe open?"
FRAMES_PER_S = 50
SAMPLES_PER_MS = 16
PAUSE_MS = 5_000
"""After the first question: its answer has begun by then, and is twice as long."""
HEARD_MS = 2_000
"""How much of an answer is heard before a button cuts it."""
WORD_MS = 700
MOST_EARLY_MS = 1_000
MOST_CUT_MS = 2_000
"""From the first sound of a voice to silence, the time to confirm it included."""


_NOTE_CUT = """() => {
  const note = () => {
    window.heardBeforeCut ??= window.salonReceived.reduce((sum, { length }) => sum + length, 0);
  };
  for (const kind of ["click", "keydown"]) addEventListener(kind, note, { capture: true });
}"""


def whole_answer(question: str) -> str:
    """What the house agent answers if nobody cuts it."""
    reply = HouseAgent.load().answer((AIMessage(role="user", text=question),))
    assert reply is not None
    return reply.text


def check_cut(answer: Said, whole: str) -> None:
    assert answer.interrupted
    assert answer.text != whole
    assert whole.startswith(answer.text.rstrip(" …"))


@pytest.mark.slow
@pytest.mark.parametrize("audio", WAYS)
async def test_speaking_cuts_the_agent_and_gets_an_answer(
    launch: Launch, visit: OpenRoom, audio: str
) -> None:
    async def once(number: int) -> bool:
        browser = await launch(QUESTION, PAUSE_MS, SECOND)
        return await speak_over(await visit(browser, audio=audio))

    await ask_until(True, once)


@pytest.fixture(scope="module")
def immediate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server where any speech cuts the agent, without waiting for it to last."""
    data_dir = tmp_path_factory.mktemp("immediate") / "data"
    environment = {"SALON_INTERRUPTION": "immediate"}
    with running_server(data_dir=data_dir, environment=environment) as process:
        yield process


@pytest.mark.slow
async def test_any_speech_cuts_the_agent_where_that_is_wanted(
    launch: Launch, visit: OpenRoom, immediate: ServerProcess
) -> None:
    async def once(number: int) -> bool:
        browser = await launch(QUESTION, PAUSE_MS, SECOND)
        return await speak_over(await visit(browser, at=immediate, audio="webrtc"))

    await ask_until(True, once)


async def speak_over(page: RoomPage) -> bool:
    """A call whose second question is spoken over the answer to the first. Whether both were
    understood, and an answer was there to be cut: otherwise nobody knows how the answers should
    be."""
    await page.watch()
    await page.talk()
    people = [entry for entry in await page.count("human", 2) if entry.role == "human"]
    understood = [content_words(entry.text) for entry in people]
    if len(people) != 2 or "salon" not in understood[0] or "open" not in understood[1]:
        print(f"understood {[entry.text for entry in people]}")
        return False
    if not await was_speaking(page):
        print("a machine too busy to answer before the second question")
        return False
    entries = await page.count("agent", 2)
    first, second = (entry for entry in entries if entry.role == "agent")
    check_cut(first, whole_answer(QUESTION))
    assert len(first.text.split()) >= 2
    assert not second.interrupted
    assert second.text == whole_answer(SECOND)
    delay = await cut_delay_ms(page)
    print(f"agent silent {delay:.0f} ms after the voice, having said {first.text!r}")
    assert delay < MOST_CUT_MS
    assert page.errors == []
    return True


async def was_speaking(page: RoomPage) -> bool:
    """Whether the agent was heard for some words before a person spoke again."""
    seen = await page.seen()
    answered = next((now.at for now in seen if now.agent), None)
    if answered is None:
        return False
    again = (now.at for before, now in pairwise(seen) if now.person and not before.person)
    return any(at > answered + 2 * WORD_MS for at in again)


async def cut_delay_ms(page: RoomPage) -> float:
    """From the first light of the person over the agent's voice to the agent's silence. Where any
    speech cuts, the silence comes first: the light waits for speech that lasts."""
    changes = list(pairwise(await page.seen()))
    answered = next(now.at for _, now in changes if now.agent)
    began = next(
        now.at for before, now in changes if now.at > answered and now.person and not before.person
    )
    for before, now in changes:
        if before.agent and not now.agent and now.at > began - MOST_EARLY_MS:
            return now.at - began
    raise AssertionError("the agent was never cut while a person spoke")


@pytest.mark.parametrize("audio", WAYS)
@pytest.mark.parametrize("way", ["button", "escape"])
async def test_interrupt_cuts_at_once(visit: OpenRoom, way: str, audio: str) -> None:
    page = await visit(audio=audio)
    await page.talk()
    await page.say(QUESTION)
    await page.agent_speaks()
    # some words are heard before the cut: the timeline would keep nothing of an unheard answer
    await page.until(
        "(number) => window.salonStats.framesReceived >= number", FRAMES_PER_S * HEARD_MS // 1000
    )
    await page.page.evaluate(_NOTE_CUT)
    if way == "button":
        await page.element("interrupt").click()
    else:
        await page.page.keyboard.press("Escape")
    await page.agent_speaks(False)
    answer = (await page.count("agent", 1))[-1]
    check_cut(answer, whole_answer(QUESTION))
    sound = await received_sound(page)
    spoken_ms = len(speak(answer.text)) // SAMPLES_PER_MS
    print(f"kept {answer.text!r}, {spoken_ms} ms of {len(sound) // SAMPLES_PER_MS} ms received")
    heard_before = int(await page.page.evaluate("window.heardBeforeCut"))
    assert loud_ms(sound[heard_before:]) < MOST_CUT_MS
    # what the timeline keeps was heard: no more words than the page received the sound of
    assert spoken_ms < len(sound) // SAMPLES_PER_MS + WORD_MS
    # the call goes on
    await page.say(SECOND)
    await page.agent_speaks()
    assert page.errors == []
