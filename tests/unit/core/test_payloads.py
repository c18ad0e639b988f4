"""What is kept of raw payloads (R268)."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from salon.core.kit import RoomKit
from salon.core.payloads import payload_filter
from salon.models import ChannelType, EventSource, RoomEvent, TextContent

from .helpers import ROOM, room_with, timeline


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


def deep(levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(levels):
        made = {"in": made}
    return made


def endless() -> dict[str, Any]:
    made: dict[str, Any] = {}
    made["me"] = made
    made["again"] = made
    return made


@pytest.mark.parametrize(
    "result",
    [
        {"x": object()},
        {"x": b"\xff\xfe"},
        {"x": ["\ud800"]},
        {"\ud800": 1},
        {1: "one"},
        deep(100),
        deep(1000),
        endless(),
        None,
        ["x"],
    ],
)
def test_R268_what_cannot_be_stored_is_dropped_and_logged(
    result: Any, caplog: pytest.LogCaptureFixture
) -> None:
    trim = payload_filter(lambda payload: result)
    assert trim is not None
    assert trim(event({"a": 1})).source.raw_payload == {}
    assert "could not be redacted: dropped" in caplog.text


def test_R268_a_function_may_return_what_json_has_words_for() -> None:
    kept = {"at": datetime(2026, 1, 1, tzinfo=UTC), "list": [1, None, ("x",)], "utf": b"ok"}
    trim = payload_filter(lambda payload: kept)
    assert trim is not None
    assert trim(event({"a": 1})).source.raw_payload == kept


async def slowly(payload: dict[str, Any]) -> dict[str, Any]:
    return payload


class Slowly:
    async def __call__(self, payload: dict[str, Any]) -> dict[str, Any]:
        return payload


@pytest.mark.parametrize("function", [slowly, partial(slowly), Slowly()])
def test_R268_an_async_function_is_refused_when_roomkit_is_made(function: Any) -> None:
    with pytest.raises(ValueError, match="async"):
        RoomKit(raw_payload=function)


async def test_R268_a_record_of_the_host_is_trimmed() -> None:
    async with RoomKit(raw_payload="drop", shutdown_timeout=0) as kit:
        await room_with(kit)
        own = event({"token": "abc"}).model_copy(update={"room_id": ROOM})
        made = await kit.record(own)
        assert made is not None
        assert made.source.raw_payload == {}
        assert [item.source.raw_payload for item in await timeline(kit)] == [{}]


async def test_R268_a_source_that_the_host_writes_is_trimmed_once() -> None:
    calls = []

    def count(payload: dict[str, Any]) -> dict[str, Any]:
        calls.append(payload)
        return {"calls": len(calls)}

    async with RoomKit(raw_payload=count, shutdown_timeout=0) as kit:
        await room_with(kit)
        own = event({"token": "abc"}).model_copy(update={"room_id": ROOM})
        first = await kit.record(own)
        assert first is not None
        again = await kit.update_event(
            ROOM, first.id, source=first.source.model_copy(update={"provider": "p"})
        )
        assert again is not None
        assert (again.source.provider, again.source.raw_payload) == ("p", {"calls": 1})
        changed = await kit.update_event(ROOM, first.id, source=own.source)
        assert changed is not None
        assert changed.source.raw_payload == {"calls": 2}
