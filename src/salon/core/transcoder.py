"""What a channel gets of content it cannot show, where RoomKit has it."""

from __future__ import annotations

from salon.core.ports.transcoder import ContentTranscoder
from salon.core.transcoding import DefaultContentTranscoder

__all__ = ["ContentTranscoder", "DefaultContentTranscoder"]
