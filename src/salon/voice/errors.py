"""Exceptions of the voice package.

SalonError
└── SpeechError        a recognition or synthesis engine failed; `engine` names it
"""

from __future__ import annotations

from salon.base.errors import SalonError


class SpeechError(SalonError):
    """A speech engine failed on one utterance or piece; the call goes on."""

    code = "speech"

    def __init__(self, engine: str, message: str) -> None:
        self.engine = engine
        super().__init__(f"{engine}: {message}")
