"""The contract of HTTP providers, where RoomKit has it."""

from __future__ import annotations

from salon.providers.webhooks.base import HTTPProvider

__all__ = ["HTTPProvider"]
