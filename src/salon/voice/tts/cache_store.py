"""Where finished speech is kept: memory, and optionally a directory.

A file is named by the hash of what was asked and holds neither the text nor its words: sound, and
where in the text each word is.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

import numpy as np

from salon.base import ConfigurationError
from salon.media.frame import Samples
from salon.media.timing import PhonemeTime, WordTime

_MAGIC: Final = b"SALONTTS1"
_HEAD: Final = struct.Struct("<I16s")
_SUFFIX: Final = ".speech"
_TIME_BYTES: Final = 160
"""What a word or phoneme costs in memory, about."""
_ENTRY_BYTES: Final = 400


@dataclass(frozen=True, slots=True, eq=False)
class CachedPiece:
    """One whole piece: ``int16[n]`` 16 kHz, not to be written to, and its times."""

    samples: Samples
    words: tuple[WordTime, ...] = ()
    phonemes: tuple[PhonemeTime, ...] = ()

    @property
    def size(self) -> int:
        """Bytes in memory, about."""
        times = len(self.words) + len(self.phonemes)
        return self.samples.nbytes + times * _TIME_BYTES + _ENTRY_BYTES


class MemoryStore:
    """The pieces used last, up to `max_bytes` in all."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.evicted = 0
        self._pieces: OrderedDict[str, CachedPiece] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pieces)

    def get(self, key: str) -> CachedPiece | None:
        """The piece, which is now the one used last."""
        piece = self._pieces.get(key)
        if piece is not None:
            self._pieces.move_to_end(key)
        return piece

    def put(self, key: str, piece: CachedPiece) -> None:
        """Keep it, in the place of those not used for longest; one over `max_bytes` is not."""
        self._drop(key)
        if piece.size > self.max_bytes:
            return
        self._pieces[key] = piece
        self.bytes += piece.size
        while self.bytes > self.max_bytes:
            self._drop(next(iter(self._pieces)))
            self.evicted += 1

    def clear(self) -> None:
        """Forget all."""
        self._pieces.clear()
        self.bytes = 0

    def _drop(self, key: str) -> None:
        old = self._pieces.pop(key, None)
        if old is not None:
            self.bytes -= old.size


class DiskStore:
    """The same in `directory`, up to `max_bytes`; calls block and belong in a thread.

    Files appear whole or not at all, readable by their owner only. One that is damaged is deleted
    and counted. Several processes may share a directory.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.damaged = 0
        self.evicted = 0
        self._directory = directory
        self._bytes: int | None = None

    def open(self) -> None:
        """Make the directory. `ConfigurationError` if that fails."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._bytes = sum(size for _, size, _ in self._files())
        except OSError as error:
            raise ConfigurationError(
                f"the speech cache cannot use {self._directory}: {error}"
            ) from (error)

    def get(self, key: str, text: str) -> CachedPiece | None:
        """The piece for `text`, which gives the words their letters."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        try:
            piece = _decode(data, text)
        except (ValueError, KeyError, TypeError, IndexError, struct.error):
            self.damaged += 1
            self._remove(path, len(data))
            return None
        with suppress(OSError):
            os.utime(path)
        return piece

    def put(self, key: str, piece: CachedPiece) -> bool:
        """Write it; False if the disk refused or it is over `max_bytes`."""
        data = _encode(piece)
        if len(data) > self.max_bytes:
            return False
        path = self._path(key)
        name = ""
        try:
            handle, name = tempfile.mkstemp(dir=self._directory, suffix=".part")
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(name).replace(path)
        except OSError:
            with suppress(OSError):
                Path(name).unlink()
            return False
        self._bytes = (self._bytes or 0) + len(data)
        if self._bytes > self.max_bytes:
            self._shrink()
        return True

    def _path(self, key: str) -> Path:
        return self._directory / f"{key}{_SUFFIX}"

    def _files(self) -> list[tuple[float, int, Path]]:
        found = []
        for entry in os.scandir(self._directory):
            if entry.name.endswith(_SUFFIX) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    state = entry.stat()
                    found.append((state.st_mtime, state.st_size, Path(entry.path)))
        return found

    def _shrink(self) -> None:
        """Delete the files not used for longest, down to nine tenths."""
        files = sorted(self._files())
        self._bytes = sum(size for _, size, _ in files)
        for _, size, path in files:
            if self._bytes <= self.max_bytes * 0.9:
                return
            self._remove(path, size)
            self.evicted += 1

    def _remove(self, path: Path, size: int) -> None:
        with suppress(OSError):
            path.unlink()
            self._bytes = max(0, (self._bytes or 0) - size)


def _encode(piece: CachedPiece) -> bytes:
    head = json.dumps(
        {
            "words": [[w.start_ms, w.end_ms, w.offset, w.length] for w in piece.words],
            "phonemes": [[p.ipa, p.start_ms, p.end_ms] for p in piece.phonemes],
        },
        ensure_ascii=False,
    ).encode()
    body = head + piece.samples.astype("<i2", copy=False).tobytes()
    return _MAGIC + _HEAD.pack(len(head), blake2b(body, digest_size=16).digest()) + body


def _decode(data: bytes, text: str) -> CachedPiece:
    """`ValueError` and its kin for anything that `_encode` did not write."""
    if not data.startswith(_MAGIC):
        raise ValueError("not a piece of speech")
    length, digest = _HEAD.unpack_from(data, len(_MAGIC))
    body = data[len(_MAGIC) + _HEAD.size :]
    if blake2b(body, digest_size=16).digest() != digest:
        raise ValueError("the sum does not match")
    head = json.loads(body[:length])
    samples = np.frombuffer(body[length:], dtype="<i2").astype(np.int16)
    words = tuple(
        WordTime(text[offset : offset + size], int(start), int(end), int(offset), int(size))
        for start, end, offset, size in head["words"]
    )
    phonemes = tuple(
        PhonemeTime(str(ipa), int(start), int(end)) for ipa, start, end in head["phonemes"]
    )
    return CachedPiece(samples, words, phonemes)
