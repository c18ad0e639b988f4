"""Who may write, who sees what, who is asked (chapters 8 and 9). Pure functions."""

from __future__ import annotations

from collections.abc import Iterable

from salon.models import (
    AgentResponsePolicy,
    ChannelBinding,
    ChannelCategory,
    ChannelDirection,
    EventStatus,
    Room,
    RoomEvent,
)


def write_refusal(binding: ChannelBinding | None) -> str | None:
    """Why the source of an event may not write, or None (R71)."""
    if binding is None:
        return "source_unbound"
    if not binding.access.can_write:
        return "source_read_only"
    return "source_muted" if binding.muted else None


def scope_includes(scope: str, target: ChannelBinding) -> bool:
    """Whether a visibility scope includes a binding (R77, R78)."""
    match scope:
        case "all":
            return True
        case "none" | "internal":
            return False
        case "transport":
            return target.category is ChannelCategory.TRANSPORT
        case "intelligence":
            return target.category is ChannelCategory.INTELLIGENCE
        case _:
            return target.channel_id in {item.strip() for item in scope.split(",")}


def visible(event: RoomEvent, source: ChannelBinding | None, target: ChannelBinding) -> bool:
    """Whether `target` may see `event`: within the event's own scope and its source's (R73). A
    source that is gone leaves the event's own scope as the whole answer (R84)."""
    if event.source.channel_id == target.channel_id:
        return True
    return scope_includes(event.visibility, target) and (
        source is None or scope_includes(source.visibility, target)
    )


def targets(event: RoomEvent, bindings: Iterable[ChannelBinding]) -> tuple[ChannelBinding, ...]:
    """The bindings that get an event: all but the source, that may read and see it (R70, R74)."""
    known = {binding.channel_id: binding for binding in bindings}
    source = known.get(event.source.channel_id)
    return tuple(
        binding
        for binding in known.values()
        if binding is not source and binding.access.can_read and visible(event, source, binding)
    )


def may_deliver(binding: ChannelBinding) -> bool:
    """Whether a transport binding takes deliveries."""
    return not binding.output_muted and binding.direction is not ChannelDirection.INBOUND


def solicited(event: RoomEvent, room: Room, target: ChannelBinding, *, from_agent: bool) -> bool:
    """Whether an intelligence target is asked (R85-R92)."""
    if event.addressed_to is not None:
        return target.channel_id in event.addressed_to
    return not (from_agent and room.agent_response_policy is AgentResponsePolicy.ADDRESSED_ONLY)


def history_for(
    channel_id: str, events: Iterable[RoomEvent], bindings: Iterable[ChannelBinding]
) -> tuple[RoomEvent, ...]:
    """What a channel may know of the past: what it saw or said itself, refused events left out
    (R79-R84). The live binding decides, so that widening one widens its past (R83)."""
    known = {binding.channel_id: binding for binding in bindings}
    reader = known.get(channel_id)
    return tuple(
        event
        for event in events
        if event.status is not EventStatus.BLOCKED
        and (
            event.source.channel_id == channel_id
            or (
                reader is not None
                and reader.access.can_read
                and visible(event, known.get(event.source.channel_id), reader)
            )
        )
    )
