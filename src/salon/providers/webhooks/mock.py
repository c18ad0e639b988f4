"""An HTTP provider for tests."""

from __future__ import annotations

from collections import deque
from typing import Any

from salon.models import RoomEvent
from salon.providers.webhooks.base import HTTPProvider
from salon.providers.webhooks.result import ProviderResult


class MockHTTPProvider(HTTPProvider):
    """Keeps what it should send in `sent`, as ``{"event", "to"}``; answers with `results` in
    turn, then with success."""

    name = "mock_http"

    def __init__(self, *results: ProviderResult) -> None:
        self.sent: list[dict[str, Any]] = []
        self.closed = False
        self._results = deque(results)

    async def send(self, event: RoomEvent, to: str) -> ProviderResult:
        self.sent.append({"event": event, "to": to})
        if self._results:
            return self._results.popleft()
        return ProviderResult(success=True, provider_message_id=f"mock-{len(self.sent)}")

    async def close(self) -> None:
        self.closed = True
