"""Who is in a room (chapter 6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from salon.core.context import Contexts
from salon.core.errors import ParticipantNotFoundError, RoomNotFoundError
from salon.core.hooks import HookRegistry
from salon.core.ports.locks import RoomLockManager
from salon.core.ports.store import ConversationStore
from salon.core.rooms import Recorder, system_event
from salon.models import (
    EventType,
    HookTrigger,
    Participant,
    ParticipantRole,
    ParticipantStatus,
    RoomEvent,
)


class Participants:
    """One record per room and participant id (R35)."""

    def __init__(
        self,
        *,
        store: ConversationStore,
        locks: RoomLockManager,
        contexts: Contexts,
        hooks: HookRegistry,
        timeline: Callable[[], Recorder],
    ) -> None:
        self._store = store
        self._locks = locks
        self._contexts = contexts
        self._hooks = hooks
        self._timeline = timeline

    async def add(
        self,
        room_id: str,
        participant_id: str,
        channel_id: str,
        *,
        display_name: str | None = None,
        role: ParticipantRole = ParticipantRole.MEMBER,
    ) -> Participant:
        """A deliberate join (R37, R42). A member that is there only gains the channel, and the
        name if it had none."""
        async with self._locks.locked(room_id):
            if await self._store.get_room(room_id) is None:
                raise RoomNotFoundError(room_id)
            known = await self._store.get_participant(room_id, participant_id)
            if known is not None and known.status is ParticipantStatus.ACTIVE:
                return await self._note_channel(known, channel_id, display_name)
            if known is None:
                known = Participant(
                    id=participant_id,
                    room_id=room_id,
                    channel_id=channel_id,
                    display_name=display_name,
                    role=role,
                )
            else:
                known.status, known.channel_id = ParticipantStatus.ACTIVE, channel_id
                known.display_name = display_name or known.display_name
                others = [item for item in known.connected_via if item != channel_id]
                known.connected_via = [channel_id, *others]
            stored = await self._store.put_participant(known)
            event = self._event(stored, EventType.PARTICIPANT_JOINED, "participant_joined")
            await self._timeline().record(event)
        await self._announce(HookTrigger.ON_PARTICIPANT_JOINED, event)
        return stored

    async def remove(self, room_id: str, participant_id: str) -> Participant:
        """Somebody left; the record stays (R43). Raises `ParticipantNotFoundError`."""
        async with self._locks.locked(room_id):
            known = await self._get(room_id, participant_id)
            known.status = ParticipantStatus.LEFT
            stored = await self._store.put_participant(known)
            event = self._event(stored, EventType.PARTICIPANT_LEFT, "participant_left")
            await self._timeline().record(event)
        await self._announce(HookTrigger.ON_PARTICIPANT_LEFT, event)
        return stored

    async def rename(self, room_id: str, participant_id: str, display_name: str) -> Participant:
        """Change the display name and nothing else (R41)."""
        async with self._locks.locked(room_id):
            known = await self._get(room_id, participant_id)
            if known.display_name == display_name:
                return known
            known.display_name = display_name
            stored = await self._store.put_participant(known)
            event = self._event(stored, EventType.PARTICIPANT_UPDATED, "participant_updated")
            await self._timeline().record(event)
        await self._announce(HookTrigger.ON_PARTICIPANT_UPDATED, event)
        return stored

    async def ensure(self, room_id: str, participant_id: str, channel_id: str) -> Participant:
        """The record of whoever sent a message, made if there is none (R36). Under the lock."""
        known = await self._store.get_participant(room_id, participant_id)
        if known is not None:
            return await self._note_channel(known, channel_id, None)
        return await self._store.put_participant(
            Participant(id=participant_id, room_id=room_id, channel_id=channel_id)
        )

    async def _note_channel(
        self, known: Participant, channel_id: str, display_name: str | None
    ) -> Participant:
        """Bookkeeping without an event (R38, R40)."""
        name = known.display_name or display_name
        if channel_id in known.connected_via and name == known.display_name:
            return known
        if channel_id not in known.connected_via:
            known.connected_via = [*known.connected_via, channel_id]
        known.display_name = name
        return await self._store.put_participant(known)

    async def _get(self, room_id: str, participant_id: str) -> Participant:
        known = await self._store.get_participant(room_id, participant_id)
        if known is None:
            raise ParticipantNotFoundError(room_id, participant_id)
        return known

    @staticmethod
    def _event(participant: Participant, kind: EventType, code: str) -> RoomEvent:
        data: dict[str, Any] = {"participant_id": participant.id}
        if participant.display_name:
            data["display_name"] = participant.display_name
        return system_event(participant.room_id, kind, code, **data)

    async def _announce(self, trigger: HookTrigger, event: RoomEvent) -> None:
        if self._hooks.wants(trigger, event.room_id):
            await self._hooks.observe(trigger, event, await self._contexts.build(event.room_id))
