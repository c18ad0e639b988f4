"""Idempotency keys from HTTP and text sockets: each caller has a space of their own, the same on
both ways."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from salon.base import Principal

PREFIX: Final = "rest:"
_STORED: Final = re.compile(r"rest:[0-9a-f]{16}:(.+)", re.DOTALL)


def scoped_key(principal: Principal, participant_id: str | None, key: str | None) -> str | None:
    """The key as it is stored. The core tells keys apart by room and channel only (R195), and
    many callers write through one channel."""
    if key is None:
        return None
    owner = f"{principal.id}\0{participant_id or ''}".encode("utf-8", "surrogatepass")
    return f"{PREFIX}{hashlib.sha256(owner).hexdigest()[:16]}:{key}"


def shown_key(stored: str | None) -> str | None:
    """The key as its caller gave it."""
    found = None if stored is None else _STORED.fullmatch(stored)
    return stored if found is None else found[1]
