"""Looking things up in a folder of Markdown (BM25 over the sections of its pages)."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from salon.base import ConfigurationError
from salon.providers.house.slots import DAYS
from salon.providers.house.words import stem, tokens

_log = logging.getLogger("salon.providers.house")
_HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*\s*$")
_TITLE = re.compile(r"^title\s*:\s*(.*?)\s*$", re.IGNORECASE)
_FENCE = re.compile(r"^\s*(```|~~~)")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_DECORATION = re.compile(
    r"[*`>|]|(?<!\w)_+|_+(?!\w)|<[^>]+>|^[ \t]*(?:[-+]|\d+\.)\s+", re.MULTILINE
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_ITEM = re.compile(
    r"^([ \t]*(?:[-+*]|\d+\.)\s.*[^\s.!?:;,])[ \t]*(?=\n[ \t]*(?:[-+*]|\d+\.)\s|\n[ \t]*\n|\Z)",
    re.MULTILINE,
)
_STOP = frozenset(
    {"a", "an", "the", "is", "are", "am", "be", "been", "was", "were", "i", "you", "it", "we",
     "they", "he", "she", "me", "my", "mine", "our", "your", "their", "his", "her", "its", "to",
     "of", "for", "on", "in", "into", "at", "and", "or", "but", "do", "does", "did", "done", "can",
     "could", "would", "will", "shall", "should", "may", "might", "must", "what", "how", "that",
     "this", "these", "those", "there", "here", "have", "has", "had", "having", "not", "no", "yes",
     "with", "if", "so", "then", "than", "who", "whom", "whose", "when", "where", "which", "why",
     "tell", "say", "show", "explain", "about", "please", "know", "want", "like", "more", "most",
     "much", "many", "less", "few", "little", "lot", "from", "by", "as", "us", "any", "some",
     "anything", "something", "someone", "anyone", "people", "get", "got", "bring", "take", "give",
     "allow", "allowed", "permit", "permitted", "possible", "ok", "okay", "just", "only", "also",
     "too", "very", "really", "now", "let", "go", "come", "need", "one", "thing", "things"}
)  # fmt: skip
_LIGHT = frozenset(
    stem(word)
    for word in ("leave", "put", "keep", "find", "use", "pay", "cost", "price", "charge", "buy",
                 "make", "work", "look", "see", "ask", "start", "begin", "long", "time", "way",
                 "closed", "today", "tomorrow", *DAYS)
)  # fmt: skip
"""Words that questions are made of: they count half where a page has them, and not otherwise."""
_UNKNOWN: Final = 0.35
"""How much a word counts that no page has, compared to one that a single section has."""
_LEAST: Final = 0.6
"""How much of a question's weight a section must cover."""
_HEADED: Final = 2.0
_NAMED: Final = 1.2
MAX_PAGES = 2000
MAX_PAGE_BYTES = 1_000_000
_MAX_QUOTE = 280


@dataclass(frozen=True, slots=True)
class Passage:
    """One section of a page. `names` are words that belong to the page without being read out: the
    name of its file."""

    page: str
    heading: str
    text: str
    names: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found: a short quote, the page it is from, the BM25 score, the share (0..1) of the
    question's content that the passage covers, the stems that they share and the weights of all
    stems of the question."""

    passage: Passage
    quote: str
    score: float
    coverage: float
    shared: frozenset[str]
    weights: Mapping[str, float]

    @property
    def named(self) -> int:
        """The number of words in the heading if the question is all of it and nothing else that
        the passage lacks; otherwise 0."""
        heading = frozenset(_terms(self.passage.heading))
        return len(heading) if self.coverage == 1.0 and heading <= self.shared else 0

    def share(self, terms: Iterable[str]) -> float:
        """How much (0..1) of the question's content `terms` are."""
        return sum(self.weights.get(t, 0.0) for t in terms) / sum(self.weights.values())


