"""What every stage that listens and tells must hold: VAD, DTMF, diarization."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any, ClassVar

import numpy as np
import pytest

from salon.media.frame import AudioFrame, Samples
from salon.testing.contracts.voice_sound_stage import pieces

SIZES = (320, 1, 7, 160, 333, 0, 640, 100, 4_000)
"""Frame lengths in samples, none of them promised to any stage."""


class DetectorContract:
    """Give it a `make` fixture, a function that makes a new stage, and `sound`.

    `RATES` are those it takes. Set `hears` to False for a stage that plays a script and never looks
    at the sound.
    """

    RATES: ClassVar[tuple[int, ...]] = (8_000, 16_000, 48_000)
    hears: ClassVar[bool] = True

    @pytest.fixture
    def make(self) -> Callable[[], Any]:
        raise NotImplementedError("a `make` fixture")

    def sound(self, rate: int) -> Samples:
        """``int16[n]`` in which there is something to tell."""
        raise NotImplementedError("`sound`")

    def frame(self, samples: Samples, rate: int) -> AudioFrame:
        """A frame as the stage before leaves it."""
        return AudioFrame.of(samples, rate)

    def gist(self, result: Any) -> object:
        """What must not depend on rates and frame lengths; None for what may."""
        return result

    def told(
        self, stage: Any, rate: int = 16_000, sizes: Sequence[int] | None = None, stream: str = "a"
    ) -> list[Any]:
        """All results for the sound and the quiet after it."""
        heard = np.concatenate([self.sound(rate), np.zeros(rate, dtype=np.int16)])
        frames = [self.frame(piece, rate) for piece in pieces(heard, sizes or (rate // 50,))]
        results = [stage.process(frame, stream) for frame in frames]
        return [result for result in results if result is not None]

    def gists(self, results: list[Any]) -> list[object]:
        return [gist for result in results if (gist := self.gist(result)) is not None]

    def test_V41_a_stream_must_be_named(self, make: Callable[[], Any]) -> None:
        stage = make()
        with pytest.raises(TypeError):
            stage.process(self.frame(self.sound(16_000)[:320], 16_000))
        with pytest.raises(TypeError):
            stage.reset()
        assert stage.name

    def test_V42_V43_another_stream_changes_nothing(self, make: Callable[[], Any]) -> None:
        mine = pieces(self.sound(16_000), (320,))
        other = pieces(self.sound(16_000)[1_777:], (320, 111, 640))
        alone, both = make(), make()
        expected = [alone.process(self.frame(piece, 16_000), "a") for piece in mine]
        found = []
        for one, two in zip_longest(mine, other):
            if one is not None:
                found.append(both.process(self.frame(one, 16_000), "a"))
            if two is not None:
                both.process(self.frame(two, 16_000), "b")
        assert found == expected
        assert any(result is not None for result in found)

    def test_V46_a_reset_stream_starts_anew(self, make: Callable[[], Any]) -> None:
        stage = make()
        first = self.told(stage)
        assert first
        assert first == self.told(make())
        stage.reset("a")
        stage.reset("never heard")
        assert self.told(stage) == first

    def test_V46_a_reset_in_the_middle_leaves_nothing(self, make: Callable[[], Any]) -> None:
        stage = make()
        expected = self.told(make())
        half = self.sound(16_000)[: len(self.sound(16_000)) // 2]
        for piece in pieces(half, (333,)):
            stage.process(self.frame(piece, 16_000), "a")
        stage.reset("a")
        assert self.told(stage) == expected

    def test_V46_a_thousand_streams_leave_nothing(self, make: Callable[[], Any]) -> None:
        stage = make()
        frame = self.frame(self.sound(16_000)[4_000:4_320], 16_000)
        for at in range(1_000):
            stage.process(frame, f"stream {at}")
        for at in range(1_000):
            stage.reset(f"stream {at}")
        assert stage.stream_count == 0

    def test_V47_close_frees_every_stream(self, make: Callable[[], Any]) -> None:
        stage = make()
        frame = self.frame(self.sound(16_000)[4_000:4_320], 16_000)
        for key in "abc":
            stage.process(frame, key)
        stage.close()
        stage.close()
        assert stage.stream_count == 0
        if self.hears:
            assert self.told(stage) == []
            assert stage.stream_count == 0

    def test_V51_the_frame_is_left_as_it_is(self, make: Callable[[], Any]) -> None:
        stage = make()
        sound = self.sound(16_000)
        kept = sound.copy()
        for piece in pieces(sound, (320, 77)):
            frame = self.frame(piece, 16_000)
            data, notes = frame.data, dict(frame.metadata)
            stage.process(frame, "a")
            assert (frame.data, frame.metadata) == (data, notes)
        assert np.array_equal(sound, kept)

    def test_frames_of_any_length_tell_the_same(self, make: Callable[[], Any]) -> None:
        if self.hears:
            expected = self.gists(self.told(make()))
            assert self.gists(self.told(make(), sizes=SIZES)) == expected
            assert self.gists(self.told(make(), sizes=(1_000,))) == expected

    def test_empty_frames_tell_nothing(self, make: Callable[[], Any]) -> None:
        if self.hears:
            stage = make()
            nothing = np.zeros(0, dtype=np.int16)
            assert stage.process(AudioFrame.of(nothing), "a") is None
            expected = self.gists(self.told(make()))
            assert self.gists(self.told(stage, sizes=(320, 0))) == expected

    def test_it_works_at_its_rates(self, make: Callable[[], Any]) -> None:
        expected = self.gists(self.told(make()))
        for rate in self.RATES:
            assert self.gists(self.told(make(), rate)) == expected

    def test_two_channels_and_other_widths_are_heard_or_refused(
        self, make: Callable[[], Any]
    ) -> None:
        if not self.hears:
            return
        expected = self.gists(self.told(make()))
        sound = np.concatenate([self.sound(16_000), np.zeros(16_000, dtype=np.int16)])
        for width, channels in ((2, 2), (4, 1), (4, 2)):
            stage = make()
            wide = np.repeat(sound.astype(np.int32) << (8 * (width - 2)), channels)
            data = wide.astype("<i2" if width == 2 else "<i4").tobytes()
            step = 320 * width * channels
            frames = [
                AudioFrame(
                    data[at : at + step],
                    channels=channels,
                    sample_width=width,
                    metadata=self.frame(sound[:1], 16_000).metadata,
                )
                for at in range(0, len(data), step)
            ]
            try:
                results = [stage.process(frame, "a") for frame in frames]
            except ValueError:
                continue
            assert self.gists([result for result in results if result is not None]) == expected
