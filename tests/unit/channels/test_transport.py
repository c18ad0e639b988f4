"""What a transport makes of messages, and how it hands events to its provider."""

from __future__ import annotations

from typing import Any

import pytest

from salon.channels import (
    EmailChannel,
    HTTPChannel,
    MessengerChannel,
    SMSChannel,
    TeamsChannel,
    TelegramChannel,
    TransportChannel,
    WhatsAppChannel,
)
from salon.core.transcoding import transcode
from salon.models import (
    ChannelCapabilities,
    ChannelMediaType,
    ChannelType,
    CompositeContent,
    MediaContent,
    NoRecipientError,
    ProviderDeliveryError,
    ProviderResult,
    RoomEvent,
    TemplateContent,
    TextContent,
)
from salon.providers.messenger import MockMessengerProvider
from salon.providers.sms import MockSMSProvider
from salon.providers.teams import MockTeamsProvider
from salon.providers.telegram import MockTelegramProvider
from salon.providers.webhooks import MockHTTPProvider
from salon.providers.whatsapp import MockWhatsAppProvider

from .transports import CONTEXT, deliver, message

PHONE = "+15551234567"


class Mailer:
    """Takes mail."""

    name = "mailer"

    def __init__(self) -> None:
        self.sent: list[tuple[str, str | None, str | None]] = []

    async def send(
        self, event: RoomEvent, to: str, from_: str | None = None, subject: str | None = None
    ) -> ProviderResult:
        self.sent.append((to, from_, subject))
        return ProviderResult(success=True)

    async def close(self) -> None:
        pass


# -- out -----------------------------------------------------------------------------------------


async def test_R56_the_recipient_comes_from_the_binding() -> None:
    provider = MockSMSProvider()
    output = await deliver(SMSChannel("sms", provider=provider), "Hello", phone_number=PHONE)
    (sent,) = provider.sent
    assert (sent["to"], sent["from"], sent["event"].text) == (PHONE, None, "Hello")
    assert output.provider_message_id == "mock-1"
    assert output.provider_result is not None
    assert output.provider_result.success
    assert not output.responded


@pytest.mark.parametrize(
    ("channel", "provider", "given", "to"),
    [
        (WhatsAppChannel, MockWhatsAppProvider, {"phone_number": PHONE}, PHONE),
        (MessengerChannel, MockMessengerProvider, {"facebook_user_id": "psid"}, "psid"),
        (TeamsChannel, MockTeamsProvider, {"teams_conversation_id": "19:x@thread"}, "19:x@thread"),
        (TelegramChannel, MockTelegramProvider, {"telegram_chat_id": -100123}, "-100123"),
        (HTTPChannel, MockHTTPProvider, {"recipient_id": "user"}, "user"),
    ],
)
async def test_R56_every_kind_has_its_own_key(
    channel: Any, provider: Any, given: dict[str, Any], to: str
) -> None:
    mock = provider()
    made = channel("main", provider=mock)
    output = await deliver(made, **given)
    assert [(item["to"], item["event"].text) for item in mock.sent] == [(to, "Hello")]
    assert output.provider_message_id == "mock-1"
    assert made.provider_name == mock.name
    await made.close()
    assert mock.closed


async def test_R56_fixed_options_win_and_open_ones_come_from_the_binding() -> None:
    mailer: Any = Mailer()
    given = {"email_address": "a@b.c", "from_": "binding@b.c", "subject": "About owls"}
    await deliver(EmailChannel("mail", provider=mailer, from_address="us@b.c"), **given)
    await deliver(EmailChannel("mail", provider=mailer), **given)
    await deliver(EmailChannel("mail", provider=mailer), email_address="a@b.c")
    assert mailer.sent == [
        ("a@b.c", "us@b.c", "About owls"),
        ("a@b.c", "binding@b.c", "About owls"),
        ("a@b.c", None, None),
    ]


async def test_R56_the_number_of_a_channel_is_fixed() -> None:
    provider = MockSMSProvider()
    channel = SMSChannel("sms", provider=provider, from_number="+15550002222")
    await deliver(channel, phone_number=PHONE, from_="+15559999999")
    assert provider.sent[0]["from"] == "+15550002222"


@pytest.mark.parametrize("named", [{}, {"phone_number": ""}, {"phone_number": None}, {"to": PHONE}])
async def test_R56_without_a_recipient_nothing_is_tried(named: dict[str, Any]) -> None:
    provider = MockSMSProvider()
    with pytest.raises(NoRecipientError, match="'phone_number'") as caught:
        await deliver(SMSChannel("sms", provider=provider), **named)
    error = caught.value
    assert (error.code, error.retryable) == ("no_recipient", False)
    assert (error.channel_id, error.recipient_key) == ("sms", "phone_number")
    assert isinstance(error, ProviderDeliveryError)
    assert not provider.sent


