"""The errors that providers, channels and the core share.

SalonError
└── RoomKitError                    root of the errors of a conversation
    ├── ProviderDeliveryError       a message was not sent
    │   ├── NoRecipientError        the binding names nobody
    │   └── NoProviderError         the channel has nothing to send with
    └── UnsupportedError            a provider can't do what is optional
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from salon.base import SalonError

if TYPE_CHECKING:
    from salon.models.delivery import ProviderResult


class RoomKitError(SalonError):
    """Root of the errors of a conversation."""

    code = "room_kit"


class ProviderDeliveryError(RoomKitError):
    """A provider's result without success, raised (R56).

    Made of a `ProviderResult`, or of a code and a message. `code` says why, `retryable` that the
    same message may be sent again, `retry_after` how many seconds the other side asked to wait;
    `result` is what the provider said, if one was asked.
    """

    code = "provider_delivery"

    def __init__(
        self,
        cause: ProviderResult | str,
        message: str | None = None,
        *,
        retryable: bool | None = None,
        retry_after: float | None = None,
        result: ProviderResult | None = None,
    ) -> None:
        if isinstance(cause, str):
            code = cause
        else:
            result = cause
            said = cause.metadata.get("code")
            code = said if isinstance(said, str) and said else cause.error or type(self).code
        if result is not None:
            message = message or result.error_message
            retryable = result.retryable if retryable is None else retryable
            retry_after = result.retry_after if retry_after is None else retry_after
        self.code = code  # type: ignore[misc] # the class has the default, the instance the cause
        self.retryable = bool(retryable)
        self.retry_after = retry_after
        self.result = result
        super().__init__(message or code)

    @property
    def provider_result(self) -> ProviderResult | None:
        """The same as `result`."""
        return self.result


class NoRecipientError(ProviderDeliveryError):
    """The binding does not say who is behind the channel (R56); sending again changes nothing."""

    code = "no_recipient"

    def __init__(self, channel_id: str, recipient_key: str) -> None:
        self.channel_id = channel_id
        self.recipient_key = recipient_key
        super().__init__(
            self.code,
            f"the binding of channel {channel_id!r} names no recipient: set metadata"
            f"[{recipient_key!r}] when attaching it",
            retryable=False,
        )


class NoProviderError(ProviderDeliveryError):
    """The channel was made without a provider: it takes messages in and can't send any."""

    code = "no_provider"

    def __init__(self, channel_id: str) -> None:
        self.channel_id = channel_id
        super().__init__(
            self.code,
            f"channel {channel_id!r} has no provider to send with: pass provider=... to it",
            retryable=False,
        )


class UnsupportedError(RoomKitError, NotImplementedError):
    """Asked of a provider what it has not: webhooks, reactions. Who knows RoomKit catches
    `NotImplementedError`."""

    code = "unsupported"
