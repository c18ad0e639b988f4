"""Numbers, days, times and names in what was said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

UNITS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14,
    "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50}
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MAX_PARTY = 20
NAMES = (
    "smith", "jones", "miller", "brown", "taylor", "wilson", "davis", "clark", "martin", "baker",
    "anna", "maria", "john", "peter", "paul", "michael", "david", "thomas", "sarah", "laura",
    "james", "robert", "mary", "linda", "susan", "george", "charles", "daniel", "alice", "emma",
)  # fmt: skip
_SAMPLES: Mapping[str, tuple[str, ...]] = {
    "party": ("two", "four", "three", "six", "five", "eight", "seven", "ten", "twelve", "one",
              "nine", "eleven"),
    "day": ("friday", "tomorrow", "saturday", "tonight", "sunday", "monday", "today", "tuesday",
            "wednesday", "thursday", "next friday", "tomorrow evening", "the day after tomorrow"),
    "time": ("seven", "eight o'clock", "half past seven", "six thirty", "seven pm", "noon",
             "twelve", "one", "five", "nine", "six", "seven o'clock", "quarter past six",
             "quarter to eight", "eight thirty", "seven in the evening", "ten in the morning",
             "seven thirty", "five o'clock", "six pm", "eight pm", "eight", "six o'clock",
             "half past six", "half past eight", "nine o'clock", "one thirty", "two", "three",
             "four", "ten", "eleven"),
    "name": NAMES,
}  # fmt: skip
SLOTS = tuple(_SAMPLES)

# What recognisers write for a number after "for" or before "people".
_HOMOPHONES = {"for": 4, "to": 2, "too": 2, "ate": 8, "won": 1, "sex": 6, "tree": 3, "fore": 4}
_PEOPLE = frozenset(
    {"people", "person", "persons", "guests", "guest", "seats", "adults", "of", "friends",
     "places", "chairs", "diners", "folks"}
)  # fmt: skip
_PART_OF_DAY = {"morning": "am", "afternoon": "pm", "evening": "pm", "night": "pm", "am": "am",
                "pm": "pm"}  # fmt: skip
_NAME_LEADS = (
    ("my", "name", "is"), ("the", "name", "is"), ("under", "the", "name", "of"),
    ("under", "the", "name"), ("in", "the", "name", "of"), ("on", "the", "name", "of"),
    ("under", "name"), ("name", "is"),
)  # fmt: skip
_NOT_NAMES = frozenset(
    {"please", "and", "the", "a", "on", "at", "for", "is", "not", "wrong", "yes", "no", "thanks",
     "thank", "you"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """One slot in the words from `start` to before `end`. `sure` is false for a bare number, which
    may be a time as well as a party."""

    slot: str
    value: str
    start: int
    end: int
    sure: bool = True


def samples(slot: str) -> tuple[str, ...]:
    """Values of `slot` as they are spoken, the most usual first."""
    return _SAMPLES[slot]


def find(words: tuple[str, ...]) -> tuple[Found, ...]:
    """Every slot in `words` (from `words.tokens`), in order, not overlapping."""
    found: list[Found] = []
    at = 0
    while at < len(words):
        hit = _name(words, at) or _day(words, at) or _time(words, at) or _party(words, at)
        if hit is None:
            at += 1
        else:
            found.append(hit)
            at = hit.end
    return tuple(found)


def number(words: tuple[str, ...], at: int) -> tuple[int, int] | None:
    """The number that begins at `at` and the place after it."""
    word = words[at] if at < len(words) else ""
    if word.isdigit():
        return int(word), at + 1
    if word in UNITS:
        return UNITS[word], at + 1
    if word in TENS:
        unit = UNITS.get(words[at + 1], 99) if at + 1 < len(words) else 99
        return (TENS[word] + unit, at + 2) if unit < 10 else (TENS[word], at + 1)
    return None


def spoken_time(value: str) -> str:
    """``19:30`` as one says it: ``seven thirty in the evening``."""
    hour, minute = (int(part) for part in value.split(":"))
    part = "in the morning" if hour < 12 else "in the afternoon" if hour < 17 else "in the evening"
    if (hour, minute) == (12, 0):
        return "noon"
    said = spoken_number((hour - 1) % 12 + 1)
    if minute:
        said += f" {spoken_number(minute) if minute >= 10 else 'oh ' + spoken_number(minute)}"
    return f"{said} {part}"


def spoken_number(value: int) -> str:
    """Numbers below sixty in words."""
    for word, number_ in {**UNITS, **TENS}.items():
        if number_ == value:
            return word
    tens = next((w for w, n in TENS.items() if n == value // 10 * 10), None)
    return f"{tens} {spoken_number(value % 10)}" if tens and value % 10 else str(value)


def _name(words: tuple[str, ...], at: int) -> Found | None:
    for lead in _NAME_LEADS:
        start = at + len(lead)
        if words[at:start] == lead:
            end = start
            while end < min(len(words), start + 2) and words[end] not in _NOT_NAMES:
                if number(words, end) or words[end] in DAYS:
                    break
                end += 1
            if end > start:
                return Found("name", " ".join(w.title() for w in words[start:end]), at, end)
    if words[at] in NAMES and (len(words) <= 3 or words[at - 1] in ("for", "mister", "misses")):
        return Found("name", words[at].title(), at, at + 1)
    return None


def _day(words: tuple[str, ...], at: int) -> Found | None:
    if words[at : at + 4] == ("the", "day", "after", "tomorrow"):
        return Found("day", "the day after tomorrow", at, at + 4)
    word = words[at]
    if word in ("today", "tonight", "tomorrow") or word.removesuffix("s") in DAYS:
        after = words[at + 1] if at + 1 < len(words) else ""
        part = f" {after}" if after in ("morning", "afternoon", "evening", "night") else ""
        value = word if word in ("today", "tonight", "tomorrow") else word.removesuffix("s").title()
        return Found("day", value + part, at, at + 1 + bool(part))
    if word in ("this", "next", "coming") and at + 1 < len(words) and words[at + 1] in DAYS:
        value = words[at + 1].title()
        return Found("day", f"next {value}" if word == "next" else value, at, at + 2)
    if word == "this" and words[at + 1 : at + 2] and words[at + 1] in ("evening", "afternoon"):
        return Found("day", f"this {words[at + 1]}", at, at + 2)
    return None


def _time(words: tuple[str, ...], at: int) -> Found | None:
    word = words[at]
    if word in ("noon", "midday", "lunchtime"):
        return Found("time", "12:00", at, at + 1)
    clock = re.fullmatch(r"(\d{1,2})[:.](\d{2})", word)
    if clock:
        return _clock(int(clock[1]), int(clock[2]), words, at, at + 1)
    relative = _relative(words, at)
    if relative:
        return relative
    got = number(words, at)
    if got is None or not 1 <= got[0] <= 23:
        return None
    hour, end = got
    minute = number(words, end)
    follows = words[end] if end < len(words) else ""
    if minute and minute[0] in (10, 15, 20, 30, 40, 45, 50) and follows not in _PEOPLE:
        return _clock(hour, minute[0], words, at, minute[1])
    if follows in ("oclock", "am", "pm") or words[end : end + 2] in (
        ("in", "the"),
        ("at", "night"),
    ):
        return _clock(hour, 0, words, at, end + (follows == "oclock"))
    before = words[at - 1] if at else ""
    if before in ("at", "around", "about", "until", "before", "after") and follows not in _PEOPLE:
        return _clock(hour, 0, words, at, end)
    return None


def _relative(words: tuple[str, ...], at: int) -> Found | None:
    """``half past six``, ``quarter to eight``."""
    start = at + 1 if words[at] == "a" else at
    if words[start : start + 1] not in (("half",), ("quarter",)):
        return None
    side = words[start + 1] if start + 1 < len(words) else ""
    got = number(words, start + 2) if side in ("past", "to", "after", "passed") else None
    if got is None:
        return None
    minute = 30 if words[start] == "half" else 15
    hour = got[0]
    if side == "to":
        hour, minute = (hour - 2) % 12 + 1, 60 - minute
    return _clock(hour, minute, words, at, got[1])


def _clock(hour: int, minute: int, words: tuple[str, ...], start: int, end: int) -> Found | None:
    """A time of day; without morning or evening said, the café's hours decide."""
    half = ""
    if end < len(words) and words[end] in ("am", "pm"):
        half, end = words[end], end + 1
    elif words[end : end + 2] == ("in", "the") and words[end + 2 : end + 3]:
        half = _PART_OF_DAY.get(words[end + 2], "")
        end += 3 if half else 0
    elif words[end : end + 2] == ("at", "night"):
        half, end = "pm", end + 2
    if hour > 23 or minute > 59:
        return None
    if half == "pm" and hour < 12:
        hour += 12
    elif half == "am" and hour == 12:
        hour = 0
    elif not half and hour < 9:
        hour += 12
    return Found("time", f"{hour:02}:{minute:02}", start, end)


