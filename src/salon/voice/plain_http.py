"""Answers over HTTP that are taken as they come.

A body that is compressed for the way is unpacked by the client library a piece at a time, and a
kilobyte may become a gigabyte before anybody sees its size. Sounds and speech services may be named
by whoever calls, so nothing of theirs is unpacked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import httpx


PLAIN: Final = {"Accept-Encoding": "identity"}
"""Headers that ask for it."""


def is_packed(response: httpx.Response) -> bool:
    """Whether the body was compressed for the way."""
    return response.headers.get("content-encoding", "").strip().lower() not in ("", "identity")


def plain(headers: Mapping[str, str]) -> dict[str, Any]:
    """Arguments of an `httpx.AsyncClient` that sends these headers, asks for no compression and
    refuses it: requests raise `httpx.DecodingError` before any of such a body is read."""
    return {
        "headers": {**PLAIN, **headers},
        "event_hooks": {"response": [_refuse_packed]},
    }


async def _refuse_packed(response: httpx.Response) -> None:
    import httpx

    if is_packed(response):
        raise httpx.DecodingError("the service sent it compressed", request=response.request)
