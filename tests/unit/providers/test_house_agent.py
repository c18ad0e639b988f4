"""Whole conversations with the house agent, through the contract of AI providers."""

import re
from pathlib import Path
from typing import Any

import pytest

from salon.base import ConfigurationError
from salon.core.ports.ai import AIContext, AIMessage, ResponseMetadata, TextDelta
from salon.providers.house import HouseAgent
from salon.providers.house.definition import load
from salon.providers.house.hints import MAX_PHRASES
from salon.providers.house.retrieval import Library, split

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


@pytest.mark.parametrize(
    "text",
    ["I am not sure", "not yet", "maybe", "wait", "hmm", "Hmm, yes", "I don't think so",
     "I think so, but don't book it", "I'm unsure", "perhaps", "let me think", "sure, but later",
     "yes, but not yet", "that is not fine", "okay, maybe", "do not book it", "is that correct?",
     "I doubt that", "I haven't decided", "no", "we are not quite sure about that"],
)  # fmt: skip
async def test_what_is_not_a_yes_books_nothing(text: str) -> None:
    talk = Talk()
    await talk.say("book a table for four on friday at seven")
    await talk.say(text)
    assert talk.intent != "affirm"
    assert talk.messages[-1].metadata["dialogue"]["booked"] is False
    assert talk.booking["party"] == "4"


async def test_doubt_is_asked_again() -> None:
    talk = Talk()
    await talk.say("book a table for four on friday at seven")
    assert (await talk.say("i am not sure")).startswith("Sorry, shall I book it?")
    assert (await talk.say("yes please")).startswith("Done.")


@pytest.mark.parametrize("text", ["yes", "book it", "why not", "i think so", "sounds good"])
async def test_a_yes_books(text: str) -> None:
    talk = Talk()
    await talk.say("book a table for four on friday at seven")
    assert (await talk.say(text)).startswith("Done.")


async def test_a_yes_with_a_number_is_read_back_first() -> None:
    talk = Talk()
    await talk.say("book a table for four on friday at seven")
    assert await talk.say("yes six") == (
        "A table for six on Friday at seven in the evening. Shall I book it?"
    )


@pytest.mark.parametrize("text", ["yes", "fine", "that is fine with us", "sure", "it sounds good"])
async def test_a_yes_is_no_answer_to_a_question_for_a_value(text: str) -> None:
    talk = Talk()
    for said, asked in (("book a table", "party"), ("four", "day"), ("friday", "time")):
        await talk.say(said)
        before = talk.booking
        await talk.say(text)
        assert talk.messages[-1].metadata["dialogue"]["asked"] == asked
        assert talk.booking == before


async def test_five_heard_as_fine() -> None:
    talk = Talk()
    await talk.say("book a table")
    assert await talk.say("there will be fine of us") == "A table for five. For which day?"


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
    ("question", "intent", "said"),
    [
        ("Is my data sent to the internet?", "privacy", "Everything stays on this machine"),
        ("Do you send anything over the internet?", "offline", "only for outside services"),
        ("Are you ChatGPT?", "are_you_human", "no language model"),
        ("Do you use a language model?", "are_you_human", "no language model"),
        ("Can it run on Windows?", "install", "Debian or Ubuntu, and Python three eleven"),
        ("What do I need to install it?", "install", "make run"),
        ("how do I use an LLM", "own_model", "SALON_LLM_BASE_URL"),
        ("How do I connect OpenAI?", "own_model", "SALON_LLM_MODEL"),
        ("How do I test my agent?", "testing", "salon.testing"),
        ("How do I run the tests?", "testing", "make test"),
        ("does salon support webrtc?", "webrtc", "not built yet"),
        ("who made you?", "licence", "the Salon authors"),
        ("Do I have to wait until you finish?", "interrupt", "need not wait"),
        ("Do I need a browser?", "console", "no browser"),
        ("Where does your knowledge come from?", "knowledge", "SALON_KNOWLEDGE_DIR"),
        ("Tell me a joke", "joke", "dark rooms"),
        ("Where can I leave my bag?", None, "You can ask"),
    ],
)
async def test_what_a_newcomer_asks(question: str, intent: str | None, said: str) -> None:
    talk = Talk()
    assert said in await talk.say(question)
    assert talk.intent == intent


async def test_more_slowly_is_said_again() -> None:
    talk = Talk()
    answer = await talk.say("what is salon")
    assert await talk.say("Could you say that more slowly?") == answer


