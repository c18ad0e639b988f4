"""The contract of transcoders, where RoomKit has it."""

from __future__ import annotations

from salon.core.ports.transcoder import ContentTranscoder

__all__ = ["ContentTranscoder"]