def evening(value: str) -> str:
    """`value` twelve hours later when it is before noon: somebody said tonight."""
    hour, minute = value.split(":")
    return f"{int(hour) + 12:02}:{minute}" if int(hour) < 12 else value


def _party(words: tuple[str, ...], at: int) -> Found | None:
    word = words[at]
    got = number(words, at)
    follows = words[got[1]] if got and got[1] < len(words) else ""
    if got:
        if not 1 <= got[0] <= 99:
            return None
        before = words[at - 1] if at else ""
        sure = follows in _PEOPLE or before in ("for", "table", "are", "be")
        return Found("party", str(got[0]), at, got[1] + (follows in _PEOPLE), sure)
    after = words[at + 1] if at + 1 < len(words) else ""
    if words[at : at + 3] == ("fine", "of", "us"):
        return Found("party", "5", at, at + 3)
    if word in _HOMOPHONES and after in _PEOPLE and after != "of":
        return Found("party", str(_HOMOPHONES[word]), at, at + 2)
    if word == "for" and after in _HOMOPHONES:
        ends = at + 2 == len(words)
        if ends or words[at + 2] in {*_PEOPLE, *DAYS, "on", "at", "today", "tomorrow", "tonight"}:
            return Found("party", str(_HOMOPHONES[after]), at + 1, at + 2)
    if words[at : at + 2] in (("just", "me"), ("only", "me")):
        return Found("party", "1", at, at + 2)
    if words[at : at + 3] == ("me", "and", "my") and at + 3 < len(words):
        return Found("party", "2", at, at + 4)
    if word == "couple" and words[at + 1 : at + 3] == ("of", "people"):
        return Found("party", "2", at, at + 3)
    return None


def is_time(value: str) -> bool:
    """Whether `value` is ``HH:MM``."""
    match = re.fullmatch(r"(\d{2}):(\d{2})", value)
    return bool(match and int(match[1]) < 24 and int(match[2]) < 60)
