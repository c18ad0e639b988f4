"""The contract of a provider behind a Teams channel."""

from __future__ import annotations

from salon.providers.messaging import MessagingProvider


class TeamsProvider(MessagingProvider):
    """Sends messages into conversations that a bot is part of: `to` is a conversation id."""

    name = "teams"
