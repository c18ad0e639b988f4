"""One session's sound, both ways: a queue on the way out, frames of the wanted rate in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from salon.base import Clock
from salon.media.frame import SAMPLE_RATE, SILENCE, AudioChunk, AudioFrame, Samples
from salon.media.framer import Framer
from salon.media.resample import Resampler
from salon.transport.ticker import Phase, Ticker, TickHandle
from salon.voice.backends.connection import Connection
from salon.voice.backends.outgoing import OutgoingAudio
from salon.voice.backends.session import VoiceSession
from salon.voice.events import Dtmf, MediaEvent

_SLICE_MS: Final = 500
"""Longer chunks are queued piece by piece, so that the queue's bound holds."""


_LOOK_S: Final = 0.02


class Call:
    """A session from its beginning, with a `Connection` as soon as there is one.

    Sound may be sent before that: it waits in the queue.
    """

    def __init__(
        self,
        session: VoiceSession,
        *,
        input_rate: int,
        max_frames: int,
        ticker: Ticker,
        clock: Clock,
        heard: Callable[[VoiceSession, AudioFrame], None],
        pressed: Callable[[VoiceSession, str], None],
    ) -> None:
        self.session = session
        self.outgoing = OutgoingAudio(max_frames)
        self.connection: Connection | None = None
        self.muted = False
        self.gated = False
        self.leaving = False
        """The far end is gone, and whoever wants to know is being told."""
        self.ended = asyncio.Event()
        self._ticker = ticker
        self._clock = clock
        self._heard = heard
        self._pressed = pressed
        self._framer = Framer()
        self._resampler = Resampler(SAMPLE_RATE, input_rate)
        self._began = clock.monotonic()
        self._tick: TickHandle | None = None
        self._ahead = 0
        self._running = False
        """Sound was sent at the tick before."""
        self._open = False
        """Nothing was sent at this tick so far."""
        self._senders = 0
        self._scopes: set[asyncio.Timeout] = set()
        """Those of the senders; one that is over ends its `play`."""
        self._over = False

    # -- the connection ---------------------------------------------------------------------------

    def join(self, connection: Connection) -> None:
        """Hear what comes through `connection`."""
        self.connection = connection
        connection.leg.open(self._hear, self._post)

    def start(self) -> bool:
        """The connection stands: send, from the first time this is called on; whether it was that.

        A first frame of silence opens the far end's decoder and begins the time line.
        """
        if self._tick is not None or self.connection is None or self._over:
            return False
        self.connection.leg.send(SILENCE)
        self._tick = self._ticker.add(self._send, Phase.OUTBOUND)
        return True

    async def end(self) -> None:
        """Nothing passes any more; idempotent."""
        self._over = True
        self.outgoing.stop()
        self._turn_away()
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        connection, self.connection = self.connection, None
        try:
            if connection is not None:
                connection.leg.close()
                await connection.close()
        finally:
            self.ended.set()  # cancelled, too: somebody may wait for it

    # -- in ---------------------------------------------------------------------------------------

    def _hear(self, samples: Samples) -> None:
        for frame in self._framer.push(samples):
            if self.muted or self.gated:
                continue
            samples = self._resampler.process(frame)
            stamp = (self._clock.monotonic() - self._began) * 1000
            connection = self.connection
            notes = {"concealed": True} if connection is not None and connection.concealed else None
            self._heard(
                self.session, AudioFrame.of(samples, self._resampler.out_rate, stamp, notes)
            )

    def _post(self, event: MediaEvent) -> None:
        if isinstance(event, Dtmf):
            self._pressed(self.session, event.digit)

    # -- out --------------------------------------------------------------------------------------

    @property
    def playing(self) -> bool:
        """Whether something is being sent, or waits for it."""
        return bool(
            self._senders
            or self._ahead
            or len(self.outgoing)
            or (self.connection is not None and self.connection.held)
        )

    @property
    def dropped(self) -> int:
        """Frames queued that were never sent because newer ones needed their place."""
        return self.outgoing.dropped + (0 if self.connection is None else self.connection.dropped)

    async def drained(self) -> bool:
        """Until nothing plays; whether it was all sent."""
        generation = self.outgoing.generation
        while self.playing and not self._over and self.outgoing.generation == generation:
            await self._clock.sleep(_LOOK_S)
        return not self._over and self.outgoing.generation == generation

    async def play(self, chunks: AsyncIterator[AudioChunk]) -> None:
        """Queue what comes, waiting for room; ends early, whatever it waits for, with an
        interruption or the session."""
        if self._over:
            return
        generation = self.outgoing.generation
        self._senders += 1
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._scopes.add(scope)
                await self._fill(chunks, generation)
        except TimeoutError:
            if not scope.expired():
                raise
        finally:
            self._scopes.discard(scope)
            if self.outgoing.generation == generation:
                self._senders -= 1

    async def _fill(self, chunks: AsyncIterator[AudioChunk], generation: int) -> None:
        outgoing = self.outgoing
        async for chunk in chunks:
            for piece in _slices(chunk):
                await outgoing.wait()
                if outgoing.generation != generation:
                    return
                outgoing.put(piece)
            if outgoing.generation != generation:
                return
        outgoing.finish()

    def _turn_away(self) -> None:
        """End every `play` that has not come to its end."""
        scopes, self._scopes = self._scopes, set()
        for scope in scopes:
            scope.reschedule(asyncio.get_running_loop().time())

    async def play_bytes(self, data: bytes, rate: int) -> None:
        """Queue signed 16-bit mono samples, waiting for room. More of the same sound may follow."""
        generation = self.outgoing.generation
        for piece in _slices(AudioChunk(data, rate)):
            await self.outgoing.wait()
            if self._over or self.outgoing.generation != generation:
                return
            self.outgoing.put(piece)

    def put(self, chunk: AudioChunk) -> None:
        """Queue without waiting; the oldest makes room."""
        if self._over:
            return
        self.outgoing.put(chunk)
        connection = self.connection
        if (
            self._tick is not None
            and connection is not None
            and (self._open or (not self._ahead and connection.leg.quiet))
            and not connection.busy
            and self.outgoing.whole
            and (frame := self.outgoing.take()) is not None
        ):  # this tick's place is free, or nothing is on its way at all: no need to wait
            connection.leg.send(frame)
            self._ahead += 1
            self._open, self._running = False, True

    def interrupt(self) -> None:
        """Drop what is queued."""
        self.outgoing.clear()
        self._turn_away()
        self._ahead = self._senders = 0
        if self.connection is not None:
            self.connection.flush()

    def _send(self, _tick: int) -> None:
        connection = self.connection
        if connection is None:
            return
        if self._ahead:
            self._ahead -= 1
        self._open = False
        if connection.occupied():
            return
        silent = not self._ahead
        while self._ahead < connection.lead:
            frame = self.outgoing.take()
            if frame is None:
                break
            connection.leg.send(frame)
            self._ahead += 1
            silent = False
        if not silent:
            self._running = True
        elif self._running:  # whoever speaks may give this tick's frame later in the tick
            self._open, self._running = True, False
        else:
            connection.leg.idle()


def _slices(chunk: AudioChunk) -> list[AudioChunk]:
    """The chunk in pieces of half a second; itself if it is no longer."""
    step = chunk.sample_rate * _SLICE_MS // 1000 * 2 * chunk.channels
    if len(chunk.data) <= step or step <= 0:
        return [chunk]
    starts = range(0, len(chunk.data), step)
    return [
        AudioChunk(
            chunk.data[at : at + step],
            chunk.sample_rate,
            chunk.channels,
            chunk.format,
            is_final=chunk.is_final and at == starts[-1],
        )
        for at in starts
    ]
