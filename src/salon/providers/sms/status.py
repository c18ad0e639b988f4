"""Where `DeliveryStatus` used to be; it belongs to the models."""

from __future__ import annotations

from salon.models.delivery import DeliveryStatus

__all__ = ["DeliveryStatus"]
