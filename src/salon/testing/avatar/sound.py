"""A request's sound: bytes as they arrive to samples, PCM or Ogg Opus."""

from __future__ import annotations

import struct
from typing import Final, Protocol

import numpy as np

from salon.media.errors import MediaError
from salon.media.frame import Samples
from salon.media.ogg_opus import GRANULE_RATE
from salon.media.opus import OpusDecoder
from salon.testing.avatar.ogg_reader import END, NO_POSITION, OggPage, OggReader

MAX_LATE_MS: Final = 120
"""How far an encoder may be behind its own count at the end: one packet of the longest kind."""

_OPUS_HEAD: Final = struct.Struct("<8sBBHIhB")
_SILENT: Final[Samples] = np.zeros(0, dtype=np.int16)


class SoundError(MediaError):
    """The sound of a request cannot be read."""

    code = "avatar_sound"


class Sound(Protocol):
    """Bytes to ``int16[n]``, mono, at the session's rate."""

    def feed(self, data: bytes) -> Samples:
        """The samples that are known with `data`. `MediaError` if it cannot be read."""

    def finish(self) -> Samples:
        """What was held back until the request's end."""


class PcmSound:
    """Signed 16-bit little-endian (A41): an odd byte waits for its other half."""

    def __init__(self) -> None:
        self._odd = b""

    def feed(self, data: bytes) -> Samples:
        """``int16[n]``."""
        joined = self._odd + data
        whole = len(joined) & ~1
        self._odd = joined[whole:]
        return np.frombuffer(joined[:whole], dtype="<i2").astype(np.int16, copy=False)

    def finish(self) -> Samples:
        """Nothing: half a sample is none."""
        self._odd = b""
        return _SILENT


class OpusSound:
    """One Ogg Opus stream (RFC 7845), page by page, at one of Opus's rates (A96, A97).

    The pre-skip is left out, and the page that ends the stream says how long it is: what is too
    much is cut off, and what the encoder still held (less than a packet) is concealed, so that the
    sound is as long as what went into the encoder. A stream may end without that page.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._reader = OggReader()
        self._decoder = OpusDecoder(sample_rate)
        self._headers = 0
        self._pre_skip = 0
        self._skip = 0
        self._gain = 1.0
        self._given = 0
        self._ended = False

    def feed(self, data: bytes) -> Samples:
        """``int16[n]``; `MediaError` for a damaged stream."""
        pieces = [piece for page in self._reader.feed(data) for piece in self._page(page)]
        return np.concatenate(pieces) if pieces else _SILENT

    def finish(self) -> Samples:
        """Nothing is held back but a page that never became complete."""
        self._decoder.close()
        return _SILENT

    def _page(self, page: OggPage) -> list[Samples]:
        if self._ended:
            raise SoundError("a request is one stream: there is sound after its end")
        pieces = [self._packet(packet) for packet in page.packets]
        self._ended = bool(page.flags & END)
        if self._ended and page.granule != NO_POSITION and self._headers == 2:
            sound = np.concatenate(pieces) if pieces else _SILENT
            pieces = [self._trimmed(sound, page.granule)]
        self._given += sum(map(len, pieces))
        return pieces

    def _trimmed(self, sound: Samples, granule: int) -> Samples:
        """The last page's sound, as long as its position says."""
        length = max(0, granule - self._pre_skip) * self._rate // GRANULE_RATE
        wanted = max(0, length - self._given)
        missing = wanted - len(sound)
        if missing <= 0:
            return sound[:wanted]
        if missing > self._rate * MAX_LATE_MS // 1000:
            return sound
        unit = self._decoder.unit
        late = self._decoder.conceal(-(-missing // unit) * unit)
        return np.concatenate([sound, late[:missing]])

    def _packet(self, packet: bytes) -> Samples:
        if self._headers == 0:
            self._head(packet)
            return _SILENT
        if self._headers == 1:
            if not packet.startswith(b"OpusTags"):
                raise SoundError("the second packet of an Opus stream is OpusTags")
            self._headers = 2
            return _SILENT
        if not packet:  # one lacing value too many (A101)
            return _SILENT
        samples = self._decoder.decode(packet)
        late = min(self._skip, len(samples))
        self._skip -= late
        samples = samples[late:]
        if self._gain != 1.0:
            louder = np.rint(samples.astype(np.float32) * self._gain)
            samples = np.clip(louder, -32768, 32767).astype(np.int16)
        return samples

    def _head(self, packet: bytes) -> None:
        if len(packet) < _OPUS_HEAD.size or not packet.startswith(b"OpusHead"):
            raise SoundError("the first packet of an Opus stream is OpusHead")
        _, version, channels, pre_skip, _, gain, family = _OPUS_HEAD.unpack_from(packet)
        if version & 0xF0 or channels != 1 or family:
            raise SoundError(
                f"Opus must be mono of version 1 and mapping 0, not {channels} channels, "
                f"version {version}, mapping {family}"
            )
        self._pre_skip = pre_skip
        self._skip = pre_skip * self._rate // GRANULE_RATE
        self._gain = 10.0 ** (gain / 5120.0)
        self._headers = 1
