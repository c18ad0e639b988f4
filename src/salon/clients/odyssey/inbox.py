"""Where everything that comes for a program goes: to its callbacks and to its readers."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from salon.base import Clock
from salon.clients.odyssey.callbacks import Callbacks, end_callbacks
from salon.clients.odyssey.errors import plain_text
from salon.clients.odyssey.feeds import Feed, OdysseyEvent
from salon.clients.odyssey.handlers import OdysseyEventHandlers
from salon.clients.odyssey.logs import Log
from salon.clients.odyssey.session import SessionCore
from salon.clients.odyssey.telemetry import Telemetry
from salon.clients.odyssey.types import AudioFrame, ConnectionStatus, VideoFrame

MAX_EVENTS: Final = 256
"""Events a reader may be behind."""
MAX_SOUND: Final = 50
"""Pieces of sound a reader may be behind, about a second."""

_ARGUMENTS: Final[dict[str, tuple[str, ...]]] = {
    "stream_started": ("stream_id",),
    "interact_acknowledged": ("prompt",),
    "broadcast_ready": ("broadcast",),
    "stream_error": ("reason", "message"),
    "error": ("error", "fatal"),
    "status_change": ("status", "message"),
}
_OVER: Final = frozenset({ConnectionStatus.DISCONNECTED, ConnectionStatus.FAILED})


class Inbox:
    """The `Listener` of a client's driver. `frames` counts the pictures of this connection."""

    def __init__(
        self, core: SessionCore, telemetry: Telemetry, *, debug: bool, clock: Clock
    ) -> None:
        self.pictures: Feed[VideoFrame] = Feed(1)
        self.sounds: Feed[AudioFrame] = Feed(MAX_SOUND)
        self.events: Feed[OdysseyEvent] = Feed(MAX_EVENTS)
        self.frames = 0
        self._core = core
        self._telemetry = telemetry
        self._clock = clock
        self._log = Log("client", "Client", debug=debug)
        self._began_at = 0.0
        self.callbacks = Callbacks(OdysseyEventHandlers(), self._log)
        self._former: list[Callbacks] = []

    def begin(self, handlers: OdysseyEventHandlers) -> None:
        """A connection is being made; from now on these callbacks are told. Coroutines of those
        before may go on until `close`: one of them may be what connects."""
        self._former = [one for one in (*self._former, self.callbacks) if not one.idle]
        self.callbacks = Callbacks(handlers, self._log)
        for feed in (self.pictures, self.sounds, self.events):
            feed.close()
            feed.open()
        self.frames = 0
        self._began_at = self._clock.monotonic()
        self._telemetry.connecting()

    async def close(self) -> None:
        """End the coroutines of all callbacks, after a grace; not the one that calls this."""
        await end_callbacks((*self._former, self.callbacks))
        self._former = []

    # -- the listener -----------------------------------------------------------------------------

    def notify(self, name: str, arguments: tuple[Any, ...]) -> None:
        """An event."""
        self._log.debug("%s %r", name, arguments)
        if name == "error":
            self._log.error("%s", plain_text(arguments[0]))
        elif name == "connected":
            took = self._clock.monotonic() - self._began_at
            self._telemetry.connected(self._core.session_id, int(1000 * took))
        data = dict(zip(_ARGUMENTS.get(name, ()), arguments, strict=True))
        self.events.put(OdysseyEvent(name, data))
        self.callbacks.event(name, *arguments)
        if name == "status_change" and arguments[0] in _OVER:
            # behind the other events of the same end
            asyncio.get_running_loop().call_soon(self._end_feeds)

    def picture(self, frame: VideoFrame) -> None:
        """A picture."""
        self.frames += 1
        self.pictures.put(frame)
        self.callbacks.video_frame(frame)

    def sound(self, frame: AudioFrame) -> None:
        """A piece of sound."""
        self.sounds.put(frame)
        self.callbacks.audio_frame(frame)

    def _end_feeds(self) -> None:
        if self._core.status in _OVER:
            for feed in (self.pictures, self.sounds, self.events):
                feed.close()
