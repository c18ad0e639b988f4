"""The echo canceller of Speex: small, linear, for devices with little echo."""

from __future__ import annotations

import ctypes
from typing import Final

import numpy as np

from salon.media.frame import Samples
from salon.voice.pipeline.aec.block import BlockAECProvider, EchoCanceller
from salon.voice.pipeline.aec.speex_library import SET_SAMPLING_RATE, load_speexdsp

MAX_FILTER_MS: Final = 1_000


class _SpeexCanceller:
    """One ``SpeexEchoState``."""

    __slots__ = ("_library", "_state")

    def __init__(self, library: ctypes.PyDLL, block: int, taps: int, rate: int) -> None:
        self._library = library
        self._state = library.speex_echo_state_init(block, taps)
        if not self._state:
            raise MemoryError("speex_echo_state_init gave no state")
        value = ctypes.c_int(rate)
        library.speex_echo_ctl(self._state, SET_SAMPLING_RATE, ctypes.byref(value))

    def cancel(self, captured: Samples, reference: Samples) -> Samples:
        near = np.ascontiguousarray(captured)
        far = np.ascontiguousarray(reference)
        out = np.empty(len(near), dtype=np.int16)
        self._library.speex_echo_cancellation(
            self._state, near.ctypes.data, far.ctypes.data, out.ctypes.data
        )
        return out

    def close(self) -> None:
        self._library.speex_echo_state_destroy(self._state)


class SpeexAECProvider(BlockAECProvider):
    """Speex's adaptive filter over the system's libspeexdsp (Debian package ``libspeexdsp1``).

    `frame_size` samples are worked on at a time, echo up to `filter_length` samples after its
    reference is found: 20 ms and 200 ms by default. Linear only: what a loudspeaker distorts
    stays. Mono. `ConfigurationError` without the library, `ValueError` for senseless sizes.
    """

    def __init__(
        self, frame_size: int = 320, filter_length: int = 3200, sample_rate: int = 16_000
    ) -> None:
        if not 8_000 <= sample_rate <= 48_000:
            raise ValueError(f"sample_rate is {sample_rate}, not 8000 to 48000")
        if not 1 <= frame_size <= sample_rate // 10:
            raise ValueError(f"frame_size is {frame_size}, not 1 to {sample_rate // 10} (100 ms)")
        longest = sample_rate * MAX_FILTER_MS // 1000
        if not frame_size <= filter_length <= longest:
            raise ValueError(f"filter_length is {filter_length}, not {frame_size} to {longest}")
        super().__init__(sample_rate, 1, frame_size)
        self._taps = filter_length
        self._library = load_speexdsp()

    @property
    def name(self) -> str:
        return "speex_aec"

    def _new_canceller(self) -> EchoCanceller:
        rate = self.required_format.sample_rate
        return _SpeexCanceller(self._library, self._block, self._taps, rate)
