"""Whole conversations with the house agent, through the contract of AI providers."""

from pathlib import Path
from typing import Any

import pytest

from salon.base import ConfigurationError
from salon.core.ports.ai import AIContext, AIMessage, ResponseMetadata, TextDelta
from salon.providers.house import HouseAgent
from salon.providers.house.hints import MAX_PHRASES

AGENT = HouseAgent.load()


class Talk:
    """One room's history, as an AI channel would keep it."""

    def __init__(self, agent: HouseAgent = AGENT) -> None:
        self.agent = agent
        self.messages: list[AIMessage] = []
        self.intent: str | None = None

    async def say(self, text: str, heard: int | None = None) -> str:
        """The answer; with `heard` only so many characters of it are stored, none for 0."""
        self.messages.append(AIMessage("user", text))
        answer, metadata = "", dict[str, Any]()
        async for part in self.agent.generate_stream(AIContext("r", tuple(self.messages))):
            if isinstance(part, TextDelta):
                answer += part.text
            elif isinstance(part, ResponseMetadata):
                assert not answer, "the state must come before the words"
                metadata.update(part.data)
        self.intent = metadata["intent"]
        if heard != 0:
            stored = answer[:heard]
            self.messages.append(AIMessage("assistant", stored, metadata=metadata))
        return answer

    @property
    def booking(self) -> dict[str, str]:
        dialogue: dict[str, Any] = self.messages[-1].metadata["dialogue"]
        booking: dict[str, str] = dialogue["booking"]
        return booking


async def test_a_booking_step_by_step() -> None:
    talk = Talk()
    assert "how many" in await talk.say("i would like to book a table")
    assert "which day" in await talk.say("four people")
    assert "what time" in await talk.say("on friday")
    assert "Shall I book it?" in await talk.say("seven")
    assert await talk.say("yes please") == (
        "Done. I booked a table for four on Friday at seven in the evening. "
        "It is only a demonstration, of course."
    )
    assert "table for four on Friday" in await talk.say("what did i book")


async def test_a_booking_in_one_sentence() -> None:
    answer = await Talk().say("a table for two tomorrow at half past seven please")
    assert answer == "A table for two tomorrow at seven thirty in the evening. Shall I book it?"


async def test_corrections_before_the_yes() -> None:
    talk = Talk()
    await talk.say("book a table for four on friday at seven")
    assert "table for six" in await talk.say("no, make it six")
    assert "eight in the evening" in await talk.say("make it at eight")
    assert "on Saturday" in await talk.say("actually on saturday")
    assert "What shall I change" in await talk.say("no")
    assert "At what time?" in await talk.say("the time")
    assert "noon" in await talk.say("at noon")
    assert "under the name Smith" in await talk.say("yes under the name smith")
    assert talk.booking == {"party": "6", "day": "Saturday", "time": "12:00", "name": "Smith"}


async def test_a_correction_while_something_else_is_asked() -> None:
    talk = Talk()
    await talk.say("a table for four")
    assert await talk.say("no make it six") == "All right. A table for six. For which day?"


async def test_a_question_in_the_middle_goes_back_to_the_booking() -> None:
    talk = Talk()
    await talk.say("book a table for four")
    answer = await talk.say("is salon open source")
    assert "MIT" in answer
    assert answer.endswith("For which day?")
    assert "what time" in await talk.say("friday")


async def test_what_is_not_understood_in_the_middle_is_asked_again() -> None:
    talk = Talk()
    await talk.say("book a table")
    assert await talk.say("glorb fnord") == "Sorry, how many people? Say, for example, four people."
    assert talk.intent is None


async def test_limits_of_the_cafe() -> None:
    talk = Talk()
    assert "up to twenty" in await talk.say("book a table for fifty people on friday")
    assert "what time" in await talk.say("twelve")
    assert "nine in the evening" in await talk.say("at eleven pm")
    assert talk.booking == {"party": "12", "day": "Friday"}
    assert "Shall I book it?" in await talk.say("eight o'clock")


