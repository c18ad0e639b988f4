"""A Telegram provider for tests."""

from __future__ import annotations

from salon.providers.telegram.base import TelegramProvider
from salon.providers.webhooks.recorder import Recorder


class MockTelegramProvider(Recorder, TelegramProvider):
    """Records what it should send."""

    name = "mock_telegram"
