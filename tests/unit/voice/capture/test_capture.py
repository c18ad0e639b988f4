"""One microphone for several listeners (V251)."""

from __future__ import annotations

import importlib
import logging
import signal
import threading
from typing import Any

import pytest
from tests.unit.voice.capture.devices import FakeDevices

from salon.base import MissingExtraError, UnavailableError
from salon.media import AudioFrame
from salon.testing import VirtualClock
from salon.voice.capture import AudioCaptureSource, CaptureMark, LocalMicSource, MockCaptureSource
from salon.voice.capture.device import sound_device


def test_V251_start_and_stop_alone_own_the_device() -> None:
    source = MockCaptureSource()
    subscription = source.subscribe(lambda _frame: None)
    assert source.started == 0
    source.start()
    source.start()
    subscription.unsubscribe()
    assert source.started == 1
    assert MockCaptureSource().running is False
    source.stop()
    source.stop()
    running = bool(source.running)
    assert (running, source.started) == (False, 1)
    assert (source.sample_rate, source.channels, source.sample_width) == (16_000, 1, 2)
    assert (source.block_bytes, source.input_latency_ms) == (640, None)


def test_V251_every_listener_gets_every_frame_until_it_leaves() -> None:
    source = MockCaptureSource()
    first: list[bytes] = []
    second: list[bytes] = []
    one = source.subscribe(lambda frame: first.append(frame.data))
    source.subscribe(lambda frame: second.append(frame.data), name="second")
    blocks = source.feed_blocks(2, fill=1)
    one.unsubscribe()
    one.unsubscribe()
    blocks += source.feed_blocks(2, fill=2)
    assert first == blocks[:2]
    assert second == blocks
    assert not one.active


def test_V251_a_mark_replays_the_past_before_what_is_live() -> None:
    source = MockCaptureSource()
    source.feed_blocks(3, fill=1)
    mark = source.mark()
    past = source.feed_blocks(2, fill=2)
    heard: list[bytes] = []
    subscription = source.subscribe(lambda frame: heard.append(frame.data), since=mark)
    live = source.feed_blocks(1, fill=3)
    assert heard == past + live
    assert subscription.replayed_bytes == 2 * 640
    assert not subscription.truncated
    assert subscription.active


def test_V251_frames_captured_during_the_replay_follow_it_and_no_lock_is_held() -> None:
    source = MockCaptureSource()
    mark = source.mark()
    source.feed_blocks(2, fill=1)
    heard: list[int] = []

    def slow(frame: AudioFrame) -> None:
        heard.append(frame.data[0])
        if len(heard) == 1:  # the thread of the device goes on meanwhile
            feeding = threading.Thread(target=source.feed_blocks, args=(3,), kwargs={"fill": 2})
            feeding.start()
            feeding.join(5)
            assert not feeding.is_alive()
            other = source.subscribe(lambda _frame: None)  # nobody else is held up either
            other.unsubscribe()

    source.subscribe(slow, since=mark)
    source.feed_blocks(1, fill=3)
    assert heard == [1, 1, 2, 2, 2, 3]


def test_V251_a_replay_that_is_too_slow_loses_the_oldest_and_says_so() -> None:
    source = MockCaptureSource(backlog_seconds=0.04)
    mark = source.mark()
    source.feed_blocks(1)

    def slow(frame: AudioFrame) -> None:
        if frame.data[0] == 0:
            for number in range(1, 61):
                source.feed_blocks(1, fill=number)
        heard.append(frame.data[0])

    heard: list[int] = []
    subscription = source.subscribe(slow, since=mark)
    assert heard == [0, *range(11, 61)]
    assert subscription.dropped_frames == 10


def test_V251_the_ring_is_bounded_and_a_stale_mark_is_truncated() -> None:
    source = MockCaptureSource(backlog_seconds=0.1)
    mark = source.mark()
    source.feed_blocks(20)
    assert source.backlog_bytes == 5 * 640
    heard: list[AudioFrame] = []
    subscription = source.subscribe(heard.append, since=mark)
    assert subscription.truncated
    assert subscription.replayed_bytes == 5 * 640 == sum(len(frame.data) for frame in heard)
    small = MockCaptureSource(max_backlog_bytes=700)
    small.feed_blocks(3)
    assert small.backlog_bytes == 640


