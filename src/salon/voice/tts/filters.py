"""What a model writes and nobody should hear, taken out of the text as it streams.

A filter gets the text in pieces of any cut, keeps back what may still turn out to be a part of
something unwanted, and gives the rest. What it keeps is bounded.
"""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

_log = logging.getLogger("salon.voice.tts")

_SPACES: Final = frozenset(" \t\n\r")


class TTSStreamFilter(ABC):
    """`feed` pieces, then `flush`; `reset` between texts."""

    @abstractmethod
    def feed(self, chunk: str) -> str:
        """What of the text so far can be spoken now."""

    @abstractmethod
    def flush(self) -> str:
        """The text is over: what was kept back and may be spoken. Then as new."""

    @abstractmethod
    def reset(self) -> None:
        """Forget what is kept back."""

    def end_segment(self) -> str:
        """The model pauses, for a tool call perhaps: what need not be kept back any longer."""
        return ""


class TTSFilterChain(TTSStreamFilter):
    """Several filters, each fed by the one before."""

    def __init__(self, *filters: TTSStreamFilter) -> None:
        self._filters = filters

    def feed(self, chunk: str) -> str:
        for one in self._filters:
            chunk = one.feed(chunk)
        return chunk

    def flush(self) -> str:
        text = ""
        for one in self._filters:
            text = (one.feed(text) if text else "") + one.flush()
        return text

    def end_segment(self) -> str:
        text = ""
        for one in self._filters:
            text = (one.feed(text) if text else "") + one.end_segment()
        return text

    def reset(self) -> None:
        for one in self._filters:
            one.reset()


class StripBrackets(TTSStreamFilter):
    """Takes out ``[stage directions]``, but for those in `keep` (compared without case and outer
    spaces). Brackets do not nest; one that is never closed swallows the rest."""

    def __init__(self, keep: Iterable[str] = ()) -> None:
        self._keep = frozenset(word.strip().casefold() for word in keep)
        self._longest = max((len(word) for word in self._keep), default=0) + 64
        self._inside: str | None = None

    def feed(self, chunk: str) -> str:
        said: list[str] = []
        while chunk:
            if self._inside is None:
                before, mark, chunk = chunk.partition("[")
                said.append(before)
                self._inside = "" if mark else None
            else:
                inside, mark, chunk = chunk.partition("]")
                # Beyond the longest that may be kept nothing needs to be remembered.
                self._inside = (self._inside + inside)[: self._longest + 1]
                if mark:
                    if self._inside.strip().casefold() in self._keep:
                        said.append(f"[{self._inside}]")
                    self._inside = None
        return "".join(said)

    def flush(self) -> str:
        self.reset()
        return ""

    def reset(self) -> None:
        self._inside = None


_EMOJI: Final = (
    "\u2139\u231a\u231b\u2328\u23cf\u23e9-\u23f3\u23f8-\u23fa\u25fb-\u25fe\u2600-\u27bf\u2b05-\u2b07"
    "\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
)
_JOINER: Final = "\u200d"
_DRESS: Final = "\ufe0e\ufe0f\u20e3\U000e0020-\U000e007f"
_ANY: Final = re.compile(f"[{_EMOJI}][{_DRESS}{_JOINER}]*|[{_DRESS}]+")
_DRESSED: Final = re.compile(f"^[{_DRESS}{_JOINER}]+")


class StripEmoji(TTSStreamFilter):
    """Takes out pictures, with what dresses and joins them. Arrows, letters and figures in
    circles stay, and so does the digit of a keycap; a joiner between letters is spelling."""

    def __init__(self) -> None:
        self._after_emoji = False

    def feed(self, chunk: str) -> str:
        if not chunk:
            return ""
        if self._after_emoji:
            chunk = _DRESSED.sub("", chunk)
            if not chunk:
                return ""
        ends = [match.end() for match in _ANY.finditer(chunk)]
        self._after_emoji = bool(ends) and ends[-1] == len(chunk)
        return _ANY.sub("", chunk) if ends else chunk

    def flush(self) -> str:
        self.reset()
        return ""

    def reset(self) -> None:
        self._after_emoji = False


_OPEN: Final = "[internal]"
_CLOSE: Final = "[/internal]"


class StripInternalTags(TTSStreamFilter):
    """Takes out ``[internal]...[/internal]``, in any case; one that is not closed swallows the
    rest, a closing tag alone is taken out too."""

    def __init__(self) -> None:
        self._kept = ""
        self._inside = False

    def feed(self, chunk: str) -> str:
        text, said = self._kept + chunk, []
        self._kept = ""
        while text:
            tags = (_CLOSE,) if self._inside else (_OPEN, _CLOSE)
            at, tag = _first_tag(text, tags)
            if not self._inside:
                said.append(text[:at])
            if tag is None:
                self._kept = text[at:]
                break
            text = text[at + len(tag) :]
            self._inside = tag == _OPEN
        return "".join(said)

    def flush(self) -> str:
        rest = "" if self._inside else self._kept
        self.reset()
        return rest

    def reset(self) -> None:
        self._kept = ""
        self._inside = False


