"""Opus (RFC 6716): encoder and decoder of one voice stream, by the native library.

The native state lies in memory that belongs to the Python object, as the library allows: it goes
when the object goes, or at `close`, and can neither leak nor be freed twice.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

import numpy as np

from salon.media.errors import MediaError
from salon.media.frame import SAMPLE_RATE, Samples
from salon.media.opus_library import load_opus, opus_library

__all__ = ["OpusDecoder", "OpusEncoder", "OpusError", "opus_library"]

RATES: Final = (8_000, 12_000, 16_000, 24_000, 48_000)
"""Hz that the library codes and decodes at."""
MAX_PACKET_MS: Final = 120
MIN_BITRATE: Final = 6_000
MAX_BITRATE: Final = 510_000
DEFAULT_COMPLEXITY: Final = 1

_MAX_PACKET_BYTES: Final = 1_276
_MAX_FRAMES: Final = 48
_DTX_BYTES: Final = 2
"""A packet up to this size says only that nothing is to be said."""

_VOIP: Final = 2048
_SIGNAL_VOICE: Final = 3001
_SET_BITRATE: Final = 4002
_SET_COMPLEXITY: Final = 4010
_SET_INBAND_FEC: Final = 4012
_SET_PACKET_LOSS: Final = 4014
_SET_DTX: Final = 4016
_SET_SIGNAL: Final = 4024
_RESET_STATE: Final = 4028


def _frame_units(toc: int) -> int:
    """Length of each frame in units of 2.5 ms (RFC 6716 section 3.1, table 2)."""
    config = toc >> 3
    if config < 12:
        return (4, 8, 16, 24)[config & 3]
    if config < 16:
        return (4, 8)[config & 1]
    return (1, 2, 4, 8)[config & 3]


_FRAME_UNITS: Final = tuple(_frame_units(toc) for toc in range(256))
_CELT_ONLY: Final = 0x80
_STEREO: Final = 0x04
_COUNT_BITS: Final = 0x03


class OpusError(MediaError):
    """The Opus library refused a packet or a setting."""

    code = "opus"


def _check(result: int, doing: str) -> int:
    if result < 0:
        reason: bytes = load_opus()[0].opus_strerror(result)
        raise OpusError(f"{doing}: {reason.decode('ascii', 'replace')}")
    return result


def _check_rate(sample_rate: int) -> None:
    if sample_rate not in RATES:
        raise ValueError(f"Opus runs at {RATES} Hz, not {sample_rate}")


class OpusEncoder:
    """Streaming encoder for mono speech, one 20 ms frame to one packet.

    `bitrate` in bit/s (6000 to 510000) is a mean; `complexity` 0 to 10 trades CPU for quality.
    While `expected_loss` in percent is above 0, `fec` adds a coarse copy of the frame before to
    packets that matter. Its bits are taken from `bitrate`: at 24000 with more than 5 percent the
    library gives up wideband for it, from 36000 on it doesn't. Complexity 0 never has it.
    With `dtx`, silence gives empty packets save one about every 400 ms.
    `ValueError` for a setting out of range, `MissingExtraError` without the library.
    """

    __slots__ = (
        "__weakref__",
        "_control",
        "_encode",
        "_in",
        "_in_at",
        "_out",
        "_out_at",
        "_skip",
        "_state",
    )

    def __init__(
        self,
        *,
        sample_rate: int = SAMPLE_RATE,
        bitrate: int = 24_000,
        complexity: int = DEFAULT_COMPLEXITY,
        fec: bool = True,
        expected_loss: int = 0,
        dtx: bool = False,
    ) -> None:
        _check_rate(sample_rate)
        for name, value, low, high in (
            ("bitrate", bitrate, MIN_BITRATE, MAX_BITRATE),
            ("complexity", complexity, 0, 10),
            ("expected_loss", expected_loss, 0, 100),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} must be within {low} to {high}, not {value}")
        library, _ = load_opus()
        size = library.opus_encoder_get_size(1)
        self._state: ctypes.Array[ctypes.c_char] | None = ctypes.create_string_buffer(size)
        _check(library.opus_encoder_init(self._state, sample_rate, 1, _VOIP), "Opus encoder")
        self._encode: Any = library.opus_encode
        self._control: Any = library.opus_encoder_ctl
        self._in: Samples = np.zeros(sample_rate // 50, dtype=np.int16)
        self._in_at: int = self._in.ctypes.data
        self._out = ctypes.create_string_buffer(_MAX_PACKET_BYTES)
        self._out_at: int = ctypes.addressof(self._out)
        # Without DTX every packet is sent, however short.
        self._skip = _DTX_BYTES if dtx else 0
        for request, value in (
            (_SET_BITRATE, bitrate),
            (_SET_COMPLEXITY, complexity),
            (_SET_SIGNAL, _SIGNAL_VOICE),
            (_SET_INBAND_FEC, int(fec)),
            (_SET_PACKET_LOSS, expected_loss),
            (_SET_DTX, int(dtx)),
        ):
            self._set(request, value)

    def encode(self, frame: Samples) -> bytes:
        """``int16[n]``, 20 ms at the encoder's rate, to one packet; ``b""`` if none need be sent.

        `ValueError` for another length or after `close`.
        """
        if len(frame) != len(self._in):
            raise ValueError(f"Opus frames have {len(self._in)} samples, not {len(frame)}")
        state = self._open_state()
        self._in[:] = frame
        size = self._encode(state, self._in_at, len(self._in), self._out_at, _MAX_PACKET_BYTES)
        if size <= self._skip:
            _check(size, "Opus encoding")
            return b""
        return ctypes.string_at(self._out_at, size)

    def set_expected_loss(self, percent: int) -> None:
        """What the receiver reports, 0 to 100; more loss, more redundancy."""
        self._set(_SET_PACKET_LOSS, min(max(percent, 0), 100))

    def set_bitrate(self, bitrate: int) -> None:
        """Bit/s from the next frame on, kept within 6000 to 510000."""
        self._set(_SET_BITRATE, min(max(bitrate, MIN_BITRATE), MAX_BITRATE))

    def reset(self) -> None:
        """Start anew, with the same settings."""
        _check(self._control(self._open_state(), _RESET_STATE), "Opus reset")

    def close(self) -> None:
        """Free the native state now; may be called again."""
        self._state = None

    def _set(self, request: int, value: int) -> None:
        result = self._control(self._open_state(), request, ctypes.c_int32(value))
        _check(result, f"Opus setting {request}={value}")

    def _open_state(self) -> ctypes.Array[ctypes.c_char]:
        if self._state is None:
            raise ValueError("this Opus encoder is closed")
        return self._state


class OpusDecoder:
    """Streaming decoder to mono at `sample_rate`, for any legal packet: 2.5 to 120 ms, mono or
    stereo, every bandwidth.

    `ValueError` for a rate that Opus hasn't, `MissingExtraError` without the library.
    """

    __slots__ = (
        "__weakref__",
        "_control",
        "_decode",
        "_frames",
        "_frames_at",
        "_mode",
        "_out",
        "_out_at",
        "_parse",
        "_sizes",
        "_sizes_at",
        "_state",
        "unit",
    )

    def __init__(self, sample_rate: int = SAMPLE_RATE) -> None:
        _check_rate(sample_rate)
        library, _ = load_opus()
        size = library.opus_decoder_get_size(1)
        self._state: ctypes.Array[ctypes.c_char] | None = ctypes.create_string_buffer(size)
        _check(library.opus_decoder_init(self._state, sample_rate, 1), "Opus decoder")
        self._decode: Any = library.opus_decode
        self._control: Any = library.opus_decoder_ctl
        self._parse: Any = library.opus_packet_parse
        self.unit: Final = sample_rate // 400
        """Samples in 2.5 ms, the step of every length."""
        self._out: Samples = np.zeros(sample_rate * MAX_PACKET_MS // 1000, dtype=np.int16)
        self._out_at: int = self._out.ctypes.data
        self._frames = (ctypes.c_void_p * _MAX_FRAMES)()
        self._frames_at: int = ctypes.addressof(self._frames)
        self._sizes = (ctypes.c_int16 * _MAX_FRAMES)()
        self._sizes_at: int = ctypes.addressof(self._sizes)
        self._mode = 0

    def decode(self, packet: bytes) -> Samples:
        """One packet to ``int16[n]``. `OpusError` if it is damaged: then nothing has happened."""
        state = self._open_state()
        if not packet:
            raise OpusError("Opus packet is empty")
        got = self._decode(state, packet, len(packet), self._out_at, len(self._out), 0)
        _check(got, f"Opus packet of {len(packet)} bytes")
        self._mode = packet[0] & _CELT_ONLY
        return self._out[:got].copy()

    def conceal(self, samples: int) -> Samples:
        """Sound in place of a lost packet; `samples` is a multiple of 2.5 ms, else `ValueError`."""
        state = self._open_state()
        if samples % self.unit:
            raise ValueError(f"Opus conceals multiples of {self.unit} samples, not {samples}")
        out = np.empty(max(samples, 0), dtype=np.int16)
        done = 0
        while done < samples:
            size = min(samples - done, len(self._out))
            got = _check(self._decode(state, None, 0, self._out_at, size, 0), "Opus concealment")
            out[done : done + got] = self._out[:got]
            done += got
        return out

    def recover(self, following: bytes, samples: int) -> Samples | None:
        """The last `samples` before `following`, from the copy it carries (RFC 6716 section 2.1.7).

        None if it carries none, or one of more sound than that. If `samples` is longer than the
        copy, its beginning is concealment. `ValueError` if it is no multiple of 2.5 ms or above
        120 ms. `following` itself must be decoded afterwards.
        """
        state = self._open_state()
        if samples % self.unit or not 0 < samples <= len(self._out):
            raise ValueError(f"can't recover {samples} samples")
        if self._mode or not self.has_redundancy(following):
            return None
        if _FRAME_UNITS[following[0]] * self.unit > samples:
            return None
        got = self._decode(state, following, len(following), self._out_at, samples, 1)
        _check(got, "Opus recovery")
        return self._out[:got].copy()

    def has_redundancy(self, packet: bytes) -> bool:
        """Whether it carries a copy of the frame before (LBRR, RFC 6716 section 4.2.3)."""
        if not packet or packet[0] & _CELT_ONLY or self._count(packet) < 1 or not self._sizes[0]:
            return False
        # The first frame opens with one bit for each of its 20 ms (voice activity), then the
        # redundancy bit; for stereo the same again.
        first = ctypes.string_at(self._frames[0] or 0, 1)[0]
        stretches = max(1, _FRAME_UNITS[packet[0]] // 8)
        marks = 0x80 >> stretches
        if packet[0] & _STEREO:
            marks |= 0x80 >> (2 * stretches + 1)
        return bool(first & marks)

    def duration(self, packet: bytes) -> int:
        """Samples that `packet` decodes to; 0 if it is damaged."""
        if not packet:
            return 0
        if not packet[0] & _COUNT_BITS and len(packet) <= _MAX_PACKET_BYTES:
            return _FRAME_UNITS[packet[0]] * self.unit  # one frame, as nearly always
        return max(0, self._count(packet)) * _FRAME_UNITS[packet[0]] * self.unit

    def reset(self) -> None:
        """Forget the past."""
        _check(self._control(self._open_state(), _RESET_STATE), "Opus reset")
        self._mode = 0

    def close(self) -> None:
        """Free the native state now; may be called again."""
        self._state = None

    def _count(self, packet: bytes) -> int:
        """Frames in it, negative if it is damaged; leaves where and how long they are."""
        count: int = self._parse(packet, len(packet), None, self._frames_at, self._sizes_at, None)
        return count

    def _open_state(self) -> ctypes.Array[ctypes.c_char]:
        if self._state is None:
            raise ValueError("this Opus decoder is closed")
        return self._state
