"""Another server speaks and listens in a call: `mediaPass` (G67, G170-G173)."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from salon.base import TaskScope
from salon.gateway.commands import Command, HangupReason, InterruptCommand
from salon.gateway.companions import Companion
from salon.gateway.media_pass_link import Connect, Link, LinkError, with_query
from salon.gateway.options import CallOption, MediaPassOption, masked_data
from salon.media.frame import SAMPLE_RATE, Samples
from salon.media.framer import Framer
from salon.media.resample import Resampler
from salon.voice.events import Failed, MediaEvent, TrackStarted
from salon.voice.playback import Playback
from salon.voice.stream_track import StreamTrack

if TYPE_CHECKING:
    from salon.gateway.session import Session

_log = logging.getLogger("salon.gateway")

RATES = frozenset({8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000})
MIN_PACKET = 160
MAX_PACKET = 64 * 1024
"""Bytes at 16 kHz: 5 ms to 2 s."""
MAX_PTIME_MS = 1000
BACK_OFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Waits before the attempts to reach a server again whose connection broke."""
STEADY_S = 30.0
"""A connection that lasted this long starts the back-off anew."""
ENOUGH_S = 25
"""So much of the server's sound may wait; then it is not read, and the server has to wait."""
END_TIMEOUT_S = 0.4


@dataclass(slots=True)
class MediaPassTotals:
    """Figures of all media passes of a process, since its start."""

    live: int = 0
    """Connections there are now."""
    begun: int = 0
    """Connections that were made, again after a break too."""
    failed: int = 0
    """Could not be made, or broke."""
    sent: int = 0
    """Chunks handed to a connection."""
    dropped: int = 0
    """Chunks not sent: the server reads too slowly or could not be reached."""