def _first_tag(text: str, tags: tuple[str, ...]) -> tuple[int, str | None]:
    """Where the first of `tags` begins and which it is; or where one may be beginning at the end
    of the text; or the end."""
    low = text.lower() if len(text.lower()) == len(text) else text
    found = [(low.find(tag), tag) for tag in tags if tag in low]
    if found:
        return min(found)
    longest = max(len(tag) for tag in tags)
    for at in range(max(0, len(low) - longest + 1), len(low)):
        if any(tag.startswith(low[at:]) for tag in tags):
            return at, None
    return len(text), None


_OBJECT: Final = re.compile(r'\{\s*(?:"|[A-Za-z_]\w*\s*:)')
_MAY_BE_OBJECT: Final = re.compile(r"\{\s*(?:[A-Za-z_]\w*\s*)?$")
_RULE: Final = re.compile(r"-{3,}")
_MAX_OPENING: Final = 128
"""An object whose first key is longer is none."""


class StripTechnicalText(TTSStreamFilter):
    """Takes out JSON objects (``{"key": ...`` and ``{key: ...``, to the closing brace or the end)
    and rules of three hyphens or more. A space takes their place where words would touch. Each
    object is logged by its length, not its content."""

    def __init__(self) -> None:
        self._kept = ""
        self._depth = 0
        self._quoted = False
        self._escaped = False
        self._swallowed = 0
        self._blank = True
        """The text so far ends with white space, or there is none."""
        self._gap = False
        """Something was taken out since."""

    def feed(self, chunk: str) -> str:
        return self._take(chunk, final=False)

    def flush(self) -> str:
        rest = self._take("", final=True)
        if self._depth:
            self._log()
        self.reset()
        return rest

    def reset(self) -> None:
        self._kept = ""
        self._depth = self._swallowed = 0
        self._quoted = self._escaped = self._gap = False
        self._blank = True

    def _take(self, chunk: str, *, final: bool) -> str:
        text, said = self._kept + chunk, []
        self._kept = ""
        at = 0
        while at < len(text):
            if self._depth:
                at = self._swallow(text, at)
                continue
            brace, rule = text.find("{", at), text.find("-", at)
            marks = [place for place in (brace, rule) if place >= 0]
            if not marks:
                said.append(self._say(text[at:]))
                break
            place = min(marks)
            said.append(self._say(text[at:place]))
            end = self._object(text, place) if place == brace else self._rule(text, place)
            if end is None and not final:
                self._kept = text[place:]
                break
            if end is None or end == place:
                said.append(self._say(text[place]))
                end = place + 1
            at = end
        return "".join(said)

    def _object(self, text: str, at: int) -> int | None:
        """Enter an object that begins at `at`; `at` itself if none does, None if that is open."""
        if _OBJECT.match(text, at):
            self._depth, self._swallowed = 1, 1
            self._gap = True
            return at + 1
        short = len(text) - at <= _MAX_OPENING
        return None if short and _MAY_BE_OBJECT.match(text, at) else at

    def _rule(self, text: str, at: int) -> int | None:
        match = _RULE.match(text, at)
        if match:
            # At the text's end more hyphens may come; they are a new rule's then, or said.
            self._gap = True
            return match.end()
        return None if text[at:] in ("-", "--") else at

    def _swallow(self, text: str, at: int) -> int:
        """Go to the end of the object, or of the text."""
        while at < len(text):
            character = text[at]
            at += 1
            self._swallowed += 1
            if self._escaped:
                self._escaped = False
            elif self._quoted:
                self._escaped = character == "\\"
                self._quoted = character != '"'
            elif character == '"':
                self._quoted = True
            elif character == "{":
                self._depth += 1
            elif character == "}":
                self._depth -= 1
                if not self._depth:
                    self._log()
                    break
        return at

    def _say(self, text: str) -> str:
        if self._gap and text:
            if self._blank:
                text = text.lstrip(" \t\n\r")
            elif text[0] not in _SPACES:
                text = f" {text}"
            if not text:
                return ""
            self._gap = False
        if text:
            self._blank = text[-1] in _SPACES
        return text

    def _log(self) -> None:
        _log.info("a JSON object of %d characters was not spoken", self._swallowed)


async def filtered_stream(
    source: AsyncIterator[Any], tts_filter: TTSStreamFilter
) -> AsyncIterator[Any]:
    """`source` through `tts_filter`, empty pieces left out. What is no text passes as it is,
    after `end_segment`."""
    tts_filter.reset()
    async for piece in source:
        if isinstance(piece, str):
            said = tts_filter.feed(piece)
        else:
            said = tts_filter.end_segment()
            if said:
                yield said
            yield piece
            continue
        if said:
            yield said
    rest = tts_filter.flush()
    if rest:
        yield rest
