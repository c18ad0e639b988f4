"""The recordings of a room: WAV files below ``recordings/<room>/``."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from salon.base import PolicyError, resolve_below, safe_name

_MOST = 500


@dataclass(frozen=True, slots=True)
class Recording:
    """One file. `started_at` is its end (the time it was last written) minus its length."""

    id: str
    started_at: datetime
    duration_ms: int
    bytes: int


class Recordings:
    """Lists and finds recordings below `root`. Blocking file access: call it in a thread."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, room_id: str) -> Path:
        """Where the recordings of a room are."""
        return resolve_below(self._root, safe_name(room_id))

    def list(self, room_id: str) -> list[Recording]:
        """Newest first, at most 500; files that are no WAV are left out."""
        try:
            folder = self.folder(room_id)
        except PolicyError:
            return []
        if not folder.is_dir():
            return []
        found = [_read(file) for file in folder.glob("*.wav")]
        whole = [item for item in found if item is not None]
        return sorted(whole, key=lambda item: item.started_at, reverse=True)[:_MOST]

    def find(self, room_id: str, recording_id: str) -> Path | None:
        """The file of a recording, or None."""
        try:
            file = resolve_below(self.folder(room_id), f"{safe_name(recording_id)}.wav")
        except PolicyError:
            return None
        return file if file.is_file() else None


def _read(file: Path) -> Recording | None:
    try:
        status = file.stat()
        with wave.open(str(file), "rb") as sound:
            frame = sound.getnchannels() * sound.getsampwidth()
            # a recording under way has no length in its header yet, so the file's size counts
            frames = max(0, status.st_size - 44) // frame
            duration = frames * 1000 // sound.getframerate()
    except (OSError, EOFError, wave.Error, ZeroDivisionError):
        return None
    ended = datetime.fromtimestamp(status.st_mtime, UTC)
    started = ended - timedelta(milliseconds=duration)
    return Recording(file.stem, started, duration, status.st_size)
