"""An e-mail provider for tests."""

from __future__ import annotations

from collections import deque
from typing import Any

from salon.models import RoomEvent
from salon.providers.email.base import EmailProvider
from salon.providers.webhooks import ProviderResult


class MockEmailProvider(EmailProvider):
    """Keeps what it should send in `sent`, as ``{"event", "to", "from", "subject"}`` (empty text
    for what was not given); answers with `results` in turn, then with success."""

    name = "mock"

    def __init__(self, *results: ProviderResult) -> None:
        self.sent: list[dict[str, Any]] = []
        self.closed = False
        self._results = deque(results)

    async def send(
        self, event: RoomEvent, to: str, from_: str | None = None, subject: str | None = None
    ) -> ProviderResult:
        self.sent.append({"event": event, "to": to, "from": from_ or "", "subject": subject or ""})
        if self._results:
            return self._results.popleft()
        return ProviderResult(success=True, provider_message_id=f"mock-{len(self.sent)}")

    async def close(self) -> None:
        self.closed = True
