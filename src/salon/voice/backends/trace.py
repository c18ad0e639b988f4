"""What a transport says of its protocol, for whoever wants to watch it (V212)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from salon.models.trace import ProtocolTrace, TraceDirection

__all__ = ["ProtocolTrace", "TraceDirection", "TraceEmitter"]

TraceEmitter = Callable[[ProtocolTrace], Any]
"""Takes a trace and returns at once; what is slow belongs elsewhere (V213)."""
