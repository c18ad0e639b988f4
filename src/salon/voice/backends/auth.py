"""Who may connect to the endpoints that a backend mounts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

AuthCallback = Callable[[Any], Awaitable[dict[str, Any] | None]]
"""Takes the HTTP request or the WebSocket that wants in; what is known of its sender, or None to
refuse. An exception refuses, too."""

auth_context: ContextVar[dict[str, Any] | None] = ContextVar("auth_context", default=None)
"""What the `AuthCallback` returned, for the session factory that is called next."""
