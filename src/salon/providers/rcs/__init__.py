"""Rich messages to phones: the contract of their providers."""

from __future__ import annotations

from salon.providers.rcs.base import RCS_UNAVAILABLE, RCSDeliveryResult, RCSProvider
from salon.providers.rcs.mock import MockRCSProvider

__all__ = ["RCS_UNAVAILABLE", "MockRCSProvider", "RCSDeliveryResult", "RCSProvider"]
