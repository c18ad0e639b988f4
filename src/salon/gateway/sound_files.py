"""A folder of sound, 16 kHz mono PCM as ``<key>.pcm``, that is kept below a size (G219)."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from salon.base import safe_name
from salon.base.files import private_folder
from salon.media.frame import Samples

_log = logging.getLogger("salon.gateway")

KEY_CHARS = 200
_SUFFIX = ".pcm"
_UNFINISHED = ".new"
_ABANDONED_S = 3600.0
_TARGET = 0.9
"""A folder that is too large is emptied down to this part of its size."""


@dataclass(slots=True)
class SoundFiles:
    """What was used last stays longest. A file is there whole or not at all. A folder that cannot
    be read or written costs the cache, not the call: that is logged."""

    folder: Path
    max_bytes: int
    hits: int = 0
    misses: int = 0
    _size: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def path(self, key: str) -> Path:
        """The file of a key, which may come from outside."""
        return self.folder / (safe_name(key, limit=KEY_CHARS) + _SUFFIX)

    async def has(self, key: str) -> bool:
        """Whether there is sound under `key`."""
        return await asyncio.to_thread(self.path(key).is_file)

    async def get(self, key: str, *, newer_than: float = 0.0) -> Samples | None:
        """The sound under `key`, unless it was stored before `newer_than` (epoch seconds)."""
        found = await asyncio.to_thread(self._get, key, newer_than)
        if found is None:
            self.misses += 1
        else:
            self.hits += 1
        return found

    async def put(self, key: str, samples: Samples) -> bool:
        """Keep the sound; False if it could not be kept or is larger than the whole cache."""
        return await asyncio.to_thread(self._put, key, samples)

    def _get(self, key: str, newer_than: float) -> Samples | None:
        path = self.path(key)
        try:
            # the time of change is when it was stored, that of access when it was last of use
            state = path.stat()
            if state.st_mtime < newer_than:
                return None
            data = path.read_bytes()
            os.utime(path, ns=(time.time_ns(), state.st_mtime_ns))
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("the media cache cannot be read: %s", error.strerror)
            return None
        return np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2").astype(np.int16)

    def _put(self, key: str, samples: Samples) -> bool:
        data = samples.astype("<i2").tobytes()
        if len(data) > self.max_bytes:
            return False
        try:
            with self._lock:
                self._write(self.path(key), data)
        except OSError as error:
            _log.warning("the media cache cannot be written: %s", error.strerror)
            return False
        return True

    def _write(self, path: Path, data: bytes) -> None:
        private_folder(self.folder)
        if self._size is None:
            self._size = sum(size for _, size, _ in self._files())
            self._clear()
        replaced = path.stat().st_size if path.exists() else 0
        handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=_UNFINISHED)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
        self._size += len(data) - replaced
        if self._size > self.max_bytes:
            self._size = self._shrink(path)

    def _files(self) -> list[tuple[int, int, Path]]:
        """Last use, size and path of each file."""
        found = []
        for path in self.folder.glob("*" + _SUFFIX):
            try:
                state = path.stat()
            except OSError:
                continue
            found.append((max(state.st_atime_ns, state.st_mtime_ns), state.st_size, path))
        return found

    def _clear(self) -> None:
        """What a process that broke down was writing."""
        for path in self.folder.glob(".*" + _UNFINISHED):
            if path.stat().st_mtime < time.time() - _ABANDONED_S:
                path.unlink(missing_ok=True)

    def _shrink(self, keep: Path) -> int:
        files = sorted(self._files())
        size = sum(file[1] for file in files)
        for _, length, path in files:
            if size <= self.max_bytes * _TARGET:
                break
            if path != keep:
                path.unlink(missing_ok=True)
                size -= length
        return size
