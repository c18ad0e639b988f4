"""Who is in a room (chapter 6), and who they turned out to be (chapter 16)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from salon.base import SYSTEM_CLOCK, Clock, unbroken
from salon.core.context import Contexts
from salon.core.errors import (
    IdentityNotFoundError,
    ParticipantNotAdmittedError,
    ParticipantNotFoundError,
)
from salon.core.framework import FrameworkEvents
from salon.core.hooks import HookRegistry
from salon.core.identity.decision import KeepPending, identified, kept_pending
from salon.core.lifecycle import Announcer, Recorder, Records, Settle, as_it_is
from salon.core.observers import Observers
from salon.core.ports.locks import RoomLockManager
from salon.core.ports.store import ConversationStore
from salon.core.routing import may_be_found
from salon.core.tenancy import Tenancy
from salon.models import (
    EventType,
    HookTrigger,
    IdentificationStatus,
    Participant,
    ParticipantRole,
    ParticipantStatus,
    Room,
    RoomEvent,
)
from salon.models.identity import Identity

_log = logging.getLogger("salon.core.participants")


class Participants:
    """One record per room and participant id (R35)."""

    def __init__(
        self,
        *,
        store: ConversationStore,
        locks: RoomLockManager,
        contexts: Contexts,
        hooks: HookRegistry,
        observers: Observers,
        framework: FrameworkEvents,
        timeline: Callable[[], Recorder],
        clock: Clock = SYSTEM_CLOCK,
        settle: Settle = as_it_is,
    ) -> None:
        self._store = store
        self._locks = locks
        self._framework = framework
        self._records = Records(timeline, clock)
        self._announcer = Announcer(
            locks=locks, contexts=contexts, hooks=hooks, observers=observers
        )
        self._clock = clock
        self._tenancy = Tenancy(store, settle)

    async def get(self, room_id: str, participant_id: str) -> Participant:
        """Raises `ParticipantNotFoundError`."""
        known = await self._store.get_participant(room_id, participant_id)
        if known is None:
            raise ParticipantNotFoundError(room_id, participant_id)
        return known

    async def members(
        self, room_id: str, *, include_left: bool = False, organization_id: str | None = None
    ) -> list[Participant]:
        """Who is in a room, in the order of joining, without those who left or were barred unless
        `include_left`."""
        await self._tenancy.check(room_id, organization_id)
        people = await self._store.list_participants(room_id)
        gone = (ParticipantStatus.LEFT, ParticipantStatus.BANNED)
        return [person for person in people if include_left or person.status not in gone]

    # -- on purpose -------------------------------------------------------------------------------

    async def add(
        self,
        room_id: str,
        channel_id: str,
        participant_id: str,
        *,
        identity_id: str | None = None,
        display_name: str | None = None,
        role: ParticipantRole = ParticipantRole.MEMBER,
        organization_id: str | None = None,
    ) -> Participant:
        """A deliberate join (R37, R42), also of somebody who left or was barred. An ACTIVE member
        only gains the channel, and the name if it had none. With `identity_id` whoever joins is
        IDENTIFIED, else PENDING. Raises `RoomNotFoundError`, `IdentityNotFoundError` for somebody
        of another organization."""
        async with self._tenancy.entered(self._locks, room_id, organization_id) as room:
            if identity_id is not None:
                await self._refuse_foreigner(room, identity_id)
            known = await self._store.get_participant(room_id, participant_id)
            if known is not None and known.status is ParticipantStatus.ACTIVE:
                return await self._note_channel(known, channel_id, display_name)
            if known is None:
                known = self._new(room_id, channel_id, participant_id, display_name, role)
            others = [item for item in known.connected_via if item != channel_id]
            status = (
                IdentificationStatus.IDENTIFIED if identity_id else IdentificationStatus.PENDING
            )
            joining = known.model_copy(
                update={
                    "status": ParticipantStatus.ACTIVE,
                    "channel_id": channel_id,
                    "connected_via": [channel_id, *others],
                    "display_name": display_name or known.display_name,
                    "identification": status,
                    "identity_id": identity_id or known.identity_id,
                }
            )
            kind, code = EventType.PARTICIPANT_JOINED, "participant_joined"
            event = await unbroken(self._write(joining, kind, code, add=True))
        await self._announcer.announce(HookTrigger.ON_PARTICIPANT_JOINED, event)
        return joining

    async def remove(
        self,
        room_id: str,
        participant_id: str,
        *,
        status: ParticipantStatus = ParticipantStatus.LEFT,
        organization_id: str | None = None,
    ) -> Participant:
        """Somebody left, or is BANNED: barred until `add` lets them in again. The record stays
        (R43); nothing happens if it says so already. Raises `ParticipantNotFoundError`,
        `ValueError` for any other status."""
        await self._tenancy.check(room_id, organization_id)
        if status not in (ParticipantStatus.LEFT, ParticipantStatus.BANNED):
            raise ValueError(f"who is removed is left or banned, not {status}")
        async with self._tenancy.entered(self._locks, room_id, organization_id):
            known = await self.get(room_id, participant_id)
            if known.status is status:
                return known
            gone = known.model_copy(update={"status": status})
            kind, code = EventType.PARTICIPANT_LEFT, "participant_left"
            event = await unbroken(self._write(gone, kind, code, status=status.value))
        await self._announcer.announce(HookTrigger.ON_PARTICIPANT_LEFT, event)
        return gone

    async def rename(
        self,
        room_id: str,
        participant_id: str,
        display_name: str,
        *,
        organization_id: str | None = None,
    ) -> Participant:
        """Change the display name and nothing else (R41). Raises `ParticipantNotFoundError`."""
        async with self._tenancy.entered(self._locks, room_id, organization_id):
            known = await self.get(room_id, participant_id)
            if known.display_name == display_name:
                return known
            renamed = known.model_copy(update={"display_name": display_name})
            kind, code = EventType.PARTICIPANT_UPDATED, "participant_updated"
            event = await unbroken(self._write(renamed, kind, code))
        await self._announcer.announce(HookTrigger.ON_PARTICIPANT_UPDATED, event)
        return renamed

    async def resolve(
        self,
        room_id: str,
        participant_id: str,
        identity_id: str,
        resolved_by: str = "manual",
        *,
        organization_id: str | None = None,
    ) -> Participant:
        """Settle who a participant is (R44); nothing happens if it is settled so already. Raises
        `RoomNotFoundError`, `ParticipantNotFoundError`, `IdentityNotFoundError`."""
        async with self._tenancy.entered(self._locks, room_id, organization_id) as room:
            known = await self.get(room_id, participant_id)
            identity = await self._identity(room, identity_id)
            settled = identified(known, identity, at=self._clock.now(), by=resolved_by)
            if settled is known:
                return known
            event = await unbroken(
                self._write(
                    settled,
                    EventType.PARTICIPANT_IDENTIFIED,
                    "participant_identified",
                    identity_id=identity_id,
                    resolved_by=resolved_by,
                )
            )
        self._resolved(settled)
        await self._announcer.announce(HookTrigger.ON_PARTICIPANT_IDENTIFIED, event)
        return settled

    async def introduce(
        self,
        room_id: str,
        channel_id: str,
        participant_id: str,
        display_name: str | None = None,
        *,
        organization_id: str | None = None,
    ) -> Participant:
        """The record of somebody, made if there is none, without announcing anybody (R36). Raises
        `ParticipantNotAdmittedError` for who is barred."""
        async with self._tenancy.locked(self._locks, room_id, organization_id):
            return await self.ensure(room_id, participant_id, channel_id, display_name)

    # -- in passing, under the lock ---------------------------------------------------------------

    async def ensure(
        self,
        room_id: str,
        participant_id: str,
        channel_id: str,
        display_name: str | None = None,
        *,
        address: str | None = None,
    ) -> Participant:
        """The record of whoever sent a message, made if there is none (R36), with the address it
        came from (`reached_at`). Who left has not come back by that. Raises
        `ParticipantNotAdmittedError`; call it under the lock."""
        known = await self._admitted(room_id, participant_id)
        if known is not None:
            return await self._note_channel(known, channel_id, display_name, address)
        made = self._new(room_id, channel_id, participant_id, display_name)
        return await self._store.add_participant(reached_at(made, channel_id, address))

    async def identify(
        self,
        room_id: str,
        channel_id: str,
        identity: Identity,
        *,
        by: str,
        address: str | None = None,
    ) -> Participant:
        """The record of a sender whose identity is settled: its id is the identity's, so that only
        the `address` tells who writes next (`reached_at`). Bookkeeping, no entry is written. Raises
        `ParticipantNotAdmittedError`; call it under the lock (R173)."""
        known = await self._admitted(room_id, identity.id)
        base = reached_at(known or self._new(room_id, channel_id, identity.id), channel_id, address)
        settled = identified(base, identity, at=self._clock.now(), by=by)
        if settled == known:
            return settled
        self._warn(known, channel_id)
        stored = await self._store.add_participant(settled)
        if known is None or known.identification is not IdentificationStatus.IDENTIFIED:
            self._resolved(stored)
        return stored

    async def keep_pending(
        self,
        room_id: str,
        channel_id: str,
        participant_id: str,
        action: KeepPending,
        *,
        address: str | None = None,
    ) -> Participant:
        """The record of a sender who may be one of several; otherwise as `identify`."""
        known = await self._admitted(room_id, participant_id)
        base = known or self._new(room_id, channel_id, participant_id)
        pending = kept_pending(reached_at(base, channel_id, address), action)
        if pending == known:
            return pending
        self._warn(known, channel_id)
        return await self._store.add_participant(pending)

    # -- the parts --------------------------------------------------------------------------------

    async def _admitted(self, room_id: str, participant_id: str) -> Participant | None:
        known = await self._store.get_participant(room_id, participant_id)
        if known is not None and known.status is ParticipantStatus.BANNED:
            raise ParticipantNotAdmittedError(room_id, participant_id)
        return known

    async def _identity(self, room: Room, identity_id: str) -> Identity:
        identity = await self._store.get_identity(identity_id)
        if identity is None or identity.organization_id not in (None, room.organization_id):
            raise IdentityNotFoundError(identity_id)
        return identity

    async def _refuse_foreigner(self, room: Room, identity_id: str) -> None:
        """A host that keeps identities elsewhere names some that no store knows; these pass."""
        identity = await self._store.get_identity(identity_id)
        if identity is not None and identity.organization_id not in (None, room.organization_id):
            raise IdentityNotFoundError(identity_id)

    def _new(
        self,
        room_id: str,
        channel_id: str,
        participant_id: str,
        display_name: str | None = None,
        role: ParticipantRole = ParticipantRole.MEMBER,
    ) -> Participant:
        return Participant(
            id=participant_id,
            room_id=room_id,
            channel_id=channel_id,
            display_name=display_name,
            role=role,
            joined_at=self._clock.now(),
        )

    async def _note_channel(
        self,
        known: Participant,
        channel_id: str,
        display_name: str | None,
        address: str | None = None,
    ) -> Participant:
        """Bookkeeping without an event (R38, R40)."""
        noted = reached_at(known, channel_id, address)
        if not noted.display_name and display_name:
            noted = noted.model_copy(update={"display_name": display_name})
        if noted == known:
            return known
        self._warn(known, channel_id)
        return await self._store.update_participant(noted)

    @staticmethod
    def _warn(known: Participant | None, channel_id: str) -> None:
        """Somebody is there through another channel than before (R39); said once per channel."""
        if known is not None and channel_id not in known.connected_via:
            _log.warning(
                "participant %s of room %s is reached through %s, not the primary channel %s",
                known.id,
                known.room_id,
                channel_id,
                known.channel_id,
            )

    async def _write(
        self,
        person: Participant,
        kind: EventType,
        code: str,
        *,
        add: bool = False,
        **data: Any,
    ) -> RoomEvent:
        """The record and its entry in the timeline."""
        await (self._store.add_participant if add else self._store.update_participant)(person)
        data = {"participant_id": person.id, **data}
        if person.display_name:
            data["display_name"] = person.display_name
        if kind is EventType.PARTICIPANT_JOINED and person.identity_id:
            data["identity_id"] = person.identity_id
        return await self._records.write(person.room_id, kind, code, **data)

    def _resolved(self, person: Participant) -> None:
        self._framework.emit(
            "identity_resolved",
            room_id=person.room_id,
            participant_id=person.id,
            identity_id=person.identity_id,
            resolved_by=person.resolved_by,
        )


def reached_at(known: Participant, channel_id: str, address: str | None) -> Participant:
    """The record, the same one if that is nothing new, of somebody seen on a channel and at an
    address.

    Channels stand in the order of first sight, the primary one first (R38). `external_id` keeps the
    first address that is not the record's id; a later one replaces it only where both must have
    come through the one channel that there is.
    """
    news: dict[str, Any] = {}
    if channel_id not in known.connected_via:
        news["connected_via"] = [*known.connected_via, channel_id]
    may_replace = known.external_id is None or known.connected_via == [channel_id]
    is_news = address not in (None, known.id, known.external_id)
    if address is not None and is_news and may_replace and may_be_found(address):
        news["external_id"] = address
    return known.model_copy(update=news) if news else known
