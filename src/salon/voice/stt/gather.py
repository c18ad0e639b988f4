"""The results of one stream become one text."""

from __future__ import annotations

import math
from typing import Any

from salon.media.timing import WordTime
from salon.voice.errors import SpeechError
from salon.voice.stt.base import Transcription
from salon.voice.stt.result import SpeakerSegment, TranscriptionResult, speaker_label

MAX_CHARS = 100_000
"""More text than this in one utterance is garbage."""


class Gathered:
    """Final results in order, and the newest interim one. Garbage is `SpeechError`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._text = ""
        self._partial = ""
        self._confidence: list[float] = []
        self._language: str | None = None
        self._words: list[WordTime] = []
        self._segments: list[SpeakerSegment] = []

    def add(self, result: Any) -> Transcription | None:
        """Take an answer; for an interim one, all the text so far."""
        if not isinstance(result, TranscriptionResult) or not isinstance(result.text, str):
            raise SpeechError(self._name, f"answered {type(result).__name__}, no transcription")
        text = result.text.strip()
        if len(self._text) + len(text) > MAX_CHARS:
            raise SpeechError(self._name, f"answered over {MAX_CHARS} characters")
        if isinstance(result.language, str) and result.language:
            self._language = result.language
        if not result.is_final:
            if result.is_speech_start and not text:
                return None
            self._partial = text
            return Transcription(
                _spaced(self._text, text), False, _probability(result.confidence), self._language
            )
        self._partial = ""
        if text:
            self._take(result, text)
        return None

    def _take(self, result: TranscriptionResult, text: str) -> None:
        before = len(_spaced(self._text, ".")) - 1
        self._text = _spaced(self._text, text)
        self._words += _words(text, before, result.words)
        self._segments += _segments(result.segments)
        if (confidence := _probability(result.confidence)) is not None:
            self._confidence.append(confidence)

    def result(self) -> Transcription:
        """All of it; an interim result that no final one followed counts as said."""
        return Transcription(
            _spaced(self._text, self._partial),
            is_final=True,
            confidence=min(self._confidence, default=None),
            language=self._language,
            words=tuple(self._words),
            segments=tuple(self._segments),
        )


def _spaced(before: str, text: str) -> str:
    return f"{before} {text}" if before and text else before or text


def _probability(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return min(1.0, max(0.0, float(value)))


def _words(text: str, before: int, found: Any) -> list[WordTime]:
    """Times in seconds under ``start`` and ``end``; a word that is not in the text is left out."""
    words: list[WordTime] = []
    at = 0
    for item in found if isinstance(found, list) else ():
        if not isinstance(item, dict):
            continue
        start, end = item.get("start"), item.get("end")
        spelled = (item.get(key) for key in ("punctuated_word", "word", "text"))
        names = [name.strip() for name in spelled if isinstance(name, str) and name.strip()]
        if not isinstance(start, int | float) or not isinstance(end, int | float):
            continue
        if not (math.isfinite(start) and math.isfinite(end)):
            continue
        for name in names:
            offset = text.find(name, at)
            if offset >= 0:
                at = offset + len(name)
                times = round(start * 1000), round(end * 1000)
                words.append(WordTime(name, *times, before + offset, len(name)))
                break
    return words


def _segments(found: Any) -> list[SpeakerSegment]:
    return [
        SpeakerSegment(speaker_label(one.speaker), one.text, one.start_ms, one.end_ms)
        for one in (found if isinstance(found, list) else ())
        if isinstance(one, SpeakerSegment) and isinstance(one.text, str)
    ]
