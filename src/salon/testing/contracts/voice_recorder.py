"""The contract of `AudioRecorder`s that keep what they are given (V50, V58, V81-V89)."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import pytest

from salon.media.frame import AudioFrame, Samples
from salon.testing.clock import VirtualClock
from salon.voice.backends.session import VoiceSession
from salon.voice.pipeline.recorder import (
    AudioRecorder,
    RecordingChannelMode,
    RecordingConfig,
    RecordingHandle,
    RecordingMode,
    RecordingResult,
)

RATE = 16_000
FRAME = 320
USER, BOT = 440.0, 1000.0
"""Hz of the two voices."""


def make_session(session_id: str = "s1") -> VoiceSession:
    """A session to record."""
    return VoiceSession(session_id, "room", "ann", "voice")


def tone(frequency: float, seconds: float, rate: int = RATE) -> Samples:
    """A voice of half the amplitude."""
    steps = np.arange(round(seconds * rate)) * (2 * np.pi * frequency / rate)
    return np.asarray(np.rint(12_000 * np.sin(steps)), dtype=np.int16)


def frames_of(samples: Samples, rate: int = RATE, size: int = FRAME) -> list[AudioFrame]:
    """The sound in frames."""
    return [AudioFrame(samples[a : a + size].tobytes(), rate) for a in range(0, len(samples), size)]


def level(samples: Samples, frequency: float, rate: int = RATE) -> float:
    """Amplitude of a tone within."""
    turn = np.exp(-2j * np.pi * frequency / rate * np.arange(len(samples)))
    return float(2 * abs(np.dot(samples.astype(float), turn)) / max(len(samples), 1))


class AudioRecorderContract(ABC):
    """Inherit, and say how to make the recorder, the config, and how to read the files back."""

    exact = True
    """Whether the files hold the samples as they were."""

    @abstractmethod
    def make(self, clock: VirtualClock) -> AudioRecorder:
        """A recorder that follows the clock."""

    @abstractmethod
    def config(
        self,
        mode: RecordingMode = RecordingMode.BOTH,
        channels: RecordingChannelMode = RecordingChannelMode.MIXED,
    ) -> RecordingConfig:
        """A config it takes."""

    @abstractmethod
    def read(self, url: str) -> tuple[Samples, int]:
        """A finished file: ``int16[n, channels]`` and its rate."""

    @pytest.fixture
    def clock(self) -> VirtualClock:
        return VirtualClock()

    def record(
        self,
        recorder: AudioRecorder,
        clock: VirtualClock,
        config: RecordingConfig,
        seconds: float = 1.0,
    ) -> RecordingResult:
        """Both speak for a while, frame by frame in real time."""
        handle = recorder.start(make_session(), config)
        pairs = zip(frames_of(tone(USER, seconds)), frames_of(tone(BOT, seconds)), strict=True)
        for user, bot in pairs:
            recorder.tap_inbound(handle, user)
            recorder.tap_outbound(handle, bot)
            clock.advance(0.020)
        return recorder.stop(handle)

    def heard(self, url: str) -> list[tuple[bool, bool]]:
        """Per channel of a file, whether the user is in it and whether the bot is."""
        sound, rate = self.read(url)
        return [(level(side, USER, rate) > 4000, level(side, BOT, rate) > 4000) for side in sound.T]

    @pytest.mark.parametrize(
        ("channels", "expected"),
        [
            (RecordingChannelMode.MIXED, [[(True, True)]]),
            (RecordingChannelMode.STEREO, [[(True, False), (False, True)]]),
            (RecordingChannelMode.SEPARATE, [[(True, False)], [(False, True)]]),
            (RecordingChannelMode.ALL, [[(True, False)], [(False, True)], [(True, True)]]),
        ],
    )
    def test_V81_channel_modes(
        self,
        clock: VirtualClock,
        channels: RecordingChannelMode,
        expected: list[list[tuple[bool, bool]]],
    ) -> None:
        recorder = self.make(clock)
        result = self.record(recorder, clock, self.config(channels=channels))
        assert result.error is None
        assert result.mode is channels
        assert [self.heard(url) for url in result.urls] == expected
        assert result.duration_seconds == pytest.approx(1.0, abs=0.02)
        recorder.close()

    @pytest.mark.parametrize("mode", [RecordingMode.INBOUND_ONLY, RecordingMode.OUTBOUND_ONLY])
    @pytest.mark.parametrize("channels", list(RecordingChannelMode))
    def test_V82_the_other_direction_is_never_recorded(
        self, clock: VirtualClock, mode: RecordingMode, channels: RecordingChannelMode
    ) -> None:
        recorder = self.make(clock)
        result = self.record(recorder, clock, self.config(mode, channels))
        assert result.urls
        voices = [pair for url in result.urls for pair in self.heard(url)]
        assert any(pair[mode is RecordingMode.OUTBOUND_ONLY] for pair in voices)
        assert not any(pair[mode is RecordingMode.INBOUND_ONLY] for pair in voices)
        recorder.close()

    def test_V50_V58_samples_are_kept_as_they_are(self, clock: VirtualClock) -> None:
        if not self.exact:
            pytest.skip("the files are compressed")
        recorder = self.make(clock)
        config = self.config(channels=RecordingChannelMode.SEPARATE)
        result = self.record(recorder, clock, config, 2.0)
        for url, frequency in zip(result.urls, (USER, BOT), strict=True):
            sound, rate = self.read(url)
            assert rate == RATE
            assert np.array_equal(sound[:, 0], tone(frequency, 2.0))
        recorder.close()

    def test_V89_recordings_at_once_stay_apart(self, clock: VirtualClock) -> None:
        recorder = self.make(clock)
        handles = [recorder.start(make_session(f"s{n}"), self.config()) for n in range(3)]
        assert len({handle.id for handle in handles}) == 3
        voices = (300.0, 700.0, 1500.0)
        for pieces in zip(*(frames_of(tone(f, 1.0)) for f in voices), strict=True):
            for handle, frame in zip(handles, pieces, strict=True):
                recorder.tap_inbound(handle, frame)
            clock.advance(0.020)
        for handle, own in zip(handles, voices, strict=True):
            sound, rate = self.read(recorder.stop(handle).urls[0])
            found = [voice for voice in voices if level(sound[:, 0], voice, rate) > 3000]
            assert found == [own]
        recorder.close()

    def test_V85_what_comes_on_hold_is_not_in_the_file(self, clock: VirtualClock) -> None:
        recorder = self.make(clock)
        handle = recorder.start(make_session(), self.config())
        recorder.hold(handle)
        for frame in frames_of(tone(USER, 0.3)):
            recorder.tap_inbound(handle, frame)
            clock.advance(0.020)
        recorder.release(handle)
        for frame in frames_of(tone(BOT, 0.5)):
            recorder.tap_inbound(handle, frame)
            clock.advance(0.020)
        result = recorder.stop(handle)
        assert self.heard(result.urls[0]) == [(False, True)]
        assert result.duration_seconds == pytest.approx(0.5, abs=0.02)
        recorder.close()

    @pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
    def test_frames_of_any_rate_size_and_width(self, clock: VirtualClock, rate: int) -> None:
        recorder = self.make(clock)
        handle = recorder.start(make_session(), self.config(channels=RecordingChannelMode.STEREO))
        for user in frames_of(tone(USER, 1.0, rate), rate, rate // 37):
            recorder.tap_inbound(handle, user)
            clock.advance(user.duration_ms / 1000)
        wide = np.repeat(tone(BOT, 1.0, 24_000).astype("<i4") * 65_536, 2)
        for at in range(0, len(wide), 960):
            recorder.tap_outbound(handle, AudioFrame(wide[at : at + 960].tobytes(), 24_000, 2, 4))
            clock.advance(0.020)
        recorder.tap_inbound(handle, AudioFrame(b"", rate))
        result = recorder.stop(handle)
        assert result.error is None
        assert self.heard(result.urls[0]) == [(True, False), (False, True)]
        assert result.duration_seconds == pytest.approx(2.0, abs=0.03)
        recorder.close()

    def test_a_frame_is_left_as_it_was(self, clock: VirtualClock) -> None:
        recorder = self.make(clock)
        handle = recorder.start(make_session(), self.config())
        samples = tone(USER, 0.02)
        kept = samples.copy()
        frame = AudioFrame.of(samples, timestamp_ms=7.0, metadata={"a": 1})
        recorder.tap_inbound(handle, frame)
        assert np.array_equal(samples, kept)
        assert (frame.data, frame.timestamp_ms, frame.metadata) == (kept.tobytes(), 7.0, {"a": 1})
        samples[:] = 0
        result = recorder.stop(handle)
        sound, rate = self.read(result.urls[0])
        assert level(sound[:, 0], USER, rate) > 3000, "the caller's array is its own"
        recorder.close()

    async def test_the_end_may_be_asked_for_again(self, clock: VirtualClock) -> None:
        recorder = self.make(clock)
        handle = recorder.start(make_session(), self.config())
        assert (handle.state, handle.session_id) == ("recording", "s1")
        assert handle.started_at == clock.now()
        recorder.record_inbound(handle, AudioFrame(tone(USER, 0.02).tobytes()))
        recorder.record_outbound(handle, AudioFrame(tone(BOT, 0.02).tobytes()))
        result = await recorder.finish(handle)
        assert handle.state == "stopped"
        assert (result.id, result.recording_id) == (handle.id, handle.recording_id)
        assert recorder.stop(handle) == result
        recorder.tap_inbound(handle, AudioFrame(tone(USER, 0.02).tobytes()))
        recorder.speech(handle, True)
        recorder.hold(handle)
        recorder.release(handle)
        recorder.outbound_cut(handle)
        assert await recorder.finish(handle) == result
        recorder.close()

    def test_a_handle_of_nobody_does_nothing(self, clock: VirtualClock) -> None:
        recorder = self.make(clock)
        handle = RecordingHandle("none", "s1")
        recorder.tap_inbound(handle, AudioFrame(tone(USER, 0.02).tobytes()))
        recorder.tap_outbound(handle, AudioFrame(tone(USER, 0.02).tobytes()))
        assert recorder.stop(handle).urls == []
        recorder.close()

    def test_a_recording_without_sound_is_a_file(self, clock: VirtualClock) -> None:
        recorder = self.make(clock)
        result = recorder.stop(recorder.start(make_session(), self.config()))
        assert (len(result.urls), result.duration_seconds, result.error) == (1, 0.0, None)
        recorder.close()

    def test_close_completes_what_runs(self, clock: VirtualClock) -> None:
        recorder = self.make(clock)
        handle = recorder.start(make_session(), self.config())
        for frame in frames_of(tone(USER, 0.1)):
            recorder.tap_inbound(handle, frame)
        recorder.reset()
        recorder.close()
        recorder.close()
        assert handle.state == "stopped"
        assert handle.result is not None
        sound, rate = self.read(handle.result.urls[0])
        assert len(sound) == pytest.approx(rate / 10, abs=rate / 100)
        assert recorder.name
