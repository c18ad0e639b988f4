"""Voices that can be told apart, and what is heard of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from salon.media.frame import AudioFrame, Samples
from salon.voice.backends.session import VoiceSession
from salon.voice.bridge import AudioBridge, AudioBridgeConfig


def session(name: str, room: str = "room", **metadata: Any) -> VoiceSession:
    return VoiceSession(name, room, f"person-{name}", "voice", metadata=metadata)


def pitch(number: int) -> int:
    """Hz of the tone of person `number`; all are multiples of 50, so 20 ms hold whole periods."""
    return 300 + 150 * number


def tone(hertz: float, frame: int = 0, *, rate: int = 16_000, peak: float = 3000) -> Samples:
    """The 20 ms number `frame` of an endless tone."""
    size = rate // 50
    at = np.arange(frame * size, (frame + 1) * size)
    return np.rint(peak * np.sin(2 * np.pi * hertz * at / rate)).astype(np.int16)


def peaks(frames: Sequence[Samples], hertz: Sequence[float], rate: int = 16_000) -> list[float]:
    """Amplitude of each tone in `frames`, one after the other."""
    sound = np.concatenate(frames).astype(float)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) / len(sound) * 4
    step = rate / len(sound)
    return [
        float(spectrum[round(each / step) - 1 : round(each / step) + 2].max()) for each in hertz
    ]


def mixing(people: int = 10, **more: Any) -> AudioBridge:
    return AudioBridge(AudioBridgeConfig(mixing_strategy="mix", max_participants=people), **more)


class Ear:
    """A target that keeps what it is brought."""

    def __init__(self) -> None:
        self.frames: list[AudioFrame] = []

    def __call__(self, session: VoiceSession, frame: AudioFrame) -> None:
        self.frames.append(frame)

    @property
    def samples(self) -> list[Samples]:
        return [frame.samples for frame in self.frames]
