"""Turns and barge-in: no I/O, no clock, no threads.

`TurnMachine` hears speech probabilities, `SegmentMachine` the events of somebody else's detector.
"""

from __future__ import annotations

from salon.voice.turns.actions import (
    Action,
    AwaitWords,
    BeginUtterance,
    EndOfTurn,
    FalseStart,
    GoesOn,
    Interrupt,
    Speculate,
    Withdraw,
)
from salon.voice.turns.agent import Agent
from salon.voice.turns.backchannel import BACKCHANNELS, is_backchannel
from salon.voice.turns.config import WINDOW_MS, InterruptionStrategy, TurnConfig
from salon.voice.turns.gate import (
    GateAction,
    GateConfig,
    Judge,
    Route,
    RouteReason,
    TurnGate,
    TurnIncomplete,
)
from salon.voice.turns.machine import Phase, TurnMachine
from salon.voice.turns.segments import SegmentMachine, SegmentPhase
from salon.voice.turns.strategies import Classify

__all__ = [
    "BACKCHANNELS",
    "WINDOW_MS",
    "Action",
    "Agent",
    "AwaitWords",
    "BeginUtterance",
    "Classify",
    "EndOfTurn",
    "FalseStart",
    "GateAction",
    "GateConfig",
    "GoesOn",
    "Interrupt",
    "InterruptionStrategy",
    "Judge",
    "Phase",
    "Route",
    "RouteReason",
    "SegmentMachine",
    "SegmentPhase",
    "Speculate",
    "TurnConfig",
    "TurnGate",
    "TurnIncomplete",
    "TurnMachine",
    "Withdraw",
    "is_backchannel",
]
