"""The contract of a provider behind an RCS channel."""

from __future__ import annotations

from abc import ABC, abstractmethod

from salon.models import RoomEvent
from salon.providers.webhooks import ProviderResult


class RCSDeliveryResult(ProviderResult):
    """`channel_used` is ``"rcs"`` or ``"sms"``; `fallback` says that the latter stood in."""

    channel_used: str = "rcs"
    fallback: bool = False


class RCSProvider(ABC):
    """Sends rich messages, and by SMS to whom they can't reach if it may."""

    name: str = "rcs"
    supports_fallback: bool = False
    """Whether the vendor itself falls back to SMS."""

    @abstractmethod
    async def send(self, event: RoomEvent, to: str, *, fallback: bool = True) -> RCSDeliveryResult:
        """Send; what fails is in the result, not raised. Without `fallback` never as SMS."""

    async def check_capability(self, phone_number: str) -> bool:
        """Whether that phone takes RCS, as far as the vendor can tell beforehand."""
        return True

    async def close(self) -> None:  # noqa: B027 - optional to override
        """Release connections. Idempotent."""