def test_no_shared_answer_begins_with_yes_or_no() -> None:
    for intent in load().intents.values():
        for answer in intent.answers:
            assert not re.match(r"(yes|no)\b", answer, re.IGNORECASE), (intent.name, answer)


def test_no_answer_needs_a_published_package() -> None:
    answers = [answer for intent in load().intents.values() for answer in intent.answers]
    assert not [answer for answer in answers if "pip install" in answer]


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
layout: wide
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


VISIT = """# Visiting the museum

Welcome to the museum of the town.

## Opening hours

We are open Tuesday to Sunday from ten to six. On Mondays we rest.

## Tickets

- Adults: 12 euros
- Students: 8 euros
- Children: nothing

## Dogs and pets

Dogs may come into the garden, but not into the halls. Guide dogs may go everywhere.

## Cloakroom

Bags and coats are kept beside the entrance.
"""


@pytest.fixture
def museum(tmp_path: Path) -> HouseAgent:
    (tmp_path / "visit.md").write_text(VISIT, encoding="utf-8")
    (tmp_path / "wifi.md").write_text("The network is Guest, the password is heron.\n", "utf-8")
    return HouseAgent.load(knowledge=tmp_path)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("Can I bring my dog?", "Dogs may come into the garden"),
        ("Are dogs allowed in the halls?", "not into the halls"),
        ("How much is a ticket?", "Adults: 12 euros."),
        ("Do students pay less?", "Students: 8 euros."),
        ("What do children pay?", "Children: nothing"),
        ("what is the wifi password?", "the password is heron"),
        ("Where can I leave my bag?", "Bags and coats"),
        ("When does the museum open on Tuesday?", "from ten to six"),
        ("Is the museum closed on Mondays?", "On Mondays we rest"),
        ("What are the opening hours?", "from ten to six"),
        ("Is there a cloakroom?", "beside the entrance"),
    ],
)
async def test_plain_questions_find_their_section(
    museum: HouseAgent, question: str, said: str
) -> None:
    answer = await Talk(museum).say(question)
    assert said in answer
    assert answer.startswith("On the page ")


@pytest.mark.parametrize(
    "text",
    ["who won the football match", "what is the capital of France", "how do i bake bread",
     "why is the sky blue", "i am not sure", "where can i buy shoes"],
)  # fmt: skip
async def test_a_folder_does_not_answer_what_is_not_in_it(museum: HouseAgent, text: str) -> None:
    talk = Talk(museum)
    assert "I read" not in await talk.say(text)
    assert talk.intent is None


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("what is salon", "what_is_salon"),
        ("how do i run my agent", "run"),
        ("thank you", "thanks"),
        ("when is the café open", "hours"),
        ("book a table for two on tuesday at six", "book"),
        ("is salon open source", "licence"),
    ],
)
async def test_a_folder_leaves_the_intents_their_questions(
    museum: HouseAgent, text: str, intent: str
) -> None:
    talk = Talk(museum)
    await talk.say(text)
    assert talk.intent == intent


async def test_a_page_is_read_in_the_middle_of_a_booking(museum: HouseAgent) -> None:
    talk = Talk(museum)
    await talk.say("book a table for two")
    answer = await talk.say("can i bring my dog")
    assert "garden" in answer
    assert answer.endswith("For which day?")
    assert await talk.say("on tuesday") == "A table for two on Tuesday. At what time?"


def test_a_page_is_named_by_its_front_matter_its_first_heading_or_its_file() -> None:
    titled = split('---\ntitle: "City Museum"\n---\n# Visits\n\nCome in.\n', "pages")
    assert [(p.page, p.heading) for p in titled] == [("City Museum", "Visits")]
    assert split("## Hours\n\nTen to six.\n", "visit")[0].page == "visit"
    assert split("# Visits\n\nCome in.\n", "pages")[0].page == "Visits"
    assert split("---\nnever closed\n", "pages") == ()


def test_file_name_and_title_are_searched_and_a_heading_counts_more() -> None:
    page = "---\ntitle: Herons\n---\n## Nests\n\nHigh up.\n\n## Food\n\nFish, near the nests.\n"
    library = Library(split(page, "grey birds"))
    for question in ("what about the herons", "what about grey birds"):
        assert library.find(question) is not None
    found = library.find("where are the nests")
    assert found is not None
    assert found.quote == "High up."


async def test_a_long_passage_is_quoted_shortly(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Zebra\n\nThe zebra " + "gallops onward " * 60, "utf-8")
    answer = await Talk(HouseAgent.load(knowledge=tmp_path)).say("does the zebra gallops")
    assert answer.endswith("…")
    assert len(answer) < 330
