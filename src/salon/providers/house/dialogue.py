"""What is answered, and what is remembered between two answers.

The state is plain data that travels in the metadata of the stored answer: ``topic`` (booking or
None), ``booking`` (party, day, time, name), ``asked`` (what the last answer asked for), ``booked``
(the booking is confirmed), ``turns`` (how often each intent was answered, for the variants).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from salon.providers.house import slots
from salon.providers.house.definition import House
from salon.providers.house.retrieval import Finding, Library
from salon.providers.house.understanding import Understander, Understanding
from salon.providers.house.words import tokens

_QUESTIONS = {
    "party": "For how many people?",
    "day": "For which day?",
    "time": "At what time?",
    "name": "Under which name?",
}
_MISSED = {
    "party": "Sorry, how many people? Say, for example, four people.",
    "day": "Sorry, which day? Say, for example, Friday or tomorrow.",
    "time": "Sorry, at what time? Say, for example, seven o'clock.",
    "name": "Sorry, under which name? Say, for example, the name is Miller.",
    "confirm": "Sorry, shall I book it? Say yes, or tell me what to change.",
    "change": "What shall I change: the day, the time or the number of people?",
}
_REQUIRED = ("party", "day", "time")
_FIRST, _LAST = "09:00", "21:00"
_CHANGEABLE = {
    "day": "day", "date": "day", "time": "time", "hour": "time", "number": "party",
    "people": "party", "size": "party", "party": "party", "name": "name",
}  # fmt: skip
_MAX_TEXT = 100
_CERTAIN = 0.9
"""An intent as sure as this is not given up for a page."""
_COVERED = 0.7
"""How much of a question a page must cover to be preferred to an intent."""
_AHEAD = 0.3
"""How much more of it than the intent, if the intent has never heard the words."""


@dataclass
class State:
    """The remembered part, read leniently: whatever is missing or of a wrong type is left out."""

    topic: str | None = None
    booking: dict[str, str] = field(default_factory=dict)
    asked: str | None = None
    booked: bool = False
    turns: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, data: object) -> State:
        if not isinstance(data, Mapping):
            return cls()
        booking, turns = data.get("booking"), data.get("turns")
        asked = data.get("asked")
        return cls(
            topic="booking" if data.get("topic") == "booking" else None,
            booking=_booking(booking) if isinstance(booking, Mapping) else {},
            asked=asked if isinstance(asked, str) and asked in _MISSED else None,
            booked=data.get("booked") is True,
            turns={str(k): v for k, v in turns.items() if isinstance(v, int) and v >= 0}
            if isinstance(turns, Mapping)
            else {},
        )

    def write(self) -> dict[str, Any]:
        """Plain data for the metadata of the answer."""
        return {
            "topic": self.topic,
            "booking": dict(self.booking),
            "asked": self.asked,
            "booked": self.booked,
            "turns": dict(self.turns),
        }


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, the intent that it answers (None: not understood) and what to remember."""

    text: str
    intent: str | None
    state: State


