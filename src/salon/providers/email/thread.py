"""How messages of a thread name each other (RFC 5322, 3.6.4)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from salon.models import RoomEvent

MAX_REFERENCES = 20
"""Ids in a References header: the root and the newest ones."""

_ID = re.compile(r"<[^\s<>\x00-\x20\x7f-\uffff]{1,250}@[^\s<>\x00-\x20\x7f-\uffff]{1,250}>")


def message_id_for(event_id: str, to: str, domain: str) -> str:
    """The Message-ID of an event for one recipient: the same for every attempt, so that
    duplicates can be recognised. `to` counts without its case."""
    event = hashlib.sha256(event_id.encode("utf-8", "replace")).hexdigest()[:32]
    recipient = hashlib.sha256(to.lower().encode("utf-8", "replace")).hexdigest()[:16]
    return f"<{event}.{recipient}@{domain}>"


def message_ids(text: Any) -> list[str]:
    """The well-formed message ids in a header or in a list of them, in order, each once."""
    if isinstance(text, str):
        return list(dict.fromkeys(_ID.findall(text)))
    if isinstance(text, list | tuple):
        found = (one for item in text for one in _ID.findall(item if isinstance(item, str) else ""))
        return list(dict.fromkeys(found))
    return []


def bounded(ids: Iterable[str]) -> list[str]:
    """At most `MAX_REFERENCES` ids: the first is the root and stays."""
    known = list(dict.fromkeys(ids))
    return known if len(known) <= MAX_REFERENCES else [known[0], *known[1 - MAX_REFERENCES :]]


def thread_of(references: list[str], in_reply_to: list[str], own: str | None) -> str | None:
    """The root of the thread of a message that came in; its own id if it begins one."""
    return next(iter([*references, *in_reply_to]), own)


def references_for(event: RoomEvent, to: str, domain: str) -> list[str]:
    """The ids that an outgoing event follows, root first, newest last.

    From `channel_data`: `thread_id`, then `references` and `in_reply_to` (or `message_id`, of the
    message that is answered) of `extra`. Without any, the events that it belongs to or answers,
    under the ids they have if they went to the same recipient.
    """
    data = event.channel_data
    ids = message_ids(data.thread_id)
    for name in ("references", "message_id", "in_reply_to"):
        ids += message_ids(data.extra.get(name))
    if not ids:
        known = (event.parent_event_id, event.responds_to)
        ids = [message_id_for(one, to, domain) for one in known if one]
    return bounded(ids)
