"""The contract of transcoding (R186)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from salon.models import ChannelBinding, EventContent


class ContentTranscoder(ABC):
    """Makes of a content what one target can carry."""

    @abstractmethod
    async def transcode(
        self,
        content: EventContent,
        source_binding: ChannelBinding,
        target_binding: ChannelBinding,
    ) -> EventContent | None:
        """The content for this target's copy of the event, the same object if nothing changes;
        None if it cannot be represented (R133). The stored event is never touched (R184)."""
