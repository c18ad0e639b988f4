"""Teams messages: the contract of their providers."""

from __future__ import annotations

from salon.providers.teams.base import TeamsProvider
from salon.providers.teams.mock import MockTeamsProvider

__all__ = ["MockTeamsProvider", "TeamsProvider"]
