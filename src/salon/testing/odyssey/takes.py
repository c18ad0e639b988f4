"""What is shown and recorded of a connection's streams."""

from __future__ import annotations

import asyncio
import logging

from salon.base import UnavailableError, unbroken
from salon.testing.odyssey.archive import Kept
from salon.testing.odyssey.film import LiveFilm
from salon.testing.odyssey.house import House
from salon.testing.odyssey.picture import ImageError, Planes, image_planes, look_of
from salon.testing.odyssey.stage import Stage
from salon.testing.odyssey.stream_core import Stream

_log = logging.getLogger("salon.testing.odyssey")


class Takes:
    """At most one stream at a time: `begin`, `change`, `finish`."""

    def __init__(self, house: House, stage: Stage, owner: str) -> None:
        self._house = house
        self._stage = stage
        self._owner = owner
        self._stream: Stream | None = None
        self._film: LiveFilm | None = None

    async def begin(self, stream: Stream) -> tuple[str, str] | None:
        """Show a stream and record it; why it can't be shown (reason, message), or None."""
        settings = self._house.settings
        size = settings.size(portrait=stream.portrait)
        image: Planes | None = None
        if stream.image is not None:
            try:
                image = await asyncio.to_thread(image_planes, stream.image, *size, settings)
            except ImageError as error:
                return error.reason, str(error)
        film = None
        if settings.record:
            folder = await self._house.new_folder(stream.id)
            film = LiveFilm(folder, *size, settings.fps)
        self._stream, self._film = stream, film
        kept = Kept(stream.id, self._owner, *size, started_at=self._house.clock.time())
        self._house.archive.begin(kept)
        self._stage.begin(size, look_of(stream.prompt, image), film)
        self._note("stream_started", prompt=stream.prompt)
        return None

    def change(self, prompt: str) -> None:
        """Another prompt; an image is shown until then."""
        self._stage.change(look_of(prompt))
        self._note("update_acknowledged", prompt=prompt)

    def _note(self, kind: str, **fields: str) -> None:
        if self._film is not None:
            self._film.event(self._stage.live_ms(), kind, **fields)

    async def finish(self) -> None:
        """Show the idle picture, and complete the recording (checklist 9). Idempotent."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        lasted = self._stage.live_ms()
        self._note("stream_ended")
        self._stage.finish()
        film, self._film = self._film, None
        await unbroken(self._complete(stream, film, lasted))

    async def _complete(self, stream: Stream, film: LiveFilm | None, lasted_ms: int) -> None:
        """To the end, also for a client that goes meanwhile."""
        files: frozenset[str] = frozenset()
        if film is not None:
            try:
                files = await asyncio.to_thread(film.close)
            except UnavailableError:
                _log.exception("recording %s is lost", stream.id)
        self._house.archive.end(
            stream.id,
            ended_at=self._house.clock.time(),
            duration_s=lasted_ms / 1000,
            frames=film.frames if film is not None else 0,
            files=files,
        )
