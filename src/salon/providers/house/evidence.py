"""A second opinion: which intent the words speak for, whatever their order.

A word speaks for an intent as far as it occurs in more of its examples than in those of the
others (naive Bayes over stems; an intent counts the same however many examples it has).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Final

from salon.providers.house.words import stem

_OWN: Final = 0.75
"""How much an intent's examples say against those of all intents."""
_FULL_WEIGHT: Final = 2.0


class Evidence:
    """Counts the examples once; `strongest` costs a look-up per word and intent."""

    def __init__(
        self, examples: Iterable[tuple[str, tuple[str, ...]]], weight: Callable[[str], float]
    ) -> None:
        self._weight = weight
        number: Counter[str] = Counter()
        holding: dict[str, Counter[str]] = defaultdict(Counter)
        for intent, words in examples:
            number[intent] += 1
            for word in set(map(stem, words)):
                holding[word][intent] += 1
        self._intents = tuple(number)
        self._shares = {
            word: {intent: count / number[intent] for intent, count in counts.items()}
            for word, counts in holding.items()
        }

    def strongest(self, words: Iterable[str]) -> str | None:
        """The intent that `words` speak for most, None if they say nothing."""
        sums: dict[str, float] = defaultdict(float)
        for word in {stem(w): w for w in words}.values():
            shares = self._shares.get(stem(word))
            if not shares:
                continue
            usual = sum(shares.values()) / len(self._intents)
            counts = min(1.0, self._weight(word) / _FULL_WEIGHT)
            for intent in self._intents:
                ratio = (_OWN * shares.get(intent, 0.0) + (1 - _OWN) * usual) / usual
                sums[intent] += counts * math.log(ratio)
        return max(sums, key=lambda intent: sums[intent]) if sums else None
