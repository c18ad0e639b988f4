"""Turns and barge-in, decided from speech probabilities: no I/O, no clock, no threads."""

from __future__ import annotations

from salon.voice.turns.actions import Action, BeginUtterance, EndOfTurn, FalseStart, Interrupt
from salon.voice.turns.backchannel import BACKCHANNELS, is_backchannel
from salon.voice.turns.config import WINDOW_MS, InterruptionStrategy, TurnConfig
from salon.voice.turns.machine import Agent, Phase, TurnMachine

__all__ = [
    "BACKCHANNELS",
    "WINDOW_MS",
    "Action",
    "Agent",
    "BeginUtterance",
    "EndOfTurn",
    "FalseStart",
    "Interrupt",
    "InterruptionStrategy",
    "Phase",
    "TurnConfig",
    "TurnMachine",
    "is_backchannel",
]
