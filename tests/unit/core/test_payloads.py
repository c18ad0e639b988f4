"""What is kept of raw payloads (R268)."""

from __future__ import annotations

from typing import Any

import pytest

from salon.core.payloads import payload_filter
from salon.models import ChannelType, EventSource, RoomEvent, TextContent


def event(payload: dict[str, Any]) -> RoomEvent:
    source = EventSource(channel_id="sms", channel_type=ChannelType.SMS, raw_payload=payload)
    return RoomEvent(room_id="r", source=source, content=TextContent(body="hi"))


def test_R268_keeping_all_costs_nothing() -> None:
    assert payload_filter("keep") is None


def test_R268_an_event_without_a_payload_stays_the_same_object() -> None:
    trim = payload_filter("redact")
    assert trim is not None
    plain = event({})
    assert trim(plain) is plain


def test_R268_credentials_in_texts_are_masked_and_nothing_else_changes() -> None:
    trim = payload_filter("redact")
    assert trim is not None
    given = event({"url": "https://x.example/m?token=abc&n=1", "n": 1, "to": ["+1"]})
    made = trim(given)
    url = "https://x.example/m?token=***&n=1"
    assert made.source.raw_payload == {"url": url, "n": 1, "to": ["+1"]}
    assert made.id == given.id
    assert given.source.raw_payload["url"].endswith("abc&n=1")


def test_R268_a_function_works_on_a_copy() -> None:
    def without_card(payload: dict[str, Any]) -> dict[str, Any]:
        del payload["who"]["card"]
        return payload

    trim = payload_filter(without_card)
    assert trim is not None
    given = event({"who": {"card": "4111", "name": "ann"}})
    assert trim(given).source.raw_payload == {"who": {"name": "ann"}}
    assert given.source.raw_payload == {"who": {"card": "4111", "name": "ann"}}


@pytest.mark.parametrize("setting", ["", "KEEP", None, {}])
def test_R268_a_setting_that_is_none_is_named(setting: Any) -> None:
    with pytest.raises(ValueError, match=f"not {setting!r}"):
        payload_filter(setting)
