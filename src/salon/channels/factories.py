# ruff: noqa: N802 - these are used like classes
"""One call per kind of transport. Without `provider` a channel receives and can't send."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salon.channels.email import EmailTransport
from salon.channels.rcs import RCSTransport
from salon.channels.transport import TransportChannel
from salon.models import ChannelType

if TYPE_CHECKING:
    from salon.providers.email.base import EmailProvider
    from salon.providers.messenger import MessengerProvider
    from salon.providers.rcs import RCSProvider
    from salon.providers.sms import SMSProvider
    from salon.providers.teams import TeamsProvider
    from salon.providers.telegram import TelegramProvider
    from salon.providers.webhooks import HTTPProvider
    from salon.providers.whatsapp import WhatsAppProvider


def SMSChannel(
    channel_id: str,
    *,
    provider: SMSProvider | None = None,
    from_number: str | None = None,
    default_country_code: str | None = None,
) -> TransportChannel:
    """Text messages to ``phone_number``, from `from_number`, else from the binding's ``from_``,
    else from whatever the provider is set up with."""
    return TransportChannel(
        channel_id,
        ChannelType.SMS,
        provider=provider,
        defaults={"from_": from_number},
        country_code=default_country_code,
    )


def RCSChannel(
    channel_id: str,
    *,
    provider: RCSProvider | None = None,
    fallback: bool | SMSProvider = True,
    from_number: str | None = None,
    default_country_code: str | None = None,
) -> TransportChannel:
    """Rich messages to ``phone_number``. `fallback`: whether the provider may send an SMS to a
    phone without RCS, or the SMS provider that does (from `from_number`)."""
    allowed, sms = (fallback, None) if isinstance(fallback, bool) else (True, fallback)
    return RCSTransport(
        channel_id,
        provider=provider,
        fallback=allowed,
        sms=sms,
        from_number=from_number,
        country_code=default_country_code,
    )


def EmailChannel(
    channel_id: str, *, provider: EmailProvider | None = None, from_address: str | None = None
) -> TransportChannel:
    """Mail to ``email_address``, with the binding's ``subject``; from `from_address`, else from
    the binding's ``from_``."""
    return EmailTransport(channel_id, provider=provider, from_address=from_address)


def WhatsAppChannel(
    channel_id: str,
    *,
    provider: WhatsAppProvider | None = None,
    default_country_code: str | None = None,
) -> TransportChannel:
    """WhatsApp Business messages and templates to ``phone_number``."""
    return TransportChannel(
        channel_id, ChannelType.WHATSAPP, provider=provider, country_code=default_country_code
    )


def MessengerChannel(
    channel_id: str, *, provider: MessengerProvider | None = None
) -> TransportChannel:
    """Messages to ``facebook_user_id``."""
    return TransportChannel(channel_id, ChannelType.MESSENGER, provider=provider)


def TeamsChannel(channel_id: str, *, provider: TeamsProvider | None = None) -> TransportChannel:
    """Messages into the Teams conversation ``teams_conversation_id``."""
    return TransportChannel(channel_id, ChannelType.TEAMS, provider=provider)


def TelegramChannel(
    channel_id: str, *, provider: TelegramProvider | None = None
) -> TransportChannel:
    """Messages into the chat ``telegram_chat_id``."""
    return TransportChannel(channel_id, ChannelType.TELEGRAM, provider=provider)


def HTTPChannel(channel_id: str, *, provider: HTTPProvider | None = None) -> TransportChannel:
    """Events to another system; ``recipient_id`` may be absent where it serves one recipient."""
    return TransportChannel(
        channel_id, ChannelType.WEBHOOK, provider=provider, requires_recipient=False
    )
