"""Secrets never reach logs, lists or dumps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "***"

_SECRET_KEY = re.compile(
    r"(secret|password|passwd|token|api[_-]?key|authorization|credential|cookie)", re.IGNORECASE
)
_HARMLESS_KEY = re.compile(r"(tokens_used|max_tokens|total_tokens|token_count)$", re.IGNORECASE)
_QUERY_SECRET = re.compile(
    r"(?i)([?&](?:api[_-]?key|token|access_token|key|secret|password)=)[^&#\s]+"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{6,}")
_KEY = re.compile(r"\b([sprk]k-)[A-Za-z0-9_-]{12,}")
"""Keys of the shape that services of the OpenAI kind issue, standing alone."""


def is_secret_key(key: str) -> bool:
    """Whether a mapping key names something that must be masked."""
    return bool(_SECRET_KEY.search(key)) and not _HARMLESS_KEY.search(key)


def redact(value: Any) -> Any:
    """A copy of `value` (JSON-like) in which every value under a secret's key is masked."""
    if isinstance(value, Mapping):
        return {
            key: MASK if isinstance(key, str) and is_secret_key(key) and item else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    if isinstance(value, str):
        return redact_text(value)
    return value


def redact_text(text: str) -> str:
    """Mask credentials inside free text: in URLs, in authorization headers, and bare keys."""
    text = _QUERY_SECRET.sub(rf"\1{MASK}", text)
    return _KEY.sub(rf"\1{MASK}", _BEARER.sub(rf"\1 {MASK}", text))
