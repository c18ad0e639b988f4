"""A session core with a clock that stands until it is moved, and what it asked for."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from salon.clients.odyssey import actions as act
from salon.clients.odyssey.messages import StreamRequest
from salon.clients.odyssey.retry import RetrySchedule, SessionLimits
from salon.clients.odyssey.session import Route, SessionCore
from salon.clients.odyssey.types import ConnectionStatus

A = TypeVar("A")
CHANNEL_BYTES = 65_536


class CoreStage:
    """`done` is everything the core asked for, in order; `channel` what its channel takes."""

    def __init__(
        self, schedule: RetrySchedule | None = None, limits: SessionLimits | None = None
    ) -> None:
        self.core = SessionCore(schedule, limits)
        self.now = 1000.0
        self.done: list[act.Action] = []
        self.channel: int | None = CHANNEL_BYTES

    def take(self, made: list[act.Action]) -> list[act.Action]:
        self.done += made
        return made

    # -- a connection -------------------------------------------------------------------------

    def begin(self, route: Route = Route.BROKER, *, reconnect: bool = False) -> list[act.Action]:
        return self.take(self.core.begin(route, self.now, reconnect=reconnect))

    def dial(self) -> None:
        """Up to the attempt to open the socket."""
        self.take(self.core.prepared("s-1", self.now))

    def open(self) -> None:
        """Up to the open socket."""
        self.begin()
        self.dial()
        self.take(self.core.socket_opened(self.now))

    def connected(self, *, reconnect: bool = False) -> CoreStage:
        """A connection that stands."""
        self.begin(reconnect=reconnect)
        self.dial()
        self.take(self.core.socket_opened(self.now))
        self.ready()
        assert self.core.status is ConnectionStatus.CONNECTED
        self.done.clear()
        return self

    def ready(self) -> None:
        """The streamer offers; the link comes about."""
        self.signal(type="offer", sdp="v=0")
        self.take(self.core.answered("v=0 answer", self.now))
        self.take(self.core.video_announced(self.now))
        self.take(self.core.channel_opened(self.now))

    def wait(self, seconds: float) -> list[act.Action]:
        """Time passes; every timer fires at its time."""
        made: list[act.Action] = []
        end = self.now + seconds
        while (due := self.core.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            made += self.take(self.core.tick(self.now))
        self.now = end
        return made

    # -- messages -----------------------------------------------------------------------------

    def signal(self, **message: Any) -> list[act.Action]:
        return self.take(self.core.socket_message(json.dumps(message), self.now))

    def say(self, **message: Any) -> list[act.Action]:
        return self.take(self.core.stream_message(json.dumps(message), self.now))

    def start(self, prompt: str = "a dog", timeout: float | None = 60, **more: Any) -> int:
        ticket, made = self.core.stream.start(
            StreamRequest(prompt, **more), self.now, channel_bytes=self.channel, timeout_s=timeout
        )
        self.take(made)
        return ticket

    def interact(self, prompt: str = "it barks", timeout: float | None = 30) -> int:
        ticket, made = self.core.stream.interact(
            prompt, self.now, channel_bytes=self.channel, timeout_s=timeout
        )
        self.take(made)
        return ticket

    def end(self, timeout: float | None = 30) -> int:
        ticket, made = self.core.stream.end(self.now, channel_bytes=self.channel, timeout_s=timeout)
        self.take(made)
        return ticket

    # -- what was asked for -------------------------------------------------------------------

    def of(self, kind: type[A]) -> list[A]:
        return [action for action in self.done if isinstance(action, kind)]

    @property
    def told(self) -> list[tuple[Any, ...]]:
        """The callbacks, as (name, arguments...)."""
        return [(action.name, *action.arguments) for action in self.of(act.Notify)]

    @property
    def statuses(self) -> list[tuple[str, str | None]]:
        return [(one[1].value, one[2]) for one in self.told if one[0] == "status_change"]

    @property
    def resolved(self) -> list[tuple[int, str | None]]:
        return [(action.ticket, action.value) for action in self.of(act.Resolve)]

    @property
    def rejected(self) -> dict[int, Exception]:
        return {action.ticket: action.error for action in self.of(act.Reject)}
