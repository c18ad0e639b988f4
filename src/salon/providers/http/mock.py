"""A provider that only remembers, where RoomKit has it."""

from __future__ import annotations

from salon.providers.webhooks.mock import MockHTTPProvider

__all__ = ["MockHTTPProvider"]