async def test_tonight_at_nine_is_in_the_evening() -> None:
    talk = Talk()
    await talk.say("table for two tonight at nine")
    assert talk.booking["time"] == "21:00"


async def test_giving_up() -> None:
    talk = Talk()
    await talk.say("book a table for two")
    assert await talk.say("never mind") == "All right, no table then."
    assert "no booking yet" in await talk.say("cancel my booking")
    await talk.say("book a table for two on friday at six")
    await talk.say("no")
    assert await talk.say("no") == "All right, no table then."


async def test_changing_and_cancelling_after_the_yes() -> None:
    talk = Talk()
    assert "no booking yet" in await talk.say("change my booking")
    await talk.say("book a table for two on friday at six")
    await talk.say("yes")
    assert "What shall I change" in await talk.say("i want to change my booking")
    assert "on Sunday" in await talk.say("sunday")
    await talk.say("yes")
    assert "cancelled" in await talk.say("please cancel my reservation")
    assert "no booking yet" in await talk.say("what did i book")


async def test_the_status_of_an_open_booking() -> None:
    talk = Talk()
    await talk.say("book a table for two")
    assert "So far: a table for two." in await talk.say("what is my booking")
    empty = Talk()
    await empty.say("book a table")
    assert "So far: nothing yet." in await empty.say("what is my booking")


async def test_yes_or_no_to_an_open_question_asks_again() -> None:
    talk = Talk()
    await talk.say("book a table")
    assert await talk.say("yes") == "For how many people?"
    assert await talk.say("no") == "For how many people?"


async def test_changing_the_name() -> None:
    talk = Talk()
    await talk.say("book a table for two on friday at six under the name smith")
    assert await talk.say("change the name") == "Under which name?"
    assert "Anna" in await talk.say("my name is anna")


async def test_repeat_says_what_was_heard_and_keeps_the_booking() -> None:
    talk = Talk()
    assert await talk.say("repeat that") == "I have not said anything yet."
    question = await talk.say("book a table for two")
    assert await talk.say("could you repeat that please") == question
    assert "what time" in await talk.say("friday")


async def test_an_answer_cut_short_keeps_its_state() -> None:
    talk = Talk()
    await talk.say("book a table for two on friday", heard=5)
    assert await talk.say("repeat that") == "A tab"
    assert "Shall I book it?" in await talk.say("seven")


async def test_an_answer_nobody_heard_loses_nothing() -> None:
    talk = Talk()
    await talk.say("book a table", heard=0)
    await talk.say("four people", heard=0)
    assert await talk.say("friday") == "A table for four on Friday. At what time?"


async def test_words_of_others_between_do_not_lose_the_state() -> None:
    talk = Talk()
    await talk.say("book a table for two")
    talk.messages.append(AIMessage("assistant", "Lunch is ready.", metadata={"by": "somebody"}))
    assert "what time" in await talk.say("friday")


async def test_one_agent_serves_several_rooms() -> None:
    one, other = Talk(), Talk()
    await one.say("book a table for two")
    assert "did not understand" in await other.say("glorb fnord")
    assert "what time" in await one.say("friday")


async def test_variants_take_turns_and_are_the_same_each_time() -> None:
    talk, again = Talk(), Talk()
    said = [await talk.say("hello") for _ in range(3)]
    assert said[0] == said[2] != said[1]
    assert said == [await again.say("hello") for _ in range(3)]


async def test_not_understood_says_what_can_be_asked() -> None:
    assert "You can ask" in await Talk().say("who won the football game")


async def test_it_is_honest_about_itself() -> None:
    answer = await Talk().say("are you human")
    assert "not human" in answer
    assert "no language model" in answer


@pytest.mark.parametrize(
    "state",
    [
        None, 3, "x", {}, {"topic": 1, "booking": [], "turns": 3, "asked": {}},
        {"topic": "booking", "booking": {"party": "many", "time": "late", "day": 3, "x": "y"}},
        {"topic": "booking", "asked": "shoe size", "turns": {"hello": -1, "book": "x"}},
    ],
)  # fmt: skip
async def test_a_state_nobody_wrote_is_read_leniently(state: object) -> None:
    talk = Talk()
    talk.messages.append(AIMessage("assistant", "Hi.", metadata={"dialogue": state}))
    assert await talk.say("book a table for two on friday at seven")
    assert talk.booking == {"party": "2", "day": "Friday", "time": "19:00"}


