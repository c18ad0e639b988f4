"""A `VoiceBackend` as the leg of a `MediaSession`."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from salon.base import RAISED, TaskScope
from salon.media.frame import SAMPLE_RATE, AudioChunk, Samples
from salon.voice.backends.base import VoiceBackend, VoiceCapability
from salon.voice.backends.carried import CarriedVoiceBackend
from salon.voice.backends.session import VoiceSession
from salon.voice.foreign import is_ours
from salon.voice.leg import AudioLeg, Hear, Post
from salon.voice.patience import Patience

_log = logging.getLogger("salon.voice")

MAX_WAITING = 250
"""Frames that may wait for a backend that does not take them; beyond, the oldest go (5 s)."""
TAKE_S = 15.0
"""A backend has so long to come for the next piece of an utterance, and after the end of one so
long to take the rest of it."""
CANCEL_S = 5.0
"""A backend has so long to stop playing."""


class BackendLeg(AudioLeg):
    """Gives a session's frames to its backend as they are due.

    A backend that paces and queues by itself gets each frame at once; any other gets one
    `send_audio` per utterance, whose chunks come as they are due and end with a final one (V105).
    Sound from the participant comes by `MediaSession.hear_frame`, not through the leg. `flushed` is
    called when what was sent and not heard yet is dropped.
    """

    def __init__(
        self,
        backend: VoiceBackend,
        session: VoiceSession,
        *,
        flushed: Callable[[], None] | None = None,
    ) -> None:
        self.backend = backend
        self.session = session
        self.dropped = 0
        """Frames that the backend did not take in time."""
        self._flushed = flushed
        self._direct = isinstance(backend, CarriedVoiceBackend)
        self._scope = TaskScope(f"leg of {session.id}")
        self._utterance: _Outgoing | None = None
        self._packets = 0
        self._closed = False

    def open(self, hear: Hear, post: Post) -> None:
        """Nothing comes this way."""

    def counted(self) -> None:
        """A frame of the participant arrived."""
        self._packets += 1

    def send(self, frame: Samples) -> None:
        if self._closed:
            return
        chunk = AudioChunk(frame.tobytes(), SAMPLE_RATE)
        if self._direct:
            self.backend.send_audio_sync(self.session, chunk)
            return
        if self._utterance is None:
            self._utterance = _Outgoing()
            self._scope.spawn(self._play(self._utterance), name="play")
        self.dropped += self._utterance.put(chunk)

    async def _play(self, outgoing: _Outgoing) -> None:
        name = self.backend.name
        try:
            async with outgoing.limited() as limit:
                await self.backend.send_audio(self.session, outgoing.chunks())
        except RAISED as error:
            if is_ours(error):
                raise
            if limit.expired():
                self.dropped += outgoing.drop()
                _log.error("backend %s did not take an utterance within %g s", name, TAKE_S)
            else:
                _log.exception("backend %s could not play", name)
        finally:
            outgoing.close()
            if self._utterance is outgoing:
                self._utterance = None

    def boundary(self) -> None:
        if self._closed:
            return
        final = AudioChunk(b"", SAMPLE_RATE, is_final=True)
        if self._direct:
            self.backend.send_audio_sync(self.session, final)
        elif self._utterance is not None:
            self._utterance.put(final)
            self._utterance.close()
            self._utterance = None
        self.backend.end_of_response(self.session)

    def flush(self) -> None:
        if self._closed:
            return
        if self._flushed is not None:
            self._flushed()
        if self._utterance is not None:
            self._utterance.drop()
            self._utterance = None
        if self._direct:
            self.backend.interrupt(self.session)
        elif VoiceCapability.INTERRUPTION in self.backend.capabilities:
            self._scope.spawn(self._cancel(), name="cancel")

    async def _cancel(self) -> None:
        name = self.backend.name
        try:
            async with asyncio.timeout(CANCEL_S) as limit:
                await self.backend.cancel_audio(self.session)
        except RAISED as error:
            if is_ours(error):
                raise
            if limit.expired():
                _log.error("backend %s did not stop playing within %g s", name, CANCEL_S)
            else:
                _log.exception("backend %s could not stop playing", name)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._utterance is not None:
            self._utterance.drop()
            self._utterance = None
        self._scope.cancel()

    @property
    def packets_in(self) -> int:
        return self._packets


class _Outgoing:
    """The chunks of one utterance on their way to a backend that asks for them."""

    def __init__(self) -> None:
        self._chunks: deque[AudioChunk] = deque()
        self._wake = asyncio.Event()
        self._over = False
        self._limit: asyncio.Timeout | None = None
        self._patience = Patience(TAKE_S, self._give_up)
        """With the backend, while it does not come for the next chunk."""

    @asynccontextmanager
    async def limited(self) -> AsyncIterator[asyncio.Timeout]:
        """For whoever takes the chunks: each has to be taken soon, and once there are no more the
        rest."""
        async with asyncio.timeout(None) as limit:
            self._limit = limit
            self._patience.wait()
            try:
                if self._over:
                    self.close()
                yield limit
            finally:
                self._limit = None
                self._patience.close()

    def _give_up(self) -> None:
        """The backend came for nothing for too long."""
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time())

    def put(self, chunk: AudioChunk) -> int:
        """Add a chunk; how many were dropped for it."""
        dropped = 0
        if self._over:
            return 1
        if len(self._chunks) >= MAX_WAITING:
            self._chunks.popleft()
            dropped = 1
        self._chunks.append(chunk)
        self._wake.set()
        return dropped

    def close(self) -> None:
        """Nothing more comes."""
        self._over = True
        self._wake.set()
        if self._limit is not None and self._limit.when() is None:
            self._limit.reschedule(asyncio.get_running_loop().time() + TAKE_S)

    def drop(self) -> int:
        """What waits is not wanted any more; how many chunks."""
        waiting = len(self._chunks)
        self._chunks.clear()
        self.close()
        return waiting

    async def chunks(self) -> AsyncIterator[AudioChunk]:
        self._patience.came()
        while True:
            while self._chunks:
                self._patience.wait()
                yield self._chunks.popleft()
                self._patience.came()
            if self._over:
                return
            self._wake.clear()
            await self._wake.wait()
