"""Automatic gain of one caller's sound (G63): towards a fixed headroom, in steps of 10 ms."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from salon.gateway.options import AGCOption
from salon.media.frame import SAMPLE_RATE, Samples
from salon.media.level import FLOOR_DBFS, peak_dbfs, rms_dbfs
from salon.media.mixer import soft_limit
from salon.voice.pipeline.denoiser.blocks import Blocks

STEP = SAMPLE_RATE // 100
STEP_S = 0.01
_FALL_DB = 3.0 * STEP_S
"""How fast the measured peak of speech falls, in speech."""
_NOISE_RISE_DB = 3.0 * STEP_S
"""How fast the measured noise rises; it falls at once."""
_ONSET_STEPS = 50
"""Sound this close before detected speech may be its beginning, so it says nothing of the noise."""
MAX_DB = 90.0


class AdaptiveGain:
    """Amplifies what is too soft so that the peaks of speech lie `headroomDb` below full scale.

    `is_speech` says whether the caller is speaking now; only then is the level measured, and the
    gain rises only after `adjacentSpeechFramesThreshold` steps of it in a row. The gain begins at
    `initialGainDb`, stays within 0 and `maxGainDb`, changes by at most
    `maxGainChangeDbPerSecond`, and is never so high that noise exceeds
    `maxOutputNoiseLevelDbfs`. Loud peaks are bent with `enableLimiter`, else they clip.
    `ValueError` for settings that make no sense.
    """

    def __init__(self, option: AGCOption, is_speech: Callable[[], bool]) -> None:
        for name, value, low in (
            ("headroomDb", option.headroom_db, 0.0),
            ("maxGainDb", option.max_gain_db, 0.0),
            ("initialGainDb", option.initial_gain_db, 0.0),
            ("maxGainChangeDbPerSecond", option.max_gain_change_db_per_second, 0.0),
            ("maxOutputNoiseLevelDbfs", option.max_output_noise_level_dbfs, -MAX_DB),
        ):
            if not low <= value <= low + MAX_DB:
                raise ValueError(f"agc.{name} is {value:g}, not within {low:g} to {low + MAX_DB:g}")
        self.gain_db = min(option.initial_gain_db, option.max_gain_db)
        """The gain reached."""
        self._option = option
        self._is_speech = is_speech
        self._step_db = option.max_gain_change_db_per_second * STEP_S
        self._peak: float | None = None
        self._noise: float | None = None
        self._speech_steps = 0
        self._maybe_noise: deque[float] = deque()
        self._blocks = Blocks(STEP)

    def process(self, samples: Samples) -> Samples:
        """``int16[n]`` 16 kHz; as many come back, 10 ms late if `n` is not a multiple of 160."""
        return self._blocks.process(samples, self._step)

    def _step(self, block: Samples) -> Samples:
        self._measure(block)
        before = self.gain_db
        after = self.gain_db = self._next(before)
        if before == after == 0.0:
            return block
        first, last = 10 ** (before / 20), 10 ** (after / 20)
        gain = first if first == last else np.linspace(first, last, len(block))
        amplified = np.rint(block * gain).astype(np.int32)
        if self._option.enable_limiter:
            return soft_limit(amplified)
        clipped: Samples = np.clip(amplified, -32768, 32767).astype(np.int16)
        return clipped

    def _measure(self, block: Samples) -> None:
        if self._is_speech():
            self._speech_steps += 1
            self._maybe_noise.clear()
            peak = peak_dbfs(block)
            if peak > FLOOR_DBFS:
                known = self._peak
                self._peak = peak if known is None else max(peak, known - _FALL_DB)
            return
        self._speech_steps = 0
        level = rms_dbfs(block)
        if level > FLOOR_DBFS:  # digital silence, as of a muted caller, says nothing
            self._maybe_noise.append(level)
        if len(self._maybe_noise) > _ONSET_STEPS:
            level, known = self._maybe_noise.popleft(), self._noise
            self._noise = level if known is None else min(level, known + _NOISE_RISE_DB)

    def _next(self, gain: float) -> float:
        option = self._option
        wanted = gain
        if self._peak is not None and self._speech_steps:
            wanted = min(max(-option.headroom_db - self._peak, 0.0), option.max_gain_db)
        if self._noise is not None:
            wanted = min(wanted, max(option.max_output_noise_level_dbfs - self._noise, 0.0))
        if wanted > gain and self._speech_steps < option.adjacent_speech_frames_threshold:
            return gain
        return min(max(wanted, gain - self._step_db), gain + self._step_db)
