"""Odd values in fields, parseable as JSON: refused in words, the same over every store."""

from __future__ import annotations

from typing import Any

import pytest

from salon.app.fit import MAX_DEPTH, UnfitError, json_value, one_line

from .rest import Api


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


JSON = {"Content-Type": "application/json"}
ODD_METADATA = [
    '{"a\\ud800": 1}',
    '{"a": "\\udfff"}',
    '{"a": [{"b": "\\ud800"}]}',
    nested(MAX_DEPTH + 1),
    nested(300),
    '{"a": ' + "[" * 300 + "]" * 300 + "}",
]
ODD_LINES = ["\\u0000", "a\\u0000b", "a\\nb", "\\u009f", "\\u2028", "\\ud800"]


async def refused(api: Api, method: str, path: str, content: str) -> None:
    detail = await api.fails(method, path, 422, "invalid", content=content, headers=JSON)
    assert "Unicode" in detail or "unicode" in detail or "nested deeper" in detail


@pytest.mark.parametrize("metadata", ODD_METADATA)
async def test_R266_odd_metadata_is_refused(api: Api, metadata: str) -> None:
    await api.ask("POST", "/rooms", status=201, json={"id": "r"})
    await api.ask("POST", "/identities", status=201, json={"id": "i"})
    content = f'{{"metadata": {metadata}}}'
    for method, path in (
        ("POST", "/rooms"),
        ("PATCH", "/rooms/r"),
        ("POST", "/identities"),
        ("PATCH", "/identities/i"),
        ("PATCH", "/rooms/r/channels/websocket"),
        ("PATCH", "/rooms/r/events/e"),
    ):
        await refused(api, method, path, content)
    event = f'{{"content": "hello", "metadata": {metadata}}}'
    await refused(api, "POST", "/rooms/r/events", event)
    assert (await api.ask("GET", "/rooms/r"))["metadata"] == {}


@pytest.mark.parametrize("line", ODD_LINES)
async def test_R266_odd_ids_and_keys_are_refused(api: Api, line: str) -> None:
    await api.ask("POST", "/rooms", status=201, json={"id": "r"})
    for field in (
        "idempotency_key",
        "participant_id",
        "visibility",
        "response_visibility",
        "parent_event_id",
        "channel_id",
    ):
        event = f'{{"content": "hello", "{field}": "{line}"}}'
        await refused(api, "POST", "/rooms/r/events", event)
    event = f'{{"content": "hello", "addressed_to": ["{line}"]}}'
    await refused(api, "POST", "/rooms/r/events", event)
    await refused(api, "POST", "/rooms", f'{{"organization_id": "{line}"}}')
    for value in (
        f'{{"organization_id": "{line}"}}',
        f'{{"external_id": "{line}"}}',
        f'{{"external_ids": {{"{line}": "x"}}}}',
        f'{{"channel_addresses": {{"{line}": ["x"]}}}}',
        f'{{"channel_addresses": {{"sms": ["{line}"]}}}}',
    ):
        await refused(api, "POST", "/identities", value)


async def test_R266_odd_ids_of_events_in_paths_are_refused(api: Api) -> None:
    await api.ask("POST", "/rooms", status=201, json={"id": "r"})
    await api.fails("DELETE", "/rooms/r/events/a%00b", 422, "invalid")
    await api.fails("PATCH", "/rooms/r/events/a%00b", 422, "invalid", json={"metadata": {}})
    await api.fails("DELETE", "/rooms/r/events/nothing", 404, "event_not_found")


async def test_what_is_sound_stays_as_it_came(api: Api) -> None:
    metadata = {"ä\n": ["\t", "\u0000", {"b": [1, 1.5, None, True]}], "😀": "😀"}
    made = await api.ask("POST", "/rooms", status=201, json={"metadata": metadata})
    assert made["metadata"] == metadata
    deep = nested(MAX_DEPTH)
    await api.ask("POST", "/rooms", status=201, content=f'{{"metadata": {deep}}}', headers=JSON)


def test_the_words_say_what_is_wrong_and_not_what_came() -> None:
    value: Any = "secret"
    for _ in range(MAX_DEPTH + 1):
        value = [value]
    for check, given in ((one_line, "secret\0"), (json_value, ["secret\ud800"])):
        with pytest.raises(UnfitError, match=r"^(?!.*secret).*no Unicode"):
            check(given)  # type: ignore[arg-type]
    with pytest.raises(UnfitError, match="nested deeper than 64 levels"):
        json_value(value)
    assert one_line("Zoë 😀 1") == "Zoë 😀 1"