async def test_nothing_to_answer_is_no_answer() -> None:
    context = AIContext("r", (AIMessage("assistant", "Hello."),))
    assert [part async for part in AGENT.generate_stream(context)] == []
    assert [part async for part in AGENT.generate_stream(AIContext("r", ()))] == []


async def test_sentences_come_one_by_one() -> None:
    context = AIContext("r", (AIMessage("user", "what is salon"),))
    parts = [p async for p in AGENT.generate_stream(context) if isinstance(p, TextDelta)]
    assert len(parts) == 2


def test_the_hints_are_plain_bounded_and_cover_every_intent() -> None:
    hints = AGENT.speech_hints()
    assert hints is AGENT.speech_hints()
    assert 1000 < len(hints.phrases) < MAX_PHRASES
    assert all(
        p == p.lower() and p.replace(" ", "").replace("'", "").isalpha() for p in hints.phrases
    )
    assert {"what is salon", "no", "eight o'clock"} <= set(hints.phrases)
    assert any("half past seven" in p for p in hints.phrases)


def test_what_is_suggested_is_understood() -> None:
    for text in AGENT.suggestions():
        reply = AGENT.answer((AIMessage("user", text),))
        assert reply is not None
        assert reply.intent is not None, text


# ---- looking things up

PAGE = """---
title: x
---
# Opening a door

Turn the brass handle to the left. Then *push* [gently](x.md).

```python
secret_code = 1
```

## Windows

The north window is painted shut. It has been since the great storm, and nobody dares to try.
"""


@pytest.fixture
def knowing(tmp_path: Path) -> HouseAgent:
    (tmp_path / "doors.md").write_text(PAGE, encoding="utf-8")
    (tmp_path / "stove.md").write_text("Light the stove with birch wood.\n", encoding="utf-8")
    (tmp_path / "empty.md").write_text("", encoding="utf-8")
    return HouseAgent.load(knowledge=tmp_path)


async def test_a_page_is_quoted_and_named(knowing: HouseAgent) -> None:
    answer = await Talk(knowing).say("why is the north window painted shut")
    assert answer.startswith("On the page Opening a door I read: The north window is painted shut.")
    answer = await Talk(knowing).say("which wood lights the stove")
    assert answer == "On the page stove I read: Light the stove with birch wood."


@pytest.mark.parametrize("text", ["why is the sky blue", "north", "secret code one", "of the"])
async def test_a_poor_match_is_not_quoted(knowing: HouseAgent, text: str) -> None:
    assert "I read" not in await Talk(knowing).say(text)


def test_headings_become_hints(knowing: HouseAgent) -> None:
    assert "tell me about opening a door" in knowing.speech_hints().phrases


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside.md"
    outside.write_text("The vault number is seventeen.", encoding="utf-8")
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "link.md").symlink_to(outside)
    assert "link" not in HouseAgent.load(knowledge=folder).speech_hints().phrases


def test_an_oversize_page_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salon.providers.house.retrieval.MAX_PAGE_BYTES", 10)
    monkeypatch.setattr("salon.providers.house.retrieval.MAX_PAGES", 1)
    (tmp_path / "a.md").write_text("much too long for that", encoding="utf-8")
    (tmp_path / "b.md").write_text("x", encoding="utf-8")
    assert HouseAgent.load(knowledge=tmp_path).answer((AIMessage("user", "long page"),))


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        HouseAgent.load(knowledge=tmp_path / "none")


async def test_a_long_passage_is_quoted_shortly(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Zebra\n\nThe zebra " + "gallops onward " * 60, "utf-8")
    answer = await Talk(HouseAgent.load(knowledge=tmp_path)).say("does the zebra gallops")
    assert answer.endswith("…")
    assert len(answer) < 330
