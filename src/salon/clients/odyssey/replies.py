"""Answers of the service over HTTP, bounded in size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from salon.clients.odyssey.errors import InvalidReplyError

if TYPE_CHECKING:
    from aiohttp import ClientResponse

MAX_REPLY: Final = 16 * 1024 * 1024
"""Longest answer that is read, bytes; a page of a hundred simulations is far below it."""
_SHOWN: Final = 2000
"""Characters of a body that an error message repeats."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. `body` is its JSON, None if it is none; `text` is repeated in messages."""

    status: int
    reason: str
    body: object
    text: str

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def line(self) -> str:
        """Status and reason, as messages show them."""
        return f"{self.status} {self.reason}".rstrip()

    @property
    def detail(self) -> object:
        """What an error body says: `detail` if it has one, else all of it (O18, O23)."""
        if isinstance(self.body, Mapping) and "detail" in self.body:
            return self.body["detail"]
        return self.body

    @property
    def detail_text(self) -> str | None:
        """`detail` if it is text and not blank."""
        found = self.body.get("detail") if isinstance(self.body, Mapping) else None
        return found if isinstance(found, str) and found.strip() else None


async def read_reply(response: ClientResponse, limit: int = MAX_REPLY) -> Reply:
    """All of an answer; `InvalidReplyError` if it is longer than `limit` bytes."""
    raw = await read_body(response, limit)
    try:
        body = json.loads(raw) if raw else None
    except (ValueError, RecursionError):
        body = None
    text = raw[: 4 * _SHOWN].decode("utf-8", "replace")[:_SHOWN]
    return Reply(response.status, response.reason or "", body, text)


async def read_body(response: ClientResponse, limit: int) -> bytes:
    """The bytes of an answer; `InvalidReplyError` if there are more than `limit`."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(64 * 1024):
        size += len(part)
        if size > limit:
            raise InvalidReplyError(f"the reply is longer than {limit} bytes")
        parts.append(part)
    return b"".join(parts)
