"""Hooks of single rooms: added to one, or defined once and enabled where they are wanted (R165)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

from salon.core.hooks import HookFn, HookRegistration, HookRegistry
from salon.core.tenancy import Tenancy
from salon.models import (
    AnyChannelType,
    ChannelDirection,
    EventType,
    HookExecution,
    HookTrigger,
)

F = TypeVar("F", bound=HookFn)


class RoomHooks:
    """Registers on behalf of whoever may see a room (R267)."""

    def __init__(self, hooks: HookRegistry, tenancy: Tenancy) -> None:
        self._hooks = hooks
        self._tenancy = tenancy

    async def add(
        self,
        room_id: str,
        trigger: HookTrigger,
        execution: HookExecution,
        fn: HookFn,
        priority: int = 0,
        name: str = "",
        *,
        fail_closed: bool = False,
        needs_lock: bool = True,
        timeout: float = 30.0,
        channel_types: Collection[AnyChannelType] | None = None,
        channel_ids: Collection[str] | None = None,
        directions: Collection[ChannelDirection] | None = None,
        event_types: Collection[EventType] | None = None,
        organization_id: str | None = None,
    ) -> HookRegistration:
        """A hook of one room only (R165), with the options of `hook`. Raises `RoomNotFoundError`,
        and `ValueError` for a name that the room enabled."""
        await self._tenancy.room(room_id, organization_id)
        return self._hooks.add(
            trigger,
            fn,
            name=name or None,
            execution=execution,
            priority=priority,
            timeout=timeout,
            fail_closed=fail_closed,
            room_id=room_id,
            channel_types=channel_types,
            channel_ids=channel_ids,
            directions=directions,
            event_types=event_types,
            needs_lock=needs_lock,
        )

    async def remove(self, room_id: str, name: str, *, organization_id: str | None = None) -> bool:
        """Remove the hooks of this name from a room; False if there was none."""
        await self._tenancy.check(room_id, organization_id)
        return self._hooks.remove(name, room_id=room_id)

    def define(
        self,
        name: str,
        trigger: HookTrigger,
        execution: HookExecution = HookExecution.SYNC,
        priority: int = 0,
        timeout: float = 30.0,
        *,
        fail_closed: bool = False,
    ) -> Callable[[F], F]:
        """Define a hook that runs in the rooms which `enable_room_hook` names, as a decorator. A
        name may have one hook at each trigger; defined again, the later one counts."""

        def decorate(fn: F) -> F:
            self._hooks.define(
                name,
                trigger,
                fn,
                execution=execution,
                priority=priority,
                timeout=timeout,
                fail_closed=fail_closed,
            )
            return fn

        return decorate

    async def enable(self, room_id: str, name: str, *, organization_id: str | None = None) -> None:
        """Have a room run what `room_hook` defined by a name, or will define; idempotent. It lasts
        as long as the room, in this process. Raises `RoomNotFoundError`, and `ValueError` if the
        room has a hook of its own by that name."""
        await self._tenancy.room(room_id, organization_id)
        self._hooks.enable(room_id, name)

    async def disable(self, room_id: str, name: str, *, organization_id: str | None = None) -> bool:
        """Have it run no longer; False if the room had not enabled it. What runs already is
        finished. Raises `RoomNotFoundError` for a room of another organization."""
        await self._tenancy.check(room_id, organization_id)
        return self._hooks.disable(room_id, name)
