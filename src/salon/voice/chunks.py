"""Chunks of any format become the one format inside, whatever their cut (V12)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from salon.media.frame import SAMPLE_RATE, AudioChunk, AudioFrame, Samples
from salon.media.pcm import decode_pcm
from salon.media.resample import Resampler, resample

PCM16_FORMATS: Final = frozenset({"pcm_s16le", "pcm"})
"""The names of signed 16-bit little-endian sound."""
_NOTHING: Final[Samples] = np.zeros(0, dtype=np.int16)
_PIECE: Final = SAMPLE_RATE
"""Samples of one step: a second, so that a huge chunk does not hold the event loop up."""


def require_pcm16(chunk: AudioChunk, consumer: str) -> None:
    """`ValueError` unless the chunk holds signed 16-bit sound; `consumer` is named in it."""
    if chunk.format not in PCM16_FORMATS:
        raise ValueError(
            f"{consumer} takes signed 16-bit sound ({', '.join(sorted(PCM16_FORMATS))}), "
            f"not format {chunk.format!r}: decode it before"
        )


class ChunkReader:
    """One stream of chunks as ``int16[n]`` 16 kHz mono.

    A sample may be cut in two by the border of chunks. Where rate or channels change, the filter
    starts anew. Garbage is `ValueError`: another type, another format, a rate outside 1 to 384
    kHz, other than 1 to 8 channels.
    """

    def __init__(self, consumer: str) -> None:
        self._consumer = consumer
        self._rest = b""
        self._channels = 1
        self._resampler = Resampler(SAMPLE_RATE, SAMPLE_RATE)

    def feed(self, chunk: AudioChunk) -> Iterator[Samples]:
        """The sound of `chunk`, in pieces of at most about a second; never an empty one."""
        self._check(chunk)
        if chunk.sample_rate != self._resampler.in_rate or chunk.channels != self._channels:
            yield from self.flush()
            self._resampler = Resampler(chunk.sample_rate, SAMPLE_RATE)
            self._channels = chunk.channels
        data = self._rest + chunk.data
        step = 2 * chunk.channels
        whole = len(data) // step * step
        self._rest = data[whole:]
        piece = step * chunk.sample_rate
        for at in range(0, whole, piece):
            part = data[at : min(at + piece, whole)]
            samples = self._resampler.process(decode_pcm(part, channels=chunk.channels))
            if len(samples):
                # A view of bytes could not be written to.
                yield samples if samples.flags.writeable else samples.copy()

    def flush(self) -> Iterator[Samples]:
        """The stream is over: what the filter holds. Half a sample is dropped."""
        self._rest = b""
        tail = self._resampler.flush()
        if len(tail):
            yield tail

    def _check(self, chunk: AudioChunk) -> None:
        if not isinstance(chunk, AudioChunk):
            raise ValueError(f"{self._consumer} got {type(chunk).__name__}, not an AudioChunk")
        if not isinstance(chunk.data, bytes | bytearray | memoryview):
            raise ValueError(f"{self._consumer} got a chunk of {type(chunk.data).__name__}")
        require_pcm16(chunk, self._consumer)
        if not isinstance(chunk.channels, int) or not 1 <= chunk.channels <= 8:
            raise ValueError(f"{self._consumer} got {chunk.channels!r} channels, not 1 to 8")
        if not isinstance(chunk.sample_rate, int):
            raise ValueError(f"{self._consumer} got a rate of {chunk.sample_rate!r}")


def whole_sound(audio: AudioChunk | AudioFrame, consumer: str) -> Samples:
    """A whole recording as ``int16[n]`` 16 kHz mono, nothing late. `ValueError` as above."""
    if isinstance(audio, AudioChunk):
        require_pcm16(audio, consumer)
        step = 2 * audio.channels
        data, width = audio.data[: len(audio.data) // step * step], 2
    else:
        data, width = audio.data, audio.sample_width
    if not data:
        return _NOTHING
    samples = decode_pcm(data, sample_width=width, channels=audio.channels)
    return resample(samples, audio.sample_rate, SAMPLE_RATE)


def quietest_cut(samples: Samples, at_most: int, search: int) -> int:
    """Where to cut sound that is longer than `at_most`: the middle of the quietest 100 ms of the
    last `search` samples before it."""
    step = SAMPLE_RATE // 10
    begin = max(0, at_most - search)
    best, place = math.inf, at_most
    for at in range(begin, at_most - step + 1, step // 2):
        loud = float(np.abs(samples[at : at + step].astype(np.int32)).sum())
        if loud < best:
            best, place = loud, at + step // 2
    return place
