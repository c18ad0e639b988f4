"""`AudioFrame`, where RoomKit's users import it from."""

from __future__ import annotations

from salon.media.frame import AudioFrame

__all__ = ["AudioFrame"]
