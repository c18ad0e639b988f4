"""Transports with the real providers, over HTTP to services on this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.integration.twilio_service import (
    ACCOUNT,
    BLOCKED,
    NUMBER,
    TOKEN,
    TwilioService,
    problem,
    serve,
    twilio_service,
)
from tests.unit.channels.transports import CONTEXT, ROOM, deliver

from salon.channels import HTTPChannel, RCSChannel, SMSChannel, TransportChannel
from salon.core.kit import RoomKit
from salon.models import (
    ChannelType,
    InboundMessage,
    MediaContent,
    ProviderDeliveryError,
    RichContent,
    TextContent,
)
from salon.providers.http import HTTPProviderConfig, MockHTTPProvider, WebhookHTTPProvider
from salon.providers.rcs import MockRCSProvider, RCSDeliveryResult
from salon.providers.twilio import TwilioConfig, TwilioSMSProvider

TO = "+15558675310"


@pytest.fixture
async def service() -> AsyncIterator[TwilioService]:
    async with twilio_service() as running:
        yield running


@pytest.fixture
def provider(service: TwilioService) -> TwilioSMSProvider:
    settings: dict[str, Any] = {"auth_token": TOKEN, "api_base_url": service.url}
    return TwilioSMSProvider(TwilioConfig(account_sid=ACCOUNT, from_number=NUMBER, **settings))


@pytest.fixture
async def sms(provider: TwilioSMSProvider) -> AsyncIterator[TransportChannel]:
    channel = SMSChannel("sms", provider=provider)
    yield channel
    await channel.close()


async def test_an_event_becomes_a_text_message(
    sms: TransportChannel, service: TwilioService
) -> None:
    output = await deliver(sms, "Grüße 世界", phone_number=TO)
    assert output.provider_message_id in service.messages
    (form,) = service.requests
    assert (form["To"], form["From"], form["Body"]) == ([TO], [NUMBER], ["Grüße 世界"])
    assert sms.provider_name == "twilio"


async def test_media_travel_along(sms: TransportChannel, service: TwilioService) -> None:
    owl = MediaContent(url="https://example.org/owl.png", mime_type="image/png", caption="An owl")
    await deliver(sms, owl, phone_number=TO, from_=NUMBER)
    (form,) = service.requests
    assert (form["MediaUrl"], form["Body"]) == ([owl.url], ["An owl"])
    assert form["From"] == [NUMBER]


async def test_R56_what_twilio_refuses_is_raised(
    sms: TransportChannel, service: TwilioService
) -> None:
    with pytest.raises(ProviderDeliveryError) as refused:
        await deliver(sms, phone_number=BLOCKED)
    assert (refused.value.code, refused.value.retryable) == ("twilio_21610", False)
    service.faults.append(problem(429, 20429, "Too Many Requests"))
    with pytest.raises(ProviderDeliveryError) as busy:
        await deliver(sms, phone_number=TO)
    assert (busy.value.code, busy.value.retryable) == ("rate_limit", True)
    with pytest.raises(ProviderDeliveryError) as nobody:
        await deliver(sms, phone_number="nobody")
    assert (nobody.value.code, nobody.value.retryable) == ("invalid_recipient", False)


async def test_a_message_of_twilio_becomes_an_event(
    sms: TransportChannel, provider: TwilioSMSProvider
) -> None:
    payload = {
        "MessageSid": "MM" + "0" * 32,
        "AccountSid": ACCOUNT,
        "From": TO,
        "To": NUMBER,
        "Body": "look",
        "NumSegments": "1",
        "NumMedia": "1",
        "MediaUrl0": "https://example.org/a.png",
        "MediaContentType0": "image/png",
    }
    message = provider.parse_webhook(payload, "sms")
    assert message is not None
    found = await sms.handle_inbound(message, CONTEXT)
    assert found.source.raw_payload == payload
    assert found.source.provider_message_id == payload["MessageSid"]
    assert (found.source.provider, found.source.channel_type) == ("twilio", ChannelType.SMS)
    assert found.channel_data.extra["channel_type"] == "mms"
    assert found.channel_data.extra["from_number"] == TO
    assert found.channel_data.extra["to_number"] == NUMBER
    assert sms.reply_metadata(message) == {"phone_number": TO}


async def test_a_phone_without_rcs_gets_a_text_message_through_twilio(
    provider: TwilioSMSProvider, service: TwilioService
) -> None:
    rcs = MockRCSProvider(without_rcs=[TO])
    channel = RCSChannel("rcs", provider=rcs, fallback=provider, from_number=NUMBER)
    card = RichContent(body="**Yes** or no?", plain_text="Yes or no?", buttons=[{"label": "Yes"}])
    output = await deliver(channel, card, phone_number=TO)
    await channel.close()
    assert isinstance(output.provider_result, RCSDeliveryResult)
    assert (output.provider_result.channel_used, output.provider_result.fallback) == ("sms", True)
    assert output.provider_message_id in service.messages
    assert service.requests[0]["Body"] == ["Yes or no?"]


async def test_an_event_becomes_a_signed_webhook() -> None:
    taken: list[dict[str, Any]] = []
    secret: Any = "shared"
    proof = WebhookHTTPProvider(
        HTTPProviderConfig(webhook_url="http://127.0.0.1:9/", secret=secret)
    )

    async def take(request: Request) -> Response:
        body = await request.body()
        proof.verify(request.headers, body)
        taken.append(await request.json())
        if len(taken) == 1:
            return JSONResponse({"message_id": "m-1"})
        return JSONResponse({"error": "busy"}, 503, {"Retry-After": "9"})

    async with serve(Starlette(routes=[Route("/in", take, methods=["POST"])])) as url:
        config = HTTPProviderConfig(webhook_url=f"{url}/in", secret=secret)
        channel = HTTPChannel("http", provider=WebhookHTTPProvider(config))
        rich = RichContent(body="**Hi**")
        output = await deliver(channel, rich, recipient_id="user-1")
        with pytest.raises(ProviderDeliveryError) as busy:
            await deliver(channel, "Hello")
        await channel.close()
    assert output.provider_message_id == "m-1"
    assert [item["recipient_id"] for item in taken] == ["user-1", ""]
    assert taken[0]["content"] == rich.model_dump(mode="json")
    assert taken[1]["content"]["body"] == "Hello"
    error = busy.value
    assert (error.code, error.retryable, error.retry_after) == ("http_503", True, 9)


async def test_two_transports_share_a_room(sms: TransportChannel, service: TwilioService) -> None:
    web = MockHTTPProvider()
    async with RoomKit(shutdown_timeout=0) as kit:
        for channel in (sms, HTTPChannel("http", provider=web)):
            kit.register_channel(channel)
        await kit.create_room(ROOM)
        await kit.attach_channel(ROOM, "sms", metadata={"phone_number": TO})
        await kit.attach_channel(ROOM, "http", metadata={"recipient_id": "user-1"})

        long = InboundMessage(
            channel_id="http", sender_id="u", content=TextContent(body="x" * 2000)
        )
        await kit.process_inbound(long, room_id=ROOM)
        (form,) = service.requests
        assert (form["To"], len(form["Body"][0]), form["Body"][0][-3:]) == ([TO], 1600, "...")

        reply = InboundMessage(channel_id="sms", sender_id=TO, content=TextContent(body="back"))
        await kit.process_inbound(reply, room_id=ROOM)
        assert [(item["to"], item["event"].text) for item in web.sent] == [("user-1", "back")]
