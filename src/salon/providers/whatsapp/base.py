"""The contract of a provider behind a WhatsApp Business channel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from salon.models import InboundMessage, ProviderResult, RoomEvent


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


class WhatsAppProvider(ABC):
    """Sends messages, and the templates that open a conversation: see `TemplateProvider`."""

    name: str = "whatsapp"

    @abstractmethod
    async def send(self, event: RoomEvent, to: str) -> ProviderResult:
        """Send the content of an event. `to` is a phone number. What fails is in the result.

        One attempt: whether to try again is the caller's, by `retryable` and `retry_after`.
        """

    async def send_reaction(self, chat: str, sender: str, message_id: str, emoji: str) -> None:
        """React to a message of `sender` in `chat`; an empty `emoji` takes it back."""
        raise NotImplementedError(f"{type(self).__name__} can't react to messages")

    def verify_signature(self, payload: bytes, signature: str) -> bool:
        """Whether the body of a webhook, exactly as received, is genuine (R216)."""
        raise NotImplementedError(f"{type(self).__name__} can't verify webhooks")

    def parse_webhook(self, payload: Mapping[str, Any], channel_id: str) -> list[InboundMessage]:
        """The messages in a verified webhook, none if it is something else."""
        raise NotImplementedError(f"{type(self).__name__} takes no webhooks")

    async def close(self) -> None:  # noqa: B027 - optional to override
        """Release connections. Idempotent."""
