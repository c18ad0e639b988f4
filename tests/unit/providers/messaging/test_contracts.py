"""The contracts of the messengers' providers, and their mocks."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.channels.transports import deliver

from salon.channels import EmailChannel
from salon.models import ChannelType, EventSource, ProviderResult, RoomEvent, TextContent
from salon.providers.email.mock import MockEmailProvider
from salon.providers.messenger import MessengerProvider, MockMessengerProvider
from salon.providers.teams import MockTeamsProvider, TeamsProvider
from salon.providers.telegram import MockTelegramProvider, TelegramProvider
from salon.providers.whatsapp import MockWhatsAppProvider, TemplateProvider, WhatsAppProvider

SOURCE = EventSource(channel_id="ai", channel_type=ChannelType.AI)
EVENT = RoomEvent(room_id="r", source=SOURCE, content=TextContent(body="x"))
KINDS: list[tuple[Any, Any, str]] = [
    (WhatsAppProvider, MockWhatsAppProvider, "whatsapp"),
    (MessengerProvider, MockMessengerProvider, "messenger"),
    (TeamsProvider, MockTeamsProvider, "teams"),
    (TelegramProvider, MockTelegramProvider, "telegram"),
]
IDS = [row[2] for row in KINDS]


@pytest.mark.parametrize(("contract", "mock", "name"), KINDS, ids=IDS)
async def test_a_mock_records_and_answers(contract: Any, mock: Any, name: str) -> None:
    refusal = ProviderResult(success=False, error="x")
    made = mock(refusal)
    assert isinstance(made, contract)
    assert made.name == f"mock_{name}"
    assert await made.send(EVENT, "a") is refusal
    assert (await made.send(EVENT, "b")).provider_message_id == "mock-2"
    assert made.sent == [{"event": EVENT, "to": "a"}, {"event": EVENT, "to": "b"}]
    await made.close()
    assert made.closed


@pytest.mark.parametrize(("contract", "mock", "name"), KINDS, ids=IDS)
async def test_a_provider_need_only_send(contract: Any, mock: Any, name: str) -> None:
    with pytest.raises(TypeError, match="abstract"):
        contract()

    class Plain(contract):  # type: ignore[misc] # any of the four
        async def send(self, event: RoomEvent, to: str) -> ProviderResult:
            return ProviderResult(success=True)

    plain = Plain()
    assert plain.name == name
    with pytest.raises(NotImplementedError, match="Plain can't verify"):
        plain.verify_signature(b"", "")
    with pytest.raises(NotImplementedError, match="Plain takes no webhooks"):
        plain.parse_webhook({}, name)
    assert not isinstance(plain, TemplateProvider)
    await plain.close()


async def test_templates_and_reactions_are_extras_of_whatsapp() -> None:
    made = MockWhatsAppProvider()
    assert isinstance(made, TemplateProvider)
    assert (await made.send_template("t", "hello", {"a": 1})).success
    assert made.sent == [{"to": "t", "template": "hello", "params": {"a": 1}, "language": "en"}]
    with pytest.raises(NotImplementedError, match="can't react"):
        await made.send_reaction("chat", "sender", "m", "👍")


async def test_mail_goes_through_its_provider_with_sender_and_subject() -> None:
    mock = MockEmailProvider()
    channel = EmailChannel("mail", provider=mock, from_address="us@example.org")
    await deliver(channel, email_address="a@example.org", subject="Owls")
    (sent,) = mock.sent
    assert (sent["to"], sent["from"], sent["subject"]) == (
        "a@example.org",
        "us@example.org",
        "Owls",
    )
