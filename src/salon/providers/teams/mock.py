"""A Teams provider for tests."""

from __future__ import annotations

from salon.providers.teams.base import TeamsProvider
from salon.providers.webhooks.recorder import Recorder


class MockTeamsProvider(Recorder, TeamsProvider):
    """Records what it should send."""

    name = "mock_teams"