async def test_a_webhook_may_serve_one_recipient_without_a_name() -> None:
    provider = MockHTTPProvider()
    await deliver(HTTPChannel("http", provider=provider))
    assert provider.sent[0]["to"] == ""


async def test_R56_a_result_without_success_is_raised() -> None:
    refusal = ProviderResult(
        success=False, error="twilio_21610", error_message="unsubscribed", retryable=False
    )
    busy = ProviderResult(success=False, error="rate_limit", retryable=True, retry_after=7)
    provider = MockSMSProvider(refusal, busy)
    channel = SMSChannel("sms", provider=provider)
    with pytest.raises(ProviderDeliveryError, match="unsubscribed") as caught:
        await deliver(channel, phone_number=PHONE)
    assert (caught.value.code, caught.value.retryable) == ("twilio_21610", False)
    assert caught.value.result is refusal
    with pytest.raises(ProviderDeliveryError) as again:
        await deliver(channel, phone_number=PHONE)
    assert (again.value.retryable, again.value.retry_after) == (True, 7)


async def test_a_template_is_sent_by_its_id() -> None:
    provider = MockWhatsAppProvider()
    template = TemplateContent(template_id="hello", language="fr", parameters={"name": "Ada"})
    channel = WhatsAppChannel("wa", provider=provider)
    assert transcode(template, channel.capabilities()) is template
    output = await deliver(channel, template, phone_number=PHONE)
    assert provider.sent == [
        {"to": PHONE, "template": "hello", "params": {"name": "Ada"}, "language": "fr"}
    ]
    assert output.provider_message_id == "mock-1"


async def test_a_template_method_without_language_serves_too() -> None:
    class Plain(MockMessengerProvider):
        async def send_template(
            self, to: str, template_name: str, params: dict[str, Any] | None = None
        ) -> ProviderResult:
            return self._record(to=to, template=template_name, params=params)

    provider = Plain(ProviderResult(success=False, error="unknown_template"))
    channel = MessengerChannel("fb", provider=provider)
    with pytest.raises(ProviderDeliveryError, match="unknown_template"):
        await deliver(channel, TemplateContent(template_id="t"), facebook_user_id="u")
    assert provider.sent == [{"to": "u", "template": "t", "params": {}}]


async def test_a_provider_without_that_method_gets_the_template_itself() -> None:
    provider = MockMessengerProvider()
    template = TemplateContent(template_id="t", body="Hello")
    await deliver(MessengerChannel("fb", provider=provider), template, facebook_user_id="u")
    assert provider.sent[0]["event"].content == template


async def test_a_kind_of_ones_own() -> None:
    provider = MockHTTPProvider()
    capabilities = ChannelCapabilities(media_types=[ChannelMediaType.TEXT], max_length=10)
    pager = TransportChannel(
        "pager",
        "custom:pager",
        provider=provider,
        capabilities=capabilities,
        recipient_key="pager_number",
    )
    assert pager.capabilities() is capabilities
    await deliver(pager, pager_number=4711)
    assert provider.sent[0]["to"] == "4711"
    assert TransportChannel("x", "custom:x").recipient_key == "recipient_id"
    assert TransportChannel("x", "custom:x").capabilities() == ChannelCapabilities()
    assert pager.normalize_address(" 47 11") == " 47 11"
    assert pager.reply_metadata(message(pager)) == {"pager_number": PHONE}
    assert (await pager.handle_inbound(message(pager), CONTEXT)).channel_data.extra == {}


# -- in ------------------------------------------------------------------------------------------


async def test_R8_R13_R14_R218_the_source_of_a_message() -> None:
    channel = SMSChannel("sms", provider=MockSMSProvider())
    payload = {"From": PHONE, "Nested": {"a": [1, None]}, "channel_id": "other"}
    found = await channel.handle_inbound(
        message(
            channel,
            raw_payload=payload,
            provider_message_id="SM1",
            external_id="ext",
            metadata={"channel_id": "other", "channel_type": "email", "provider": "forged"},
        ),
        CONTEXT,
    )
    assert found.source.raw_payload == payload
    assert found.source.provider_message_id == "SM1"
    assert found.source.provider == found.channel_data.provider == "twilio"
    assert (found.source.channel_id, found.source.channel_type) == ("sms", ChannelType.SMS)
    assert found.source.participant_id == PHONE


async def test_R13_a_channel_that_only_receives_names_who_the_message_came_through() -> None:
    channel = SMSChannel("sms")
    found = await channel.handle_inbound(message(channel, metadata={"provider": "sinch"}), CONTEXT)
    assert found.source.provider == "sinch"
    odd = await channel.handle_inbound(message(channel, metadata={"provider": {}}), CONTEXT)
    assert odd.source.provider is None


