"""Delivery sets: who gets a committed event, executed in index order (chapter 12).

Transports are served inside the room's lane. Agents are asked in a lane of their own per room and
agent: an answer that is still being produced or spoken delays neither the events of others nor
their delivery, and the next question to the same agent is asked when its answer is over, with that
answer in the history.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from salon.base import within
from salon.core.context import Contexts
from salon.core.effects import SideEffects
from salon.core.errors import AgentBusyError
from salon.core.framework import FrameworkEvents
from salon.core.lanes import Lanes
from salon.core.marks import DeliveredMarks, Planned
from salon.core.mutations import Mutation
from salon.core.observers import Observers
from salon.core.permissions import may_deliver, solicited
from salon.core.ports.channel import Channel
from salon.core.ports.store import ConversationStore
from salon.core.ports.telemetry import SpanKind
from salon.core.ports.transcoder import ContentTranscoder
from salon.core.registry import ChannelRegistry
from salon.core.resilience import DeliveryGuard
from salon.core.telemetry import NO_TRACER, Tracer, carried
from salon.models import (
    ChannelBinding,
    ChannelCategory,
    DeliveryError,
    DeliveryResult,
    EventStatus,
    HookTrigger,
    RoomContext,
    RoomEvent,
)

_log = logging.getLogger("salon.core.delivery")

MAX_QUESTIONS = 1024
"""Questions that may wait for one agent in one room; beyond, it is passed over."""


@dataclass(slots=True, eq=False)
class RootCall:
    """One call from outside and everything it leads to."""

    reentries: int = 0
    error: BaseException | None = None
    answers: list[RoomEvent] = field(default_factory=list)
    """What agents said, as stored; bounded by the cap on reentries (R151)."""
    pending: list[asyncio.Future[object]] = field(default_factory=list)

    async def settle(self) -> None:
        """Wait for every answer this call led to, and theirs."""
        while self.pending:
            await asyncio.wait([self.pending.pop()])


@dataclass(frozen=True, slots=True)
class DeliverySet:
    """A committed event and its targets as they were at the commit (R124).

    `announced` and `streamed` name the announcement and the channels that got the text live.
    """

    event: RoomEvent
    context: RoomContext
    targets: tuple[ChannelBinding, ...] = ()
    bare: bool = False
    """An injected event: no transcoding, no filter, no answers (R145)."""
    announced: RoomEvent | None = None
    streamed: frozenset[str] = frozenset()
    mutation: Mutation | None = None
    """What the event changed of an earlier one."""
    stored: bool = True
    """Else there is no index to mark as delivered, and no event to note results at (R101)."""
    source: ChannelBinding | None = field(init=False)
    """The binding the event came by, if it came by one; looked up once for all targets."""

    def __post_init__(self) -> None:
        binding = self.context.binding(self.event.source.channel_id)
        object.__setattr__(self, "source", binding)


def agent_lane(room_id: str, channel_id: str) -> tuple[str, str]:
    """The lane in which one agent of one room is asked."""
    return room_id, channel_id


Ask = Callable[[RoomEvent, ChannelBinding, RootCall, datetime], Awaitable[None]]
"""The last is when the room was made that the question belongs to."""


class Delivery:
    """Executes delivery sets. `ask` has an agent answer an event, `fit` makes of a content what a
    target can carry."""

    def __init__(
        self,
        *,
        store: ConversationStore,
        channels: ChannelRegistry,
        contexts: Contexts,
        observers: Observers,
        framework: FrameworkEvents,
        effects: SideEffects,
        guard: DeliveryGuard,
        marks: DeliveredMarks,
        ask: Ask,
        transcoder: ContentTranscoder,
        timeout: float = 30.0,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._store = store
        self._channels = channels
        self._contexts = contexts
        self._observers = observers
        self._framework = framework
        self._effects = effects
        self._guard = guard
        self._marks = marks
        self._ask = ask
        self._transcoder = transcoder
        self._timeout = timeout
        self._tracer = tracer
        self.rooms = Lanes("delivery lanes")
        self.agents = Lanes("agent lanes")

    def plan(
        self, item: DeliverySet, root: RootCall
    ) -> asyncio.Future[Mapping[str, DeliveryResult]]:
        """Append to the room's lane; the future gets the results per target channel."""
        planned = self._marks.planned(item.context.room, item.event.index) if item.stored else None
        work = carried(lambda: self._broadcast(item, root, planned))
        return self.rooms.put(item.event.room_id, work)

    def drop(self, room_id: str) -> None:
        """The room is deleted: what it still owed ends with it (R211), but for what the caller is
        part of."""
        self.rooms.drop(room_id)
        self.agents.drop_room(room_id)

    def waits_for_caller(self) -> bool:
        """Whether the caller is part of a delivery or an answer, in whatever room."""
        return self.rooms.entered() or self.agents.entered()

    def waiting(self, context: RoomContext) -> int:
        """How far the slowest part of a room is behind: delivery, or questions to one agent."""
        room_id = context.room.id
        agents = (
            self.agents.waiting(agent_lane(room_id, binding.channel_id))
            for binding in context.bindings
        )
        return max(self.rooms.waiting(room_id), *agents, 0)

    async def close(self, timeout: float) -> None:
        """Let the lanes run dry for a bounded time, then abort (R140)."""
        await self.agents.close(timeout)
        await self.rooms.close(timeout)

    async def _broadcast(
        self, item: DeliverySet, root: RootCall, planned: Planned | None
    ) -> Mapping[str, DeliveryResult]:
        with self._tracer.span(SpanKind.BROADCAST, "broadcast", room_id=item.event.room_id) as span:
            if span:
                span.set_attribute("event_id", item.event.id)
                span.set_attribute("delivery.targets", len(item.targets))
            return await self._execute(item, root, planned)

    async def _execute(
        self, item: DeliverySet, root: RootCall, planned: Planned | None
    ) -> Mapping[str, DeliveryResult]:
        if self._contexts.replaced(item.context.room):  # another process deleted the room (R211)
            if planned is not None:
                self._marks.abandon(planned)
            return {}
        told = [
            binding
            for binding in item.targets
            if item.bare or binding.category is ChannelCategory.TRANSPORT
        ]
        if len(told) == 1:
            outcomes = [await self._deliver(item, told[0])]
        else:
            outcomes = await asyncio.gather(*(self._deliver(item, binding) for binding in told))
        results = {outcome.channel_id: outcome for outcome in outcomes if outcome is not None}
        asked: list[asyncio.Future[object]] = []
        try:
            if not item.bare:
                self._hand_to_agents(item, root, asked)
            await self._report(item, results)
        except Exception:  # noqa: BLE001 - committed and delivered, whatever can be told of it
            _log.exception("what became of %s was not told", item.event.id, extra=_place(item))
        finally:
            if planned is None:
                pass
            elif self._contexts.replaced(item.context.room):
                self._marks.abandon(planned)
            elif not asked or self._reached(item.event.room_id, told):
                await self._marks.done(planned)
            else:  # only agents had to do with it: it is done when they are
                await self._marks.done_after(planned, asked)
        if not item.bare and item.event.status is not EventStatus.BLOCKED:
            self._observe(item)
        return results

    def _reached(self, room_id: str, told: Sequence[ChannelBinding]) -> bool:
        """Whether somebody was told. A line that nobody is on must not keep a question that no
        agent answered yet from being asked again after a crash."""
        channels = (self._channels.find(binding.channel_id) for binding in told)
        return any(channel is not None and channel.reaches(room_id) for channel in channels)

    def _observe(self, item: DeliverySet) -> None:
        """What the event changed, AFTER_BROADCAST, and before it the observers of the decision
        (R112, R163)."""
        if item.mutation is not None:
            self._observers.tell(item.mutation.trigger, item.mutation.target, item.context)
        if item.source is None:
            return  # a record of the framework's own
        for trigger in (HookTrigger.BEFORE_BROADCAST, HookTrigger.AFTER_BROADCAST):
            self._observers.tell(trigger, item.event, item.context)

    async def _deliver(self, item: DeliverySet, binding: ChannelBinding) -> DeliveryResult | None:
        """None: nothing was to be delivered, and nothing failed."""
        channel_id = binding.channel_id
        try:
            if not self._tracer.on:
                return await self._deliver_to(item, binding)
            with self._tracer.span(
                SpanKind.DELIVERY, "deliver", room_id=item.event.room_id, channel_id=channel_id
            ):
                return await self._deliver_to(item, binding)
        except TimeoutError as failure:
            words = str(failure) or f"took longer than {self._timeout:g} s"
            error = DeliveryError(code="timeout", message=words)
            self._log_failure(item, channel_id, error)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            error = DeliveryError(code="cancelled", message="the channel cancelled itself")
        except Exception as failure:  # noqa: BLE001 - recorded as this target's failure
            error = DeliveryError(
                code=getattr(failure, "code", None) or type(failure).__name__,
                message=str(failure),
                retryable=getattr(failure, "retryable", True),
            )
            self._log_failure(item, channel_id, error, failure)
        return DeliveryResult(channel_id=channel_id, status="failed", error=error)

    def _log_failure(
        self,
        item: DeliverySet,
        channel_id: str,
        error: DeliveryError,
        cause: Exception | None = None,
    ) -> None:
        """A failure that may pass is a warning, one that will not an error (R260)."""
        channel = self._channels.find(channel_id)
        event = item.event
        _log.log(
            logging.WARNING if error.retryable else logging.ERROR,
            "delivery of %s to %s failed",
            event.id,
            channel_id,
            exc_info=cause,
            extra={
                "room_id": event.room_id,
                "event_id": event.id,
                "channel_id": channel_id,
                "provider": None if channel is None else channel.provider_name,
                "chain_depth": event.chain_depth,
                "status": error.code,
            },
        )
        told = {"channel_id": channel_id, "error.code": error.code}
        self._tracer.metric("salon.delivery.failures", 1, attributes=told)

    async def _deliver_to(
        self, item: DeliverySet, binding: ChannelBinding
    ) -> DeliveryResult | None:
        channel = self._channels.find(binding.channel_id)
        if channel is None:
            _log.warning("channel %s is bound but not registered", binding.channel_id)
            return None
        event = item.event
        if item.announced is not None and binding.channel_id in item.streamed:
            finished = channel.finish_stream(item.announced, event, binding, None)
            await within(self._timeout, finished)
            return DeliveryResult(channel_id=binding.channel_id, status="sent")
        if not item.bare:
            event = await self._fitting(item, binding)
        if reacts(channel):
            output = await within(self._timeout, channel.on_event(event, binding, item.context))
            if not item.bare:
                made = item.context.room.created_at
                await self._effects.keep_output(event.room_id, output, made=made)
        if binding.category is not ChannelCategory.TRANSPORT or not may_deliver(binding):
            return None
        output = await self._guard.run(
            binding.channel_id,
            lambda: channel.deliver(event, binding, item.context),
            timeout=self._timeout,
            limit=binding.rate_limit or binding.capabilities.rate_limit,
            retry=binding.retry_policy,
        )
        return DeliveryResult(
            channel_id=binding.channel_id,
            status="sent",
            provider_message_id=output.provider_message_id if output is not None else None,
        )

    async def _fitting(self, item: DeliverySet, binding: ChannelBinding) -> RoomEvent:
        """The event as this target can carry it (R183, R184)."""
        event = item.event
        content = await self._transcoder.transcode(event.content, item.source or binding, binding)
        if content is None:
            raise UntranscodableError(binding.channel_id)
        return event if content is event.content else event.model_copy(update={"content": content})

    def _hand_to_agents(
        self, item: DeliverySet, root: RootCall, asked: list[asyncio.Future[object]]
    ) -> None:
        """Put the event to the agents that are asked; the futures end with their answers."""
        from_agent: bool | None = None
        for binding in item.targets:
            if binding.category is not ChannelCategory.INTELLIGENCE:
                continue
            if from_agent is None:
                source = self._channels.find(item.event.source.channel_id)
                from_agent = source is not None and source.category is ChannelCategory.INTELLIGENCE
            if not solicited(item.event, item.context.room, binding, from_agent=from_agent):
                continue
            lane = agent_lane(item.event.room_id, binding.channel_id)
            if self.agents.waiting(lane) >= MAX_QUESTIONS:
                self._pass_over(item.event, binding, root)
                continue
            question = self._put_question(item, binding, root)
            root.pending.append(question)
            asked.append(question)

    def _pass_over(self, event: RoomEvent, binding: ChannelBinding, root: RootCall) -> None:
        """An agent that is too far behind is not asked; people go on talking. It reads up on it
        with its next question (R93)."""
        channel_id = binding.channel_id
        facts = {"room_id": event.room_id, "event_id": event.id, "channel_id": channel_id}
        _log.warning("agent %s is too far behind to be asked", channel_id, extra=facts)
        self._framework.emit(
            "agent_busy", room_id=event.room_id, event_id=event.id, channel_id=channel_id
        )
        root.error = root.error or AgentBusyError(channel_id, MAX_QUESTIONS)

    def _put_question(
        self, item: DeliverySet, binding: ChannelBinding, root: RootCall
    ) -> asyncio.Future[object]:
        event, made = item.event, item.context.room.created_at
        return self.agents.put(
            agent_lane(event.room_id, binding.channel_id),
            carried(lambda: self._ask(event, binding, root, made)),
        )

    async def _report(self, item: DeliverySet, results: Mapping[str, DeliveryResult]) -> None:
        """Tell what became of it; the event itself stays as committed (R100, R141)."""
        event = item.event
        failed = False
        for channel_id, result in results.items():
            ok = result.error is None
            failed = failed or not ok
            self._framework.emit(
                "delivery_succeeded" if ok else "delivery_failed",
                room_id=event.room_id,
                channel_id=channel_id,
                event_id=event.id,
                facts=None if result.error is None else {"error": result.error.message},
            )
        if failed:
            self._framework.emit(
                "broadcast_partial_failure", room_id=event.room_id, event_id=event.id
            )
        if failed and item.stored:
            await self._store.set_delivery_results(
                event.room_id,
                event.id,
                {key: result.model_dump(mode="json") for key, result in results.items()},
            )


def _place(item: DeliverySet) -> dict[str, str]:
    """Where a log line belongs (R260)."""
    return {"room_id": item.event.room_id, "event_id": item.event.id}


def reacts(channel: Channel) -> bool:
    """Whether a channel has an `on_event` of its own."""
    return type(channel).on_event is not Channel.on_event


class UntranscodableError(Exception):
    """The target cannot carry the content in any form (R133)."""

    code = "transcoding_failed"
    retryable = False

    def __init__(self, channel_id: str) -> None:
        super().__init__(f"channel {channel_id!r} cannot carry this content")
