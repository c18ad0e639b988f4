"""Echo cancellers: the reference's queue, native objects, switching, settings."""

from __future__ import annotations

import ctypes
import sys
import threading
from typing import Any

import numpy as np
import pytest

from salon.base import ConfigurationError, MissingExtraError
from salon.media.frame import AudioFrame, Samples
from salon.voice.pipeline.aec import MockAECProvider, SpeexAECProvider, WebRTCAECProvider
from salon.voice.pipeline.aec.block import BlockAECProvider, EchoCanceller
from salon.voice.pipeline.aec.reference import ReferenceQueue
from salon.voice.pipeline.aec.speex_library import load_speexdsp


class Subtracting:
    """A canceller for an echo that is the reference itself."""

    def __init__(self) -> None:
        self.closed = 0

    def cancel(self, captured: Samples, reference: Samples) -> Samples:
        assert not self.closed
        return captured - reference

    def close(self) -> None:
        self.closed += 1


class SubtractingProvider(BlockAECProvider):
    def __init__(self) -> None:
        super().__init__(16_000, 1, 160)
        self.made: list[Subtracting] = []

    @property
    def name(self) -> str:
        return "subtracting"

    def _new_canceller(self) -> EchoCanceller:
        self.made.append(Subtracting())
        return self.made[-1]


def numbers(first: int, count: int) -> Samples:
    return np.arange(first, first + count).astype(np.int16)


def frame(samples: Samples, rate: int = 16_000) -> AudioFrame:
    return AudioFrame.of(samples, rate)


# --- the queue


def test_the_queue_gives_what_came_then_silence() -> None:
    queue = ReferenceQueue(16_000, 8_000)
    assert not queue.pull(10).any()
    queue.push(numbers(1, 6))
    queue.push(numbers(7, 0))
    queue.push(numbers(7, 6))
    assert len(queue) == 12
    assert queue.pull(4).tolist() == [1, 2, 3, 4]
    assert queue.pull(4).tolist() == [5, 6, 7, 8]
    assert queue.pull(6).tolist() == [9, 10, 11, 12, 0, 0]
    assert (len(queue), queue.dropped) == (0, 0)


def test_the_queue_drops_the_oldest_and_counts() -> None:
    queue = ReferenceQueue(16_000, 10)
    queue.push(numbers(1, 8))
    queue.push(numbers(9, 8))
    assert (len(queue), queue.dropped) == (10, 6)
    assert queue.pull(10).tolist() == numbers(7, 10).tolist()
    queue.push(numbers(1, 3))
    queue.clear()
    assert (len(queue), queue.dropped) == (0, 6)


def test_a_standing_backlog_is_taken_out() -> None:
    """After a gap in the capture the reference would stay late for good."""
    queue = ReferenceQueue(16_000, 8_000)
    for _ in range(10):
        queue.push(numbers(0, 320))
    for _ in range(120):
        queue.push(numbers(0, 320))
        queue.pull(320)
    assert len(queue) == 0
    assert queue.dropped == 3_200


def test_a_small_backlog_stays() -> None:
    queue = ReferenceQueue(16_000, 8_000)
    queue.push(numbers(0, 640))
    for _ in range(120):
        queue.push(numbers(0, 320))
        queue.pull(320)
    assert (len(queue), queue.dropped) == (640, 0)


# --- streams


def test_V44_one_native_object_per_stream_made_on_its_first_frame() -> None:
    provider = SubtractingProvider()
    provider.feed_reference(frame(numbers(0, 320)), "a")
    assert provider.made == []
    for stream in ("a", "b", "a"):
        provider.process(frame(numbers(0, 320)), stream)
    assert len(provider.made) == 2


def test_V46_V47_native_objects_are_freed_once() -> None:
    provider = SubtractingProvider()
    for stream in ("a", "b"):
        provider.process(frame(numbers(0, 320)), stream)
    provider.reset("a")
    provider.reset("a")
    assert [one.closed for one in provider.made] == [1, 0]
    provider.close()
    provider.close()
    assert [one.closed for one in provider.made] == [1, 1]
    provider.feed_reference(frame(numbers(0, 320)), "c")
    provider.set_stream_active("c", True)
    assert provider.stream_count == 0


