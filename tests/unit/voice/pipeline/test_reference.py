"""The canceller's reference: once, at one place, in the format of what comes in (V59-V65)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.voice.pipeline.logging_stages import (
    Canceller,
    PostProcessor,
    frame,
    session,
)

from salon.media.frame import AudioFormat
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.contract import AudioPipelineContract
from salon.voice.pipeline.engine import AudioPipeline


def references(aec: Canceller) -> list[tuple[int, int, str]]:
    return [(int(what.samples[0]), what.sample_rate, stream) for what, stream in aec.references]


def test_V59_a_network_transport_leaves_the_feeding_to_the_pipeline() -> None:
    aec = Canceller()
    pipeline = AudioPipeline(AudioPipelineConfig(aec=aec, postprocessors=[PostProcessor(adds=1)]))
    pipeline.process_outbound(session("a"), frame(1))
    pipeline.process_outbound(session("b"), frame(2))
    assert references(aec) == [(2, 16_000, "a"), (3, 16_000, "b")]


def test_V60_a_transport_that_feeds_is_left_to_it() -> None:
    aec = Canceller()
    pipeline = AudioPipeline(AudioPipelineConfig(aec=aec), backend_feeds_aec_reference=True)
    pipeline.process_outbound(session(), frame(1))
    pipeline.feed_aec_reference(frame(2), "s")
    assert references(aec) == [(2, 16_000, "s")]


def test_V60_feeding_at_playback_can_be_announced_later() -> None:
    aec = Canceller()
    pipeline = AudioPipeline(AudioPipelineConfig(aec=aec))
    pipeline.process_outbound(session(), frame(1))
    pipeline.enable_playback_aec_feed()
    pipeline.process_outbound(session(), frame(2))
    assert references(aec) == [(1, 16_000, "s")]


def test_V59_it_is_never_fed_at_both_places() -> None:
    aec = Canceller()
    pipeline = AudioPipeline(AudioPipelineConfig(aec=aec))
    pipeline.feed_aec_reference(frame(1), "s")
    pipeline.process_outbound(session(), frame(2))
    pipeline.feed_aec_reference(frame(3), "s")
    assert [level for level, _, _ in references(aec)] == [1, 3]


def test_V65_a_reference_of_another_rate_is_resampled_to_the_contracts() -> None:
    aec = Canceller()
    contract = AudioPipelineContract(transport_outbound_format=AudioFormat(8_000))
    pipeline = AudioPipeline(AudioPipelineConfig(aec=aec, contract=contract))
    for _ in range(5):
        played = pipeline.process_outbound(session(), frame(1, 24_000))
    assert played.sample_rate == 8_000
    assert {(what.sample_rate, len(what.samples)) for what, _ in aec.references} == {(16_000, 320)}


def test_V65_or_to_that_of_what_comes_in() -> None:
    aec = Canceller()
    pipeline = AudioPipeline(AudioPipelineConfig(aec=aec))
    pipeline.process_inbound(session(), frame(1, 8_000))
    pipeline.process_outbound(session(), frame(1, 24_000))
    pipeline.process_outbound(session(), frame(1, 8_000))
    assert [rate for _, rate, _ in references(aec)] == [8_000, 8_000]
    pipeline.on_session_ended(session())
    pipeline.on_session_active(session())
    pipeline.process_outbound(session(), frame(1, 24_000))
    assert references(aec)[-1][1] == 24_000
    pipeline.close()


def test_V204_a_reference_that_fails_stops_nothing() -> None:
    aec = Canceller(fails=True)
    pipeline = AudioPipeline(AudioPipelineConfig(aec=aec))
    given = frame()
    assert pipeline.process_outbound(session(), given) is given
    pipeline.feed_aec_reference(given, "s")
    assert pipeline.failures == {"aec": 2}


def test_the_canceller_rests_while_no_source_plays() -> None:
    aec = Canceller()
    pipeline = AudioPipeline(AudioPipelineConfig(aec=aec))
    assert pipeline.runs_aec
    for active, source in (
        (False, "playback"),
        (True, "playback"),
        (True, "bridge"),
        (False, "playback"),
        (True, "bridge"),
        (False, "bridge"),
    ):
        pipeline.set_aec_active("s", active, source=source)
    pipeline.set_aec_active("t", True)
    assert aec.switched == [("s", True), ("s", False), ("t", True)]


def test_without_a_canceller_there_is_nothing_to_feed() -> None:
    pipeline = AudioPipeline(AudioPipelineConfig())
    pipeline.feed_aec_reference(frame(), "s")
    pipeline.set_aec_active("s", True)
    assert (pipeline.runs_aec, pipeline.failures) == (False, {})


@pytest.mark.parametrize("rate", [8_000, 48_000])
def test_V61_each_session_gets_its_transports_format(rate: int) -> None:
    log: list[Any] = []
    contract = AudioPipelineContract(transport_outbound_format=AudioFormat(24_000))
    pipeline = AudioPipeline(
        AudioPipelineConfig(contract=contract, postprocessors=[PostProcessor(log)])
    )
    pipeline.set_outbound_format("a", AudioFormat(rate, 2))
    first = pipeline.process_outbound(session("a"), frame())
    second = pipeline.process_outbound(session("b"), frame())
    assert (first.sample_rate, first.channels, second.sample_rate) == (rate, 2, 24_000)
    assert first.duration_ms == 20.0
    pipeline.set_outbound_format("a", None)
    assert pipeline.process_outbound(session("a"), frame()).sample_rate == 24_000


def test_V61_a_format_of_ones_own_needs_no_contract() -> None:
    pipeline = AudioPipeline(AudioPipelineConfig())
    assert pipeline.process_outbound(session(), frame()).sample_rate == 16_000
    pipeline.set_outbound_format("s", AudioFormat(8_000))
    assert pipeline.process_outbound(session(), frame()).sample_rate == 8_000
    assert pipeline.process_inbound_stream("x", frame(1, 48_000)).frame.sample_rate == 48_000
