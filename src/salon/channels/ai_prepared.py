"""Answers that are begun before it is certain that somebody asks.

While a caller pauses, what they said so far may be all of it. The first generation of the answer to
that is started and its parts are kept. If the turn comes exactly so, the answer goes on from there;
otherwise it never was: nothing is stored, no hook runs, no tool is called.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final

from salon.base import TaskScope
from salon.core.kit import RoomKit
from salon.core.permissions import may_read, solicited, targets, write_refusal
from salon.core.ports.ai import (
    AIContext,
    AIProvider,
    AIStreamPart,
    AITool,
    AIToolCall,
    AIToolResult,
    ToolGuard,
    ToolRunner,
    parts_of,
)
from salon.models import (
    ChannelBinding,
    EventSource,
    HookExecution,
    HookTrigger,
    InboundMessage,
    ParticipantStatus,
    RoomContext,
    RoomEvent,
    TextContent,
)
from salon.providers.errors import AIProviderError

_log = logging.getLogger("salon.channels.ai")

LIFETIME_S: Final = 10.0
"""A preparation nobody adopted by then is closed."""
MAX_PREPARATIONS: Final = 32
"""Of one channel at a time; beyond, the oldest is withdrawn."""
MAX_PARTS: Final = 256
"""Parts kept of one answer; beyond, the provider waits."""

Build = Callable[[], Awaitable[AIContext | None]]
Key = tuple[str, str]
"""Room and participant."""


@dataclass(slots=True)
class PreparationCounts:
    """What became of the prepared answers of one channel. Each one `prepared` ends as one of the
    others; `withdrawn` are those nobody wanted, those that failed and those that lasted too long.
    """

    prepared: int = 0
    adopted: int = 0
    withdrawn: int = 0
    mismatched: int = 0


# -- what would be asked ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heard:
    """What somebody seems to have said, through the channel `channel_id`."""

    room_id: str
    channel_id: str
    participant_id: str
    name: str | None
    text: str


async def question_of(
    kit: RoomKit, agent_id: str, heard: Heard, answers: Callable[[RoomEvent], bool]
) -> tuple[RoomEvent, ChannelBinding, RoomContext] | None:
    """The event as the room would put it to an agent, which `answers` it; None if it would not be
    asked, or if anybody may want to change the words, or refuse them, before they leave."""
    channel = kit.get_channel(heard.channel_id)
    if channel is None or kit.identity_enabled_for(channel.channel_type):
        return None
    context = await kit.context(heard.room_id)
    binding = context.binding(agent_id)
    if binding is None or write_refusal(binding) is not None or not may_read(binding):
        return None
    if not _is_heard(heard, context):
        return None
    metadata: dict[str, Any] = {"spoken": True}
    if heard.name:
        metadata["sender_name"] = heard.name
    message = InboundMessage(
        channel_id=heard.channel_id,
        sender_id=heard.participant_id,
        content=TextContent(body=heard.text),
        metadata=metadata,
    )
    event = channel.inbound_event(message, context)
    event = event.model_copy(update={"index": context.room.event_count})
    asked = (
        binding in targets(event, context.bindings)
        and solicited(event, context.room, binding, from_agent=False)
        and answers(event)
        and not _is_watched(kit, event)
    )
    return (event, binding, context) if asked else None


def _is_heard(heard: Heard, context: RoomContext) -> bool:
    """Whether the room would take it."""
    person = context.participant(heard.participant_id)
    barred = person is not None and person.status is ParticipantStatus.BANNED
    refused = write_refusal(context.binding(heard.channel_id)) is not None
    return context.room.status.accepts_events and not (barred or refused)


def _is_watched(kit: RoomKit, event: RoomEvent) -> bool:
    """Whether a hook decides about it before a provider sees it: what it would take out, or hold
    back, must not leave unseen."""
    source = EventSource(
        channel_id=event.source.channel_id,
        channel_type=event.source.channel_type,
        participant_id=event.source.participant_id,
    )
    gates: tuple[tuple[HookTrigger, RoomEvent | None, EventSource | None], ...] = (
        (HookTrigger.ON_TRANSCRIPTION, None, source),
        (HookTrigger.BEFORE_BROADCAST, event, None),
        (HookTrigger.BEFORE_AI_CONTEXT_BUILD, event, None),
        (HookTrigger.BEFORE_AI_GENERATION, None, None),
    )
    return any(
        kit.hooks.select(trigger, payload, event.room_id, HookExecution.SYNC, by)
        for trigger, payload, by in gates
    )


def is_same(foreseen: AIContext, request: AIContext) -> bool:
    """Whether a provider is told the same by both. When and how surely the last words were
    recognised is no part of it."""
    return _told(foreseen) == _told(request)


def _told(context: AIContext) -> tuple[Any, ...]:
    return (
        context.room_id,
        [
            (
                message.role,
                message.text,
                message.name,
                message.tool_calls,
                message.tool_results,
                message.thinking,
                message.images,
            )
            for message in context.messages
        ],
        [message.metadata for message in context.messages[:-1]],
        context.system_prompt,
        context.tools,
        context.temperature,
        context.max_tokens,
        context.thinking_budget,
        context.spoken,
        context.participant_id,
        context.participant_name,
        context.target_media_types,
        context.target_capabilities,
        context.metadata,
        context.notes,
    )


# -- one preparation -------------------------------------------------------------------------------


class Preparation:
    """One generation under way. What it gave is taken by `parts`, once it was `adopt`ed."""

    def __init__(self, provider: AIProvider, build: Build, counts: PreparationCounts) -> None:
        self.request: AIContext | None = None
        """What the provider was asked; None until it is."""
        self.over = False
        self._provider = provider
        self._build = build
        self._counts = counts
        self._counted = False
        self._kept: deque[AIStreamPart] = deque()
        self._error: Exception | None = None
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._adopted = asyncio.Event()
        self._within: contextvars.Context | None = None
        self._life: asyncio.Timeout | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, scope: TaskScope, name: str) -> asyncio.Task[None]:
        """Begin; called once."""
        self._task = scope.spawn(self._run(), name=name)
        return self._task

    async def _run(self) -> None:
        """Generate, and wait to be adopted, for `LIFETIME_S` at most."""
        try:
            async with asyncio.timeout(LIFETIME_S) as self._life:
                request = await self._build()
                if request is None:
                    return
                self._counts.prepared += 1
                self.request = replace(request, guard=self._held(request.guard))
                await self._generate(self.request)
                await self._adopted.wait()
        except Exception as error:  # noqa: BLE001 - the answer is made afresh, or its taker is told
            _log.debug("an answer was prepared in vain", exc_info=error)
            self._error = error
        except asyncio.CancelledError:
            self._error = AIProviderError("the answer was closed", provider=self._provider.name)
            raise
        finally:
            self.over = True
            self._news.set()
            if self.request is not None:
                self.count("withdrawn")

    async def _generate(self, request: AIContext) -> None:
        async with aclosing(parts_of(self._provider, request)) as parts:
            async for part in parts:
                while len(self._kept) >= MAX_PARTS:
                    self._room.clear()
                    await self._room.wait()
                self._kept.append(part)
                self._news.set()

    def count(self, outcome: str) -> None:
        """What became of it; only the first counts."""
        if not self._counted:
            self._counted = True
            setattr(self._counts, outcome, getattr(self._counts, outcome) + 1)

    def adopt(self) -> None:
        """It is the answer, and what it does from now on is done for the caller."""
        self.count("adopted")
        self._within = contextvars.copy_context()
        self._adopted.set()

    def close(self) -> None:
        """Stop the generation; idempotent."""
        if self._task is not None:
            self._task.cancel()

    async def parts(self) -> AsyncGenerator[AIStreamPart, None]:
        """What is kept, then the rest as it comes. Closing it stops the generation."""
        if self._life is not None and not self.over:
            self._life.reschedule(None)
        try:
            while True:
                while self._kept:
                    part = self._kept.popleft()
                    self._room.set()
                    yield part
                if self.over:
                    break
                self._news.clear()
                await self._news.wait()
            if self._error is not None:
                raise self._error
        finally:
            self.close()
            if self._task is not None:
                await asyncio.wait([self._task])

    # -- tools that a provider runs itself --------------------------------------------------------

    def _held(self, guard: ToolGuard | None) -> ToolGuard | None:
        return None if guard is None else lambda runner: _Held(guard(runner), self)

    async def call(self, tools: ToolRunner, call: AIToolCall) -> AIToolResult:
        """Run a call once it is certain that it is wanted: as part of what adopted it, so that what
        it sends to the room is known to come from there (R128)."""
        await self._adopted.wait()
        assert self._within is not None
        loop = asyncio.get_running_loop()
        return await loop.create_task(tools.run(call), context=self._within.copy())


class _Held:
    """Tools that wait for the preparation's adoption."""

    def __init__(self, tools: ToolRunner, preparation: Preparation) -> None:
        self._tools = tools
        self._preparation = preparation

    @property
    def specs(self) -> Sequence[AITool]:
        return self._tools.specs

    async def run(self, call: AIToolCall) -> AIToolResult:
        return await self._preparation.call(self._tools, call)


