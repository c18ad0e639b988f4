"""The contract of a provider behind a WhatsApp Business channel."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from salon.models import ProviderResult, UnsupportedError
from salon.providers.messaging import MessagingProvider


@runtime_checkable
class TemplateProvider(Protocol):
    """A provider that knows messages by id. One without this method gets the template to `send`."""

    async def send_template(
        self,
        to: str,
        template_name: str,
        params: dict[str, Any] | None = None,
        *,
        language: str = "en",
    ) -> ProviderResult:
        """Send the template with its parameters; `language` may be left out of a signature."""


class WhatsAppProvider(MessagingProvider):
    """Sends messages, and the templates that open a conversation (see `TemplateProvider`): `to` is
    a phone number."""

    name = "whatsapp"

    async def send_reaction(self, chat: str, sender: str, message_id: str, emoji: str) -> None:
        """React to a message of `sender` in `chat`; an empty `emoji` takes it back.
        `UnsupportedError` where there are no reactions."""
        raise UnsupportedError(f"{type(self).__name__} can't react to messages")
