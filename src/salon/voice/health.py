"""Which engines of a chain are fit to be asked.

Pure: times are monotonic seconds that the caller brings.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """One engine of a chain: `served` and `failed` count pieces or utterances, `skipped` those
    that passed it by in its cooldown, `probes` the attempts to find it recovered."""

    name: str
    served: int
    failed: int
    skipped: int
    probes: int
    healthy: bool


@dataclass(slots=True)
class _Engine:
    name: str
    served: int = 0
    failed: int = 0
    skipped: int = 0
    probes: int = 0
    down_until: float | None = None
    down_for: float = 0.0
    probing: bool = False


@dataclass(slots=True)
class Chain:
    """Engines in the order of preference, by index.

    An engine that fails is down for `cooldown` seconds, each further failure in a row doubling
    that up to `max_cooldown`; those that come meanwhile, of calls that asked it at the same time,
    are of the same trouble. After it, it stays down until a probe succeeds.
    """

    cooldown: float
    max_cooldown: float
    _engines: list[_Engine] = field(default_factory=list)

    @classmethod
    def of(cls, names: Sequence[str], cooldown: float, max_cooldown: float) -> Chain:
        """Engines of these names, all fit."""
        return cls(cooldown, max_cooldown, [_Engine(name) for name in names])

    def order(self) -> list[int]:
        """Whom to ask: those fit, then the others, for something may be better than nothing."""
        fit = [i for i, engine in enumerate(self._engines) if engine.down_until is None]
        down = [i for i, engine in enumerate(self._engines) if engine.down_until is not None]
        for index in down if fit else ():
            if index < fit[0]:
                self._engines[index].skipped += 1
        return fit + down

    def succeeded(self, index: int) -> None:
        """The engine served; that also ends its cooldown."""
        engine = self._engines[index]
        engine.served += 1
        self._up(engine)

    def failed(self, index: int, now: float) -> None:
        """The engine failed."""
        engine = self._engines[index]
        engine.failed += 1
        if engine.down_until is None or now >= engine.down_until:
            self._down(engine, now)

    def to_probe(self, served: int, now: float, most: int = sys.maxsize) -> list[int]:
        """Better engines than the one that `served`, whose cooldown is over, at most so many; each
        is marked as being probed until `probed`."""
        due: list[int] = []
        for index, engine in enumerate(self._engines[:served]):
            if len(due) >= most:
                break
            if engine.down_until is None or engine.probing or now < engine.down_until:
                continue
            engine.probing = True
            engine.probes += 1
            due.append(index)
        return due

    def probed(self, index: int, fit: bool | None, now: float) -> None:
        """How the probe ended; None for one that was given up."""
        engine = self._engines[index]
        engine.probing = False
        if fit:
            self._up(engine)
        elif fit is not None:
            self._down(engine, now)

    def statistics(self) -> tuple[EngineStatistics, ...]:
        """In the order of preference."""
        return tuple(
            EngineStatistics(
                engine.name,
                engine.served,
                engine.failed,
                engine.skipped,
                engine.probes,
                engine.down_until is None,
            )
            for engine in self._engines
        )

    def _up(self, engine: _Engine) -> None:
        engine.down_until = None
        engine.down_for = 0.0

    def _down(self, engine: _Engine, now: float) -> None:
        grown = engine.down_for * 2 if engine.down_for else self.cooldown
        engine.down_for = min(grown, self.max_cooldown)
        engine.down_until = now + engine.down_for
