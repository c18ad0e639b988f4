"""The contract between an AI channel and whatever answers: the house agent, a user's function, an
outside language model (R57-R63).

A provider implements one of: `generate_stream` of parts (or of plain texts), or `generate` of a
whole `AIResponse`. `parts_of` makes one kind of stream of all of them.
"""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, Self

from salon.core.ports.ai_messages import (
    AIImagePart,
    AIMessage,
    AIPart,
    AITextPart,
    AIThinkingPart,
    AITool,
    AIToolCall,
    AIToolCallPart,
    AIToolResult,
    AIToolResultPart,
    Role,
)
from salon.models import ChannelCapabilities, Observation, RoomContext, RoomKitError, Task
from salon.models.speech import NO_HINTS, SpeechHints

__all__ = [
    "AIContext",
    "AIImagePart",
    "AIMessage",
    "AIPart",
    "AIProvider",
    "AIResponse",
    "AIStreamPart",
    "AITextPart",
    "AIThinkingPart",
    "AITool",
    "AIToolCall",
    "AIToolCallPart",
    "AIToolResult",
    "AIToolResultPart",
    "ResponseMetadata",
    "Role",
    "StreamDone",
    "StreamTextDelta",
    "StreamThinkingDelta",
    "StreamToolCall",
    "TextDelta",
    "ThinkingDelta",
    "ToolGuard",
    "ToolRunner",
    "attributed",
    "parts_of",
]


MAX_NAME = 80
"""Characters of a speaker's name that are put before their words."""


class ToolRunner(Protocol):
    """Tools and who runs them."""

    @property
    def specs(self) -> Sequence[AITool]:
        """What the model is told."""

    async def run(self, call: AIToolCall) -> AIToolResult:
        """Run one call; what goes wrong is a result too."""


ToolGuard = Callable[[ToolRunner], ToolRunner]
"""Puts the hooks of a room around tools."""


