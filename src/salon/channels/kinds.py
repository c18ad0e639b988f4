"""What each kind of transport can carry, and how it addresses people: the table of chapter 7.

Data only. The capabilities are what transcoding works from (R52), so a kind that does not list a
content type never sees it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from salon.models import ChannelCapabilities, ChannelMediaType, ChannelType

_TEXT, _RICH, _MEDIA = ChannelMediaType.TEXT, ChannelMediaType.RICH, ChannelMediaType.MEDIA
_LOCATION, _TEMPLATE = ChannelMediaType.LOCATION, ChannelMediaType.TEMPLATE


@dataclass(frozen=True, slots=True)
class TransportKind:
    """`recipient_key` is where a binding's metadata names the recipient (R56), `chat_key` where a
    message's metadata names the chat it was written in, if not its sender is who gets the answers.

    `data_keys` are the metadata of a message that become its channel data (R17). `phone`: its
    addresses are telephone numbers.
    """

    recipient_key: str
    capabilities: ChannelCapabilities
    data_keys: tuple[str, ...] = ()
    chat_key: str | None = None
    phone: bool = False


KINDS: Mapping[ChannelType, TransportKind] = MappingProxyType(
    {
        ChannelType.SMS: TransportKind(
            recipient_key="phone_number",
            capabilities=ChannelCapabilities(
                media_types=[_TEXT, _MEDIA],
                max_length=1600,
                supports_read_receipts=True,
                supports_media=True,
                supported_media_types=["image/jpeg", "image/png", "image/gif"],
            ),
            data_keys=("channel_type", "from_number", "to_number", "segments", "encoding"),
            phone=True,
        ),
        ChannelType.RCS: TransportKind(
            recipient_key="phone_number",
            capabilities=ChannelCapabilities(
                media_types=[_TEXT, _RICH, _MEDIA],
                max_length=8000,
                supports_buttons=True,
                supports_cards=True,
                supports_quick_replies=True,
                supports_read_receipts=True,
                supports_typing=True,
                supports_media=True,
            ),
            data_keys=("from_number", "to_number", "channel_used", "fallback"),
            phone=True,
        ),
        ChannelType.EMAIL: TransportKind(
            recipient_key="email_address",
            capabilities=ChannelCapabilities(
                media_types=[_TEXT, _RICH, _MEDIA],
                supports_threading=True,
                supports_rich_text=True,
                supports_media=True,
            ),
            data_keys=("from_address", "to_addresses", "cc", "subject", "thread_id", "html_body"),
        ),
        ChannelType.WHATSAPP: TransportKind(
            recipient_key="phone_number",
            capabilities=ChannelCapabilities(
                media_types=[_TEXT, _RICH, _MEDIA, _LOCATION, _TEMPLATE],
                max_length=4096,
                supports_reactions=True,
                supports_templates=True,
                supports_buttons=True,
                max_buttons=3,
                supports_quick_replies=True,
                supports_read_receipts=True,
                supports_media=True,
                supports_edit=True,
                supports_delete=True,
            ),
            data_keys=("wa_id", "template_name", "buttons", "context", "is_group"),
            phone=True,
        ),
        ChannelType.MESSENGER: TransportKind(
            recipient_key="facebook_user_id",
            capabilities=ChannelCapabilities(
                media_types=[_TEXT, _RICH, _MEDIA, _TEMPLATE],
                max_length=2000,
                supports_buttons=True,
                max_buttons=3,
                supports_quick_replies=True,
                supports_read_receipts=True,
                supports_media=True,
                supports_delete=True,
            ),
            data_keys=("page_id", "postback"),
        ),
        ChannelType.TEAMS: TransportKind(
            recipient_key="teams_conversation_id",
            capabilities=ChannelCapabilities(
                media_types=[_TEXT, _RICH],
                max_length=28000,
                supports_threading=True,
                supports_reactions=True,
                supports_read_receipts=True,
                supports_rich_text=True,
                supports_edit=True,
                supports_delete=True,
            ),
            data_keys=("conversation_id", "tenant_id", "service_url", "is_group"),
            chat_key="conversation_id",
        ),
        ChannelType.TELEGRAM: TransportKind(
            recipient_key="telegram_chat_id",
            capabilities=ChannelCapabilities(
                media_types=[_TEXT, _RICH, _MEDIA, _LOCATION],
                max_length=4096,
                supports_rich_text=True,
                supports_buttons=True,
                supports_edit=True,
                supports_delete=True,
                supports_typing=True,
            ),
            data_keys=("chat_id", "chat_type", "username"),
            chat_key="chat_id",
        ),
        ChannelType.WEBHOOK: TransportKind(
            recipient_key="recipient_id",
            capabilities=ChannelCapabilities(media_types=[_TEXT, _RICH]),
        ),
    }
)
