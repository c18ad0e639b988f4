"""What is installed of Salon's extras, and under which licences, by the distributions' metadata."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Final

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")
_COPYLEFT = re.compile(r"\b[AL]?GPL", re.IGNORECASE)
_LONGEST: Final = 60

NOTES: Final = {
    "espeakng-loader": "holds eSpeak NG, GPL-3.0-or-later: mind it when you pass the whole on",
    "av": "holds FFmpeg, LGPL or GPL as it was built",
}
"""What the metadata of a distribution does not say about what it carries."""


@dataclass(frozen=True, slots=True)
class Licence:
    """One installed distribution. `note` is set where something is to be minded."""

    name: str
    version: str
    licence: str
    note: str = ""


def normal(name: str) -> str:
    """The name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(name: str) -> str | None:
    """The version of this distribution, None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def requirements(name: str = "salon") -> dict[str, tuple[str, ...]]:
    """The distributions that `name` names, by extra; "" for those it always needs.

    Platform markers are not judged. An extra that only joins others is empty.
    """
    found: dict[str, list[str]] = {}
    for line in _requires(name):
        match, extra = _NAME.match(line), _EXTRA.search(line)
        if match and normal(match[0]) != normal(name):
            found.setdefault(extra[1] if extra else "", []).append(match[0])
    return {extra: tuple(names) for extra, names in found.items()}


def _requires(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []


def licences() -> Iterator[Licence]:
    """Everything installed that the extras bring, also at second hand, by name."""
    waiting = [name for names in requirements().values() for name in names]
    seen: set[str] = set()
    while waiting:
        name = normal(waiting.pop())
        if name not in seen and installed(name) is not None:
            seen.add(name)
            waiting += requirements(name).get("", ())
    for name in sorted(seen):
        yield licence_of(name)


def licence_of(name: str) -> Licence:
    """The licence that the metadata names; "unknown" if it names none."""
    about = metadata.metadata(name).json
    said = _stated(about)
    note = NOTES.get(normal(name), "")
    if not note and _COPYLEFT.search(said):
        note = "copyleft"
    return Licence(normal(name), metadata.version(name), said, note)


def _stated(about: Mapping[str, str | list[str]]) -> str:
    expression = about.get("license_expression")
    if expression:
        return str(expression)
    classified = [
        line.rpartition(" :: ")[2]
        for line in about.get("classifier") or ()
        if line.startswith("License :: ") and not line.endswith("OSI Approved")
    ]
    if classified:
        return ", ".join(classified)
    text = str(about.get("license") or "").strip().partition("\n")[0]
    return text[:_LONGEST] or "unknown"
