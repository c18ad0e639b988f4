"""Turns and barge-in: no I/O, no clock, no threads.

`TurnMachine` hears speech probabilities, `SegmentMachine` the events of somebody else's detector.
"""

from __future__ import annotations

from salon.voice.turns.actions import (
    Action,
    BeginUtterance,
    EndOfTurn,
    FalseStart,
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
from salon.voice.turns.resume import FalseInterruption, Resume
from salon.voice.turns.segments import SegmentMachine, SegmentPhase
from salon.voice.turns.strategies import Classify
from salon.voice.turns.unheard import Hold, Release, Supersede, UnheardAnswer

__all__ = [
    "BACKCHANNELS",
    "WINDOW_MS",
    "Action",
    "Agent",
    "BeginUtterance",
    "Classify",
    "EndOfTurn",
    "FalseInterruption",
    "FalseStart",
    "GateAction",
    "GateConfig",
    "Hold",
    "Interrupt",
    "InterruptionStrategy",
    "Judge",
    "Phase",
    "Release",
    "Resume",
    "Route",
    "RouteReason",
    "SegmentMachine",
    "SegmentPhase",
    "Speculate",
    "Supersede",
    "TurnConfig",
    "TurnGate",
    "TurnIncomplete",
    "TurnMachine",
    "UnheardAnswer",
    "Withdraw",
    "is_backchannel",
]
