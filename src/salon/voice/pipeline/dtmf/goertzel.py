"""Telephone keys in the sound, without any library."""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from salon.media.frame import AudioFrame, Samples
from salon.media.framer import Framer
from salon.media.pcm import decode_pcm
from salon.voice.pipeline.dtmf.bank import KEPT_HOPS, PARTS, ToneBank, tone_bank
from salon.voice.pipeline.dtmf.base import DTMFDetector, DTMFEvent
from salon.voice.pipeline.dtmf.press import Press

MAX_WAITING: Final = 64
"""Events of a stream that wait for their call; the oldest go."""


class GoertzelDTMFDetector(DTMFDetector):
    """Hears keys like a receiver after ITU-T Q.24.

    Tones of 40 ms and longer, 40 ms apart, within 1.5 % of their frequency, the higher one 8 dB
    weaker to 4 dB stronger than the lower one, over noise that is 10 dB weaker, from -50 dBFS on.
    A press is told once, when it is over (40 ms after the key was released): then its
    `duration_ms`, to 5 ms, is known. `confidence` is the tones' share of the sound, at best.

    Frames: any length, 8 kHz and more, any width; channels are averaged.
    """

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}
        self._closed = False

    @property
    def name(self) -> str:
        return "GoertzelDTMFDetector"

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    def process(self, frame: AudioFrame, stream: str) -> DTMFEvent | None:
        state = self._streams.get(stream)
        if state is None:
            if self._closed:
                return None
            state = self._streams[stream] = _Stream(frame)
        if frame.sample_rate != state.bank.rate:
            raise ValueError(f"{stream!r} changed from {state.bank.rate} to {frame.sample_rate} Hz")
        return state.process(frame)

    def tone_active(self, stream: str) -> bool:
        state = self._streams.get(stream)
        return state is not None and state.press.active

    def reset(self, stream: str) -> None:
        self._streams.pop(stream, None)

    def close(self) -> None:
        self._closed = True
        self._streams.clear()


class _Stream:
    """One stream's last window and its press."""

    __slots__ = ("_events", "_framer", "_sound", "_window", "bank", "press")

    def __init__(self, frame: AudioFrame) -> None:
        self.bank: ToneBank = tone_bank(frame.sample_rate)
        self.press = Press(self.bank.hop_ms / PARTS)
        self._sound = np.zeros(KEPT_HOPS * self.bank.fresh, dtype=np.float32)
        self._window = self._sound[-self.bank.window :]
        self._framer = Framer(self.bank.hop)
        self._events: deque[DTMFEvent] = deque(maxlen=MAX_WAITING)

    def process(self, frame: AudioFrame) -> DTMFEvent | None:
        if frame.sample_width == 2 and frame.channels == 1:
            samples = frame.samples
        else:
            width, channels = frame.sample_width, frame.channels
            samples = decode_pcm(frame.data, sample_width=width, channels=channels)
        if len(samples) == self.bank.hop and not self._framer.pending:
            self._hop(samples)
        else:
            for hop in self._framer.push(samples):
                self._hop(hop)
        return self._events.popleft() if self._events else None

    def _hop(self, hop: Samples) -> None:
        bank, sound = self.bank, self._sound
        sound[: -bank.fresh] = sound[bank.fresh :]
        sound[-bank.fresh :] = bank.merge(hop)
        hit = bank.find(self._window)
        if hit is None and not self.press.active:
            return
        pieces = sound.reshape(KEPT_HOPS * PARTS, -1)
        powers = np.einsum("ij,ij->i", pieces, pieces) * (PARTS / bank.fresh)
        event = self.press.feed(hit, powers.tolist())
        if event is not None:
            self._events.append(event)
