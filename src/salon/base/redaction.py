"""Secrets never reach logs, lists or dumps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

MASK = "***"

_SECRET_KEY = re.compile(
    r"secret|passw(?:or)?d|passphrase|passcode|token|credential|cookie|authorization|signature"
    r"|(?:api|private|access|signing|encryption|auth)[_ -]?key|auth[_-]?code"
    r"|(?:^|[_. -])(?:o?auth|pwd|jwt|j?sessionid|phpsessid)$|(?-i:[a-z]Auth$)",
    re.IGNORECASE,
)
_HARMLESS_KEY = re.compile(r"(tokens_used|max_tokens|total_tokens|token_count)$", re.IGNORECASE)
_PLAIN_KEY = re.compile(r"(?:^|[_-])(?:(key|sig)|(pass)|(pin|otp|cvv|cvc))$", re.IGNORECASE)
"""Plain words: what stands under them is masked if it looks like a credential or a code."""
_ANY = re.compile("")
_CREDENTIAL = re.compile(r"(?=[^0-9]*[0-9])(?=[^A-Za-z]*[A-Za-z])[\w+=~-]{20,}", re.ASCII)
_PASS = re.compile(r"(?=[A-Za-z]*[^A-Za-z])\S{4,}")
_CODE = re.compile(r"\d{3,12}", re.ASCII)
_QUERY_SECRET = re.compile(
    r"(?i)([?&](?:[\w.-]{0,40}(?:api[_-]?key|token|secret|passw(?:or)?d|signature|credential)"
    r"|key|pwd|pass|sig|auth)=)[^&#\s]+"
)
_USER_INFO = re.compile(
    r'(://)(?:[^\s/?#@:"<>\\]*:[^\s/?#"<>\\]*|(?=[^\d\s/?#@]*\d)[\w~.+=%-]{20,})@', re.ASCII
)
"""Who logs in, in a URL: with a password, or a name that looks like a credential."""
_BEARER = re.compile(r"(?ai)\b(bearer|basic)\s+[a-z0-9._~+/=-]{6,}")
_KEY = re.compile(r"\b([sprk]k-)[A-Za-z0-9_-]{12,}")
"""Keys of the shape that services of the OpenAI kind issue, standing alone."""

_REMEMBERED = 64
"""Longer keys are looked at each time they come."""

_PAIRS = (("name", "value"), ("key", "value"), ("Name", "Value"), ("Key", "Value"))
"""How lists of headers and parameters call a name and its value."""


def is_secret_key(key: str) -> bool:
    """Whether a mapping key names something that must be masked."""
    return bool(_SECRET_KEY.search(key)) and not _HARMLESS_KEY.search(key)


def redact(value: Any) -> Any:
    """A copy of `value` (JSON-like) in which every value under a secret's key is masked; also in
    lists of pairs, and of maps with a name and a value."""
    if isinstance(value, Mapping):
        made = {
            key: MASK if isinstance(key, str) and _is_secret(key, item) else redact(item)
            for key, item in value.items()
        }
        for name, worth in _PAIRS:
            if worth in made and name in made and _names_secret(value[name], value[worth]):
                made[worth] = MASK
        return made
    if isinstance(value, list | tuple):
        return [_pair(item) or redact(item) for item in value]
    if isinstance(value, str):
        return redact_text(value)
    return value


def redact_text(text: str) -> str:
    """Mask credentials inside free text: in URLs, in authorization headers, and bare keys."""
    if "://" in text:
        text = _USER_INFO.sub(rf"\1{MASK}@", text)
    if "?" in text or "&" in text:
        text = _QUERY_SECRET.sub(rf"\1{MASK}", text)
    lower = text.lower()
    if "bearer" in lower or "basic" in lower:
        text = _BEARER.sub(rf"\1 {MASK}", text)
    return _KEY.sub(rf"\1{MASK}", text) if "k-" in text else text


def _is_secret(key: str, item: Any) -> bool:
    """Whether what stands under a key is a secret: yes or no is none, and nothing is none."""
    if not item or item is True:
        return False
    shape = (_shape if len(key) <= _REMEMBERED else _shape.__wrapped__)(key)
    if shape is None or shape is _ANY:
        return shape is _ANY
    return isinstance(item, str | int) and shape.fullmatch(str(item)) is not None


@lru_cache(maxsize=1024)
def _shape(key: str) -> re.Pattern[str] | None:
    """What a secret under this key looks like; None: there is none."""
    if is_secret_key(key):
        return _ANY
    plain = _PLAIN_KEY.search(key)
    if plain is None:
        return None
    return _CREDENTIAL if plain[1] else _PASS if plain[2] else _CODE


def _names_secret(name: Any, item: Any) -> bool:
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    return isinstance(name, str) and _is_secret(name, item)


def _pair(item: Any) -> list[Any] | None:
    """A name and its secret, as lists of headers have them."""
    if isinstance(item, list | tuple) and len(item) == 2 and _names_secret(item[0], item[1]):
        return [item[0], MASK]
    return None
