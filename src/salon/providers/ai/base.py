"""What a provider written for RoomKit imports: the names of the AI contract."""

from __future__ import annotations

from salon.core.ports.ai import (
    AIContext,
    AIImagePart,
    AIMessage,
    AIProvider,
    AIResponse,
    AIStreamPart,
    AITextPart,
    AIThinkingPart,
    AITool,
    AIToolCall,
    AIToolCallPart,
    AIToolResultPart,
    StreamDone,
    StreamTextDelta,
    StreamThinkingDelta,
    StreamToolCall,
)
from salon.providers.errors import AIProviderError

__all__ = [
    "AIContext",
    "AIImagePart",
    "AIMessage",
    "AIProvider",
    "AIResponse",
    "AITextPart",
    "AIThinkingPart",
    "AITool",
    "AIToolCall",
    "AIToolCallPart",
    "AIToolResultPart",
    "ProviderError",
    "StreamDone",
    "StreamEvent",
    "StreamTextDelta",
    "StreamThinkingDelta",
    "StreamToolCall",
]

StreamEvent = AIStreamPart


class ProviderError(AIProviderError):
    """An `AIProviderError` by RoomKit's name. Its message is shown in the room: no credential, no
    body of somebody else's answer belongs into it."""

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = False,
        provider: str = "",
        status_code: int | None = None,
    ) -> None:
        super().__init__(message, provider=provider, retryable=retryable, status=status_code)

    @property
    def status_code(self) -> int | None:
        """The same as `status`."""
        return self.status