class Begun(AIProvider):
    """A provider whose first generation is under way; asked again it is the provider itself. A
    generation that breaks before its first part is made afresh."""

    def __init__(self, provider: AIProvider, preparation: Preparation) -> None:
        self.name = provider.name
        self.model_name = provider.model_name
        self._provider = provider
        self._preparation: Preparation | None = preparation

    async def generate_stream(self, context: AIContext) -> AsyncGenerator[AIStreamPart, None]:
        preparation, self._preparation = self._preparation, None
        if preparation is not None:
            begun = False
            try:
                async with aclosing(preparation.parts()) as parts:
                    async for part in parts:
                        begun = True
                        yield part
                return
            except Exception:
                if begun:
                    raise
        async with aclosing(parts_of(self._provider, context)) as parts:
            async for part in parts:
                yield part


# -- all of a channel ------------------------------------------------------------------------------


class Preparations:
    """The prepared answers of one channel: one for each participant of a room at most."""

    def __init__(self, channel_id: str, *, limit: int = MAX_PREPARATIONS) -> None:
        self.counts = PreparationCounts()
        self._limit = limit
        self._scope = TaskScope(f"prepared answers of {channel_id}")
        self._open: dict[Key, Preparation] = {}
        """The oldest first."""
        self._closed = False

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, key: Key, provider: AIProvider, build: Build) -> None:
        """Have `provider` answer what `build` makes, in place of what was prepared before; nothing
        comes of None. Providers with a `speculative` that is False are not asked."""
        self.withdraw(key)
        if self._closed or not provider.speculative:
            return
        while len(self._open) >= self._limit:
            self.withdraw(next(iter(self._open)))
        preparation = self._open[key] = Preparation(provider, build, self.counts)
        task = preparation.start(self._scope, key[0])
        task.add_done_callback(lambda _task: self._forget(key, preparation))

    def _forget(self, key: Key, preparation: Preparation) -> None:
        if self._open.get(key) is preparation:
            del self._open[key]

    def withdraw(self, key: Key) -> None:
        """It is of no use; idempotent."""
        preparation = self._open.pop(key, None)
        if preparation is not None:
            preparation.close()

    def end(self, room_id: str) -> None:
        """Nothing can be said in a room any more."""
        for key in [key for key in self._open if key[0] == room_id]:
            self.withdraw(key)

    def adopt(
        self, event: RoomEvent, request: AIContext | None, provider: AIProvider
    ) -> AIProvider:
        """Who answers `event`: the provider, or what it prepared if that is an answer to `request`.
        Else what was prepared for whoever spoke is closed; with None nothing is answered."""
        speaker = event.source.participant_id
        if speaker is None or not event.metadata.get("spoken"):
            return provider
        preparation = self._open.pop((event.room_id, speaker), None)
        if preparation is None:
            return provider
        if preparation.over or preparation.request is None or request is None:
            preparation.close()
            return provider
        if not is_same(preparation.request, request):
            preparation.count("mismatched")
            preparation.close()
            return provider
        preparation.adopt()
        return Begun(provider, preparation)

    async def close(self) -> None:
        """Give up all of them."""
        self._closed = True
        self._open.clear()
        await self._scope.close()
