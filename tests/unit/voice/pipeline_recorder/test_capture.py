"""While a recording runs: silence, speech, holds, cuts, and what does not fit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from salon.media.frame import AudioFrame
from salon.voice.pipeline.recorder import RecordingChannelMode, RecordingHandle, RecordingMode
from salon.voice.pipeline.recorder import capture as capture_module

from .reading import read_wav
from .stage import BOTH_APART, FRAME, RATE, SPEECH, HeldThread, Stage, share


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_bot_speech_lies_where_it_was_said(stage: Stage) -> None:
    handle = stage.start(**BOTH_APART)
    stage.say(handle, 2.0)
    stage.say(handle, 1.0, bot=200)
    stage.say(handle, 2.0)
    stage.say(handle, 1.0, bot=200)
    sound, _ = read_wav(stage.recorder.stop(handle).urls[0])
    at = np.flatnonzero(sound[:, 1] == 200)
    assert len(at) == 2 * RATE
    assert abs(at[0] / RATE - 2.0) <= 0.020
    assert abs(at[RATE] / RATE - 5.0) <= 0.020
    assert np.all(sound[:, 0] == 100)


def test_a_side_that_says_nothing_for_an_hour_costs_no_memory(stage: Stage) -> None:
    handle = stage.start(mode=RecordingMode.OUTBOUND_ONLY, channels=RecordingChannelMode.STEREO)
    stage.say(handle, 0.5, user=None, bot=200)
    stage.clock.advance(600)
    stage.say(handle, 0.5, user=None, bot=200)
    result = stage.recorder.stop(handle)
    assert result.duration_seconds == pytest.approx(601, abs=0.05)
    assert share(read_wav(result.urls[0])[0][:, 1], 200) == 1.0


def test_V82_user_frames_make_no_difference_to_a_recording_of_the_bot(stage: Stage) -> None:
    handle = stage.start(mode=RecordingMode.OUTBOUND_ONLY)
    stage.say(handle, 1.0, user=100, bot=None)
    stage.say(handle, 1.0, user=100, bot=200)
    stage.recorder.speech(handle, True)
    stage.recorder.outbound_cut(handle)
    sound, _ = read_wav(stage.recorder.stop(handle).urls[0])
    assert set(np.unique(sound)) <= {0, 200}


def test_cutting_a_recording_of_the_user_changes_nothing(stage: Stage) -> None:
    handle = stage.start(mode=RecordingMode.INBOUND_ONLY)
    stage.recorder.outbound_cut(handle)
    stage.say(handle, 0.1)
    stage.recorder.outbound_cut(handle)
    assert stage.recorder.stop(handle).duration_seconds == pytest.approx(0.1)


def test_speech_only_keeps_speech_with_its_pre_roll(stage: Stage) -> None:
    handle = stage.start(**SPEECH)
    stage.say(handle, 3.0, user=1)
    stage.recorder.speech(handle, True)
    stage.recorder.speech(handle, True)
    stage.say(handle, 1.0, user=2)
    stage.recorder.speech(handle, False)
    stage.say(handle, 3.0, user=3)
    stage.recorder.speech(handle, True)
    stage.say(handle, 0.5, user=4)
    result = stage.recorder.stop(handle)
    sound = read_wav(result.urls[0])[0]
    assert [share(sound, value) for value in (1, 2, 3, 4)] == [0.5, 1.0, 0.5, 0.5]
    assert result.duration_seconds == pytest.approx(2.5)


def test_speech_only_keeps_what_the_bot_says(stage: Stage) -> None:
    handle = stage.start(**SPEECH, **BOTH_APART)
    stage.say(handle, 2.0, user=1)
    stage.say(handle, 1.0, user=1, bot=200)
    stage.say(handle, 2.0, user=1)
    stage.recorder.speech(handle, True)
    stage.say(handle, 1.0, user=2)
    sound = read_wav(stage.recorder.stop(handle).urls[0])[0]
    assert share(sound[:, 1], 200) == 1.0
    assert share(sound[:, 0], 2) == 1.0
    assert len(sound) / RATE == pytest.approx(2.5)


def test_speech_that_was_reported_before_any_sound_counts(stage: Stage) -> None:
    handle = stage.start(**SPEECH)
    stage.recorder.speech(handle, True)
    stage.say(handle, 1.0)
    assert stage.recorder.stop(handle).duration_seconds == pytest.approx(1.0)


def test_speech_only_without_speech_is_an_empty_file(stage: Stage) -> None:
    handle = stage.start(**SPEECH)
    stage.say(handle, 5.0)
    result = stage.recorder.stop(handle)
    assert result.duration_seconds == 0.0
    assert len(read_wav(result.urls[0])[0]) == 0


def test_speech_of_a_recording_of_the_bot_only_is_the_bots(stage: Stage) -> None:
    handle = stage.start(**SPEECH, mode=RecordingMode.OUTBOUND_ONLY)
    stage.say(handle, 0.5, bot=200)
    stage.recorder.speech(handle, True)
    stage.say(handle, 1.0)
    stage.say(handle, 0.5, bot=200)
    assert stage.recorder.stop(handle).duration_seconds == pytest.approx(1.0)


def test_V85_a_hold_in_the_middle_is_silence(stage: Stage) -> None:
    handle = stage.start()
    stage.say(handle, 1.0, user=1)
    stage.recorder.hold(handle)
    stage.say(handle, 2.0, user=2)
    stage.recorder.release(handle)
    stage.say(handle, 1.0, user=3)
    sound = read_wav(stage.recorder.stop(handle).urls[0])[0]
    assert [share(sound, value) for value in (1, 2, 3)] == [1.0, 0.0, 1.0]
    assert share(sound, 0) == pytest.approx(2.0, abs=0.05)


def test_bot_sound_that_was_cut_before_it_played_is_not_there(stage: Stage) -> None:
    handle = stage.start(**BOTH_APART)
    stage.say(handle, 1.0)
    frame = AudioFrame(np.full(RATE * 3, 200, dtype=np.int16).tobytes())
    stage.recorder.tap_outbound(handle, frame)
    stage.say(handle, 1.0)
    stage.recorder.outbound_cut(handle)
    stage.say(handle, 4.0)
    sound = read_wav(stage.recorder.stop(handle).urls[0])[0]
    assert share(sound[:, 1], 200) == pytest.approx(1.0, abs=0.03)


def test_V58_nor_is_it_in_a_recording_of_the_bot_alone(stage: Stage) -> None:
    handle = stage.start(mode=RecordingMode.OUTBOUND_ONLY)
    frame = AudioFrame(np.full(RATE * 3, 200, dtype=np.int16).tobytes())
    stage.recorder.tap_outbound(handle, frame)
    stage.clock.advance(1.0)
    stage.recorder.outbound_cut(handle)
    stage.clock.advance(1.0)
    stage.say(handle, 0.5, user=None, bot=100)
    sound = read_wav(stage.recorder.stop(handle).urls[0])[0]
    assert share(sound, 200) == pytest.approx(1.0, abs=0.03)
    assert share(sound, 0) == pytest.approx(1.0, abs=0.03)
    assert share(sound, 100) == pytest.approx(0.5)


@pytest.mark.parametrize("cut", [False, True])
def test_the_end_of_one_stretch_is_not_heard_in_the_next(stage: Stage, cut: bool) -> None:
    handle = stage.start(**BOTH_APART)
    stage.say(handle, 1.0)
    loud = np.full(24_000, 8000, dtype=np.int16)
    stage.recorder.tap_outbound(handle, AudioFrame.of(loud, 24_000))
    stage.say(handle, 0.5 if cut else 3.0)
    if cut:
        stage.recorder.outbound_cut(handle)
        stage.say(handle, 2.5)
    stage.recorder.tap_outbound(handle, AudioFrame.of(loud // 100, 24_000))
    stage.say(handle, 3.0)
    sound = read_wav(stage.recorder.stop(handle).urls[0])[0][:, 1]
    assert np.abs(sound[3 * RATE :]).max() < 200
    assert not sound[-RATE:].any()


def test_taps_may_run_on_several_threads(stage: Stage) -> None:
    handle = stage.start(**BOTH_APART)
    frames = [AudioFrame(np.full(FRAME, n % 7 + 1, dtype=np.int16).tobytes()) for n in range(500)]

    def run(tap: Callable[[RecordingHandle, AudioFrame], None]) -> None:
        for frame in frames:
            tap(handle, frame)

    taps = (stage.recorder.tap_inbound, stage.recorder.tap_outbound)
    threads = [threading.Thread(target=run, args=(tap,)) for tap in taps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sound = read_wav(stage.recorder.stop(handle).urls[0])[0]
    expected = np.concatenate([frame.samples for frame in frames])
    for side in sound.T:
        assert np.array_equal(side[side != 0], expected)


def test_mixing_is_clamped(stage: Stage) -> None:
    handle = stage.start()
    stage.say(handle, 0.5, user=30_000, bot=30_000)
    stage.say(handle, 0.5, user=-30_000, bot=-30_000)
    sound = read_wav(stage.recorder.stop(handle).urls[0])[0]
    assert set(np.unique(sound)) == {32_767, -32_768}


def test_a_slow_disk_costs_sound_not_time_and_is_counted(tmp_path: Path) -> None:
    thread = HeldThread()
    stage = Stage(tmp_path, thread=thread)
    handle = stage.start(**BOTH_APART)
    stage.say(handle, 70.0)
    thread.go.set()
    stage.recorder.stop(handle)
    result = handle.result
    assert result is not None
    sound = read_wav(result.urls[0])[0]
    dropped = result.metadata["dropped_seconds"]
    assert isinstance(dropped, float)
    assert 9 < dropped < 11
    assert share(sound[:, 0], 100) == pytest.approx(70 - dropped, abs=0.01)


def test_sound_far_ahead_of_time_is_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "MAX_AHEAD_S", 2)
    handle = stage.start(**BOTH_APART)
    stage.say(handle, 0.1)
    frame = AudioFrame(np.full(RATE, 200, dtype=np.int16).tobytes())
    for _ in range(10):
        stage.recorder.tap_outbound(handle, frame)
    result = stage.recorder.stop(handle)
    assert result.metadata["dropped_seconds"] == 7.0
    assert share(read_wav(result.urls[0])[0][:, 1], 200) == 3.0


def test_a_rate_that_changes_is_followed(stage: Stage) -> None:
    handle = stage.start()
    for rate in (16_000, 8_000, 16_000):
        for _ in range(50):
            data = np.full(rate // 50, 500, dtype=np.int16).tobytes()
            stage.recorder.tap_inbound(handle, AudioFrame(data, rate))
            stage.clock.advance(0.020)
    result = stage.recorder.stop(handle)
    assert result.duration_seconds == pytest.approx(3.0, abs=0.01)


def test_a_rate_that_cannot_be_converted_ends_the_recording_only(stage: Stage) -> None:
    handle = stage.start()
    stage.say(handle, 1.0)
    stage.recorder.tap_inbound(handle, AudioFrame(b"\0\0" * 100, 191_999))
    stage.say(handle, 1.0)
    result = stage.recorder.stop(handle)
    assert result.error is not None
    assert "191999" in result.error
    assert result.duration_seconds > 0.5
