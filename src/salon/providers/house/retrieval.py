"""Looking things up in a folder of Markdown (BM25 over the sections of its pages)."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from salon.base import ConfigurationError
from salon.providers.house.words import stem, tokens

_log = logging.getLogger("salon.providers.house")
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r"^\s*(```|~~~)")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_DECORATION = re.compile(r"[*`>|]|(?<!\w)_+|_+(?!\w)|<[^>]+>|^\s*(?:[-+]|\d+\.)\s+", re.MULTILINE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_STOP = frozenset(
    {"a", "an", "the", "is", "are", "am", "be", "was", "i", "you", "it", "we", "me", "my",
     "your", "to", "of", "for", "on", "in", "at", "and", "or", "do", "does", "did", "can",
     "could", "would", "will", "what", "how", "that", "this", "there", "have", "has", "not",
     "with", "if", "so", "who", "when", "where", "which", "why", "tell", "about", "please",
     "know", "want", "more", "from", "by", "as", "us", "any", "some", "get"}
)  # fmt: skip
MAX_PAGES = 2000
MAX_PAGE_BYTES = 1_000_000
_MAX_QUOTE = 280


@dataclass(frozen=True, slots=True)
class Passage:
    """One section of a page."""

    page: str
    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found: a short quote, the page it is from, the BM25 score and the share (0..1) of
    the question's content that the passage covers."""

    passage: Passage
    quote: str
    score: float
    coverage: float


class Library:
    """The sections of all pages below one folder, indexed once."""

    def __init__(self, passages: tuple[Passage, ...]) -> None:
        self.passages = passages
        self._counts = [Counter(_terms(f"{p.page} {p.heading} {p.text}")) for p in passages]
        self._titles = [frozenset(_terms(f"{p.page} {p.heading}")) for p in passages]
        self._lengths = [sum(c.values()) for c in self._counts]
        self._mean = sum(self._lengths) / len(passages) if passages else 1.0
        spread = Counter(term for counts in self._counts for term in counts)
        total = len(passages)
        self._idf = {t: math.log(1 + (total - n + 0.5) / (n + 0.5)) for t, n in spread.items()}
        self._strange = math.log(1 + (total + 0.5) / 0.5)

    @classmethod
    def read(cls, folder: Path) -> Library:
        """Read every ``*.md`` below `folder`; links out of it are not followed, at most
        `MAX_PAGES` pages of `MAX_PAGE_BYTES`. Raises `ConfigurationError`."""
        if not folder.is_dir():
            raise ConfigurationError(f"knowledge folder {folder} does not exist")
        passages: list[Passage] = []
        root = folder.resolve()
        pages = sorted(p for p in folder.rglob("*.md") if p.resolve().is_relative_to(root))
        if len(pages) > MAX_PAGES:
            _log.warning("knowledge folder: %d of %d pages read", MAX_PAGES, len(pages))
        for page in pages[:MAX_PAGES]:
            try:
                if not page.is_file() or page.stat().st_size > MAX_PAGE_BYTES:
                    _log.warning("knowledge page %s left out: too large or no file", page)
                    continue
                text = page.read_text(encoding="utf-8", errors="replace")
            except OSError as error:
                raise ConfigurationError(f"{page}: cannot be read: {error.strerror}") from error
            passages.extend(split(text, page.stem.replace("-", " ").replace("_", " ")))
        return cls(tuple(passages))

    def find(self, question: str) -> Finding | None:
        """The best passage, or None unless it is clearly good: it covers most of what the question
        is about, with two of its words or one that is in a title."""
        asked = tuple(dict.fromkeys(_terms(question)))
        if not asked or not self.passages:
            return None
        total = sum(self._idf.get(t, self._strange) for t in asked)
        best = max(range(len(self.passages)), key=lambda n: (self._score(n, asked), -n))
        shared = [t for t in asked if t in self._counts[best]]
        coverage = sum(self._idf[t] for t in shared) / total
        titled = any(t in self._titles[best] for t in shared)
        if coverage < 0.6 or (len(shared) < 2 and not titled):
            return None
        passage = self.passages[best]
        quote = _quote(passage.text, frozenset(asked))
        return Finding(passage, quote, self._score(best, asked), coverage) if quote else None

    def headings(self) -> tuple[str, ...]:
        """Every page and heading once, in plain words."""
        named = (" ".join(tokens(t)) for p in self.passages for t in (p.page, p.heading))
        return tuple(dict.fromkeys(t for t in named if t))

    def _score(self, number: int, asked: tuple[str, ...]) -> float:
        counts, length = self._counts[number], self._lengths[number]
        score = 0.0
        for term in asked:
            n = counts[term]
            if n:
                norm = n + 1.2 * (0.25 + 0.75 * length / self._mean)
                boost = 1.5 if term in self._titles[number] else 1.0
                score += boost * self._idf[term] * n * 2.2 / norm
        return score


def split(text: str, page: str) -> tuple[Passage, ...]:
    """The sections of one Markdown page, code blocks left out; the first heading names the page."""
    title, heading = page, ""
    lines: list[str] = []
    passages: list[Passage] = []
    fenced = front = False

    def finish() -> None:
        body = _plain("\n".join(lines))
        if body:
            passages.append(Passage(title, heading or title, body))
        lines.clear()

    for number, line in enumerate(text.splitlines()):
        if line.strip() == "---" and (number == 0 or front):
            front = number == 0
            continue
        if _FENCE.match(line):
            fenced = not fenced
            continue
        if fenced or front:
            continue
        match = _HEADING.match(line)
        if match is None:
            lines.append(line)
            continue
        finish()
        heading = _plain(match[1])
        if title == page and not passages:
            title = heading or page
    finish()
    return tuple(passages)


def _plain(markdown: str) -> str:
    return " ".join(_DECORATION.sub(" ", _LINK.sub(r"\1", markdown)).split())


def _terms(text: str) -> list[str]:
    return [stem(word) for word in tokens(text) if word not in _STOP]


def _quote(text: str, asked: frozenset[str]) -> str:
    """The sentence that says most about `asked`, and the next one when both are short."""
    sentences = [s for s in _SENTENCE.split(text) if s]
    if not sentences:
        return ""
    hits = [len(asked & set(_terms(s))) for s in sentences]
    best = hits.index(max(hits))
    quote = sentences[best]
    if best + 1 < len(sentences) and len(quote) + len(sentences[best + 1]) < _MAX_QUOTE // 2:
        quote += " " + sentences[best + 1]
    if len(quote) > _MAX_QUOTE:
        quote = quote[:_MAX_QUOTE].rsplit(" ", 1)[0] + " …"
    return quote
