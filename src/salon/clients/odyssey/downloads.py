"""Fetching the files of a recording: resumable, bounded, and from ``http(s)`` only (O88, O91)."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import aiohttp

from salon.base import PolicyError, UrlPolicy, redact_text
from salon.clients.odyssey.errors import (
    InvalidReplyError,
    RequestError,
    UnreachableError,
    plain_text,
)

MAX_DOWNLOAD: Final = 4 * 1024**3
"""Largest file that is fetched unless the caller says otherwise, bytes."""
_PIECE: Final = 1024 * 1024
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_WHOLE: Final = re.compile(r"bytes \*/(\d+)")
_POLICY: Final = UrlPolicy(allow_private=True)
"""A service of one's own is often on a private address."""

Progress = Callable[[int, int | None], None]
"""Told the bytes that are there, and how many there will be, None if nobody said."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What an earlier attempt left: the bytes, and which version of the file they are of."""

    path: Path
    tag_path: Path

    @classmethod
    def of(cls, path: Path) -> _Part:
        return cls(path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.tag"))

    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def tag(self) -> str:
        """The ETag it was begun under; "" if there was none, and then it can't be resumed."""
        if not self.tag_path.is_file():
            return ""
        return self.tag_path.read_text("ascii", "replace")[:200].strip()

    def open(self, tag: str, *, behind: bool) -> BinaryIO:
        """The file to write to: behind what is there, or a new one of that version."""
        if behind:
            return self.path.open("ab")
        self.tag_path.write_text(tag, "ascii", "replace")
        return self.path.open("wb")

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)
        self.tag_path.unlink(missing_ok=True)

    def finish(self, path: Path) -> None:
        self.path.replace(path)
        self.tag_path.unlink(missing_ok=True)


async def download(
    http: aiohttp.ClientSession,
    url: str,
    path: Path,
    *,
    max_bytes: int = MAX_DOWNLOAD,
    progress: Progress | None = None,
) -> int:
    """Fetch `url` into the file `path` and return its size in bytes.

    Bytes gather in ``<path>.part``; another call after a failure goes on behind them if the server
    still has the same file (its ETag says so), else it begins again. `path` appears only when all
    is there. `http` must carry no credentials: presigned addresses need none.

    Raises `RequestError` for an address that is not ``http(s)``, more than `max_bytes`, and 4xx
    (the address is good for an hour only); `UnreachableError` if the connection is lost;
    `InvalidReplyError` for a range that was not asked for.
    """
    try:
        _POLICY.check(url)
    except PolicyError as error:
        raise RequestError(f"the address of the file can't be used: {error}") from None
    part = _Part.of(path)
    try:
        had = await asyncio.to_thread(part.size)
        tag = await asyncio.to_thread(part.tag) if had else ""
        headers = {"Range": f"bytes={had}-", "If-Range": tag} if tag else {}
        async with http.get(
            url, headers={"Accept-Encoding": "identity", **headers}, timeout=_TIMEOUT
        ) as reply:
            done = tag and reply.status == 416 and _is_all(reply.headers, had)
            again = tag and reply.status == 416 and not done
            if not done and not again:
                await _take(reply, part, had if tag else 0, max_bytes, progress)
    except (aiohttp.ClientError, TimeoutError) as error:
        text = redact_text(plain_text(error))
        raise UnreachableError(f"the download broke off: {text}; try again to go on") from error
    if again:  # what is there is longer than the file
        await asyncio.to_thread(part.drop)
        return await download(http, url, path, max_bytes=max_bytes, progress=progress)
    await asyncio.to_thread(part.finish, path)
    return (await asyncio.to_thread(path.stat)).st_size


async def _take(
    reply: aiohttp.ClientResponse,
    part: _Part,
    had: int,
    max_bytes: int,
    progress: Progress | None,
) -> None:
    """Write what comes behind what is there, or from the start."""
    behind = reply.status == 206
    if behind:
        total = _total_behind(reply.headers, had)
    elif reply.status == 200:
        total, had = reply.content_length, 0
    else:
        text = f"the file can't be had: {reply.status} {reply.reason}"
        if 400 <= reply.status < 500:
            text += "; its address may have expired"
            raise RequestError(text, status=reply.status)
        raise UnreachableError(text, status=reply.status)
    if total is not None and total > max_bytes:
        raise RequestError(f"the file has {total} bytes, more than {max_bytes}")
    tag = reply.headers.get("ETag", "")
    strong = tag if tag.startswith('"') else ""
    file = await asyncio.to_thread(part.open, strong, behind=behind)
    try:
        async for piece in reply.content.iter_chunked(_PIECE):
            had += len(piece)
            if had > max_bytes:
                await asyncio.to_thread(part.drop)
                raise RequestError(f"the file has more than {max_bytes} bytes")
            await asyncio.to_thread(file.write, piece)
            if progress is not None:
                progress(had, total)
        await asyncio.to_thread(_settle, file)
    finally:
        await asyncio.to_thread(file.close)
    if total is not None and had != total:
        raise UnreachableError(f"{had} of {total} bytes came; try again to go on")


def _total_behind(headers: Mapping[str, str], had: int) -> int | None:
    """The size of the whole file; the range must begin where the part ends."""
    found = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if found is None or int(found[1]) != had or had == 0:
        raise InvalidReplyError("the server sent a part of the file that was not asked for")
    return None if found[3] == "*" else int(found[3])


def _is_all(headers: Mapping[str, str], had: int) -> bool:
    """Whether nothing is left to fetch: what is there is as long as the file."""
    found = _WHOLE.fullmatch(headers.get("Content-Range", "").strip())
    return found is not None and int(found[1]) == had


def _settle(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
