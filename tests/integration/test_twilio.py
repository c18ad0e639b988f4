"""Text messages against a service that speaks Twilio's interface, which the vendor's own SDK
accepts too."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.integration.twilio_service import (
    ACCOUNT,
    BLOCKED,
    NUMBER,
    SERVICE,
    TOKEN,
    TwilioService,
    call_json_webhook,
    problem,
    serve,
    sign,
    twilio_service,
)

from salon.models import (
    ChannelType,
    CompositeContent,
    EventContent,
    EventSource,
    InboundMessage,
    MediaContent,
    RoomEvent,
    TextContent,
)
from salon.providers.sms import (
    EMPTY_TWIML,
    DeliveryStatus,
    TwilioConfig,
    TwilioSMSProvider,
    twilio_signature,
)

TO = "+15558675310"
IMAGE = "https://example.org/owl.png"


@pytest.fixture
async def service() -> AsyncIterator[TwilioService]:
    async with twilio_service() as running:
        yield running


def event(content: EventContent | str = "Hello") -> RoomEvent:
    found = TextContent(body=content) if isinstance(content, str) else content
    source = EventSource(channel_id="ai", channel_type=ChannelType.AI)
    return RoomEvent(room_id="r", source=source, content=found)


def config(service: TwilioService, **settings: Any) -> TwilioConfig:
    known = {"account_sid": ACCOUNT, "auth_token": TOKEN, "from_number": NUMBER}
    return TwilioConfig(**(known | {"api_base_url": service.url} | settings))


@pytest.fixture
async def provider(service: TwilioService) -> AsyncIterator[TwilioSMSProvider]:
    made = TwilioSMSProvider(config(service))
    yield made
    await made.close()


class Receiver:
    """What an application does with Twilio's webhooks: prove, read, answer."""

    def __init__(self, provider: TwilioSMSProvider) -> None:
        self.provider = provider
        self.messages: list[InboundMessage] = []
        self.statuses: list[DeliveryStatus] = []
        self.sdk_agreed: list[bool] = []
        self.json: list[Any] = []
        self.app = Starlette(routes=[Route("/{kind}", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        from twilio.request_validator import RequestValidator

        body = await request.body()
        url = str(request.url)
        signature = request.headers.get("X-Twilio-Signature", "")
        ours = self.provider.verify_signature(body, signature, url=url)
        if request.path_params["kind"] == "json":
            theirs = RequestValidator(TOKEN).validate(url, body.decode(), signature)
        else:
            params = dict(parse_qsl(body.decode(), keep_blank_values=True))
            theirs = RequestValidator(TOKEN).validate(url, params, signature)
        self.sdk_agreed.append(ours == theirs)
        if not ours:
            return Response(status_code=403)
        if request.path_params["kind"] == "json":
            self.json.append(await request.json())
            return JSONResponse({})
        if message := self.provider.parse_webhook(params, "sms"):
            self.messages.append(message)
        if status := self.provider.parse_status(params, channel_id="sms"):
            self.statuses.append(status)
        return Response(EMPTY_TWIML, media_type="text/xml")


# --- our provider -----------------------------------------------------------------------------


async def test_a_message_goes_out(service: TwilioService, provider: TwilioSMSProvider) -> None:
    result = await provider.send(event("Grüße, 世界 & more"), TO)
    assert result.success
    assert result.status_code == 201
    assert result.metadata["status"] == "queued"
    assert service.messages[str(result.provider_message_id)]["body"] == "Grüße, 世界 & more"
    assert service.requests == [{"To": [TO], "From": [NUMBER], "Body": ["Grüße, 世界 & more"]}]


async def test_media_make_an_mms(service: TwilioService, provider: TwilioSMSProvider) -> None:
    parts: list[EventContent] = [TextContent(body="Look")]
    parts += [MediaContent(url=f"{IMAGE}?{n}", mime_type="image/png") for n in range(2)]
    result = await provider.send(event(CompositeContent(parts=parts)), TO)
    assert str(result.provider_message_id).startswith("MM")
    assert service.requests[0]["MediaUrl"] == [f"{IMAGE}?0", f"{IMAGE}?1"]


async def test_a_messaging_service_chooses_the_number(service: TwilioService) -> None:
    provider = TwilioSMSProvider(
        config(service, messaging_service_sid=SERVICE, status_callback="https://x.example/status")
    )
    first = await provider.send(event(), TO)
    await provider.send(event(), TO, from_=NUMBER)
    await provider.close()
    assert first.metadata["status"] == "accepted"
    assert "From" not in service.requests[0]
    assert service.requests[1]["From"] == [NUMBER]
    assert service.requests[0]["MessagingServiceSid"] == [SERVICE]
    assert service.requests[0]["StatusCallback"] == ["https://x.example/status"]


@pytest.mark.parametrize(
    ("to", "text", "code"),
    [("+15005550001", "x", 21211), (BLOCKED, "x", 21610), (TO, "x" * 1601, 21617)],
)
async def test_R56_what_twilio_refuses_is_not_tried_again(
    provider: TwilioSMSProvider, to: str, text: str, code: int
) -> None:
    result = await provider.send(event(text), to)
    assert (result.error, result.provider_code) == (f"twilio_{code}", code)
    assert (result.status_code, result.retryable, result.outcome_unknown) == (400, False, False)


async def test_a_wrong_token_is_an_authentication_error(service: TwilioService) -> None:
    provider = TwilioSMSProvider(config(service, auth_token="wrong-token"))
    result = await provider.send(event(), TO)
    await provider.close()
    assert (result.error, result.provider_code) == ("auth_error", 20003)
    assert not result.retryable
    assert "wrong-token" not in f"{result!r} {provider!r}"


async def test_too_many_requests_say_when_to_come_back(
    service: TwilioService, provider: TwilioSMSProvider
) -> None:
    service.faults.append(problem(429, 20429, "Too Many Requests", {"Retry-After": "7"}))
    result = await provider.send(event(), TO)
    assert (result.error, result.retryable, result.retry_after) == ("rate_limit", True, 7.0)
    assert (await provider.send(event(), TO)).success


@pytest.mark.parametrize(("status", "unknown"), [(500, True), (502, True), (503, False)])
async def test_trouble_of_the_service_is_retryable(
    service: TwilioService, provider: TwilioSMSProvider, status: int, unknown: bool
) -> None:
    service.faults.append(Response("<html>oops</html>", status))
    result = await provider.send(event(), TO)
    assert (result.error, result.retryable) == (f"http_{status}", True)
    assert result.outcome_unknown is unknown


async def test_a_silent_service_is_given_up(service: TwilioService) -> None:
    service.faults.append("silence")
    provider = TwilioSMSProvider(config(service, timeout=2.0))
    result = await provider.send(event(), TO)
    await provider.close()
    assert (result.error, result.retryable, result.outcome_unknown) == ("timeout", True, True)


async def test_a_wait_for_a_free_connection_is_bounded(service: TwilioService) -> None:
    service.faults.append("silence")
    settings = config(service, timeout=4.0, connect_timeout=2.0, max_connections=1)
    provider = TwilioSMSProvider(settings)
    results = await asyncio.gather(provider.send(event(), TO), provider.send(event(), TO))
    await provider.close()
    assert [result.error for result in results] == ["timeout", "timeout"]
    assert sorted(result.outcome_unknown for result in results) == [False, True]


async def test_nobody_there_means_nothing_was_sent(service: TwilioService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    provider = TwilioSMSProvider(config(service, api_base_url=f"http://127.0.0.1:{port}"))
    result = await provider.send(event(), TO)
    await provider.close()
    assert (result.error, result.retryable) == ("connection_failed", True)
    assert not result.outcome_unknown


@pytest.mark.parametrize("body", ["{half", "[]", '{"sid": 7}', "[" * 50_000, "x" * 100_000])
async def test_an_unreadable_success_is_not_repeated(
    service: TwilioService, provider: TwilioSMSProvider, body: str
) -> None:
    service.faults.append(Response(body, 201, media_type="application/json"))
    result = await provider.send(event(), TO)
    assert (result.error, result.retryable) == ("malformed_response", False)
    assert result.outcome_unknown


async def test_many_at_once(service: TwilioService, provider: TwilioSMSProvider) -> None:
    results = await asyncio.gather(*(provider.send(event(f"{n}"), TO) for n in range(50)))
    assert len({result.provider_message_id for result in results}) == 50
    assert len(service.messages) == 50


# --- webhooks ---------------------------------------------------------------------------------


async def test_R216_R218_a_signed_message_comes_in(
    service: TwilioService, provider: TwilioSMSProvider
) -> None:
    receiver = Receiver(provider)
    async with serve(receiver.app) as url:
        answer = await service.receive(f"{url}/in?room=a%20b", "Hi & 你好", sid="SM" + "a" * 32)
        await service.receive(f"{url}/in", "", media={IMAGE: "image/png"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/xml")
    first, second = receiver.messages
    assert first.content == TextContent(body="Hi & 你好")
    assert first.sender_id == TO
    assert first.idempotency_key == first.provider_message_id == "SM" + "a" * 32
    assert first.raw_payload["SmsStatus"] == "received"
    assert second.content == MediaContent(url=IMAGE, mime_type="image/png")
    assert receiver.sdk_agreed == [True, True]


async def test_R213_statuses_of_a_sent_message_come_in(service: TwilioService) -> None:
    provider = TwilioSMSProvider(config(service))
    receiver = Receiver(provider)
    async with serve(receiver.app) as url:
        sender = TwilioSMSProvider(config(service, status_callback=f"{url}/status"))
        sid = str((await sender.send(event(), TO)).provider_message_id)
        for status in ("sent", "delivered"):
            assert (await service.report(sid, status)).status_code == 200
        assert (await service.report(sid, "undelivered", 30003)).status_code == 200
        await sender.close()
    assert [item.status for item in receiver.statuses] == ["sent", "delivered", "undelivered"]
    last = receiver.statuses[-1]
    assert (last.message_id, last.recipient, last.sender) == (sid, TO, NUMBER)
    assert (last.error_code, last.failed, last.channel_id) == ("30003", True, "sms")
    assert all(receiver.sdk_agreed)


async def test_R216_a_forged_webhook_is_refused(
    service: TwilioService, provider: TwilioSMSProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = Receiver(provider)
    monkeypatch.setattr("tests.integration.twilio_service.TOKEN", "another-account")
    async with serve(receiver.app) as url:
        assert (await service.receive(f"{url}/in", "pay me")).status_code == 403
    assert not receiver.messages
    assert receiver.sdk_agreed == [True]


async def test_R216_json_is_covered_by_its_hash(provider: TwilioSMSProvider) -> None:
    receiver = Receiver(provider)
    async with serve(receiver.app) as url:
        answer = await call_json_webhook(f"{url}/json?a=1", {"events": [1, 2]})
    assert answer.status_code == 200
    assert receiver.json == [{"events": [1, 2]}]
    assert receiver.sdk_agreed == [True]


# --- the vendor's SDK -------------------------------------------------------------------------


def sdk(service: TwilioService, token: str = TOKEN) -> Any:
    """The SDK as it is, with an HTTP client of ours, which is its documented way to another
    host."""
    from twilio.http.http_client import TwilioHttpClient
    from twilio.rest import Client

    class Here(TwilioHttpClient):
        def request(self, method: str, url: str, *args: Any, **options: Any) -> Any:
            local = url.replace("https://api.twilio.com", service.url, 1)
            return super().request(method, local, *args, **options)

    return Client(ACCOUNT, token, http_client=Here(timeout=10))


async def test_the_sdk_sends_fetches_and_lists(service: TwilioService) -> None:
    client = sdk(service)

    def use() -> tuple[Any, Any, list[Any]]:
        sent = client.messages.create(to=TO, from_=NUMBER, body="From the SDK", media_url=[IMAGE])
        for number in range(4):
            client.messages.create(to=TO, messaging_service_sid=SERVICE, body=f"{number}")
        return sent, client.messages(sent.sid).fetch(), client.messages.list(page_size=2)

    sent, fetched, listed = await asyncio.to_thread(use)
    assert (sent.status, sent.num_media, sent.direction) == ("queued", "1", "outbound-api")
    assert (fetched.body, fetched.to, fetched.from_) == ("From the SDK", TO, NUMBER)
    assert [item.body for item in listed] == ["3", "2", "1", "0", "From the SDK"]


async def test_the_sdk_reads_the_errors(service: TwilioService) -> None:
    from twilio.base.exceptions import TwilioRestException

    def fails(token: str, to: str) -> Any:
        with pytest.raises(TwilioRestException) as caught:
            sdk(service, token).messages.create(to=to, from_=NUMBER, body="x")
        return caught.value

    wrong = await asyncio.to_thread(fails, TOKEN, "+15005550001")
    assert (wrong.status, wrong.code) == (400, 21211)
    unknown = await asyncio.to_thread(fails, "nonsense", TO)
    assert (unknown.status, unknown.code) == (401, 20003)


async def test_the_sdk_sees_what_our_provider_sent(
    service: TwilioService, provider: TwilioSMSProvider
) -> None:
    result = await provider.send(event("Ours"), TO)
    fetched = await asyncio.to_thread(sdk(service).messages(result.provider_message_id).fetch)
    assert (fetched.body, fetched.status) == ("Ours", "queued")


def test_the_sdk_accepts_our_signatures_and_we_its() -> None:
    from twilio.request_validator import RequestValidator

    url = "https://example.org/webhooks/sms/twilio?channel=a"
    params = {"Body": "Grüße & =", "From": TO, "To": NUMBER, "Empty": ""}
    ours = twilio_signature(TOKEN, url, params.items())
    theirs = RequestValidator(TOKEN).compute_signature(url, params)
    assert ours == theirs == sign(url, params)
    assert RequestValidator(TOKEN).validate(url, params, ours)
    assert not RequestValidator(TOKEN).validate(url, params | {"Body": "other"}, ours)