@dataclass(slots=True, init=False)
class AIContext:
    """All a provider needs for one generation; the last message is what is to be answered.

    It belongs to that generation, so that a BEFORE_AI_GENERATION hook may change it in place.
    `notes` are the sentences of the system prompt that the framework added (R59, R93).
    `target_capabilities` says what the channels that carry the answer can take. `room` is the room
    as the asked channel may know it (R80). A provider that runs tools of its own lets `guard` wrap
    them, so that the room's hooks decide about them too (R168).
    """

    room_id: str
    messages: list[AIMessage]
    system_prompt: str | None
    tools: list[AITool]
    temperature: float | None
    max_tokens: int | None
    spoken: bool
    participant_id: str | None
    participant_name: str | None
    target_media_types: tuple[str, ...]
    metadata: dict[str, Any]
    thinking_budget: int | None
    target_capabilities: ChannelCapabilities | None
    room: RoomContext | None
    notes: tuple[str, ...]
    guard: ToolGuard | None

    def __init__(
        self,
        room_id: str = "",
        messages: Iterable[AIMessage] = (),
        system_prompt: str | None = None,
        tools: Iterable[AITool] = (),
        temperature: float | None = None,
        max_tokens: int | None = None,
        spoken: bool = False,
        participant_id: str | None = None,
        participant_name: str | None = None,
        target_media_types: Iterable[str] = ("text",),
        metadata: Mapping[str, Any] | None = None,
        thinking_budget: int | None = None,
        target_capabilities: ChannelCapabilities | None = None,
        room: RoomContext | None = None,
        notes: Iterable[str] = (),
        guard: ToolGuard | None = None,
    ) -> None:
        self.room_id = room_id
        self.messages = list(messages)
        self.system_prompt = system_prompt
        self.tools = list(tools)
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.spoken = spoken
        self.participant_id = participant_id
        self.participant_name = participant_name
        self.target_media_types = tuple(target_media_types)
        self.metadata = dict(metadata or {})
        self.thinking_budget = thinking_budget
        self.target_capabilities = target_capabilities
        self.room = room
        self.notes = tuple(notes)
        self.guard = guard


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text of the answer."""

    type: ClassVar[str] = "text_delta"
    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """More of what the model thinks, which is no part of the answer. `block` tells one thought from
    the next; `signature` and `redacted` belong to the block and go back to the provider."""

    type: ClassVar[str] = "thinking_delta"
    thinking: str
    signature: str | None = None
    block: int | None = None
    redacted: str | None = None

    @property
    def data(self) -> Mapping[str, Any]:
        """No facts: for those who read every part that is neither text nor call as facts."""
        return {}


@dataclass(frozen=True, slots=True)
class ResponseMetadata:
    """Facts to keep with the stored answer (dialogue state, token counts), merged key by key, and
    what else the answer leaves in the room."""

    data: Mapping[str, Any]
    tasks: tuple[Task, ...] = ()
    observations: tuple[Observation, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamDone:
    """The generation is over."""

    type: ClassVar[str] = "done"
    finish_reason: str | None = None
    usage: Mapping[str, int] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> Mapping[str, Any]:
        """The same as facts."""
        return _facts(self.metadata, self.usage, self.finish_reason)


AIStreamPart = TextDelta | ThinkingDelta | AIToolCall | ResponseMetadata | StreamDone

StreamTextDelta = TextDelta
StreamThinkingDelta = ThinkingDelta
StreamToolCall = AIToolCall


@dataclass(frozen=True, slots=True)
class AIResponse:
    """A whole answer, for providers that do not stream."""

    content: str = ""
    thinking: str | None = None
    thinking_signature: str | None = None
    finish_reason: str | None = None
    usage: Mapping[str, int] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tasks: Sequence[Task] = ()
    observations: Sequence[Observation] = ()
    tool_calls: Sequence[AIToolCall] = ()

    def parts(self) -> Iterator[AIStreamPart]:
        """The answer as a stream would have given it."""
        if self.thinking or self.thinking_signature:
            yield ThinkingDelta(self.thinking or "", self.thinking_signature)
        if self.content:
            yield TextDelta(self.content)
        yield from self.tool_calls
        facts = _facts(self.metadata, self.usage, self.finish_reason)
        if facts or self.tasks or self.observations:
            yield ResponseMetadata(facts, tuple(self.tasks), tuple(self.observations))


class AIProvider:
    """Answers. A subclass implements `generate_stream` or `generate`; the other follows from it.

    One that has both streams only where no tools are offered and `supports_streaming` is true:
    then its stream is taken to be of plain texts, which can't call tools.
    """

    name: str = ""
    model_name: str = ""
    supports_streaming: bool = False
    supports_vision: bool = False
    speculative: bool = True
    """Whether it may be asked for an answer that is perhaps not wanted: one that costs or does
    something besides says no."""

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """`TypeError` for a class that has no way to answer."""
        if not any(_overrides(cls, way) for way in _WAYS):
            raise TypeError(f"{cls.__name__} must implement generate_stream or generate")
        return super().__new__(cls)

    async def generate(self, context: AIContext) -> AIResponse:
        """The whole answer to `context`."""
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[AIToolCall] = []
        data: dict[str, Any] = {}
        effects: list[ResponseMetadata] = []
        async for part in parts_of(self, context):
            match part:
                case TextDelta():
                    texts.append(part.text)
                case ThinkingDelta():
                    thoughts.append(part.thinking)
                case AIToolCall():
                    calls.append(part)
                case ResponseMetadata():
                    data |= part.data
                    effects.append(part)
        usage, reason = data.pop("usage", {}), data.pop("finish_reason", None)
        return AIResponse(
            content="".join(texts),
            thinking="".join(thoughts) or None,
            finish_reason=reason,
            usage=usage,
            metadata=data,
            tasks=[task for part in effects for task in part.tasks],
            observations=[item for part in effects for item in part.observations],
            tool_calls=calls,
        )

    def generate_stream(self, context: AIContext) -> AsyncIterator[AIStreamPart]:
        """Answer `context`. Closing the iterator stops the generation. Raises `AIProviderError`."""
        return parts_of(self, context)

    def generate_structured_stream(self, context: AIContext) -> AsyncIterator[AIStreamPart]:
        """The same; where a class has it, its `generate_stream` is not used."""
        return parts_of(self, context)

    def speech_hints(self) -> SpeechHints:
        """What this provider can understand, for recognisers with a closed vocabulary."""
        return NO_HINTS

    def suggestions(self) -> tuple[str, ...]:
        """Things a person may say, shown to them as examples."""
        return ()

    async def start(self) -> None:
        """Load what is needed; idempotent."""

    async def close(self) -> None:
        """Free everything; idempotent."""


_WAYS = ("generate", "generate_stream", "generate_structured_stream")


def _overrides(kind: type, name: str) -> bool:
    own = getattr(kind, name, None)
    return own is not None and own is not getattr(AIProvider, name)


async def parts_of(provider: AIProvider, context: AIContext) -> AsyncGenerator[AIStreamPart, None]:
    """The answer of any provider, one part after the other. Closing it stops the generation."""
    kind = type(provider)
    if _overrides(kind, "generate_structured_stream"):
        stream: Any = provider.generate_structured_stream(attributed(context))
    elif not _overrides(kind, "generate"):
        stream = provider.generate_stream(context)
    elif provider.supports_streaming and not context.tools and _overrides(kind, "generate_stream"):
        stream = provider.generate_stream(attributed(context))
    else:
        response = await provider.generate(attributed(context))
        for part in response.parts():
            yield part
        return
    if inspect.isawaitable(stream):
        stream = await stream
    try:
        async for part in stream:
            if isinstance(part, str):
                yield TextDelta(part)
            elif isinstance(part, StreamDone):
                if part.data:
                    yield ResponseMetadata(part.data)
            elif isinstance(part, AIStreamPart):
                yield part
            else:
                raise RoomKitError(f"no part of an answer: a {type(part).__name__}")
    finally:
        if hasattr(stream, "aclose"):
            await stream.aclose()


def attributed(context: AIContext) -> AIContext:
    """The context with each user message of a conversation of several people beginning with its
    speaker's name, for models that see nothing of a message but its text."""
    names = {message.name for message in context.messages if message.role == "user"} - {None, ""}
    if len(names) < 2:
        return context
    return replace(context, messages=[_signed(message) for message in context.messages])


def _signed(message: AIMessage) -> AIMessage:
    if message.role != "user" or not message.name or not message.text:
        return message
    name = " ".join(message.name.split())[:MAX_NAME]
    return replace(message, text=f"{name}: {message.text}")


def _facts(
    metadata: Mapping[str, Any], usage: Mapping[str, int], finish_reason: str | None
) -> dict[str, Any]:
    facts = dict(metadata)
    if usage:
        facts["usage"] = dict(usage)
    if finish_reason:
        facts["finish_reason"] = finish_reason
    return facts
