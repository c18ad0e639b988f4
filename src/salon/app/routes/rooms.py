"""Rooms over HTTP: make one, read its timeline, take its transcript and its recordings along."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel

from salon.app.house import House, Rooms
from salon.app.recordings import Recordings
from salon.app.transcript import transcript_lines
from salon.base import safe_name

PAGE = 100
_READ = 200


class NewRoom(BaseModel):
    """The id of a room just made."""

    id: str


def rooms(house: House, recordings: Recordings) -> APIRouter:
    """The routes below ``/rooms``."""
    router = APIRouter(prefix="/rooms", tags=["rooms"])

    @router.post("", status_code=201)
    async def create() -> NewRoom:
        """Make a room with the agent in it."""
        return NewRoom(id=await house.rooms.create())

    @router.get("/{room_id}")
    async def describe(room_id: str) -> dict[str, Any]:
        """The room and who is in it."""
        return await _room(house.rooms, room_id)

    @router.get("/{room_id}/timeline")
    async def timeline(
        room_id: str,
        before_index: Annotated[int | None, Query(ge=0)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = PAGE,
    ) -> dict[str, Any]:
        """Events in ascending order: the newest, or the ones before `before_index`."""
        page = await house.rooms.timeline(room_id, before_index=before_index, limit=limit)
        if page is None:
            raise HTTPException(404, f"no room {room_id!r}")
        return {"events": page.events, "has_more": page.has_more}

    @router.get("/{room_id}/transcript", response_class=StreamingResponse)
    async def transcript(room_id: str) -> StreamingResponse:
        """Everything said in the room, as a text file."""
        await _room(house.rooms, room_id)
        return StreamingResponse(
            _transcript(house.rooms, room_id),
            media_type="text/plain; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{safe_name(room_id)}.txt"'},
        )

    @router.get("/{room_id}/recordings")
    async def list_recordings(room_id: str) -> list[dict[str, Any]]:
        """The recordings of the room's calls, newest first."""
        found = await asyncio.to_thread(recordings.list, room_id)
        return [
            {
                "id": item.id,
                "started_at": item.started_at.isoformat(timespec="milliseconds"),
                "duration_ms": item.duration_ms,
                "bytes": item.bytes,
            }
            for item in found
        ]

    @router.get("/{room_id}/recordings/{recording_id}.wav", response_class=FileResponse)
    async def recording(room_id: str, recording_id: str) -> FileResponse:
        """One recording: stereo, left the caller, right what the caller heard."""
        file = await asyncio.to_thread(recordings.find, room_id, recording_id)
        if file is None:
            raise HTTPException(404, f"no recording {recording_id!r} in room {room_id!r}")
        return FileResponse(file, media_type="audio/wav", filename=file.name)

    return router


async def _room(rooms: Rooms, room_id: str) -> dict[str, Any]:
    found = await rooms.describe(room_id)
    if found is None:
        raise HTTPException(404, f"no room {room_id!r}")
    return found


async def _transcript(rooms: Rooms, room_id: str) -> AsyncIterator[str]:
    """Page by page from the first event on, so that no room is too long."""
    newest = await rooms.timeline(room_id, before_index=None, limit=1)
    end = newest.events[-1]["index"] + 1 if newest and newest.events else 0
    for start in range(0, end, _READ):
        before = min(start + _READ, end)
        page = await rooms.timeline(room_id, before_index=before, limit=before - start)
        for line in transcript_lines(page.events if page else ()):
            yield line
