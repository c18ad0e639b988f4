"""Where `ProviderResult` used to be; it belongs to the models."""

from __future__ import annotations

from salon.models.delivery import ProviderResult

__all__ = ["ProviderResult"]
