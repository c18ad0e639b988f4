"""How what a caller sends becomes an event: with a key as it says, with a token as oneself."""

from __future__ import annotations

from typing import Final

from salon.app.access import Access, ForbiddenError
from salon.app.api_models import EventIn
from salon.app.idempotency import scoped_key
from salon.app.observer import TEXT_CHANNEL
from salon.app.problems import InvalidError, RefusedError
from salon.base.principal import RoomGrant
from salon.core.errors import EventRefusedError
from salon.core.kit import RoomKit
from salon.core.permissions import check_scope
from salon.models import (
    DeleteContent,
    EditContent,
    EventContent,
    EventStatus,
    EventType,
    InboundMessage,
    Room,
    RoomEvent,
    TextContent,
)

_FROM_PEOPLE: Final = frozenset({"text", "rich", "media", "location", "audio", "video"})
_TYPES: Final = {"edit": EventType.EDIT, "delete": EventType.DELETE}


async def speak(kit: RoomKit, access: Access, room_id: str, asked: EventIn) -> RoomEvent:
    """Commit what is asked; returns the event, which may be BLOCKED. Does not wait for answers.
    Raises what `Access.room` does, `ForbiddenError`, `RoomClosedError`, `ChannelNotFoundError`,
    `InvalidError`, and `RefusedError` if nothing was stored."""
    room = await access.room(room_id, manage=False, write=True)
    content = TextContent(body=asked.content) if isinstance(asked.content, str) else asked.content
    if access.grant is not None:
        return await _as_oneself(kit, access, room, asked, content)
    try:
        for scope in (asked.visibility, asked.response_visibility):
            if scope is not None:
                check_scope(scope)
    except ValueError as error:
        raise InvalidError(str(error)) from None
    try:
        return await kit.send_event(
            room_id,
            asked.channel_id,
            content,
            asked.event_type,
            participant_id=asked.participant_id,
            metadata=asked.metadata,
            visibility=asked.visibility,
            response_visibility=asked.response_visibility,
            parent_event_id=asked.parent_event_id,
            idempotency_key=scoped_key(
                access.principal, asked.participant_id, asked.idempotency_key
            ),
            addressed_to=asked.addressed_to,
            organization_id=access.organization_id,
            detached=True,
        )
    except EventRefusedError as error:
        raise RefusedError(error.reason) from error


async def _as_oneself(
    kit: RoomKit, access: Access, room: Room, asked: EventIn, content: EventContent
) -> RoomEvent:
    """A token's holder writes as they would at a page."""
    grant = access.grant
    assert grant is not None
    wanted = _TYPES.get(content.type, EventType.MESSAGE)
    typed = asked.event_type in (EventType.MESSAGE, wanted)
    if not typed or not _from_people(content) or _claims_more(asked, grant):
        raise ForbiddenError(
            "a room token sends messages, edits and deletes as its own participant, with content, "
            "addressed_to, parent_event_id and idempotency_key only"
        )
    result = await kit.process_inbound(
        InboundMessage(
            channel_id=TEXT_CHANNEL,
            sender_id=grant.participant_id,
            content=content,
            event_type=wanted,
            parent_event_id=asked.parent_event_id,
            addressed_to=asked.addressed_to,
            idempotency_key=scoped_key(
                access.principal, grant.participant_id, asked.idempotency_key
            ),
            metadata={"sender_name": grant.name} if grant.name else {},
        ),
        room_id=grant.room_id,
        detached=True,
    )
    if result.event is None:
        raise RefusedError(result.reason or "refused")
    if result.duplicate and not await _may_see(access, grant, room, result.event):
        raise RefusedError("duplicate")
    return result.event


async def _may_see(access: Access, grant: RoomGrant, room: Room, event: RoomEvent) -> bool:
    """Whether the first event of a repeated key is the caller's and still shown to them."""
    if event.source.participant_id != grant.participant_id:
        return False
    blocked = event.status is EventStatus.BLOCKED
    return blocked or (await access.observer(room)).sees(event)


def _claims_more(asked: EventIn, grant: RoomGrant) -> bool:
    return (
        asked.channel_id != TEXT_CHANNEL
        or asked.participant_id not in (None, grant.participant_id)
        or asked.visibility != "all"
        or asked.response_visibility is not None
        or bool(asked.metadata)
    )


def _from_people(content: EventContent) -> bool:
    """What only the framework or an agent may say does not come from people."""
    if isinstance(content, EditContent):
        return content.edit_source is None and _from_people(content.new_content)
    if isinstance(content, DeleteContent):
        return content.delete_type != "system"
    parts = getattr(content, "parts", None)
    if parts is not None:
        return all(_from_people(part) for part in parts)
    return content.type in _FROM_PEOPLE
