"""How a frame of video is put together from the payloads of its packets, without I/O."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from salon.base import RemoteProtocolError


class PayloadError(RemoteProtocolError, ValueError):
    """Payloads that are no frame of their format; the message says why."""

    code = "video_payload"


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """One frame as a decoder takes it: a VP8 frame, or H.264 in Annex B form. `key` says that it
    needs no frame before it; `timestamp` is that of its packets (90 kHz, 32 bits)."""

    codec: str
    data: bytes
    key: bool
    timestamp: int


class Depacketiser(ABC):
    """Reads the payloads of one format. It keeps nothing between calls."""

    codec: ClassVar[str]
    """As in SDP: ``VP8`` or ``H264``."""

    @abstractmethod
    def begins(self, payload: bytes) -> bool:
        """Whether a frame certainly begins with this payload."""

    @abstractmethod
    def begins_key(self, payload: bytes) -> bool:
        """Whether a frame that needs none before it certainly begins with this payload."""

    @abstractmethod
    def join(self, payloads: Sequence[bytes]) -> tuple[bytes, bool]:
        """The frame of all its payloads in order, and whether it is a key frame. Empty payloads
        are padding and count for nothing. Raises `PayloadError`."""


def depacketisers() -> Mapping[str, Depacketiser]:
    """By name of the format."""
    from salon.transport.video_h264 import H264Depacketiser
    from salon.transport.video_vp8 import Vp8Depacketiser

    return {item.codec: item for item in (Vp8Depacketiser(), H264Depacketiser())}
