"""The connection that is being decided on, for whoever makes the call's handler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

from salon.transport.sockets import UpgradeRequest

_headers: ContextVar[Mapping[str, str] | None] = ContextVar("salon_upgrade_headers", default=None)


@contextmanager
def upgrading(request: UpgradeRequest, *, default_handler: str) -> Iterator[UpgradeRequest]:
    """Inside, `upgrade_headers` gives those of `request`. Yields the request, with the handler it
    gets if it names none."""
    token = _headers.set(request.headers)
    try:
        if request.query.get("handler") or default_handler == "controller":
            yield request
        else:
            yield replace(request, query={**request.query, "handler": default_handler})
    finally:
        _headers.reset(token)


def upgrade_headers() -> Mapping[str, str]:
    """Headers of the connection that is being decided on; empty outside of that."""
    return dict(_headers.get() or {})
