"""What the mock providers of the transports have in common."""

from __future__ import annotations

from collections import deque
from typing import Any

from salon.models import ProviderResult, RoomEvent


class Recorder:
    """Keeps what it should send in `sent`, as ``{"event", "to"}``; answers with `results` in
    turn, then with success."""

    def __init__(self, *results: ProviderResult) -> None:
        self.sent: list[dict[str, Any]] = []
        self.closed = False
        self._results = deque(results)

    async def send(self, event: RoomEvent, to: str) -> ProviderResult:
        return self._record(event=event, to=to)

    async def close(self) -> None:
        self.closed = True

    def _record(self, **message: Any) -> ProviderResult:
        self.sent.append(message)
        if self._results:
            return self._results.popleft()
        return ProviderResult(success=True, provider_message_id=f"mock-{len(self.sent)}")
