"""The timeline of a room: read, written, corrected, followed live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, WebSocket
from pydantic import AfterValidator
from starlette.responses import Response

from salon.app.access import Access
from salon.app.api_models import (
    DeletedOut,
    EventIn,
    EventOut,
    EventPage,
    EventPatch,
    Key,
)
from salon.app.fit import one_line
from salon.app.following import EventStream, follow_socket
from salon.app.house import House
from salon.app.middleware import refuse_socket
from salon.app.observer import Observer
from salon.app.pages import TimelinePage, read_page
from salon.app.problems import InvalidError, status_of, words_of
from salon.app.routes.common import CHANGE, ROOM, Caller, Kit, access_of, problems
from salon.app.speaking import speak
from salon.base import SalonError
from salon.core.ports.store import EventNotFoundError
from salon.models import EventType
from salon.transport.sockets import Refusal

PAGE = 100
_LAST_INDEX = 2**53

Index = Annotated[int | None, Query(ge=0, le=_LAST_INDEX)]
After = Annotated[int | None, Query(ge=-1, le=_LAST_INDEX)]
Limit = Annotated[int, Query(ge=1, le=500)]
EventId = Annotated[str, AfterValidator(one_line), Path()]
Types = Annotated[list[EventType] | None, Query(max_length=40)]


def events(house: House) -> APIRouter:
    """``/rooms/{room_id}/events``, ``/timeline`` and ``/tail``."""
    router = APIRouter(prefix="/rooms/{room_id}", tags=["events"])
    _reading(router)
    _writing(router)
    _following(router, house)
    return router


def _reading(router: APIRouter) -> None:
    @router.get("/timeline", summary="Read a timeline", responses=ROOM, response_model=EventPage)
    async def timeline(
        room_id: str,
        access: Caller,
        kit: Kit,
        after_index: After = None,
        before_index: Index = None,
        limit: Limit = PAGE,
        type: Types = None,
        include_blocked: bool | None = None,
        visibility: Annotated[Key | None, Query()] = None,
    ) -> dict[str, Any]:
        """Events in ascending order: the newest, or the ones before or after an index. A key is
        shown everything, of what was refused only that it was, so that no index is missing; a room
        token what people are shown."""
        room = await access.room(room_id, manage=False)
        keys = access.grant is None
        blocked = keys if include_blocked is None else include_blocked
        observer = await access.observer(room, internal=keys, blocked=blocked)
        _one_cursor(after_index, before_index)
        page = await read_page(
            kit.store,
            room_id,
            observer,
            limit=limit,
            after_index=after_index,
            before_index=before_index,
            types=type,
            visibility=visibility,
        )
        return _masked(page) if include_blocked is None else page.as_json()

    @router.get("/events", summary="Read events", responses=ROOM, response_model=EventPage)
    async def read(
        room_id: str,
        access: Caller,
        kit: Kit,
        after_index: After = None,
        before_index: Index = None,
        limit: Limit = PAGE,
        type: Types = None,
        include_blocked: bool = False,
        include_internal: bool = False,
        visibility: Annotated[Key | None, Query()] = None,
    ) -> dict[str, Any]:
        """Events in ascending order: the newest, or the ones before or after an index. By default
        those that people are shown; only keys may ask for the others."""
        room = await access.room(room_id, manage=False)
        observer = await access.observer(room, internal=include_internal, blocked=include_blocked)
        _one_cursor(after_index, before_index)
        page = await read_page(
            kit.store,
            room_id,
            observer,
            limit=limit,
            after_index=after_index,
            before_index=before_index,
            types=type,
            visibility=visibility,
        )
        return page.as_json()


def _writing(router: APIRouter) -> None:
    @router.post(
        "/events",
        status_code=201,
        summary="Send an event",
        responses=CHANGE | problems(404, 409, 422, 429, 503),
        response_model=EventOut,
    )
    async def send(room_id: str, asked: EventIn, access: Caller, kit: Kit) -> dict[str, Any]:
        """Say something in the room. The answer is the committed event, `status` ``blocked`` and
        `blocked_by` telling if it was refused; it waits for no delivery and no agent. With an
        idempotency key that was used before it is the first event."""
        event = await speak(kit, access, room_id, asked)
        grant = access.grant
        person = None if grant is None else grant.participant_id
        return Observer({}, guest=grant is not None, participant_id=person).shows(event)

    @router.patch(
        "/events/{event_id}", summary="Correct an event", responses=CHANGE, response_model=EventOut
    )
    async def correct(
        room_id: str, event_id: EventId, asked: EventPatch, access: Caller, kit: Kit
    ) -> dict[str, Any]:
        """Replace the content or the metadata of a stored event. Who follows the room live is not
        told; send an event with content of type ``edit`` for that."""
        await access.room(room_id)
        changed = await kit.update_event(
            room_id, event_id, content=asked.content, metadata=asked.metadata
        )
        if changed is None:
            raise EventNotFoundError(room_id, event_id)
        return Observer({}).shows(changed)

    @router.delete("/events/{event_id}", summary="Delete an event", responses=CHANGE)
    async def delete(
        room_id: str, event_id: EventId, access: Caller, kit: Kit, cascade_replies: bool = True
    ) -> DeletedOut:
        """For good, with its replies; its index is never used again."""
        await access.room(room_id)
        gone = await kit.delete_event(room_id, event_id, cascade_replies=cascade_replies)
        if not gone:
            raise EventNotFoundError(room_id, event_id)
        return DeletedOut(deleted=gone)


def _following(router: APIRouter, house: House) -> None:
    @router.get(
        "/events/stream",
        summary="Follow a room",
        responses=ROOM
        | problems(404, 422, 429, 503)
        | {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
        response_class=Response,
    )
    async def stream(
        room_id: str,
        access: Caller,
        after_index: After = None,
        include_blocked: bool = False,
        include_internal: bool = False,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Server-Sent Events: each `id` is an index, each `data` an event. Without `after_index`
        or `Last-Event-ID` only what comes; from -1 on everything. The last message, of the event
        ``end``, says why it ends and after which index to go on."""
        room = await access.room(room_id, manage=False)
        observer = await access.observer(room, internal=include_internal, blocked=include_blocked)
        after = after_index if last_event_id is None else _index(last_event_id)
        listening = house.tails.listen(room, observer, **_bounds(access))
        return EventStream(listening, after)

    @router.websocket("/tail")
    async def tail(
        socket: WebSocket,
        room_id: str,
        after_index: After = None,
        include_blocked: bool = False,
        include_internal: bool = False,
    ) -> None:
        """The same as a WebSocket: one JSON object in each text frame."""
        if not house.ready:
            refusal = Refusal(503, "not ready", {"Retry-After": "5"})
            await refuse_socket(refusal, socket.scope, socket.receive, socket.send)
            return
        try:
            access = access_of(socket)
            room = await access.room(room_id, manage=False)
            observer = await access.observer(
                room, internal=include_internal, blocked=include_blocked
            )
            listening = house.tails.listen(room, observer, **_bounds(access))
            with listening as reader:
                await follow_socket(socket, reader, after_index)
        except SalonError as error:
            refusal = Refusal(status_of(error), words_of(error))
            await refuse_socket(refusal, socket.scope, socket.receive, socket.send)


def _bounds(access: Access) -> dict[str, Any]:
    grant = access.grant
    if grant is None:
        return {"principal": access.principal}
    return {
        "principal": access.principal,
        "participant_id": grant.participant_id,
        "until": float(grant.expires),
    }


def _index(text: str) -> int:
    value = text.strip()
    if not (value.isascii() and value.isdigit() and len(value) <= 15):
        raise InvalidError("Last-Event-ID: is no index")
    return int(value)


def _one_cursor(after_index: int | None, before_index: int | None) -> None:
    if after_index is not None and before_index is not None:
        raise InvalidError("after_index and before_index exclude each other")


def _masked(page: TimelinePage) -> dict[str, Any]:
    """Of what was refused only that it was."""
    shown: list[Mapping[str, Any]] = [
        event | {"content": _REFUSED, "metadata": {}} if event["status"] == "blocked" else event
        for event in page.events
    ]
    return page.as_json() | {"events": shown}


_REFUSED = {"type": "system", "code": "blocked", "body": "refused", "data": {}}
