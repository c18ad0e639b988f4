"""Ids of requests (A44): when they began, and chance."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

LOG_ID_TIME_FORMAT: Final = "%Y%m%d%H%M%S"
LOG_ID_RANDOM_LENGTH: Final = 12
_ALPHABET: Final = string.ascii_letters + string.digits + "_-"


def _utc_now() -> datetime:
    return datetime.now(UTC)


def generate_log_id(
    now: Callable[[], datetime] = _utc_now, choice: Callable[[str], str] = secrets.choice
) -> str:
    """``YYYYMMDDHHMMSS_`` in UTC and 12 characters of ``A-Za-z0-9_-``, 27 in all (A44).

    `now` gives an aware time; `choice` takes one character of a string.
    """
    stamp = now().astimezone(UTC).strftime(LOG_ID_TIME_FORMAT)
    return f"{stamp}_{''.join(choice(_ALPHABET) for _ in range(LOG_ID_RANDOM_LENGTH))}"
