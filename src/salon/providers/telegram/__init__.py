"""Telegram messages: the contract of their providers."""

from __future__ import annotations

from salon.providers.telegram.base import TelegramProvider
from salon.providers.telegram.mock import MockTelegramProvider

__all__ = ["MockTelegramProvider", "TelegramProvider"]
