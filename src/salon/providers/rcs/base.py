"""The contract of a provider behind an RCS channel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from salon.models import InboundMessage, ProviderResult, RoomEvent, UnsupportedError

RCS_UNAVAILABLE = "rcs_unavailable"
"""The `error` of a result when that phone takes no RCS: what lets an SMS stand in."""


class RCSDeliveryResult(ProviderResult):
    """`channel_used` is ``"rcs"`` or ``"sms"``; `fallback` says that the latter stood in."""

    channel_used: str = "rcs"
    fallback: bool = False

    @property
    def unreachable(self) -> bool:
        """Nothing went out, and nothing can by RCS."""
        return not self.success and not self.outcome_unknown and self.error == RCS_UNAVAILABLE


class RCSProvider(ABC):
    """Sends rich messages, and by SMS to whom they can't reach if it may."""

    name: str = "rcs"
    supports_fallback: bool = False
    """Whether the vendor itself falls back to SMS."""

    @abstractmethod
    async def send(self, event: RoomEvent, to: str, *, fallback: bool = True) -> RCSDeliveryResult:
        """Send; what fails is in the result, not raised. Without `fallback` never as SMS: a phone
        without RCS is then an `error` of `RCS_UNAVAILABLE`."""

    async def check_capability(self, phone_number: str) -> bool:
        """Whether that phone takes RCS, as far as the vendor can tell beforehand."""
        return True

    def verify_signature(
        self, payload: bytes, signature: str, timestamp: str | None = None
    ) -> bool:
        """Whether the body of a webhook, exactly as received, is genuine."""
        raise UnsupportedError(f"{type(self).__name__} can't verify webhooks")

    def parse_webhook(self, payload: Mapping[str, Any], channel_id: str) -> InboundMessage | None:
        """The message in a verified webhook, None if it is something else."""
        raise UnsupportedError(f"{type(self).__name__} takes no webhooks")

    async def close(self) -> None:  # noqa: B027 - optional to override
        """Release connections. Idempotent."""
