"""The mock as RoomKit makes it: replies that begin again at their end."""

from __future__ import annotations

from collections.abc import Iterable

from salon.core.ports.ai import AIResponse
from salon.providers import mock


class MockAIProvider(mock.MockAIProvider):
    """Gives `responses`, or the whole `ai_responses`, over and over."""

    def __init__(
        self,
        responses: Iterable[mock.Reply] | None = None,
        *,
        vision: bool = False,
        ai_responses: Iterable[AIResponse] | None = None,
        streaming: bool = False,
    ) -> None:
        super().__init__(responses=responses or ["Hello from AI"], ai_responses=ai_responses)
        self.supports_vision = vision
        self.supports_streaming = streaming
