"""The contract of a provider behind a Telegram channel."""

from __future__ import annotations

from salon.providers.messaging import MessagingProvider


class TelegramProvider(MessagingProvider):
    """Sends messages into chats that a bot is part of: `to` is a chat id."""

    name = "telegram"
