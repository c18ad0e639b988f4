"""An agent in a room: the bridge between the timeline and an `AIProvider` (R57-R63)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from salon.base import SYSTEM_CLOCK, Clock, ConfigurationError
from salon.channels.ai_hooks import DETACHED, ROOM_ENDED, TurnHooks
from salon.channels.ai_human import HumanInput, TurnClock
from salon.channels.ai_prepared import Heard, PreparationCounts, Preparations, question_of
from salon.channels.ai_prompt import (
    catch_up,
    is_called,
    name_of,
    reach_notes,
    reach_of,
    thoughts_kept,
    view_of,
    words_of,
)
from salon.channels.ai_told import Told
from salon.channels.ai_tools import Serve, ToolHandler, Toolset, TurnTools, serving, tool_spec
from salon.core.kit import RoomKit
from salon.core.memory.window import SlidingWindowMemory
from salon.core.permissions import history_for
from salon.core.ports.ai import (
    AIContext,
    AIMessage,
    AIProvider,
    AITool,
    AIToolCall,
    AIToolResult,
    ResponseMetadata,
    TextDelta,
    ThinkingDelta,
)
from salon.core.ports.channel import Channel
from salon.core.ports.memory import MemoryProvider
from salon.core.telemetry import NO_SPAN, current_span
from salon.models import (
    NO_OUTPUT,
    AgentResponsePolicy,
    ChannelBinding,
    ChannelCategory,
    ChannelOutput,
    ChannelType,
    EventType,
    HookTrigger,
    RoomContext,
    RoomEvent,
)
from salon.models.ai import AIGenerationEvent, AIResponseEvent, ThinkingEvent
from salon.providers.toolloop import LoopReport, run_with_tools
from salon.providers.tools import ToolBox
from salon.tools import HumanInputToolHandler

__all__ = ["AIChannel", "Respond"]

Respond = Literal["always", "addressed"]
CLOSE_S = 5.0
"""What is plugged in has so long to close."""
CHARS_PER_TOKEN = 4
"""How long a token is taken to be, where nobody counts them."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """What an agent was asked."""

    event: RoomEvent
    binding: ChannelBinding
    context: RoomContext


class AIChannel(Channel):
    """One agent; it serves any number of rooms and keeps nothing of any but what it was told last.

    `name` is how people see it. `provider` answers, or `fallback_provider` if it fails before its
    first word. `system_prompt`, `temperature`, `max_tokens` and `thinking_budget` may be overridden
    per room in the binding's metadata, where ``tools`` adds declared ones (R61). `tools` are
    functions, run here, or declared ones, which `tool_handler` runs; a result of more than about
    `evict_threshold_tokens` is cut, and says so. The tools of `human_input_handler` ask a person
    (R167), and the time that takes counts for no other limit. `memory` chooses what it is told of
    the past: by default the last `max_context_events` messages.

    With `respond` "addressed" it answers what is addressed to it, or calls it by its name at the
    beginning or as ``@name``, and only listens otherwise. An answer fails if the provider says
    nothing for `silence_timeout` seconds, or still calls tools after `tool_loop_timeout_seconds`
    (None: no limit). Answers always stream; a plain answer is a stream of one. Closing the channel
    closes its providers and its memory.
    """

    channel_type = ChannelType.AI
    category = ChannelCategory.INTELLIGENCE

    def __init__(
        self,
        channel_id: str = "agent",
        provider: AIProvider | None = None,
        system_prompt: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        max_context_events: int = 50,
        tool_handler: ToolHandler | None = None,
        tools: ToolBox | Iterable[Any] | None = None,
        max_tool_rounds: int = 200,
        tool_loop_timeout_seconds: float | None = 300.0,
        *,
        name: str | None = None,
        fallback_provider: AIProvider | None = None,
        human_input_handler: HumanInputToolHandler | None = None,
        memory: MemoryProvider | None = None,
        thinking_budget: int | None = None,
        evict_threshold_tokens: int = 5000,
        tool_timeout_seconds: float = 30.0,
        silence_timeout: float = 60.0,
        respond: Respond = "always",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(channel_id)
        if provider is None and self.needs_provider:
            raise ConfigurationError(f"agent {channel_id!r} has nobody to answer: pass provider=")
        if respond not in ("always", "addressed"):
            raise ConfigurationError(f"respond={respond!r}: it is 'always' or 'addressed'")
        if not isinstance(human_input_handler, HumanInputToolHandler | None):
            raise ConfigurationError(
                f"human_input_handler={human_input_handler!r}: it is a HumanInputToolHandler, "
                "which says what tools ask a person; its handler= is a HumanInputHandler"
            )
        self._provider = provider
        self._fallback = fallback_provider
        self.name = name or channel_id
        self._system_prompt = system_prompt
        self._temperature = temperature
        self._max_tokens = max_tokens
        self._thinking_budget = thinking_budget
        self._memory = memory or SlidingWindowMemory(max_context_events)
        window = max(max_context_events, self._memory.recent_events_window or 0)
        self.context_events = window + 1  # what is to be answered is among them
        self._max_result = evict_threshold_tokens * CHARS_PER_TOKEN
        self._tools = Toolset.of(tools, tool_handler, timeout=tool_timeout_seconds)
        self._max_rounds = max_tool_rounds
        self._loop_timeout = tool_loop_timeout_seconds
        self._silence_timeout = silence_timeout
        self._respond = respond
        self._clock = clock
        self._hooks = TurnHooks()
        self._human = HumanInput(human_input_handler, self._hooks, channel_id)
        self._preparations = Preparations(channel_id)
        self._told = Told(channel_id)

    needs_provider = True
    """Whether it can't be made without somebody who answers."""

    @property
    def provider(self) -> AIProvider:
        """Who answers. `ConfigurationError` if nobody does."""
        if self._provider is None:
            raise ConfigurationError(f"agent {self.channel_id!r} has no provider")
        return self._provider

    @property
    def provider_name(self) -> str | None:
        if self._provider is None:
            return None
        return self._provider.name or type(self._provider).__name__

    @property
    def info(self) -> dict[str, Any]:
        return {"name": self.name, "model": self._provider.model_name if self._provider else ""}

    @property
    def system_prompt(self) -> str | None:
        """What it is told to be, where the room says nothing else."""
        return self._system_prompt

    def set_system_prompt(self, prompt: str | None) -> None:
        """Another prompt, from the next turn on."""
        self._system_prompt = prompt

    def bind(self, kit: RoomKit) -> None:
        self._hooks.bind(kit)

    async def on_room_detached(self, room_id: str) -> None:
        self._human.end(room_id, DETACHED)
        self._preparations.end(room_id)
        self._told.forget(room_id)

    def on_room_ended(self, room_id: str, how: str) -> None:
        self._human.end(room_id, ROOM_ENDED.format(how))
        self._preparations.end(room_id)
        self._told.forget(room_id)

    async def close(self) -> None:
        self._told.clear()
        async with AsyncExitStack() as all_of_it:  # even if one of them fails
            for foreign in (self._fallback, self._provider, self._memory):
                if foreign is not None:
                    all_of_it.push_async_callback(_close, foreign)
            for own in (self._hooks, self._human, self._preparations):
                if own is not None:
                    all_of_it.push_async_callback(own.close)

    async def deliver(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        """Agents have no outside (R60)."""
        del event, binding, context
        return NO_OUTPUT

    async def on_event(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        """Answer a message of somebody else; anything else is left alone (R58). Nothing is asked
        of anybody before the answer is read (R75)."""
        if self._provider is None or not self._answers(event) or self._superseded(event, context):
            return NO_OUTPUT
        metadata: dict[str, Any] = {"sender_name": self.name}
        return ChannelOutput(
            response_stream=self._answer(_Turn(event, binding, context), metadata),
            response_metadata=metadata,
        )

    def _answers(self, event: RoomEvent) -> bool:
        """Whether this is for it to answer, if it is asked."""
        if event.source.channel_id == self.channel_id or event.type is not EventType.MESSAGE:
            return False
        text = words_of(event.content)
        if not text.strip():
            return False
        if event.addressed_to is not None or self._respond == "always":
            return event.addressed_to is None or self.channel_id in event.addressed_to
        return is_called(text, (self.name, self.channel_id))

    def _superseded(self, event: RoomEvent, context: RoomContext) -> bool:
        """The same voice went on talking before its answer began: the later words get the answer,
        with the earlier ones in the history."""
        if not event.metadata.get("spoken"):
            return False
        later = [
            item
            for item in context.recent_events
            if item.index > event.index
            and item.metadata.get("spoken")
            and item.source.participant_id == event.source.participant_id
            and self._answers(item)
        ]
        return bool(later and history_for(self.channel_id, later, context.bindings))

    # -- before it is asked -----------------------------------------------------------------------

    @property
    def preparations(self) -> PreparationCounts:
        """What became of the answers prepared so far."""
        return self._preparations.counts

    def prepare(
        self, room_id: str, *, channel_id: str, participant_id: str, name: str | None, text: str
    ) -> None:
        """Begin the answer to what somebody seems to have said through a channel. It is adopted if
        it comes exactly so, and discarded silently by then or by `withdraw`. Nothing is begun if
        the agent would not be asked, or if a hook decides about such words first."""
        kit, provider = self._hooks.kit, self._provider
        if kit is None or provider is None:
            return
        heard = Heard(room_id, channel_id, participant_id, name, text)

        async def foreseen() -> AIContext | None:
            question = await question_of(kit, self.channel_id, heard, self._answers)
            return None if question is None else await self._request(*question)

        self._preparations.begin((room_id, participant_id), provider, foreseen)

    def withdraw(self, room_id: str, participant_id: str) -> None:
        """What was prepared for somebody is of no use; idempotent."""
        self._preparations.withdraw((room_id, participant_id))

    # -- one turn ---------------------------------------------------------------------------------

    async def _answer(self, turn: _Turn, metadata: dict[str, Any]) -> AsyncIterator[str]:
        began = self._clock.monotonic()
        room_id = turn.event.room_id
        request = await self._asked(turn)
        provider = self._preparations.adopt(turn.event, request, self.provider)
        if request is None:
            return
        said: list[str] = []
        report = LoopReport()
        clock = TurnClock(self._clock)
        parts = run_with_tools(
            provider,
            request,
            self._guarded(partial(self._serve, turn, clock, report), request.tools, room_id),
            max_rounds=self._max_rounds,
            timeout=self._loop_timeout,
            silence=self._silence_timeout,
            fallback=self._fallback,
            report=report,
            clock=clock,
        )
        thought = 0
        try:
            async with aclosing(parts):
                async for part in parts:
                    if isinstance(part, TextDelta):
                        said.append(part.text)
                        yield part.text
                    elif isinstance(part, ResponseMetadata):
                        metadata.update(part.data)
                    elif thought < report.rounds:
                        thought = report.rounds
                        await self._thinks(part, room_id, report.rounds - 1)
        finally:
            if kept := thoughts_kept(report.thinking):
                metadata["thinking"] = kept
        await self._completed(report, "".join(said), room_id, self._clock.monotonic() - began)

    async def _serve(
        self, turn: _Turn, clock: TurnClock, report: LoopReport, call: AIToolCall
    ) -> AIToolResult | None:
        """Run a call, or let a person answer it."""
        if not self._human.serves(call.name):
            return await self._tools.serve(call)
        actor = turn.event.source.participant_id
        return await self._human.serve(call, turn.event.room_id, actor, clock, report)

    async def _asked(self, turn: _Turn) -> AIContext | None:
        """The request as the hooks leave it, or None if one of them wants no answer."""
        room_id = turn.event.room_id
        before = await self._hooks.run(HookTrigger.BEFORE_AI_CONTEXT_BUILD, room_id, turn.event)
        if before.blocked:
            return None
        request = await self._request(before.payload, turn.binding, turn.context)
        if not self._hooks.wants(HookTrigger.BEFORE_AI_GENERATION, room_id):
            return request
        payload = AIGenerationEvent(
            ai_context=request,
            channel_id=self.channel_id,
            room_id=room_id,
            provider_name=self.provider_name,
            timestamp=self._clock.now(),
            trigger=before.payload,
        )
        outcome = await self._hooks.run(HookTrigger.BEFORE_AI_GENERATION, room_id, payload)
        if outcome.blocked:
            return None
        context = outcome.payload.ai_context
        return context if isinstance(context, AIContext) else request

    async def _request(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> AIContext:
        own = binding.metadata
        spoken = bool(event.metadata.get("spoken"))
        view = view_of(self.channel_id, event, context)
        memory = await self._memory.retrieve(event.room_id, event, view, channel_id=self.channel_id)
        told = [past for past in memory.events if past.id != event.id]
        history = self._told.messages(told, context)
        name = name_of(event, context)
        asked = AIMessage("user", words_of(event.content), name, metadata=event.metadata)
        reach = reach_of(event, binding, context)
        missed = self._missed(event, view, told)
        notes = [*reach_notes(reach, spoken=spoken), *([missed] if missed else []), *memory.notes]
        prompt = self._prompt(own)
        return AIContext(
            room_id=event.room_id,
            messages=[*memory.messages, *history, asked],
            system_prompt="\n\n".join([*([prompt] if prompt else []), *notes]) or None,
            tools=self._tools.offered(
                [*self._human.specs, *(tool_spec(item) for item in own.get("tools") or ())]
            ),
            temperature=own.get("temperature", self._temperature),
            max_tokens=own.get("max_tokens", self._max_tokens),
            thinking_budget=own.get("thinking_budget", self._thinking_budget),
            spoken=spoken,
            participant_id=event.source.participant_id,
            participant_name=name,
            target_media_types=reach.media_types,
            target_capabilities=reach,
            metadata=context.room.metadata,
            room=view,
            notes=notes,
            guard=lambda runner: self._guarded(serving(runner), runner.specs, event.room_id),
        )

    def _prompt(self, own: Mapping[str, Any]) -> str | None:
        """What it is told to be; `own` is the binding's metadata."""
        prompt: str | None = own.get("system_prompt", self._system_prompt)
        return prompt

    def _missed(self, event: RoomEvent, view: RoomContext, told: Iterable[RoomEvent]) -> str | None:
        """A note on what was said without asking it since it last spoke (R93)."""
        since: list[RoomEvent] = []
        own = False
        for item in reversed(view.recent_events):
            if item.index < event.index:
                own = item.source.channel_id == self.channel_id
                if own:
                    break
                since.append(item)
        if not since:
            return None
        quiet = view.room.agent_response_policy is AgentResponsePolicy.ADDRESSED_ONLY
        unasked = [
            item
            for item in since
            if words_of(item.content).strip()
            and not (self._answers(item) and not (quiet and _unaddressed_agent(item)))
        ]
        more = not own and len(view.recent_events) >= self.context_events > 0
        return catch_up(unasked, {past.id for past in told}, more=more)

    def _guarded(self, serve: Serve, offered: Iterable[AITool], room_id: str) -> TurnTools:
        """Tools with the hooks of a room around them."""
        return TurnTools(
            serve,
            offered,
            self._hooks,
            channel_id=self.channel_id,
            room_id=room_id,
            max_result=self._max_result,
            clock=self._clock,
        )

    async def _thinks(self, part: ThinkingDelta, room_id: str, number: int) -> None:
        event = ThinkingEvent(
            room_id, self.channel_id, part.thinking, number, timestamp=self._clock.now()
        )
        await self._hooks.run(HookTrigger.ON_AI_THINKING, room_id, event)

    async def _completed(self, report: LoopReport, text: str, room_id: str, seconds: float) -> None:
        """Keep what the answer leaves besides its words, and tell that it is over (R66)."""
        if report.tasks or report.observations:
            await self._hooks.keep(report.tasks, report.observations)
        usage = report.facts.get("usage")
        self._measured(report, usage, seconds)
        if not self._hooks.wants(HookTrigger.ON_AI_RESPONSE, room_id):
            return
        event = AIResponseEvent(
            channel_id=self.channel_id,
            response_content=text,
            room_id=room_id,
            tool_calls_count=report.calls,
            usage=dict(usage) if isinstance(usage, Mapping) else {},
            thinking="".join(part.thinking for part in report.thinking),
            round_count=report.rounds,
            loop_end_reason=report.end,
            latency_ms=int(seconds * 1000),
            timestamp=self._clock.now(),
        )
        await self._hooks.run(HookTrigger.ON_AI_RESPONSE, room_id, event)

    def _measured(self, report: LoopReport, usage: Any, seconds: float) -> None:
        """Describe the answer to the span that it belongs to (R261)."""
        span = current_span()
        if span is NO_SPAN:
            return
        tokens = usage if isinstance(usage, Mapping) else {}
        facts = {
            "provider": self.provider_name,
            "model": self.provider.model_name,
            "llm.rounds": report.rounds,
            "llm.tool_count": report.calls,
            "llm.input_tokens": tokens.get("input_token_count", tokens.get("input_tokens")),
            "llm.output_tokens": tokens.get("output_token_count", tokens.get("output_tokens")),
        }
        for key, value in facts.items():
            if value is not None:
                span.set_attribute(key, value)
        told = {"channel_id": self.channel_id, "provider": self.provider_name}
        span.metric("salon.ai.duration", seconds * 1000, unit="ms", attributes=told)


async def _close(part: Any) -> None:
    """`TimeoutError` for a part that hangs."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await part.close()
    except TimeoutError as error:
        name = type(part).__name__
        raise TimeoutError(f"{name} did not close within {CLOSE_S:g} s") from error


def _unaddressed_agent(event: RoomEvent) -> bool:
    """Words of an agent that, under the policy ADDRESSED_ONLY, ask nobody (R91)."""
    return event.addressed_to is None and event.source.channel_type is ChannelType.AI
