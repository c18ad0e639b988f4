"""The codecs of a call's binary frames: `pcm`, `pcmu`, `pcma`, `g722` (G40-G46)."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final

import numpy as np

from salon.media.frame import SAMPLE_RATE, Samples
from salon.media.g711 import decode_alaw, decode_ulaw, encode_alaw, encode_ulaw
from salon.media.g722 import G722Decoder, G722Encoder
from salon.media.resample import Resampler

TELEPHONE_RATE: Final = 8_000
"""Hz of G.711."""

Payload = bytes | bytearray | memoryview
_WIRE: Final = np.dtype("<i2")
_SAME_ORDER: Final = sys.byteorder == "little"


class AudioCodec(ABC):
    """Both directions of one call's audio; the state belongs to that call.

    Neither direction holds frames back: what goes in comes out at once, except the constant delay
    of the resampler (2.75 ms) where the wire runs at 8 kHz, or of G.722's filters (1.4 ms).
    """

    name: ClassVar[str]

    @abstractmethod
    def decode(self, payload: Payload) -> Samples:
        """One packet of any size, also empty, to ``int16[n]`` at 16 kHz; may be read-only."""

    @abstractmethod
    def encode(self, frame: Samples) -> bytes:
        """``int16[320]``, 20 ms at 16 kHz, to the payload of one packet (G46).

        Other lengths are coded too; even ones keep the timing exact.
        """


class PcmCodec(AudioCodec):
    """Signed 16-bit little-endian mono; 16 kHz in, `out_rate` (16 or 8 kHz) out (G42, G46).

    A packet should hold whole samples. The last byte of an odd packet is kept: if the next packet
    is odd too, a byte stream was cut in mid-sample and the two halves are joined; if the next is
    even, the byte was a stray and is dropped. So a stray byte never shifts what follows, and
    `stray_bytes` counts it.
    """

    name = "pcm"

    def __init__(self, out_rate: int = SAMPLE_RATE) -> None:
        if out_rate not in (TELEPHONE_RATE, SAMPLE_RATE):
            raise ValueError(f"pcm goes out at 8000 or 16000 Hz, not {out_rate}")
        self._down = Resampler(SAMPLE_RATE, out_rate)
        self._as_it_is = out_rate == SAMPLE_RATE and _SAME_ORDER
        self._half = b""
        self.stray_bytes = 0

    def decode(self, payload: Payload) -> Samples:
        """A read-only view of `payload` where that is possible."""
        if self._half or len(payload) % 2:
            payload = self._align(payload)
        return np.frombuffer(payload, _WIRE)

    def _align(self, payload: Payload) -> Payload:
        half, self._half = self._half, b""
        if not payload:
            self._half = half
            return payload
        odd = len(payload) % 2
        if half and odd:
            return half + bytes(payload)
        self.stray_bytes += len(half)
        if not odd:
            return payload
        self._half = bytes(payload[-1:])
        return memoryview(payload)[:-1]

    def encode(self, frame: Samples) -> bytes:
        """640 bytes at 16 kHz, 320 at 8 kHz."""
        if self._as_it_is:
            return frame.tobytes()
        return self._down.process(frame).astype("<i2", copy=False).tobytes()


class _G711Codec(AudioCodec):
    def __init__(
        self, encode: Callable[[Samples], bytes], decode: Callable[[Payload], Samples]
    ) -> None:
        self._encode = encode
        self._decode = decode
        self._up = Resampler(TELEPHONE_RATE, SAMPLE_RATE)
        self._down = Resampler(SAMPLE_RATE, TELEPHONE_RATE)

    def decode(self, payload: Payload) -> Samples:
        """One byte gives two samples."""
        return self._up.process(self._decode(payload))

    def encode(self, frame: Samples) -> bytes:
        """160 bytes for 20 ms."""
        return self._encode(self._down.process(frame))


class PcmuCodec(_G711Codec):
    """G.711 mu-law at 8 kHz."""

    name = "pcmu"

    def __init__(self) -> None:
        super().__init__(encode_ulaw, decode_ulaw)


class PcmaCodec(_G711Codec):
    """G.711 A-law at 8 kHz."""

    name = "pcma"

    def __init__(self) -> None:
        super().__init__(encode_alaw, decode_alaw)


class G722Codec(AudioCodec):
    """G.722 at 64 kbit/s. `MissingExtraError` without its library."""

    name = "g722"

    def __init__(self) -> None:
        self._encoder = G722Encoder()
        self._decoder = G722Decoder()

    def decode(self, payload: Payload) -> Samples:
        """One byte gives two samples."""
        return self._decoder.decode(payload)

    def encode(self, frame: Samples) -> bytes:
        """160 bytes for 20 ms; a piece that is no whole 20 ms waits for its rest."""
        return self._encoder.encode(frame)


_CODECS: Final[dict[str, Callable[[], AudioCodec]]] = {
    codec.name: codec for codec in (PcmuCodec, PcmaCodec, G722Codec)
}
CODEC_NAMES: Final = (PcmCodec.name, *_CODECS)
"""Names that `make_codec` knows."""


def make_codec(name: str | None = None, *, pcm_out_rate: int = SAMPLE_RATE) -> AudioCodec:
    """A new codec for one call. Upper and lower case are the same; an unknown name, an empty one
    and None mean `pcm` (G41).

    `pcm_out_rate` 8000 sends `pcm` at 8 kHz (320 bytes a frame) for strict equality with older
    servers (G46). `MissingExtraError` for `g722` without the "codecs" extra.
    """
    make = _CODECS.get((name or "").strip().lower())
    return make() if make else PcmCodec(pcm_out_rate)
