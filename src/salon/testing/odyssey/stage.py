"""What a connection shows: one picture at a time, painted by one clock, seen by many tracks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from salon.base import Clock
from salon.testing.odyssey.film import LiveFilm
from salon.testing.odyssey.picture import IDLE, VIDEO_CLOCK, Look, Painter, Planes, video_frame
from salon.testing.odyssey.stamp import Stamp


@dataclass(frozen=True, slots=True)
class Shown:
    """A painted frame; `pts` in ticks of 90 kHz since the stage began."""

    number: int
    pts: int
    planes: Planes


class Stage:
    """Paints `fps` frames a second while `run` runs. A late frame is left out, never made up for:
    making up starves everything else on the loop (checklist 7)."""

    def __init__(
        self, clock: Clock, fps: int, size: tuple[int, int], frozen: Callable[[], bool]
    ) -> None:
        self.painted = 0
        self.skipped = 0
        """Frames left out because the loop was late."""
        self._clock = clock
        self._fps = fps
        self._frozen = frozen
        self._painter = Painter(*size)
        self._look = IDLE
        self._live = False
        self._film: LiveFilm | None = None
        self._began = clock.monotonic()
        self._live_since = self._began
        self._shown: Shown | None = None
        self._news = asyncio.Event()
        self._closed = False

    async def run(self) -> None:
        """Paint until cancelled."""
        tick = 0
        try:
            while True:
                self.paint()
                tick += 1
                now = self._clock.monotonic() - self._began
                due = int(now * self._fps) + 1
                if due > tick:
                    self.skipped += due - tick
                    tick = due
                await self._clock.sleep(max(0.0, tick / self._fps - now))
        finally:
            self.close()

    def paint(self) -> None:
        """The next frame, unless the picture is frozen."""
        if self._closed or (self._frozen() and self._shown is not None):
            return
        now = self._clock.monotonic()
        stamp = Stamp(self._live, self.painted, self._clock.now_ms())
        planes = self._painter.paint(self._look, stamp)
        if self._film is not None:
            self._film.add(planes, int((now - self._live_since) * 1000))
        pts = int((now - self._began) * VIDEO_CLOCK)
        self._shown = Shown(self.painted, pts, planes)
        self.painted += 1
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def after(self, number: int) -> Shown:
        """The newest frame, once it is newer than `number`; `MediaStreamError` after the end."""
        while self._shown is None or self._shown.number <= number:
            if self._closed:
                raise MediaStreamError
            await self._news.wait()
        if self._closed:
            raise MediaStreamError
        return self._shown

    def begin(self, size: tuple[int, int], look: Look, film: LiveFilm | None) -> None:
        """A stream starts; its first frame is painted at once."""
        self._resize(size)
        self._look, self._live, self._film = look, True, film
        self._live_since = self._clock.monotonic()
        self.paint()

    def change(self, look: Look) -> None:
        """Another prompt."""
        self._look = look

    def finish(self) -> None:
        """The idle picture again, in the size of the stream (checklist 8)."""
        self._look, self._live, self._film = IDLE, False, None

    def live_ms(self) -> int:
        """How long the stream runs."""
        return int((self._clock.monotonic() - self._live_since) * 1000)

    def close(self) -> None:
        """Every track ends; idempotent."""
        self._closed = True
        self._news.set()

    def _resize(self, size: tuple[int, int]) -> None:
        if size != (self._painter.width, self._painter.height):
            self._painter = Painter(*size)


class StageTrack(MediaStreamTrack):
    """A viewer's own track of a stage. It must be stopped explicitly: closing a peer connection
    does not (checklist 6)."""

    kind = "video"

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage
        self._number = -1

    async def recv(self) -> VideoFrame:
        """The next frame, newer than the last; frames between are left out for a slow viewer."""
        if self.readyState != "live":
            raise MediaStreamError
        try:
            shown = await self._stage.after(self._number)
        except MediaStreamError:
            self.stop()
            raise
        self._number = shown.number
        return video_frame(shown.planes, shown.pts)
