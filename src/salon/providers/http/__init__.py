"""Webhooks under the path RoomKit has them."""

from __future__ import annotations

from salon.providers.webhooks import (
    HTTPProvider,
    HTTPProviderConfig,
    MockHTTPProvider,
    WebhookHTTPProvider,
    parse_http_webhook,
)

__all__ = [
    "HTTPProvider",
    "HTTPProviderConfig",
    "MockHTTPProvider",
    "WebhookHTTPProvider",
    "parse_http_webhook",
]
