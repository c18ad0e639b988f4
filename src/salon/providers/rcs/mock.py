"""An RCS provider for tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from salon.models import RoomEvent
from salon.providers.rcs.base import RCS_UNAVAILABLE, RCSDeliveryResult, RCSProvider


class MockRCSProvider(RCSProvider):
    """Keeps what it should send in `sent`, as ``{"event", "to", "fallback"}``. The phones in
    `without_rcs` (with `simulate_fallback` all of them) get SMS if they may, else nothing;
    with `simulate_failure` nothing gets through."""

    name = "mock_rcs"

    def __init__(
        self,
        sender_id: str = "mock_rcs_agent",
        *,
        without_rcs: Iterable[str] = (),
        supports_fallback: bool = True,
        simulate_fallback: bool = False,
        simulate_failure: bool = False,
    ) -> None:
        self.sender_id = sender_id
        self.supports_fallback = supports_fallback
        self.sent: list[dict[str, Any]] = []
        self.closed = False
        self._without = frozenset(without_rcs)
        self._nobody = simulate_fallback
        self._broken = simulate_failure

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The same as `sent`."""
        return self.sent

    async def send(self, event: RoomEvent, to: str, *, fallback: bool = True) -> RCSDeliveryResult:
        self.sent.append({"event": event, "to": to, "fallback": fallback})
        number = f"mock-{len(self.sent)}"
        if self._broken:
            return RCSDeliveryResult(success=False, error="simulated_failure")
        if await self.check_capability(to):
            return RCSDeliveryResult(success=True, provider_message_id=number)
        if fallback and self.supports_fallback:
            return RCSDeliveryResult(
                success=True, provider_message_id=number, channel_used="sms", fallback=True
            )
        return RCSDeliveryResult(
            success=False,
            error=RCS_UNAVAILABLE,
            error_message=f"{to} takes no RCS",
            retryable=False,
        )

    async def check_capability(self, phone_number: str) -> bool:
        return not self._nobody and phone_number not in self._without

    async def close(self) -> None:
        self.closed = True
