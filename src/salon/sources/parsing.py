"""The JSON form of a message that sources understand without a parser of the host's."""

from __future__ import annotations

import json
from typing import Any

from salon.models import InboundMessage, TextContent


def message_from_json(channel_id: str, data: str | bytes) -> InboundMessage | None:
    """``{"sender_id", "text", "external_id"?, "metadata"?}``; None for anything else.

    A message with an `external_id` is taken once, however often it comes: it is its idempotency
    key.
    """
    try:
        value: Any = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    sender, text = value.get("sender_id"), value.get("text")
    external, metadata = value.get("external_id"), value.get("metadata")
    if not isinstance(sender, str) or not sender or not isinstance(text, str):
        return None
    external = str(external) if isinstance(external, str | int) else None
    return InboundMessage(
        channel_id=channel_id,
        sender_id=sender,
        content=TextContent(body=text),
        external_id=external,
        idempotency_key=external,
        raw_payload=value,
        metadata=metadata if isinstance(metadata, dict) else {},
    )


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
