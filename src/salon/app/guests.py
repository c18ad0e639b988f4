"""Rooms as the server offers them: made on first entry, with the agents in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from salon.app.access import Access
from salon.app.observer import Observer
from salon.app.pages import TimelinePage, read_page
from salon.app.problems import ExistsError, InvalidError
from salon.base import LOCAL, Principal, SalonError, new_id
from salon.core import RoomClosedError, RoomKit
from salon.core.errors import ParticipantNotAdmittedError, RoomNotFoundError
from salon.core.rooms import DETACHED_KEY
from salon.models import (
    AgentResponsePolicy,
    EventType,
    HookTrigger,
    ParticipantStatus,
    Room,
    RoomContext,
    RoomEvent,
    RoomTimers,
)

MAX_ID = 128
MAX_NAME = 80
SHOWN = (EventType.MESSAGE, EventType.SYSTEM)


class BadNameError(SalonError):
    """An id or a name from outside that no room takes."""

    code = "bad_name"


def checked_id(value: str, what: str) -> str:
    """`value` if it may be an id; raises `BadNameError`."""
    if not value or len(value) > MAX_ID or not value.isprintable() or value != value.strip():
        raise BadNameError(f"a {what} has 1 to {MAX_ID} printable characters")
    return value


def path_id(value: str, what: str) -> str:
    """`value` if it may be an id that stands in paths; raises `BadNameError`."""
    if value in {".", ".."} or any(sign in value for sign in "/\\?#%"):
        raise BadNameError(f"a {what} is no part of a path and holds none of / \\ ? # %")
    return checked_id(value, what)


def shown_name(value: str | None) -> str | None:
    """A display name fit to be shown: printable, one line, at most 80 characters."""
    if value is None:
        return None
    words = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    return words[:MAX_NAME] or None


class Guests:
    """Makes rooms and lets people in. `channel_ids` are attached to every room, `agent_ids` (among
    them) also to rooms that a message from outside makes."""

    def __init__(
        self, kit: RoomKit, channel_ids: tuple[str, ...], agent_ids: tuple[str, ...] = ()
    ) -> None:
        self.kit = self._kit = kit
        self._channel_ids = channel_ids
        self._agent_ids = agent_ids
        self._own: set[str] = set()
        """Rooms in the making here, which furnish themselves."""
        if agent_ids:
            kit.add_hook(HookTrigger.ON_ROOM_CREATED, self._furnish, name="agents join")

    async def create(
        self,
        room_id: str | None = None,
        *,
        organization_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        timers: RoomTimers | None = None,
        agent_response_policy: AgentResponsePolicy | None = None,
        channel_ids: Sequence[str] | None = None,
    ) -> Room:
        """A new room with every channel attached, or those given. Raises `BadNameError`,
        `ExistsError`, `InvalidError`, `ChannelNotRegisteredError`."""
        room_id = new_id() if room_id is None else path_id(room_id, "room id")
        if DETACHED_KEY in (metadata or {}):
            raise InvalidError(f"room metadata {DETACHED_KEY!r} follows attach and detach")
        attached = self._channel_ids if channel_ids is None else channel_ids
        for channel_id in attached:
            self._kit.channels.get(channel_id)
        async with self._kit.locks.locked(room_id):
            if await self._kit.store.room_exists(room_id):
                raise ExistsError("room", room_id)
            await self._make(
                room_id,
                organization_id=organization_id,
                metadata=metadata,
                timers=timers,
                agent_response_policy=agent_response_policy,
            )
            for channel_id in attached:
                await self._kit.attach_channel(room_id, channel_id)
        return await self._kit.get_room(room_id)

    async def enter(
        self,
        room_id: str | None,
        participant_id: str,
        channel_id: str,
        name: str | None,
        *,
        principal: Principal = LOCAL,
    ) -> str:
        """Let somebody in; the room is made if it is not there. Raises `BadNameError`,
        `RoomClosedError`, `RoomNotFoundError` for a room that is not the caller's, and
        `ParticipantNotAdmittedError` for somebody who was barred."""
        room_id = path_id(room_id or new_id(), "room id")
        path_id(participant_id, "participant id")
        room = await self._prepare(room_id, Access(self._kit, principal))
        if not room.status.accepts_events:
            raise RoomClosedError(room_id)
        known = await self._kit.store.get_participant(room_id, participant_id)
        if known is not None and known.status is ParticipantStatus.BANNED:
            raise ParticipantNotAdmittedError(room_id, participant_id)
        await self._kit.add_member(
            room_id, channel_id, participant_id, display_name=shown_name(name)
        )
        return room_id

    def door(self, principal: Principal) -> Door:
        """The way in for one caller."""
        return Door(self, principal)

    async def timeline(
        self, room_id: str, *, before_index: int | None, limit: int
    ) -> TimelinePage | None:
        """A page of what people are shown, ascending. None if there is no such room."""
        store = self._kit.store
        if not await store.room_exists(room_id):
            return None
        observer = Observer.of(await store.list_bindings(room_id))
        return await read_page(
            store, room_id, observer, limit=limit, before_index=before_index, types=SHOWN
        )

    async def _prepare(self, room_id: str, access: Access) -> Room:
        kit = self._kit
        async with kit.locks.locked(room_id):
            organization_id = await access.enters(room_id)
            room = await kit.store.get_room(room_id)
            if room is None:
                room = await self._make(room_id, organization_id=organization_id)
            if not room.status.accepts_events:
                return room
            bound = {item.channel_id for item in await kit.store.list_bindings(room_id)}
            gone = room.metadata.get(DETACHED_KEY, ())
            for channel_id in self._channel_ids:
                if channel_id not in bound and channel_id not in gone:
                    await kit.attach_channel(room_id, channel_id)
        return room

    async def _make(self, room_id: str, **options: Any) -> Room:
        self._own.add(room_id)
        try:
            return await self._kit.create_room(room_id, **options)
        finally:
            self._own.discard(room_id)

    async def _furnish(self, event: RoomEvent, context: RoomContext) -> None:
        """A room that a message from outside made gets the agents."""
        del context
        if event.room_id in self._own:
            return
        for channel_id in self._agent_ids:
            try:
                await self._kit.attach_channel(event.room_id, channel_id)
            except RoomNotFoundError:
                return


class Door:
    """Lets one caller's people in; what the gateway asks for."""

    def __init__(self, guests: Guests, principal: Principal) -> None:
        self._guests = guests
        self._principal = principal

    async def enter(
        self, room_id: str | None, participant_id: str, channel_id: str, name: str | None
    ) -> str:
        """As `Guests.enter`."""
        return await self._guests.enter(
            room_id, participant_id, channel_id, name, principal=self._principal
        )
