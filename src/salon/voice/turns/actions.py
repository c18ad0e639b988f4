"""What a turn machine asks for.

An utterance is bracketed: `BeginUtterance`, then exactly one of `FalseStart` and `EndOfTurn` before
the next begins. `Interrupt` lies inside the bracket, at most once per utterance of the agent. So
does `Speculate`, at most once per pause; `Withdraw` takes it back, unless `EndOfTurn` confirms it.
So does `AwaitWords`; `GoesOn` takes it back, unless the bracket ends.
Instants are ms on the clock of whoever feeds the machine.
"""

from __future__ import annotations

from dataclasses import dataclass

from salon.voice.turns.config import InterruptionStrategy


@dataclass(frozen=True, slots=True)
class BeginUtterance:
    """Speech was noticed: recognise from `start_ms`, which lies before the onset (V155)."""

    start_ms: int


@dataclass(frozen=True, slots=True)
class FalseStart:
    """The utterance that began at `start_ms` is no turn: drop it, the agent goes on (V117).

    `backchannel` holds the words when it was one (V118); `wordless`: it was one without words, by
    its sound or length alone (V119).
    """

    start_ms: int
    backchannel: str = ""
    confidence: float = 1.0
    """Of the classifier, when it was a backchannel."""
    wordless: bool = False
    label: str | None = None
    """The classifier's word for it; ``"echo"`` for the agent's own voice."""

    @property
    def is_backchannel(self) -> bool:
        return self.wordless or bool(self.backchannel)


@dataclass(frozen=True, slots=True)
class EndOfTurn:
    """The turn is over. `speech_end_ms` is the end of the last voiced window, the instant from
    which latency counts; `silence_ms` is how long the decision took from there. `queued`: it was
    said over an agent that may not be cut, so its answer waits until the agent is done (V125)."""

    start_ms: int
    speech_end_ms: int
    silence_ms: int
    queued: bool = False


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Stop the agent: the caller has been speaking since `onset_ms`."""

    onset_ms: int
    strategy: InterruptionStrategy


@dataclass(frozen=True, slots=True)
class Speculate:
    """The caller has paused for `silence_ms`. Should that be the end, the utterance counts: an
    answer may be prepared from the words so far, and not be heard before `EndOfTurn`."""

    start_ms: int
    silence_ms: int


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The caller went on, or the utterance is given up: what was prepared is void."""


@dataclass(frozen=True, slots=True)
class AwaitWords:
    """The speech since `start_ms` is over and only its words can tell what it was: have the
    recogniser finish and tell `words_final`, without which the machine decides by itself after
    `AWAIT_WORDS_MS` or earlier."""

    start_ms: int


@dataclass(frozen=True, slots=True)
class GoesOn:
    """The caller went on before the awaited words came: the utterance is open as before."""


Action = (
    BeginUtterance | FalseStart | EndOfTurn | Interrupt | Speculate | Withdraw | AwaitWords | GoesOn
)
