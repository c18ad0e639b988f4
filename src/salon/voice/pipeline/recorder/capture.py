"""One recording while it runs: frames in, blocks of both directions out to the sound thread.

The taps hold a lock for some microseconds and touch no file. Blocks of about 200 ms go to the sound
thread. Both what waits for its place on the time line and what waits for the disk is bounded; what
does not fit is dropped, counted, and silent in the file.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Final

from salon.base import Clock, SalonError
from salon.media.frame import AudioFrame, Samples
from salon.media.pcm import decode_pcm
from salon.media.resample import Resampler
from salon.voice.pipeline.recorder.base import RecordingConfig, RecordingTrigger
from salon.voice.pipeline.recorder.lane import Lane, TimeLine
from salon.voice.pipeline.recorder.tracks import Tracks
from salon.voice.pipeline.recorder.writer import RecordingThread

_log = logging.getLogger("salon.voice.recorder")

BLOCK_S: Final = 0.2
SLACK_S: Final = 0.4
"""How long a direction may be late before silence is written in its place."""
MAX_BLOCK_S: Final = 1
MAX_AHEAD_S: Final = 120
"""Sound that may wait for its place, per direction."""
MAX_QUEUED_S: Final = 60
"""Sound that may wait for the disk."""
DEFAULT_RATE: Final = 16_000
"""Rate of a recording without sound."""


class Capture:
    """Takes the frames of one recording from any thread.

    `rate_for` gives the recording's rate from that of its first frame. `on_closed` is called on
    the sound thread when the files are complete.
    """

    def __init__(
        self,
        config: RecordingConfig,
        tracks: Tracks,
        *,
        clock: Clock,
        rate_for: Callable[[int], int],
        thread: RecordingThread,
        pre_roll_s: float,
        on_closed: Callable[[], None],
    ) -> None:
        self.held = False
        self._failure: str | None = None
        """Why nothing more can be written."""
        self._refused: str | None = None
        """Why nothing more is taken."""
        self.dropped = 0
        """Samples that found no room."""
        self.rate = 0
        self._tracks = tracks
        self._clock = clock
        self._rate_for = rate_for
        self._thread = thread
        self._pre_roll_s = pre_roll_s
        self._on_closed = on_closed
        self._mode = config.mode
        self._always = config.trigger is RecordingTrigger.ALWAYS
        self._lock = threading.Lock()
        self._closed = False
        self._line: TimeLine | None = None
        self._inbound: Lane | None = None
        self._outbound: Lane | None = None
        self._lanes: list[Lane] = []
        self._resamplers: dict[bool, Resampler] = {}
        self._fresh = 0
        self._speaking = False
        self._speech: list[tuple[int, int | None]] = []
        self._taken = 0
        self._sent = 0
        self._done = 0
        self._lost = 0

    @property
    def error(self) -> str | None:
        """Why there is less than was said."""
        return self._failure or self._refused

    def tap(self, frame: AudioFrame, *, inbound: bool) -> None:
        """Take a frame that arrives now."""
        if self.held or self.error or not frame.data:
            return
        with self._lock:
            if self._closed:
                return
            now = self._clock.monotonic()
            if self._line is None:
                self._begin(frame.sample_rate, now)
            lane = self._inbound if inbound else self._outbound
            if lane is None:
                return
            if not inbound and lane.paused(now):
                self._end_stretch(inbound)
            try:
                samples = self._fitted(frame, inbound)
            except ValueError as error:  # a pair of rates that can't be converted
                self._refused = f"the recording ended: {error}"
                _log.error("%s", self._refused)
                return
            if lane.pending > MAX_AHEAD_S * self.rate:
                self.dropped += len(samples)
                return
            if len(samples):
                lane.put(samples, now)
            self._fresh += len(samples)
            if self._fresh >= BLOCK_S * self.rate:
                self._hand_out(self._horizon(now))

    def speech(self, active: bool) -> None:
        """The user began or ceased to speak."""
        with self._lock:
            if active == self._speaking:
                return
            self._speaking = active
            if self._line is not None:
                self._mark_speech(self._clock.monotonic())

    def cut(self) -> None:
        """Outbound sound from now on is not heard."""
        with self._lock:
            if self._outbound is not None:
                self._outbound.cut(self._clock.monotonic())
                resampler = self._resamplers.get(False)
                if resampler is not None:
                    resampler.reset()

    def stop(self) -> None:
        """Hand out the rest and complete the files in the background; once."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            now = self._clock.monotonic()
            for inbound in self._resamplers:
                self._end_stretch(inbound)
            for lane in self._lanes:
                lane.settle(now)
            self._hand_out(max((lane.end for lane in self._lanes), default=0))
            self._thread.submit(self._close)

    def _begin(self, sample_rate: int, now: float) -> None:
        self.rate = self._rate_for(sample_rate)
        self._line = TimeLine(now, self.rate)
        if self._mode.inbound:
            self._inbound = Lane(self._line, leads=True)
            self._lanes.append(self._inbound)
        if self._mode.outbound:
            self._outbound = Lane(self._line, leads=False)
            self._lanes.append(self._outbound)
        if self._speaking:
            self._mark_speech(now)

    def _fitted(self, frame: AudioFrame, inbound: bool) -> Samples:
        """The frame in mono, at the recording's rate. 16-bit mono of that rate is not copied:
        the bytes of a frame never change."""
        samples = decode_pcm(frame.data, sample_width=frame.sample_width, channels=frame.channels)
        resampler = self._resamplers.get(inbound)
        if resampler is None or resampler.in_rate != frame.sample_rate:
            if frame.sample_rate == self.rate and resampler is None:
                return samples
            self._resamplers[inbound] = resampler = Resampler(frame.sample_rate, self.rate)
        return resampler.process(samples)

    def _end_stretch(self, inbound: bool) -> None:
        """What the filter still holds goes where its sound ended, while that place is free."""
        lane, resampler = (
            self._inbound if inbound else self._outbound,
            self._resamplers.get(inbound),
        )
        if lane is None or resampler is None:
            return
        tail = resampler.flush()
        if len(tail) and lane.ends_with_sound:
            lane.append(tail)

    def _horizon(self, now: float) -> int:
        """Up to where nothing can change any more."""
        assert self._line is not None
        unsettled = [lane.open_from(now) for lane in self._lanes]
        here = self._line.at(now)
        late = here - round(SLACK_S * self.rate)
        horizon = max(late, min(lane.end for lane in self._lanes))
        if self._inbound is None:  # what is still to be played may be cut
            horizon = min(horizon, here)
        if not self._always and not self._speaking and self._inbound is not None:
            # Speech that is reported later may begin there.
            heard = max(late, self._inbound.end)
            horizon = min(horizon, heard - round(self._pre_roll_s * self.rate))
        return min([horizon, *(at for at in unsettled if at is not None)])

    def _mark_speech(self, now: float) -> None:
        if self._inbound is None or self._line is None:
            return
        here = self._line.at(now) if self._inbound.empty else self._inbound.end
        if self._speaking:
            start = max(self._taken, here - round(self._pre_roll_s * self.rate))
            self._speech.append((start, None))
        elif self._speech:
            self._speech[-1] = (self._speech[-1][0], here)

    def _hand_out(self, horizon: int) -> None:
        """Send everything before `horizon` on."""
        self._fresh = 0
        while (start := self._taken) < horizon:
            first = min(
                (lane.first for lane in self._lanes if lane.first is not None), default=None
            )
            if first is None or first > start:
                until = horizon if first is None else min(first, horizon)
            else:
                until = min(horizon, start + MAX_BLOCK_S * self.rate)
            heard = self._heard(start, until)
            left = None if self._inbound is None else self._inbound.take(until)
            right = None if self._outbound is None else self._outbound.take(until)
            self._taken = until
            for a, b in heard:
                self._send(
                    b - a,
                    None if left is None else left[a - start : b - start],
                    None if right is None else right[a - start : b - start],
                )

    def _heard(self, start: int, until: int) -> list[tuple[int, int]]:
        """What of it the trigger wants, in order and apart."""
        if self._always:
            return [(start, until)]
        wanted = [(a, until if b is None else b) for a, b in self._speech]
        if self._outbound is not None:
            wanted += self._outbound.stretches(until)
        self._speech = [(a, b) for a, b in self._speech if b is None or b > until]
        heard: list[tuple[int, int]] = []
        for a, b in sorted(wanted):
            a, b = max(a, start), min(b, until)
            if heard and a <= heard[-1][1]:
                heard[-1] = (heard[-1][0], max(b, heard[-1][1]))
            elif a < b:
                heard.append((a, b))
        return heard

    def _send(self, size: int, left: Samples | None, right: Samples | None) -> None:
        sound = 0 if left is None and right is None else size
        if sound and self._sent - self._done >= MAX_QUEUED_S * self.rate:
            self._lost += size
            self.dropped += size
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            self._thread.submit(partial(self._write, lost, None, None, 0))
        self._sent += sound
        self._thread.submit(partial(self._write, size, left, right, sound))

    def _write(self, size: int, left: Samples | None, right: Samples | None, sound: int) -> None:
        """On the sound thread."""
        if self._failure is None:
            try:
                if not self._tracks.opened:
                    self._tracks.open(self.rate)
                self._tracks.write(size, left, right)
            except (OSError, SalonError) as error:
                self._fail(error)
        self._done += sound

    def _close(self) -> None:
        """On the sound thread."""
        try:
            if not self._tracks.opened and self._failure is None:
                self._tracks.open(self.rate or self._rate_for(DEFAULT_RATE))
            self._tracks.close()
        except (OSError, SalonError) as error:
            if self._failure is None:
                self._fail(error)
        self._on_closed()

    def _fail(self, error: Exception) -> None:
        self._failure = f"the recording could not be written: {error}"
        _log.error("%s", self._failure)
        try:
            self._tracks.close()
        except (OSError, SalonError) as second:
            _log.error("nor could its files be closed: %s", second)