def test_V64_the_reference_meets_the_capture() -> None:
    provider = SubtractingProvider()
    provider.feed_reference(frame(numbers(0, 480)), "a")
    out = provider.process(frame(numbers(0, 320)), "a")
    assert not out.samples.any()
    out = provider.process(frame(numbers(320, 320)), "a")
    assert out.samples.tolist() == [0] * 160 + list(range(480, 640))
    assert out.metadata == {"echo_cancelled": True}


def test_V65_a_stereo_reference_of_another_rate_is_brought_to_mono() -> None:
    provider = SubtractingProvider()
    for _ in range(10):
        sound = np.full(960 * 2, 1_000, dtype=np.int16)
        provider.feed_reference(AudioFrame(sound.tobytes(), 48_000, 2), "a")
        out = provider.process(frame(np.full(320, 1_000, dtype=np.int16)), "a")
    assert np.abs(out.samples).max() <= 1
    provider.feed_reference(AudioFrame(bytes(320), 8_000), "a")
    provider.feed_reference(AudioFrame(b"", 8_000), "a")


def test_V65_a_capture_of_another_rate_is_refused() -> None:
    provider = SubtractingProvider()
    for wrong in (
        AudioFrame(bytes(640), 8_000),
        AudioFrame(bytes(640), 16_000, 2),
        AudioFrame(bytes(640), 16_000, 1, 4),
    ):
        with pytest.raises(ValueError, match="subtracting was made for"):
            provider.process(wrong, "a")


def test_the_reference_is_bounded_and_its_loss_is_counted() -> None:
    provider = SubtractingProvider()
    for _ in range(50):
        provider.feed_reference(frame(numbers(0, 320)), "a")
    assert provider.reference_dropped == 16_000 - 8_000
    provider.reset("a")
    assert provider.reference_dropped == 8_000
    for _ in range(26):
        provider.feed_reference(frame(numbers(0, 320)), "b")
    provider.close()
    assert provider.reference_dropped == 8_320


def test_what_was_fed_before_the_first_frame_is_forgotten_when_switched_off() -> None:
    provider = SubtractingProvider()
    provider.feed_reference(frame(numbers(0, 320)), "a")
    provider.set_stream_active("a", False)
    provider.feed_reference(frame(numbers(0, 320)), "a")
    provider.set_stream_active("a", True)
    out = provider.process(frame(numbers(5, 320)), "a")
    assert np.array_equal(out.samples, numbers(5, 320))


@pytest.mark.parametrize("everything", [False, True])
def test_echo_that_is_still_to_come_is_cancelled_after_switching_off(everything: bool) -> None:
    provider = SubtractingProvider()
    provider.feed_reference(frame(numbers(0, 960)), "a")
    provider.process(frame(numbers(0, 320)), "a")
    if everything:
        provider.set_active(False)
    else:
        provider.set_stream_active("a", False)
    provider.feed_reference(frame(numbers(7, 320)), "a")
    for first in (320, 640):
        out = provider.process(frame(numbers(first, 320)), "a")
        assert not out.samples.any()
    noted = [
        "echo_cancelled" in provider.process(frame(numbers(0, 320)), "a").metadata
        for _ in range(17)
    ]
    assert noted == [True] * 15 + [False] * 2


def test_switched_on_again_a_stream_goes_on_where_it_was() -> None:
    provider = SubtractingProvider()
    provider.feed_reference(frame(numbers(0, 640)), "a")
    provider.process(frame(numbers(0, 320)), "a")
    provider.set_stream_active("a", False)
    provider.set_stream_active("a", True)
    assert not provider.process(frame(numbers(320, 320)), "a").samples.any()
    for _ in range(20):
        assert provider.process(frame(numbers(0, 320)), "a").metadata["echo_cancelled"]


def test_switching_everything_takes_precedence_over_what_was_said_before() -> None:
    provider = SubtractingProvider()

    def works(stream: str) -> bool:
        return "echo_cancelled" in provider.process(frame(numbers(0, 320)), stream).metadata

    provider.set_active(False)
    provider.set_stream_active("a", True)
    assert (works("a"), works("b")) == (True, False)
    provider.set_active(False)
    assert [works("a") for _ in range(16)] == [True] * 15 + [False]
    provider.set_active(True)
    assert (works("a"), works("b")) == (True, True)


