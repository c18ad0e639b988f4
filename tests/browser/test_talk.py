"""A spoken question is heard, shown, and answered so that the answer can be understood."""

from __future__ import annotations

import time

import pytest
from tests.browser.conftest import Launch, OpenRoom
from tests.browser.hearing import content_words, loud_ms, received_sound, recognised

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

QUESTION = "What are your opening hours?"


async def test_a_spoken_question_is_recognised_and_its_answer_is_heard(
    launch: Launch, visit: OpenRoom
) -> None:
    page = await visit(await launch(QUESTION))
    await page.talk()
    question, answer = (await page.count("agent", 1))[:2]
    assert (question.role, question.name) == ("human", "You")
    assert content_words(question.text) >= {"opening", "hours"}
    assert answer.role == "agent"
    assert answer.name not in {"", "You"}
    assert not answer.interrupted
    await page.agent_speaks(False)
    sound = await received_sound(page)
    assert loud_ms(sound) > 1_500
    started = time.monotonic()
    heard = await recognised(sound, answer.text)
    wanted = content_words(answer.text)
    print(f"answer {answer.text!r}\nheard {heard!r} in {time.monotonic() - started:.1f} s")
    found = wanted & content_words(heard)
    assert len(found) >= max(4, 0.5 * len(wanted)), (sorted(wanted), heard)
    assert page.errors == []
