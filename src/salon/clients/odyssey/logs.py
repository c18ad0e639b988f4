"""Log records with the names and prefixes of the published client (O106)."""

from __future__ import annotations

import logging
from typing import Any, Final

CLIENT_LOGGER: Final = "odyssey.client"
_INTERNAL: Final = "odyssey._internal."
_LONGEST: Final = 200
"""Characters of a payload that a record shows: it may hold a whole picture."""


class Log:
    """Writes to ``odyssey._internal.<module>``, every text behind ``[<prefix>]``.

    Debug records exist only with `debug` and if logging is configured for them; errors always do.
    Arguments are formatted only for records that exist. Never give it a key or a token.
    """

    def __init__(self, module: str, prefix: str, *, debug: bool) -> None:
        self._log = logging.getLogger(CLIENT_LOGGER if module == "client" else _INTERNAL + module)
        self._prefix = f"[{prefix}] "
        self._debug = debug

    def debug(self, text: str, *arguments: Any) -> None:
        """What happens, step by step."""
        if self._debug:
            self._log.debug(self._prefix + text, *arguments)

    def warning(self, text: str, *arguments: Any) -> None:
        """Something went wrong that is made up for."""
        self._log.warning(self._prefix + text, *arguments)

    def error(self, text: str, *arguments: Any) -> None:
        """Something went wrong that the caller hears of too."""
        self._log.error(self._prefix + text, *arguments)


def shorten(text: str, limit: int = _LONGEST) -> str:
    """The beginning of a payload, and how long all of it is."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"
