"""What the conformance tests play on: recording transports, scripted agents, a room, virtual time.

Everything goes through the public surface: a `RoomKit`, its store, and channels that a host could
have written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from salon.core import FrameworkEvent, RoomKit
from salon.core.ports.channel import Channel, StreamOutcome
from salon.models import (
    NO_OUTPUT,
    ChannelBinding,
    ChannelCapabilities,
    ChannelCategory,
    ChannelDirection,
    ChannelOutput,
    ChannelType,
    EventSource,
    EventStatus,
    EventType,
    HookExecution,
    HookResult,
    HookTrigger,
    InboundMessage,
    InboundResult,
    Observation,
    Room,
    RoomContext,
    RoomEvent,
    Task,
    TextContent,
)
from salon.models.filters import EventFilter
from salon.testing import VirtualClock

T = TypeVar("T")

ROOM = "room"
PATIENCE = 20.0
"""Virtual seconds after which something that should have happened did not."""


def text(body: str) -> TextContent:
    return TextContent(body=body)


def message(channel_id: str, body: str = "hi", sender: str = "ann", **more: Any) -> InboundMessage:
    """A message from outside; `content` replaces the text."""
    content = more.pop("content", None) or text(body)
    return InboundMessage(channel_id=channel_id, sender_id=sender, content=content, **more)


def bodies(events: Sequence[RoomEvent]) -> list[str | None]:
    """The texts of events, in order."""
    return [event.text for event in events]


def indices(events: Sequence[RoomEvent]) -> list[int]:
    return [event.index for event in events]


async def soon(work: Awaitable[T]) -> T:
    """`work`, or a failure after `PATIENCE`."""
    async with asyncio.timeout(PATIENCE):
        return await work


class RecordingTransport(Channel):
    """Keeps what it is given.

    `hold` makes deliveries wait, `failures` are raised by the next deliveries in turn, `parse` and
    `on_delivery` run inside `handle_inbound` and `deliver`, `reaction` is what `on_event` returns.
    """

    def __init__(
        self,
        channel_id: str,
        *,
        capabilities: ChannelCapabilities | None = None,
        direction: ChannelDirection = ChannelDirection.BIDIRECTIONAL,
        channel_type: ChannelType | str = ChannelType.SMS,
        provider: str | None = "recorder",
    ) -> None:
        super().__init__(channel_id)
        self.direction = direction
        self.channel_type = channel_type
        self.provider = provider
        self.declared = capabilities or ChannelCapabilities()
        self.got: list[RoomEvent] = []
        self.told: list[RoomEvent] = []
        self.attempts = 0
        self.hold: asyncio.Event | None = None
        self.failures: list[BaseException] = []
        self.reaction: ChannelOutput = NO_OUTPUT
        self.parse: Callable[[InboundMessage, RoomContext], Awaitable[None]] | None = None
        self.make: Callable[[InboundMessage, RoomEvent], RoomEvent] | None = None
        self.on_delivery: Callable[[RoomEvent], Awaitable[None]] | None = None
        self.log: list[str] = []
        self.attach_failure: Exception | None = None
        self.detach_failure: Exception | None = None
        self.close_failure: Exception | None = None

    @property
    def bodies(self) -> list[str | None]:
        """The texts delivered, in order."""
        return bodies(self.got)

    @property
    def provider_name(self) -> str | None:
        return self.provider

    def capabilities(self) -> ChannelCapabilities:
        return self.declared

    async def handle_inbound(self, message: InboundMessage, context: RoomContext) -> RoomEvent:
        if self.parse is not None:
            await self.parse(message, context)
        event = self.inbound_event(message, context)
        return self.make(message, event) if self.make is not None else event

    async def on_event(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        self.told.append(event)
        return self.reaction

    async def deliver(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        self.attempts += 1
        if self.hold is not None:
            await self.hold.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.got.append(event)
        if self.on_delivery is not None:
            await self.on_delivery(event)
        return NO_OUTPUT

    async def on_room_attached(self, room_id: str, binding: ChannelBinding) -> None:
        self.log.append(f"attached {room_id}")
        if self.attach_failure is not None:
            raise self.attach_failure

    async def on_room_detached(self, room_id: str) -> None:
        self.log.append(f"detached {room_id}")
        if self.detach_failure is not None:
            raise self.detach_failure

    async def close(self) -> None:
        self.log.append("closed")
        if self.close_failure is not None:
            raise self.close_failure


class LiveScreen(RecordingTransport):
    """A transport that shows answers while they form."""

    def __init__(self, channel_id: str, **more: Any) -> None:
        super().__init__(channel_id, channel_type=ChannelType.WEBSOCKET, **more)
        self.deltas: list[str] = []
        self.finished: list[tuple[RoomEvent | None, str | None]] = []

    @property
    def supports_streaming_delivery(self) -> bool:
        return True

    async def deliver_stream(
        self,
        text_stream: AsyncIterator[str],
        event: RoomEvent,
        binding: ChannelBinding,
        context: RoomContext,
    ) -> StreamOutcome:
        async for delta in text_stream:
            self.deltas.append(delta)
        return StreamOutcome()

    async def finish_stream(
        self,
        announced: RoomEvent,
        stored: RoomEvent | None,
        binding: ChannelBinding,
        error: str | None,
    ) -> None:
        self.finished.append((stored, error))


Answer = list[str] | list[RoomEvent] | AsyncIterator[str] | BaseException | None
Script = Callable[[RoomEvent, RoomContext], Answer]


class ScriptedAgent(Channel):
    """Answers by a script: nothing, whole texts or events, a stream, or an exception.

    Without a script it repeats what it hears behind its own name. `tasks`, `observations` and
    `updates` go along with every answer; `wait` delays it.
    """

    channel_type = ChannelType.AI
    category = ChannelCategory.INTELLIGENCE

    def __init__(self, channel_id: str, script: Script | None = None) -> None:
        super().__init__(channel_id)
        self.script: Script = script or (lambda event, _: [f"{channel_id}: {event.text}"])
        self.asked: list[RoomEvent] = []
        self.contexts: list[RoomContext] = []
        self.claimed_depth = 0
        self.tasks: list[str] = []
        self.observations: list[str] = []
        self.updates: dict[str, Any] = {}
        self.wait: asyncio.Event | None = None

    @property
    def heard(self) -> list[str | None]:
        """The texts it was asked about, in order."""
        return bodies(self.asked)

    async def deliver(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        raise AssertionError("an intelligence channel never delivers (R60)")

    async def on_event(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        self.asked.append(event)
        self.contexts.append(context)
        if self.wait is not None:
            await self.wait.wait()
        answer = self.script(event, context)
        if isinstance(answer, BaseException):
            raise answer
        extras = self._extras(event.room_id)
        if answer is None:
            return ChannelOutput(**extras)
        if isinstance(answer, list):
            made = tuple(
                item if isinstance(item, RoomEvent) else self.says(event.room_id, item)
                for item in answer
            )
            return ChannelOutput(response_events=made, responded=True, **extras)
        return ChannelOutput(response_stream=answer, **extras)

    def says(self, room_id: str, body: str, **more: Any) -> RoomEvent:
        """An event of this agent's own."""
        more.setdefault("chain_depth", self.claimed_depth)
        source = EventSource(
            channel_id=self.channel_id,
            channel_type=self.channel_type,
            direction=ChannelDirection.OUTBOUND,
        )
        return RoomEvent(room_id=room_id, source=source, content=text(body), **more)

    def _extras(self, room_id: str) -> dict[str, Any]:
        return {
            "tasks": tuple(Task(room_id=room_id, title=title) for title in self.tasks),
            "observations": tuple(
                Observation(room_id=room_id, channel_id=self.channel_id, content=content)
                for content in self.observations
            ),
            "metadata_updates": dict(self.updates),
        }


