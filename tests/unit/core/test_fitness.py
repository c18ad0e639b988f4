"""Events that some store or client could not read back are refused (R266)."""

from __future__ import annotations

from typing import Any

import pytest

from salon.core.errors import InvalidEventError
from salon.core.kit import RoomKit
from salon.models import RichContent

from .helpers import ROOM, Transport, message, messages, room_with, text


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "more",
    [
        {"metadata": {"a": "\ud800"}},
        {"metadata": {"\udfff": 1}},
        {"metadata": {"deep": nested(70)}},
        {"raw_payload": {"deep": nested(70)}},
        {"raw_payload": {"a": "\ud83d"}},
        {"idempotency_key": "\ud800"},
    ],
)
async def test_R266_what_cannot_be_read_back_is_refused(kit: RoomKit, more: dict[str, Any]) -> None:
    await room_with(kit, Transport("sms"))
    with pytest.raises(InvalidEventError):
        await kit.process_inbound(message("sms", **more), room_id=ROOM)
    assert await messages(kit) == []
    assert not (await kit.process_inbound(message("sms", "fine"), room_id=ROOM)).blocked


async def test_R266_so_is_content(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    for content in (text("\ud800"), RichContent(body="b", buttons=[{"a": nested(70)}])):
        with pytest.raises(InvalidEventError):
            await kit.send_event(ROOM, "sms", content)
    assert await messages(kit) == []


async def test_everything_else_passes(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    metadata = {"emoji": "🦉", "deep": nested(50), "n": 1.5, "none": None, "map": {"a": [{}]}}
    result = await kit.process_inbound(message("sms", "grüß 🦉", metadata=metadata), room_id=ROOM)
    assert result.event is not None
    assert result.event.metadata["emoji"] == "🦉"
