"""Hooks: the host's code at the points where it may look, block or modify (chapter 14)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from salon.models import (
    AnyChannelType,
    ChannelDirection,
    HookExecution,
    HookResult,
    HookTrigger,
    InjectedEvent,
    Observation,
    RoomContext,
    RoomEvent,
    Task,
)

_log = logging.getLogger("salon.core.hooks")

HookFn = Callable[[Any, RoomContext], Awaitable[HookResult | None]]
OnHookFailure = Callable[["HookRegistration", str, str], None]
"""``(registration, "hook_error" | "hook_timeout", message)``."""


@dataclass(frozen=True, slots=True, eq=False)
class HookRegistration:
    """One hook. Filters must all match the payload's source; None matches everything (R164)."""

    trigger: HookTrigger
    fn: HookFn
    name: str
    execution: HookExecution = HookExecution.SYNC
    priority: int = 0
    timeout: float = 30.0
    fail_closed: bool = False
    room_id: str | None = None
    channel_types: frozenset[str] | None = None
    channel_ids: frozenset[str] | None = None
    directions: frozenset[ChannelDirection] | None = None
    order: int = 0

    def matches(self, payload: Any, room_id: str) -> bool:
        """Whether this hook wants the payload."""
        if self.room_id is not None and self.room_id != room_id:
            return False
        if not isinstance(payload, RoomEvent):
            return True
        source = payload.source
        return (
            (self.channel_types is None or source.channel_type in self.channel_types)
            and (self.channel_ids is None or source.channel_id in self.channel_ids)
            and (self.directions is None or source.direction in self.directions)
        )


@dataclass(slots=True)
class HookOutcome:
    """What a chain decided; side effects of every hook that ran are in it (R161)."""

    payload: Any
    blocked: bool = False
    blocked_by: str | None = None
    reason: str | None = None
    injected: list[InjectedEvent] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)


class HookRegistry:
    """All hooks of a `RoomKit`. `on_failure` is told about hooks that raise or take too long."""

    def __init__(self, on_failure: OnHookFailure = lambda *_: None) -> None:
        self._hooks: list[HookRegistration] = []
        self._made = 0
        self._on_failure = on_failure

    def add(
        self,
        trigger: HookTrigger,
        fn: HookFn,
        *,
        name: str | None = None,
        execution: HookExecution = HookExecution.SYNC,
        priority: int = 0,
        timeout: float = 30.0,
        fail_closed: bool = False,
        room_id: str | None = None,
        channel_types: Collection[AnyChannelType] | None = None,
        channel_ids: Collection[str] | None = None,
        directions: Collection[ChannelDirection] | None = None,
    ) -> HookRegistration:
        """Register; lower `priority` runs first, then global before room hooks, then by age
        (R155)."""
        self._made += 1
        registration = HookRegistration(
            trigger,
            fn,
            name or str(getattr(fn, "__name__", "hook")),
            execution,
            priority,
            timeout,
            fail_closed,
            room_id,
            _frozen(channel_types),
            _frozen(channel_ids),
            None if directions is None else frozenset(directions),
            self._made,
        )
        self._hooks.append(registration)
        self._hooks.sort(key=lambda hook: (hook.priority, hook.room_id is not None, hook.order))
        return registration

    def remove(self, name: str, *, room_id: str | None = None) -> bool:
        """Remove the hooks of this name (R165); False if there was none."""
        kept = [hook for hook in self._hooks if hook.name != name or hook.room_id != room_id]
        removed = len(kept) != len(self._hooks)
        self._hooks = kept
        return removed

    def wants(self, trigger: HookTrigger, room_id: str) -> bool:
        """Whether any hook listens at this trigger."""
        return any(
            hook.trigger is trigger and hook.room_id in (None, room_id) for hook in self._hooks
        )

    def select(
        self, trigger: HookTrigger, payload: Any, room_id: str, execution: HookExecution
    ) -> list[HookRegistration]:
        """The hooks that apply, in order."""
        return [
            hook
            for hook in self._hooks
            if hook.trigger is trigger
            and hook.execution is execution
            and hook.matches(payload, room_id)
        ]

    async def decide(self, trigger: HookTrigger, payload: Any, context: RoomContext) -> HookOutcome:
        """Run the SYNC chain, each hook on what the one before left (R155-R160)."""
        outcome = HookOutcome(payload)
        for hook in self.select(trigger, payload, context.room.id, HookExecution.SYNC):
            result = await self._call(hook, outcome.payload, context)
            outcome.injected += result.injected_events
            outcome.tasks += result.tasks
            outcome.observations += result.observations
            if result.action == "block":
                outcome.blocked = True
                outcome.blocked_by, outcome.reason = hook.name, result.reason
                break
            if result.action == "modify":
                outcome.payload = result.event
        return outcome

    async def observe(self, trigger: HookTrigger, payload: Any, context: RoomContext) -> None:
        """Run the ASYNC hooks concurrently; for an ASYNC trigger the SYNC ones too (R162, R163)."""
        hooks = self.select(trigger, payload, context.room.id, HookExecution.ASYNC)
        if trigger.is_async:
            hooks += self.select(trigger, payload, context.room.id, HookExecution.SYNC)
        if hooks:
            await asyncio.gather(*(self._call(hook, payload, context) for hook in hooks))

    async def _call(self, hook: HookRegistration, payload: Any, context: RoomContext) -> HookResult:
        """One hook; what goes wrong is an ALLOW, or a BLOCK where failing closed (R159, R160)."""
        try:
            async with asyncio.timeout(hook.timeout):
                result = await hook.fn(payload, context)
        except TimeoutError:
            return self._failed(hook, "hook_timeout", f"took longer than {hook.timeout:g} s")
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            return self._failed(hook, "hook_error", "cancelled itself")
        except Exception as error:  # noqa: BLE001 - the host's code
            _log.exception("hook %s failed", hook.name)
            return self._failed(hook, "hook_error", str(error) or type(error).__name__)
        if result is None and hook.trigger.is_async:
            return HookResult()
        if not isinstance(result, HookResult):
            kind = type(result).__name__
            return self._failed(hook, "hook_invalid_result", f"returned {kind}, not a HookResult")
        if result.action == "modify" and not isinstance(result.event, type(payload)):
            kind = type(result.event).__name__
            return self._failed(hook, "hook_invalid_result", f"replaced the payload by a {kind}")
        return result

    def _failed(self, hook: HookRegistration, kind: str, message: str) -> HookResult:
        _log.error("hook %s at %s: %s", hook.name, hook.trigger.value, message)
        self._on_failure(hook, kind, message)
        if hook.fail_closed or hook.trigger.fails_closed:
            return HookResult.block(f"{kind}:{hook.name}")
        return HookResult()


def _frozen(values: Collection[str] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(str(value) for value in values)
