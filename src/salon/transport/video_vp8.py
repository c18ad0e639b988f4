"""VP8 in RTP (RFC 7741), without I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from salon.transport.video_payload import Depacketiser, PayloadError

_EXTENDED = 0x80
_START = 0x10
_PARTITION = 0x07
_PICTURE_ID, _TL0_INDEX, _LAYER, _KEY_INDEX = 0x80, 0x40, 0x20, 0x10
_LONG = 0x80
_INTER_FRAME = 0x01


def descriptor_bytes(payload: bytes) -> int:
    """Length of the payload descriptor (4.2). Raises `PayloadError` if it is cut off or nothing
    comes after it."""
    size = len(payload)
    length = 1
    if size > 1 and payload[0] & _EXTENDED:
        extension = payload[1]
        length = 2
        if extension & _PICTURE_ID:
            length += 2 if size > 2 and payload[2] & _LONG else 1
        length += 1 if extension & _TL0_INDEX else 0
        length += 1 if extension & (_LAYER | _KEY_INDEX) else 0
    if size <= length:
        raise PayloadError(f"a VP8 payload of {size} bytes with a descriptor of {length}")
    return length


class Vp8Depacketiser(Depacketiser):
    """A frame begins with the first packet of partition 0; all other packets go on with it."""

    codec: ClassVar[str] = "VP8"

    def begins(self, payload: bytes) -> bool:
        return bool(payload) and bool(payload[0] & _START) and not payload[0] & _PARTITION

    def begins_key(self, payload: bytes) -> bool:
        if not self.begins(payload):
            return False
        try:
            return not payload[descriptor_bytes(payload)] & _INTER_FRAME
        except PayloadError:
            return False

    def join(self, payloads: Sequence[bytes]) -> tuple[bytes, bool]:
        parts = [payload for payload in payloads if payload]
        if not parts:
            raise PayloadError("a VP8 frame without payload")
        if not self.begins(parts[0]):
            raise PayloadError("a VP8 frame without its beginning")
        for part in parts[1:]:
            if self.begins(part):
                raise PayloadError("a VP8 frame within another one")
        data = b"".join([part[descriptor_bytes(part) :] for part in parts])
        return data, not data[0] & _INTER_FRAME
