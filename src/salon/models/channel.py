"""How a channel takes part in a room."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from salon.models.base import Record, utc_now
from salon.models.enums import (
    Access,
    AnyChannelType,
    ChannelCategory,
    ChannelDirection,
    ChannelMediaType,
)


class RateLimit(Record):
    """Messages per time; the first given of second, minute, hour counts."""

    max_per_second: float | None = Field(default=None, gt=0)
    max_per_minute: float | None = Field(default=None, gt=0)
    max_per_hour: float | None = Field(default=None, gt=0)


class RetryPolicy(Record):
    """How a failed delivery is tried again (R191)."""

    max_retries: int = Field(default=3, ge=0)
    base_delay_seconds: float = Field(default=1.0, ge=0)
    exponential_base: float = Field(default=2.0, ge=1)
    max_delay_seconds: float = Field(default=60.0, ge=0)
    retryable_errors: list[str] | None = None


class ChannelCapabilities(Record):
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


class ChannelBinding(Record):
    """One channel's attachment to one room."""

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
    last_read_index: int | None = None
    attached_at: datetime = Field(default_factory=utc_now)
    capabilities: ChannelCapabilities = Field(default_factory=ChannelCapabilities)
    rate_limit: RateLimit | None = None
    retry_policy: RetryPolicy | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
