"""Messages as JSON, for sources without a parser of the host's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from salon.models import TextContent
from salon.sources import message_from_json, sse, websocket


def test_a_whole_message() -> None:
    given = {"sender_id": "ann", "text": "hi", "external_id": 7, "metadata": {"a": 1}}
    message = message_from_json("feed", json.dumps(given))
    assert message is not None
    assert (message.channel_id, message.sender_id, message.content) == (
        "feed",
        "ann",
        TextContent(body="hi"),
    )
    assert (message.external_id, message.idempotency_key) == ("7", "7")
    assert (message.metadata, message.raw_payload) == ({"a": 1}, given)


@pytest.mark.parametrize("extra", [{}, {"metadata": [1]}, {"external_id": {"a": 1}}])
def test_only_sender_and_text_are_needed(extra: dict[str, Any]) -> None:
    message = message_from_json("feed", json.dumps({"sender_id": "a", "text": ""} | extra))
    assert message is not None
    assert (message.external_id, message.idempotency_key, message.metadata) == (None, None, {})


@pytest.mark.parametrize(
    "data",
    [
        "",
        "hello",
        b"\xff\xfe",
        "[]",
        "3",
        "{}",
        '{"sender_id": "a"}',
        '{"text": "a"}',
        '{"sender_id": "", "text": "a"}',
        '{"sender_id": 1, "text": "a"}',
        '{"sender_id": "a", "text": null}',
        '{"sender_id": "a", "text": "a", "metadata": {"x": NaN}}',
        "[" * 200_000,
    ],
    ids=range(13),
)
def test_anything_else_is_no_message(data: str | bytes) -> None:
    assert message_from_json("feed", data) is None


def test_the_parsers_of_both_sources() -> None:
    data = '{"sender_id": "a", "text": "b"}'
    one = websocket.default_json_parser("feed")(data)
    two = sse.default_json_parser("feed")("message", data, "9")
    assert one is not None
    assert one == two
