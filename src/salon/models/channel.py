"""How a channel takes part in a room."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from salon.models.base import Fact, utc_now
from salon.models.enums import (
    Access,
    AnyChannelType,
    ChannelCategory,
    ChannelDirection,
    ChannelMediaType,
)


class RateLimit(Fact):
    """Messages per time; the first given of second, minute, hour counts."""

    max_per_second: float | None = Field(default=None, gt=0)
    max_per_minute: float | None = Field(default=None, gt=0)
    max_per_hour: float | None = Field(default=None, gt=0)


class RetryPolicy(Fact):
    """How a failed delivery is tried again (R191)."""

    max_retries: int = Field(default=3, ge=0)
    base_delay_seconds: float = Field(default=1.0, ge=0)
    exponential_base: float = Field(default=2.0, ge=1)
    max_delay_seconds: float = Field(default=60.0, ge=0)
    retryable_errors: list[str] | None = None


class ChannelCapabilities(Fact):
    """What a channel can carry and do."""

    media_types: list[ChannelMediaType] = Field(default_factory=lambda: [ChannelMediaType.TEXT])
    max_length: int | None = Field(default=None, ge=1)
    supports_rich_text: bool = False
    supports_buttons: bool = False
    supports_cards: bool = False
    supports_quick_replies: bool = False
    supports_templates: bool = False
    supports_media: bool = False
    supports_audio: bool = False
    supports_video: bool = False
    supports_threading: bool = False
    supports_typing: bool = False
    supports_read_receipts: bool = False
    supports_reactions: bool = False
    supports_edit: bool = False
    supports_delete: bool = False
    max_buttons: int | None = None
    supported_media_types: list[str] = Field(default_factory=list)
    max_media_size_bytes: int | None = None
    delivery_mode: str = "broadcast"
    rate_limit: RateLimit | None = None
    custom: dict[str, Any] = Field(default_factory=dict)


class ChannelBinding(Fact):
    """One channel's attachment to one room. A change is a new binding.

    `group`: anybody may write through it, so that a message from a sender not heard before may be
    routed here; without it only the correspondent it names, or whoever came first (R180).
    `recipient`: the address that the metadata name, in the channel's spelling; rooms are found by
    it. Set when the channel is attached or the metadata change.
    """

    channel_id: str
    room_id: str
    channel_type: AnyChannelType
    category: ChannelCategory = ChannelCategory.TRANSPORT
    direction: ChannelDirection = ChannelDirection.BIDIRECTIONAL
    access: Access = Access.READ_WRITE
    muted: bool = False
    output_muted: bool = False
    visibility: str = "all"
    participant_id: str | None = None
    recipient: str | None = None
    group: bool = False
    last_read_index: int | None = None
    attached_at: datetime = Field(default_factory=utc_now)
    capabilities: ChannelCapabilities = Field(default_factory=ChannelCapabilities)
    rate_limit: RateLimit | None = None
    retry_policy: RetryPolicy | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)

    @property
    def can_write(self) -> bool:
        """Whether what the channel says now reaches the room (R71, R75)."""
        return self.access.can_write and not self.muted


def __getattr__(name: str) -> Any:
    if name == "ChannelOutput":  # RoomKit has it here; it is made of what stands here
        from salon.models.exchange import ChannelOutput

        return ChannelOutput
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
