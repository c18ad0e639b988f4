"""The contract between an AI channel and whatever answers: the house agent, a user's function, an
outside language model (R57-R63)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from salon.models.speech import NO_HINTS, SpeechHints


@dataclass(frozen=True, slots=True)
class AIToolCall:
    """The model asks for a tool. `arguments` is the decoded JSON object."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AIToolResult:
    """What a tool gave, as text for the model."""

    call_id: str
    content: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class AIMessage:
    """One message of the history. An assistant message may carry tool calls, a tool message their
    results. `name` is the speaker's display name, for rooms with several people."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    name: str | None = None
    tool_calls: tuple[AIToolCall, ...] = ()
    tool_results: tuple[AIToolResult, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The metadata of the room event this message came from."""


@dataclass(frozen=True, slots=True)
class AITool:
    """A tool offered to the model; `parameters` is a JSON Schema object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AIContext:
    """All a provider needs for one generation; the last message is what is to be answered."""

    room_id: str
    messages: tuple[AIMessage, ...]
    system_prompt: str | None = None
    tools: tuple[AITool, ...] = ()
    temperature: float | None = None
    max_tokens: int | None = None
    spoken: bool = False
    """The answer will be spoken aloud to someone."""
    participant_id: str | None = None
    participant_name: str | None = None
    target_media_types: tuple[str, ...] = ("text",)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ResponseMetadata:
    """Facts to keep with the stored answer (dialogue state, token counts); merged key by key."""

    data: Mapping[str, Any]


AIStreamPart = TextDelta | AIToolCall | ResponseMetadata


class AIProvider(ABC):
    """Answers. Streaming is the general case; a plain answer is a stream of one `TextDelta`."""

    name: str
    model_name: str = ""

    @abstractmethod
    def generate_stream(self, context: AIContext) -> AsyncIterator[AIStreamPart]:
        """Answer `context`. Closing the iterator stops the generation. Raises `AIProviderError`."""

    def speech_hints(self) -> SpeechHints:
        """What this provider can understand, for recognisers with a closed vocabulary."""
        return NO_HINTS

    def suggestions(self) -> tuple[str, ...]:
        """Things a person may say, shown to them as examples."""
        return ()

    async def start(self) -> None:  # noqa: B027 - optional to override
        """Load what is needed; idempotent."""

    async def close(self) -> None:  # noqa: B027 - optional to override
        """Free everything; idempotent."""
