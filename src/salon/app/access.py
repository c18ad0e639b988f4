"""What a caller may reach: every route decides through `Access`, every path through `reaches`."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Final

from salon.app.observer import Observer
from salon.base import Principal, SalonError
from salon.base.principal import RoomGrant
from salon.core.errors import (
    IdentityNotFoundError,
    ParticipantNotAdmittedError,
    RoomNotFoundError,
)
from salon.core.ports.store import TaskNotFoundError
from salon.models import Identity, ParticipantStatus, Room, Task
from salon.transport.sockets import Refusal, UpgradeRequest

if TYPE_CHECKING:
    from salon.core.kit import RoomKit

MEDIA_PATHS: Final = ("/ws", "/call", "/webrtc", "/call/webrtc")

_FOR_ALL = r"/(ws|call|webrtc|call/webrtc|iceservers|schema/call\.json|openapi\.json)"
_FOR_TOKENS = re.compile(
    rf"(GET|HEAD) /rooms/[^/]+(/(timeline|transcript|turns|events|events/stream))?"
    rf"|POST /rooms/[^/]+/events"
    rf"|WEBSOCKET (/rooms/[^/]+/tail|/ws/[^/]+)"
    rf"|[A-Z]+ {_FOR_ALL}"
)
_FOR_ORGANIZATIONS = re.compile(
    rf"[A-Z]+ (/(rooms|channels|identities|tasks)(/.*)?|/ws/[^/]+|{_FOR_ALL})", re.DOTALL
)


class ForbiddenError(SalonError):
    """The credential does not go that far."""

    code = "forbidden"


def reaches(principal: Principal, method: str, path: str) -> bool:
    """Whether this kind of credential opens a path at all. What is not listed needs the API key;
    which room or identity it is about is for `Access` to say."""
    if principal.kind in {"local", "key"}:
        return True
    table = _FOR_TOKENS if principal.kind == "room" else _FOR_ORGANIZATIONS
    return table.fullmatch(f"{method} {path}") is not None


class Access:
    """One caller's reach. What is not theirs is "not found", never "forbidden" (R267)."""

    def __init__(self, kit: RoomKit, principal: Principal | None) -> None:
        if principal is None:
            raise ForbiddenError("a credential is needed")
        self._kit = kit
        self.principal = principal

    @property
    def grant(self) -> RoomGrant | None:
        """What a room token opens; None for keys."""
        return self.principal.grant

    @property
    def organization_id(self) -> str | None:
        """Whose things the caller is confined to; None: everybody's."""
        return self.principal.organization_id

    @property
    def everything(self) -> bool:
        """Whether the caller is confined to nothing."""
        return self.grant is None and self.organization_id is None

    def manage(self) -> None:
        """For keys only. Raises `ForbiddenError`."""
        if self.grant is not None:
            raise ForbiddenError("a room token does not open this; use a key")

    def owner(self, organization_id: str | None) -> str | None:
        """The organization that something belongs to which the caller makes or lists. Raises
        `ForbiddenError` if they name another than their own."""
        self.manage()
        own = self.organization_id
        if own is not None and organization_id not in (None, own):
            raise ForbiddenError("this key belongs to another organization")
        return organization_id if own is None else own

    async def room(self, room_id: str, *, manage: bool = True, write: bool = False) -> Room:
        """The room, if the caller may have it. Raises `RoomNotFoundError`; `ForbiddenError` for
        what a token does not allow; `ParticipantNotAdmittedError` once its holder is barred."""
        grant = self.grant
        if grant is None:
            return await self._kit.get_room(room_id, organization_id=self.organization_id)
        if room_id != grant.room_id:
            raise RoomNotFoundError(room_id)
        room = await self._kit.get_room(room_id)
        if stamp_of(room) != grant.made_at:
            raise RoomNotFoundError(room_id)
        if manage:
            self.manage()
        if write and not grant.writes:
            raise ForbiddenError("this room token is for reading")
        known = await self._kit.store.get_participant(room_id, grant.participant_id)
        if known is not None and known.status is ParticipantStatus.BANNED:
            raise ParticipantNotAdmittedError(room_id, grant.participant_id)
        return room

    async def enters(self, room_id: str) -> str | None:
        """Whether the caller may take part in a room that need not exist yet; the organization it
        is made for. Raises what `room` does."""
        if self.grant is not None:
            return (await self.room(room_id, manage=False)).organization_id
        known = await self._kit.store.get_room(room_id)
        if known is not None:
            await self.room(room_id)
        return self.organization_id

    async def identity(self, identity_id: str) -> Identity:
        """Raises `IdentityNotFoundError`, also for another organization's."""
        self.manage()
        found = await self._kit.store.get_identity(identity_id)
        if found is None or self.organization_id not in (None, found.organization_id):
            raise IdentityNotFoundError(identity_id)
        return found

    async def task(self, task_id: str, room_id: str | None) -> Task:
        """A task by its id, of `room_id` if the id alone does not tell. Raises
        `TaskNotFoundError`, also for a task in another organization's room."""
        self.manage()
        if room_id is None:
            found = await self._kit.store.get_task(task_id)
        else:
            await self.room(room_id)
            tasks = await self._kit.store.list_tasks(room_id)
            found = next((item for item in tasks if item.id == task_id), None)
        try:
            if found is not None:
                await self.room(found.room_id)
                return found
        except RoomNotFoundError:
            pass
        raise TaskNotFoundError(room_id or "?", task_id)

    async def observer(
        self, room: Room, *, internal: bool = False, blocked: bool = False
    ) -> Observer:
        """The caller's eyes in a room. Raises `ForbiddenError` if a token asks for more than
        people are shown."""
        if internal or blocked:
            self.manage()
        bindings = await self._kit.store.list_bindings(room.id)
        return Observer.of(
            bindings,
            internal=internal,
            blocked=blocked,
            guest=self.grant is not None,
            participant_id=None if self.grant is None else self.grant.participant_id,
        )


def stamp_of(room: Room) -> str:
    """What tells a room from a later one of the same id."""
    return room.created_at.astimezone(UTC).isoformat()


def confined(principal: Principal, request: UpgradeRequest) -> UpgradeRequest | Refusal:
    """A call as this caller may place it: keys of organizations and room tokens call rooms only,
    and a token calls its own room as its own participant."""
    if principal.kind in {"local", "key"}:
        return request
    query = dict(request.query)
    grant = principal.grant
    if grant is not None:
        if query.get("room", grant.room_id) != grant.room_id:
            return Refusal(404, f"there is no room {query['room']!r}")
        if not grant.writes:
            return Refusal(403, "this room token is for reading")
        query |= {"room": grant.room_id, "participant": grant.participant_id}
        query.pop("name", None)
        if grant.name:
            query["name"] = grant.name
        query.pop("token", None)
    elif query.get("handler") != "room":
        return Refusal(403, "this key opens calls of rooms: handler=room")
    return replace(request, query=query | {"handler": "room"})
