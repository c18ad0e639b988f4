"""A WhatsApp provider for tests."""

from __future__ import annotations

from typing import Any

from salon.models import ProviderResult
from salon.providers.webhooks.recorder import Recorder
from salon.providers.whatsapp.base import WhatsAppProvider


class MockWhatsAppProvider(Recorder, WhatsAppProvider):
    """Records what it should send; a template as ``{"to", "template", "params", "language"}``."""

    name = "mock_whatsapp"

    async def send_template(
        self,
        to: str,
        template_name: str,
        params: dict[str, Any] | None = None,
        *,
        language: str = "en",
    ) -> ProviderResult:
        return self._record(to=to, template=template_name, params=params, language=language)
