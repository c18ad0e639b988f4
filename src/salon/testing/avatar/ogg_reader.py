"""Ogg pages (RFC 3533) out of bytes that were cut anywhere."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from salon.media.errors import MediaError
from salon.media.ogg_opus import ogg_crc

CONTINUED: Final = 1
BEGIN: Final = 2
END: Final = 4
NO_POSITION: Final = -1
"""Granule position of a page on which no packet ends."""
MAX_PACKET_BYTES: Final = 1 << 20

_HEAD: Final = struct.Struct("<4sBBqIIIB")
_HEAD_BYTES: Final = 27


class OggError(MediaError):
    """What was sent is no Ogg stream, or a damaged one."""

    code = "ogg"


@dataclass(frozen=True, slots=True)
class OggPage:
    """One page. `packets` are those that end on it; `granule` is in samples of 48 kHz."""

    flags: int
    granule: int
    serial: int
    sequence: int
    packets: tuple[bytes, ...]


class OggReader:
    """Takes bytes as they come and gives whole pages. Holds at most one page and one packet."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._part = bytearray()
        self._serial: int | None = None

    def feed(self, data: bytes) -> list[OggPage]:
        """The pages that `data` completes. `OggError` for damage; the reader is then useless."""
        self._held += data
        pages = []
        while (page := self._next()) is not None:
            pages.append(page)
        return pages

    @property
    def held(self) -> int:
        """Bytes of a page that is not complete."""
        return len(self._held)

    def _next(self) -> OggPage | None:
        held = self._held
        if held[:4] != b"OggS"[: len(held)]:
            raise OggError(f"an Ogg page begins with OggS, not with {bytes(held[:4])!r}")
        if len(held) < _HEAD_BYTES:
            return None
        _, version, flags, granule, serial, sequence, crc, count = _HEAD.unpack_from(held)
        if version:
            raise OggError(f"version {version} of Ogg is not known")
        begin = _HEAD_BYTES + count
        if len(held) < begin:
            return None
        lacing = bytes(held[_HEAD_BYTES:begin])
        size = begin + sum(lacing)
        if len(held) < size:
            return None
        page = bytes(held[:size])
        del held[:size]
        if ogg_crc(page[:22] + bytes(4) + page[26:]) != crc:
            raise OggError(f"page {sequence} has a wrong checksum")
        if self._serial is None:
            self._serial = serial
        elif serial != self._serial:
            raise OggError("a request is one stream: the serial number changed")
        return OggPage(flags, granule, serial, sequence, self._packets(page, begin, lacing))

    def _packets(self, page: bytes, at: int, lacing: bytes) -> tuple[bytes, ...]:
        packets = []
        for size in lacing:
            self._part += page[at : at + size]
            at += size
            if len(self._part) > MAX_PACKET_BYTES:
                raise OggError(f"a packet has more than {MAX_PACKET_BYTES} bytes")
            if size < 255:
                packets.append(bytes(self._part))
                self._part.clear()
        return tuple(packets)
