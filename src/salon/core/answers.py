"""Agents: asked in order, their answers re-enter the timeline (chapter 13)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol

from salon.base import ConfigurationError, IdFactory, SalonError, new_id, within
from salon.core.changes import RoomChanges
from salon.core.context import Contexts
from salon.core.copying import altered
from salon.core.delivery import RootCall
from salon.core.effects import SideEffects
from salon.core.errors import RoomKitError, RoomNotFoundError
from salon.core.framework import FrameworkEvents
from salon.core.hooks import HookRegistry
from salon.core.passes import Committed, Pass
from salon.core.permissions import effective_scope, may_deliver, targets, write_refusal
from salon.core.ports.channel import Channel
from salon.core.ports.telemetry import SpanKind
from salon.core.registry import ChannelRegistry
from salon.core.streaming import StreamResult, StreamTee, bounded
from salon.core.telemetry import NO_TRACER, ActiveSpan, Tracer
from salon.core.tenancy import Meant
from salon.models import (
    ChannelBinding,
    ChannelCategory,
    ChannelDirection,
    ChannelOutput,
    ChannelType,
    DeleteContent,
    EditContent,
    EventSource,
    EventType,
    HookTrigger,
    Observation,
    RoomContext,
    RoomEvent,
    SystemContent,
    TextContent,
)

_log = logging.getLogger("salon.core.answers")

ANSWER_S = 600.0
"""How long an agent may take to begin an answer, or to give a whole one, in seconds."""
DEPTH_LIMIT = "event_chain_depth_limit"
LOOP_CAP = "reentry_loop_cap"


class Passes(Protocol):
    """What answers need of the timeline."""

    async def run(self, item: Pass) -> Committed: ...

    async def record(self, event: RoomEvent, *, meant: Meant = ...) -> RoomEvent | None: ...


class Answers:
    """Asks one agent about one event and takes care of what it gives back."""

    def __init__(
        self,
        *,
        channels: ChannelRegistry,
        contexts: Contexts,
        hooks: HookRegistry,
        framework: FrameworkEvents,
        effects: SideEffects,
        timeline: Callable[[], Passes],
        changes: RoomChanges | None = None,
        max_chain_depth: int = 5,
        ids: IdFactory = new_id,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._channels = channels
        self._contexts = contexts
        self._hooks = hooks
        self._framework = framework
        self._effects = effects
        self._timeline = timeline
        self._changes = changes or RoomChanges()
        self._max_depth = max(1, max_chain_depth)
        self._ids = ids
        self._tracer = tracer

    async def ask(
        self, event: RoomEvent, binding: ChannelBinding, root: RootCall, made: datetime
    ) -> None:
        """Run in the agent's lane. What the agent raises is reported, not raised. Nothing comes of
        it once the room that was `made` then is gone (R211)."""
        channel = self._channels.find(binding.channel_id)
        if channel is None:
            return
        context = await self._contexts.again(event.room_id, made)
        if context is None or not context.room.status.accepts_events:
            return
        try:
            with self._tracer.span(
                SpanKind.LLM_GENERATE,
                "ai_generate",
                room_id=event.room_id,
                channel_id=channel.channel_id,
            ) as span:
                output = await within(ANSWER_S, channel.on_event(event, binding, context))
                if output.response_stream is None:
                    span.set_attribute("llm.answered", output.responded)
                    span.end()
                await self._effects.keep_output(event.room_id, output, made=made)
                await self._take(event, channel, output, context, root, span)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            error = RoomKitError("the agent cancelled itself")
            await self._failed(event, binding.channel_id, context, error, root)
        except Exception as error:  # noqa: BLE001 - reported to the room
            await self._failed(event, binding.channel_id, context, error, root)

    async def _take(
        self,
        trigger: RoomEvent,
        channel: Channel,
        output: ChannelOutput,
        context: RoomContext,
        root: RootCall,
        span: ActiveSpan,
    ) -> None:
        answers = output.response_events if output.responded else ()
        taken = {past.id for past in context.recent_events} | {trigger.id} if answers else set()
        for answer in answers:
            descent = self._descent(trigger, context, answer)
            own: dict[str, Any] = {
                "channel_id": channel.channel_id,
                "channel_type": channel.channel_type,
            }
            if isinstance(answer.content, EditContent | DeleteContent):
                own["participant_id"] = None  # an agent speaks for nobody (R105)
            descent["source"] = answer.source.model_copy(update=own)
            if answer.id in taken:  # made from another event
                descent |= {"id": self._ids(), "idempotency_key": None}
            await self._reenter(bounded(answer.model_copy(update=descent)), root, context)
        if output.response_stream is None:
            return
        # it may have thought for long
        now = await self._contexts.again(trigger.room_id, context.room.created_at)
        refused = (
            now is None
            or not now.room.status.accepts_events
            or write_refusal(now.binding(channel.channel_id)) is not None
        )
        if now is None or refused or self._too_deep(trigger):
            closing = getattr(output.response_stream, "aclose", None)
            if closing is not None:
                await closing()
            if now is not None and not refused:
                await self._reenter(self._announce(trigger, channel, now), root, now)
            return
        await self._stream(trigger, channel, output, now, root, span)

    async def _stream(
        self,
        trigger: RoomEvent,
        channel: Channel,
        output: ChannelOutput,
        context: RoomContext,
        root: RootCall,
        span: ActiveSpan,
    ) -> None:
        assert output.response_stream is not None
        announced = self._announce(trigger, channel, context)
        announced = altered(announced, {"metadata": dict(output.response_metadata)})
        made = context.room.created_at
        tee = StreamTee(
            announced,
            lambda: self._listeners(announced, made),
            context,
            lambda: self._readers(announced, made),
        )
        with self._told_at_least(tee, trigger, channel.channel_id):
            with self._changes.watched(announced.room_id, tee.look_again):
                result = await tee.run(output.response_stream)
            if result.error is not None:
                span.record_error(result.error)
            span.set_attribute("llm.answered", bool(result.text.strip()))
            span.end()  # what follows comes of it, but generates nothing
            metadata = {**output.response_metadata, **result.metadata}
            if result.error is not None:
                metadata["error"] = _words(result.error)
            committed = Committed(None)
            if result.text.strip():
                answer = altered(
                    announced, {"content": TextContent(body=result.text), "metadata": metadata}
                )
                committed = await self._reenter(
                    answer, root, context, announced=announced, streamed=frozenset(tee.taken)
                )
            left = [
                sink for sink in tee.chosen if sink[1].channel_id in tee.taken - committed.targets
            ]
            await self._not_stored(announced, left, result)
        if result.error is None:
            return
        if committed.event is None or not isinstance(result.error, Exception):
            raise result.error
        await self._failed(trigger, channel.channel_id, context, result.error, root, begun=True)

    @contextmanager
    def _told_at_least(self, tee: StreamTee, trigger: RoomEvent, channel_id: str) -> Iterator[None]:
        """An answer that broke off is known to have failed while what there is of it is still
        played and stored: if the room ends in that time, the failure is told all the same."""
        try:
            yield
        except asyncio.CancelledError:
            current = asyncio.current_task()
            ended = current is not None and current.cancelling() > 0
            if ended and isinstance(tee.failure, Exception):
                self._tell(trigger, channel_id, tee.failure)
            raise

    def _tell(self, event: RoomEvent, channel_id: str, error: Exception) -> None:
        """Those who look after agents learn of every failure, even if the room is gone."""
        _log.error(
            "agent %s failed in room %s",
            channel_id,
            event.room_id,
            exc_info=error,
            extra={"room_id": event.room_id, "event_id": event.id, "channel_id": channel_id},
        )
        self._framework.emit(
            "agent_failed",
            room_id=event.room_id,
            channel_id=channel_id,
            event_id=event.id,
            error=_words(error),
            error_type=type(error).__name__,
            error_category=_category(error),
        )

    async def _not_stored(
        self,
        announced: RoomEvent,
        sinks: list[tuple[Channel, ChannelBinding]],
        result: StreamResult,
    ) -> None:
        """Tell those who got it live, but will not get the stored event: nothing was said, or it
        was refused."""
        error = None if result.error is None else _words(result.error)
        for channel, binding in sinks:
            try:
                await channel.finish_stream(announced, None, binding, error)
            except Exception:  # noqa: BLE001 - the others have to be told as well (R131)
                _log.exception("channel %s failed to end an answer", channel.channel_id)

    async def _listeners(
        self, announced: RoomEvent, made: datetime
    ) -> list[tuple[Channel, ChannelBinding]]:
        """Who gets an answer live, as the room is when its first words are there (R124)."""
        found = []
        for binding in await self._readers(announced, made):
            channel = self._channels.find(binding.channel_id)
            if (
                channel is not None
                and channel.supports_streaming_delivery
                and channel.accepts_stream(binding)
            ):
                found.append((channel, binding))
        return found

    async def _readers(self, announced: RoomEvent, made: datetime) -> list[ChannelBinding]:
        """Through whom people may have an answer, as the room is now."""
        context = await self._contexts.again(announced.room_id, made)
        if context is None or not context.room.status.accepts_events:
            return []
        if write_refusal(context.binding(announced.source.channel_id)) is not None:
            return []  # it will be refused
        return [
            binding
            for binding in targets(announced, context.bindings)
            if binding.category is ChannelCategory.TRANSPORT and may_deliver(binding)
        ]

    def _announce(self, trigger: RoomEvent, channel: Channel, context: RoomContext) -> RoomEvent:
        """The answer before it has words; its id is the stored event's id."""
        event_id = self._ids()
        return RoomEvent(
            id=event_id,
            source=EventSource(
                channel_id=channel.channel_id,
                channel_type=channel.channel_type,
                direction=ChannelDirection.OUTBOUND,
                provider=channel.provider_name,
            ),
            content=TextContent(body=""),
            correlation_id=event_id,
            **self._descent(trigger, context, None),
        )

    def _descent(
        self, trigger: RoomEvent, context: RoomContext, answer: RoomEvent | None
    ) -> dict[str, Any]:
        """What an answer takes from the event it answers (R147), what may see it included, for
        every answer that follows (R152). An agent may narrow that."""
        visibility = "all" if answer is None else answer.visibility
        further = trigger.response_visibility
        if further is not None:
            visibility = effective_scope(further, visibility, context.bindings)
        elif answer is not None:
            further = answer.response_visibility
        return {
            "room_id": context.room.id,
            "chain_depth": trigger.chain_depth + 1,
            "responds_to": trigger.id,
            "parent_event_id": trigger.parent_event_id,
            "visibility": visibility,
            "response_visibility": further,
        }

    def _too_deep(self, trigger: RoomEvent) -> bool:
        return trigger.chain_depth + 1 >= self._max_depth

    async def _reenter(
        self,
        answer: RoomEvent,
        root: RootCall,
        context: RoomContext,
        *,
        announced: RoomEvent | None = None,
        streamed: frozenset[str] = frozenset(),
    ) -> Committed:
        """A pass of its own for an answer (R146, R148, R151), into the room of `context` only:
        nothing comes of it if that is gone (R211)."""
        root.reentries += 1
        refuse = None
        if answer.chain_depth > 1 and answer.chain_depth >= self._max_depth - 1:
            facts = {
                "room_id": answer.room_id,
                "event_id": answer.id,
                "channel_id": answer.source.channel_id,
                "chain_depth": answer.chain_depth,
            }
            _log.warning("the chain of answers is near its limit", extra=facts)
        if answer.chain_depth >= self._max_depth:
            refuse = DEPTH_LIMIT
            self._framework.emit(
                "chain_depth_exceeded",
                room_id=answer.room_id,
                channel_id=answer.source.channel_id,
                depth=answer.chain_depth,
            )
            await self._effects.keep((), [_too_long(answer)])
        elif root.reentries > self._max_depth * 10:
            refuse = LOOP_CAP
        meant = Meant(made=context.room.created_at)
        try:
            committed = await self._timeline().run(
                Pass(
                    answer, root, refuse=refuse, announced=announced, streamed=streamed, meant=meant
                )
            )
        except RoomNotFoundError:
            return Committed(None, "room_not_found")
        if committed.event is not None and not (committed.blocked or committed.duplicate):
            root.answers.append(committed.event)
        if committed.delivered is not None:
            root.pending.append(committed.delivered)  # type: ignore[arg-type]
        return committed

    async def _failed(
        self,
        event: RoomEvent,
        channel_id: str,
        context: RoomContext,
        error: Exception,
        root: RootCall,
        *,
        begun: bool = False,
    ) -> None:
        """Say it where people see it; the room goes on (R142). `begun`: it broke off after words,
        which are stored, marked `failed`."""
        self._tell(event, channel_id, error)
        root.error = root.error or error
        made = context.room.created_at
        if await self._contexts.again(event.room_id, made) is None:
            return  # nobody is there to be shown it
        what = "finish its answer" if begun else "answer"
        note = RoomEvent(
            room_id=event.room_id,
            type=EventType.SYSTEM,
            source=EventSource(channel_id="system", channel_type=ChannelType.SYSTEM),
            content=SystemContent(
                code="agent_failed", body=f"The agent could not {what}: {_words(error)}"
            ),
            responds_to=event.id,
            visibility="transport",
            metadata={
                "error": _words(error),
                "error_type": type(error).__name__,
                "error_category": _category(error),
                "channel_id": channel_id,
            },
        )
        await self._timeline().record(note, meant=Meant(made=made))
        await self._hooks.observe(HookTrigger.ON_ERROR, note, context)


def _too_long(answer: RoomEvent) -> Observation:
    """Agents went on answering each other (R149)."""
    return Observation(
        room_id=answer.room_id,
        channel_id=answer.source.channel_id,
        category="event_chain_depth_exceeded",
        content=f"an answer at depth {answer.chain_depth} was refused",
    )


def _category(error: BaseException) -> str:
    """What kind of failure it is, for programs: ``timeout``, ``provider``, ``configuration`` or
    ``internal``."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ConfigurationError):
        return "configuration"
    said = getattr(error, "retryable", None)
    return "provider" if said is not None or isinstance(error, OSError) else "internal"


def _words(error: BaseException) -> str:
    """An error as people may read it: our own errors say what is wrong, others only their type. So
    do those with a `where`: they quote somebody's program, which is for the log."""
    cause = error.__cause__ or error
    if isinstance(error, SalonError) and not hasattr(error, "where"):
        return str(error)
    return f"{type(cause).__name__} (see the log)"
