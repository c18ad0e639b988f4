"""Who is asking: the outcome of checking a credential."""

from __future__ import annotations

import hmac
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated caller. `kind` is ``"local"`` (loopback, no key set) or ``"key"``."""

    id: str
    kind: str


LOCAL = Principal("local", "local")


def keys_equal(given: str, expected: str) -> bool:
    """Compare two credentials without telling by timing where they differ."""
    return hmac.compare_digest(
        given.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass")
    )
