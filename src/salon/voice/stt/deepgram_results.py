"""Deepgram's answers, read: a stream's ``Results`` and the reply to a recording."""

from __future__ import annotations

import json
from typing import Any

from salon.voice.stt.result import SpeakerSegment, TranscriptionResult, speaker_label


def read_results(message: dict[str, Any], *, diarized: bool) -> TranscriptionResult:
    """A message of type ``Results``. `ValueError` for garbage."""
    is_final = message.get("is_final")
    if is_final is not None and not isinstance(is_final, bool):
        raise ValueError("is_final is neither true nor false")
    return _read_channel(message.get("channel"), is_final=bool(is_final), diarized=diarized)


def read_reply(body: bytes, *, diarized: bool) -> TranscriptionResult:
    """The whole reply to a recording of one channel. `ValueError` for garbage."""
    try:
        channel = json.loads(body)["results"]["channels"][0]
    except (KeyError, TypeError, IndexError, RecursionError) as error:
        raise ValueError("no channel in the reply") from error
    return _read_channel(channel, is_final=True, diarized=diarized)


def _read_channel(channel: Any, *, is_final: bool, diarized: bool) -> TranscriptionResult:
    try:
        best = channel["alternatives"][0]
        text = best["transcript"]
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError("no transcript in the result") from error
    if not isinstance(text, str):
        raise ValueError("the transcript is no text")
    found = best.get("words")
    words = [word for word in found if isinstance(word, dict)] if isinstance(found, list) else []
    confidence = best.get("confidence")
    sure = isinstance(confidence, int | float) and not isinstance(confidence, bool) and text
    return TranscriptionResult(
        text.strip(),
        is_final,
        min(1.0, max(0.0, float(confidence))) if sure else None,
        _language(channel, best),
        words,
        segments=_segments(words) if diarized and is_final else [],
    )


def _language(channel: dict[str, Any], best: dict[str, Any]) -> str | None:
    """What was found out about the language; nothing where the request fixed it (V231)."""
    found = best.get("languages")
    first = found[0] if isinstance(found, list) and found else channel.get("detected_language")
    return first if isinstance(first, str) and first else None


def _segments(words: list[dict[str, Any]]) -> list[SpeakerSegment]:
    """Neighbouring words of one speaker, as one."""
    segments: list[SpeakerSegment] = []
    for word in words:
        text = word.get("punctuated_word") or word.get("word")
        if not isinstance(text, str):
            continue
        who = speaker_label(word.get("speaker"))
        start, end = _ms(word.get("start")), _ms(word.get("end"))
        if segments and segments[-1].speaker == who:
            last = segments.pop()
            text, start = f"{last.text} {text}", last.start_ms
            end = last.end_ms if end is None else end
        segments.append(SpeakerSegment(who, text, start, end))
    return segments


def _ms(seconds: Any) -> int | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return round(seconds * 1000) if 0 <= seconds < 1e9 else None
