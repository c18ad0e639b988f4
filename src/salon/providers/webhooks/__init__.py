"""Signed webhooks both ways, and what every provider of a transport answers with.

Requests carry the headers of the Standard Webhooks specification (``webhook-id``,
``webhook-timestamp``, ``webhook-signature``), so that either side may use another implementation.
Nothing here loads an HTTP client before the first request.
"""

from __future__ import annotations

from salon.providers.webhooks.base import HTTPProvider
from salon.providers.webhooks.config import HTTPProviderConfig
from salon.providers.webhooks.errors import (
    ProviderDeliveryError,
    WebhookError,
    WebhookPayloadError,
    WebhookSignatureError,
)
from salon.providers.webhooks.intake import parse_http_webhook
from salon.providers.webhooks.mock import MockHTTPProvider
from salon.providers.webhooks.provider import WebhookHTTPProvider
from salon.providers.webhooks.replay import ReplayWindow
from salon.providers.webhooks.result import ProviderResult
from salon.providers.webhooks.signing import SignedWebhook, WebhookSigner, WebhookVerifier

__all__ = [
    "HTTPProvider",
    "HTTPProviderConfig",
    "MockHTTPProvider",
    "ProviderDeliveryError",
    "ProviderResult",
    "ReplayWindow",
    "SignedWebhook",
    "WebhookError",
    "WebhookHTTPProvider",
    "WebhookPayloadError",
    "WebhookSignatureError",
    "WebhookSigner",
    "WebhookVerifier",
    "parse_http_webhook",
]
