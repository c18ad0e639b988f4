"""Speech over the agent that only its last words can tell, on a clock of plain integers and in
virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest
from tests.unit.voice.scripted_call import calling, ears

from salon.base import SalonError
from salon.media.frame import Samples
from salon.models.speech import NO_HINTS, SpeechHints
from salon.testing import MockSpeechToText, silence, tone, virtual_time
from salon.voice.errors import SpeechError
from salon.voice.events import (
    BargeIn,
    Failed,
    Final,
    RecognitionFailed,
    TurnDropped,
    TurnEnded,
    TurnStarted,
)
from salon.voice.stt.base import OnPartial, Transcription, Utterance
from salon.voice.turns import (
    WINDOW_MS,
    Action,
    AwaitWords,
    BeginUtterance,
    EndOfTurn,
    FalseStart,
    GoesOn,
    Interrupt,
    InterruptionStrategy,
    Phase,
    TurnConfig,
    TurnMachine,
)
from salon.voice.turns.machine import LEAD_MS, Signal
from salon.voice.turns.strategies import AWAIT_WORDS_MS

CONFIRMED = InterruptionStrategy.CONFIRMED
SEMANTIC = InterruptionStrategy.SEMANTIC
BASE = 1_000_000
SHORT_MS = 192
"""Speech below `min_speech_ms`."""


class Line:
    """A machine whose recogniser can be asked, under an agent that speaks."""

    def __init__(self, *, finals: bool = True, streams: bool = False, **settings: object) -> None:
        config = TurnConfig(**{"strategy": SEMANTIC, **settings})  # type: ignore[arg-type]
        self.machine = TurnMachine(config, finals=finals, streams=streams)
        self.now = BASE
        self.hear(0.0, 320)
        self.machine.agent_started(self.now)

    def hear(self, probability: float, ms: int) -> list[Action]:
        out: list[Action] = []
        for _ in range(ms // WINDOW_MS):
            self.now += WINDOW_MS
            out += self.machine.window(probability, self.now)
        return out

    def short(self) -> list[Action]:
        """Short speech and the silence that ends it."""
        return self.hear(0.9, SHORT_MS) + self.hear(0.0, 320)

    def told(self, words: str) -> list[Action]:
        return list(self.machine.words_final(words, self.now))


def kinds(actions: list[Action]) -> list[type[Action]]:
    return [type(action) for action in actions]


PROVOKE: dict[Signal, tuple[Callable[[Line], list[Action]], Phase, list[type[Action]]]] = {
    Signal.VOICED: (lambda line: line.hear(0.9, WINDOW_MS), Phase.SPEAKING, [GoesOn]),
    Signal.QUIET: (lambda line: line.hear(0.0, WINDOW_MS), Phase.AWAITING, []),
    Signal.TOLD: (lambda line: line.told("stop"), Phase.IDLE, [Interrupt, EndOfTurn]),
    Signal.EXPIRED: (lambda line: line.hear(0.0, AWAIT_WORDS_MS + 32), Phase.IDLE, [FalseStart]),
    Signal.CANCEL: (lambda line: list(line.machine.cancel(line.now)), Phase.IDLE, [FalseStart]),
}
COVERED = {(Phase.AWAITING, signal) for signal in PROVOKE} | {(Phase.PAUSED, Signal.UNSURE)}


@pytest.mark.parametrize("signal", list(PROVOKE))
def test_every_transition_of_waiting_for_words(signal: Signal) -> None:
    line = Line()
    assert kinds(line.short()) == [BeginUtterance, AwaitWords]
    assert line.machine.phase is Phase.AWAITING
    provoke, after, actions = PROVOKE[signal]
    assert kinds(provoke(line)) == actions
    assert line.machine.phase is after


def test_V244_a_short_word_that_the_recogniser_tells_late_cuts() -> None:
    """Shorter than `min_speech_ms`, and no interim words before the silence had passed."""
    line = Line(min_end_silence_ms=200, end_silence_ms=200)
    line.short()
    cut, end = line.told("stop")
    assert cut == Interrupt(BASE + 320, SEMANTIC)
    assert isinstance(end, EndOfTurn)
    assert end.speech_end_ms == BASE + 320 + SHORT_MS


@pytest.mark.parametrize(("interim", "final"), [("yeah", "yeah but wait"), ("no", "okay")])
def test_V245_the_last_words_judge_not_interim_ones_that_lag(interim: str, final: str) -> None:
    line = Line(allow_during_first_ms=600)
    line.hear(0.9, SHORT_MS)
    line.machine.transcript(interim, line.now)
    assert AwaitWords in kinds(line.hear(0.0, 320))
    line.hear(0.0, 320)
    said = kinds(line.told(final))
    assert said == ([FalseStart] if final == "okay" else [Interrupt, EndOfTurn])


def test_V118_a_backchannel_told_late_is_dropped_with_its_words() -> None:
    line = Line()
    line.short()
    (dropped,) = line.told("okay")
    assert isinstance(dropped, FalseStart)
    assert dropped.backchannel == "okay"


def test_V117_short_speech_without_any_words_is_dropped() -> None:
    line = Line()
    line.short()
    assert kinds(line.told(" ")) == [FalseStart]


def test_V124_words_too_early_in_the_answer_are_dropped() -> None:
    line = Line(allow_during_first_ms=5000)
    line.short()
    assert kinds(line.told("stop")) == [FalseStart]


def test_words_after_the_agent_fell_silent_are_a_turn() -> None:
    for words, actions in (("stop", [EndOfTurn]), ("okay", [FalseStart])):
        line = Line()
        line.short()
        line.machine.agent_finished(line.now)
        assert kinds(line.told(words)) == actions


def test_interim_words_may_cut_while_the_last_ones_are_awaited() -> None:
    line = Line()
    line.short()
    assert kinds(list(line.machine.transcript("stop", line.now))) == [Interrupt]
    line.machine.agent_finished(line.now)
    assert kinds(line.told("okay")) == [EndOfTurn]


def test_words_that_nobody_awaits_mean_nothing() -> None:
    line = Line()
    assert line.told("stop") == []
    line.hear(0.9, SHORT_MS)
    assert line.told("stop") == []


def test_without_a_recogniser_nothing_is_awaited() -> None:
    line = Line(finals=False)
    assert kinds(line.short()) == [BeginUtterance, FalseStart]
    assert not line.machine.may_ask


def test_a_cough_is_not_asked_about() -> None:
    line = Line()
    assert kinds(line.hear(0.9, 64) + line.hear(0.0, 320)) == [BeginUtterance, FalseStart]


def test_no_other_strategy_asks() -> None:
    line = Line(strategy=CONFIRMED)
    assert kinds(line.short()) == [BeginUtterance, FalseStart]


def test_V119_speech_long_enough_cuts_without_words() -> None:
    line = Line()
    said = line.hear(0.9, 320) + line.hear(0.0, 320)
    assert kinds(said) == [BeginUtterance, Interrupt, EndOfTurn]


@pytest.mark.parametrize(("words", "cut"), [("okay", False), ("stop", True), ("", True)])
def test_V244_long_speech_awaits_the_words_of_a_stream(words: str, cut: bool) -> None:
    line = Line(streams=True)
    assert kinds(line.hear(0.9, 416) + line.hear(0.0, 320)) == [BeginUtterance, AwaitWords]
    assert kinds(line.told(words)) == ([Interrupt, EndOfTurn] if cut else [FalseStart])


def test_V244_and_cuts_when_they_do_not_come_in_time() -> None:
    line = Line(streams=True, transcript_wait_ms=640)
    line.hear(0.9, 416)
    line.hear(0.0, 320)
    assert line.hear(0.0, 608) == []
    assert kinds(line.hear(0.0, 64)) == [Interrupt, EndOfTurn]


# The soft beginning of speech.


def test_V116_a_soft_consonant_counts_as_speech() -> None:
    """As of "stop": the "s" is not loud enough to start speech, but is a fifth of the word."""
    line = Line(strategy=CONFIRMED)
    onset = line.now
    line.hear(0.44, 64)
    line.hear(0.17, 32)
    said = line.hear(0.9, 224)
    assert kinds(said) == [BeginUtterance, Interrupt]
    assert said[0] == BeginUtterance(onset - 200)
    assert said[1] == Interrupt(onset, CONFIRMED)


def test_a_lead_is_short_and_joined_to_the_speech() -> None:
    line = Line(strategy=CONFIRMED)
    line.hear(0.44, 640)
    onset = line.now
    assert line.hear(0.9, 64) == [BeginUtterance(onset - LEAD_MS - 200)]
    line = Line(strategy=CONFIRMED)
    line.hear(0.44, 64)
    line.hear(0.0, 64)
    onset = line.now
    assert line.hear(0.9, 64) == [BeginUtterance(onset - 200)]


# With a recogniser, in virtual time.


class Late(MockSpeechToText):
    """No interim words; the text comes `seconds` after the end."""

    supports_partials = True

    def __init__(self, script: list[str | Exception], seconds: float) -> None:
        super().__init__(script)
        self.seconds = seconds

    def recognize(
        self,
        hints: SpeechHints = NO_HINTS,
        *,
        on_partial: OnPartial | None = None,
        language: str | None = None,
    ) -> Utterance:
        return _Slow(super().recognize(hints, language=language), self.seconds)


class _Slow(Utterance):
    def __init__(self, inner: Utterance, seconds: float) -> None:
        self.inner, self.seconds = inner, seconds

    def push(self, samples: Samples) -> None:
        self.inner.push(samples)

    async def finish(self) -> Transcription:
        await asyncio.sleep(self.seconds)
        return await self.inner.finish()

    def cancel(self) -> None:
        self.inner.cancel()


SAID = tone(240, 300.0)
LONG = "a long answer that goes on and on and on and on and on and on and on and on and on"


@virtual_time
@pytest.mark.parametrize("seconds", [0.0, 0.9])
async def test_no_word_over_the_agent_is_missed_because_it_is_told_late(seconds: float) -> None:
    async with calling(recognizer=Late(["stop"], seconds)) as call:
        call.listen(strategy=SEMANTIC, transcript_wait_ms=1000)
        await call.talk(silence(320))
        call.speak(LONG)
        await call.talk(np.concatenate((silence(500), SAID, silence(1800))))
        assert len(call.of(BargeIn)) == 1
        (final,) = call.of(Final)
        assert final.text == "stop"
        assert len(call.of(TurnEnded)) == 1
        sound = ears(call).heard[0].samples
        first = int(np.flatnonzero(sound)[0])
        assert np.array_equal(sound[first - 1 : first - 1 + len(SAID)], SAID)


@virtual_time
async def test_who_goes_on_before_the_words_came_is_heard_whole() -> None:
    async with calling(recognizer=Late(["stop it now"], 0.6)) as call:
        call.listen(strategy=SEMANTIC)
        await call.talk(silence(320))
        call.speak(LONG)
        said = np.concatenate((SAID, silence(600), SAID))
        await call.talk(np.concatenate((silence(500), said, silence(2000))))
        assert [one.cancelled for one in ears(call).heard] == [True, False]
        sound = ears(call).heard[1].samples
        first = int(np.flatnonzero(sound)[0])
        assert np.array_equal(sound[first - 1 : first - 1 + len(said)], said)
        assert [event.text for event in call.of(Final)] == ["stop it now"]
        assert len(call.of(TurnStarted)) == len(call.of(BargeIn)) == 1


@virtual_time
async def test_a_backchannel_told_late_leaves_the_agent_alone() -> None:
    async with calling(recognizer=Late(["okay"], 0.1)) as call:
        call.listen(strategy=SEMANTIC)
        await call.talk(silence(320))
        playback = call.speak(LONG)
        await call.talk(np.concatenate((silence(500), SAID, silence(1000))))
        assert call.session.player.current is playback
        (dropped,) = call.of(TurnDropped)
        assert (dropped.backchannel, dropped.words) == (True, "okay")
        assert not call.of(Final)


@virtual_time
async def test_words_that_never_come_are_waited_for_so_long_and_no_longer() -> None:
    async with calling(recognizer=Late(["stop"], 60.0)) as call:
        call.listen(strategy=SEMANTIC)
        await call.talk(silence(320))
        call.speak(LONG)
        await call.talk(np.concatenate((silence(500), SAID, silence(1000))))
        assert not call.of(TurnDropped)
        await call.talk(silence(AWAIT_WORDS_MS))
        assert len(call.of(TurnDropped)) == 1
        assert ears(call).heard[0].cancelled
        (lost,) = call.of(RecognitionFailed)
        assert (lost.index, "no words in time" in lost.message) == (0, True)


@virtual_time
@pytest.mark.parametrize("error", [SpeechError("mock", "broken"), SalonError("broken")])
async def test_V96_a_recogniser_that_fails_to_tell_is_told_of(error: Exception) -> None:
    async with calling(recognizer=Late([error], 0.1)) as call:
        call.listen(strategy=SEMANTIC)
        await call.talk(silence(320))
        call.speak(LONG)
        await call.talk(np.concatenate((silence(500), SAID, silence(1000))))
        assert len(call.of(TurnDropped)) == len(call.of(Failed)) == 1
        assert [event.index for event in call.of(RecognitionFailed)] == [0]
