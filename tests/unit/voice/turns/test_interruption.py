"""RoomKit's surface over the strategies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from salon.base import ConfigurationError
from salon.voice.interruption import (
    InterruptionConfig,
    InterruptionDecision,
    InterruptionHandler,
    InterruptionStrategy,
    classifier_of,
    echoes,
    interruption_of,
    turn_config_of,
)
from salon.voice.pipeline.backchannel import (
    BackchannelDecision,
    MockBackchannelDetector,
    PhraseBackchannelDetector,
)
from salon.voice.turns import FalseStart, Interrupt, SegmentMachine, TurnConfig
from salon.voice.turns import InterruptionStrategy as TurnStrategy

IMMEDIATE = InterruptionStrategy.IMMEDIATE
CONFIRMED = InterruptionStrategy.CONFIRMED
SEMANTIC = InterruptionStrategy.SEMANTIC
DISABLED = InterruptionStrategy.DISABLED


def evaluate(config: InterruptionConfig, **asked: Any) -> InterruptionDecision:
    asked.setdefault("playback_position_ms", 1000)
    return InterruptionHandler(config).evaluate(**asked)


def test_there_is_one_enum() -> None:
    assert InterruptionStrategy is TurnStrategy


def test_the_defaults() -> None:
    config = InterruptionConfig()
    assert (config.strategy, config.min_speech_ms, config.allow_during_first_ms) == (
        CONFIRMED,
        300,
        0,
    )
    assert config.flush_partial_tts
    assert config.keep_partial_transcript
    assert (config.transcript_wait_ms, config.echo_guard_ms) == (1000, 6000)
    assert config.resume_false_interruption_ms is None


@pytest.mark.parametrize(
    "wrong", [{"strategy": "now"}, {"min_speech_ms": -1}, {"resume_false_interruption_ms": -5}]
)
def test_a_config_that_makes_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        InterruptionConfig(**wrong)


def test_a_strategy_by_its_name() -> None:
    config = InterruptionConfig(strategy="semantic")  # type: ignore[arg-type]
    assert config.strategy is SEMANTIC


def test_V115_immediate_and_disabled() -> None:
    assert evaluate(InterruptionConfig(strategy=IMMEDIATE)).should_interrupt
    decision = evaluate(InterruptionConfig(strategy=DISABLED), speech_duration_ms=5000)
    assert (decision.should_interrupt, decision.queue_speech) == (False, True)


@pytest.mark.parametrize(("ms", "left"), [(0, 300), (299, 1), (300, 0)])
def test_V116_confirmed_tells_when_to_look_again(ms: int, left: int) -> None:
    decision = evaluate(InterruptionConfig(), speech_duration_ms=ms)
    assert decision.should_interrupt is (left == 0)
    assert decision.pending_confirmation is (left > 0)
    assert decision.confirm_after_ms == left


def test_V124_X12_the_threshold_is_played_time() -> None:
    config = InterruptionConfig(strategy=IMMEDIATE, allow_during_first_ms=500)
    early = evaluate(config, playback_position_ms=200)
    assert (early.should_interrupt, early.confirm_after_ms) == (False, 300)
    assert evaluate(config, playback_position_ms=500).should_interrupt


def test_V125_disabled_queues_also_what_is_early() -> None:
    config = InterruptionConfig(strategy=DISABLED, allow_during_first_ms=500)
    assert evaluate(config, playback_position_ms=0).queue_speech


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ({}, 300),
        ({"transcript_expected": True}, 1000),
        ({"transcript_expected": True, "speech_duration_ms": 999}, 1),
        ({"speech_duration_ms": 299}, 1),
    ],
)
def test_V244_semantic_does_not_ask_about_nothing(asked: dict[str, Any], left: int) -> None:
    mock = MockBackchannelDetector()
    config = InterruptionConfig(strategy=SEMANTIC, backchannel_detector=mock)
    decision = evaluate(config, **asked)
    assert (decision.should_interrupt, decision.awaiting_transcript) == (False, True)
    assert (decision.pending_confirmation, decision.confirm_after_ms) == (True, left)
    assert mock.evaluations == []


def test_V244_nor_without_duration_when_nothing_is_waited_for() -> None:
    mock = MockBackchannelDetector()
    config = InterruptionConfig(strategy=SEMANTIC, min_speech_ms=0, backchannel_detector=mock)
    assert not evaluate(config).should_interrupt
    assert mock.evaluations == []
    assert evaluate(config, speech_duration_ms=1).should_interrupt


def test_V118_semantic_asks_the_detector() -> None:
    mock = MockBackchannelDetector(
        [
            BackchannelDecision(True),
            BackchannelDecision(False),
            BackchannelDecision(False, pending=True),
        ]
    )
    handler = InterruptionHandler(InterruptionConfig(strategy=SEMANTIC), backchannel_detector=mock)

    def ask() -> InterruptionDecision:
        return handler.evaluate(
            playback_position_ms=900, speech_duration_ms=120, speech_text="ok", speech_final=False
        )

    assert ask().is_backchannel
    assert ask().should_interrupt
    later = ask()
    assert later.pending_confirmation
    assert later.awaiting_transcript
    assert later.confirm_after_ms
    asked = mock.evaluations[0]
    assert (asked.transcript, asked.speech_duration_ms, asked.is_final) == ("ok", 120.0, False)
    assert handler.config.strategy is SEMANTIC


def test_V119_without_words_the_detector_judges_the_duration() -> None:
    mock = MockBackchannelDetector([BackchannelDecision(True)])
    config = InterruptionConfig(strategy=SEMANTIC, backchannel_detector=mock)
    assert evaluate(config, speech_duration_ms=300).is_backchannel
    assert mock.evaluations[0].transcript is None


def test_without_a_detector_the_built_in_words_decide() -> None:
    config = InterruptionConfig(strategy=SEMANTIC)
    assert evaluate(config, speech_text="okay", speech_duration_ms=400).is_backchannel
    assert evaluate(config, speech_text="stop that", speech_duration_ms=90).should_interrupt
    assert evaluate(config, speech_duration_ms=400).should_interrupt


# Echo.

ANSWER = "The weather in Paris today is sunny, and warm."


@pytest.mark.parametrize(
    ("said", "echo"),
    [
        ("weather in Paris", True),
        ("weather in Par", True),
        ("Paris", True),
        ("weather in London", False),
        ("sunny warm", False),
        ("weather in Paris please stop", False),
        ("warm and", False),
        ("", False),
    ],
)
def test_X14_echo_is_told_by_its_words(said: str, echo: bool) -> None:
    assert echoes(said, ANSWER) is echo
    decision = evaluate(
        InterruptionConfig(strategy=IMMEDIATE), speech_text=said, response_text=ANSWER
    )
    assert (decision.is_echo, decision.should_interrupt) == (echo, not echo)


def test_X14_only_while_the_canceller_settles() -> None:
    asked = {"speech_text": "Paris", "response_text": ANSWER, "speech_duration_ms": 400}
    config = InterruptionConfig()
    assert evaluate(config, session_played_ms=5999, **asked).is_echo
    assert evaluate(config, session_played_ms=6000, **asked).should_interrupt
    assert evaluate(InterruptionConfig(echo_guard_ms=0), **asked).should_interrupt


# Settings.


def test_X1_the_legacy_settings() -> None:
    given = InterruptionConfig(strategy=IMMEDIATE)
    assert interruption_of(given, enable_barge_in=False) is given
    assert interruption_of(None) == InterruptionConfig()
    assert interruption_of(None, enable_barge_in=False).strategy is DISABLED
    assert interruption_of(None, barge_in_threshold_ms=500).allow_during_first_ms == 500


@dataclass
class Vad:
    silence_threshold_ms: int | None = None
    speech_pad_ms: int | None = None
    min_speech_duration_ms: int | None = None


def test_the_turn_config_of_an_interruption_config() -> None:
    config = turn_config_of(
        InterruptionConfig(
            strategy=SEMANTIC, min_speech_ms=400, allow_during_first_ms=50, transcript_wait_ms=700
        )
    )
    assert (config.strategy, config.min_speech_ms) == (SEMANTIC, 400)
    assert (config.allow_during_first_ms, config.transcript_wait_ms) == (50, 700)
    assert turn_config_of(None) == TurnConfig()
    assert turn_config_of(None, partials=False).transcript_wait_ms == 0


def test_V239_what_the_vad_is_told_replaces_only_what_is_set() -> None:
    base = TurnConfig(pre_roll_ms=150, speculate_after_ms=100)
    assert turn_config_of(None, Vad(), base=base) == base
    config = turn_config_of(None, Vad(1200, 5000, 60), base=base)
    assert (config.end_silence_ms, config.max_end_silence_ms, config.adaptive) == (
        1200,
        1200,
        False,
    )
    assert (config.pre_roll_ms, config.min_turn_ms, config.speculate_after_ms) == (2000, 60, 100)
    short = turn_config_of(None, Vad(silence_threshold_ms=10))
    assert (short.end_silence_ms, short.min_end_silence_ms) == (64, 64)
    turn_config_of(None, Vad(silence_threshold_ms=40_000))


def test_a_detector_as_the_machines_take_it() -> None:
    mock = MockBackchannelDetector([BackchannelDecision(True)])
    classify = classifier_of(mock, session_id="s")
    assert classify("", 300, True).is_backchannel
    (asked,) = mock.evaluations
    assert (asked.transcript, asked.session_id, asked.is_final) == (None, "s", True)
    assert classifier_of(PhraseBackchannelDetector())("okay", 10, True).is_backchannel
    assert classifier_of()("okay", 10, True).is_backchannel


def test_X14_the_machines_know_the_agents_own_voice() -> None:
    answer = ANSWER
    machine = SegmentMachine(TurnConfig(strategy=SEMANTIC), classifier_of(answer=lambda: answer))
    machine.agent_started(0)
    machine.speech_started(1000)
    assert machine.transcript("in Paris today", 1500) == ()
    (dropped,) = machine.speech_ended(2500)
    assert isinstance(dropped, FalseStart)
    assert (dropped.label, dropped.backchannel) == ("echo", "in Paris today")
    machine.speech_started(3000)
    answer = ""
    assert [type(a) for a in machine.transcript("in Paris today", 3500)] == [Interrupt]