def silent(channel_id: str) -> ScriptedAgent:
    """An agent that listens and says nothing."""
    return ScriptedAgent(channel_id, lambda event, context: None)


async def stream_of(*steps: str | BaseException) -> AsyncIterator[str]:
    """A streamed answer; an exception breaks it off."""
    for step in steps:
        if isinstance(step, BaseException):
            raise step
        yield step


class Stage:
    """A `RoomKit` on a virtual clock, with short ways to do what a test does most."""

    def __init__(self, kit: RoomKit, clock: VirtualClock) -> None:
        self.kit = kit
        self.clock = clock

    async def room(self, *channels: Channel, room_id: str = ROOM, **more: Any) -> Room:
        """A room with these channels registered and attached."""
        if await self.kit.store.get_room(room_id) is None:
            await self.kit.create_room(room_id, **more)
        for channel in channels:
            self.register(channel)
            await self.kit.attach_channel(room_id, channel.channel_id)
        return await self.read(room_id)

    def register(self, *channels: Channel) -> None:
        """Make channels known that are not yet."""
        for channel in channels:
            if self.kit.channels.find(channel.channel_id) is None:
                self.kit.register_channel(channel)

    async def read(self, room_id: str = ROOM) -> Room:
        """The room as stored."""
        room = await self.kit.store.get_room(room_id)
        assert room is not None
        return room

    async def binding(self, channel_id: str, room_id: str = ROOM) -> ChannelBinding:
        binding = await self.kit.store.get_binding(room_id, channel_id)
        assert binding is not None
        return binding

    async def inbound(
        self,
        channel_id: str,
        body: str = "hi",
        sender: str = "ann",
        *,
        room_id: str | None = ROOM,
        **more: Any,
    ) -> InboundResult:
        """A message from outside, for `room_id` unless that is None."""
        given = message(channel_id, body, sender, **more)
        return await soon(self.kit.process_inbound(given, room_id=room_id))

    async def send(
        self, channel_id: str, body: str = "hi", *, room_id: str = ROOM, **more: Any
    ) -> RoomEvent:
        """Direct injection."""
        content = more.pop("content", None) or text(body)
        return await soon(self.kit.send_event(room_id, channel_id, content, **more))

    async def timeline(self, room_id: str = ROOM) -> list[RoomEvent]:
        """Everything stored, refused events and lifecycle entries too."""
        return await self.kit.store.list_events(
            room_id, limit=10_000, event_filter=EventFilter(include_blocked=True)
        )

    async def messages(self, room_id: str = ROOM) -> list[RoomEvent]:
        """The stored messages, refused ones too."""
        return [e for e in await self.timeline(room_id) if e.type is EventType.MESSAGE]

    async def said(self, room_id: str = ROOM) -> list[tuple[str | None, str]]:
        """Text and status, or why it was blocked, of each message."""
        return [
            (e.text, (e.blocked_by or "?") if e.status is EventStatus.BLOCKED else e.status.value)
            for e in await self.messages(room_id)
        ]

    async def codes(self, room_id: str = ROOM) -> list[str]:
        """The codes of the lifecycle entries."""
        events = await self.timeline(room_id)
        return [getattr(event.content, "code", "") for event in events if _is_record(event)]

    async def tasks(self, room_id: str = ROOM) -> list[str]:
        return [task.title for task in await self.kit.store.list_tasks(room_id)]

    async def observations(self, room_id: str = ROOM) -> list[str]:
        return [item.content for item in await self.kit.store.list_observations(room_id)]

    def listen(self, *names: str) -> list[FrameworkEvent]:
        """The framework events of these names, as they come."""
        heard: list[FrameworkEvent] = []
        for name in names:
            self.kit.on(name)(heard.append)
        return heard

    def hear(self, trigger: HookTrigger, **options: Any) -> list[Any]:
        """The payloads an observing hook is given."""
        heard: list[Any] = []

        async def note(payload: Any, context: RoomContext) -> HookResult:
            heard.append(payload)
            return HookResult.allow()

        execution = HookExecution.ASYNC if trigger.is_async else HookExecution.SYNC
        self.kit.hook(trigger, execution=execution, **options)(note)
        return heard

    def block(self, reason: str = "no", *, name: str = "bouncer", **more: Any) -> None:
        """A hook that blocks every message."""

        async def refuse(event: RoomEvent, context: RoomContext) -> HookResult:
            return HookResult.block(reason, **more)

        self.kit.hook(HookTrigger.BEFORE_BROADCAST, name=name)(refuse)

    async def settle(self, seconds: float = 1.0) -> None:
        """Let everything that is under way finish; takes virtual time only."""
        await asyncio.sleep(seconds)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something beside the test; await the result."""
        return asyncio.create_task(work)


@asynccontextmanager
async def staged(**options: Any) -> AsyncIterator[Stage]:
    """A stage on a kit of its own; `options` are `RoomKit`'s."""
    clock = VirtualClock()
    options = {"shutdown_timeout": 0, "clock": clock, **options}
    async with RoomKit(**options) as kit:
        yield Stage(kit, clock)


def _is_record(event: RoomEvent) -> bool:
    return event.source.channel_id == "system"
