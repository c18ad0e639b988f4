"""Request bodies that are bounded: in bytes, in time, and in how many strangers' may be awaited.

Without that, whoever sends a head and then nearly nothing holds a connection for ever, and a
thousand of them all that the server has.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Send

BODY_TIMEOUT_S: Final = 10.0
"""What every body gets, however short it is."""
BODY_MIN_RATE: Final = 8192
"""Bytes a second that a body must come with beyond that."""
AWAITED_SHARE: Final = 4
"""Strangers' bodies that are awaited take at most this part of all connections,"""
ADDRESS_SHARE: Final = 16
"""and those of one address this part."""
_CLOSE: Final = {"Connection": "close"}


class BodyTooLarge(HTTPException):
    """More bytes came than `SALON_MAX_BODY_BYTES` allows."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"the body may hold at most {limit} bytes")


class BodyTooSlow(HTTPException):
    """The rest of the body did not come in time."""

    def __init__(self) -> None:
        super().__init__(408, "the body came too slowly", _CLOSE)


class BodiesCrowded(HTTPException):
    """The body is not here yet, and as many as are allowed are awaited already: 429 if they are
    of this address, else 503."""

    def __init__(self, status: int) -> None:
        words = "too many requests await their body; send again"
        super().__init__(status, words, {"Retry-After": "5"} | _CLOSE)


@dataclass(frozen=True)
class BodyLimits:
    """`size` in bytes. A body must be here after `timeout` seconds and one more for each
    `min_rate` bytes that came. Of callers without a key as many as `awaited` bodies are awaited,
    `awaited_of_one` from one address."""

    size: int
    awaited: int
    awaited_of_one: int
    timeout: float = BODY_TIMEOUT_S
    min_rate: int = BODY_MIN_RATE

    @classmethod
    def of(cls, size: int, connections: int) -> BodyLimits:
        """Those of a server that takes so many connections."""
        return cls(size, max(1, connections // AWAITED_SHARE), max(1, connections // ADDRESS_SHARE))


class Bodies:
    """The bodies that a server awaits. `on_refused` is told the status of each refusal."""

    def __init__(
        self, limits: BodyLimits, on_refused: Callable[[int], None] = lambda _status: None
    ) -> None:
        self.limits = limits
        self.on_refused = on_refused
        self._awaited: Counter[str] = Counter()

    @property
    def awaited(self) -> int:
        """Strangers' bodies that are awaited now."""
        return self._awaited.total()

    def enter(self, address: str) -> int | None:
        """A place, to be left; else the status of the refusal."""
        if self._awaited[address] >= self.limits.awaited_of_one:
            return 429
        if self.awaited >= self.limits.awaited:
            return 503
        self._awaited[address] += 1
        return None

    def leave(self, address: str) -> None:
        """Give a place back."""
        self._awaited[address] -= 1
        if self._awaited[address] <= 0:
            del self._awaited[address]


class Body:
    """One request's; `receive` and `send` stand in for the server's. `stranger` is the address of
    a caller who has shown no key; None: any number of the caller's bodies are awaited."""

    def __init__(
        self, bodies: Bodies, receive: Receive, send: Send, stranger: str | None = None
    ) -> None:
        self._bodies = bodies
        self._receive = receive
        self._send = send
        self._stranger = stranger
        self._placed = False
        self._seen = 0
        self._whole = False
        self._answered = False
        self._began = asyncio.get_running_loop().time()

    async def send(self, message: Message) -> None:
        """Pass an answer on."""
        self._answered = True
        await self._send(message)

    async def receive(self) -> Message:
        """The next part. Raises `BodyTooLarge`, `BodyTooSlow`, `BodiesCrowded`; who has been
        answered is gone instead."""
        if self._whole:
            return await self._receive()
        limits = self._bodies.limits
        crowded = self._enter()
        patience = limits.timeout + self._seen / limits.min_rate
        try:
            # what is here already is taken also when there is no time to wait
            async with asyncio.timeout_at(0 if crowded else self._began + patience):
                message = await self._receive()
        except TimeoutError:
            return self._give_up(crowded)
        self._seen += len(message.get("body", b""))
        if not message.get("more_body", False):
            self._whole = True
            self.close()
        if self._seen > limits.size:
            raise BodyTooLarge(limits.size)
        return message

    def close(self) -> None:
        """Nothing more is awaited; idempotent."""
        if self._placed and self._stranger is not None:
            self._placed = False
            self._bodies.leave(self._stranger)

    def _enter(self) -> int | None:
        if self._placed or self._stranger is None:
            return None
        status = self._bodies.enter(self._stranger)
        self._placed = status is None
        return status

    def _give_up(self, crowded: int | None) -> Message:
        self.close()
        if self._answered:
            return {"type": "http.disconnect"}
        self._bodies.on_refused(crowded or 408)
        raise BodyTooSlow if crowded is None else BodiesCrowded(crowded)
