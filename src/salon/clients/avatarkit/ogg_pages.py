"""Pages of a mono Ogg Opus stream, one packet each (A99, A101; RFC 3533, RFC 7845)."""

from __future__ import annotations

import struct
from typing import Final

from salon.media.ogg_opus import PRE_SKIP, ogg_crc

BEGIN: Final = 0x02
END: Final = 0x04
VENDOR: Final = b"avatarkit"
_NO_CHECKSUM: Final = 22


def opus_head(sample_rate: int) -> bytes:
    """Identification header: version 1, mono, no gain, mapping family 0."""
    return b"OpusHead" + struct.pack("<BBHIhB", 1, 1, PRE_SKIP, sample_rate, 0, 0)


def opus_tags() -> bytes:
    """Comment header: a vendor, no comments."""
    return b"OpusTags" + struct.pack("<I", len(VENDOR)) + VENDOR + struct.pack("<I", 0)


class OggPageWriter:
    """Numbers and seals the pages of one stream. `serial` is 32 bits."""

    def __init__(self, serial: int) -> None:
        self._serial = serial & 0xFFFFFFFF
        self._number = 0

    def page(self, packet: bytes, granule: int, flags: int = 0) -> bytes:
        """A page that holds this one packet of up to 65,024 bytes."""
        lacing = b"\xff" * (len(packet) // 255) + bytes((len(packet) % 255,))
        head = struct.pack(
            "<4sBBqIIIB", b"OggS", 0, flags, granule, self._serial, self._number, 0, len(lacing)
        )
        self._number += 1
        page = head + lacing + packet
        checksum = struct.pack("<I", ogg_crc(page))
        return page[:_NO_CHECKSUM] + checksum + page[_NO_CHECKSUM + 4 :]
