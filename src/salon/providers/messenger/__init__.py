"""Messenger messages: the contract of their providers."""

from __future__ import annotations

from salon.providers.messenger.base import MessengerProvider
from salon.providers.messenger.mock import MockMessengerProvider

__all__ = ["MessengerProvider", "MockMessengerProvider"]
