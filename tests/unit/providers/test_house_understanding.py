"""What the house agent understands, with the file that comes with Salon."""

import pytest

from salon.providers.house.definition import load
from salon.providers.house.understanding import Understander, understand

OPEN = {"topic": "booking", "asked": "party", "booking": {}}

# Said in words that are no example of the file.
PARAPHRASES = [
    ("hello", "hello there dear salon"),
    ("how_are_you", "hello how are you feeling"),
    ("who_are_you", "and what should i call you"),
    ("are_you_human", "am i speaking with a computer here"),
    ("thanks", "thanks a lot that was very helpful"),
    ("goodbye", "that is all thank you goodbye"),
    ("repeat", "can you say that once more"),
    ("help", "what topics can we talk about"),
    ("joke", "would you tell us a joke please"),
    ("stop", "please wait a moment"),
    ("what_is_salon", "so what's this salon program about"),
    ("write_agent", "what is involved in creating my own agent"),
    ("change_answers", "how could i edit your answers"),
    ("run", "how do i start up the server"),
    ("testing", "what is the way to test my own agent"),
    ("install", "which version of python is required"),
    ("new_project", "can you create a starter project for me"),
    ("channels", "which channels do you people support"),
    ("webrtc", "can the server do webrtc"),
    ("clients", "how do i connect my own program to it"),
    ("tools", "is it possible to add tools to an agent"),
    ("phone", "can i connect this to a telephone line"),
    ("interrupt", "what happens if i interrupt the agent"),
    ("latency", "how long before you start to answer"),
    ("licence", "what does it cost to use salon"),
    ("offline", "does salon depend on the internet"),
    ("privacy", "is this conversation being recorded"),
    ("languages", "do you speak any spanish"),
    ("voices", "why does your voice sound so strange"),
    ("own_model", "how do i hook up a language model"),
    ("rooms", "how many people can join a room"),
    ("console", "can i try it in the terminal"),
    ("trouble", "my microphone is not working"),
    ("knowledge", "can you search in my documents"),
    ("documentation", "where's the manual then"),
    ("avatar", "does it have an avatar"),
    ("hours", "what time does the restaurant open in the morning"),
    ("cafe", "is that cafe a real cafe"),
    ("location", "tell me the address of your cafe"),
    ("menu", "what is on the menu for tonight"),
    ("book", "i want to reserve a table for three on saturday at eight"),
    ("booking_status", "is my reservation confirmed yet"),
    ("cancel", "i would really like to cancel my booking"),
    ("change", "can we move the reservation to sunday"),
    ("affirm", "yes that is correct"),
    ("deny", "no that is wrong"),
]

OFF_TOPIC = [
    "did the lakers win last night",
    "tell me a bedtime story",
    "how do you make apple pie",
    "what year did the second world war end",
    "where did i leave my keys",
    "my sister is getting married in june",
    "how many legs does a spider have",
    "send an email to my boss",
    "which movie should we watch tonight",
    "what is your favorite fruit",
    "is there a pharmacy near here",
    "the garden needs more water",
    "how do plants make oxygen",
    "how do i get a stain out of my shirt",
    "who is the richest man alive",
    "translate good morning into italian",
    "i think i have a fever",
    "book me a flight to new york",
    "remind me to call the dentist",
    "order a pizza with mushrooms",
    "when was this church built",
    "what will the weather be like on saturday",
    "turn off the kitchen lights",
    "when does the next train to berlin leave",
]

# Errors of the kind a recogniser makes, written by hand: near words, lost and split ones.
GARBLED = [
    ("licence", "is it salon license"),
    ("how_are_you", "hello how are you filling"),
    ("run", "what command do i used to run the sever"),
    ("tools", "can an agent call by then functions"),
    ("phone", "does salon hand all phone calls"),
    ("interrupt", "am i aloud to interrupt you"),
    ("offline", "will it work with doubt an internet connection"),
    ("hours", "when does the cafe opened sunday"),
    ("hours", "what are your opening ours on saturday"),
    ("book", "i would like to cook a table for four people tomorrow at seven"),
    ("book", "could you reserve a table for too on friday evening"),
    ("cancel", "please counsel my reservation"),
    ("change", "i want to change my group into saturday"),
    ("repeat", "could you repeat at please"),
    ("install", "how can i install salon on my lap top"),
    ("install", "how do i in stall salon"),
    ("menu", "do you have anything vegetarian on them menu"),
    ("thanks", "thank you fairy much for your help"),
    ("rooms", "can two people bee in the same room"),
    ("goodbye", "okay goodbye than"),
]


@pytest.mark.parametrize(("intent", "text"), PARAPHRASES)
def test_a_paraphrase_is_understood(intent: str, text: str) -> None:
    assert understand(text, {}).intent == intent


def test_every_answerable_intent_has_a_paraphrase_here() -> None:
    named = {name for name, _ in PARAPHRASES} | {"inform"}
    answerable = {n for n, i in load().intents.items() if not i.off_topic}
    assert named == answerable


def test_every_example_is_its_own_intent() -> None:
    house = load()
    by = Understander(house)
    wrong = [
        (name, sentence)
        for name, intent in house.intents.items()
        if not intent.off_topic and intent.action != "inform"
        for sentence in intent.sentences[:: max(1, len(intent.sentences) // 8)]
        if "{" not in sentence and by.understand(sentence, {}).intent != name
    ]
    assert len(wrong) <= 12, wrong


def test_off_topic_is_hardly_ever_taken_for_an_intent() -> None:
    taken = [(t, understand(t, {}).intent) for t in OFF_TOPIC if understand(t, {}).intent]
    assert len(taken) <= len(OFF_TOPIC) * 0.1, taken


def test_what_a_recogniser_garbles_is_still_understood() -> None:
    missed = [(w, t, understand(t, {})) for w, t in GARBLED if understand(t, {}).intent != w]
    assert len(missed) <= len(GARBLED) * 0.2, missed


@pytest.mark.parametrize("text", ["", "   ", "?!", "🙂", "zzyzx qwrt", "um er please", "x" * 5000])
def test_nothing_said_is_nothing_understood(text: str) -> None:
    assert understand(text, {}).intent is None


def test_a_very_long_text_is_cut() -> None:
    assert understand("what is salon " + "blah " * 100_000, {}).score < 0.5


def test_slots_alone_are_an_answer_while_a_booking_is_open() -> None:
    assert understand("four people on friday", OPEN).intent == "inform"
    assert understand("four", OPEN).bare == "4"
    assert understand("four", {}).intent is None


def test_slots_alone_open_a_booking_when_there_are_two() -> None:
    got = understand("four people on friday at seven", {})
    assert got.intent == "book"
    assert got.slots == {"party": "4", "day": "Friday", "time": "19:00"}


def test_a_question_with_a_day_stays_a_question_while_a_booking_is_open() -> None:
    assert understand("are you open on sunday", OPEN).intent == "hours"


def test_far_too_much_around_a_number_is_no_answer() -> None:
    said = "my uncle owns four horses somewhere behind the railway embankment"
    assert understand(said, OPEN).intent is None
