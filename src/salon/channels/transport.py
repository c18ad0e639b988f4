"""A channel that hands messages to a provider; what tells the kinds apart is data.

`deliver` fails by raising: whether to try again is decided above, by `retryable` and
`retry_after` of the error.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parseaddr
from typing import Any

from salon.channels.kinds import KINDS
from salon.core.ports.channel import Channel
from salon.models import (
    AnyChannelType,
    ChannelBinding,
    ChannelCapabilities,
    ChannelData,
    ChannelOutput,
    ChannelType,
    InboundMessage,
    NoProviderError,
    NoRecipientError,
    ProviderResult,
    RoomContext,
    RoomEvent,
    TemplateContent,
)

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_FILLING = re.compile(r"[\s().\-/\u00a0\u2010-\u2015]+")
_SHORTEST_NUMBER = 7
"""Digits; shorter ones are short codes."""
_WHOLE_NUMBER = 11
"""Digits from which on one that begins like the country's code is taken to have it."""


@dataclass(frozen=True, slots=True)
class TransportOutput(ChannelOutput):
    """What became of a message: `provider_result` is what the provider said."""

    provider_result: ProviderResult | None = None


class TransportChannel(Channel):
    """Delivers what happens in a room to the one recipient its binding names (R56).

    `provider` has ``send(event, to, **options) -> ProviderResult``; `defaults` are those options:
    a value is passed as it is, None is looked up in the binding's metadata. `capabilities` and
    `recipient_key` are the kind's unless given. `country_code` is the calling code (``"1"``,
    ``"33"``) of numbers written without one. Without `requires_recipient` an absent recipient is
    ``""``.
    """

    def __init__(
        self,
        channel_id: str,
        channel_type: AnyChannelType,
        *,
        provider: Any = None,
        capabilities: ChannelCapabilities | None = None,
        recipient_key: str | None = None,
        defaults: Mapping[str, Any] | None = None,
        country_code: str | None = None,
        requires_recipient: bool = True,
    ) -> None:
        super().__init__(channel_id)
        self.channel_type = channel_type
        self._kind = KINDS.get(channel_type) if isinstance(channel_type, ChannelType) else None
        self._provider = provider
        self._capabilities = capabilities or (
            self._kind.capabilities if self._kind else ChannelCapabilities()
        )
        self.recipient_key: str = recipient_key or (
            self._kind.recipient_key if self._kind else "recipient_id"
        )
        self._defaults = dict(defaults or {})
        self._country_code = country_code
        self._requires_recipient = requires_recipient

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.channel_id!r} {self.channel_type!s}>"

    @property
    def provider_name(self) -> str | None:
        """The name of the provider (R13)."""
        name = getattr(self._provider, "name", None)
        return name if isinstance(name, str) else None

    def capabilities(self) -> ChannelCapabilities:
        return self._capabilities

    # -- in ----------------------------------------------------------------------------------

    def inbound_event(self, message: InboundMessage, context: RoomContext) -> RoomEvent:
        """The event, with what its kind records about a message as channel data (R17).

        Everything else the provider told stays in the event's metadata, and the payload as it
        was received (R8, R218). A sender can't choose the type of its source (R14): an SMS with
        media, an MMS to its network, says so in its channel data, and hooks for SMS still see it.
        """
        event = super().inbound_event(message, context)
        keys = self._kind.data_keys if self._kind else ()
        said = {key: message.metadata[key] for key in keys if key in message.metadata}
        provider = event.source.provider or _text(message.metadata.get("provider"))
        return event.model_copy(
            update={
                "source": event.source.model_copy(update={"provider": provider}),
                "channel_data": ChannelData(
                    provider=provider,
                    external_id=message.external_id,
                    thread_id=message.thread_id,
                    extra=said,
                ),
            }
        )

    def normalize_address(self, address: str) -> str:
        """One spelling for the many of an address: E.164 for what is a telephone number, lower
        case for a mailbox, else as written."""
        if self._kind is not None and self._kind.phone:
            return _phone(address, self._country_code)
        if self.channel_type is ChannelType.EMAIL:
            return _mailbox(address)
        return address

    def conversation_address(self, message: InboundMessage) -> str:
        """Which of a channel's conversations a message belongs to, to be compared with a binding's
        recipient: the chat it was written in where the kind has chats, else its sender."""
        chat_key = self._kind.chat_key if self._kind else None
        chat = _text(message.metadata.get(chat_key)) if chat_key is not None else None
        return self.normalize_address(chat or message.sender_id)

    def reply_metadata(self, message: InboundMessage) -> dict[str, str]:
        """What a new binding's metadata must hold to answer this message; empty if unknown."""
        chat_key = self._kind.chat_key if self._kind else None
        if chat_key is None:
            return {} if not self._requires_recipient else {self.recipient_key: message.sender_id}
        chat = _text(message.metadata.get(chat_key))
        return {} if chat is None else {self.recipient_key: chat}

    # -- out ---------------------------------------------------------------------------------

    def recipient_address(self, binding: ChannelBinding) -> str | None:
        """Whom the binding names, None if nobody."""
        return _text(binding.metadata.get(self.recipient_key))

    def send_options(self, binding: ChannelBinding) -> dict[str, Any]:
        """The provider's options for this binding: fixed ones, then the binding's (R56)."""
        return {
            name: binding.metadata.get(name) if value is None else value
            for name, value in self._defaults.items()
        }

    async def deliver(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> TransportOutput:
        """Send to the binding's recipient, once. `ProviderDeliveryError` if it was not taken,
        `NoRecipientError` and `NoProviderError` if there was nothing to try."""
        if self._provider is None:
            raise NoProviderError(self.channel_id)
        to = self.recipient_address(binding)
        if to is None and self._requires_recipient:
            raise NoRecipientError(self.channel_id, self.recipient_key)
        result = (await self._send(event, to or "", binding)).raise_for_error()
        return TransportOutput(
            provider_message_id=result.provider_message_id, provider_result=result
        )

    async def _send(self, event: RoomEvent, to: str, binding: ChannelBinding) -> ProviderResult:
        content = event.content
        send_template = getattr(self._provider, "send_template", None)
        result: ProviderResult
        if isinstance(content, TemplateContent) and send_template is not None:
            extra = {"language": content.language} if _takes(send_template, "language") else {}
            result = await send_template(to, content.template_id, content.parameters, **extra)
        else:
            result = await self._provider.send(event, to, **self.send_options(binding))
        return result

    async def close(self) -> None:
        """Close the provider."""
        if self._provider is not None:
            await self._provider.close()


def _text(value: object) -> str | None:
    """An id as text: some are numbers at their vendors. None for what names nothing."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    return str(value)


def _takes(function: Any, name: str) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return any(item.name == name or item.kind is item.VAR_KEYWORD for item in parameters)


def _phone(address: str, country_code: str | None) -> str:
    """E.164 of what can be a number, else the address as written (a short code, a name). Whether
    the number exists is for the provider to say."""
    text = _FILLING.sub("", address)
    if not text.startswith("+") and country_code is not None:
        text = _international(text, country_code.lstrip("+"))
    return text if _E164.fullmatch(text) else address


def _international(digits: str, code: str) -> str:
    if digits.startswith("00"):
        return f"+{digits[2:]}"
    if digits.startswith(code) and len(digits) >= _WHOLE_NUMBER:
        return f"+{digits}"
    return f"+{code}{digits.lstrip('0')}" if len(digits) >= _SHORTEST_NUMBER else digits


def _mailbox(address: str) -> str:
    return (parseaddr(address)[1] or address).strip().lower()
