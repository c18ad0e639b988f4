"""An agent in a room: the bridge between the timeline and an `AIProvider` (R57-R63)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from salon.core.kit import RoomKit
from salon.core.permissions import history_for
from salon.core.ports.ai import AIContext, AIMessage, AIProvider, ResponseMetadata, TextDelta
from salon.core.ports.channel import Channel
from salon.core.transcoding import transcode
from salon.models import (
    NO_OUTPUT,
    AudioContent,
    ChannelBinding,
    ChannelCapabilities,
    ChannelCategory,
    ChannelOutput,
    ChannelType,
    EventContent,
    EventType,
    HookTrigger,
    RoomContext,
    RoomEvent,
    TextContent,
)
from salon.providers.toolloop import run_with_tools
from salon.providers.tools import ToolBox


class AIChannel(Channel):
    """One agent; it serves any number of rooms and keeps nothing of any.

    `name` is how people see it. `provider` answers; `system_prompt`, `temperature` and
    `max_tokens` may be overridden per room in the binding's metadata (R61). `tools` are run here.
    An answer fails if the provider says nothing for `silence_timeout` seconds, or still calls tools
    after `tool_loop_timeout`. Answers always stream; a plain answer is a stream of one.
    """

    channel_type = ChannelType.AI
    category = ChannelCategory.INTELLIGENCE

    def __init__(
        self,
        channel_id: str = "agent",
        *,
        provider: AIProvider,
        name: str | None = None,
        system_prompt: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        max_context_events: int = 50,
        tools: ToolBox | None = None,
        max_tool_rounds: int = 20,
        tool_loop_timeout: float = 300.0,
        silence_timeout: float = 60.0,
    ) -> None:
        super().__init__(channel_id)
        self.provider = provider
        self.name = name or channel_id
        self._system_prompt = system_prompt
        self._temperature = temperature
        self._max_tokens = max_tokens
        self.context_events = max_context_events
        self._tools = tools or ToolBox()
        self._max_rounds = max_tool_rounds
        self._loop_timeout = tool_loop_timeout
        self._silence_timeout = silence_timeout
        self._kit: RoomKit | None = None

    @property
    def provider_name(self) -> str | None:
        return self.provider.name

    @property
    def info(self) -> dict[str, Any]:
        return {"name": self.name, "model": self.provider.model_name}

    def bind(self, kit: RoomKit) -> None:
        self._kit = kit

    async def deliver(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        """Agents have no outside (R60)."""
        del event, binding, context
        return NO_OUTPUT

    async def on_event(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        """Answer a message of somebody else; anything else is left alone (R58)."""
        if event.source.channel_id == self.channel_id or event.type is not EventType.MESSAGE:
            return NO_OUTPUT
        text = _words(event.content)
        if not text.strip() or _superseded(event, self.channel_id, context):
            return NO_OUTPUT
        request = self._request(event, text, binding, context)
        metadata: dict[str, Any] = {"sender_name": self.name}
        return ChannelOutput(
            response_stream=self._answer(request, metadata), response_metadata=metadata
        )

    def _request(
        self, event: RoomEvent, text: str, binding: ChannelBinding, context: RoomContext
    ) -> AIContext:
        own = binding.metadata
        name = _name(event, context)
        before = [
            past
            for past in history_for(self.channel_id, context.recent_events, context.bindings)
            if past.id != event.id
            and (past.index < event.index or past.source.channel_id == self.channel_id)
        ]
        before = before[max(len(before) - self.context_events, 0) :]
        messages = [message for past in before if (message := self._message(past, context))]
        messages.append(AIMessage("user", text, name, metadata=event.metadata))
        return AIContext(
            room_id=event.room_id,
            messages=tuple(messages),
            system_prompt=own.get("system_prompt", self._system_prompt),
            temperature=own.get("temperature", self._temperature),
            max_tokens=own.get("max_tokens", self._max_tokens),
            spoken=bool(event.metadata.get("spoken")),
            participant_id=event.source.participant_id,
            participant_name=name,
            metadata=context.room.metadata,
        )

    def _message(self, event: RoomEvent, context: RoomContext) -> AIMessage | None:
        text = _words(event.content)
        if not text:
            return None
        if event.source.channel_id == self.channel_id:
            return AIMessage("assistant", text, metadata=event.metadata)
        return AIMessage("user", text, _name(event, context), metadata=event.metadata)

    async def _answer(self, request: AIContext, metadata: dict[str, Any]) -> AsyncIterator[str]:
        said: list[str] = []
        parts = run_with_tools(
            self.provider,
            request,
            self._tools,
            max_rounds=self._max_rounds,
            timeout=self._loop_timeout,
            silence=self._silence_timeout,
        )
        async with aclosing(parts):
            async for part in parts:
                if isinstance(part, TextDelta):
                    said.append(part.text)
                    yield part.text
                elif isinstance(part, ResponseMetadata):
                    metadata.update(part.data)
        if self._kit is not None:
            answer: Mapping[str, Any] = {"channel_id": self.channel_id, "text": "".join(said)}
            await self._kit.run_hooks(HookTrigger.ON_AI_RESPONSE, request.room_id, answer)


def _superseded(event: RoomEvent, reader: str, context: RoomContext) -> bool:
    """The same voice went on talking before its answer began: the later words get the answer,
    with the earlier ones in the history."""
    return bool(event.metadata.get("spoken")) and any(
        later.index > event.index
        and (later.addressed_to is None or reader in later.addressed_to)
        and later.metadata.get("spoken")
        and later.source.participant_id == event.source.participant_id
        for later in history_for(reader, context.recent_events, context.bindings)
    )


def _words(content: EventContent) -> str:
    match content:
        case AudioContent():
            return content.transcript or "[Voice message]"
        case _:
            fitting = transcode(content, ChannelCapabilities())
            return fitting.body if isinstance(fitting, TextContent) else ""


def _name(event: RoomEvent, context: RoomContext) -> str | None:
    """How the speaker is called: as the room knows them now, else as the event says."""
    person = context.participant(event.source.participant_id)
    known = person.display_name if person is not None else None
    return known or event.metadata.get("sender_name")
