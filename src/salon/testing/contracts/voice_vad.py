"""The contract of `VADProvider`."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

from salon.base import ConfigurationError
from salon.media.frame import AudioFrame, Samples
from salon.media.resample import resample
from salon.testing.contracts.voice_detector import DetectorContract
from salon.testing.contracts.voice_sound_stage import pieces
from salon.testing.speech import speak
from salon.voice.pipeline.vad.base import VADConfig, VADEvent, VADEventType

START, END = VADEventType.SPEECH_START, VADEventType.SPEECH_END
TEXT = "Good morning. I would like to book a table for four people, please."


class VADContract(DetectorContract):
    """See `DetectorContract`; `sound` is a second of silence, a sentence, a second of silence.

    `segments` False: for a detector that gives no sound with its events. `refuses` False: for one
    that plays a script.
    """

    segments: ClassVar[bool] = True

    def sound(self, rate: int) -> Samples:
        silence = np.zeros(16_000, dtype=np.int16)
        return resample(
            np.concatenate([silence, speak(TEXT, "en", "espeak"), silence]), 16_000, rate
        )

    def gist(self, result: Any) -> object:
        return result.type if result.type in (START, END) else None

    def edges(self, events: list[VADEvent]) -> list[VADEvent]:
        return [event for event in events if event.type in (START, END)]

    def test_V73_starts_and_ends_take_turns(self, make: Callable[[], Any]) -> None:
        if not self.hears:
            return
        kinds = self.gists(self.told(make()))
        assert kinds
        assert kinds == [START, END] * (len(kinds) // 2)

    def test_V72_an_end_carries_the_whole_segment(self, make: Callable[[], Any]) -> None:
        if not (self.hears and self.segments):
            return
        whole = b"".join(piece.tobytes() for piece in pieces(self.sound(16_000), (320,)))
        ends = [event for event in self.told(make()) if event.type is END]
        for event in ends:
            assert event.audio_bytes is not None
            assert len(event.audio_bytes) % 2 == 0
            assert event.audio_bytes[:8_000] in whole
            assert event.duration_ms is not None
            assert 0 < event.duration_ms <= len(event.audio_bytes) / 32 + 40
        assert sum(len(event.audio_bytes) for event in ends) > 16_000 * 2

    def test_V72_a_start_and_what_follows_hold_the_segment(self, make: Callable[[], Any]) -> None:
        if not (self.hears and self.segments):
            return
        stage, gathered = make(), b""
        for piece in pieces(self.sound(16_000), (320,)):
            frame = AudioFrame.of(piece)
            event = stage.process(frame, "a")
            if event is not None and event.type is START:
                gathered = event.audio_bytes
                continue
            gathered += frame.data
            if event is not None and event.type is END:
                assert gathered.startswith(event.audio_bytes)

    def test_V73_levels_come_at_most_ten_times_per_second(self, make: Callable[[], Any]) -> None:
        events = self.told(make())
        levels = [event for event in events if event.type is VADEventType.AUDIO_LEVEL]
        assert len(levels) <= 10 * (len(self.sound(16_000)) / 16_000 + 1)
        for event in levels:
            assert event.level_db is not None
            assert -100 <= event.level_db <= 0

    def test_V239_an_empty_configuration_changes_nothing(self, make: Callable[[], Any]) -> None:
        stage = make()
        stage.configure(VADConfig())
        assert self.told(stage) == self.told(make())

    def test_V239_what_is_set_counts(self, make: Callable[[], Any]) -> None:
        if not self.hears:
            return
        stage = make()
        stage.configure(VADConfig(silence_threshold_ms=60_000))
        assert self.gists(self.told(stage)) == [START]

    def test_V239_an_unknown_key_is_refused(self, make: Callable[[], Any]) -> None:
        if not self.hears:
            return
        with pytest.raises(ConfigurationError, match="sensitivity"):
            make().configure(VADConfig(extra={"sensitivity": 1}))
        with pytest.raises(ConfigurationError, match="speech_pad_ms"):
            make().configure(VADConfig(speech_pad_ms=-1))

    def test_V38_a_stream_keeps_its_format(self, make: Callable[[], Any]) -> None:
        if not self.hears:
            return
        stage = make()
        stage.process(AudioFrame(bytes(640)), "a")
        with pytest.raises(ValueError, match="8000"):
            stage.process(AudioFrame(bytes(320), 8_000), "a")
        stage.reset("a")
        assert stage.process(AudioFrame(bytes(320), 8_000), "a") is None
