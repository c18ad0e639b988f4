"""What an agent is told: the timeline as a conversation, and what it should know of it. Pure
functions (R57, R59, R80, R93)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from salon.core.copying import altered
from salon.core.permissions import history_for, may_deliver, targets
from salon.core.ports.ai import AIMessage, AIThinkingPart
from salon.core.transcoding import transcode
from salon.models import (
    AudioContent,
    ChannelBinding,
    ChannelCapabilities,
    ChannelCategory,
    ChannelMediaType,
    EventContent,
    RoomContext,
    RoomEvent,
    TextContent,
)

MAX_THINKING = 20_000
"""Characters of thoughts kept with one answer; what is beyond is not kept."""

_PLAIN = ChannelCapabilities()


def words_of(content: EventContent) -> str:
    """A content in words: what is no text becomes its fallback (R183)."""
    if isinstance(content, TextContent):
        return content.body
    if isinstance(content, AudioContent):
        return content.transcript or "[Voice message]"
    fitting = transcode(content, _PLAIN)
    return fitting.body if isinstance(fitting, TextContent) else ""


def view_of(reader: str, event: RoomEvent, context: RoomContext) -> RoomContext:
    """The room as `reader` may know it when it answers `event`: what was said before it, and its
    own answers since (R80, R236), but not to this: when it answers anew, the question is the last
    word."""
    seen = history_for(reader, context.recent_events, context.bindings)
    index = event.index
    if any(past.index >= index and past.id != event.id for past in seen):
        answers = _followed(event, context.recent_events)
        seen = tuple(
            past
            for past in seen
            if past.id == event.id
            or past.index < index
            or (past.source.channel_id == reader and past.id not in answers)
        )
    return RoomContext(context.room, context.bindings, context.participants, seen)


def _followed(event: RoomEvent, later: Iterable[RoomEvent]) -> set[str]:
    """The ids of what was said in answer to an event, and to these answers; its own as well."""
    found = {event.id}
    for answer in later:
        if answer.responds_to in found:
            found.add(answer.id)
    return found


def name_of(event: RoomEvent, context: RoomContext) -> str | None:
    """How the speaker is called: as the room knows them now, else as the event says; an agent
    without a name by its channel."""
    person = context.participant(event.source.participant_id)
    known = person.display_name if person is not None else None
    name = known or event.metadata.get("sender_name")
    if name:
        return str(name)
    binding = context.binding(event.source.channel_id)
    agent = binding is not None and binding.category is ChannelCategory.INTELLIGENCE
    return event.source.channel_id if agent else None


def message_of(event: RoomEvent, reader: str, context: RoomContext) -> AIMessage | None:
    """An event as a message: `reader`'s own words are the assistant's, anybody else's, another
    agent's too, are a user's with a name. None if it holds no words."""
    text = words_of(event.content)
    if not text:
        return None
    if event.source.channel_id == reader:
        thinking = thoughts_in(event.metadata)
        return AIMessage("assistant", text, metadata=event.metadata, thinking=thinking)
    return AIMessage("user", text, name_of(event, context), metadata=event.metadata)


# -- thoughts --------------------------------------------------------------------------------------


def thoughts_kept(thinking: Iterable[AIThinkingPart]) -> list[dict[str, str]]:
    """Thoughts as metadata of the answer (R62); a signed thought is kept whole or not at all."""
    kept: list[dict[str, str]] = []
    left = MAX_THINKING
    for part in thinking:
        values = {
            "thinking": part.thinking,
            "signature": part.signature,
            "redacted": part.redacted,
        }
        facts = {name: value for name, value in values.items() if value}
        left -= sum(map(len, facts.values()))
        if left < 0:
            break
        if facts:
            kept.append(facts)
    return kept


def thoughts_in(metadata: Mapping[str, Any]) -> list[AIThinkingPart]:
    """The thoughts kept with an answer."""
    kept = metadata.get("thinking")
    if not isinstance(kept, list):
        return []
    return [
        AIThinkingPart(str(item.get("thinking", "")), item.get("signature"), item.get("redacted"))
        for item in kept
        if isinstance(item, Mapping)
    ]


# -- whom the answer reaches -----------------------------------------------------------------------


def reach_of(event: RoomEvent, own: ChannelBinding, context: RoomContext) -> ChannelCapabilities:
    """What those can take who will get the answer to `event` (R57, R59).

    Of several transports every media type counts that one of them has, since each gets its own
    fallback, and the smallest length, since nobody should get half an answer. The rest is what the
    channel of whoever asked can do, or else the first.
    """
    answer = altered(
        event,
        {
            "source": altered(event.source, {"channel_id": own.channel_id}),
            "visibility": event.response_visibility or "all",
        },
    )
    reached = [
        binding
        for binding in targets(answer, context.bindings)
        if binding.category is ChannelCategory.TRANSPORT and may_deliver(binding)
    ]
    if not reached:
        return _PLAIN
    asker = next((b for b in reached if b.channel_id == event.source.channel_id), reached[0])
    lengths = [b.capabilities.max_length for b in reached if b.capabilities.max_length]
    media = [ChannelMediaType(kind) for b in reached for kind in b.capabilities.media_types]
    return altered(
        asker.capabilities,
        {
            "max_length": min(lengths, default=None),
            "media_types": list(dict.fromkeys(media)),
        },
    )


def reach_notes(reach: ChannelCapabilities, *, spoken: bool) -> list[str]:
    """The same in words for the system prompt; nothing where there is nothing to heed."""
    notes: list[str] = []
    if not spoken and reach.media_types != [ChannelMediaType.TEXT]:
        notes.append(f"The recipient can take: {', '.join(reach.media_types)}.")
    if reach.max_length is not None:
        notes.append(f"Your answer must not be longer than {reach.max_length} characters.")
    return notes


# -- being spoken to -------------------------------------------------------------------------------


def is_called(text: str, names: Collection[str]) -> bool:
    """Whether a text speaks to one of these names: it begins with the name, or holds ``@name``."""
    for name in filter(None, names):
        escaped = re.escape(name)
        if re.match(rf"\W*{escaped}(?!\w)", text, re.IGNORECASE):
            return True
        if re.search(rf"(?<!\w)@{escaped}(?!\w)", text, re.IGNORECASE):
            return True
    return False


def catch_up(unasked: Sequence[RoomEvent], told: Collection[str], *, more: bool) -> str | None:
    """How much an agent missed since it last spoke (R93). `unasked` were said without asking it,
    of which it is `told` those with these ids; `more` says that there may be earlier ones."""
    if not unasked:
        return None
    count = len(unasked)
    least = "at least " if more else ""
    said = "message was" if count == 1 and not more else "messages were"
    note = f"Since you last spoke, {least}{count} {said} not meant for you to answer"
    shown = sum(event.id in told for event in unasked)
    if shown == count and not more:
        return f"{note}; they are part of this conversation."
    return f"{note}; you see the latest {shown} of them."
