"""The built-in gain control (V67)."""

from __future__ import annotations

from salon.media.frame import AudioFrame
from salon.voice.pipeline.agc.base import AGCConfig, AGCProvider
from salon.voice.pipeline.agc.gain import GainControl


class _Stream:
    __slots__ = ("control", "format")

    def __init__(self, config: AGCConfig, form: tuple[int, int]) -> None:
        self.format = form
        self.control = GainControl(config, form[0])


class SimpleAGCProvider(AGCProvider):
    """Brings the peaks of speech to `target_level_dbfs`, with numpy alone and without delay.

    The level is measured in voiced sound that rises above the background, and the gain is held in
    between: noise alone is not amplified, and pauses do not swell. What would exceed the target is
    bent towards full scale, so nothing clips. `AGCConfig.metadata` may hold
    ``silence_threshold_dbfs`` (level below which nothing is speech, -60) and ``min_gain_db`` (-30).
    Any 16-bit format, `ValueError` for other widths. A stream whose format changes starts anew.
    """

    def __init__(self, config: AGCConfig | None = None) -> None:
        self.configure(AGCConfig() if config is None else config)
        self._streams: dict[str, _Stream] = {}
        self._closed = False

    @property
    def name(self) -> str:
        return "simple_agc"

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    def configure(self, config: AGCConfig) -> None:
        """Other settings, for streams that begin from now on. `ValueError` for senseless ones."""
        if not -60.0 <= config.target_level_dbfs <= 0.0:
            raise ValueError(f"target_level_dbfs is {config.target_level_dbfs}, not -60 to 0")
        for name in ("max_gain_db", "attack_ms", "release_ms"):
            value = getattr(config, name)
            if value < 0:
                raise ValueError(f"{name} is {value}, not 0 or more")
        GainControl(config, 16_000)  # its own settings are checked now, not on the first frame
        self.config = config

    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        if frame.sample_width != 2:
            raise ValueError(f"{self.name} takes 16-bit sound, not {8 * frame.sample_width} bits")
        if self._closed or not frame.data:
            return frame
        form = frame.sample_rate, frame.channels
        state = self._streams.get(stream)
        if state is None or state.format != form:
            state = self._streams[stream] = _Stream(self.config, form)
        samples = state.control.process(frame.samples, frame.channels)
        out = frame if samples is frame.samples else frame.with_samples(samples)
        out.metadata["gain_applied_db"] = state.control.gain_db
        return out

    def reset(self, stream: str) -> None:
        self._streams.pop(stream, None)

    def close(self) -> None:
        self._closed = True
        self._streams.clear()
