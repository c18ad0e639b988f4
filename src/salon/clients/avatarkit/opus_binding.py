"""The Opus encoder behind `OggOpusStreamEncoder`: the `opuslib` package if it is there, else
libopus as `salon.media` finds it."""

from __future__ import annotations

import ctypes
import logging
from importlib import import_module
from typing import Any, Final, Protocol

from salon.base import MissingExtraError
from salon.media.opus_library import load_opus

# Programs set this logger's level by its name (A95).
_log = logging.getLogger("avatarkit.audio_encoder")

APPLICATIONS: Final = {"audio": 2049, "voip": 2048, "restricted_lowdelay": 2051}
"""Names of A98 and the numbers the library knows them by."""
_SET_BITRATE: Final = 4002
_MAX_PACKET_BYTES: Final = 1_276 * 3
"""Three frames of 20 ms is the longest packet made here."""
NO_LIBRARY: Final = (
    "The internal Ogg Opus encoder needs libopus: install avatarkit[opus], "
    'or a system libopus and "salon[avatarkit,voice]"'
)


class FrameEncoder(Protocol):
    """One mono frame of PCM to one packet. `bitrate` in bit/s can be set."""

    bitrate: int

    def encode(self, pcm_data: bytes, frame_size: int) -> bytes:
        """`frame_size` samples, ``int16`` little-endian, to a packet."""
        ...


class LibopusEncoder:
    """libopus by ctypes. `RuntimeError` without it, or when it refuses."""

    def __init__(self, sample_rate: int, application: str) -> None:
        try:
            library: Any = load_opus()[0]
        except MissingExtraError as error:
            raise RuntimeError(NO_LIBRARY) from error
        self._library = library
        self._state = ctypes.create_string_buffer(library.opus_encoder_get_size(1))
        self._out = ctypes.create_string_buffer(_MAX_PACKET_BYTES)
        self._check(
            library.opus_encoder_init(self._state, sample_rate, 1, APPLICATIONS[application])
        )
        self._bitrate = 0

    @property
    def bitrate(self) -> int:
        """Bit/s; 0 = the library's own choice."""
        return self._bitrate

    @bitrate.setter
    def bitrate(self, value: int) -> None:
        self._check(
            self._library.opus_encoder_ctl(self._state, _SET_BITRATE, ctypes.c_int32(value))
        )
        self._bitrate = value

    def encode(self, pcm_data: bytes, frame_size: int) -> bytes:
        """`frame_size` samples, ``int16`` little-endian, to a packet."""
        if len(pcm_data) != frame_size * 2:
            raise ValueError(f"{len(pcm_data)} bytes are not {frame_size} samples")
        size = self._check(
            self._library.opus_encode(
                self._state, pcm_data, frame_size, self._out, _MAX_PACKET_BYTES
            )
        )
        return self._out.raw[:size]

    def _check(self, result: int) -> int:
        if result < 0:
            reason: bytes = self._library.opus_strerror(result)
            raise RuntimeError(f"libopus: {reason.decode('ascii', 'replace')}")
        return result


def make_frame_encoder(sample_rate: int, bitrate: int, application: str) -> FrameEncoder:
    """An encoder for mono sound. A bitrate above 0 that the library refuses is logged, and its own
    choice holds (A100). `RuntimeError` without a library."""
    encoder = _by_opuslib(sample_rate, application) or LibopusEncoder(sample_rate, application)
    if bitrate > 0:
        try:
            encoder.bitrate = bitrate
        except Exception as error:  # noqa: BLE001 - each binding has errors of its own
            _log.warning("Failed to set Opus encoder bitrate %d: %s", bitrate, error)
    return encoder


def _by_opuslib(sample_rate: int, application: str) -> FrameEncoder | None:
    """None without the package, or when it finds no library."""
    try:
        module: Any = import_module("opuslib")
    except Exception:  # noqa: BLE001 - it raises a bare Exception when it finds no libopus
        return None
    encoder: FrameEncoder = module.Encoder(sample_rate, 1, application)
    return encoder
