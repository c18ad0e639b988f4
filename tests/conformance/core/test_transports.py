"""Transports with a provider (chapters 7 and 21; R52, R56, R183, R218): SMS, templates, RCS."""

from __future__ import annotations

from typing import Any

import pytest
from tests.conformance.core.stage import ROOM, RecordingTransport, Stage

from salon.channels.factories import RCSChannel, SMSChannel
from salon.channels.transport import TransportChannel
from salon.models import (
    ChannelType,
    ProviderResult,
    RichContent,
    RoomEvent,
    TemplateContent,
)
from salon.providers.rcs.mock import MockRCSProvider
from salon.providers.sms.mock import MockSMSProvider

NUMBER = "+15550100123"


async def bound(stage: Stage, channel: TransportChannel, **metadata: Any) -> None:
    """A room in which `channel` answers to `NUMBER`."""
    await stage.room(RecordingTransport("web", channel_type=ChannelType.WEBSOCKET))
    stage.register(channel)
    named = {"phone_number": NUMBER, **metadata}
    await stage.kit.attach_channel(ROOM, channel.channel_id, metadata=named)


async def test_R56_the_recipient_is_the_one_its_binding_names(stage: Stage) -> None:
    provider = MockSMSProvider()
    await bound(stage, SMSChannel("sms", provider=provider, from_number="+15550199"))
    result = await stage.inbound("web", "hello")
    assert [(item["to"], item["from"]) for item in provider.sent] == [(NUMBER, "+15550199")]
    assert result.delivery_results["sms"].status == "sent"
    assert result.delivery_results["sms"].provider_message_id == "mock-1"


async def test_R56_an_option_left_open_comes_from_the_binding(stage: Stage) -> None:
    provider = MockSMSProvider()
    await bound(stage, SMSChannel("sms", provider=provider), from_="+15550177")
    await stage.inbound("web", "hello")
    assert provider.sent[0]["from"] == "+15550177"


async def test_R56_without_a_recipient_it_fails(stage: Stage) -> None:
    provider = MockSMSProvider()
    await bound(stage, SMSChannel("sms", provider=provider), phone_number=None)
    result = await stage.inbound("web", "hello")
    error = result.delivery_results["sms"].error
    assert error is not None
    assert (provider.sent, error.retryable) == ([], False)


@pytest.mark.parametrize("retryable", [False, True])
async def test_R56_a_provider_that_says_no_is_a_delivery_error(
    stage: Stage, retryable: bool
) -> None:
    refusal = ProviderResult(success=False, error="21610", retryable=retryable)
    await bound(stage, SMSChannel("sms", provider=MockSMSProvider(refusal)))
    result = await stage.inbound("web", "hello")
    error = result.delivery_results["sms"].error
    assert error is not None
    assert (error.code, error.retryable) == ("21610", retryable)


async def test_R218_the_providers_payload_and_id_are_kept(stage: Stage) -> None:
    await bound(stage, SMSChannel("sms", provider=MockSMSProvider()))
    payload = {"MessageSid": "SM1", "Body": "hello", "odd": ["x", 1]}
    result = await stage.inbound(
        "sms", sender=NUMBER, raw_payload=payload, provider_message_id="SM1"
    )
    assert result.event is not None
    assert result.event.source.raw_payload == payload
    assert result.event.source.provider_message_id == "SM1"


class TemplateProvider:
    """Sends templates by id, everything else as it is."""

    name = "templates"

    def __init__(self) -> None:
        self.templates: list[tuple[str, str, dict[str, Any], str]] = []
        self.sent: list[RoomEvent] = []

    async def send(self, event: RoomEvent, to: str, **options: Any) -> ProviderResult:
        self.sent.append(event)
        return ProviderResult(success=True)

    async def send_template(
        self, to: str, template_id: str, parameters: dict[str, Any], language: str = "en"
    ) -> ProviderResult:
        self.templates.append((to, template_id, parameters, language))
        return ProviderResult(success=True)

    async def close(self) -> None:
        pass


WELCOME = TemplateContent(template_id="welcome", language="de", parameters={"name": "Ann"})


async def test_R183_a_template_goes_by_id_where_templates_are_known(stage: Stage) -> None:
    provider = TemplateProvider()
    await bound(stage, TransportChannel("wa", ChannelType.WHATSAPP, provider=provider))
    await stage.inbound("web", content=WELCOME)
    assert provider.templates == [(NUMBER, "welcome", {"name": "Ann"}, "de")]
    assert provider.sent == []


async def test_R183_a_template_goes_as_words_where_they_are_not(stage: Stage) -> None:
    provider = MockSMSProvider()
    await bound(stage, SMSChannel("sms", provider=provider))
    await stage.inbound("web", content=WELCOME.model_copy(update={"body": "Welcome, Ann"}))
    assert [item["event"].text for item in provider.sent] == ["Welcome, Ann"]


async def test_R52_rcs_goes_by_rcs_where_the_phone_takes_it(stage: Stage) -> None:
    rcs, sms = MockRCSProvider(), MockSMSProvider()
    await bound(stage, RCSChannel("rcs", provider=rcs, fallback=sms))
    await stage.inbound("web", "hello")
    assert (len(rcs.sent), len(sms.sent)) == (1, 0)


async def test_R183_rcs_falls_back_to_words_by_sms(stage: Stage) -> None:
    rcs, sms = MockRCSProvider(without_rcs=[NUMBER]), MockSMSProvider()
    await bound(stage, RCSChannel("rcs", provider=rcs, fallback=sms))
    content = RichContent(body="**Pick** one", plain_text="Pick one", quick_replies=["a", "b"])
    result = await stage.inbound("web", content=content)
    assert result.delivery_results["rcs"].status == "sent"
    assert [(item["to"], item["event"].text) for item in sms.sent] == [(NUMBER, "Pick one")]


@pytest.mark.parametrize("where", ["channel", "binding"])
async def test_R56_the_fallback_may_be_forbidden(stage: Stage, where: str) -> None:
    rcs, sms = MockRCSProvider(without_rcs=[NUMBER]), MockSMSProvider()
    if where == "channel":
        await bound(stage, RCSChannel("rcs", provider=rcs, fallback=False))
    else:
        await bound(stage, RCSChannel("rcs", provider=rcs, fallback=sms), fallback=False)
    result = await stage.inbound("web", "hello")
    assert result.delivery_results["rcs"].status == "failed"
    assert sms.sent == []
