"""What callers seem to have said, told to the agents that can prepare an answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

from salon.base import TaskScope
from salon.channels.voice_people import Caller
from salon.core.kit import RoomKit
from salon.models import ChannelCategory

SETTLED_S: Final = 0.06
"""Interim words that came after a guess are guessed anew when they have not changed for so long."""
MAX_RENEWED: Final = 3
"""Guesses of one pause beyond its first."""


@runtime_checkable
class Prepares(Protocol):
    """A channel that can begin an answer before it is asked."""

    def prepare(
        self, room_id: str, *, channel_id: str, participant_id: str, name: str | None, text: str
    ) -> None:
        """Begin one."""

    def withdraw(self, room_id: str, participant_id: str) -> None:
        """It is of no use; idempotent."""


@dataclass(slots=True, eq=False)
class _Guess:
    """What was told of one caller, and whom."""

    text: str
    told: list[Prepares] = field(default_factory=list)
    telling: asyncio.Task[None] | None = None
    renewed: int = 0
    later: str = ""
    """Words that came since; they are the next guess unless others come."""
    settling: asyncio.TimerHandle | None = None

    def unsettle(self) -> None:
        """What came since is no guess."""
        self.later = ""
        if self.settling is not None:
            self.settling.cancel()
            self.settling = None


class Guesses:
    """Tells the agents of a room, and takes it back. No line waits for it."""

    def __init__(self, channel_id: str, scope: TaskScope) -> None:
        self._channel_id = channel_id
        self._scope = scope
        self._kit: RoomKit | None = None
        self._open: dict[Caller, _Guess] = {}

    def bind(self, kit: RoomKit) -> None:
        """Work for this framework."""
        self._kit = kit

    def guess(self, caller: Caller, text: str) -> None:
        """The caller may have said all they have to say."""
        self._guess(caller, text, renewed=0)

    def heard(self, caller: Caller, text: str) -> None:
        """Interim words of the caller. They are behind the sound: those that come while a guess
        stands were said before the pause, and are guessed in its place once they have settled."""
        guess = self._open.get(caller)
        if guess is None or text == guess.later:
            return
        guess.unsettle()
        if text.strip() and text != guess.text and guess.renewed < MAX_RENEWED:
            guess.later = text
            guess.settling = asyncio.get_running_loop().call_later(
                SETTLED_S, self._guess, caller, text, guess.renewed + 1
            )

    def _guess(self, caller: Caller, text: str, renewed: int) -> None:
        self.withdraw(caller)
        kit = self._kit
        if kit is None or not text.strip():
            return
        if not any(isinstance(channel, Prepares) for channel in kit.list_channels()):
            return
        guess = self._open[caller] = _Guess(text, renewed=renewed)
        guess.telling = self._scope.spawn(self._tell(kit, caller, guess), name="guess")

    async def _tell(self, kit: RoomKit, caller: Caller, guess: _Guess) -> None:
        for binding in await kit.list_bindings(caller.room_id):
            agent: object = kit.get_channel(binding.channel_id)
            if binding.category is ChannelCategory.INTELLIGENCE and isinstance(agent, Prepares):
                guess.told.append(agent)
                agent.prepare(
                    caller.room_id,
                    channel_id=self._channel_id,
                    participant_id=caller.participant_id,
                    name=caller.name,
                    text=guess.text,
                )

    def confirm(self, caller: Caller, text: str) -> None:
        """The turn is over: what was guessed stands, or is taken back."""
        guess = self._open.get(caller)
        if guess is not None and guess.text == text:
            guess.unsettle()
            del self._open[caller]
        else:
            self.withdraw(caller)

    def withdraw(self, caller: Caller) -> None:
        """It was not all, or it was nothing; idempotent."""
        guess = self._open.pop(caller, None)
        if guess is None:
            return
        guess.unsettle()
        if guess.telling is not None:
            guess.telling.cancel()
        for agent in guess.told:
            agent.withdraw(caller.room_id, caller.participant_id)