class Dialogue:
    """Answers one utterance after the other; holds nothing of any conversation."""

    def __init__(self, house: House, by: Understander, library: Library | None = None) -> None:
        self._house = house
        self._by = by
        self._library = library
        self._vocabulary = by.vocabulary()

    def reply(
        self, text: str, state: State, last_answer: str = "", confidence: float | None = None
    ) -> Reply:
        """Answer `text`, recognised with `confidence`. `last_answer` is what was heard of the last
        answer."""
        state = State.read(state.write())
        got = self._by.understand(text, state.write(), confidence)
        action = self._house.intents[got.intent].action if got.intent else None
        found = self._library.find(text) if self._library else None
        if found is not None and self._prefers(found, text, got, state):
            return Reply(self._quoted(found, state), None, state)
        if action == "repeat":
            return Reply(last_answer or self._say("repeat", state), got.intent, state)
        answer = None
        if state.topic == "booking":
            answer = self._in_booking(text, got, action, state)
        elif action is not None:
            answer = self._outside(got, action, state)
        if answer is None and got.intent is not None:
            answer = self._say(got.intent, state)
            if state.topic == "booking":
                answer = f"{answer} Back to your table: {self._next(state)}"
        return Reply(answer or self._unclear(state), got.intent, state)

    def _prefers(self, found: Finding, text: str, got: Understanding, state: State) -> bool:
        """Whether the page answers `text` clearly better than the intent: it has what the intent's
        examples lack, a good share of the question or a word that belongs to no intent."""
        if state.topic == "booking" and (got.slots or got.bare or got.nearest in _SETTLING):
            return False
        if got.intent is None:
            return True
        action = self._house.intents[got.intent].action
        if action not in ("answer", "repeat", "book") or (action == "book" and got.slots):
            return False
        if found.named > (got.score >= _CERTAIN):
            return True
        if got.score >= _CERTAIN or found.coverage < _COVERED:
            return False
        more = found.shared - self._by.own(got.intent, text)
        return bool(more - self._vocabulary) or found.share(more) >= _AHEAD

    def _quoted(self, found: Finding, state: State) -> str:
        """What the page says; then back to an open booking."""
        said = f"On the page {found.passage.page} I read: {found.quote}"
        return f"{said} Back to your table: {self._next(state)}" if state.topic else said

    def _outside(self, got: Understanding, action: str, state: State) -> str | None:
        """Booking words while no booking is open."""
        if action == "book":
            state.topic, state.booked, state.booking = "booking", False, {}
            return self._fill(got, state, "")
        if action == "status":
            return self._summary(state, "You have ") if state.booked else _NO_BOOKING
        if action == "cancel":
            if not state.booked:
                return _NO_BOOKING
            state.booked, state.booking = False, {}
            return "Your table is cancelled. Anything else?"
        if action in ("change", "inform"):
            if not state.booked:
                return _NO_BOOKING
            state.topic = "booking"
            return None if action == "inform" else self._change((), got, state)
        return None

    def _in_booking(
        self, text: str, got: Understanding, action: str | None, state: State
    ) -> str | None:
        if action == "cancel":
            was_booked = state.booked
            state.topic, state.asked, state.booked, state.booking = None, None, False, {}
            return "Your table is cancelled." if was_booked else "All right, no table then."
        if action == "status":
            return f"{self._summary(state, 'So far: ')} {self._next(state)}"
        if action == "change":
            return self._change(tokens(text), got, state)
        if action == "affirm":
            return self._affirm(got, state)
        if action == "deny":
            return self._deny(tokens(text), got, state)
        if action in ("book", "inform"):
            return self._fill(got, state, "")
        named = state.asked in ("confirm", "change") and _CHANGEABLE.keys() & set(tokens(text))
        return self._change(tokens(text), got, state) if named and action is None else None

    def _affirm(self, got: Understanding, state: State) -> str:
        """Book on a yes to the booking read back; with anything new in it, read it back again. To
        an open question a yes is no answer: it is asked again."""
        if got.bare or set(got.slots) - {"name"} or state.asked != "confirm":
            return self._fill(got, state, "")
        self._fill(got, state, "")
        state.topic, state.asked, state.booked = None, None, True
        return f"Done. {self._summary(state, 'I booked ')} It is only a demonstration, of course."

    def _deny(self, words: tuple[str, ...], got: Understanding, state: State) -> str:
        if got.slots or got.bare:
            return self._change(words, got, state)
        if state.asked == "confirm":
            state.asked = "change"
            return _MISSED["change"]
        if state.asked == "change":
            state.topic, state.asked, state.booking, state.booked = None, None, {}, False
            return "All right, no table then."
        return self._next(state)

    def _change(self, words: tuple[str, ...], got: Understanding, state: State) -> str:
        """New values, or the question for the one that is to change."""
        if got.slots or got.bare:
            return self._fill(got, state, "All right. ")
        for word in words:
            slot = _CHANGEABLE.get(word)
            if slot:
                state.booking.pop(slot, None)
                state.asked = slot
                return _QUESTIONS[slot]
        state.asked = "change"
        return _MISSED["change"]

    def _fill(self, got: Understanding, state: State, lead: str) -> str:
        """Take over what was said; ask for what is missing, or for a yes."""
        values = dict(got.slots)
        if got.bare is not None:
            slot, value = self._bare(got.bare, state, values)
            values.setdefault(slot, value)
        problem = _check(values, state.booking)
        state.booking.update(_booking(values))
        if problem:
            slot, text = problem
            state.booking.pop(slot, None)
            state.asked = slot
            return text
        return lead + self._next(state)

    def _bare(self, number: str, state: State, values: Mapping[str, str]) -> tuple[str, str]:
        """A number alone: the time when that was asked for, otherwise the party."""
        is_time = state.asked == "time" or ("party" in values and "time" not in values)
        found = slots.find(("at", number)) if is_time and "time" not in values else ()
        hit = next((f for f in found if f.slot == "time"), None)
        return ("time", hit.value) if hit else ("party", number)

    def _next(self, state: State) -> str:
        """The question for the first missing slot, or the whole booking for a yes."""
        if state.asked == "name" and "name" not in state.booking:
            return _QUESTIONS["name"]
        for slot in _REQUIRED:
            if slot not in state.booking:
                state.asked = slot
                said = _described(state.booking)
                return f"{said}. {_QUESTIONS[slot]}" if said else _QUESTIONS[slot]
        state.asked = "confirm"
        return f"{_described(state.booking)}. Shall I book it?"

    def _summary(self, state: State, lead: str) -> str:
        said = _described(state.booking)
        return f"{lead}{said[0].lower() + said[1:]}." if said else f"{lead}nothing yet."

    def _say(self, name: str, state: State) -> str:
        """The intent's next variant."""
        answers = self._house.intents[name].answers if name in self._house.intents else ()
        turn = state.turns.get(name, 0)
        state.turns[name] = turn + 1
        return answers[turn % len(answers)] if answers else self._house.unclear[0]

    def _unclear(self, state: State) -> str:
        if state.topic == "booking" and state.asked:
            return _MISSED[state.asked]
        turn = state.turns.get("", 0)
        state.turns[""] = turn + 1
        return self._house.unclear[turn % len(self._house.unclear)]


