"""Which lost packets to ask for, when, and when to stop, without I/O."""

from __future__ import annotations

from collections.abc import Iterable

FIRST_RETRY_S = 0.03
MAX_RETRY_S = 0.12
MAX_ASKED = 5
"""Times that one packet is asked for."""
MAX_HOLES = 512
"""Above it nothing is repaired: a key frame costs less."""


class Repair:
    """Remembers the holes. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._holes: dict[int, tuple[float, float, int]] = {}
        """Number: since when, when to ask, how often asked."""

    def __len__(self) -> int:
        return len(self._holes)

    def lost(self, numbers: Iterable[int], now: float) -> bool:
        """Packets are missing; False if they are too many to repair."""
        for number in numbers:
            if number not in self._holes:
                if len(self._holes) >= MAX_HOLES:
                    return False
                self._holes[number] = (now, now, 0)
        return True

    def arrived(self, number: int) -> bool:
        """A packet came; whether it had been missing."""
        return self._holes.pop(number, None) is not None

    def forget_before(self, number: int) -> None:
        """What is older is no longer needed."""
        if self._holes:
            for old in [item for item in self._holes if item < number]:
                del self._holes[old]

    def to_ask(self, now: float) -> list[int]:
        """The numbers to ask for now, ascending; they count as asked."""
        asked = []
        for number, (since, due, times) in self._holes.items():
            if due <= now and times < MAX_ASKED:
                wait = min(FIRST_RETRY_S * 2**times, MAX_RETRY_S)
                self._holes[number] = (since, now + wait, times + 1)
                asked.append(number)
        asked.sort()
        return asked

    def age(self, now: float) -> float:
        """How long the oldest hole has been there; 0 without holes."""
        return max((now - since for since, _, _ in self._holes.values()), default=0.0)
