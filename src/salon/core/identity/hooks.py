"""The host's say about senders that the resolver does not know for sure (R175)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from salon.core.identity.decision import IdentityHook
from salon.models import AnyChannelType, ChannelDirection, RoomContext, RoomEvent
from salon.models.identity import IdentityHookResult, IdentityResult

_log = logging.getLogger("salon.core.identity.hooks")

IdentityHookFn = Callable[
    [RoomEvent, RoomContext, IdentityResult], Awaitable[IdentityHookResult | None]
]
OnIdentityHookFailure = Callable[["IdentityHookRegistration", str, str], None]
"""``(registration, "hook_error" | "hook_timeout" | "hook_invalid_result", message)``."""


@dataclass(frozen=True, slots=True, eq=False)
class IdentityHookRegistration:
    """One hook. Filters must all match the event's source; None matches everything."""

    trigger: IdentityHook
    fn: IdentityHookFn
    name: str
    priority: int = 0
    timeout: float = 30.0
    room_id: str | None = None
    channel_types: frozenset[str] | None = None
    channel_ids: frozenset[str] | None = None
    directions: frozenset[ChannelDirection] | None = None

    def matches(self, event: RoomEvent) -> bool:
        """Whether this hook wants to be asked about the sender of `event`."""
        source = event.source
        return (
            (self.room_id is None or self.room_id == event.room_id)
            and (self.channel_types is None or source.channel_type in self.channel_types)
            and (self.channel_ids is None or source.channel_id in self.channel_ids)
            and (self.directions is None or source.direction in self.directions)
        )


class IdentityHooks:
    """Identity hooks, apart from all others. The first that answers decides."""

    def __init__(self, on_failure: OnIdentityHookFailure = lambda *_: None) -> None:
        self._hooks: list[IdentityHookRegistration] = []
        self._on_failure = on_failure

    def add(
        self,
        trigger: str,
        fn: IdentityHookFn,
        *,
        name: str | None = None,
        priority: int = 0,
        timeout: float = 30.0,
        room_id: str | None = None,
        channel_types: Collection[AnyChannelType] | None = None,
        channel_ids: Collection[str] | None = None,
        directions: Collection[ChannelDirection] | None = None,
    ) -> IdentityHookRegistration:
        """Register; lower `priority` is asked first, then global before room hooks, then by age.
        Raises `ValueError` for a trigger at which identity hooks are not asked."""
        registration = IdentityHookRegistration(
            IdentityHook(trigger),
            fn,
            name or str(getattr(fn, "__name__", "hook")),
            priority,
            timeout,
            room_id,
            None if channel_types is None else frozenset(str(item) for item in channel_types),
            None if channel_ids is None else frozenset(channel_ids),
            None if directions is None else frozenset(directions),
        )
        self._hooks.append(registration)
        self._hooks.sort(key=lambda hook: (hook.priority, hook.room_id is not None))
        return registration

    def remove(self, name: str, *, room_id: str | None = None) -> bool:
        """Remove the hooks of this name; False if there was none."""
        kept = [hook for hook in self._hooks if hook.name != name or hook.room_id != room_id]
        removed = len(kept) != len(self._hooks)
        self._hooks = kept
        return removed

    async def ask(
        self, trigger: IdentityHook, event: RoomEvent, context: RoomContext, result: IdentityResult
    ) -> tuple[IdentityHookResult, str] | None:
        """The first answer and the name of the hook that gave it. A hook that raises, takes too
        long or returns something else is skipped."""
        for hook in [item for item in self._hooks if item.trigger is trigger]:
            if hook.matches(event):
                answer = await self._call(hook, event, context, result)
                if answer is not None:
                    return answer, hook.name
        return None

    async def _call(
        self,
        hook: IdentityHookRegistration,
        event: RoomEvent,
        context: RoomContext,
        result: IdentityResult,
    ) -> IdentityHookResult | None:
        answer: object = None
        try:
            async with asyncio.timeout(hook.timeout) as budget:
                answer = await hook.fn(event, context, result)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            self._failed(hook, "hook_error", "cancelled itself")
        except Exception as error:  # noqa: BLE001 - the host's code
            if isinstance(error, TimeoutError) and budget.expired():
                self._failed(hook, "hook_timeout", f"took longer than {hook.timeout:g} s")
            else:
                _log.exception("identity hook %s failed", hook.name)
                self._failed(hook, "hook_error", str(error) or type(error).__name__)
        if answer is None or isinstance(answer, IdentityHookResult):
            return answer
        self._failed(hook, "hook_invalid_result", f"returned {type(answer).__name__}")
        return None

    def _failed(self, hook: IdentityHookRegistration, kind: str, message: str) -> None:
        _log.error("identity hook %s at %s: %s", hook.name, hook.trigger.value, message)
        self._on_failure(hook, kind, message)