class Library:
    """The sections of all pages below one folder, indexed once."""

    def __init__(self, passages: tuple[Passage, ...]) -> None:
        self.passages = passages
        self._counts = [
            Counter(_terms(f"{p.names} {p.page} {p.heading} {p.text}")) for p in passages
        ]
        self._headings = [frozenset(_terms(p.heading)) for p in passages]
        self._pages = [frozenset(_terms(f"{p.names} {p.page}")) for p in passages]
        self._lengths = [sum(c.values()) for c in self._counts]
        self._mean = sum(self._lengths) / len(passages) if passages else 1.0
        spread = Counter(term for counts in self._counts for term in counts)
        total = len(passages)
        self._idf = {t: math.log(1 + (total - n + 0.5) / (n + 0.5)) for t, n in spread.items()}
        self._strange = _UNKNOWN * math.log(1 + (total + 0.5) / 0.5)

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
        is about, with two of its words, one that is in a title, or all there is in a question."""
        words = tokens(question)
        asked = tuple(dict.fromkeys(_terms(question)))
        if not asked or not self.passages:
            return None
        best = max(range(len(self.passages)), key=lambda n: (self._score(n, asked), -n))
        shared = frozenset(t for t in asked if t in self._counts[best])
        telling = shared - _LIGHT
        weights = {t: self._weight(t) for t in asked}
        total = sum(weights.values())
        if not total or not (telling or shared & self._headings[best]):
            return None
        coverage = sum(weights[t] for t in shared) / total
        titled = bool(shared & (self._headings[best] | self._pages[best]))
        whole = len(words) > 2 and coverage == 1.0
        if coverage < _LEAST or not (len(shared) > 1 or titled or whole):
            return None
        passage = self.passages[best]
        quote = self._quote(passage.text, shared - self._headings[best])
        if not quote:
            return None
        return Finding(passage, quote, self._score(best, asked), coverage, shared, weights)

    def headings(self) -> tuple[str, ...]:
        """Every page and heading once, in plain words."""
        named = (" ".join(tokens(t)) for p in self.passages for t in (p.page, p.heading))
        return tuple(dict.fromkeys(t for t in named if t))

    def _weight(self, term: str) -> float:
        known = self._idf.get(term)
        if term in _LIGHT:
            return 0.5 * known if known else 0.0
        return self._strange if known is None else known

    def _score(self, number: int, asked: tuple[str, ...]) -> float:
        counts, length = self._counts[number], self._lengths[number]
        score = 0.0
        for term in asked:
            n = counts[term]
            if n:
                norm = n + 1.2 * (0.25 + 0.75 * length / self._mean)
                headed = term in self._headings[number]
                boost = _HEADED if headed else _NAMED if term in self._pages[number] else 1.0
                score += boost * self._weight(term) * n * 2.2 / norm
        return score

    def _quote(self, text: str, sought: frozenset[str]) -> str:
        """The sentence that says most of `sought`, the first if none does, and the next one when
        both are short."""
        sentences = [s for s in _SENTENCE.split(text) if s]
        if not sentences:
            return ""
        hits = [sum(self._weight(t) for t in sought & set(_terms(s))) for s in sentences]
        best = hits.index(max(hits))
        quote = sentences[best]
        if best + 1 < len(sentences) and len(quote) + len(sentences[best + 1]) < _MAX_QUOTE // 2:
            quote += " " + sentences[best + 1]
        if len(quote) > _MAX_QUOTE:
            quote = quote[:_MAX_QUOTE].rsplit(" ", 1)[0] + " …"
        return quote


def split(text: str, file: str) -> tuple[Passage, ...]:
    """The sections of one Markdown page, code blocks left out. The page is named by the `title` of
    its front matter, else by its first heading of the first level, else by `file`."""
    lines = text.splitlines()
    front: list[str] = []
    if lines and lines[0].strip() == "---":
        end = next((n for n, line in enumerate(lines[1:], 1) if line.strip() == "---"), len(lines))
        front, lines = lines[1:end], lines[end + 1 :]
    titles = (match[1].strip("\"' ") for line in front if (match := _TITLE.match(line)))
    title = next((t for t in titles if t), "")
    heading = ""
    body: list[str] = []
    sections: list[tuple[str, str]] = []
    fenced = False
    for line in lines:
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced and (match := _HEADING.match(line)):
            sections.append((heading, _plain("\n".join(body))))
            body.clear()
            heading = _plain(match[2])
            title = title or (heading if len(match[1]) == 1 else "")
        elif not fenced:
            body.append(line)
    sections.append((heading, _plain("\n".join(body))))
    page = title or file
    return tuple(Passage(page, head or page, said, file) for head, said in sections if said)


def _plain(markdown: str) -> str:
    """Without decoration; each item of a list is a sentence."""
    said = _ITEM.sub(r"\1.", markdown)
    return " ".join(_DECORATION.sub(" ", _LINK.sub(r"\1", said)).split())


def _terms(text: str) -> list[str]:
    return [stem(word) for word in tokens(text) if word not in _STOP]
