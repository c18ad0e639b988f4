"""What happens in a call because nothing happens: its timers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

INACTIVITY_CHECK_S = 1.0
"""How often inactivity is looked for (G136)."""


class Deadlines:
    """The timers of one call; each may be set once more, after `close` none is."""

    def __init__(self) -> None:
        self._input: asyncio.TimerHandle | None = None
        self._packets: asyncio.TimerHandle | None = None
        self._keepalive: asyncio.TimerHandle | None = None
        self._invite: asyncio.TimerHandle | None = None
        self._handshake: asyncio.TimerHandle | None = None
        self._closed = False

    def keep_alive(self, period_s: int, ping: Callable[[], None]) -> None:
        """Ping at once and in every period (G18)."""
        if self._closed:
            return
        ping()
        self._keepalive = asyncio.get_running_loop().call_later(
            period_s, self.keep_alive, period_s, ping
        )

    def expect_invite(self, timeout_s: float, missed: Callable[[], None]) -> None:
        """Call `missed` unless `invited` comes first (G22)."""
        if not self._closed:
            self._invite = asyncio.get_running_loop().call_later(timeout_s, missed)

    def invited(self) -> None:
        """The client has said what it wants."""
        if self._invite is not None:
            self._invite.cancel()
            self._invite = None

    def expect_handshake(self, timeout_s: float, check: Callable[[], None]) -> None:
        """Call `check` when the call should be up (G60)."""
        if not self._closed:
            self._handshake = asyncio.get_running_loop().call_later(timeout_s, check)

    def expect_input(self, timeout_ms: int, missed: Callable[[], None]) -> None:
        """Call `missed` unless `input_came` comes first (G78)."""
        self.input_came()
        if not self._closed:
            loop = asyncio.get_running_loop()
            self._input = loop.call_later(timeout_ms / 1000, missed)

    def input_came(self) -> None:
        """The caller says something, or the call goes on without."""
        if self._input is not None:
            self._input.cancel()
            self._input = None

    def expect_packets(
        self, timeout_s: int, count: Callable[[], int], missed: Callable[[], None]
    ) -> None:
        """Call `missed` when `count` has stayed the same for so long (G60, G136)."""
        loop = asyncio.get_running_loop()
        seen, since = count(), loop.time()

        def check() -> None:
            nonlocal seen, since
            now = count()
            if now != seen:
                seen, since = now, loop.time()
            elif loop.time() - since >= timeout_s:
                missed()
                return
            self._packets = loop.call_later(INACTIVITY_CHECK_S, check)

        if not self._closed:
            if self._packets is not None:
                self._packets.cancel()
            self._packets = loop.call_later(INACTIVITY_CHECK_S, check)

    def close(self) -> None:
        """Stop all. Idempotent."""
        self._closed = True
        for timer in (
            self._input,
            self._packets,
            self._keepalive,
            self._invite,
            self._handshake,
        ):
            if timer is not None:
                timer.cancel()
