"""What is said to a language model, and what it says: messages, their parts, tools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class AIToolCall:
    """The model asks for a tool. `arguments` is the decoded JSON object; `metadata` goes back to
    the model's provider with the call."""

    id: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AIToolResult:
    """What a tool gave, as text for the model. `name` is the tool's, where it is known."""

    call_id: str
    content: str
    is_error: bool = False
    name: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class AITool:
    """A tool offered to the model; `parameters` is a JSON Schema object."""

    name: str
    description: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AITextPart:
    """Words within a message."""

    type: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True, slots=True)
class AIImagePart:
    """A picture within a message, by its https or data URL."""

    type: ClassVar[str] = "image"
    url: str
    mime_type: str | None = None


@dataclass(frozen=True, slots=True)
class AIThinkingPart:
    """What the model thought before it spoke. `signature` and `redacted` are its provider's, and
    go back unaltered."""

    type: ClassVar[str] = "thinking"
    thinking: str
    signature: str | None = None
    redacted: str | None = None


@dataclass(frozen=True, slots=True)
class AIToolCallPart:
    """A tool call as a part of a message."""

    type: ClassVar[str] = "tool_call"
    id: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AIToolResultPart:
    """A tool's result as a part of a message."""

    type: ClassVar[str] = "tool_result"
    tool_call_id: str
    name: str
    result: str
    is_error: bool = False


AIPart = AITextPart | AIImagePart | AIThinkingPart | AIToolCallPart | AIToolResultPart
"""One part of a message's `content` (R62)."""


@dataclass(frozen=True, slots=True, init=False)
class AIMessage:
    """One message of the history, made of a text, or of `content`: a text, or parts.

    An assistant message may carry thinking and tool calls, a tool message their results. `name` is
    the speaker's display name, for rooms with several people. `metadata` is that of the room event
    this message came from.
    """

    role: Role
    text: str
    name: str | None
    tool_calls: tuple[AIToolCall, ...]
    tool_results: tuple[AIToolResult, ...]
    metadata: Mapping[str, Any]
    thinking: tuple[AIThinkingPart, ...]
    images: tuple[AIImagePart, ...]

    def __init__(
        self,
        role: Role,
        text: str = "",
        name: str | None = None,
        tool_calls: Iterable[AIToolCall] = (),
        tool_results: Iterable[AIToolResult] = (),
        metadata: Mapping[str, Any] | None = None,
        thinking: Iterable[AIThinkingPart] = (),
        images: Iterable[AIImagePart] = (),
        *,
        content: str | Sequence[AIPart] = (),
    ) -> None:
        parts = [AITextPart(content)] if isinstance(content, str) else list(content)
        values = {
            "role": role,
            "text": text + "".join(part.text for part in parts if isinstance(part, AITextPart)),
            "name": name,
            "tool_calls": (*tool_calls, *_calls(parts)),
            "tool_results": (*tool_results, *_results(parts)),
            "metadata": {} if metadata is None else metadata,
            "thinking": (*thinking, *(p for p in parts if isinstance(p, AIThinkingPart))),
            "images": (*images, *(p for p in parts if isinstance(p, AIImagePart))),
        }
        for field_name, value in values.items():
            object.__setattr__(self, field_name, value)

    @property
    def content(self) -> str | list[AIPart]:
        """The text, or all parts in order where there is more than text."""
        if not (self.thinking or self.images or self.tool_calls or self.tool_results):
            return self.text
        text = [AITextPart(self.text)] if self.text else []
        return [
            *self.thinking,
            *text,
            *self.images,
            *(AIToolCallPart(c.id, c.name, c.arguments, c.metadata) for c in self.tool_calls),
            *(
                AIToolResultPart(result.call_id, result.name, result.content, result.is_error)
                for result in self.tool_results
            ),
        ]


def _calls(parts: Iterable[AIPart]) -> Iterable[AIToolCall]:
    return (
        AIToolCall(part.id, part.name, part.arguments, part.metadata)
        for part in parts
        if isinstance(part, AIToolCallPart)
    )


def _results(parts: Iterable[AIPart]) -> Iterable[AIToolResult]:
    return (
        AIToolResult(part.tool_call_id, part.result, part.is_error, part.name)
        for part in parts
        if isinstance(part, AIToolResultPart)
    )
