"""How fast the callers of a room were answered."""

from __future__ import annotations

from fastapi import APIRouter

from salon.app.measured import TurnsOut, turns_of
from salon.app.routes.common import ROOM, Caller, Kit


def turns() -> APIRouter:
    """``/rooms/{room_id}/turns``."""
    router = APIRouter(prefix="/rooms", tags=["records"])

    @router.get("/{room_id}/turns", summary="List measured turns", responses=ROOM)
    async def list_turns(room_id: str, access: Caller, kit: Kit) -> TurnsOut:
        """How long the newest answers to its callers took, and where the time went. Kept in memory:
        100 of each voice channel, until the server stops or the room is deleted."""
        await access.room(room_id, manage=False)
        return TurnsOut.of(turns_of(kit.channels, room_id), guest=access.grant is not None)

    return router
