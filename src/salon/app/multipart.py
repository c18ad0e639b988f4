"""A `multipart/form-data` body that is read from files piece by piece, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from salon.base import new_id

PIECE: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class TextPart:
    """Content that is at hand."""

    name: str
    file_name: str
    content_type: str
    data: bytes

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.data)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The content."""
        yield self.data


@dataclass(frozen=True, slots=True)
class FilePart:
    """The first `size` bytes of a file."""

    name: str
    file_name: str
    content_type: str
    path: Path
    size: int

    def pieces(self) -> AsyncIterator[bytes]:
        """The content; `OSError` if the file is shorter by now."""
        return read_pieces(self.path, self.size)


class Multipart:
    """One form. `headers` give its type and length."""

    def __init__(self, parts: Sequence[TextPart | FilePart]) -> None:
        self._parts = tuple(parts)
        self._boundary = new_id()
        self._heads = tuple(self._head(part) for part in parts)
        self._tail = f"--{self._boundary}--\r\n".encode()
        size = len(self._tail)
        for head, part in zip(self._heads, self._parts, strict=True):
            size += len(head) + part.size + 2
        self.headers = {
            "content-type": f"multipart/form-data; boundary={self._boundary}",
            "content-length": str(size),
        }

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body; it may be read again."""
        for head, part in zip(self._heads, self._parts, strict=True):
            yield head
            async for piece in part.pieces():
                yield piece
            yield b"\r\n"
        yield self._tail

    def _head(self, part: TextPart | FilePart) -> bytes:
        return (
            f"--{self._boundary}\r\nContent-Disposition: form-data; "
            f'name="{_quoted(part.name)}"; filename="{_quoted(part.file_name)}"\r\n'
            f"Content-Type: {part.content_type}\r\n\r\n"
        ).encode()


async def read_pieces(path: Path, size: int) -> AsyncIterator[bytes]:
    """The first `size` bytes of a file, which may grow meanwhile; `OSError` if it is shorter."""
    file: BinaryIO = await asyncio.to_thread(path.open, "rb")
    try:
        while size:
            piece = await asyncio.to_thread(file.read, min(size, PIECE))
            if not piece:
                raise OSError(5, "the file became shorter", str(path))
            size -= len(piece)
            yield piece
    finally:
        file.close()


def _quoted(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
