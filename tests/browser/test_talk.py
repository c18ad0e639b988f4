"""A spoken question is heard, shown, and answered so that the answer can be understood."""

from __future__ import annotations

import time

import pytest
from tests.browser.conftest import Launch, OpenRoom
from tests.browser.hearing import content_words, loud_ms, received_sound, recognised
from tests.browser.room_page import WAYS, RoomPage
from tests.integration.asking import ask_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

QUESTION = "What are your opening hours?"
MOST_DELAY_MS = 10_000
"""Far more than an answer takes, for a machine that is busy with other things."""


@pytest.mark.slow
@pytest.mark.parametrize("audio", WAYS)
async def test_a_spoken_question_is_recognised_and_its_answer_is_heard(
    launch: Launch, visit: OpenRoom, audio: str
) -> None:
    async def once(_number: int) -> tuple[bool, bool, bool]:
        return await spoken_question(await visit(await launch(QUESTION), audio=audio), audio)

    await ask_until((True, True, True), once)


async def spoken_question(page: RoomPage, audio: str) -> tuple[bool, bool, bool]:
    """A call with one question; whether it was understood, whether its words showed as they were
    spoken, and whether the answer could be understood."""
    await page.watch()
    await page.talk()
    await page.sound_goes_by(WAYS[audio])
    entries = await page.count("agent", 1)
    question = entries[0]
    answer = next(entry for entry in entries if entry.role == "agent")
    assert (question.role, question.name) == ("human", "You")
    assert answer.name not in {"", "You"}
    understood = content_words(question.text) >= {"opening", "hours"}
    assert not (understood and answer.interrupted)
    formed = await _captions_formed(page)
    await page.agent_speaks(False)
    await _delays_are_shown(page)
    sound = await received_sound(page)
    assert loud_ms(sound) > 1_500
    started = time.monotonic()
    heard = await recognised(sound, answer.text)
    wanted = content_words(answer.text)
    print(f"answer {answer.text!r}\nheard {heard!r} in {time.monotonic() - started:.1f} s")
    found = wanted & content_words(heard)
    assert page.errors == []
    return understood, formed, len(found) >= max(4, 0.5 * len(wanted))


async def _captions_formed(page: RoomPage) -> bool:
    """The answer showed as words, and no caption is left. Whether the speaker's showed before the
    timeline had them: they come over another connection, and not from a recogniser that lags."""
    seen = await page.seen()
    forming = [moment.own for moment in seen if moment.entries == 0 and moment.own]
    print("captions", list(dict.fromkeys(forming)))
    assert any(moment.answer for moment in seen), "the answer had no caption"
    await page.until("() => document.getElementById('captions').childElementCount === 0")
    return bool(forming)


async def _delays_are_shown(page: RoomPage) -> None:
    """The bar has its four stages, each later than the one before, and a width."""
    await page.until("() => !document.getElementById('latency').hidden")
    legend = await page.page.locator("#latency-legend li").all_inner_texts()
    print("latency", await page.element("latency-total").inner_text(), legend)
    assert len(legend) == 4
    assert await page.page.evaluate(
        """() => [...document.querySelectorAll("#latency .stack > span")]
             .reduce((width, bar) => width + bar.getBoundingClientRect().width, 0) > 50"""
    )
    turn = (await page.stats())["lastTurn"]
    stages = [turn[key] for key in ("recognised", "firstWord", "firstSound", "firstAudio")]
    assert stages[0] > 0
    assert stages == sorted(stages)
    assert stages[-1] < MOST_DELAY_MS
