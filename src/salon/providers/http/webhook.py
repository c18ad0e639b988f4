"""Messages that come as JSON, where RoomKit has them."""

from __future__ import annotations

from salon.providers.webhooks.intake import parse_http_webhook

__all__ = ["parse_http_webhook"]
