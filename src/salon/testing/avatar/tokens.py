"""Session tokens: who got one, for which app, until when (A5, A6, A7)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from salon.base.ids import IdFactory
from salon.testing.avatar.settings import App

LONGEST_S: Final = 24 * 3600
MAX_TOKENS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token stands for. `expires` in seconds since the Unix epoch."""

    app: App
    expires: int


class TokenDesk:
    """Hands out tokens and knows them again; usable any number of times until they expire. At most
    10,000 are kept, the oldest go first: they are then unknown."""

    def __init__(self, new_id: IdFactory) -> None:
        self._new_id = new_id
        self._grants: OrderedDict[str, Grant] = OrderedDict()

    def __len__(self) -> int:
        return len(self._grants)

    def issue(self, app: App, expires: int) -> str:
        """A new token of `app`."""
        token = f"st_{self._new_id()}"
        self._grants[token] = Grant(app, expires)
        if len(self._grants) > MAX_TOKENS:
            self._grants.popitem(last=False)
        return token

    def find(self, token: str) -> Grant | None:
        """What it stands for, expired or not; None if it is not known."""
        return self._grants.get(token)

    def revoke_all(self) -> None:
        """Forget every token: they are unknown from now on."""
        self._grants.clear()
