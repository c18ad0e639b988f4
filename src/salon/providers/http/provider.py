"""Messages as signed webhooks, where RoomKit has them."""

from __future__ import annotations

from salon.providers.webhooks.provider import WebhookHTTPProvider

__all__ = ["WebhookHTTPProvider"]
