"""When the words and sounds of synthesized speech are heard."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WordTime:
    """One word of a spoken text.

    `start_ms` and `end_ms` count from the first sample of the piece it belongs to; `offset` and
    `length` are its character range in that piece's text.
    """

    text: str
    start_ms: int
    end_ms: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class PhonemeTime:
    """One speech sound in IPA, timed like `WordTime`."""

    ipa: str
    start_ms: int
    end_ms: int
