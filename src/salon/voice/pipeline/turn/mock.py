"""A turn detector that answers from a script."""

from __future__ import annotations

from collections.abc import Iterable

from salon.voice.pipeline.turn.base import TurnContext, TurnDecision, TurnDetector


class MockTurnDetector(TurnDetector):
    """Gives `decisions` in order, then "complete". `reset` starts the script again."""

    def __init__(self, decisions: Iterable[TurnDecision] | None = None) -> None:
        self._decisions = list(decisions or ())
        self._index = 0
        self.evaluations: list[TurnContext] = []
        """Every context it was asked about."""
        self.reset_count = 0
        self.released: list[str] = []
        self.closed = False

    @property
    def name(self) -> str:
        return "MockTurnDetector"

    def evaluate(self, context: TurnContext) -> TurnDecision:
        self.evaluations.append(context)
        if self._index == len(self._decisions):
            return TurnDecision(is_complete=True)
        decision = self._decisions[self._index]
        self._index += 1
        return decision

    def reset(self) -> None:
        self._index = 0
        self.reset_count += 1

    def release(self, session_id: str) -> None:
        self.released.append(session_id)

    def close(self) -> None:
        self.closed = True
