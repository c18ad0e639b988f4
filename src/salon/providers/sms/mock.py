"""An SMS provider for tests."""

from __future__ import annotations

from collections import deque
from typing import Any

from salon.models import RoomEvent
from salon.providers.sms.base import SMSProvider
from salon.providers.webhooks import ProviderResult


class MockSMSProvider(SMSProvider):
    """Keeps what it should send in `sent`, as ``{"event", "to", "from"}``; answers with `results`
    in turn, then with success. Its webhooks are Twilio's; a signature is genuine if it
    is `secret`."""

    name = "twilio"

    def __init__(
        self, *results: ProviderResult, from_number: str = "+15550001111", secret: str = "genuine"
    ) -> None:
        self.sent: list[dict[str, Any]] = []
        self.closed = False
        self._from_number = from_number
        self._secret = secret
        self._results = deque(results)

    @property
    def from_number(self) -> str | None:
        return self._from_number

    async def send(self, event: RoomEvent, to: str, from_: str | None = None) -> ProviderResult:
        self.sent.append({"event": event, "to": to, "from": from_})
        if self._results:
            return self._results.popleft()
        return ProviderResult(success=True, provider_message_id=f"mock-{len(self.sent)}")

    def verify_signature(
        self,
        payload: bytes,
        signature: str,
        timestamp: str | None = None,
        *,
        url: str | None = None,
    ) -> bool:
        return signature == self._secret

    async def close(self) -> None:
        self.closed = True
