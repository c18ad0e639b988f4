"""What a room leaves behind: its transcript and its recordings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, StreamingResponse

from salon.app.access import Access
from salon.app.api_models import RecordingOut
from salon.app.observer import Observer
from salon.app.pages import read_page
from salon.app.recordings import Recordings
from salon.app.routes.common import ROOM, Caller, Kit
from salon.app.transcript import transcript_lines
from salon.base import safe_name
from salon.core.ports.store import ConversationStore

_READ = 200


def records(recordings: Recordings) -> APIRouter:
    """``/rooms/{room_id}/transcript`` and ``/recordings``."""
    router = APIRouter(prefix="/rooms", tags=["records"])

    @router.get(
        "/{room_id}/transcript",
        summary="Take a transcript along",
        response_class=StreamingResponse,
        responses=ROOM | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def transcript(room_id: str, access: Caller, kit: Kit) -> StreamingResponse:
        """Everything said in the room, as a text file."""
        room = await access.room(room_id, manage=False)
        observer = await access.observer(room, internal=access.grant is None)
        return StreamingResponse(
            _transcript(kit.store, room_id, observer),
            media_type="text/plain; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{safe_name(room_id)}.txt"'},
        )

    @router.get("/{room_id}/recordings", summary="List recordings", responses=ROOM)
    async def list_recordings(room_id: str, access: Caller) -> list[RecordingOut]:
        """The recordings of the room's calls, newest first."""
        await _mine(access, room_id)
        found = await asyncio.to_thread(recordings.list, room_id)
        return [
            RecordingOut(
                id=item.id,
                started_at=item.started_at.isoformat(timespec="milliseconds"),
                duration_ms=item.duration_ms,
                bytes=item.bytes,
            )
            for item in found
        ]

    @router.get(
        "/{room_id}/recordings/{recording_id}.wav",
        summary="Take a recording along",
        response_class=FileResponse,
        responses=ROOM
        | {200: {"content": {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}}},
    )
    async def recording(room_id: str, recording_id: str, access: Caller) -> FileResponse:
        """One recording: stereo, left the caller, right what the caller heard."""
        await _mine(access, room_id)
        file = await asyncio.to_thread(recordings.find, room_id, recording_id)
        if file is None:
            raise HTTPException(404, f"no recording {recording_id!r} in room {room_id!r}")
        return FileResponse(file, media_type="audio/wav", filename=file.name)

    return router


async def _mine(access: Access, room_id: str) -> None:
    """Recordings may outlive the store they belong to; then they are the master key's."""
    if not access.everything:
        await access.room(room_id)


async def _transcript(
    store: ConversationStore, room_id: str, observer: Observer
) -> AsyncIterator[str]:
    """Page by page from the first event on, so that no room is too long."""
    after: int | None = -1
    more = True
    while more and after is not None:
        page = await read_page(store, room_id, observer, limit=_READ, after_index=after)
        for line in transcript_lines(page.events):
            yield line
        more, after = page.has_more, page.next_after_index
