"""An answer nobody has heard yet, and a caller who goes on speaking (V243).

Knows: which turns were routed, whose answer became audible, when speech starts, ends and brings
words. Does not know: sound, clocks, agents.

An answer is unheard from the routing of its turn to its first sound. Speech then, nothing else
being audible, is no barge-in but more of the caller's turn:

    state     signal    next      what happens
    --------  --------  --------  --------------------------------------------------------------
    QUIET     STARTED   SPOKEN    Hold every unheard answer, if nothing is audible
    QUIET     ROUTED    QUIET     the answer is unheard
    SPOKEN    ROUTED    SPOKEN    the answer is unheard: Hold it, if nothing is audible
    SPOKEN    BRIEF     QUIET     Release: it did not last `min_speech_ms`
    SPOKEN    LONG      AWAITING
    AWAITING  STARTED   SPOKEN    what was said before is remembered
    AWAITING  ROUTED    AWAITING  the answer is unheard: Hold it, if nothing is audible
    AWAITING  NONE      QUIET     Release: no words came, or none in time
    AWAITING  KEPT      AWAITING  words came, and a `TurnGate` keeps them; NONE is ignored now
    AWAITING  WORDS     QUIET     Supersede each held answer, then the new turn is routed
    SPOKEN    WORDS     SPOKEN    the same, if speech before this one was LONG
    any       CANCEL    QUIET     Release

Every `Hold` is followed by one `Release` or `Supersede` of the same turn, unless its answer is
reported over.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, TypeVar

Turn = TypeVar("Turn", bound=Hashable)

MAX_TURNS = 32
"""Unheard and audible answers that are kept track of; the oldest is forgotten."""


@dataclass(frozen=True, slots=True)
class Hold(Generic[Turn]):
    """Let no sound of this turn's answer out; go on preparing it."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Release(Generic[Turn]):
    """Let the held answer play."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Supersede(Generic[Turn]):
    """Cancel the turn with reason ``superseded``, before the next one is routed."""

    turn: Turn


class Listening(Enum):
    """What the caller does, as far as unheard answers are concerned."""

    QUIET = auto()
    SPOKEN = auto()
    """Speech is going on."""
    AWAITING = auto()
    """Speech that lasted is over; its words are not there yet."""


class UnheardAnswer(Generic[Turn]):
    """Holds answers back while the caller goes on. One per session; turns are told apart by any
    hashable name. Instants in ms; every method returns the actions to carry out, in order."""

    def __init__(self, *, min_speech_ms: int = 300, words_wait_ms: int = 2000) -> None:
        self.state = Listening.QUIET
        self._min_speech_ms = min_speech_ms
        self._words_wait_ms = words_wait_ms
        self._unheard: dict[Turn, bool] = {}
        """Whether the answer is held, in the order of the turns."""
        self._audible: dict[Turn, None] = {}
        self._long = False
        """Some of the speech lasted long enough for its words to supersede."""
        self._kept = False
        """Words of it wait to be routed."""
        self._due: int | None = None
        """When an awaited text is given up; None: somebody else sees to that."""

    @property
    def due_ms(self) -> int | None:
        """When to call `tick` at the latest."""
        return self._due

    @property
    def held(self) -> tuple[Turn, ...]:
        """The turns whose answers are held, oldest first."""
        return tuple(turn for turn, held in self._unheard.items() if held)

    def is_unheard(self, turn: Turn) -> bool:
        return turn in self._unheard

    def routed(self, turn: Turn, t_ms: int) -> tuple[Hold[Turn] | Release[Turn], ...]:
        """The turn went to whoever answers it."""
        out: list[Hold[Turn] | Release[Turn]] = []
        if len(self._unheard) >= MAX_TURNS:
            oldest = next(iter(self._unheard))
            if self._unheard.pop(oldest):
                out.append(Release(oldest))
        self._unheard[turn] = False
        if self.state is not Listening.QUIET:
            out += self._hold(audible=False)
        return tuple(out)

    def first_audio(self, turn: Turn, t_ms: int) -> tuple[Release[Turn], ...]:
        """Its answer became audible. Speech is barge-in from now on."""
        held = self._unheard.pop(turn, None)
        if len(self._audible) >= MAX_TURNS:
            del self._audible[next(iter(self._audible))]
        self._audible[turn] = None
        return (Release(turn),) if held else ()

    def answer_over(self, turn: Turn) -> None:
        """Its answer has been played, was cancelled, or there is none. Call it for every routed
        turn; for a held answer only when it will not be played."""
        self._unheard.pop(turn, None)
        self._audible.pop(turn, None)

    def speech_started(self, t_ms: int, *, audible: bool = False) -> tuple[Hold[Turn], ...]:
        """The caller speaks. `audible`: something that is no answer is playing to them."""
        self.state, self._due = Listening.SPOKEN, None
        return self._hold(audible=audible)

    def speech_ended(self, t_ms: int, lasted_ms: int) -> tuple[Release[Turn], ...]:
        """The speech, which lasted that long, is over."""
        if self.state is not Listening.SPOKEN:
            return ()
        self._long = self._long or lasted_ms >= self._min_speech_ms
        if not self._long:
            return self._release()
        self.state = Listening.AWAITING
        self._due = None if self._kept else t_ms + self._words_wait_ms
        return ()

    def words(
        self, text: str, t_ms: int, *, routed: bool = True
    ) -> tuple[Supersede[Turn] | Release[Turn], ...]:
        """Words of that speech. `routed`: they are about to be routed, as a turn of their own; call
        this before `routed`. False: a `TurnGate` keeps them for now, and the answers stay held
        until it routes them."""
        if not text.strip():
            return self.no_words(t_ms)
        if self.state is Listening.QUIET:
            return ()
        if not routed:
            self._kept, self._due = True, None
            return ()
        lost = self.held if self._long else ()
        for turn in lost:
            del self._unheard[turn]
        self._long = self._kept = False
        if self.state is Listening.AWAITING:
            self.state, self._due = Listening.QUIET, None
        return tuple(Supersede(turn) for turn in lost)

    def no_words(self, t_ms: int) -> tuple[Release[Turn], ...]:
        """That speech brought no words."""
        if self.state is not Listening.AWAITING or self._kept:
            return ()
        return self._release()

    def cancel(self, t_ms: int) -> tuple[Release[Turn], ...]:
        """Nothing will come of what was said, not even of what a `TurnGate` keeps."""
        return self._release()

    def tick(self, t_ms: int) -> tuple[Release[Turn], ...]:
        """Nothing else happened until `t_ms`."""
        if self._due is None or t_ms < self._due:
            return ()
        return self._release()

    def _hold(self, *, audible: bool) -> tuple[Hold[Turn], ...]:
        if audible or self._audible:
            return ()
        waiting = [turn for turn, held in self._unheard.items() if not held]
        for turn in waiting:
            self._unheard[turn] = True
        return tuple(Hold(turn) for turn in waiting)

    def _release(self) -> tuple[Release[Turn], ...]:
        self.state, self._due = Listening.QUIET, None
        self._long = self._kept = False
        held = self.held
        for turn in held:
            self._unheard[turn] = False
        return tuple(Release(turn) for turn in held)
