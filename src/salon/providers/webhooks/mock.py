"""An HTTP provider for tests."""

from __future__ import annotations

from salon.providers.webhooks.base import HTTPProvider
from salon.providers.webhooks.recorder import Recorder


class MockHTTPProvider(Recorder, HTTPProvider):
    """Records what it should send."""

    name = "mock_http"
