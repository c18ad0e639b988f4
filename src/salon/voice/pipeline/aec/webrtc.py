"""The echo canceller of WebRTC (AEC3), from the wheel of the extra "echo"."""

from __future__ import annotations

import importlib
from typing import Any, Final

import numpy as np

from salon.base import MissingExtraError
from salon.media.frame import Samples
from salon.voice.pipeline.aec.block import BlockAECProvider, EchoCanceller

RATES: Final = (8_000, 16_000, 32_000, 48_000)
MAX_DELAY_MS: Final = 500


class _WebRTCCanceller:
    """One ``AudioProcessingModule``."""

    __slots__ = ("_channels", "_delay_ms", "_module", "_owner", "_rate", "_rtc")

    def __init__(self, owner: WebRTCAECProvider, rtc: Any, module: Any) -> None:
        self._owner = owner
        self._rtc = rtc
        self._module = module
        self._rate = owner.required_format.sample_rate
        self._channels = owner.required_format.channels
        self._delay_ms: int | None = None

    def cancel(self, captured: Samples, reference: Samples) -> Samples:
        module, size = self._module, len(reference)
        if self._delay_ms != self._owner.stream_delay_ms:
            self._delay_ms = self._owner.stream_delay_ms
            module.set_stream_delay_ms(self._delay_ms)
        far = self._rtc.AudioFrame(bytearray(reference.tobytes()), self._rate, 1, size)
        near = bytearray(captured.tobytes())
        frame = self._rtc.AudioFrame(near, self._rate, self._channels, size)
        module.process_reverse_stream(far)
        module.process_stream(frame)
        return np.frombuffer(frame.data, dtype=np.int16)

    def close(self) -> None:
        self._module = None  # the wheel frees the native object with its handle


class WebRTCAECProvider(BlockAECProvider):
    """AEC3 with its suppressor of what the linear filter leaves; finds the delay by itself.

    10 ms at a time inside. `stream_delay_ms` is a first hint of the time from the reference to its
    echo (0 to 500). `enable_ns` and `enable_agc` switch on the noise suppressor and the gain
    control of the same library; leave them off where the pipeline has stages of its own.
    `MissingExtraError` without the extra "echo", `ValueError` for formats it cannot do.
    """

    def __init__(
        self,
        sample_rate: int = 16_000,
        channels: int = 1,
        stream_delay_ms: int = 0,
        enable_ns: bool = False,
        enable_agc: bool = False,
    ) -> None:
        if sample_rate not in RATES:
            raise ValueError(f"sample_rate is {sample_rate}, not one of {RATES}")
        if channels not in (1, 2):
            raise ValueError(f"channels is {channels}, not 1 or 2")
        super().__init__(sample_rate, channels, sample_rate // 100)
        self._delay_ms = 0
        self.set_stream_delay_ms(stream_delay_ms)
        self._features = {
            "echo_cancellation": True,
            "high_pass_filter": True,  # nosec B105
            "noise_suppression": enable_ns,
            "auto_gain_control": enable_agc,
        }
        try:
            self._rtc: Any = importlib.import_module("livekit.rtc")
        except ImportError as error:
            raise MissingExtraError("echo", "WebRTCAECProvider") from error

    @property
    def name(self) -> str:
        return "webrtc_aec"

    @property
    def stream_delay_ms(self) -> int:
        """The hint in use."""
        return self._delay_ms

    def set_stream_delay_ms(self, delay_ms: int) -> None:
        """Another hint, for all streams from their next frame on. `ValueError` beyond 0 to 500."""
        if not 0 <= delay_ms <= MAX_DELAY_MS:
            raise ValueError(f"stream delay is {delay_ms} ms, not 0 to {MAX_DELAY_MS}")
        self._delay_ms = delay_ms

    def _new_canceller(self) -> EchoCanceller:
        module = self._rtc.AudioProcessingModule(**self._features)
        return _WebRTCCanceller(self, self._rtc, module)