def test_V251_a_mark_belongs_to_its_source() -> None:
    source = MockCaptureSource()
    with pytest.raises(ValueError, match="another"):
        source.subscribe(lambda _frame: None, since=MockCaptureSource().mark())
    assert isinstance(source.mark(), CaptureMark)


def test_V251_a_listener_that_raises_breaks_nothing_and_is_seen(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = MockCaptureSource()
    heard: list[AudioFrame] = []

    def bad(_frame: AudioFrame) -> None:
        raise RuntimeError("wrong")

    one = source.subscribe(bad, name="bad one")
    source.subscribe(heard.append)
    source.feed_blocks(5)
    assert len(heard) == 5
    assert one.failures == 5
    assert sum("bad one" in record.message for record in caplog.records) == 3  # 1st, 2nd, 4th


def test_V251_a_slow_listener_is_seen(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    source = MockCaptureSource(clock=clock)

    def slow(_frame: AudioFrame) -> None:
        clock.advance(0.015)

    subscription = source.subscribe(slow)
    with caplog.at_level(logging.WARNING):
        source.feed_blocks(3)
    assert subscription.slow_callbacks == 3
    assert len(caplog.records) == 1


def test_close_lets_go_of_everybody() -> None:
    source = MockCaptureSource()
    heard: list[AudioFrame] = []
    subscription = source.subscribe(heard.append)
    source.start()
    source.close()
    source.feed_blocks(1)
    assert heard == []
    assert not subscription.active
    assert not source.running


@pytest.mark.parametrize(
    "wrong",
    [
        {"sample_rate": 0},
        {"channels": 3},
        {"block_duration_ms": 0},
        {"backlog_seconds": -1.0},
        {"max_backlog_bytes": -1},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the parameter is named or not
        MockCaptureSource(**wrong)


def test_a_frame_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format"):
        MockCaptureSource().feed(AudioFrame(b"\0\0", 8000))


# -- the microphone --------------------------------------------------------------------------------


def test_a_microphone_publishes_what_its_device_captures() -> None:
    devices = FakeDevices()
    source = LocalMicSource(module=devices, input_device=3, sample_rate=8000)
    heard: list[AudioFrame] = []
    source.subscribe(heard.append)
    assert source.input_latency_ms is None
    source.start()
    source.start()
    (stream,) = devices.microphones
    assert {name: value for name, value in stream.settings.items() if name != "callback"} == {
        "samplerate": 8000,
        "blocksize": 160,
        "channels": 1,
        "dtype": "int16",
        "device": 3,
    }
    assert source.input_latency_ms == pytest.approx(12)
    stream.capture(bytes(320))
    stream.capture(bytes(320), overflow=True)
    assert [frame.sample_rate for frame in heard] == [8000, 8000]
    assert source.overflows == 1
    source.stop()
    source.stop()
    assert (stream.running, stream.closed) == (False, True)
    source.start()  # again
    assert len(devices.microphones) == 2
    source.close()


def test_a_device_that_refuses_is_unavailable_and_freed() -> None:
    devices = FakeDevices()
    source = LocalMicSource(module=devices, input_device="broken")
    with pytest.raises(UnavailableError, match="microphone"):
        source.start()
    assert devices.microphones[0].closed

    class Nothing:
        def RawInputStream(self, **_settings: Any) -> Any:
            raise OSError("no such device")

    with pytest.raises(UnavailableError):
        LocalMicSource(module=Nothing()).start()  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [ImportError("no module", name="sounddevice"), OSError("lib")])
def test_without_the_library_the_extra_is_named(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(_name: str) -> Any:
        raise error

    monkeypatch.setattr("salon.voice.capture.device.importlib.import_module", absent)
    with pytest.raises(MissingExtraError, match="local"):
        LocalMicSource()


def test_loading_the_library_blocks_no_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_name: str) -> object:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPIPE])
        return object()

    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    monkeypatch.setattr(importlib, "import_module", load)
    sound_device()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_the_real_library_has_what_is_used_of_it() -> None:
    try:
        module = sound_device()
    except MissingExtraError as missing:
        pytest.skip(str(missing))
    assert callable(module.RawInputStream)
    assert callable(module.RawOutputStream)
    source: AudioCaptureSource = LocalMicSource(input_device=9999)
    with pytest.raises(UnavailableError):  # there is no such device
        source.start()
