"""The contract of message sources, where RoomKit has it."""

from __future__ import annotations

from salon.core.ports.source import (
    BaseSourceProvider,
    EmitCallback,
    SourceHealth,
    SourceProvider,
)
from salon.models.enums import SourceStatus

__all__ = ["BaseSourceProvider", "EmitCallback", "SourceHealth", "SourceProvider", "SourceStatus"]
