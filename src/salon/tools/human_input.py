"""Requests to people, and the tools of an agent that make them (R167)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from salon.base import SYSTEM_CLOCK, Clock, ConfigurationError, IdFactory, new_id
from salon.core.errors import HumanInputRejectedError, PendingInputNotFoundError
from salon.core.ports.ai import AITool
from salon.models.enums import AnyChannelType, ChannelType
from salon.models.pending_input import PendingInput, PendingInputEvent, PendingInputStatus

__all__ = [
    "Announce",
    "HumanInputHandler",
    "HumanInputRejectedError",
    "HumanInputToolHandler",
]

Announce = Callable[[PendingInputEvent], None]
"""Told of a request that can be answered already. Called at once, so it must not take long."""

GIVEN_UP = "nobody waits for the answer any more"
CLOSED = "the asking ended before an answer came"


@dataclass(slots=True, eq=False)
class _Request:
    """A request that nobody read the outcome of yet."""

    pending: PendingInput
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0


class HumanInputHandler:
    """The requests to people, and where their answers come in.

    A request can be answered from the moment that it exists, and it is settled once: the first
    answer, rejection or timeout counts. Its outcome waits until it was read, and can be read again
    while it is among the newest `retention` of those. Belongs to one event loop.
    """

    def __init__(
        self, *, retention: int = 128, clock: Clock = SYSTEM_CLOCK, ids: IdFactory = new_id
    ) -> None:
        if retention < 0:
            raise ConfigurationError(f"retention={retention}: it is a number of outcomes to keep")
        self._retention = retention
        self._clock = clock
        self._ids = ids
        self._requests: dict[str, _Request] = {}
        self._kept: OrderedDict[str, PendingInput] = OrderedDict()
        self._closed = False
        self.forgotten = 0
        """Outcomes that made room for newer ones."""

    @property
    def pending(self) -> dict[str, PendingInput]:
        """What can be answered now, by id, the oldest first; a copy."""
        return {
            key: request.pending
            for key, request in self._requests.items()
            if request.pending.status is PendingInputStatus.PENDING
        }

    async def create(
        self,
        tool_name: str,
        arguments: dict[str, Any],
        *,
        room_id: str = "",
        tool_call_id: str = "",
        channel_id: str = "",
        channel_type: AnyChannelType = ChannelType.AI,
        actor_id: str | None = None,
        announce: Announce | None = None,
    ) -> PendingInput:
        """A new request, to be awaited by `wait` or given up by `release`. Then `announce` is
        called. `HumanInputRejectedError` after `close`."""
        return self._open(
            tool_name,
            arguments,
            announce,
            channel_type,
            room_id=room_id,
            tool_call_id=tool_call_id,
            channel_id=channel_id,
            actor_id=actor_id,
        )

    async def create_detached(
        self,
        tool_name: str,
        arguments: dict[str, Any],
        *,
        room_id: str = "",
        tool_call_id: str = "",
        channel_id: str = "",
        channel_type: AnyChannelType = ChannelType.AI,
        actor_id: str | None = None,
        announce: Announce | None = None,
    ) -> PendingInput:
        """A request that nobody awaits, because the answer travels another way. It is open until
        somebody settles it, or its maker calls `release`."""
        return self._open(
            tool_name,
            arguments,
            announce,
            channel_type,
            room_id=room_id,
            tool_call_id=tool_call_id,
            channel_id=channel_id,
            actor_id=actor_id,
            detached=True,
        )

    def _open(
        self,
        tool_name: str,
        arguments: dict[str, Any],
        announce: Announce | None,
        channel_type: AnyChannelType,
        **told: Any,
    ) -> PendingInput:
        if self._closed:
            raise HumanInputRejectedError(CLOSED)
        pending = PendingInput(
            self._ids(), tool_name, arguments, created_at=self._clock.now(), **told
        )
        self._requests[pending.pending_id] = _Request(pending)
        if announce is not None:
            try:
                announce(_event_of(pending, channel_type))
            except BaseException:
                self.release(pending.pending_id)
                raise
        return pending

    async def wait(self, pending_id: str, *, timeout: float = 300.0) -> str:
        """The answer. Waits for it for at most `timeout` seconds, which settles the request for
        everybody; so does cancelling the last who waits.

        `TimeoutError` if nobody answered, `HumanInputRejectedError` if the request was rejected or
        given up, `PendingInputNotFoundError` if there is no such request, or no longer.
        """
        request = self._requests.get(pending_id)
        if request is None:
            if pending_id not in self._kept:
                raise PendingInputNotFoundError(pending_id)
            return _outcome(self._kept[pending_id])
        request.waiting += 1
        try:
            async with asyncio.timeout(timeout):
                await request.settled.wait()
        except TimeoutError:  # what was recorded in the same moment counts
            self._settle(request, PendingInputStatus.TIMED_OUT)
        except asyncio.CancelledError:
            if request.waiting == 1:
                self._settle(request, PendingInputStatus.REJECTED, reason=GIVEN_UP)
            raise
        finally:
            request.waiting -= 1
            if request.settled.is_set():
                self._keep(request)
        return _outcome(request.pending)

    def resolve(self, pending_id: str, result: str) -> bool:
        """Answer a request. False if there is none to be answered: then nothing changed."""
        return self._settle(
            self._requests.get(pending_id), PendingInputStatus.RESOLVED, result=result
        )

    def reject(self, pending_id: str, reason: str = "") -> bool:
        """Refuse to answer. False if there is nothing to be refused: an answer stays."""
        return self._settle(
            self._requests.get(pending_id), PendingInputStatus.REJECTED, reason=reason
        )

    def release(self, pending_id: str) -> bool:
        """Give a request up; who waits for it gets a `HumanInputRejectedError`. What was recorded
        stays. False if there is no such request, or its outcome was read."""
        request = self._requests.get(pending_id)
        if request is None:
            return False
        self._settle(request, PendingInputStatus.REJECTED, reason=GIVEN_UP)
        self._keep(request)
        return True

    async def close(self, *, channel_id: str | None = None) -> None:
        """Reject what is open; no new request is taken then. With `channel_id` only that channel's
        are rejected, and it may ask again."""
        self._closed = self._closed or channel_id is None
        for request in list(self._requests.values()):
            if channel_id in (None, request.pending.channel_id):
                rejected = self._settle(request, PendingInputStatus.REJECTED, reason=CLOSED)
                if rejected and not request.waiting:
                    self._keep(request)

    def _settle(
        self,
        request: _Request | None,
        status: PendingInputStatus,
        *,
        result: str | None = None,
        reason: str | None = None,
    ) -> bool:
        """Record the outcome, unless there is one. Never suspends: this is what makes it final."""
        if request is None or request.settled.is_set():
            return False
        pending = request.pending
        pending.status, pending.result, pending.reject_reason = status, result, reason
        request.settled.set()
        if pending.detached:
            self._keep(request)
        return True

    def _keep(self, request: _Request) -> None:
        """Its outcome was read, or nobody is going to."""
        key = request.pending.pending_id
        if self._requests.pop(key, None) is None:
            return
        self._kept[key] = request.pending
        while len(self._kept) > self._retention:
            self._kept.popitem(last=False)
            self.forgotten += 1


class HumanInputToolHandler:
    """Tools whose calls a person answers: ``AIChannel(human_input_handler=...)``.

    Calls of `tool_names` wait up to `timeout` seconds. `tool_definitions` is what the model is told
    of them; a tool without one has to be declared where the channel's other tools are. `handler`
    takes the answers, and may be shared.
    """

    def __init__(
        self,
        tool_names: Collection[str],
        timeout: float = 300.0,
        handler: HumanInputHandler | None = None,
        tool_definitions: Iterable[AITool] | None = None,
    ) -> None:
        if not tool_names or isinstance(tool_names, str):
            raise ConfigurationError(f"tool_names={tool_names!r}: it is a set of names of tools")
        if not timeout > 0:
            raise ConfigurationError(f"timeout={timeout}: people need some time to answer")
        self.tool_names = frozenset(tool_names)
        self.timeout = timeout
        self._handler = handler or HumanInputHandler()
        self._tools = tuple(tool_definitions or ())

    @property
    def handler(self) -> HumanInputHandler:
        """Where the answers go."""
        return self._handler

    @property
    def tools(self) -> list[AITool]:
        """What the model is told of."""
        return list(self._tools)

    async def __call__(self, name: str, arguments: dict[str, Any]) -> str:
        """As a plain ``tool_handler``: the channel's own limit of time counts then, and no hook is
        asked."""
        return await self.ask(name, arguments)

    async def ask(
        self,
        name: str,
        arguments: dict[str, Any],
        *,
        channel_type: AnyChannelType = ChannelType.AI,
        channel_id: str = "",
        room_id: str = "",
        tool_call_id: str = "",
        actor_id: str | None = None,
        announce: Announce | None = None,
    ) -> str:
        """What a person answers to this call. `ConfigurationError` for a tool of somebody else;
        `TimeoutError` and `HumanInputRejectedError` as of `HumanInputHandler.wait`."""
        if name not in self.tool_names:
            raise ConfigurationError(f"{name!r} asks nobody; {', '.join(sorted(self.tool_names))}")
        pending = await self._handler.create(
            name,
            arguments,
            room_id=room_id,
            tool_call_id=tool_call_id,
            channel_id=channel_id,
            channel_type=channel_type,
            actor_id=actor_id,
            announce=announce,
        )
        return await self._handler.wait(pending.pending_id, timeout=self.timeout)


def _event_of(pending: PendingInput, channel_type: AnyChannelType) -> PendingInputEvent:
    return PendingInputEvent(
        pending_id=pending.pending_id,
        tool_name=pending.tool_name,
        arguments=pending.arguments,
        room_id=pending.room_id,
        tool_call_id=pending.tool_call_id,
        channel_id=pending.channel_id,
        channel_type=channel_type,
        timestamp=pending.created_at,
        actor_id=pending.actor_id,
    )


def _outcome(pending: PendingInput) -> str:
    match pending.status:
        case PendingInputStatus.REJECTED:
            raise HumanInputRejectedError(pending.reject_reason or "the request was rejected")
        case PendingInputStatus.TIMED_OUT:
            raise TimeoutError(f"nobody answered {pending.tool_name}")
    return pending.result or ""
