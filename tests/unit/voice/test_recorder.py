"""Recordings: stereo, aligned by arrival, written by one thread (G66, G215, G216)."""

from __future__ import annotations

import threading
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from salon.media.frame import FRAME_SAMPLES, Samples
from salon.testing import silence, tone
from salon.voice import recorder as recording
from salon.voice.recorder import RecordingWriter, StereoRecorder


@pytest.fixture
def writer() -> Iterator[RecordingWriter]:
    made = RecordingWriter()
    yield made
    made.close()


def channels(path: Path) -> tuple[Samples, Samples]:
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, 16_000, 2)
        stereo = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, 2)
    return stereo[:, 0].astype(np.int16), stereo[:, 1].astype(np.int16)


def frames(samples: Samples) -> list[Samples]:
    return list(samples.reshape(-1, FRAME_SAMPLES))


async def test_G215_left_is_the_caller_right_what_the_caller_hears(
    tmp_path: Path, writer: RecordingWriter
) -> None:
    made = StereoRecorder(tmp_path / "deep" / "call.wav", writer)
    said, heard = tone(1000, 300.0), tone(1000, 600.0)
    for left, right in zip(frames(said), frames(heard), strict=True):
        made.inbound(left)
        made.outbound(right)
    await made.close()
    left, right = channels(made.path)
    assert np.array_equal(left, said)
    assert np.array_equal(right, heard)


async def test_nothing_played_is_silence(tmp_path: Path, writer: RecordingWriter) -> None:
    made = StereoRecorder(tmp_path / "call.wav", writer)
    for frame in frames(tone(500)):
        made.inbound(frame)
        made.outbound(None)
    await made.close()
    left, right = channels(made.path)
    assert len(left) == 8000
    assert not right.any()


async def test_G216_a_caller_who_sends_nothing_is_silence(
    tmp_path: Path, writer: RecordingWriter
) -> None:
    made = StereoRecorder(tmp_path / "call.wav", writer)
    for frame in frames(tone(1000)):
        made.outbound(frame)
    made.inbound(tone(20))  # arrives after one second
    made.outbound(None)
    await made.close()
    left, right = channels(made.path)
    assert len(left) == len(right) == 16_320
    assert np.abs(left[:14_000]).max() == 0
    assert left[14_400:].any()


async def test_sound_of_the_caller_beyond_the_last_tick_is_kept(
    tmp_path: Path, writer: RecordingWriter
) -> None:
    made = StereoRecorder(tmp_path / "call.wav", writer)
    made.inbound(tone(3000))
    for _ in range(10):
        made.outbound(None)
    made.inbound(tone(100))
    await made.close()
    left, right = channels(made.path)
    assert len(left) == 16 * 3100
    assert not right.any()


async def test_G66_the_file_can_be_read_while_it_grows(
    tmp_path: Path, writer: RecordingWriter
) -> None:
    made = StereoRecorder(tmp_path / "call.wav", writer)
    for frame in frames(tone(200)):
        made.inbound(frame)
        made.outbound(frame)
    written = threading.Event()
    writer.submit(written.set)
    assert written.wait(10)
    left, _ = channels(made.path)
    assert len(left) == 3200
    await made.close()


async def test_closing_twice_and_writing_after_it(tmp_path: Path, writer: RecordingWriter) -> None:
    made = StereoRecorder(tmp_path / "call.wav", writer)
    await made.close()
    await made.close()
    made.inbound(silence(20))
    made.outbound(None)
    left, _ = channels(made.path)
    assert len(left) == 0


async def test_a_slow_disk_drops_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = RecordingWriter(bound=1)
    busy, free = threading.Event(), threading.Event()

    def block() -> None:
        busy.set()
        free.wait(10)

    writer.submit(block)
    assert busy.wait(10)
    assert writer.submit(lambda: None)
    made = StereoRecorder(tmp_path / "call.wav", writer)
    for frame in frames(tone(400)):
        made.inbound(frame)
        made.outbound(frame)
    assert writer.dropped == 2
    monkeypatch.setattr(recording, "CLOSE_TIMEOUT_S", 0.01)
    await made.close()  # does not wait for what was not taken
    writer.close()
    free.set()


def test_a_disk_that_fails_is_logged_and_writing_goes_on(
    writer: RecordingWriter, caplog: pytest.LogCaptureFixture
) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    done = threading.Event()
    writer.submit(full)
    writer.submit(done.set)
    assert done.wait(10)
    assert "could not be written" in caplog.text
