"""Numbers, days, times and names."""

import pytest

from salon.providers.house import slots
from salon.providers.house.words import likeness, tokens


def found(text: str) -> dict[str, str]:
    return {f.slot: f.value for f in slots.find(tokens(text))}


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("at seven", "19:00"),
        ("at 7", "19:00"),
        ("7:30", "19:30"),
        ("7.30 pm", "19:30"),
        ("half past seven", "19:30"),
        ("a quarter past six", "18:15"),
        ("quarter to eight", "19:45"),
        ("quarter to one", "12:45"),
        ("seven thirty", "19:30"),
        ("seven forty five", "19:45"),
        ("eight o'clock", "20:00"),
        ("ten in the morning", "10:00"),
        ("seven in the evening", "19:00"),
        ("noon", "12:00"),
        ("twelve am", "00:00"),
        ("nine at night", "21:00"),
        ("8pm", "20:00"),
        ("at eleven", "11:00"),
        ("at 19:00", "19:00"),
        ("seven p.m.", "19:00"),
    ],
)
def test_times(text: str, time: str) -> None:
    assert found(text).get("time") == time


@pytest.mark.parametrize("text", ["at 25:00", "7:75", "at fifty", "at 24:30", "half past"])
def test_what_is_no_time(text: str) -> None:
    assert "time" not in found(text)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("on friday", "Friday"),
        ("next friday", "next Friday"),
        ("this monday", "Monday"),
        ("tomorrow evening", "tomorrow evening"),
        ("the day after tomorrow", "the day after tomorrow"),
        ("tonight", "tonight"),
        ("this evening", "this evening"),
        ("Saturdays", "Saturday"),
    ],
)
def test_days(text: str, day: str) -> None:
    assert found(text) == {"day": day}


@pytest.mark.parametrize(
    ("text", "party"),
    [
        ("for four", "4"),
        ("four people", "4"),
        ("for people", "4"),
        ("to people", "2"),
        ("twenty one guests", "21"),
        ("just me", "1"),
        ("me and my wife", "2"),
        ("six", "6"),
        ("a table for too on friday", "2"),
        ("a couple of people", "2"),
        ("for 12", "12"),
    ],
)
def test_parties(text: str, party: str) -> None:
    assert found(text).get("party") == party


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("my name is Anna Miller", "Anna Miller"),
        ("under the name of smith please", "Smith"),
        ("for Smith", "Smith"),
        ("the name is jones and friday", "Jones"),
    ],
)
def test_names(text: str, name: str) -> None:
    assert found(text).get("name") == name


def test_no_name_after_a_lead() -> None:
    assert "name" not in found("the name is wrong")
    assert "name" not in found("my name is four")


def test_all_slots_of_one_sentence() -> None:
    assert found("a table for four on friday at half past seven under the name baker") == {
        "party": "4",
        "day": "Friday",
        "time": "19:30",
        "name": "Baker",
    }


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("19:30", "seven thirty in the evening"),
        ("12:00", "noon"),
        ("09:05", "nine oh five in the morning"),
        ("13:45", "one forty five in the afternoon"),
        ("00:15", "twelve fifteen in the morning"),
    ],
)
def test_times_are_spoken(value: str, said: str) -> None:
    assert slots.spoken_time(value) == said


def test_numbers_beyond_words_are_digits() -> None:
    assert slots.spoken_number(99) == "99"


@pytest.mark.parametrize("slot", slots.SLOTS)
def test_every_sample_is_read_as_its_slot(slot: str) -> None:
    lead = {"party": "for ", "day": "on ", "time": "at ", "name": "my name is "}[slot]
    wrong = [s for s in slots.samples(slot) if slot not in found(lead + s)]
    assert not wrong


def test_words_alike_by_spelling_and_by_sound() -> None:
    assert likeness("booking", "bookings") == 1.0
    assert likeness("reserve", "reserves") == 1.0
    assert likeness("cancel", "counsel") > 0.6
    assert likeness("licence", "license") > 0.6
    assert likeness("cat", "salon") == 0.0
    assert likeness("<day>", "days") == 0.0


def test_contractions_and_accents() -> None:
    assert tokens("What’s the Café’s licence, please?") == ("what", "is", "the", "cafe", "license")
