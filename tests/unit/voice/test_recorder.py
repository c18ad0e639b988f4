"""Recordings: stereo, aligned by arrival, written by one thread (G66, G215, G216)."""

from __future__ import annotations

import asyncio
import threading
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.unit.voice.slow_disk import Blocked

from salon.media.errors import WavError
from salon.media.frame import FRAME_SAMPLES, Samples
from salon.media.wav import WavWriter
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
    for _ in range(10):
        made.outbound(None)
    made.inbound(tone(900))
    await made.close()
    left, right = channels(made.path)
    assert len(left) == 16 * (200 + 900)
    assert not right.any()


async def test_G216_a_burst_was_said_before_what_is_played_after_it(
    tmp_path: Path, writer: RecordingWriter
) -> None:
    made = StereoRecorder(tmp_path / "call.wav", writer)
    made.inbound(tone(3000))
    for frame in frames(tone(200)):
        made.outbound(frame)
    await made.close()
    left, right = channels(made.path)
    assert left[: 16 * 3000].any()
    assert not left[16 * 3000 :].any()
    assert not right[: 16 * 3000].any()
    assert np.array_equal(right[16 * 3000 :], tone(200))


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


# -- a disk that is slow, full or gone ------------------------------------------------------------


async def test_what_a_slow_disk_missed_is_silence_and_what_follows_is_in_its_place(
    tmp_path: Path,
) -> None:
    writer, told = RecordingWriter(bound=2), list[str]()
    made = StereoRecorder(tmp_path / "call.wav", writer, on_trouble=told.append)
    blocked = Blocked(writer)
    sound = tone(1200)
    for frame in frames(sound[: 16 * 800]):  # four pieces, two have no room
        made.inbound(frame)
        made.outbound(frame)
    assert made.lost == 16 * 400
    assert told == ["the disk is too slow, some sound is missing from the recording"]
    blocked.free.set()
    assert await writer.written()
    for frame in frames(sound[16 * 800 :]):
        made.inbound(frame)
        made.outbound(frame)
        assert await writer.written()
    await made.close()
    assert len(told) == 1
    left, right = channels(made.path)
    assert len(left) == len(sound)
    assert np.array_equal(left, right)
    assert np.array_equal(left[: 16 * 400], sound[: 16 * 400])
    assert not left[16 * 400 : 16 * 800].any()
    assert np.array_equal(left[16 * 800 :], sound[16 * 800 :])
    writer.close()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), WavError("too long")])
async def test_a_full_disk_ends_the_recording_and_is_told(
    tmp_path: Path, writer: RecordingWriter, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    told: list[str] = []
    made = StereoRecorder(tmp_path / "call.wav", writer, on_trouble=told.append)
    other = StereoRecorder(tmp_path / "other.wav", writer)
    write = WavWriter.write

    def full(self: WavWriter, samples: Samples) -> None:
        if self.path == made.path and self.frames:
            raise error
        write(self, samples)

    monkeypatch.setattr(WavWriter, "write", full)
    for recorder in (made, other):
        for frame in frames(tone(800)):
            recorder.inbound(frame)
            recorder.outbound(frame)
    assert await writer.written()
    await asyncio.sleep(0)
    await made.close()
    await other.close()
    assert len(told) == 1
    assert "the recording ends: " in told[0]
    assert writer.failed == 1
    assert made.lost == 16 * 600
    assert len(channels(made.path)[0]) == 16 * 200
    assert len(channels(other.path)[0]) == 16 * 800


async def test_a_file_that_cannot_be_closed_is_let_go_of(
    tmp_path: Path,
    writer: RecordingWriter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_self: WavWriter) -> None:
        raise OSError(5, "Input/output error")

    made = StereoRecorder(tmp_path / "call.wav", writer)
    assert writer.held() == {made.path}
    monkeypatch.setattr(WavWriter, "close", broken)
    await made.close()
    assert writer.held() == frozenset()
    assert "was not closed cleanly" in caplog.text


def test_what_waits_is_bounded_in_bytes() -> None:
    writer = RecordingWriter(bound_bytes=100)
    blocked = Blocked(writer)
    assert writer.submit(lambda: None, 1000)  # alone it may be larger
    assert not writer.submit(lambda: None, 1)
    assert writer.dropped == 1
    blocked.free.set()
    done = threading.Event()
    while not writer.submit(done.set, 100):
        """Until the large one is written."""
    assert done.wait(10)
    writer.close()


async def test_waiting_for_the_disk_is_bounded() -> None:
    writer = RecordingWriter(bound=1)
    blocked = Blocked(writer)
    assert not await writer.written(0.01)
    assert not await writer.written(0.01)  # not even room
    blocked.free.set()
    assert await writer.written()
    writer.close()


async def test_trouble_after_the_loop_is_gone_is_told_to_nobody(
    tmp_path: Path, writer: RecordingWriter
) -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    recording._call_soon(loop, lambda: None)
    assert recording._running_loop() is asyncio.get_running_loop()
    assert await asyncio.to_thread(recording._running_loop) is None


# -- rate and period ------------------------------------------------------------------------------


@pytest.mark.parametrize("ptime", [0, 20, 100, 1000])
async def test_G66_written_every_ptime(tmp_path: Path, writer: RecordingWriter, ptime: int) -> None:
    made = StereoRecorder(tmp_path / "call.wav", writer, ptime_ms=ptime)
    for frame in frames(tone(1500)):
        made.inbound(frame)
        made.outbound(frame)
    assert await writer.written()
    step = 16 * max(ptime, 20)
    assert len(channels(made.path)[0]) == 24_000 // step * step
    assert made.bytes == made.path.stat().st_size
    await made.close()
    assert made.duration_ms == 1500


async def test_G270_a_file_of_8_khz(tmp_path: Path, writer: RecordingWriter) -> None:
    made = StereoRecorder(tmp_path / "call.wav", writer, rate=8000)
    for low, high in zip(frames(tone(1000, 440.0)), frames(tone(1000, 1000.0)), strict=True):
        made.inbound(low)
        made.outbound(high)
    await made.close()
    with wave.open(str(made.path), "rb") as file:
        assert file.getframerate() == 8000
        stereo = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, 2)
    assert len(stereo) == 8000
    for side, hertz in ((0, 440), (1, 1000)):
        assert int(np.argmax(np.abs(np.fft.rfft(stereo[:, side])))) == pytest.approx(hertz, abs=2)
