"""The readable file: intents, examples and answers, checked when it is read."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salon.base import ConfigurationError
from salon.providers.house.phrases import NotationError, expand
from salon.providers.house.slots import SLOTS

DEFAULT_PATH = Path(__file__).with_name("house.toml")
ACTIONS = frozenset(
    {"answer", "repeat", "book", "status", "cancel", "change", "affirm", "deny", "inform"}
)
_NEEDS_ANSWER = frozenset({"answer", "repeat", "affirm", "deny"})
_SLOT = re.compile(r"\{([^}]*)\}")
_AGENT_KEYS = {"name", "description", "suggestions", "unclear", "threshold"}
_INTENT_KEYS = {"name", "examples", "answers", "action", "needs", "off_topic"}


@dataclass(frozen=True, slots=True)
class Intent:
    """One thing a person may want. `sentences` are the examples written out; of the words in
    `needs` at least one must have been heard."""

    name: str
    sentences: tuple[str, ...]
    answers: tuple[str, ...] = ()
    action: str = "answer"
    needs: tuple[str, ...] = ()
    off_topic: bool = False


@dataclass(frozen=True, slots=True)
class House:
    """A checked file."""

    name: str
    description: str
    suggestions: tuple[str, ...]
    unclear: tuple[str, ...]
    threshold: float
    intents: Mapping[str, Intent]


def load(path: Path | None = None) -> House:
    """Read and check the file. Raises `ConfigurationError`: the file, the intent, what is wrong."""
    path = path or DEFAULT_PATH
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: is not valid TOML: {error}") from error
    return _Reader(path).house(data)


class _Reader:
    """Turns the decoded file into a `House`, naming what is wrong."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def house(self, data: Mapping[str, Any]) -> House:
        self._known(data, {"agent", "intent"}, "top level")
        agent = data.get("agent")
        if not isinstance(agent, dict):
            raise self._error("top level", "the table [agent] is missing")
        self._known(agent, _AGENT_KEYS, "[agent]")
        tables = data.get("intent")
        if not isinstance(tables, list) or not tables:
            raise self._error("top level", "there is no [[intent]]")
        intents: dict[str, Intent] = {}
        for number, table in enumerate(tables, 1):
            intent = self._intent(number, table)
            if intent.name in intents:
                raise self._error(f'intent "{intent.name}"', "the name is used twice")
            intents[intent.name] = intent
        threshold = agent.get("threshold", 0.55)
        if isinstance(threshold, bool) or not isinstance(threshold, int | float):
            raise self._error("[agent]", f"threshold must be a number, not {threshold!r}")
        if not 0 < threshold < 1:
            raise self._error("[agent]", f"threshold must be between 0 and 1, not {threshold!r}")
        return House(
            name=self._text(agent, "name", "[agent]"),
            description=self._text(agent, "description", "[agent]", ""),
            suggestions=self._texts(agent, "suggestions", "[agent]"),
            unclear=self._texts(agent, "unclear", "[agent]", least=1),
            threshold=float(threshold),
            intents=intents,
        )

    def _intent(self, number: int, table: Any) -> Intent:
        where = f"intent {number}"
        if not isinstance(table, dict):
            raise self._error(where, "must be a table: write [[intent]]")
        name = self._text(table, "name", where)
        where = f'intent "{name}"'
        self._known(table, _INTENT_KEYS, where)
        off_topic = table.get("off_topic", False)
        if not isinstance(off_topic, bool):
            raise self._error(where, f"off_topic must be true or false, not {off_topic!r}")
        action = self._text(table, "action", where, "answer")
        if action not in ACTIONS:
            known = ", ".join(sorted(ACTIONS))
            raise self._error(where, f'unknown action "{action}"; there are: {known}')
        least = 1 if action in _NEEDS_ANSWER and not off_topic else 0
        return Intent(
            name=name,
            sentences=self._sentences(self._texts(table, "examples", where, least=1), where),
            answers=self._texts(table, "answers", where, least=least),
            action=action,
            needs=self._texts(table, "needs", where),
            off_topic=off_topic,
        )

    def _sentences(self, examples: tuple[str, ...], where: str) -> tuple[str, ...]:
        sentences: dict[str, None] = {}
        for example in examples:
            for slot in _SLOT.findall(example):
                if slot not in SLOTS:
                    known = ", ".join(SLOTS)
                    raise self._error(
                        where, f'unknown slot {{{slot}}} in "{example}"; there are: {known}'
                    )
            try:
                sentences.update(dict.fromkeys(expand(example)))
            except NotationError as error:
                raise self._error(where, f'example "{example}": {error}') from error
        return tuple(sentences)

    def _known(self, table: Mapping[str, Any], keys: set[str], where: str) -> None:
        for key in table:
            if key not in keys:
                known = ", ".join(sorted(keys))
                raise self._error(where, f'unknown key "{key}"; there are: {known}')

    def _text(
        self, table: Mapping[str, Any], key: str, where: str, default: str | None = None
    ) -> str:
        value = table.get(key, default)
        if value is None:
            raise self._error(where, f'"{key}" is missing')
        if not isinstance(value, str) or (default is None and not value.strip()):
            raise self._error(where, f'"{key}" must be text, not {value!r}')
        return value

    def _texts(
        self, table: Mapping[str, Any], key: str, where: str, least: int = 0
    ) -> tuple[str, ...]:
        value = table.get(key, [])
        if not isinstance(value, list):
            raise self._error(where, f'"{key}" must be a list of texts, not {value!r}')
        for text in value:
            if not isinstance(text, str) or not text.strip():
                raise self._error(where, f'"{key}" holds {text!r}, which is not a text')
        if len(value) < least:
            raise self._error(where, f'"{key}" is missing or empty')
        return tuple(value)

    def _error(self, where: str, what: str) -> ConfigurationError:
        return ConfigurationError(f"{self._path}: {where}: {what}")
