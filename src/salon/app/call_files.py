"""The calls of which there is an events file, as `GET /api/records` lists them (G210)."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pydantic_core import from_json

from salon.base import safe_name
from salon.gateway.events import rfc3339
from salon.gateway.journal import ROOMS, SUFFIX

MOST: Final = 500
_TAIL: Final = 64 * 1024
"""Bytes at both ends of a file that are looked at."""
_LIVE: Final = "active"
_ENDED: Final = "completed"
_FAILED: Final = "failed"


@dataclass(frozen=True, slots=True)
class CallFile:
    """One events file. `id` is the id of the call, or what its file name made of it if the call
    was cut before it could say. `status` is ``active``, ``completed`` or ``failed`` (also for a
    call that a crash cut)."""

    id: str
    started_at: float
    duration_s: float
    status: str
    path: Path

    def row(self) -> dict[str, str]:
        """The entry of the list."""
        return {
            "id": self.id,
            "date": rfc3339(self.started_at),
            "duration": f"{self.duration_s:.0f}s",
            "status": self.status,
        }


class CallFiles:
    """Lists and finds events files below `root`. `in_use` gives the files of live calls. Blocking
    file access: call it in a thread."""

    def __init__(self, root: Path, in_use: Callable[[], Collection[Path]] = frozenset) -> None:
        self._root = root.resolve()
        self._in_use = in_use

    def list(self, limit: int = MOST) -> list[dict[str, str]]:
        """Newest first, at most `limit`."""
        newest = sorted(self._found(), reverse=True)[: max(limit, 0)]
        files = [file for _, path in newest if (file := self._read(Path(path))) is not None]
        files.sort(key=lambda file: file.started_at, reverse=True)
        return [file.row() for file in files]

    def find(self, call_id: str) -> Path | None:
        """The events file of a call, or None."""
        name = f"{safe_name(call_id)}{SUFFIX}"
        for path in (self._root / name, *self._rooms(name)):
            if _is_file(path):
                return path
        return None

    def _rooms(self, name: str) -> Iterator[Path]:
        with suppress(OSError), os.scandir(self._root / ROOMS) as rooms:
            for room in rooms:
                if room.is_dir(follow_symlinks=False):
                    yield Path(room.path) / name

    def _found(self) -> Iterator[tuple[float, str]]:
        """When each was written last, and where it is."""
        yield from _events_files(self._root)
        for folder in self._rooms("."):
            yield from _events_files(folder)

    def _read(self, path: Path) -> CallFile | None:
        try:
            with path.open("rb") as file:
                head = file.read(_TAIL)
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL))
                tail = file.read()
        except OSError:
            return None
        entries = (_entry(line) for line in reversed(tail.splitlines()))
        newest = next((entry for entry in entries if entry is not None), None)
        if newest is None:
            return None
        last, event = newest
        oldest = next(filter(None, map(_entry, head.splitlines())), newest)
        began, stem = oldest[0], path.name.removesuffix(SUFFIX)
        if event.get("event") == "hangup":
            return _ended(path, stem, event, began, last)
        status = _LIVE if path in self._in_use() else _FAILED
        return CallFile(stem, began, max(0.0, last - began), status, path)


def _events_files(folder: Path) -> Iterator[tuple[float, str]]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    yield entry.stat(follow_symlinks=False).st_mtime, entry.path


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _entry(line: bytes) -> tuple[float, dict[str, Any]] | None:
    """When a line was written, and its event or command."""
    try:
        entry = from_json(line)
        content = from_json(entry["content"])
        at = entry["timestamp"] / 1000
    except (ValueError, TypeError, KeyError):
        return None
    return (at, content) if isinstance(content, dict) else None


def _ended(path: Path, stem: str, hangup: dict[str, Any], first: float, last: float) -> CallFile:
    """A call that said goodbye; of several in one file the last."""
    call_id = hangup.get("trackId")
    if not isinstance(call_id, str) or safe_name(call_id) != stem:
        call_id = stem
    began = _seconds(hangup.get("startTime"), first)
    ended = _seconds(hangup.get("hangupTime"), last)
    status = _FAILED if hangup.get("reason") == "failed" else _ENDED
    return CallFile(call_id, began, max(0.0, ended - began), status, path)


def _seconds(stamp: Any, otherwise: float) -> float:
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except (TypeError, ValueError):
        return otherwise
