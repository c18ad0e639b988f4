"""Answers put together from their pieces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

KEPT: Final = 32
"""Answers whose text is kept."""


class Answers:
    """The text so far of the answers of a room. A piece says how many characters came `at` its
    front: what is known already is not added twice, and what was missed is counted as a gap."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._parts: dict[str, list[str]] = {}
        self._sizes: dict[str, int] = {}
        self.gaps = 0
        """Pieces before which something was missing."""

    def take(self, stream_id: str, at: int, delta: str) -> None:
        """Add a piece that begins `at` so many characters."""
        if stream_id not in self._parts:
            while len(self._parts) >= self._kept:
                oldest = next(iter(self._parts))
                del self._parts[oldest], self._sizes[oldest]
            self._parts[stream_id], self._sizes[stream_id] = [], 0
        size = self._sizes[stream_id]
        if at > size:
            self.gaps += 1
        elif at < size:
            delta = delta[size - at :]
        self._parts[stream_id].append(delta)
        self._sizes[stream_id] = max(at, size) + len(delta)

    def take_message(self, data: Mapping[str, Any]) -> None:
        """Add the piece in a ``stream_chunk``; one that lacks something is left out."""
        stream_id, at, delta = data.get("stream_id"), data.get("at"), data.get("delta")
        if isinstance(stream_id, str) and isinstance(delta, str):
            known = self._sizes.get(stream_id, 0)
            self.take(stream_id, at if isinstance(at, int) else known, delta)

    def text(self, stream_id: str) -> str:
        """All of it so far; empty if nothing is known of it, or not any more."""
        parts = self._parts.get(stream_id)
        if not parts:
            return ""
        parts[:] = ["".join(parts)]
        return parts[0]
