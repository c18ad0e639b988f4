"""What is in a room: its channels and how far they have read, its people."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Response

from salon.app.api_models import (
    AttachIn,
    BindingPatch,
    ChannelOut,
    ParticipantIn,
    ParticipantPatch,
    ReadMarkIn,
    ReadMarkOut,
    ResolveIn,
)
from salon.app.guests import path_id, shown_name
from salon.app.observer import TEXT_CHANNEL
from salon.app.problems import InvalidError
from salon.app.routes.common import CHANGE, ROOM, Caller, Kit, problems
from salon.core.errors import ChannelNotFoundError
from salon.core.kit import RoomKit
from salon.core.ports.store import EventNotFoundError
from salon.models import ChannelBinding, Participant, ParticipantStatus


def channels() -> APIRouter:
    """``/channels`` and ``/rooms/{room_id}/channels``."""
    router = APIRouter(tags=["channels"])

    @router.get("/channels", summary="List the server's channels", responses=problems())
    async def known(access: Caller, kit: Kit) -> list[ChannelOut]:
        """Every channel that can be attached to a room."""
        access.manage()
        return [ChannelOut.of(channel) for channel in kit.list_channels()]

    @router.get("/rooms/{room_id}/channels", summary="List a room's channels", responses=ROOM)
    async def bound(room_id: str, access: Caller, kit: Kit) -> list[ChannelBinding]:
        """In the order of attachment."""
        await access.room(room_id)
        return await kit.list_bindings(room_id)

    @router.post(
        "/rooms/{room_id}/channels",
        status_code=201,
        summary="Attach a channel",
        responses=CHANGE,
    )
    async def attach(room_id: str, asked: AttachIn, access: Caller, kit: Kit) -> ChannelBinding:
        """Bind a channel of the server to the room; again, to change how it is bound."""
        await access.room(room_id)
        options = asked.model_dump(exclude_none=True, exclude={"rate_limit", "retry_policy"})
        options |= {
            name: value
            for name in ("rate_limit", "retry_policy")
            if (value := getattr(asked, name)) is not None
        }
        try:
            return await kit.attach_channel(room_id, options.pop("channel_id"), **options)
        except ValueError as error:
            raise InvalidError(str(error)) from None

    _binding_routes(router)
    _mute_routes(router)
    _read_routes(router)
    return router


def _binding_routes(router: APIRouter) -> None:
    @router.delete(
        "/rooms/{room_id}/channels/{channel_id}",
        status_code=204,
        summary="Detach a channel",
        responses=CHANGE,
    )
    async def detach(room_id: str, channel_id: str, access: Caller, kit: Kit) -> Response:
        """Unbind it; no message brings it back by itself."""
        await access.room(room_id)
        if not await kit.detach_channel(room_id, channel_id):
            raise ChannelNotFoundError(room_id, channel_id)
        return Response(status_code=204)

    @router.patch(
        "/rooms/{room_id}/channels/{channel_id}", summary="Change a binding", responses=CHANGE
    )
    async def change(
        room_id: str, channel_id: str, asked: BindingPatch, access: Caller, kit: Kit
    ) -> ChannelBinding:
        """What the channel may do in the room, who sees what it writes, its metadata."""
        await access.room(room_id)
        binding = await kit.get_binding(room_id, channel_id)
        try:
            if asked.visibility is not None:
                binding = await kit.set_visibility(room_id, channel_id, asked.visibility)
        except ValueError as error:
            raise InvalidError(str(error)) from None
        if asked.access is not None:
            binding = await kit.set_access(room_id, channel_id, asked.access)
        if asked.metadata:
            binding = await kit.update_binding_metadata(room_id, channel_id, asked.metadata)
        return binding


def _mute_routes(router: APIRouter) -> None:
    place = "/rooms/{room_id}/channels/{channel_id}"

    @router.post(f"{place}/mute", summary="Mute a channel", responses=CHANGE)
    async def mute(room_id: str, channel_id: str, access: Caller, kit: Kit) -> ChannelBinding:
        """What it writes is refused; it still reads."""
        return await _bound(access, room_id, channel_id, kit.mute)

    @router.post(f"{place}/unmute", summary="Unmute a channel", responses=CHANGE)
    async def unmute(room_id: str, channel_id: str, access: Caller, kit: Kit) -> ChannelBinding:
        """It may write again."""
        return await _bound(access, room_id, channel_id, kit.unmute)

    @router.post(f"{place}/mute-output", summary="Stop deliveries", responses=CHANGE)
    async def mute_output(
        room_id: str, channel_id: str, access: Caller, kit: Kit
    ) -> ChannelBinding:
        """Nothing is delivered through it; it still reads."""
        return await _bound(access, room_id, channel_id, kit.mute_output)

    @router.post(f"{place}/unmute-output", summary="Deliver again", responses=CHANGE)
    async def unmute_output(
        room_id: str, channel_id: str, access: Caller, kit: Kit
    ) -> ChannelBinding:
        """Deliveries go on with the next event."""
        return await _bound(access, room_id, channel_id, kit.unmute_output)


def _read_routes(router: APIRouter) -> None:
    place = "/rooms/{room_id}/channels/{channel_id}/read-mark"

    @router.get("/rooms/{room_id}/read-marks", summary="List read marks", responses=ROOM)
    async def marks(room_id: str, access: Caller, kit: Kit) -> list[ReadMarkOut]:
        """How far the channels of the room have read."""
        await access.room(room_id)
        bindings = await kit.list_bindings(room_id)
        return [await _mark(kit, room_id, item.channel_id) for item in bindings]

    @router.get(place, summary="How far a channel has read", responses=ROOM)
    async def read(room_id: str, channel_id: str, access: Caller, kit: Kit) -> ReadMarkOut:
        """Its mark, and how many events come after it."""
        await access.room(room_id)
        await kit.get_binding(room_id, channel_id)
        return await _mark(kit, room_id, channel_id)

    @router.put(place, summary="Mark as read", responses=CHANGE)
    async def mark(
        room_id: str, channel_id: str, asked: ReadMarkIn, access: Caller, kit: Kit
    ) -> ReadMarkOut:
        """Up to an event, or everything; a mark never goes back."""
        await access.room(room_id)
        await kit.get_binding(room_id, channel_id)
        if asked.event_id is None:
            await kit.mark_all_read(room_id, channel_id)
        elif await kit.store.get_event(asked.event_id, room_id) is None:
            raise EventNotFoundError(room_id, asked.event_id)
        else:
            await kit.mark_read(room_id, channel_id, asked.event_id)
        return await _mark(kit, room_id, channel_id)


def participants() -> APIRouter:
    """``/rooms/{room_id}/participants``."""
    router = APIRouter(prefix="/rooms/{room_id}/participants", tags=["participants"])

    @router.get("", summary="List participants", responses=ROOM)
    async def people(
        room_id: str, access: Caller, kit: Kit, include_left: bool = False
    ) -> list[Participant]:
        """In the order of joining."""
        await access.room(room_id)
        return await kit.list_members(room_id, include_left=include_left)

    @router.post("", status_code=201, summary="Add a participant", responses=CHANGE)
    async def add(room_id: str, asked: ParticipantIn, access: Caller, kit: Kit) -> Participant:
        """Somebody joins; who was barred is admitted again."""
        await access.room(room_id)
        await kit.get_binding(room_id, asked.channel_id)
        if asked.identity_id is not None:
            await access.identity(asked.identity_id)
        return await kit.add_member(
            room_id,
            asked.channel_id,
            path_id(asked.participant_id, "participant id"),
            identity_id=asked.identity_id,
            display_name=shown_name(asked.display_name),
            role=asked.role,
        )

    @router.patch("/{participant_id}", summary="Rename a participant", responses=CHANGE)
    async def rename(
        room_id: str, participant_id: str, asked: ParticipantPatch, access: Caller, kit: Kit
    ) -> Participant:
        """Change the display name."""
        await access.room(room_id)
        name = shown_name(asked.display_name)
        if name is None:
            raise InvalidError("display_name: has nothing to be shown")
        return await kit.rename_member(room_id, participant_id, name)

    @router.delete("/{participant_id}", summary="Remove a participant", responses=CHANGE)
    async def remove(
        room_id: str,
        participant_id: str,
        access: Caller,
        kit: Kit,
        status: Literal["left", "banned"] = "left",
    ) -> Participant:
        """Somebody leaves; with ``status=banned`` they stay out, also if they never came. The
        record is kept."""
        await access.room(room_id)
        if status == "banned":
            await _note(kit, room_id, participant_id)
        return await kit.remove_member(room_id, participant_id, status=ParticipantStatus(status))

    @router.post("/{participant_id}/resolve", summary="Identify a participant", responses=CHANGE)
    async def resolve(
        room_id: str, participant_id: str, asked: ResolveIn, access: Caller, kit: Kit
    ) -> Participant:
        """Settle who somebody is."""
        await access.room(room_id)
        await access.identity(asked.identity_id)
        return await kit.resolve_participant(
            room_id, participant_id, asked.identity_id, asked.resolved_by
        )

    return router


async def _note(kit: RoomKit, room_id: str, participant_id: str) -> None:
    """A record of somebody who has not come yet, for them to be barred by; nobody joins by it."""
    async with kit.locks.locked(room_id):
        if await kit.store.get_participant(room_id, participant_id) is None:
            path_id(participant_id, "participant id")
            await kit.store.add_participant(
                Participant(
                    id=participant_id,
                    room_id=room_id,
                    channel_id=TEXT_CHANNEL,
                    status=ParticipantStatus.LEFT,
                )
            )


async def _bound(access: Caller, room_id: str, channel_id: str, change: Any) -> ChannelBinding:
    await access.room(room_id)
    binding: ChannelBinding = await change(room_id, channel_id)
    return binding


async def _mark(kit: RoomKit, room_id: str, channel_id: str) -> ReadMarkOut:
    marks = await kit.list_read_markers(room_id)
    unread = await kit.get_unread_count(room_id, channel_id)
    return ReadMarkOut(channel_id=channel_id, index=marks.get(channel_id), unread=unread)
