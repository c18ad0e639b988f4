"""What a channel writes down about its answer while it streams, where RoomKit has it."""

from __future__ import annotations

from typing import Any


class ResponseMetadata(dict[str, Any]):
    """For `ChannelOutput.response_metadata`, where any dict does: its keys become metadata of the
    stored answer. What a provider's stream yields is `salon.core.ports.ai.ResponseMetadata`."""


__all__ = ["ResponseMetadata"]