_SETTLING = frozenset({"affirm", "deny", "change", "cancel", "inform", "undecided"})
"""Replies to what a booking asks; no page is looked up for them."""
_NO_BOOKING = "You have no booking yet. Say: book a table for two tomorrow at seven."


def _booking(values: Mapping[Any, Any]) -> dict[str, str]:
    """The known slots with sound values; a time of the evening when the day says so."""
    kept = {
        k: v[:_MAX_TEXT] for k, v in values.items() if k in slots.SLOTS and isinstance(v, str) and v
    }
    if not kept.get("party", "1").isdigit():
        del kept["party"]
    if "time" in kept and not slots.is_time(kept["time"]):
        del kept["time"]
    return kept


def _check(values: dict[str, str], known: Mapping[str, str]) -> tuple[str, str] | None:
    """The slot that cannot be, with what to say. Settles evening times in `values`."""
    day = values.get("day", known.get("day", ""))
    if "time" in values and day.endswith(("night", "evening")):
        values["time"] = slots.evening(values["time"])
    if "party" in values and not 1 <= int(values["party"]) <= slots.MAX_PARTY:
        limit = slots.spoken_number(slots.MAX_PARTY)
        return "party", f"We have tables for up to {limit} people. For how many shall it be?"
    if "time" in values and not _FIRST <= values["time"] <= _LAST:
        return "time", "The kitchen is open from nine in the morning to nine in the evening. " + (
            "At what time would you like to come?"
        )
    return None


def _described(booking: Mapping[str, str]) -> str:
    """``A table for four on Friday at seven in the evening``."""
    if not booking:
        return ""
    said = "A table"
    if "party" in booking:
        said += f" for {slots.spoken_number(int(booking['party']))}"
    day = booking.get("day", "")
    if day:
        said += f" on {day}" if day.split()[0] in _WEEKDAYS else f" {day}"
    if "time" in booking:
        clock = slots.spoken_time(booking["time"])
        if day.endswith(("night", "evening", "morning", "afternoon")):
            clock = clock.split(" in the ")[0]
        said += f" at {clock}"
    if "name" in booking:
        said += f", under the name {booking['name']}"
    return said


_WEEKDAYS = frozenset(day.title() for day in slots.DAYS)
