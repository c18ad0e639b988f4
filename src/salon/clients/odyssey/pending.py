"""Calls that wait for a message of the streamer, in the order in which they were made (D2, D6).

Knows tickets, kinds and times; neither messages nor futures.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final

MAX_WAITING: Final = 64
"""Calls of one kind that may wait at a time."""
FORGET_S: Final = 60.0
"""How long the answer to a call that nobody waits for any more is still expected."""


class CallKind(Enum):
    """What waits; the value is the verb of O60."""

    START = "start stream"
    INTERACT = "interact"
    END = "end stream"


@dataclass(slots=True)
class _Call:
    ticket: int
    prompt: str
    due: float | None
    waited_for: bool = True


class PendingCalls:
    """One queue for each kind.

    An answer belongs to the oldest call of its kind. A call that was given up keeps its place for
    `FORGET_S`, so that its late answer is not taken for that of the next call.
    """

    def __init__(self) -> None:
        self._queues: dict[CallKind, deque[_Call]] = {kind: deque() for kind in CallKind}
        self.late = 0
        """Answers that came when their call had been given up."""

    def waiting(self, kind: CallKind) -> int:
        """Calls of this kind somebody waits for."""
        return sum(call.waited_for for call in self._queues[kind])

    def full(self, kind: CallKind) -> bool:
        """Whether no further call of this kind may wait."""
        return len(self._queues[kind]) >= MAX_WAITING

    def add(self, kind: CallKind, ticket: int, *, prompt: str = "", due: float | None) -> None:
        """The call `ticket` waits from now on, until the monotonic time `due` at most."""
        self._queues[kind].append(_Call(ticket, prompt, due))

    def settle(self, kind: CallKind, applied: str | None = None) -> int | None:
        """The ticket that an answer belongs to; None if nobody waits for it.

        Where the oldest call was given up and the answer repeats, word for word, the prompt of the
        first that still waits, it is of that one: those before it were never answered.
        """
        queue = self._queues[kind]
        if applied is not None and queue and not queue[0].waited_for:
            self._skip_to(queue, applied)
        if not queue:
            return None
        call = queue.popleft()
        if call.waited_for:
            return call.ticket
        self.late += 1
        return None

    @staticmethod
    def _skip_to(queue: deque[_Call], applied: str) -> None:
        given_up: list[str] = []
        for call in queue:
            if call.waited_for:
                if call.prompt == applied and applied not in given_up:
                    for _ in given_up:
                        queue.popleft()
                return
            given_up.append(call.prompt)

    def abandon(self, ticket: int, now: float) -> None:
        """Nobody waits for `ticket` any more."""
        for queue in self._queues.values():
            for call in queue:
                if call.ticket == ticket:
                    call.waited_for = False
                    call.due = now + FORGET_S

    def forget(self, kind: CallKind) -> None:
        """No answer to a call of this kind that was given up is expected any more."""
        queue = self._queues[kind]
        for call in tuple(queue):
            if not call.waited_for:
                queue.remove(call)

    def withdraw(self, ticket: int) -> None:
        """Nothing was asked: `ticket` keeps no place."""
        for queue in self._queues.values():
            for call in tuple(queue):
                if call.ticket == ticket:
                    queue.remove(call)

    def expire(self, now: float) -> list[tuple[CallKind, int]]:
        """The calls whose time is up; they are given up by this."""
        expired: list[tuple[CallKind, int]] = []
        for kind, queue in self._queues.items():
            for call in tuple(queue):
                if call.due is None or call.due > now:
                    continue
                if call.waited_for:
                    expired.append((kind, call.ticket))
                    call.waited_for = False
                    call.due = now + FORGET_S
                else:
                    queue.remove(call)
        return expired

    def deadline(self) -> float | None:
        """When `expire` is to be asked next."""
        due = [call.due for queue in self._queues.values() for call in queue]
        return min((time for time in due if time is not None), default=None)

    def clear(self, *kinds: CallKind) -> list[tuple[CallKind, int]]:
        """Take all calls of these kinds (without any: of all); the ones somebody waits for."""
        taken = []
        for kind in kinds or tuple(CallKind):
            queue = self._queues[kind]
            taken += [(kind, call.ticket) for call in queue if call.waited_for]
            queue.clear()
        return taken
