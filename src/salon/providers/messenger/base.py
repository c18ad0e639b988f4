"""The contract of a provider behind a Messenger channel."""

from __future__ import annotations

from salon.providers.messaging import MessagingProvider


class MessengerProvider(MessagingProvider):
    """Sends messages to people who wrote to a page: `to` is a page-scoped user id."""

    name = "messenger"
