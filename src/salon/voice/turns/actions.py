"""What a turn machine asks for.

An utterance is bracketed: `BeginUtterance`, then exactly one of `FalseStart` and `EndOfTurn` before
the next begins. `Interrupt` lies inside the bracket, at most once per utterance of the agent.
Instants are ms on the clock of the windows.
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

    `backchannel` holds the words when it was one (V118).
    """

    start_ms: int
    backchannel: str = ""


@dataclass(frozen=True, slots=True)
class EndOfTurn:
    """The turn is over. `speech_end_ms` is the end of the last voiced window, the instant from
    which latency counts; `silence_ms` is how long the decision took from there."""

    start_ms: int
    speech_end_ms: int
    silence_ms: int


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Stop the agent: the caller has been speaking since `onset_ms`."""

    onset_ms: int
    strategy: InterruptionStrategy


Action = BeginUtterance | FalseStart | EndOfTurn | Interrupt
