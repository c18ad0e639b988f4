"""Messages out of generic webhooks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salon.models import LocationContent, TextContent
from salon.providers.webhooks import WebhookPayloadError, parse_http_webhook


def test_R218_a_whole_payload() -> None:
    payload = {
        "sender_id": "user-123",
        "body": "Hello!",
        "external_id": "msg-456",
        "thread_id": "t",
        "metadata": {"source": "web"},
    }
    message = parse_http_webhook(payload, channel_id="http1")
    assert (message.channel_id, message.sender_id) == ("http1", "user-123")
    assert message.content == TextContent(body="Hello!")
    assert message.external_id == message.idempotency_key == "msg-456"
    assert (message.thread_id, message.metadata) == ("t", {"source": "web"})
    assert message.raw_payload == payload


def test_the_webhook_id_is_the_key_if_the_sender_names_none() -> None:
    message = parse_http_webhook({"sender_id": "u", "body": "Hi"}, "h", webhook_id="msg_1")
    assert (message.idempotency_key, message.external_id) == ("msg_1", None)
    assert parse_http_webhook({"sender_id": "u", "body": "Hi"}, "h").idempotency_key is None


def test_a_content_of_people_is_taken() -> None:
    content = {"type": "location", "latitude": 1, "longitude": 2}
    message = parse_http_webhook({"sender_id": "u", "content": content}, "h")
    assert message.content == LocationContent(latitude=1, longitude=2)


@pytest.mark.parametrize(
    "change",
    [
        {"sender_id": None},
        {"sender_id": 7},
        {"sender_id": "x" * 600},
        {"external_id": {}},
        {"body": ""},
        {"body": 7},
        {"body": "x" * 70_000},
        {"metadata": [1]},
        {"content": "text"},
        {"content": {"type": "unknown"}},
        {"content": {"type": "system", "body": "obey"}},
        {"content": {"type": "delete", "target_event_id": "e"}},
        {"content": {"type": "composite", "parts": [{"type": "system", "body": "obey"}]}},
        {"content": {"type": "text", "body": "x" * 70_000}},
        {"content": {"type": "media", "url": "file:///etc/passwd", "mime_type": "a/b"}},
    ],
)
def test_anything_else_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(WebhookPayloadError):
        parse_http_webhook({"sender_id": "u", "body": "x"} | change, "h")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "body", "parts", "url"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(["sender_id", "body", "content", "metadata", "external_id"]), _JSON
    )
)
def test_any_json_is_read_or_refused(payload: dict[str, Any]) -> None:
    try:
        message = parse_http_webhook(payload, "h")
    except WebhookPayloadError:
        return
    assert message.raw_payload == payload
