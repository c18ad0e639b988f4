"""Drives the machines in tests and referees what they ask for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from salon.voice.turns import (
    Action,
    BeginUtterance,
    Classify,
    EndOfTurn,
    FalseStart,
    Interrupt,
    InterruptionStrategy,
    SegmentMachine,
    Speculate,
    TurnConfig,
    Withdraw,
)

BASE = 1_000_000


class Referee:
    """Raises as soon as the actions break their promises (see `salon.voice.turns.actions`)."""

    def __init__(self, strategy: InterruptionStrategy) -> None:
        self.strategy = strategy
        self.open: int | None = None
        self.speculated = False
        self.may_cut = False

    def agent(self, audible: bool) -> None:
        self.may_cut = audible

    def see(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case BeginUtterance():
                    assert self.open is None, "two open brackets"
                    self.open = action.start_ms
                case FalseStart() | EndOfTurn():
                    assert self.open == action.start_ms
                    assert not (self.speculated and isinstance(action, FalseStart))
                    if isinstance(action, EndOfTurn):
                        assert action.start_ms <= action.speech_end_ms
                        assert action.silence_ms >= 0
                        queued = self.strategy is InterruptionStrategy.DISABLED and self.may_cut
                        assert queued or not action.queued
                    self.open, self.speculated = None, False
                case Interrupt():
                    assert self.open is not None
                    assert self.strategy is not InterruptionStrategy.DISABLED
                    assert self.may_cut, "an Interrupt without an audible agent, or a second one"
                    self.may_cut = False
                case Speculate():
                    assert self.open == action.start_ms
                    assert not self.speculated
                    self.speculated = True
                case Withdraw():
                    assert self.speculated
                    self.speculated = False


class Segments:
    """A segment machine and its clock; every action is refereed."""

    def __init__(
        self,
        classify: Classify | None = None,
        *,
        detector: bool = True,
        finals: bool = False,
        streams: bool = False,
        **settings: Any,
    ) -> None:
        config = TurnConfig(**settings)
        self.machine = SegmentMachine(
            config, classify, detector=detector, finals=finals, streams=streams
        )
        self.referee = Referee(config.strategy)
        self.now = BASE
        self.log: list[Action] = []

    def keep(self, actions: tuple[Action, ...]) -> list[Action]:
        self.referee.see(actions)
        self.log += actions
        return list(actions)

    def wait(self, ms: int, step: int = 20) -> list[Action]:
        """Time passes, with a tick every `step` ms and at the end."""
        until, out = self.now + ms, []
        while self.now < until:
            self.now = min(self.now + step, until)
            out += self.keep(self.machine.tick(self.now))
        return out

    def agent(self, audible: bool) -> list[Action]:
        act = self.machine.agent_started if audible else self.machine.agent_finished
        actions = act(self.now)
        self.referee.see(actions)
        self.log += actions
        if audible != (self.machine.agent.name == "CUT"):
            self.referee.agent(audible)
        return list(actions)

    def start(self, pre_roll_ms: int | None = None) -> list[Action]:
        return self.keep(self.machine.speech_started(self.now, pre_roll_ms))

    def end(self, duration_ms: int | None = None) -> list[Action]:
        return self.keep(self.machine.speech_ended(self.now, duration_ms))

    def claim(self) -> list[Action]:
        return self.keep(self.machine.transport_barge_in(self.now))

    def words(self, text: str) -> list[Action]:
        return self.keep(self.machine.transcript(text, self.now))

    def told(self, text: str) -> list[Action]:
        return self.keep(self.machine.words_final(text, self.now))

    def cancel(self) -> list[Action]:
        return self.keep(self.machine.cancel(self.now))

    def speak(self, ms: int) -> list[Action]:
        """A whole segment of the detector."""
        return self.start() + self.wait(ms) + self.end()


def kinds(actions: Iterable[Action]) -> list[type[Action]]:
    return [type(action) for action in actions]
