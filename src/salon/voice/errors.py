"""Exceptions of the voice package.

SalonError
└── SpeechError        a recognition or synthesis engine failed; `engine` names it
"""

from __future__ import annotations

import re
from typing import Final

from salon.base.errors import SalonError
from salon.base.redaction import MASK, redact_text

SAID_CHARS: Final = 300
"""Of what an engine says about its failure."""
_ADDRESS: Final = re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://[^\s?#'\"<>)]*[?#])[^\s'\"<>)]+", re.I)
_TOKEN: Final = re.compile(r"(?=[\w+=~-]*\d)(?=[\w+=~-]*[A-Za-z])[\w+=~-]{24,}", re.ASCII)


def describe(said: str) -> str:
    """What an engine says about its failure, as it may be told to hooks, listeners and clients: one
    line, without credentials, what looks like one, and the queries of addresses."""
    text = _ADDRESS.sub(rf"\1{MASK}", redact_text(" ".join(said.split())))
    return _TOKEN.sub(MASK, text)[:SAID_CHARS]


class SpeechError(SalonError):
    """A speech engine failed on one utterance or piece; the call goes on. The message is told as
    `describe` leaves it."""

    code = "speech"

    def __init__(self, engine: str, message: str) -> None:
        self.engine = engine
        super().__init__(f"{engine}: {describe(message)}")
