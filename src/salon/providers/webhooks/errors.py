"""What goes wrong between a provider and the outside.

SalonError
├── ProviderDeliveryError       a message was not sent
└── WebhookError                an incoming webhook is refused
    ├── WebhookSignatureError   it is not proven to come from whom it names
    └── WebhookPayloadError     it is genuine and can't be understood
"""

from __future__ import annotations

from salon.base import SalonError


class ProviderDeliveryError(SalonError):
    """A provider's result without success, raised (R56).

    `code` says why, `retryable` that the same message may be sent again, `retry_after` how many
    seconds the other side asked to wait.
    """

    code = "provider_delivery"

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        self.code = code  # type: ignore[misc] # the class has the default, the instance the cause
        self.retryable = retryable
        self.retry_after = retry_after
        super().__init__(message)


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