class MediaPass(Companion):
    """The media pass of one call.

    It plays on the server track until another playback, an `interrupt` or the end of the call takes
    its place; its connection is closed then. One that breaks is told, its track ends (G173), and
    it is tried to connect again, up to five times and only as long as nothing else plays.
    """

    name = "media_pass"
    serves = frozenset({"media_pass"})

    def __init__(self, connect: Connect, totals: MediaPassTotals | None = None) -> None:
        self._totals = totals or MediaPassTotals()
        self.chunks_sent = 0
        self.chunks_dropped = 0
        """Not sent because the server reads too slowly or could not be reached."""
        self._connect = connect
        self._scope = TaskScope("media pass")
        self._session: Session | None = None
        self._option: MediaPassOption | None = None
        self._url = ""
        self._link: Link | None = None
        self._running: asyncio.Task[None] | None = None
        self._playback: Playback | None = None
        self._track: StreamTrack | None = None
        self._framer = Framer()
        self._out = self._in = Resampler(SAMPLE_RATE, SAMPLE_RATE)
        self._attempts = 0
        self._odd = b""

    # -- the call's side --------------------------------------------------------------------------

    async def begin(self, session: Session, option: CallOption) -> None:
        """Connects, and plays before the answer is told (G120). No connection: no track."""
        asked = option.media_pass
        if asked is None:
            return
        self.name = f"media_pass: {masked_data(asked.url)}"
        self._session, self._option = session, asked
        problem = problem_of(asked)
        if problem is None:
            try:
                self._url = with_query(
                    asked.url, sample_rate=asked.output_sample_rate, packet_size=asked.packet_size
                )
                link = await self._connect(self._url)
            except LinkError as error:
                self._totals.failed += 1
                problem = str(error)
        if problem is not None:
            self._tell(problem)
        elif session.ending:
            await link.close()
        else:
            self._framer = Framer(asked.packet_size // 2)
            self._out = Resampler(SAMPLE_RATE, asked.output_sample_rate)
            session.media.taps.append(self._heard)
            self._play(link)
            self._running = self._scope.spawn(self._run(link), name="link")
        await session.settle()

    def command(self, command: Command) -> None:
        """An `interrupt` between two connections ends it too."""
        if isinstance(command, InterruptCommand) and self._track is None:
            self._stop()

    def media(self, event: MediaEvent) -> None:
        """Something else plays: it is not to come back."""
        ours = self._playback
        if isinstance(event, TrackStarted) and ours is not None and event.ssrc != ours.ssrc:
            self._stop()

    async def end(self, reason: HangupReason | str) -> None:
        """Closes the connection."""
        del reason
        self._stop()
        self._playback = self._track = None  # they know this one
        await self._scope.drain(END_TIMEOUT_S)
        await self._scope.close()
        if self.chunks_dropped:
            _log.info("%s: %d chunks were not sent", self.name, self.chunks_dropped)

    def _tell(self, problem: str) -> None:
        if self._session is not None:
            self._session.media.events.post(Failed(self.name, problem))

    # -- playing ----------------------------------------------------------------------------------

    def _play(self, link: Link) -> None:
        session, option = self._session, self._option
        if session is None or option is None:
            return
        track = StreamTrack(block_ms=option.ptime or None, on_close=self._closed)
        self._in = Resampler(option.input_sample_rate, SAMPLE_RATE)
        self._odd = b""
        self._track = track
        self._take(link)
        self._playback = Playback(track, None)
        session.media.play(self._playback)

    def _closed(self) -> None:
        """The track plays no more: replaced, cut, or at its end."""
        if self._track is not None and self._track.closed:
            self._track = None
            self._stop()

    def _stop(self) -> None:
        """No more sound either way; the connection is closed beside what goes on."""
        if self._session is not None and self._heard in self._session.media.taps:
            self._session.media.taps.remove(self._heard)
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
        self._leave()

    def _take(self, link: Link) -> None:
        """It is this call's connection, until `_leave`."""
        self._link = link
        self._totals.live += 1
        self._totals.begun += 1

    def _leave(self) -> None:
        """Let go of the connection."""
        link, self._link = self._link, None
        if link is not None:
            self._totals.live -= 1
            self._lose(link.dropped)
            self._scope.spawn(link.close(), name="close")

    async def _run(self, link: Link) -> None:
        session = self._session
        if session is None:
            return
        clock = session.services.clock
        following: Link | None = link
        while following is not None:
            since = clock.monotonic()
            try:
                await following.run(self._received)
            except LinkError as error:
                self._broke(str(error))
            else:
                self._hung_up()
                return
            if clock.monotonic() - since >= STEADY_S:
                self._attempts = 0
            following = await self._reach_again()
            if following is not None and session.media.player.current is not None:
                self._take(following)  # too late: something else plays
                break
            if following is not None:
                self._play(following)
        self._running = None
        self._stop()

    def _hung_up(self) -> None:
        """The server closed: what it said is played to its end (G173)."""
        self._running = None
        if self._track is not None:
            self._track.end()
        self._stop()

    def _broke(self, problem: str) -> None:
        """Told first, then the track ends (G173)."""
        self._totals.failed += 1
        self._tell(problem)
        self._track = None  # its end is not that of the media pass
        self._leave()
        session = self._session
        if session is not None and session.media.player.current is self._playback:
            session.media.interrupt()

    async def _reach_again(self) -> Link | None:
        while self._attempts < len(BACK_OFF_S):
            await asyncio.sleep(BACK_OFF_S[self._attempts])
            self._attempts += 1
            try:
                return await self._connect(self._url)
            except LinkError as error:
                self._totals.failed += 1
                _log.info("%s: attempt %d: %s", self.name, self._attempts, error)
        self._tell(f"given up after {self._attempts} attempts to connect again")
        return None

    # -- sound ------------------------------------------------------------------------------------

    def _heard(self, samples: Samples) -> None:
        """The caller's sound, in chunks of `packetSize` bytes at 16 kHz (G171)."""
        for chunk in self._framer.push(samples):
            data = self._out.process(chunk).astype("<i2", copy=False).tobytes()
            if self._link is None:
                self._lose(1)
            else:
                self.chunks_sent += 1
                self._totals.sent += 1
                self._link.send(data)

    def _lose(self, chunks: int) -> None:
        self.chunks_dropped += chunks
        self._totals.dropped += chunks

    def _received(self, data: bytes) -> bool:
        """Sound of the server's (G172); False while enough waits. Half a sample at its end waits
        for the next frame where frames are pieces of a stream, else it is nothing."""
        track = self._track
        if track is None:
            return True
        if track.waiting >= ENOUGH_S * SAMPLE_RATE:
            return False
        data = self._odd + data
        whole = len(data) // 2 * 2
        if self._option is not None and self._option.ptime:
            self._odd = data[whole:]
        if whole:
            samples = np.frombuffer(data[:whole], dtype="<i2").astype(np.int16, copy=False)
            track.feed(self._in.process(samples))
        return True


def problem_of(option: MediaPassOption) -> str | None:
    """What of the option can't be done, if anything."""
    for name, rate in (
        ("inputSampleRate", option.input_sample_rate),
        ("outputSampleRate", option.output_sample_rate),
    ):
        if rate not in RATES:
            return f"{name} {rate} is not one of {', '.join(map(str, sorted(RATES)))}"
    size = option.packet_size
    if size % 2 or not MIN_PACKET <= size <= MAX_PACKET:
        return f"packetSize {size} is not even and within {MIN_PACKET} to {MAX_PACKET}"
    if option.ptime is not None and option.ptime > MAX_PTIME_MS:
        return f"ptime {option.ptime} is more than {MAX_PTIME_MS} ms"
    return None