async def test_R17_what_a_kind_records_becomes_channel_data() -> None:
    channel = SMSChannel("sms", provider=MockSMSProvider())
    metadata = {"from_number": PHONE, "to_number": "+15550001111", "segments": 2, "account": "AC1"}
    found = await channel.handle_inbound(
        message(channel, metadata=metadata, external_id="SM1", thread_id="t"), CONTEXT
    )
    data = found.channel_data
    assert data.extra == {"from_number": PHONE, "to_number": "+15550001111", "segments": 2}
    assert (data.external_id, data.thread_id) == ("SM1", "t")
    assert found.metadata == metadata


@pytest.mark.parametrize(
    ("channel", "metadata"),
    [
        (EmailChannel("mail"), {"subject": "Owls", "cc": ["c@d.e"], "html_body": "<p>x</p>"}),
        (WhatsAppChannel("wa"), {"wa_id": "1555", "is_group": False, "context": {"id": "w"}}),
        (TelegramChannel("tg"), {"chat_id": 5, "chat_type": "private"}),
    ],
)
async def test_R17_every_kind_keeps_its_own(
    channel: TransportChannel, metadata: dict[str, Any]
) -> None:
    found = await channel.handle_inbound(
        message(channel, metadata=metadata | {"unknown": 1}), CONTEXT
    )
    assert found.channel_data.extra == metadata
    assert found.metadata["unknown"] == 1


async def test_R14_an_mms_says_so_and_still_comes_from_an_sms_channel() -> None:
    channel = SMSChannel("sms", provider=MockSMSProvider())
    image = MediaContent(url="https://example.org/a.png", mime_type="image/png")
    picture = CompositeContent(parts=[TextContent(body="look"), image])
    found = await channel.handle_inbound(
        message(channel, content=picture, metadata={"channel_type": "mms"}), CONTEXT
    )
    assert found.channel_data.extra["channel_type"] == "mms"
    assert found.source.channel_type is ChannelType.SMS


@pytest.mark.parametrize(
    ("channel", "metadata", "expected"),
    [
        (SMSChannel("sms"), {}, {"phone_number": PHONE}),
        (EmailChannel("mail"), {}, {"email_address": PHONE}),
        (TelegramChannel("tg"), {"chat_id": -5}, {"telegram_chat_id": "-5"}),
        (TelegramChannel("tg"), {}, {}),
        (TeamsChannel("t"), {"conversation_id": "19:x"}, {"teams_conversation_id": "19:x"}),
        (HTTPChannel("http"), {}, {}),
    ],
)
def test_whom_an_answer_goes_to(
    channel: TransportChannel, metadata: dict[str, Any], expected: dict[str, str]
) -> None:
    assert channel.reply_metadata(message(channel, metadata=metadata)) == expected


def test_which_conversation_a_message_belongs_to() -> None:
    telegram, sms = TelegramChannel("tg"), SMSChannel("sms", default_country_code="1")
    in_chat = message(telegram, sender_id="7", metadata={"chat_id": -5})
    assert telegram.conversation_address(in_chat) == "-5"
    assert telegram.conversation_address(message(telegram, sender_id="7")) == "7"
    assert sms.conversation_address(message(sms, sender_id="(555) 123-4567")) == PHONE


@pytest.mark.parametrize(
    ("code", "written", "expected"),
    [
        (None, "+33 6 12 34 56 78", "+33612345678"),
        (None, "5551234567", "5551234567"),
        (None, "BANK", "BANK"),
        (None, "+1", "+1"),
        ("1", "(555) 123-4567", "+15551234567"),
        ("+1", "1-555-123-4567", "+15551234567"),
        ("1", "+44 20 7946 0958", "+442079460958"),
        ("1", "12345", "12345"),
        ("33", "06 12 34 56 78", "+33612345678"),
        ("33", "0033612345678", "+33612345678"),
        ("33", "33612345678", "+33612345678"),
        ("49", "030 1234567", "+49301234567"),
    ],
)
def test_telephone_numbers_have_one_spelling(code: str | None, written: str, expected: str) -> None:
    for factory in (SMSChannel, WhatsAppChannel):
        assert factory("x", default_country_code=code).normalize_address(written) == expected


def test_mailboxes_have_one_spelling_and_ids_are_left_alone() -> None:
    mail = EmailChannel("mail")
    assert mail.normalize_address(" A@B.c ") == "a@b.c"
    assert mail.normalize_address("Bob <Bob@X.y>") == "bob@x.y"
    assert mail.normalize_address("") == ""
    assert TeamsChannel("t").normalize_address("19:AbC") == "19:AbC"
