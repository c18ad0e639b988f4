"""A backchannel detector that answers from a script."""

from __future__ import annotations

from collections.abc import Iterable

from salon.voice.pipeline.backchannel.base import (
    BackchannelContext,
    BackchannelDecision,
    BackchannelDetector,
)


class MockBackchannelDetector(BackchannelDetector):
    """Gives `decisions` in order, then "no backchannel". `reset` starts the script again."""

    def __init__(self, decisions: Iterable[BackchannelDecision] | None = None) -> None:
        self._decisions = list(decisions or ())
        self._index = 0
        self.evaluations: list[BackchannelContext] = []
        """Every context it was asked about."""
        self.reset_count = 0
        self.closed = False

    @property
    def name(self) -> str:
        return "MockBackchannelDetector"

    def classify(self, context: BackchannelContext) -> BackchannelDecision:
        self.evaluations.append(context)
        if self._index == len(self._decisions):
            return BackchannelDecision(is_backchannel=False)
        decision = self._decisions[self._index]
        self._index += 1
        return decision

    def reset(self) -> None:
        self._index = 0
        self.reset_count += 1

    def close(self) -> None:
        self.closed = True
