"""Speech over the agent whose last words come after its end: the second table of `strategies`."""

from __future__ import annotations

import pytest

from salon.voice.turns import InterruptionStrategy, TurnConfig
from salon.voice.turns.agent import AgentSide
from salon.voice.turns.strategies import AWAIT_WORDS_MS, Speech, Strategy, Verdict

SEMANTIC = InterruptionStrategy.SEMANTIC
AT_MS = 5000


def strategy(kind: InterruptionStrategy = SEMANTIC, *, streams: bool = False) -> Strategy:
    return Strategy(TurnConfig(strategy=kind, min_speech_ms=300), streams=streams)


def agent(state: str, *, spared_ms: int = 0) -> AgentSide:
    """One that has spoken since 4000, and what became of it."""
    side = AgentSide(spared_ms)
    side.started(4000)
    if state == "silent":
        side.finished()
    elif state == "cut":
        side.interrupted()
    return side


def speech(words: str, lasted_ms: int = 100) -> Speech:
    return Speech(4500, True, 4300, lasted_ms, words)


@pytest.mark.parametrize(
    ("state", "words", "verdict"),
    [
        ("cut", "stop that please", Verdict.TURN),
        ("cut", "", Verdict.TURN),
        ("audible", "", Verdict.DROPPED),
        ("audible", "okay", Verdict.DROPPED),
        ("audible", "stop that please", Verdict.CUTS),
        ("silent", "stop that please", Verdict.TURN),
        ("silent", "", Verdict.DROPPED),
        ("silent", "okay", Verdict.DROPPED),
    ],
)
def test_V119_what_the_last_words_make_of_it(state: str, words: str, verdict: Verdict) -> None:
    assert strategy().told(speech(words), agent(state), AT_MS) is verdict


@pytest.mark.parametrize(
    ("state", "words", "verdict"),
    [
        ("audible", "", Verdict.CUTS),
        ("silent", "", Verdict.TURN),
        ("audible", "okay", Verdict.DROPPED),
        ("silent", "okay", Verdict.DROPPED),
    ],
)
def test_V119_long_speech_counts_without_words(state: str, words: str, verdict: Verdict) -> None:
    assert strategy().told(speech(words, 300), agent(state), AT_MS) is verdict


@pytest.mark.parametrize(("spared_ms", "verdict"), [(1000, Verdict.CUTS), (1001, Verdict.DROPPED)])
def test_V124_words_come_too_early_in_what_the_agent_says(spared_ms: int, verdict: Verdict) -> None:
    side = agent("audible", spared_ms=spared_ms)
    assert strategy().told(speech("stop that please"), side, AT_MS) is verdict


def test_speech_that_began_before_the_agent_is_a_turn_with_words_or_without() -> None:
    for words in ("", "okay", "stop that please"):
        said = speech(words)
        said.over_agent = False
        assert strategy().told(said, agent("audible"), AT_MS) is Verdict.TURN


@pytest.mark.parametrize(
    ("words", "lasted_ms", "undecided"),
    [("", 299, True), ("", 300, False), ("okay", 299, True), ("okay", 300, True)],
)
def test_words_are_waited_for_where_they_may_decide(
    words: str, lasted_ms: int, undecided: bool
) -> None:
    said = speech(words, lasted_ms)
    assert strategy().undecided(said, agent("audible")) is undecided
    for state in ("silent", "cut"):
        assert not strategy().undecided(said, agent(state))
    for kind in set(InterruptionStrategy) - {SEMANTIC}:
        assert not strategy(kind).undecided(said, agent("audible"))


@pytest.mark.parametrize(
    ("words", "lasted_ms", "waits_ms"),
    [("", 299, AWAIT_WORDS_MS), ("", 300, 1000), ("okay", 300, AWAIT_WORDS_MS)],
)
def test_V244_words_of_a_stream_are_waited_for_within_bounds(
    words: str, lasted_ms: int, waits_ms: int
) -> None:
    said = speech(words, lasted_ms)
    assert strategy(streams=True).undecided(said, agent("audible"))
    assert strategy(streams=True).patience_ms(said) == waits_ms


@pytest.mark.parametrize(("wait_ms", "patience_ms"), [(0, 0), (10_000, AWAIT_WORDS_MS)])
def test_V244_the_configured_wait_is_the_bound_of_long_speech(
    wait_ms: int, patience_ms: int
) -> None:
    config = TurnConfig(strategy=SEMANTIC, transcript_wait_ms=wait_ms)
    waiting = Strategy(config, streams=True)
    said = speech("", 400)
    assert waiting.patience_ms(said) == patience_ms
    assert waiting.undecided(said, agent("audible")) is (patience_ms > 0)
