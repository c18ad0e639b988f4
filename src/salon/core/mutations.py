"""Edits, deletes and threads: how an event may refer to, and change, an earlier one (chapter 10).

Authority comes from what the room knows of the sender, never from the payload (R105-R108).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from salon.core.context import Contexts
from salon.core.errors import RoomNotFoundError
from salon.core.observers import Observers
from salon.core.payloads import Trim
from salon.core.permissions import effective_scope
from salon.core.ports.locks import RoomLockManager
from salon.core.ports.store import ConversationStore
from salon.core.tenancy import Tenancy
from salon.models import (
    ChannelType,
    DeleteContent,
    DeleteType,
    EditContent,
    EventContent,
    EventSource,
    EventStatus,
    EventType,
    HookTrigger,
    ParticipantRole,
    ParticipantStatus,
    RoomContext,
    RoomEvent,
)

_log = logging.getLogger("salon.core.mutations")

TARGET_NOT_FOUND = "target_event_not_found"
IDENTITY_REQUIRED = "identity_required_for_edit"
NOT_AUTHOR = "not_original_author"
NOT_AUTHORIZED = "not_authorized"


@dataclass(frozen=True, slots=True)
class Mutation:
    """The change that an accepted EDIT or DELETE makes to an earlier event."""

    target: RoomEvent
    trigger: HookTrigger


class Mutations:
    """Validates and applies changes of stored events. `trim` makes of an event what is kept of its
    payload (R268)."""

    def __init__(
        self,
        *,
        store: ConversationStore,
        locks: RoomLockManager,
        contexts: Contexts,
        observers: Observers,
        trim: Trim | None = None,
    ) -> None:
        self._store = store
        self._locks = locks
        self._contexts = contexts
        self._observers = observers
        self._trim = trim
        self._tenancy = Tenancy(store)

    async def prepare(
        self, event: RoomEvent, context: RoomContext
    ) -> tuple[RoomEvent, RoomEvent | None, str | None]:
        """Under the lock, before hooks: the event with its thread root (R103), the event it would
        change, and why it may not (R104-R109)."""
        if event.parent_event_id is not None:
            root = await self._root(event, context)
            event = event.model_copy(update={"parent_event_id": root})
        content = event.content
        if not isinstance(content, EditContent | DeleteContent):
            wrong = event.type in (EventType.EDIT, EventType.DELETE)
            return event, None, TARGET_NOT_FOUND if wrong else None
        kind = EventType.EDIT if isinstance(content, EditContent) else EventType.DELETE
        target = await self._store.get_event(content.target_event_id, event.room_id)
        if target is None or not _may_change(target):
            return event, None, TARGET_NOT_FOUND
        refusal = _refusal(event, target, context)
        scope = effective_scope(  # nobody else hears of it
            event.visibility, target.visibility, context.bindings
        )
        return event.model_copy(update={"type": kind, "visibility": scope}), target, refusal

    async def found(self, target: RoomEvent) -> RoomEvent | None:
        """The event to be changed as hooks left it; None if it can't be changed any more."""
        known = await self._store.get_event(target.id, target.room_id)
        return None if known is None or not _may_change(known) else known

    def applied(self, event: RoomEvent, target: RoomEvent | None) -> Mutation | None:
        """What the event, as hooks left it, makes of its target (R111). None if nothing, or if a
        hook turned it to another event."""
        content = event.content
        if not isinstance(content, EditContent | DeleteContent) or target is None:
            return None
        if content.target_event_id != target.id:
            _log.warning("a hook turned event %s to another target: nothing is changed", event.id)
            return None
        if isinstance(content, DeleteContent):
            update: dict[str, Any] = {"metadata": {**target.metadata, "deleted": True}}
            trigger = HookTrigger.ON_EVENT_DELETED
        else:
            # who may not see the new words does not see the event any more
            update = {
                "content": content.new_content,
                "visibility": event.visibility,
                "metadata": {**target.metadata, "edited": True},
            }
            trigger = HookTrigger.ON_EVENT_UPDATED
        return Mutation(target.model_copy(update=update), trigger)

    async def update(
        self,
        room_id: str,
        event_id: str,
        *,
        content: EventContent | None = None,
        source: EventSource | None = None,
        metadata: Mapping[str, Any] | None = None,
        organization_id: str | None = None,
    ) -> RoomEvent | None:
        """Replace parts of a stored event wholesale, for hosts that own authorisation (R114). None,
        and nothing fires, if there is no such event (R116)."""
        given: dict[str, Any] = {"content": content, "source": source, "metadata": metadata}
        changes = {name: value for name, value in given.items() if value is not None}
        async with self._tenancy.locked(self._locks, room_id, organization_id):
            known = await self._store.get_event(event_id, room_id)
            if known is None:
                return None
            event = known.model_copy(update=changes)
            if self._trim is not None and event.source.raw_payload != known.source.raw_payload:
                event = self._trim(event)
            changed = await self._store.update_event(event)
        if changed is not None:
            await self._tell(HookTrigger.ON_EVENT_UPDATED, changed)
        return changed

    async def delete(
        self,
        room_id: str,
        event_id: str,
        *,
        cascade_replies: bool = True,
        organization_id: str | None = None,
    ) -> list[str]:
        """Delete an event for good, its replies with it (R115); their ids, the root's first."""
        async with self._tenancy.locked(self._locks, room_id, organization_id):
            gone = await self._store.delete_event(
                room_id, event_id, cascade_replies=cascade_replies
            )
        for event in gone:
            await self._tell(HookTrigger.ON_EVENT_DELETED, event)
        return [event.id for event in gone]

    async def _tell(self, trigger: HookTrigger, event: RoomEvent) -> None:
        if self._observers.wants(trigger, event.room_id):
            try:
                context = await self._contexts.build(event.room_id)
            except RoomNotFoundError:
                return
            self._observers.tell(trigger, event, context)

    async def _root(self, event: RoomEvent, context: RoomContext) -> str | None:
        """The root of the thread a reply belongs to; None if there is no such event here."""
        parent_id = event.parent_event_id
        assert parent_id is not None
        parent = next((past for past in context.recent_events if past.id == parent_id), None)
        if parent is None:
            parent = await self._store.get_event(parent_id, event.room_id)
        if parent is None:
            _log.warning("event %s answers %s, which this room lacks", event.id, parent_id)
            return None
        return parent.parent_event_id or parent.id


