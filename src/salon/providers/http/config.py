"""Where webhooks go, where RoomKit has it."""

from __future__ import annotations

from salon.providers.webhooks.config import HTTPProviderConfig

__all__ = ["HTTPProviderConfig"]
