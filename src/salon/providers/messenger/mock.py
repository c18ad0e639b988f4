"""A Messenger provider for tests."""

from __future__ import annotations

from salon.providers.messenger.base import MessengerProvider
from salon.providers.webhooks.recorder import Recorder


class MockMessengerProvider(Recorder, MessengerProvider):
    """Records what it should send."""

    name = "mock_messenger"
