"""Events to another system, and its messages back."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from salon.base import ConfigurationError
from salon.models import ChannelType, EventSource, RoomEvent, TextContent
from salon.providers.webhooks import (
    HTTPProvider,
    HTTPProviderConfig,
    MockHTTPProvider,
    ProviderResult,
    WebhookHTTPProvider,
    WebhookSignatureError,
)

URL = "https://example.org/hook"


def event(body: str = "hello") -> RoomEvent:
    source = EventSource(channel_id="ch1", channel_type=ChannelType.WEBHOOK)
    return RoomEvent(room_id="r1", source=source, content=TextContent(body=body))


def provider(answer: Any, **settings: Any) -> tuple[WebhookHTTPProvider, list[httpx.Request]]:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        stream = httpx.ByteStream(answer.content)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=stream)

    config = HTTPProviderConfig(webhook_url=URL, **settings)
    return WebhookHTTPProvider(config, transport=httpx.MockTransport(handle)), seen


async def test_an_event_is_posted() -> None:
    made, seen = provider(
        httpx.Response(200, json={"success": True, "message_id": "msg-001"}),
        headers={"Authorization": "Bearer tok123"},
    )
    result = await made.send(event(), to="user-123")
    await made.close()
    assert (result.success, result.provider_message_id) == (True, "msg-001")
    body = json.loads(seen[0].content)
    assert (body["recipient_id"], body["channel_id"], body["room_id"]) == ("user-123", "ch1", "r1")
    assert (body["content"]["type"], body["content"]["body"]) == ("text", "hello")
    assert seen[0].headers["Authorization"] == "Bearer tok123"
    assert seen[0].headers["Content-Type"] == "application/json"
    assert "webhook-signature" not in seen[0].headers


async def test_what_one_side_signs_the_other_verifies() -> None:
    made, seen = provider(httpx.Response(204), secret="shared")
    assert (await made.send(event(), "u")).success
    found = made.verify(seen[0].headers, seen[0].content)
    with pytest.raises(WebhookSignatureError, match="replayed"):
        made.verify(seen[0].headers, seen[0].content)
    made.forget(found)
    made.verify(seen[0].headers, seen[0].content)


async def test_a_retry_has_the_same_id_and_another_recipient_another() -> None:
    made, seen = provider(httpx.Response(503), secret="shared")
    one = event()
    for recipient in ("u", "u", "v"):
        await made.send(one, recipient)
    ids = [request.headers["webhook-id"] for request in seen]
    assert ids[0] == ids[1] != ids[2]


async def test_previous_secrets_still_verify() -> None:
    old, seen = provider(httpx.Response(204), secret="old")
    await old.send(event(), "u")
    new, _ = provider(httpx.Response(204), secret="new", previous_secrets=("old",))
    new.verify(seen[0].headers, seen[0].content)


async def test_the_body_alone_may_be_signed_too() -> None:
    made, seen = provider(
        httpx.Response(204), secret="shared", body_signature_header="X-Hub-Signature"
    )
    await made.send(event(), "u")
    expected = hmac.new(b"shared", seen[0].content, hashlib.sha256).hexdigest()
    assert seen[0].headers["X-Hub-Signature"] == expected


@pytest.mark.parametrize(
    ("answer", "error", "retryable", "unknown"),
    [
        (httpx.Response(500), "http_500", True, True),
        (httpx.Response(429, headers={"Retry-After": "3"}), "http_429", True, False),
        (httpx.Response(400, text="no"), "http_400", False, False),
        (httpx.Response(301, headers={"Location": "http://evil"}), "http_301", False, False),
        (httpx.Response(200, json={"success": False, "error": "full"}), "full", False, False),
        (httpx.ReadTimeout("slow"), "timeout", True, True),
        (httpx.ConnectError("refused"), "connection_failed", True, False),
    ],
)
async def test_R56_failures_carry_a_code_and_whether_to_retry(
    answer: Any, error: str, retryable: bool, unknown: bool
) -> None:
    made, seen = provider(answer)
    result = await made.send(event(), "u")
    assert (result.success, result.error) == (False, error)
    assert (result.retryable, result.outcome_unknown) == (retryable, unknown)
    assert result.retry_after == (3.0 if error == "http_429" else None)
    assert len(seen) == 1


async def test_any_other_success_is_one() -> None:
    for answer in (httpx.Response(200, text="ok"), httpx.Response(200, json=[1])):
        made, _ = provider(answer)
        assert (await made.send(event(), "u")).success


async def test_an_empty_message_is_not_sent() -> None:
    made, seen = provider(httpx.Response(204))
    assert (await made.send(event(""), "u")).error == "empty_message"
    assert not seen


def test_no_secret_verifies_nothing() -> None:
    made, _ = provider(None)
    with pytest.raises(ConfigurationError):
        made.verify({}, b"")
    with pytest.raises(ConfigurationError):
        provider(None, body_signature_header="X-Signature")


@pytest.mark.parametrize("url", ["ftp://a", "nowhere", "https://u:p@a/", "https://[", "http://"])
def test_a_useless_url_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        HTTPProviderConfig(webhook_url=url)


def test_the_defaults() -> None:
    config = HTTPProviderConfig(webhook_url=URL)
    assert (config.secret, config.timeout, config.headers) == (None, 30.0, {})


async def test_the_mock_keeps_what_it_should_send() -> None:
    failure = ProviderResult(success=False, error="http_503", retryable=True)
    mock = MockHTTPProvider(failure)
    one = event()
    assert await mock.send(one, "u") == failure
    assert (await mock.send(one, "u")).success
    assert mock.sent == [{"event": one, "to": "u"}] * 2
    assert mock.parse_webhook({"sender_id": "u", "body": "x"}, "h").sender_id == "u"
    with pytest.raises(NotImplementedError):
        mock.verify({}, b"")
    await mock.close()
    assert mock.closed


async def test_a_provider_needs_no_close() -> None:
    class Plain(HTTPProvider):
        async def send(self, event: RoomEvent, to: str) -> ProviderResult:
            return ProviderResult(success=True)

    await Plain().close()
