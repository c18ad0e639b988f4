"""Ogg Opus files (RFC 7845): write speech, mono or stereo, piece by piece.

A page goes out per second, complete with its checksum: after a crash the file plays up to there.
Stereo is two uncoupled mono streams (channel mapping family 1), because the two sides of a call
have nothing in common that would be worth coding once.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import numpy as np

from salon.media.errors import MediaError
from salon.media.frame import SAMPLE_RATE, Samples
from salon.media.opus import RATES, OpusEncoder

GRANULE_RATE: Final = 48_000
"""Positions in the file count samples of this rate, whatever went in."""
PRE_SKIP: Final = 312
"""Samples at 48 kHz that the encoder is late (6.5 ms); players leave them out."""
_PACKET_GRANULE: Final = GRANULE_RATE // 50
_PACKETS_PER_PAGE: Final = 50
_MAX_SEGMENTS: Final = 255
_BEGIN, _END = 2, 4

_MIRRORED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def ogg_crc(page: bytes) -> int:
    """The checksum of a page whose checksum field is zero (RFC 3533, section 6).

    It is zlib's, read in a mirror and without the inversions.
    """
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRRORED), "big")


def _self_delimited(packet: bytes) -> bytes:
    """A packet of one frame with its length inside (RFC 6716, appendix B)."""
    if packet[0] & 3:
        raise MediaError("an Opus packet of several frames can't go into a stereo file")
    size = len(packet) - 1
    if size < 252:
        return packet[:1] + bytes((size,)) + packet[1:]
    low = 252 + (size & 3)
    return packet[:1] + bytes((low, (size - low) >> 2)) + packet[1:]


class OggOpusWriter:
    """Writes one Ogg Opus file; an existing one is replaced.

    `sample_rate` is one of Opus's (8, 12, 16, 24, 48 kHz), `channels` 1 or 2, `bitrate` in bit/s
    per channel. `serial` names the stream inside the file. The calls block on the file system and
    take some tens of microseconds per 20 ms and channel. `ValueError` for a setting out of range,
    `MissingExtraError` without libopus, `OSError` from the file system.
    """

    def __init__(
        self,
        path: str | Path,
        sample_rate: int = SAMPLE_RATE,
        channels: int = 1,
        *,
        bitrate: int = 24_000,
        complexity: int = 5,
        serial: int = 1,
    ) -> None:
        if channels not in (1, 2):
            raise ValueError(f"an Ogg Opus file has 1 or 2 channels here, not {channels}")
        if sample_rate not in RATES:
            raise ValueError(f"Opus runs at {RATES} Hz, not {sample_rate}")
        self.path = Path(path)
        self.sample_rate = sample_rate
        self.channels = channels
        self.frames = 0
        """Samples per channel written so far."""
        self._encoders = [
            OpusEncoder(sample_rate=sample_rate, bitrate=bitrate, complexity=complexity, fec=False)
            for _ in range(channels)
        ]
        self._frame = sample_rate // 50
        self._rest: Samples = np.zeros((0, channels), dtype=np.int16)
        self._packets: list[bytes] = []
        self._segments = 0
        self._coded = 0
        self._serial = serial & 0xFFFFFFFF
        self._sequence = 0
        self._file: BinaryIO = self.path.open("wb")
        self._page([self._head()], 0, _BEGIN)
        self._page([b"OpusTags" + struct.pack("<I5sI", 5, b"salon", 0)], 0)
        self._file.flush()

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._file.closed

    def write(self, samples: Samples) -> None:
        """Add interleaved ``int16[n * channels]`` or ``int16[n, channels]``."""
        if samples.size % self.channels:
            raise ValueError(f"{samples.size} samples do not fill {self.channels} channels")
        added = samples.reshape(-1, self.channels)
        self.frames += len(added)
        held = np.concatenate([self._rest, added]) if len(self._rest) else added
        whole = len(held) // self._frame * self._frame
        for at in range(0, whole, self._frame):
            self._code(held[at : at + self._frame])
        self._rest = held[whole:].copy()

    def close(self) -> None:
        """Write what is left and the mark of the end; calling it again does nothing."""
        if self._file.closed:
            return
        try:
            size, late = self.frames, PRE_SKIP * self.sample_rate // GRANULE_RATE
            missing = -(-(size + late) // self._frame) - self._coded
            tail = np.zeros((missing * self._frame, self.channels), dtype=np.int16)
            tail[: len(self._rest)] = self._rest
            for at in range(0, len(tail), self._frame):
                self._code(tail[at : at + self._frame])
            end = PRE_SKIP + size * (GRANULE_RATE // self.sample_rate)
            self._flush(end, _END)
        finally:
            self._file.close()
            for encoder in self._encoders:
                encoder.close()

    def _head(self) -> bytes:
        head = b"OpusHead" + struct.pack(
            "<BBHIhB", 1, self.channels, PRE_SKIP, self.sample_rate, 0, self.channels - 1
        )
        # Family 1: two streams, none of them coupled, the first left, the second right.
        return head if self.channels == 1 else head + bytes((2, 0, 0, 1))

    def _code(self, frame: Samples) -> None:
        packets = [
            encoder.encode(np.ascontiguousarray(frame[:, channel]))
            for channel, encoder in enumerate(self._encoders)
        ]
        packet = b"".join([*map(_self_delimited, packets[:-1]), packets[-1]])
        segments = len(packet) // 255 + 1
        # What is held is written only when more comes, so that the last page is never empty.
        full = len(self._packets) >= _PACKETS_PER_PAGE
        if full or self._segments + segments > _MAX_SEGMENTS:
            self._flush(self._coded * _PACKET_GRANULE)
        self._packets.append(packet)
        self._segments += segments
        self._coded += 1

    def _flush(self, granule: int, flags: int = 0) -> None:
        self._page(self._packets, granule, flags)
        self._packets, self._segments = [], 0
        self._file.flush()

    def _page(self, packets: list[bytes], granule: int, flags: int = 0) -> None:
        lacing = b"".join(b"\xff" * (len(p) // 255) + bytes((len(p) % 255,)) for p in packets)
        head = struct.pack(
            "<4sBBqIIIB", b"OggS", 0, flags, granule, self._serial, self._sequence, 0, len(lacing)
        )
        page = head + lacing + b"".join(packets)
        self._file.write(page[:22] + struct.pack("<I", ogg_crc(page)) + page[26:])
        self._sequence += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
