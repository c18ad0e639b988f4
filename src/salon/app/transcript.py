"""A timeline as a text that people read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any


def transcript_lines(events: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """One line per message: time, speaker, words; what was cut off says so."""
    for event in events:
        content = event.get("content") or {}
        if event.get("type") != "message" or content.get("type") != "text":
            continue
        metadata = event.get("metadata") or {}
        cut = " [interrupted]" if metadata.get("interrupted") else ""
        words = " ".join(str(content.get("body", "")).split())
        yield f"[{_time(event.get('created_at'))}] {speaker_of(event)}: {words}{cut}\n"


def speaker_of(event: Mapping[str, Any]) -> str:
    """The name to show for an event's source."""
    source = event.get("source") or {}
    metadata = event.get("metadata") or {}
    for name in (
        metadata.get("sender_name"),
        source.get("participant_name"),
        source.get("participant_id"),
        source.get("channel_id"),
    ):
        if name:
            return " ".join(str(name).split())
    return "unknown"


def _time(value: object) -> str:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return str(value)
    return f"{moment:%Y-%m-%d %H:%M:%S}" if isinstance(moment, datetime) else "-"
