"""Rooms: made, found, changed, ended; the tokens that open one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from salon.app.access import stamp_of
from salon.app.api_models import (
    Id,
    RoomDetail,
    RoomIn,
    RoomOut,
    RoomPage,
    RoomPatch,
    TimersIn,
    TokenIn,
    TokenOut,
)
from salon.app.guests import path_id, shown_name
from salon.app.house import House
from salon.app.keeping import forget_events, forget_recordings
from salon.app.listing import RoomList
from salon.app.problems import InvalidError
from salon.app.recordings import Recordings
from salon.app.routes.common import CHANGE, ROOM, Caller, Kit, problems
from salon.app.security import Gate
from salon.base import SYSTEM_CLOCK, new_id
from salon.base.principal import RoomGrant
from salon.models import Room, RoomStatus, RoomTimers


def rooms(house: House, recordings: Recordings) -> APIRouter:
    """``/rooms`` and ``/rooms/{room_id}``."""
    router = APIRouter(prefix="/rooms", tags=["rooms"])

    @router.post("", status_code=201, summary="Make a room", responses=problems(404, 409, 422))
    async def create(access: Caller, asked: RoomIn | None = None) -> RoomOut:
        """A room with the agent in it, or with the channels named."""
        asked = asked or RoomIn()
        organization_id = access.owner(asked.organization_id)
        room = await house.rooms.create(
            asked.id,
            organization_id=organization_id,
            metadata=asked.metadata,
            timers=_timers(asked.timers),
            agent_response_policy=asked.agent_response_policy,
            channel_ids=asked.channels,
        )
        return RoomOut.of(room)

    @router.get("", summary="List rooms", responses=problems(422))
    async def list_rooms(
        access: Caller,
        kit: Kit,
        organization_id: Annotated[Id | None, Query()] = None,
        status: RoomStatus | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: str | None = None,
    ) -> RoomPage:
        """Newest first. A key of an organization lists its own."""
        organization_id = access.owner(organization_id)
        found, following = await RoomList(kit, organization_id, status).page(limit, cursor)
        return RoomPage(rooms=[RoomOut.of(room) for room in found], next_cursor=following)

    @router.get("/{room_id}", summary="Describe a room", responses=ROOM)
    async def describe(room_id: str, access: Caller, kit: Kit) -> RoomDetail:
        """The room, its people and its channels."""
        room = await access.room(room_id, manage=False)
        if access.grant is not None:
            room = room.model_copy(update={"metadata": {}})
        people = await kit.store.list_participants(room_id)
        return RoomDetail.made(room, people, await kit.store.list_bindings(room_id))

    @router.patch("/{room_id}", summary="Change a room", responses=CHANGE)
    async def change(room_id: str, asked: RoomPatch, access: Caller, kit: Kit) -> RoomOut:
        """Metadata (single keys), timers, and whether agents answer agents."""
        room = await access.room(room_id)
        if asked.metadata:
            try:
                room = await kit.update_room_metadata(room_id, asked.metadata)
            except ValueError as error:
                raise InvalidError(str(error)) from None
        if asked.timers is not None:
            room = await kit.set_room_timers(room_id, _timers(asked.timers))
        if asked.agent_response_policy is not None:
            room = await kit.set_agent_response_policy(room_id, asked.agent_response_policy)
        return RoomOut.of(room)

    @router.delete("/{room_id}", status_code=204, summary="Delete a room", responses=CHANGE)
    async def delete(room_id: str, access: Caller, kit: Kit) -> Response:
        """The room with everything in it, recordings included."""
        await access.room(room_id)
        await kit.delete_room(room_id)
        await asyncio.to_thread(forget_recordings, recordings, room_id)
        await asyncio.to_thread(forget_events, house.settings.events, room_id)
        return Response(status_code=204)

    _token_routes(router)
    _status_routes(router)
    return router


def _token_routes(router: APIRouter) -> None:
    """What opens one room to somebody without a key."""

    @router.post("/{room_id}/tokens", status_code=201, summary="Make a room token", responses=ROOM)
    async def token(room_id: str, asked: TokenIn, access: Caller, request: Request) -> TokenOut:
        """A token that opens this room only, for one participant, for a day at most."""
        room = await access.room(room_id)
        gate: Gate = request.app.state.gate
        person = path_id(asked.participant_id or new_id(), "participant id")
        grant = RoomGrant(
            room_id=room_id,
            made_at=stamp_of(room),
            participant_id=person,
            name=shown_name(asked.name),
            writes=asked.access == "write",
            expires=int(SYSTEM_CLOCK.time()) + asked.ttl_seconds,
        )
        made = gate.credentials.tokens.issue(grant)
        return TokenOut(
            token=made.token,
            room_id=room_id,
            participant_id=person,
            access=asked.access,
            expires_at=datetime.fromtimestamp(made.expires, UTC),
        )


def _status_routes(router: APIRouter) -> None:
    """The changes of a room's status."""

    @router.post("/{room_id}/close", summary="Close a room", responses=CHANGE)
    async def close(room_id: str, access: Caller, kit: Kit) -> RoomOut:
        """It takes no more events and stays readable."""
        return await _changed(access, room_id, kit.close_room)

    @router.post("/{room_id}/archive", summary="Archive a room", responses=CHANGE)
    async def archive(room_id: str, access: Caller, kit: Kit) -> RoomOut:
        """Put it away for good."""
        return await _changed(access, room_id, kit.archive_room)

    @router.post("/{room_id}/reopen", summary="Reopen a room", responses=CHANGE)
    async def reopen(room_id: str, access: Caller, kit: Kit) -> RoomOut:
        """A closed room takes events again; an archived one does not."""
        return await _changed(access, room_id, kit.reopen_room)

    @router.post("/{room_id}/pause", summary="Pause a room", responses=CHANGE)
    async def pause(room_id: str, access: Caller, kit: Kit) -> RoomOut:
        """The next message resumes it."""
        return await _changed(access, room_id, kit.pause_room)

    @router.post("/{room_id}/resume", summary="Resume a room", responses=CHANGE)
    async def resume(room_id: str, access: Caller, kit: Kit) -> RoomOut:
        """A paused room is active again."""
        return await _changed(access, room_id, kit.resume_room)


async def _changed(access: Caller, room_id: str, change: Any) -> RoomOut:
    await access.room(room_id)
    room: Room = await change(room_id)
    return RoomOut.of(room)


def _timers(asked: TimersIn) -> RoomTimers:
    return RoomTimers(**asked.model_dump())
