"""An RCS provider for tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from salon.models import RoomEvent
from salon.providers.rcs.base import RCSDeliveryResult, RCSProvider


class MockRCSProvider(RCSProvider):
    """Keeps what it should send in `sent`, as ``{"event", "to", "fallback"}``. The phones in
    `without_rcs` get SMS if they may, else nothing."""

    name = "mock_rcs"
    supports_fallback = True

    def __init__(self, without_rcs: Iterable[str] = ()) -> None:
        self.sent: list[dict[str, Any]] = []
        self.closed = False
        self._without = frozenset(without_rcs)

    async def send(self, event: RoomEvent, to: str, *, fallback: bool = True) -> RCSDeliveryResult:
        self.sent.append({"event": event, "to": to, "fallback": fallback})
        number = f"mock-{len(self.sent)}"
        if to not in self._without:
            return RCSDeliveryResult(success=True, provider_message_id=number)
        if fallback:
            return RCSDeliveryResult(
                success=True, provider_message_id=number, channel_used="sms", fallback=True
            )
        return RCSDeliveryResult(
            success=False, error="rcs_unavailable", error_message=f"{to} takes no RCS"
        )

    async def check_capability(self, phone_number: str) -> bool:
        return phone_number not in self._without

    async def close(self) -> None:
        self.closed = True
