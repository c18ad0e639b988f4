"""What every stage that turns a frame into a frame must hold: AEC, AGC, denoiser, postprocessor."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import pytest
from numpy.typing import NDArray

from salon.media.frame import AudioFormat, AudioFrame, Samples
from salon.media.resample import resample
from salon.testing.speech import speak

Floats = NDArray[np.float64]

SENTENCES = (
    "Good morning. I would like to book a table for four people tomorrow evening, please.",
    "Could you tell me how much the train to Vienna costs? Thank you very much indeed.",
    "The quick brown fox jumps over the lazy dog, and then it sleeps for a long time.",
)
SIZES = (320, 1, 7, 160, 333, 0, 640, 100, 4_000)
"""Frame lengths in samples, none of them promised to any stage."""


class SoundStage(Protocol):
    """What the stages have in common."""

    @property
    def name(self) -> str: ...

    @property
    def required_format(self) -> AudioFormat | None: ...

    @property
    def stream_count(self) -> int: ...

    def process(self, frame: AudioFrame, stream: str) -> AudioFrame: ...

    def reset(self, stream: str) -> None: ...

    def close(self) -> None: ...


def talk(rate: int = 16_000, *, voice: str = "en", peak: float = 0.5) -> Samples:
    """Some ten seconds of speech with half a second of silence before each sentence."""
    pause = np.zeros(8_000, dtype=np.int16)
    parts = [part for text in SENTENCES for part in (pause, speak(text, voice, "espeak"))]
    sound = np.concatenate(parts).astype(np.float64)
    sound *= peak * 32_768 / np.abs(sound).max()
    return resample(np.rint(sound).astype(np.int16), 16_000, rate)


def pieces(samples: Samples, sizes: Sequence[int]) -> list[Samples]:
    """Cut into these lengths again and again; what is left is one piece more."""
    cut, at, turn = [], 0, 0
    while at < len(samples):
        size = sizes[turn % len(sizes)]
        cut.append(samples[at : at + size])
        at, turn = at + size, turn + 1
    return cut


def through(
    stage: SoundStage,
    samples: Samples,
    rate: int = 16_000,
    *,
    stream: str = "a",
    sizes: Sequence[int] | None = None,
) -> Samples:
    """What `stage` makes of them, in frames of 20 ms or of `sizes`."""
    out = [
        stage.process(AudioFrame.of(piece, rate), stream).samples
        for piece in pieces(samples, sizes or (rate // 50,))
    ]
    return np.concatenate(out)


def decibels(power: float, against: float) -> float:
    """Ratio of two powers."""
    return 10.0 * float(np.log10((power + 1e-12) / (against + 1e-12)))


def power(samples: Samples | Floats) -> float:
    """Mean square."""
    return float(np.mean(np.square(samples.astype(np.float64))))


class SoundStageContract:
    """Give it a `make` fixture: a function that makes a new stage for a rate in Hz.

    `RATES` are those it can be made for. Set `refuses` to False for a stage that takes everything
    as it comes, `counts` to False for one that does not tell how many streams it knows.
    """

    RATES: ClassVar[tuple[int, ...]] = (8_000, 16_000, 48_000)
    refuses: ClassVar[bool] = True
    counts: ClassVar[bool] = True

    @pytest.fixture
    def make(self) -> Callable[[int], Any]:
        raise NotImplementedError("a `make` fixture")

    def test_V41_a_stream_must_be_named(self, make: Callable[[int], Any]) -> None:
        stage = make(16_000)
        with pytest.raises(TypeError):
            stage.process(AudioFrame.of(np.zeros(320, dtype=np.int16)))
        with pytest.raises(TypeError):
            stage.reset()
        assert stage.name

    def test_V42_V43_another_stream_changes_nothing(self, make: Callable[[int], Any]) -> None:
        mine, other = talk()[:48_000], talk(voice="en-us+f3", peak=0.05)[4_000:52_000]
        alone = through(make(16_000), mine)
        stage = make(16_000)
        mixed = []
        for one, two in zip(pieces(mine, (320,)), pieces(other, (320,)), strict=True):
            mixed.append(stage.process(AudioFrame.of(one), "a").samples)
            stage.process(AudioFrame.of(two), "b")
        assert np.array_equal(np.concatenate(mixed), alone)

    def test_V46_a_reset_stream_starts_anew(self, make: Callable[[int], Any]) -> None:
        stage, sound = make(16_000), talk()[6_000:38_000]
        first = through(stage, sound, sizes=(320, 111))
        assert np.array_equal(first, through(make(16_000), sound, sizes=(320, 111)))
        stage.reset("a")
        stage.reset("never heard")
        assert np.array_equal(through(stage, sound, sizes=(320, 111)), first)

    def test_V46_a_thousand_streams_leave_nothing(self, make: Callable[[int], Any]) -> None:
        stage, sound = make(16_000), talk()[10_000:10_320]
        for first in range(0, 1_000, 25):
            keys = [f"stream {at}" for at in range(first, first + 25)]
            for key in keys:
                stage.process(AudioFrame.of(sound), key)
            if self.counts:
                assert stage.stream_count == len(keys)
            for key in keys:
                stage.reset(key)
            assert stage.stream_count == 0

    def test_V47_close_frees_every_stream(self, make: Callable[[int], Any]) -> None:
        stage, sound = make(16_000), talk()[10_000:10_320]
        for key in "abc":
            stage.process(AudioFrame.of(sound), key)
        stage.close()
        stage.close()
        assert stage.stream_count == 0
        late = stage.process(AudioFrame.of(sound), "a")
        assert np.array_equal(late.samples, sound)
        assert stage.stream_count == 0

    def test_the_input_is_not_written_to(self, make: Callable[[int], Any]) -> None:
        sound = talk()[6_000:22_000]
        kept = sound.copy()
        stage = make(16_000)
        for piece in pieces(sound, (320, 77)):
            frame = AudioFrame.of(piece)
            data = frame.data
            stage.process(frame, "a")
            assert frame.data == data
        assert np.array_equal(sound, kept)

    def test_frames_of_any_length_keep_it(self, make: Callable[[int], Any]) -> None:
        stage = make(16_000)
        for at, piece in enumerate(pieces(talk()[:40_000], SIZES)):
            out = stage.process(AudioFrame.of(piece, 16_000, float(at), {"note": at}), "a")
            assert len(out.samples) == len(piece)
            assert (out.sample_rate, out.channels, out.sample_width) == (16_000, 1, 2)
            assert out.timestamp_ms == at
            assert out.metadata["note"] == at

    def test_an_empty_frame_comes_back_empty(self, make: Callable[[int], Any]) -> None:
        stage = make(16_000)
        for sound in (np.zeros(0, dtype=np.int16), talk()[:320], np.zeros(0, dtype=np.int16)):
            assert len(stage.process(AudioFrame.of(sound), "a").samples) == len(sound)

    def test_it_works_at_its_rates(self, make: Callable[[int], Any]) -> None:
        for rate in self.RATES:
            sound = talk(rate)[: 2 * rate]
            out = through(make(rate), sound, rate)
            assert len(out) == len(sound)
            assert power(out) > 0.05 * power(sound)

    def test_V38_a_format_it_cannot_take_is_refused(self, make: Callable[[int], Any]) -> None:
        if not self.refuses:
            pytest.skip("takes everything")
        stage = make(16_000)
        with pytest.raises(ValueError, match=r"8 bits|1 bytes"):
            stage.process(AudioFrame(bytes(320), sample_width=1), "a")
        if stage.required_format is not None:
            rate = stage.required_format.sample_rate
            with pytest.raises(ValueError, match=str(rate * 2)):
                stage.process(AudioFrame(bytes(640), rate * 2), "a")
