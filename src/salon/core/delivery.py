"""Delivery sets: who gets a committed event, executed in index order (chapter 12).

Transports are served inside the room's lane. Agents are asked in a lane of their own per room and
agent: an answer that is still being produced or spoken delays neither the events of others nor
their delivery, and the next question to the same agent is asked when its answer is over, with that
answer in the history.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from salon.core.effects import SideEffects
from salon.core.framework import FrameworkEvents
from salon.core.lanes import Lanes
from salon.core.observers import Observers
from salon.core.permissions import may_deliver, solicited
from salon.core.ports.store import ConversationStore
from salon.core.registry import ChannelRegistry
from salon.core.transcoding import transcode
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


@dataclass(slots=True, eq=False)
class RootCall:
    """One call from outside and everything it leads to."""

    reentries: int = 0
    error: BaseException | None = None
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


def agent_lane(room_id: str, channel_id: str) -> str:
    """The lane in which one agent of one room is asked."""
    return f"{room_id}/{channel_id}"


Ask = Callable[[RoomEvent, ChannelBinding, RootCall], Awaitable[None]]


class Delivery:
    """Executes delivery sets. `ask` has an agent answer an event."""

    def __init__(
        self,
        *,
        store: ConversationStore,
        channels: ChannelRegistry,
        observers: Observers,
        framework: FrameworkEvents,
        effects: SideEffects,
        ask: Ask,
        timeout: float = 30.0,
    ) -> None:
        self._store = store
        self._channels = channels
        self._observers = observers
        self._framework = framework
        self._effects = effects
        self._ask = ask
        self._timeout = timeout
        self.rooms = Lanes("delivery lanes")
        self.agents = Lanes("agent lanes")

    def plan(
        self, item: DeliverySet, root: RootCall
    ) -> asyncio.Future[Mapping[str, DeliveryResult]]:
        """Append to the room's lane; the future gets the results per target channel."""
        return self.rooms.put(item.event.room_id, lambda: self._execute(item, root))

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

    async def _execute(self, item: DeliverySet, root: RootCall) -> Mapping[str, DeliveryResult]:
        told = [
            binding
            for binding in item.targets
            if item.bare or binding.category is ChannelCategory.TRANSPORT
        ]
        outcomes = await asyncio.gather(*(self._deliver(item, binding) for binding in told))
        if not item.bare:
            self._hand_to_agents(item, root)
        results = {outcome.channel_id: outcome for outcome in outcomes if outcome is not None}
        await self._report(item, results)
        if not item.bare and item.event.status is not EventStatus.BLOCKED:
            self._observe(item)
        return results

    def _observe(self, item: DeliverySet) -> None:
        """AFTER_BROADCAST, and the observers of the decision that came before (R163)."""
        for trigger in (HookTrigger.BEFORE_BROADCAST, HookTrigger.AFTER_BROADCAST):
            self._observers.tell(trigger, item.event, item.context)

    async def _deliver(self, item: DeliverySet, binding: ChannelBinding) -> DeliveryResult | None:
        """None: nothing was to be delivered, and nothing failed."""
        channel_id = binding.channel_id
        try:
            async with asyncio.timeout(self._timeout):
                delivered = await self._deliver_to(item, binding)
        except TimeoutError:
            error = DeliveryError(code="timeout", message=f"took longer than {self._timeout:g} s")
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            error = DeliveryError(code="cancelled", message="the channel cancelled itself")
        except Exception as failure:  # noqa: BLE001 - recorded as this target's failure
            _log.warning("delivery of %s to %s failed", item.event.id, channel_id, exc_info=True)
            error = DeliveryError(
                code=getattr(failure, "code", None) or type(failure).__name__,
                message=str(failure),
                retryable=getattr(failure, "retryable", True),
            )
        else:
            return DeliveryResult(channel_id=channel_id, status="sent") if delivered else None
        return DeliveryResult(channel_id=channel_id, status="failed", error=error)

    async def _deliver_to(self, item: DeliverySet, binding: ChannelBinding) -> bool:
        channel = self._channels.find(binding.channel_id)
        if channel is None:
            _log.warning("channel %s is bound but not registered", binding.channel_id)
            return False
        event = item.event
        if item.announced is not None and binding.channel_id in item.streamed:
            await channel.finish_stream(item.announced, event, binding, None)
            return True
        if not item.bare:
            content = transcode(event.content, binding.capabilities)
            if content is None:
                raise UntranscodableError(binding.channel_id)
            if content is not event.content:
                event = event.model_copy(update={"content": content})
        output = await channel.on_event(event, binding, item.context)
        if not item.bare:
            await self._effects.keep_output(event.room_id, output)
        if binding.category is not ChannelCategory.TRANSPORT or not may_deliver(binding):
            return False
        await channel.deliver(event, binding, item.context)
        return True

    def _hand_to_agents(self, item: DeliverySet, root: RootCall) -> None:
        source = self._channels.find(item.event.source.channel_id)
        from_agent = source is not None and source.category is ChannelCategory.INTELLIGENCE
        for binding in item.targets:
            if binding.category is not ChannelCategory.INTELLIGENCE or not solicited(
                item.event, item.context.room, binding, from_agent=from_agent
            ):
                continue
            root.pending.append(self._put_question(item.event, binding, root))

    def _put_question(
        self, event: RoomEvent, binding: ChannelBinding, root: RootCall
    ) -> asyncio.Future[object]:
        return self.agents.put(
            agent_lane(event.room_id, binding.channel_id), lambda: self._ask(event, binding, root)
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
                **({} if result.error is None else {"error": result.error.message}),
            )
        if failed:
            self._framework.emit(
                "broadcast_partial_failure", room_id=event.room_id, event_id=event.id
            )
            await self._store.set_delivery_results(
                event.room_id,
                event.id,
                {key: result.model_dump(mode="json") for key, result in results.items()},
            )
        await self._store.advance_delivered_index(event.room_id, event.index)


class UntranscodableError(Exception):
    """The target cannot carry the content in any form (R133)."""

    code = "transcoding_failed"
    retryable = False

    def __init__(self, channel_id: str) -> None:
        super().__init__(f"channel {channel_id!r} cannot carry this content")
