"""Hooks: the host's code at the points where it may look, block or modify (chapter 14)."""

from __future__ import annotations

import asyncio
import heapq
import logging
from bisect import insort
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from salon.core.telemetry import NO_TRACER, ActiveSpan, Tracer
from salon.models import (
    AnyChannelType,
    ChannelDirection,
    EventSource,
    EventType,
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
    name: str = ""
    execution: HookExecution = HookExecution.SYNC
    priority: int = 0
    timeout: float = 30.0
    fail_closed: bool = False
    room_id: str | None = None
    channel_types: frozenset[str] | None = None
    channel_ids: frozenset[str] | None = None
    directions: frozenset[ChannelDirection] | None = None
    event_types: frozenset[EventType] | None = None
    needs_lock: bool = True
    """False, at BEFORE_BROADCAST: run before the room is locked, in the order of arrival."""
    order: int = 0
    by_name: bool = False
    """Runs in the rooms that enabled its name."""

    def matches(self, payload: Any, room_id: str, source: EventSource | None = None) -> bool:
        """Whether this hook wants the payload. `source` says where one that is no event comes
        from (V131)."""
        if self.room_id is not None and self.room_id != room_id:
            return False
        event = payload if isinstance(payload, RoomEvent) else None
        if event is not None:
            source = event.source
        if source is None:
            return True
        return (
            (self.channel_types is None or source.channel_type in self.channel_types)
            and (self.channel_ids is None or source.channel_id in self.channel_ids)
            and (self.directions is None or source.direction in self.directions)
            and (self.event_types is None or event is None or event.type in self.event_types)
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
    metadata: dict[str, Any] = field(default_factory=dict)

    def before(self, later: HookOutcome) -> HookOutcome:
        """This outcome continued by that of the rest of the chain."""
        later.injected[:0] = self.injected
        later.tasks[:0] = self.tasks
        later.observations[:0] = self.observations
        later.metadata = self.metadata | later.metadata
        return later


_Hooks = dict[HookTrigger, list[HookRegistration]]
"""Each list in the order in which its hooks run."""


def _rank(hook: HookRegistration) -> tuple[int, bool, int]:
    return hook.priority, hook.by_name or hook.room_id is not None, hook.order


class HookRegistry:
    """All hooks of a `RoomKit`: those of every room, those of one room, and those that are defined
    once by a name and run where it is enabled. `on_failure` is told about hooks that raise or take
    too long.

    The hooks of other rooms cost an event nothing.
    """

    def __init__(
        self, on_failure: OnHookFailure = lambda *_: None, *, tracer: Tracer = NO_TRACER
    ) -> None:
        self._everywhere: _Hooks = {}
        self._of_room: dict[str, _Hooks] = {}
        self._defined: dict[str, dict[HookTrigger, HookRegistration]] = {}
        self._enabled: dict[str, set[str]] = {}
        self._made = 0
        self.changed: list[Callable[[], None]] = []
        """Each is called after hooks were added, removed, enabled or disabled."""
        self._on_failure = on_failure
        self._tracer = tracer

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
        event_types: Collection[EventType] | None = None,
        needs_lock: bool = True,
    ) -> HookRegistration:
        """Register; lower `priority` runs first, then global before room hooks, then by age
        (R155). `fail_closed`: what goes wrong in it blocks. Raises `ValueError` for a room hook
        under a name that its room enabled."""
        name = name or str(getattr(fn, "__name__", "hook"))
        if room_id is not None and name in self._enabled.get(room_id, ()):
            raise ValueError(f"room {room_id!r} enabled hooks named {name!r}; choose another name")
        self._made += 1
        registration = HookRegistration(
            HookTrigger(trigger),
            fn,
            name,
            HookExecution(execution),
            priority,
            timeout,
            fail_closed,
            room_id,
            _frozen(channel_types),
            _frozen(channel_ids),
            None if directions is None else frozenset(directions),
            None if event_types is None else frozenset(event_types),
            needs_lock,
            self._made,
        )
        hooks = self._everywhere if room_id is None else self._of_room.setdefault(room_id, {})
        insort(hooks.setdefault(registration.trigger, []), registration, key=_rank)
        self._tell_changed()
        return registration

    def register(self, hook: HookRegistration) -> HookRegistration:
        """Register a hook that was made elsewhere."""
        return self.add(
            hook.trigger,
            hook.fn,
            name=hook.name or None,
            execution=hook.execution,
            priority=hook.priority,
            timeout=hook.timeout,
            fail_closed=hook.fail_closed,
            room_id=hook.room_id,
            channel_types=hook.channel_types,
            channel_ids=hook.channel_ids,
            directions=hook.directions,
            event_types=hook.event_types,
            needs_lock=hook.needs_lock,
        )

    def remove(self, name: str, *, room_id: str | None = None) -> bool:
        """Remove the hooks of this name (R165); False if there was none."""
        registered = self._everywhere if room_id is None else self._of_room.get(room_id, {})
        removed = False
        for trigger, hooks in list(registered.items()):
            kept = [hook for hook in hooks if hook.name != name]
            removed = removed or len(kept) != len(hooks)
            if kept:
                registered[trigger] = kept
            else:
                del registered[trigger]
        if room_id is not None and not registered:
            self._of_room.pop(room_id, None)
        if removed:
            self._tell_changed()
        return removed

    def _tell_changed(self) -> None:
        for listener in self.changed:
            listener()

    # -- by name ----------------------------------------------------------------------------------

    def define(
        self,
        name: str,
        trigger: HookTrigger,
        fn: HookFn,
        *,
        execution: HookExecution = HookExecution.SYNC,
        priority: int = 0,
        timeout: float = 30.0,
        fail_closed: bool = False,
    ) -> HookRegistration:
        """A hook for the rooms that `enable` the name. A name has one hook per trigger: another
        definition takes the place of the first, also where it is enabled."""
        if not name:
            raise ValueError("a hook that rooms enable needs a name")
        self._made += 1
        hook = HookRegistration(
            HookTrigger(trigger),
            fn,
            name,
            HookExecution(execution),
            priority,
            timeout,
            fail_closed,
            order=self._made,
            by_name=True,
        )
        self._defined.setdefault(name, {})[hook.trigger] = hook
        self._tell_changed()
        return hook

    def undefine(self, name: str) -> bool:
        """Forget what is defined by a name, also where it is enabled; False if nothing was."""
        return self._defined.pop(name, None) is not None

    def enable(self, room_id: str, name: str) -> None:
        """Run in a room what is defined by a name, now or later; idempotent. Raises `ValueError` if
        the room has a hook of its own by that name."""
        if any(hook.name == name for hooks in self._own(room_id).values() for hook in hooks):
            raise ValueError(f"room {room_id!r} has a hook of its own named {name!r}")
        if name not in self._defined:
            _log.warning("room %s enables hook %s, which is not defined yet", room_id, name)
        self._enabled.setdefault(room_id, set()).add(name)
        self._tell_changed()

    def disable(self, room_id: str, name: str) -> bool:
        """Run it there no longer; False if the room had not enabled it."""
        names = self._enabled.get(room_id)
        if names is None or name not in names:
            return False
        names.remove(name)
        if not names:
            del self._enabled[room_id]
        return True

    # -- what there is ----------------------------------------------------------------------------

    def room_hook_names(self, room_id: str) -> list[str]:
        """The names of a room's own hooks, oldest first, then the enabled ones that are defined."""
        own = sorted(chain.from_iterable(self._own(room_id).values()), key=lambda hook: hook.order)
        enabled = sorted(name for name in self._enabled.get(room_id, ()) if name in self._defined)
        return list(dict.fromkeys((*(hook.name for hook in own), *enabled)))

    def defines_room_hooks(self, names: Iterable[str]) -> bool:
        """Whether there is a definition by each of these names."""
        return all(name in self._defined for name in names)

    def has_hooks_for(self, room_id: str, trigger: HookTrigger, event: Any) -> bool:
        """Whether a hook of this trigger applies to an event, or another payload, in a room."""
        return any(hook.matches(event, room_id) for hook in self._at(trigger, room_id))

    def forget_room(self, room_id: str) -> None:
        """Remove the hooks of a room that is gone."""
        self._of_room.pop(room_id, None)
        self._enabled.pop(room_id, None)

    def wants(self, trigger: HookTrigger, room_id: str) -> bool:
        """Whether any hook listens at this trigger."""
        if trigger in self._everywhere or trigger in self._of_room.get(room_id, ()):
            return True
        return room_id in self._enabled and bool(self._named(trigger, room_id))

    def _own(self, room_id: str) -> _Hooks:
        return self._of_room.get(room_id, {})

    def _named(self, trigger: HookTrigger, room_id: str) -> list[HookRegistration]:
        """The hooks of the names that a room enabled, in order."""
        defined = (self._defined.get(name, {}).get(trigger) for name in self._enabled[room_id])
        return sorted((hook for hook in defined if hook is not None), key=_rank)

    def _at(self, trigger: HookTrigger, room_id: str) -> Iterable[HookRegistration]:
        """The hooks of every room and those of this one, in order."""
        everywhere = self._everywhere.get(trigger, ())
        own = self._of_room.get(room_id, {}).get(trigger, ())
        if room_id in self._enabled and (named := self._named(trigger, room_id)):
            return heapq.merge(everywhere, own, named, key=_rank)
        return heapq.merge(everywhere, own, key=_rank) if own else everywhere

    # -- running ----------------------------------------------------------------------------------

    def select(
        self,
        trigger: HookTrigger,
        payload: Any,
        room_id: str,
        execution: HookExecution,
        source: EventSource | None = None,
    ) -> list[HookRegistration]:
        """The hooks that apply, in order."""
        return [
            hook
            for hook in self._at(trigger, room_id)
            if hook.execution is execution and hook.matches(payload, room_id, source)
        ]

    def runs_unlocked(self, room_id: str) -> bool:
        """Whether a decision about an event of a room begins before its lock."""
        return any(
            not hook.needs_lock and hook.execution is HookExecution.SYNC
            for hook in self._at(HookTrigger.BEFORE_BROADCAST, room_id)
        )

    async def decide(
        self,
        trigger: HookTrigger,
        payload: Any,
        context: RoomContext,
        *,
        locked: bool | None = None,
        source: EventSource | None = None,
    ) -> HookOutcome:
        """Run the SYNC chain, each hook on what the one before left (R155-R160); with `locked`
        only the hooks that need the room lock, or only those that do not."""
        outcome = HookOutcome(payload)
        for hook in self.select(trigger, payload, context.room.id, HookExecution.SYNC, source):
            if locked is not None and hook.needs_lock is not locked:
                continue
            result = await self._call(hook, outcome.payload, context)
            outcome.injected += result.injected_events
            outcome.tasks += result.tasks
            outcome.observations += result.observations
            outcome.metadata.update(result.metadata)
            if result.action == "block":
                outcome.blocked = True
                outcome.blocked_by, outcome.reason = hook.name, result.reason
                break
            if result.action == "modify":
                outcome.payload = result.event
        return outcome

    async def observe(
        self,
        trigger: HookTrigger,
        payload: Any,
        context: RoomContext,
        source: EventSource | None = None,
    ) -> None:
        """Run those that look on, concurrently."""
        hooks = self.onlookers(trigger, payload, context.room.id, source)
        if hooks:
            await asyncio.gather(*(self.show(hook, payload, context) for hook in hooks))

    def onlookers(
        self, trigger: HookTrigger, payload: Any, room_id: str, source: EventSource | None = None
    ) -> list[HookRegistration]:
        """The ASYNC hooks that apply; for an ASYNC trigger the SYNC ones too (R162, R163)."""
        hooks = self.select(trigger, payload, room_id, HookExecution.ASYNC, source)
        if trigger.is_async:
            hooks += self.select(trigger, payload, room_id, HookExecution.SYNC, source)
        return hooks

    async def show(self, hook: HookRegistration, payload: Any, context: RoomContext) -> None:
        """Run one hook that only looks on."""
        await self._call(hook, payload, context)

    async def _call(self, hook: HookRegistration, payload: Any, context: RoomContext) -> HookResult:
        """One hook; what goes wrong is an ALLOW, or a BLOCK where failing closed (R159, R160)."""
        try:
            with self._span(hook, context.room.id):
                async with asyncio.timeout(hook.timeout) as budget:
                    result = await hook.fn(payload, context)
        except TimeoutError as error:
            if not budget.expired():  # the hook's own
                return self._failed(hook, context, "hook_error", str(error) or "TimeoutError")
            words = f"took longer than {hook.timeout:g} s"
            return self._failed(hook, context, "hook_timeout", words, logging.WARNING)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            return self._failed(hook, context, "hook_error", "cancelled itself")
        except Exception as error:  # noqa: BLE001 - the host's code
            _log.exception("hook %s failed", hook.name)
            return self._failed(hook, context, "hook_error", str(error) or type(error).__name__)
        if result is None and hook.trigger.is_async:
            return HookResult()
        if not isinstance(result, HookResult):
            kind = type(result).__name__
            return self._failed(
                hook, context, "hook_invalid_result", f"returned {kind}, not a HookResult"
            )
        if result.action == "modify" and not isinstance(result.event, type(payload)):
            kind = type(result.event).__name__
            return self._failed(
                hook, context, "hook_invalid_result", f"replaced the payload by a {kind}"
            )
        return result

    def _span(self, hook: HookRegistration, room_id: str) -> ActiveSpan:
        waits = hook.execution is HookExecution.SYNC
        return self._tracer.hook(hook.name, hook.trigger.value, room_id, waits=waits)

    def _failed(
        self,
        hook: HookRegistration,
        context: RoomContext,
        kind: str,
        message: str,
        level: int = logging.ERROR,
    ) -> HookResult:
        extra = {"room_id": context.room.id, "status": kind}
        _log.log(level, "hook %s at %s: %s", hook.name, hook.trigger.value, message, extra=extra)
        self._on_failure(hook, kind, message)
        if hook.fail_closed or hook.trigger.fails_closed:
            return HookResult.block(f"{kind}:{hook.name}")
        return HookResult()


def _frozen(values: Collection[str] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(str(value) for value in values)
