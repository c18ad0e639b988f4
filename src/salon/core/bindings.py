"""How channels take part in rooms: attached, changed, shared, detached (chapter 7)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from salon.base import SYSTEM_CLOCK, Clock, unbroken
from salon.core.changes import Changed
from salon.core.context import Contexts
from salon.core.effects import DETACHED_KEY
from salon.core.errors import ChannelNotFoundError, RoomNotFoundError
from salon.core.framework import FrameworkEvents
from salon.core.hooks import HookRegistry
from salon.core.lanes import Lanes
from salon.core.lifecycle import Announcer, Recorder, Records, Settle, as_it_is
from salon.core.observers import Observers
from salon.core.permissions import check_scope, no_wider
from salon.core.ports.channel import Channel
from salon.core.ports.locks import RoomLockManager
from salon.core.ports.store import ConversationStore
from salon.core.registry import ChannelRegistry
from salon.core.routing import recipient_of
from salon.core.tenancy import Tenancy
from salon.models import (
    Access,
    ChannelBinding,
    ChannelCapabilities,
    ChannelCategory,
    ChannelDirection,
    EventType,
    HookTrigger,
    RateLimit,
    RetryPolicy,
    Room,
    RoomEvent,
)


@dataclass(frozen=True, slots=True)
class _Entry:
    """How the timeline records a change."""

    kind: EventType
    code: str
    data: Mapping[str, Any] = field(default_factory=dict)


class Bindings:
    """The bindings of all rooms."""

    def __init__(
        self,
        *,
        store: ConversationStore,
        locks: RoomLockManager,
        channels: ChannelRegistry,
        contexts: Contexts,
        hooks: HookRegistry,
        observers: Observers,
        framework: FrameworkEvents,
        timeline: Callable[[], Recorder],
        clock: Clock = SYSTEM_CLOCK,
        settle: Settle = as_it_is,
        changed: Changed = lambda room_id: None,
    ) -> None:
        """`changed` is told of every binding that is written or removed."""
        self._store = store
        self._locks = locks
        self._channels = channels
        self._framework = framework
        self._records = Records(timeline, clock)
        self._announcer = Announcer(
            locks=locks, contexts=contexts, hooks=hooks, observers=observers
        )
        self._clock = clock
        self._tenancy = Tenancy(store, settle)
        self._changed = changed
        self._notices = Lanes("binding notices")

    async def get(
        self, room_id: str, channel_id: str, *, organization_id: str | None = None
    ) -> ChannelBinding:
        """How a channel is bound to a room. Raises `ChannelNotFoundError`."""
        await self._tenancy.check(room_id, organization_id)
        binding = await self._store.get_binding(room_id, channel_id)
        if binding is None:
            raise ChannelNotFoundError(room_id, channel_id)
        return binding

    async def of_room(
        self, room_id: str, *, organization_id: str | None = None
    ) -> list[ChannelBinding]:
        """The bindings of a room, in the order of attachment."""
        await self._tenancy.check(room_id, organization_id)
        return await self._store.list_bindings(room_id)

    # -- attaching --------------------------------------------------------------------------------

    async def attach(
        self,
        room_id: str,
        channel_id: str,
        category: ChannelCategory | None = None,
        access: Access | None = None,
        visibility: str | None = None,
        organization_id: str | None = None,
        *,
        direction: ChannelDirection | None = None,
        muted: bool | None = None,
        output_muted: bool | None = None,
        participant_id: str | None = None,
        group: bool = False,
        capabilities: ChannelCapabilities | None = None,
        rate_limit: RateLimit | None = None,
        retry_policy: RetryPolicy | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> ChannelBinding:
        """Bind a channel to a room, on purpose: one that was detached may come back (R46, R50).

        Category, direction and capabilities default to the channel's own (AMB-20). Attaching again
        replaces the binding, but what `access`, `muted`, `output_muted` and `visibility` said stays
        where they are None (R49); without a binding None means all rights, seen by all. Raises
        `ChannelNotRegisteredError`, `RoomNotFoundError`, `ValueError` for a visibility that cannot
        be (see `check_scope`), and what the channel raises; then nothing has changed (R47).
        """
        await self._tenancy.check(room_id, organization_id)
        channel = self._channels.get(channel_id)
        scope = None if visibility is None else check_scope(visibility)
        async with self._tenancy.entered(self._locks, room_id, organization_id) as room:
            before = await self._store.get_binding(room_id, channel_id)
            base = before or _own(channel, room_id)
            binding = ChannelBinding(
                channel_id=channel_id,
                room_id=room_id,
                channel_type=channel.channel_type,
                category=category or channel.category,
                direction=direction or channel.direction,
                access=base.access if access is None else access,
                muted=base.muted if muted is None else muted,
                output_muted=base.output_muted if output_muted is None else output_muted,
                visibility=base.visibility if scope is None else scope,
                participant_id=participant_id,
                group=group,
                last_read_index=base.last_read_index,
                attached_at=self._clock.now(),
                capabilities=capabilities or channel.capabilities(),
                rate_limit=rate_limit,
                retry_policy=retry_policy,
                recipient=recipient_of(channel, metadata or {}),
                metadata=dict(metadata or {}),
            )
            event = await self._bind(room, binding, before, channel)
        return await self._attached(binding, event)

    async def share(
        self,
        from_room: str,
        to_room: str,
        channel_id: str,
        *,
        access: Access | None = None,
        visibility: str | None = None,
        muted: bool | None = None,
        metadata: Mapping[str, Any] | None = None,
        organization_id: str | None = None,
    ) -> ChannelBinding:
        """Bind a channel to another room as it is bound to this one (R49). What is asked for is
        cut down to what the origin may do; a binding that is there already is returned unchanged.
        `metadata` is added to the origin's; whom only the latter names, answers there. Raises
        `ChannelNotFoundError` where there is nothing to share, `RoomNotFoundError` also for a room
        of another organization (R267), and as `attach`.
        """
        await self._tenancy.check(from_room, organization_id)
        channel = self._channels.get(channel_id)
        scope = None if visibility is None else check_scope(visibility)
        home = await self._tenancy.room(from_room, organization_id)
        async with self._tenancy.entered(self._locks, to_room, organization_id) as room:
            if room.organization_id != home.organization_id:
                raise RoomNotFoundError(to_room)
            # Read here, so that what it loses from now on is all it can have lost in between.
            origin = await self.get(from_room, channel_id)
            present = await self._store.get_binding(to_room, channel_id)
            if present is not None:
                return present
            others = await self._store.list_bindings(to_room)
            grants = no_wider(origin, access, scope, muted, bindings=others)
            binding = origin.model_copy(
                update={
                    **grants._asdict(),
                    "room_id": to_room,
                    "last_read_index": None,
                    "attached_at": self._clock.now(),
                    "recipient": recipient_of(channel, metadata or {}),
                    "metadata": {**origin.metadata, **(metadata or {})},
                }
            )
            event = await self._bind(room, binding, None, channel)
        return await self._attached(binding, event)

    async def admit(
        self, room_id: str, channel_id: str, metadata: Mapping[str, Any] | None = None
    ) -> bool:
        """Attach a channel that a message came from, unless it was detached on purpose; a binding
        that is there stays as it is (R50). `metadata` says whom to answer. False if the channel has
        no place in the room. Called under the room lock."""
        room = await self._tenancy.room(room_id)
        if await self._store.get_binding(room_id, channel_id) is not None:
            return True
        if channel_id in room.metadata.get(DETACHED_KEY, ()) or not room.status.accepts_events:
            return False
        await self.attach(room_id, channel_id, metadata=metadata)
        return True

    async def detach(
        self, room_id: str, channel_id: str, *, organization_id: str | None = None
    ) -> bool:
        """Unbind a channel; no message brings it back by itself (R48, R50). False if it was not
        attached. Raises what the channel raises, once everybody knows."""
        async with self._tenancy.entered(self._locks, room_id, organization_id) as room:
            if await self._store.get_binding(room_id, channel_id) is None:
                return False
            event = await unbroken(self._unbind(room, channel_id, revoked=True))
        await self._detached(room_id, channel_id, event)
        return True

    async def withdraw(
        self, room_id: str, channel_id: str, admitted: ChannelBinding | None
    ) -> bool:
        """Take back what `admit` did: as `detach`, but the next message may attach the channel
        again. False if the binding is no longer as it was `admitted`: somebody meant that. None:
        however it is. Called under the room lock."""
        room = await self._store.get_room(room_id)
        binding = await self._store.get_binding(room_id, channel_id)
        if room is None or binding is None or binding != (admitted or binding):
            return False
        try:
            event = await unbroken(self._unbind(room, channel_id))
        except BaseException:  # the timeline may take no entry: the channel is to know all the same
            channel = self._channels.find(channel_id)
            if channel and not await self._store.binding_exists(room_id, channel_id):
                await channel.on_room_detached(room_id)
            raise
        await self._detached(room_id, channel_id, event)
        return True

    # -- changing ---------------------------------------------------------------------------------

    # Nothing happens if a binding is like that already. All of these raise `RoomNotFoundError`,
    # `ChannelNotFoundError`, and what the channel raises on being told, once everybody knows.

    async def mute(
        self, room_id: str, channel_id: str, *, organization_id: str | None = None
    ) -> ChannelBinding:
        """Silence a channel's own words; it still reads (R75)."""
        entry = _Entry(EventType.CHANNEL_MUTED, "channel_muted")
        return await self._set(room_id, channel_id, organization_id, entry, muted=True)

    async def unmute(
        self, room_id: str, channel_id: str, *, organization_id: str | None = None
    ) -> ChannelBinding:
        """Let a muted channel speak again."""
        entry = _Entry(EventType.CHANNEL_UNMUTED, "channel_unmuted")
        return await self._set(room_id, channel_id, organization_id, entry, muted=False)

    async def set_access(
        self, room_id: str, channel_id: str, access: Access, *, organization_id: str | None = None
    ) -> ChannelBinding:
        """Change what a binding may do (R70, R71)."""
        entry = _Entry(EventType.CHANNEL_UPDATED, "channel_access_changed")
        return await self._set(room_id, channel_id, organization_id, entry, access=access)

    async def set_visibility(
        self, room_id: str, channel_id: str, visibility: str, *, organization_id: str | None = None
    ) -> ChannelBinding:
        """Change who sees what a channel writes (R73). Raises `ValueError` for a visibility that
        cannot be."""
        entry = _Entry(EventType.CHANNEL_UPDATED, "channel_visibility_changed")
        return await self._set(room_id, channel_id, organization_id, entry, visibility=visibility)

    async def update_metadata(
        self,
        room_id: str,
        channel_id: str,
        metadata: Mapping[str, Any],
        *,
        organization_id: str | None = None,
    ) -> ChannelBinding:
        """Set keys of a binding's metadata; the others stay."""
        entry = _Entry(
            EventType.CHANNEL_UPDATED, "channel_metadata_updated", {"keys": sorted(metadata)}
        )
        return await self._change(
            room_id,
            channel_id,
            organization_id,
            entry,
            lambda binding: self._described(binding, metadata),
        )

    async def mute_output(
        self, room_id: str, channel_id: str, *, organization_id: str | None = None
    ) -> ChannelBinding:
        """Deliver nothing through a channel; it still reads (R76). Neither recorded nor announced:
        only the channel is told."""
        return await self._set(room_id, channel_id, organization_id, None, output_muted=True)

    async def unmute_output(
        self, room_id: str, channel_id: str, *, organization_id: str | None = None
    ) -> ChannelBinding:
        """Deliver through a channel again."""
        return await self._set(room_id, channel_id, organization_id, None, output_muted=False)

    async def close(self, timeout: float) -> None:
        """Let channels that are being told something finish for `timeout` seconds, then abort."""
        await self._notices.close(timeout)

    # -- the parts --------------------------------------------------------------------------------

    def _described(self, binding: ChannelBinding, patch: Mapping[str, Any]) -> dict[str, Any]:
        """More metadata, and whom they name, unless the channel that could tell is gone."""
        changes: dict[str, Any] = {"metadata": {**binding.metadata, **patch}}
        channel = self._channels.find(binding.channel_id)
        if channel is not None and channel.recipient_key in patch:
            changes["recipient"] = recipient_of(channel, patch)
        return changes

    async def _bind(
        self, room: Room, binding: ChannelBinding, before: ChannelBinding | None, channel: Channel
    ) -> RoomEvent:
        """Write, tell the channel, record; undone if the channel objects, or nobody waits for it
        any more (R47)."""
        try:
            await unbroken(self._write(binding))
            await channel.on_room_attached(binding.room_id, binding)
        except BaseException:
            await unbroken(self._unwrite(binding, before))
            raise
        return await unbroken(self._settled(room, binding))

    async def _write(self, binding: ChannelBinding) -> None:
        await self._store.add_binding(binding)
        self._changed(binding.room_id)

    async def _unwrite(self, binding: ChannelBinding, before: ChannelBinding | None) -> None:
        if before is None:
            await self._store.remove_binding(binding.room_id, binding.channel_id)
        else:
            await self._store.add_binding(before)
        self._changed(binding.room_id)

    async def _settled(self, room: Room, binding: ChannelBinding) -> RoomEvent:
        await self._set_detached(room, binding.channel_id, detached=False)
        return await self._records.write(
            binding.room_id,
            EventType.CHANNEL_ATTACHED,
            "channel_attached",
            channel_id=binding.channel_id,
            channel_type=str(binding.channel_type),
            access=binding.access.value,
            visibility=binding.visibility,
        )

    async def _attached(self, binding: ChannelBinding, event: RoomEvent) -> ChannelBinding:
        self._framework.emit(
            "room_channel_attached",
            room_id=binding.room_id,
            channel_id=binding.channel_id,
            access=binding.access.value,
            visibility=binding.visibility,
        )
        await self._announcer.announce(HookTrigger.ON_CHANNEL_ATTACHED, event)
        return binding

    async def _unbind(self, room: Room, channel_id: str, *, revoked: bool = False) -> RoomEvent:
        if revoked:
            await self._set_detached(room, channel_id, detached=True)
        await self._store.remove_binding(room.id, channel_id)
        self._changed(room.id)
        return await self._records.write(
            room.id, EventType.CHANNEL_DETACHED, "channel_detached", channel_id=channel_id
        )

    async def _detached(self, room_id: str, channel_id: str, event: RoomEvent) -> None:
        channel = self._channels.find(channel_id)
        try:
            if channel is not None:
                await channel.on_room_detached(room_id)
        finally:
            self._framework.emit("room_channel_detached", room_id=room_id, channel_id=channel_id)
            await self._announcer.announce(HookTrigger.ON_CHANNEL_DETACHED, event)

    async def _set_detached(self, room: Room, channel_id: str, *, detached: bool) -> None:
        known: list[str] = list(room.metadata.get(DETACHED_KEY, ()))
        if detached != (channel_id in known):
            known = [*known, channel_id] if detached else [c for c in known if c != channel_id]
            await self._store.patch_room_metadata(room.id, {DETACHED_KEY: known})

    async def _set(
        self,
        room_id: str,
        channel_id: str,
        organization_id: str | None,
        entry: _Entry | None,
        **fields: Any,
    ) -> ChannelBinding:
        return await self._change(room_id, channel_id, organization_id, entry, lambda _: fields)

    async def _change(
        self,
        room_id: str,
        channel_id: str,
        organization_id: str | None,
        entry: _Entry | None,
        changes: Callable[[ChannelBinding], Mapping[str, Any]],
    ) -> ChannelBinding:
        # Whoever holds the lock or is being told just now would wait for itself.
        lane = _lane(room_id, channel_id)
        waits = not (self._locks.held(room_id) or self._notices.inside(lane))
        async with self._tenancy.entered(self._locks, room_id, organization_id):
            before = await self.get(room_id, channel_id)
            wanted = dict(changes(before))
            if "visibility" in wanted:
                wanted["visibility"] = check_scope(wanted["visibility"])
            after = before.model_copy(update=wanted)
            if after == before:
                return before
            event = await unbroken(self._rebind(before, after, entry))
            told = self._notify(after)
        try:
            if told is not None and waits:
                await asyncio.shield(told)
        finally:
            trigger = None if entry is None else _CHANGE_TRIGGERS.get(entry.kind)
            if trigger is not None and event is not None:
                await self._announcer.announce(trigger, event)
        return after

    async def _rebind(
        self, before: ChannelBinding, after: ChannelBinding, entry: _Entry | None
    ) -> RoomEvent | None:
        await self._store.update_binding(after)
        self._changed(after.room_id)
        if entry is None:
            return None
        data: dict[str, Any] = dict(entry.data)
        for name in ("access", "visibility"):
            old, new = getattr(before, name), getattr(after, name)
            if old != new:
                data[f"old_{name}"], data[name] = str(old), str(new)
        return await self._records.write(
            after.room_id, entry.kind, entry.code, channel_id=after.channel_id, **data
        )

    def _notify(self, binding: ChannelBinding) -> Awaitable[None] | None:
        """Tell the channel, in the order of the changes and outside the lock: a channel may have
        to end something that is waiting for it."""
        channel = self._channels.find(binding.channel_id)
        if channel is None:
            return None
        job = partial(channel.update_binding, binding.room_id, binding)
        return self._notices.put(_lane(binding.room_id, binding.channel_id), job)


_CHANGE_TRIGGERS: Final = {
    EventType.CHANNEL_MUTED: HookTrigger.ON_CHANNEL_MUTED,
    EventType.CHANNEL_UNMUTED: HookTrigger.ON_CHANNEL_UNMUTED,
}


def _lane(room_id: str, channel_id: str) -> tuple[str, str]:
    return room_id, channel_id


def _own(channel: Channel, room_id: str) -> ChannelBinding:
    """What a channel gets that is attached for the first time."""
    return ChannelBinding(
        channel_id=channel.channel_id, room_id=room_id, channel_type=channel.channel_type
    )