def _may_change(target: RoomEvent) -> bool:
    """Refused events, withdrawn ones and changes themselves are no targets."""
    return (
        target.status is not EventStatus.BLOCKED
        and target.metadata.get("deleted") is not True
        and target.type not in (EventType.EDIT, EventType.DELETE)
    )


def _refusal(event: RoomEvent, target: RoomEvent, context: RoomContext) -> str | None:
    """Why the source of an EDIT or DELETE has no authority over its target; None if it has."""
    content = event.content
    by_system = (isinstance(content, EditContent) and content.edit_source == "system") or (
        isinstance(content, DeleteContent) and content.delete_type is DeleteType.SYSTEM
    )
    if by_system:
        return None if event.source.channel_type == ChannelType.SYSTEM else NOT_AUTHORIZED
    sender, author = event.source.participant_id, target.source.participant_id
    if sender is None:
        return IDENTITY_REQUIRED
    if isinstance(content, DeleteContent) and content.delete_type is DeleteType.ADMIN:
        known = context.participant(sender)
        is_owner = (
            known is not None
            and known.role is ParticipantRole.OWNER
            and known.status is ParticipantStatus.ACTIVE
        )
        return None if is_owner else NOT_AUTHORIZED
    if author is None:
        return IDENTITY_REQUIRED
    return None if sender == author else NOT_AUTHOR
