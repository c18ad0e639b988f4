"""Echo cancellers that work on blocks: everything about streams, nothing about echo."""

from __future__ import annotations

import threading
from abc import abstractmethod
from typing import Final, Protocol

from salon.media.frame import AudioFormat, AudioFrame, Samples
from salon.media.pcm import decode_pcm
from salon.media.resample import Resampler
from salon.voice.pipeline.aec.base import AECProvider
from salon.voice.pipeline.aec.reference import ReferenceQueue
from salon.voice.pipeline.denoiser.blocks import Blocks

MAX_REFERENCE_MS: Final = 500
"""Reference kept per stream: more than two sides at the same pace are ever apart."""


TAIL_MS: Final = 300
"""Echo still comes for so long after its reference: the way there and back, and the room."""


class EchoCanceller(Protocol):
    """The native object of one stream (V44)."""

    def cancel(self, captured: Samples, reference: Samples) -> Samples:
        """One block, as long as what was captured."""
        ...

    def close(self) -> None:
        """Free it. Called once, nothing after."""
        ...


class _Stream:
    """What one stream has. `lock` keeps the native object from being freed in use."""

    __slots__ = ("active", "blocks", "canceller", "lock", "queue", "resampler", "tail")

    def __init__(self, block: int, rate: int) -> None:
        self.active: bool | None = None
        self.tail = 0
        """Samples still to be cancelled after it was switched off."""
        self.blocks = Blocks(block)
        self.canceller: EchoCanceller | None = None
        self.lock = threading.Lock()
        self.queue = ReferenceQueue(rate, rate * MAX_REFERENCE_MS // 1000)
        self.resampler: Resampler | None = None


class BlockAECProvider(AECProvider):
    """An AECProvider over cancellers that take `block` samples per channel at a time.

    Captured frames have the format given here, else `ValueError`; frames that are whole multiples
    of a block are not delayed. The reference may have any format: it is brought to mono at the
    capture's rate (V65). After `close` sound passes as it is.
    """

    def __init__(self, sample_rate: int, channels: int, block: int) -> None:
        self.required_format: AudioFormat = AudioFormat(sample_rate, channels, 2)
        self._block = block
        self._streams: dict[str, _Stream] = {}
        self._lock = threading.Lock()
        self._active = True
        self._closed = False
        self._dropped = 0

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    @property
    def reference_dropped(self) -> int:
        """Samples of reference that came too early or were not fetched in time, in all streams
        so far."""
        with self._lock:
            return self._dropped + sum(state.queue.dropped for state in self._streams.values())

    @abstractmethod
    def _new_canceller(self) -> EchoCanceller:
        """The native object of one stream."""

    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        form = self.required_format
        if (
            frame.sample_rate != form.sample_rate
            or frame.channels != form.channels
            or frame.sample_width != form.sample_width
        ):
            raise ValueError(
                f"{self.name} was made for {form}, not {frame.sample_rate} Hz, {frame.channels} "
                f"channels, {frame.sample_width} bytes"
            )
        state = self._state(stream) if frame.data else None
        if state is None:
            return frame
        with state.lock:
            if self._is_active(state):
                state.tail = 0
            elif state.tail > 0:
                state.tail -= len(frame.samples) // form.channels
            else:
                if not state.blocks.delay:
                    return frame
                return frame.with_samples(state.blocks.process(frame.samples, _unchanged))
            if state.canceller is None:
                state.canceller = self._new_canceller()
            canceller, queue, block = state.canceller, state.queue, self._block

            def work(captured: Samples) -> Samples:
                return canceller.cancel(captured, queue.pull(block))

            out = frame.with_samples(state.blocks.process(frame.samples, work))
        out.metadata["echo_cancelled"] = True
        return out

    def feed_reference(self, frame: AudioFrame, stream: str) -> None:
        state = self._state(stream) if frame.data else None
        if state is None or not self._is_active(state):
            return
        samples = decode_pcm(frame.data, sample_width=frame.sample_width, channels=frame.channels)
        rate = self.required_format.sample_rate
        if frame.sample_rate != rate:
            if state.resampler is None or state.resampler.in_rate != frame.sample_rate:
                state.resampler = Resampler(frame.sample_rate, rate)
            samples = state.resampler.process(samples)
        state.queue.push(samples)

    def set_active(self, active: bool) -> None:
        with self._lock:
            for state in self._streams.values():
                self._switch(state, active)
                state.active = None
            self._active = active

    def set_stream_active(self, stream: str, active: bool) -> None:
        state = self._state(stream)
        if state is not None:
            self._switch(state, active)

    def reset(self, stream: str) -> None:
        with self._lock:
            state = self._streams.pop(stream, None)
            if state is not None:
                self._dropped += state.queue.dropped
        if state is not None:
            _free(state)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            states = list(self._streams.values())
            self._dropped += sum(state.queue.dropped for state in states)
            self._streams.clear()
        for state in states:
            _free(state)

    def _state(self, stream: str) -> _Stream | None:
        """The stream's state, made now if need be; None once closed."""
        state = self._streams.get(stream)
        if state is not None:
            return state
        form = self.required_format
        with self._lock:
            if self._closed:
                return None
            fresh = _Stream(self._block * form.channels, form.sample_rate)
            return self._streams.setdefault(stream, fresh)

    def _switch(self, state: _Stream, active: bool) -> None:
        if not active and state.canceller is None:
            state.queue.clear()
        elif not active and self._is_active(state):
            form = self.required_format
            state.tail = len(state.queue) + form.sample_rate * TAIL_MS // 1000
        state.active = active

    def _is_active(self, state: _Stream) -> bool:
        return self._active if state.active is None else state.active


def _unchanged(block: Samples) -> Samples:
    return block


def _free(state: _Stream) -> None:
    with state.lock:
        canceller, state.canceller = state.canceller, None
        # A frame that is just passing in another thread must not make a new one.
        state.active, state.tail = False, 0
    if canceller is not None:
        canceller.close()
