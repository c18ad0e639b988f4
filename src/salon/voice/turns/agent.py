"""The agent's side of a call, as heard by the caller.

agent     signal       next
--------  -----------  --------
SILENT    STARTED      AUDIBLE
SILENT    FINISHED     SILENT
AUDIBLE   STARTED      AUDIBLE
AUDIBLE   FINISHED     SILENT
AUDIBLE   INTERRUPTED  CUT       this is why there is one Interrupt per agent utterance
CUT       STARTED      CUT
CUT       FINISHED     SILENT
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto


class Agent(Enum):
    """Where the agent is."""

    SILENT = auto()
    AUDIBLE = auto()
    CUT = auto()
    """Interrupted, not yet reported as finished."""


class AgentSignal(Enum):
    """What can happen to it."""

    STARTED = auto()
    FINISHED = auto()
    INTERRUPTED = auto()


AGENT_TRANSITIONS: Mapping[tuple[Agent, AgentSignal], Agent] = {
    (Agent.SILENT, AgentSignal.STARTED): Agent.AUDIBLE,
    (Agent.SILENT, AgentSignal.FINISHED): Agent.SILENT,
    (Agent.AUDIBLE, AgentSignal.STARTED): Agent.AUDIBLE,
    (Agent.AUDIBLE, AgentSignal.FINISHED): Agent.SILENT,
    (Agent.AUDIBLE, AgentSignal.INTERRUPTED): Agent.CUT,
    (Agent.CUT, AgentSignal.STARTED): Agent.CUT,
    (Agent.CUT, AgentSignal.FINISHED): Agent.SILENT,
}


class AgentSide:
    """The state above and since when the agent has been audible."""

    def __init__(self, allow_during_first_ms: int) -> None:
        self.state = Agent.SILENT
        self.since_ms = 0
        self._spared_ms = allow_during_first_ms

    def started(self, t_ms: int) -> None:
        if self.state is Agent.SILENT:
            self.since_ms = t_ms
        self._signal(AgentSignal.STARTED)

    def finished(self) -> None:
        self._signal(AgentSignal.FINISHED)

    def interrupted(self) -> None:
        self._signal(AgentSignal.INTERRUPTED)

    @property
    def audible(self) -> bool:
        return self.state is Agent.AUDIBLE

    def may_be_cut(self, t_ms: int) -> bool:
        """Whether the agent is audible and enough of it has been heard (V124)."""
        return self.audible and t_ms - self.since_ms >= self._spared_ms

    def _signal(self, signal: AgentSignal) -> None:
        self.state = AGENT_TRANSITIONS[self.state, signal]
