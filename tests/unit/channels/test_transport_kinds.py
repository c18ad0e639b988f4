"""The table of chapter 7, one row per transport, written down a second time."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import salon.channels
from salon.channels import (
    EmailChannel,
    HTTPChannel,
    MessengerChannel,
    RCSChannel,
    SMSChannel,
    TeamsChannel,
    TelegramChannel,
    TransportChannel,
    WhatsAppChannel,
)
from salon.core.ports.channel import Channel
from salon.models import (
    AudioContent,
    ChannelCategory,
    ChannelDirection,
    ChannelType,
    EventContent,
    LocationContent,
    MediaContent,
    NoProviderError,
    RichContent,
    TemplateContent,
    TextContent,
)

from .transports import deliver

Factory = Callable[..., TransportChannel]
ROWS: list[tuple[Factory, str, str, str, int | None, str]] = [
    (SMSChannel, "sms", "phone_number", "text media", 1600, "read_receipts media"),
    (
        EmailChannel,
        "email",
        "email_address",
        "text rich media",
        None,
        "threading rich_text media",
    ),
    (
        WhatsAppChannel,
        "whatsapp",
        "phone_number",
        "text rich media location template",
        4096,
        "reactions templates buttons quick_replies read_receipts media edit delete",
    ),
    (
        MessengerChannel,
        "messenger",
        "facebook_user_id",
        "text rich media template",
        2000,
        "buttons quick_replies read_receipts media delete",
    ),
    (
        TeamsChannel,
        "teams",
        "teams_conversation_id",
        "text rich",
        28000,
        "threading reactions read_receipts rich_text edit delete",
    ),
    (
        RCSChannel,
        "rcs",
        "phone_number",
        "text rich media",
        8000,
        "buttons cards quick_replies read_receipts typing media",
    ),
    (
        TelegramChannel,
        "telegram",
        "telegram_chat_id",
        "text rich media location",
        4096,
        "rich_text buttons edit delete typing",
    ),
    (HTTPChannel, "webhook", "recipient_id", "text rich", None, ""),
]
FACTORIES = [row[0] for row in ROWS]
IDS = [row[1] for row in ROWS]


@pytest.mark.parametrize(("factory", "kind", "key", "media", "length", "flags"), ROWS, ids=IDS)
def test_the_reference_capabilities(
    factory: Factory, kind: str, key: str, media: str, length: int | None, flags: str
) -> None:
    channel = factory("main")
    found = channel.capabilities()
    assert channel.channel_type is ChannelType(kind)
    assert channel.recipient_key == key
    assert [str(item) for item in found.media_types] == media.split()
    assert found.max_length == length
    raised = {name for name, value in found.model_dump().items() if value is True}
    assert raised == {f"supports_{flag}" for flag in flags.split()}
    assert found.max_buttons == (3 if kind in {"whatsapp", "messenger"} else None)
    images = ["image/jpeg", "image/png", "image/gif"]
    assert found.supported_media_types == (images if kind == "sms" else [])
    assert (found.delivery_mode, found.rate_limit, found.custom) == ("broadcast", None, {})


@pytest.mark.parametrize("factory", FACTORIES, ids=IDS)
def test_every_transport_is_a_channel_like_any_other(factory: Factory) -> None:
    channel = factory("main")
    assert isinstance(channel, Channel)
    assert channel.channel_id == "main"
    assert channel.category is ChannelCategory.TRANSPORT
    assert channel.direction is ChannelDirection.BIDIRECTIONAL
    assert not channel.supports_streaming_delivery
    assert not channel.sender_is_participant
    assert channel.channel_type in repr(channel)
    assert channel.provider_name is None


@pytest.mark.parametrize("factory", FACTORIES, ids=IDS)
async def test_without_a_provider_it_says_so(factory: Factory) -> None:
    channel = factory("main")
    with pytest.raises(NoProviderError, match="channel 'main' has no provider") as caught:
        await deliver(channel, **{channel.recipient_key: "1"})
    assert (caught.value.code, caught.value.retryable) == ("no_provider", False)
    await channel.close()


@pytest.mark.parametrize(
    ("factory", "options"),
    [
        (SMSChannel, ["provider", "from_number", "default_country_code"]),
        (RCSChannel, ["provider", "fallback", "from_number", "default_country_code"]),
        (EmailChannel, ["provider", "from_address"]),
        (WhatsAppChannel, ["provider", "default_country_code"]),
        (MessengerChannel, ["provider"]),
        (TeamsChannel, ["provider"]),
        (TelegramChannel, ["provider"]),
        (HTTPChannel, ["provider"]),
    ],
)
def test_how_they_are_called(factory: Factory, options: list[str]) -> None:
    first, *rest = inspect.signature(factory).parameters.values()
    assert (first.name, first.kind) == ("channel_id", first.POSITIONAL_OR_KEYWORD)
    assert [item.name for item in rest] == options
    assert all(item.kind is item.KEYWORD_ONLY for item in rest)
    assert all(item.default is not item.empty for item in rest)


@pytest.mark.parametrize("factory", FACTORIES, ids=IDS)
@pytest.mark.parametrize(
    "content",
    [
        TextContent(body="x" * 30_000),
        RichContent(body="*hi*"),
        MediaContent(url="https://example.org/a.png", mime_type="image/png"),
        AudioContent(url="https://example.org/a.ogg"),
        LocationContent(latitude=1, longitude=2),
        TemplateContent(template_id="t", body="words"),
    ],
    ids=lambda content: str(content.type),
)
def test_R52_a_kind_never_sees_what_it_does_not_list(
    factory: Factory, content: EventContent
) -> None:
    from salon.core.transcoding import transcode

    capabilities = factory("main").capabilities()
    found = transcode(content, capabilities)
    assert found is not None
    assert found.type in {str(item) for item in capabilities.media_types}
    if isinstance(found, TextContent) and capabilities.max_length is not None:
        assert len(found.body) <= capabilities.max_length


def test_the_names_of_the_package() -> None:
    for name in salon.channels.__all__:
        found: Any = getattr(salon.channels, name)
        assert callable(found)
    with pytest.raises(AttributeError, match="no attribute 'FaxChannel'"):
        getattr(salon.channels, "FaxChannel")  # noqa: B009 - the name is unknown to mypy too
