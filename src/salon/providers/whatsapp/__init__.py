"""WhatsApp Business messages: the contract of their providers."""

from __future__ import annotations

from salon.providers.whatsapp.base import TemplateProvider, WhatsAppProvider
from salon.providers.whatsapp.mock import MockWhatsAppProvider

__all__ = ["MockWhatsAppProvider", "TemplateProvider", "WhatsAppProvider"]
