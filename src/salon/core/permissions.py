"""Who may write and who sees what (chapter 8). Pure functions.

An event is seen within two scopes: its own, and that of its source's binding (AMB-14). At its
commit the timeline writes the `effective_scope` of both into the event, so that a binding that is
widened or detached later shows no more of its past than was shown then; one that is narrowed does
narrow its past, because the live binding is still asked (R83, R84).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from salon.core.addressing import RouterStamp, solicited
from salon.models import (
    Access,
    ChannelBinding,
    ChannelCategory,
    ChannelDirection,
    EventStatus,
    RoomContext,
    RoomEvent,
    Visibility,
)

__all__ = [
    "INJECTED_FOR",
    "Grants",
    "RouterStamp",
    "check_scope",
    "effective_scope",
    "history_for",
    "may_deliver",
    "may_read",
    "no_wider",
    "scope_includes",
    "solicited",
    "targets",
    "visible",
    "visible_events",
    "write_refusal",
]

_KEYWORDS: Final = frozenset(word.value for word in Visibility)
_NOBODY: Final = (Visibility.NONE.value, Visibility.INTERNAL.value)
_CATEGORIES: Final = {category.value: category for category in ChannelCategory}
_READ: Final = (Access.READ_WRITE, Access.READ_ONLY)


INJECTED_FOR: Final = "salon:injected_for"
"""Event metadata: the channels that a hook's event goes to. Nobody else learns of it, not even the
channel whose event it was made of."""


# -- access ---------------------------------------------------------------------------------------


def write_refusal(binding: ChannelBinding | None) -> str | None:
    """Why the source of an event may not write, or None (R71). Of two reasons the lasting one
    (AMB-28)."""
    if binding is None:
        return "source_unbound"
    if not binding.access.can_write:
        return "source_read_only"
    return "source_muted" if binding.muted else None


def may_read(binding: ChannelBinding) -> bool:
    """Whether a binding is told of events, whatever its direction (R70, AMB-7)."""
    return binding.access in _READ


def may_deliver(binding: ChannelBinding) -> bool:
    """Whether a transport binding takes deliveries (R76, AMB-7)."""
    return not binding.output_muted and binding.direction is not ChannelDirection.INBOUND


# -- scopes ---------------------------------------------------------------------------------------


def check_scope(scope: str) -> str:
    """The normal form of a scope that somebody sets: one keyword, or channel ids joined by commas.

    `ValueError` for an empty item and for a keyword in a list: both have a meaning that is hard to
    guess, and what is stored is read leniently (R78).
    """
    items = [item.strip() for item in scope.split(",")]
    if len(items) == 1 and items[0] in _KEYWORDS:
        return items[0]
    for item in items:
        if not item:
            raise ValueError(f"visibility {scope!r} has an empty item; use 'none' for nobody")
        if item in _KEYWORDS:
            raise ValueError(f"visibility {scope!r} has the keyword {item!r} in a list of channels")
    return ",".join(dict.fromkeys(items))


@lru_cache(maxsize=1024)
def _listed(scope: str) -> frozenset[str]:
    """The channel ids of a list, leniently (R78)."""
    return frozenset(item for part in scope.split(",") if (item := part.strip()))


def scope_includes(scope: str, target: ChannelBinding) -> bool:
    """Whether a visibility scope includes a binding (R77, R78)."""
    if scope == "all":
        return True
    if scope in _NOBODY:
        return False
    if (category := _CATEGORIES.get(scope)) is not None:
        return target.category is category
    return target.channel_id in _listed(scope)


def effective_scope(
    event_visibility: str, binding_visibility: str, bindings: Iterable[ChannelBinding] = ()
) -> str:
    """One scope for what both include (AMB-14), in normal form; "none" if that is nobody.

    A category and a list have in common what of the list is of that category among `bindings`, the
    bindings of the room: whoever is not among them is left out.
    """
    first, second = _normal(event_visibility), _normal(binding_visibility)
    if first == second or second == "all":
        return first
    if first == "all":
        return second
    for nobody in _NOBODY:
        if nobody in (first, second):
            return nobody
    if first in _CATEGORIES and second in _CATEGORIES:
        return "none"
    if first in _CATEGORIES:
        first, second = second, first
    if second in _CATEGORIES:
        category = _CATEGORIES[second]
        within = {item.channel_id for item in bindings if item.category is category}
    else:
        within = set(_listed(second))
    return ",".join(sorted(_listed(first) & within)) or "none"


def _normal(scope: str) -> str:
    scope = scope.strip()
    return scope if scope in _KEYWORDS else ",".join(sorted(_listed(scope))) or "none"


# -- events ---------------------------------------------------------------------------------------


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
    own = event.source.channel_id
    scope = "all"
    readers: list[ChannelBinding] = []
    for binding in bindings:
        if binding.channel_id == own:
            scope = binding.visibility
        elif binding.access in _READ:
            readers.append(binding)
    for limit in (event.visibility, scope):
        if limit != "all":
            readers = [binding for binding in readers if scope_includes(limit, binding)]
    return tuple(readers)


def history_for(
    channel_id: str, events: Iterable[RoomEvent], bindings: Iterable[ChannelBinding]
) -> tuple[RoomEvent, ...]:
    """What a channel may know of the past: what it saw or said itself (R79-R84), refused events
    and withdrawn events left out, its own included (AMB-26). A reader without a binding knows only
    its own."""
    known = {binding.channel_id: binding for binding in bindings}
    reader = known.get(channel_id)
    if reader is not None and not may_read(reader):
        reader = None

    def knows(event: RoomEvent) -> bool:
        if event.status is EventStatus.BLOCKED or event.metadata.get("deleted") is True:
            return False
        named = event.metadata.get(INJECTED_FOR)
        if named is not None:
            return channel_id in named
        return event.source.channel_id == channel_id or (
            reader is not None and visible(event, known.get(event.source.channel_id), reader)
        )

    return tuple(event for event in events if knows(event))


def visible_events(context: RoomContext, channel_id: str) -> list[RoomEvent]:
    """The recent events of a context as one channel may know them (R80)."""
    return list(history_for(channel_id, context.recent_events, context.bindings))


# -- derived bindings -----------------------------------------------------------------------------


class Grants(NamedTuple):
    """What a binding may do and who sees it; fits `ChannelBinding.model_copy(update=...)` with
    `_asdict()`."""

    access: Access
    visibility: str
    muted: bool


def no_wider(
    origin: ChannelBinding,
    access: Access | None = None,
    visibility: str | None = None,
    muted: bool | None = None,
    *,
    bindings: Iterable[ChannelBinding] = (),
) -> Grants:
    """What a binding derived from `origin` may be given: what is asked for, cut down to what the
    origin has; None carries the origin's value over (R49). `bindings` as in `effective_scope`."""
    wanted = origin.access if access is None else access
    return Grants(
        _access(
            read=wanted.can_read and origin.access.can_read,
            write=wanted.can_write and origin.access.can_write,
        ),
        origin.visibility
        if visibility is None
        else effective_scope(visibility, origin.visibility, bindings),
        origin.muted or bool(muted),
    )


def _access(*, read: bool, write: bool) -> Access:
    if read:
        return Access.READ_WRITE if write else Access.READ_ONLY
    return Access.WRITE_ONLY if write else Access.NONE
