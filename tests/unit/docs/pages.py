"""The documentation as tests see it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
TOP = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "AGENTS.md",
    "llms.txt",
    "examples/README.md",
)
"""Texts outside the site."""


def read(name: str) -> str:
    """A file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    """The code blocks of one language in a page."""
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```", read(name), re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for block in found]


def pages() -> list[Path]:
    """Every page of the site."""
    return sorted(DOCS.rglob("*.md"))


def texts() -> list[str]:
    """Every page and every text outside the site, as names for `read`."""
    return [*TOP, *(page.relative_to(ROOT).as_posix() for page in pages())]


def code(language: str) -> list[tuple[str, str]]:
    """Every code block of one language, with the name of its page."""
    return [(name, block) for name in texts() for block in blocks(name, language)]
