"""What goes wrong between a provider and the outside.

SalonError
└── WebhookError                an incoming webhook is refused
    ├── WebhookSignatureError   it is not proven to come from whom it names
    └── WebhookPayloadError     it is genuine and can't be understood

A message that was not sent is a `ProviderDeliveryError`, which belongs to the models.
"""

from __future__ import annotations

from salon.base import SalonError
from salon.models.errors import ProviderDeliveryError

__all__ = [
    "ProviderDeliveryError",
    "WebhookError",
    "WebhookPayloadError",
    "WebhookSignatureError",
]


class WebhookError(SalonError):
    """Root of the refusals; `status` is the HTTP status to answer with."""

    code = "webhook"
    status = 400


class WebhookSignatureError(WebhookError):
    """Refused before its payload was looked at (R216).

    `reason` is one of ``missing``, ``malformed``, ``expired``, ``future``, ``mismatch``,
    ``replayed`` and ``overloaded``. The message never says what would have been right.
    """

    code = "webhook_signature"
    status = 401

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        if reason == "overloaded":
            self.status = 503
        super().__init__(message)


class WebhookPayloadError(WebhookError, ValueError):
    """Not a message or a status of the kind expected."""

    code = "webhook_payload"
    status = 422
