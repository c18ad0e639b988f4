"""What the provider asks for and what it makes of the answers. The wire itself is tested against
a service."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from pydantic import ValidationError

from salon.base import Clock
from salon.models import (
    AudioContent,
    ChannelType,
    CompositeContent,
    EventContent,
    EventSource,
    LocationContent,
    MediaContent,
    RichContent,
    RoomEvent,
    SystemContent,
    TemplateContent,
    TextContent,
)
from salon.providers.sms import MockSMSProvider, SMSProvider, TwilioConfig, TwilioSMSProvider
from salon.providers.webhooks import ProviderDeliveryError, ProviderResult

TO = "+15558675310"
SETTINGS: dict[str, Any] = {
    "account_sid": "AC1",
    "auth_token": "very-secret",
    "from_number": "+15017122661",
}


class StandingClock(Clock):
    def time(self) -> float:
        return 1_700_000_000.0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("retries are the caller's")


def event(content: EventContent) -> RoomEvent:
    source = EventSource(channel_id="ai", channel_type=ChannelType.AI)
    return RoomEvent(room_id="r", source=source, content=content)


TEXT = event(TextContent(body="Hello"))


def provider(answer: Any) -> tuple[TwilioSMSProvider, list[httpx.Request]]:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        stream = httpx.ByteStream(answer.content)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=stream)

    transport = httpx.MockTransport(handle)
    made = TwilioSMSProvider(TwilioConfig(**SETTINGS), transport=transport, clock=StandingClock())
    return made, seen


async def result_of(answer: Any, message: RoomEvent = TEXT, to: str = TO) -> ProviderResult:
    made, _ = provider(answer)
    result = await made.send(message, to)
    await made.close()
    return result


@pytest.mark.parametrize(
    ("content", "body", "media"),
    [
        (RichContent(body="**a**", plain_text="a"), ["a"], []),
        (RichContent(body="**a**"), ["**a**"], []),
        (SystemContent(body="note"), ["note"], []),
        (TemplateContent(template_id="t", body="filled"), ["filled"], []),
        (
            MediaContent(url="https://a/b", mime_type="image/png", caption="c"),
            ["c"],
            ["https://a/b"],
        ),
        (AudioContent(url="https://a/b.ogg"), [], ["https://a/b.ogg"]),
        (
            CompositeContent(parts=[TextContent(body="a"), TextContent(body="b")]),
            ["a\nb"],
            [],
        ),
    ],
)
async def test_each_content_becomes_words_and_media(
    content: EventContent, body: list[str], media: list[str]
) -> None:
    made, seen = provider(httpx.Response(201, json={"sid": "SM1"}))
    assert (await made.send(event(content), "(555) 867-5310")).success
    form = parse_qs(seen[0].content.decode())
    assert form.get("Body", []) == body
    assert form.get("MediaUrl", []) == media
    assert form["To"] == [TO]
    assert seen[0].url == "https://api.twilio.com/2010-04-01/Accounts/AC1/Messages.json"


def _media(url: str, count: int) -> EventContent:
    return CompositeContent(parts=[MediaContent(url=url, mime_type="image/png")] * count)


@pytest.mark.parametrize(
    ("content", "to", "error"),
    [
        (TextContent(body=""), TO, "empty_message"),
        (LocationContent(latitude=1, longitude=2), TO, "empty_message"),
        (TextContent(body="x"), "nobody", "invalid_recipient"),
        (_media("https://a/b", 11), TO, "too_many_media"),
        (_media("data:image/png;base64,AA==", 1), TO, "media_not_public"),
    ],
)
async def test_what_cannot_be_sent_makes_no_request(
    content: EventContent, to: str, error: str
) -> None:
    made, seen = provider(httpx.Response(201, json={"sid": "SM1"}))
    result = await made.send(event(content), to)
    assert (result.success, result.error, result.retryable) == (False, error, False)
    assert not seen


@pytest.mark.parametrize(
    ("answer", "error", "retryable"),
    [
        (httpx.Response(400, json={"code": 21211}), "twilio_21211", False),
        (httpx.Response(400, json={"code": 21611}), "twilio_21611", True),
        (httpx.Response(400, json={"code": True}), "http_400", False),
        (httpx.Response(302, headers={"location": "https://evil"}), "http_302", False),
        (httpx.Response(403), "forbidden", False),
        (httpx.Response(404), "not_found", False),
        (httpx.Response(201, headers={"content-encoding": "x"}), "malformed_response", False),
        (httpx.ReadTimeout("slow"), "timeout", True),
        (httpx.ConnectTimeout("slow"), "timeout", True),
        (httpx.ReadError("cut"), "connection_lost", True),
    ],
)
async def test_R56_failures_carry_a_code_and_whether_to_retry(
    answer: Any, error: str, retryable: bool
) -> None:
    result = await result_of(answer)
    assert (result.success, result.error, result.retryable) == (False, error, retryable)
    with pytest.raises(ProviderDeliveryError) as caught:
        result.raise_for_error()
    assert (caught.value.code, caught.value.retryable) == (error, retryable)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("2", 2.0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2023 22:14:20 -0000", 60.0),
        ("Tue, 14 Nov 2023 22:10:00 GMT", 0.0),
        ("-5", 0.0),
        ("9e9", 86_400.0),
        ("nan", None),
        ("soon", None),
        ("1" * 99, None),
        (None, None),
    ],
)
async def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    headers = {"Retry-After": header} if header is not None else {}
    result = await result_of(httpx.Response(429, headers=headers))
    assert result.retry_after == seconds


@pytest.mark.parametrize("body", [b"{half", b"[1]", b'{"sid": 7}', b"", b"x" * 70_000])
async def test_an_unreadable_success_is_not_repeated(body: bytes) -> None:
    result = await result_of(httpx.Response(201, content=body))
    assert (result.error, result.retryable) == ("malformed_response", False)
    assert result.outcome_unknown


async def test_a_messaging_service_chooses_the_number() -> None:
    seen: list[dict[str, list[str]]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(parse_qs(request.content.decode()))
        return httpx.Response(201, stream=httpx.ByteStream(b'{"sid": "SM1"}'))

    settings = SETTINGS | {"messaging_service_sid": "MG1", "status_callback": "https://a/b"}
    made = TwilioSMSProvider(TwilioConfig(**settings), transport=httpx.MockTransport(handle))
    await made.send(TEXT, TO)
    await made.send(TEXT, TO, from_="12345")
    assert ["From" in form for form in seen] == [False, True]
    assert seen[0]["StatusCallback"] == ["https://a/b"]
    assert repr(made) == "<TwilioSMSProvider AC1>"


async def test_the_token_is_in_no_message() -> None:
    result = await result_of(httpx.Response(400, json={"message": "bad token very-secret"}))
    assert "very-secret" not in repr(result)
    assert "very-secret" not in repr(TwilioConfig(**SETTINGS))


async def test_cancellation_breaks_off_the_request() -> None:
    started = asyncio.Event()

    async def hang(request: httpx.Request) -> httpx.Response:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    made = TwilioSMSProvider(TwilioConfig(**SETTINGS), transport=httpx.MockTransport(hang))
    sending = asyncio.create_task(made.send(TEXT, TO))
    await started.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await made.close()
    await made.close()


@pytest.mark.parametrize(
    "change",
    [
        {"account_sid": "AC1/../x"},
        {"auth_token": " "},
        {"from_number": None},
        {"messaging_service_sid": "M G"},
        {"api_base_url": "http://twilio.example.com"},
        {"api_base_url": "https://user:pw@twilio.example.com"},
        {"api_base_url": "https://[broken"},
        {"status_callback": "nowhere"},
        {"timeout": 0},
        {"nonsense": 1},
    ],
)
def test_wrong_settings_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        TwilioConfig(**(SETTINGS | change))
    assert "very-secret" not in str(caught.value)


def test_verification_needs_the_url() -> None:
    made, _ = provider(None)
    with pytest.raises(ValueError, match="public"):
        made.verify_signature(b"", "x")
    assert not made.verify_signature(b"", "x", url="https://a.example/")
    assert made.from_number == SETTINGS["from_number"]


async def test_the_mock_keeps_what_it_should_send() -> None:
    failure = ProviderResult(success=False, error="rate_limit", retryable=True)
    mock = MockSMSProvider(failure)
    assert await mock.send(TEXT, TO) == failure
    assert (await mock.send(TEXT, TO, from_="12345")).raise_for_error().success
    assert mock.sent[1] == {"event": TEXT, "to": TO, "from": "12345"}
    assert mock.verify_signature(b"", "genuine")
    assert not mock.verify_signature(b"", "forged")
    assert mock.from_number == "+15550001111"
    message = mock.parse_webhook({"MessageSid": "SM1", "From": TO, "Body": "x"}, "sms")
    assert message is not None
    assert mock.parse_status({"MessageSid": "SM1", "From": TO, "Body": "x"}) is None
    await mock.close()
    assert mock.closed


async def test_R216_a_provider_without_a_scheme_refuses_to_verify() -> None:
    class Plain(SMSProvider):
        async def send(self, event: RoomEvent, to: str, from_: str | None = None) -> ProviderResult:
            return ProviderResult(success=True)

    plain = Plain()
    assert plain.from_number is None
    with pytest.raises(NotImplementedError):
        plain.verify_signature(b"", "x")
    await plain.close()


def test_the_package_loads_no_http_client() -> None:
    code = "import sys, salon.providers.sms; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