def test_a_delayed_stream_stays_whole_when_switched_off() -> None:
    provider, sound, out = SubtractingProvider(), numbers(1, 12_000), []
    for at in range(0, 12_000, 100):
        if at == 1_000:
            provider.set_stream_active("a", False)
        out.append(provider.process(frame(sound[at : at + 100]), "a"))
    heard = np.concatenate([one.samples for one in out])
    assert np.array_equal(heard, np.concatenate([np.zeros(160, np.int16), sound])[:12_000])
    assert "echo_cancelled" in out[0].metadata
    assert "echo_cancelled" not in out[-1].metadata


def test_what_was_fed_before_closing_counts_for_nothing() -> None:
    provider = SubtractingProvider()
    provider.close()
    sound = frame(numbers(0, 320))
    assert provider.process(sound, "a") is sound


def test_streams_may_end_while_others_work() -> None:
    """A native object is never used after it was freed, whichever thread ends the stream."""
    provider, failures = SubtractingProvider(), []

    def work() -> None:
        try:
            for _ in range(50):
                provider.feed_reference(frame(numbers(0, 320)), "a")
                provider.process(frame(numbers(0, 320)), "a")
        except AssertionError as error:  # pragma: no cover - only if it is broken
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        provider.reset("a")
    for thread in threads:
        thread.join()
    provider.close()
    assert failures == []
    assert {one.closed for one in provider.made} == {1}


# --- Speex


@pytest.mark.parametrize(
    "settings",
    [
        {"sample_rate": 4_000},
        {"frame_size": 0},
        {"frame_size": 3_200},
        {"filter_length": 100},
        {"filter_length": 20_000},
    ],
)
def test_speex_refuses_senseless_sizes(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        SpeexAECProvider(**settings)


def test_speex_names_the_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> ctypes.PyDLL:
        raise OSError(name)

    monkeypatch.setattr("salon.voice.pipeline.aec.speex_library.ctypes.PyDLL", refuse)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    load_speexdsp.cache_clear()
    with pytest.raises(ConfigurationError, match="libspeexdsp1"):
        SpeexAECProvider()
    load_speexdsp.cache_clear()


def test_speex_says_when_no_state_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    class Empty:
        def speex_echo_state_init(self, block: int, taps: int) -> None:
            return None

    monkeypatch.setattr("salon.voice.pipeline.aec.speex.load_speexdsp", Empty)
    with pytest.raises(MemoryError, match="speex_echo_state_init"):
        SpeexAECProvider().process(frame(numbers(0, 320)), "a")


# --- WebRTC


@pytest.mark.parametrize(
    "settings",
    [{"sample_rate": 44_100}, {"channels": 3}, {"stream_delay_ms": -1}, {"stream_delay_ms": 501}],
)
def test_webrtc_refuses_senseless_settings(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"sample_rate|channels|stream delay"):
        WebRTCAECProvider(**settings)  # type: ignore[arg-type]


def test_webrtc_names_the_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "livekit.rtc", None)
    with pytest.raises(MissingExtraError, match="WebRTCAECProvider") as caught:
        WebRTCAECProvider()
    assert caught.value.extra == "echo"


def test_webrtc_takes_a_hint_of_the_delay_and_stereo() -> None:
    pytest.importorskip("livekit.rtc")
    provider = WebRTCAECProvider(48_000, 2, 40, enable_ns=True, enable_agc=True)
    assert provider.stream_delay_ms == 40
    stereo = AudioFrame(bytes(960 * 4), 48_000, 2)
    for delay in (40, 40, 80):
        provider.set_stream_delay_ms(delay)
        provider.feed_reference(stereo, "a")
        out = provider.process(stereo, "a")
        assert (len(out.data), out.channels) == (960 * 4, 2)
    assert provider.stream_delay_ms == 80
    provider.close()


def test_the_mock_remembers() -> None:
    mock, sound = MockAECProvider(), frame(numbers(0, 320))
    assert mock.process(sound, "a") is sound
    mock.feed_reference(sound, "b")
    mock.set_active(True)
    mock.set_stream_active("a", False)
    mock.reset("a")
    mock.close()
    seen: dict[str, Any] = vars(mock)
    assert mock.name == "MockAECProvider"
    assert seen == {
        "frames": [sound],
        "reference_frames": [sound],
        "streams": ["a"],
        "reference_streams": ["b"],
        "active_changes": [(None, True), ("a", False)],
        "reset_streams": ["a"],
        "reset_count": 1,
        "closed": True,
    }
