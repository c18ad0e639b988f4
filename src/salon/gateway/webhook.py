"""A call announced to an application, which takes it or not (after G153-G155, G268)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from salon.base import SalonError
from salon.base.redaction import redact_text
from salon.gateway.events import rfc3339
from salon.gateway.farewell import party
from salon.gateway.handlers import ControllerHandler
from salon.gateway.options import CallOption
from salon.voice.hearing import HearingConfig

if TYPE_CHECKING:
    from salon.gateway.session import Session

Post = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Gives the body to the application; `WebhookError` unless it was taken."""

_PRIVATE = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})
_HANDSHAKE = "sec-websocket-"


class WebhookError(SalonError):
    """The application did not take the call; the text goes to the client."""

    code = "webhook"


class WebhookHandler(ControllerHandler):
    """Announces the call while it is set up: it is answered once the application has taken it, and
    is driven over HTTP or by its own client from then on. `WebhookError` ends it (G33).

    `headers` are those of the connection; what proves who connects is not passed on.
    """

    def __init__(self, post: Post, headers: Mapping[str, str], *, timeout: float) -> None:
        self._post = post
        self._headers = headers
        self._timeout = timeout

    async def begin(self, session: Session, option: CallOption) -> HearingConfig:
        try:
            async with asyncio.timeout(self._timeout):
                await self._post(announcement(session, option, self._headers))
        except TimeoutError:
            raise WebhookError(
                f"the application did not take the call within {self._timeout:g} s"
            ) from None
        return await super().begin(session, option)


def announcement(
    session: Session, option: CallOption, headers: Mapping[str, str]
) -> dict[str, Any]:
    """The body of the request (G154)."""
    return {
        "event": "invite",
        "dialogId": session.id,
        "createdAt": rfc3339(session.started_at),
        "caller": party(option.caller or "").source,
        "callee": party(option.callee or "").source,
        "headers": [
            redact_text(f"{name}: {value}")
            for name, value in headers.items()
            if name.lower() not in _PRIVATE and not name.lower().startswith(_HANDSHAKE)
        ],
        "offer": option.offer or "",
    }
