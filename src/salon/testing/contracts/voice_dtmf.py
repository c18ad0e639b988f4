"""The contract of `DTMFDetector`."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

from salon.media.frame import AudioFrame, Samples
from salon.media.level import from_dbfs
from salon.media.telephone_event import DIGITS
from salon.testing.contracts.voice_detector import DetectorContract
from salon.testing.contracts.voice_sound_stage import pieces
from salon.testing.speech import speak

ROWS = (697.0, 770.0, 852.0, 941.0)
COLUMNS = (1209.0, 1336.0, 1477.0, 1633.0)
KEYS = ("123A", "456B", "789C", "*0#D")


def key_tone(
    digit: str,
    ms: float,
    rate: int = 16_000,
    *,
    dbfs: float = -15.0,
    twist_db: float = 0.0,
    row_off: float = 0.0,
    column_off: float = 0.0,
) -> Samples:
    """A key as ``int16[n]``: the lower tone's peak at `dbfs`, the higher one `twist_db` above it,
    each off its frequency by a part of it."""
    row = next(at for at, keys in enumerate(KEYS) if digit in keys)
    low = ROWS[row] * (1 + row_off)
    high = COLUMNS[KEYS[row].index(digit)] * (1 + column_off)
    at = np.arange(round(ms * rate / 1000)) * (2 * np.pi / rate)
    wave = np.sin(low * at) + 10 ** (twist_db / 20) * np.sin(high * at + 1.0)
    made: Samples = np.rint(wave * from_dbfs(dbfs)).astype(np.int16)
    return made


def dialled(
    digits: str,
    ms: float = 80,
    pause_ms: float = 80,
    rate: int = 16_000,
    *,
    snr_db: float | None = None,
    **tone: float,
) -> Samples:
    """Keys one after another, each after a pause that is up to 20 ms longer than `pause_ms`; noise
    `snr_db` below the tones over all of it."""
    random = np.random.default_rng(len(digits))
    parts: list[Samples] = []
    for digit in digits:
        pause = pause_ms + random.uniform(0, 20)  # nosec B311 - a test signal
        parts.append(np.zeros(round(pause * rate / 1000), dtype=np.int16))
        parts.append(key_tone(digit, ms, rate, **tone))
    sound = np.concatenate(parts)
    if snr_db is None:
        return sound
    level = np.sqrt(np.mean(np.square(parts[-1].astype(np.float64)))) * 10 ** (-snr_db / 20)
    noise = random.standard_normal(len(sound)) * level
    noisy: Samples = np.clip(np.rint(sound + noise), -32_768, 32_767).astype(np.int16)
    return noisy


class DTMFContract(DetectorContract):
    """See `DetectorContract`."""

    DIALLED: ClassVar[str] = DIGITS

    def sound(self, rate: int) -> Samples:
        return dialled(self.DIALLED, 100, 100, rate)

    def gist(self, result: Any) -> object:
        return result.digit

    def heard(self, stage: Any, sound: Samples, rate: int = 16_000) -> str:
        """The keys found in some sound and the quiet after it."""
        whole = np.concatenate([sound, np.zeros(rate // 5, dtype=np.int16)])
        frames = [AudioFrame.of(piece, rate) for piece in pieces(whole, (rate // 50,))]
        events = [event for frame in frames if (event := stage.process(frame, "a")) is not None]
        return "".join(event.digit for event in events)

    def test_V68_each_press_is_told_once(self, make: Callable[[], Any]) -> None:
        events = self.told(make())
        if not self.hears:
            return
        assert "".join(event.digit for event in events) == self.DIALLED
        for event in events:
            assert abs(event.duration_ms - 100) <= 20
            assert event.confidence is None or 0 <= event.confidence <= 1

    @pytest.mark.parametrize("snr_db", [60, 20, 15, 10])
    @pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
    def test_V68_keys_are_heard_through_noise(
        self, make: Callable[[], Any], snr_db: float, rate: int
    ) -> None:
        if self.hears and rate in self.RATES:
            for ms in (50, 100):
                sound = dialled(DIGITS * 5, ms, ms, rate, snr_db=snr_db)
                assert self.heard(make(), sound, rate) == DIGITS * 5

    def test_V68_speech_and_noise_are_no_keys(self, make: Callable[[], Any]) -> None:
        if not self.hears:
            return
        random = np.random.default_rng(7)
        noise = (random.standard_normal(16_000 * 10) * 3_000).astype(np.int16)
        assert self.heard(make(), noise) == ""
        for voice in ("en", "en-us+f3"):
            words = speak("Please hold the line. " * 5, voice, "espeak")
            assert self.heard(make(), words) == ""

    def test_V69_it_says_while_a_tone_sounds(self, make: Callable[[], Any]) -> None:
        if not self.hears:
            return
        stage = make()
        silence, tone = np.zeros(1_600, dtype=np.int16), key_tone("5", 200)
        active = []
        for piece in pieces(np.concatenate([silence, tone, silence, silence]), (320,)):
            stage.process(AudioFrame.of(piece), "a")
            active.append(stage.tone_active("a"))
        assert not any(active[:5])
        assert all(active[7:15])
        assert not any(active[19:])
        assert not stage.tone_active("never heard")
