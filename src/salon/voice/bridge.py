"""People in a room hear each other: sound goes from session to session (V132-V145).

What comes in has passed the inbound stages; what goes out has yet to pass the target's outbound
stages (V134). Nothing here is an event, waits, or touches a session's state (V133, V136).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import numpy as np

from salon.base import RAISED
from salon.media.frame import AudioFrame, Samples
from salon.voice.backends.session import VoiceSession
from salon.voice.bridge_config import (
    AudioBridgeConfig,
    BridgeAudioFilter,
    BridgeFrameFilter,
    BridgeFrameProcessor,
    BridgeFullError,
    BridgeStatistics,
    Deliver,
    MixingStrategy,
    SourceStatistics,
)
from salon.voice.bridge_filter import FilterGate, rare
from salon.voice.bridge_member import Member, Room
from salon.voice.bridge_mix import Voice, Window, mix_windows, mix_with
from salon.voice.bridge_rooms import Membership

__all__ = [
    "AudioBridge",
    "AudioBridgeConfig",
    "BridgeAudioFilter",
    "BridgeFrameFilter",
    "BridgeFrameProcessor",
    "BridgeFullError",
    "BridgeStatistics",
    "Deliver",
    "MixingStrategy",
    "SourceStatistics",
]

_log = logging.getLogger("salon.voice.bridge")

_LAG: Final = 3
"""Frames one source may be ahead before a window closes without the others."""


class AudioBridge(Membership):
    """Brings what each session says to the others of its room.

    Sources call `push` or `forward`. What a session hears is brought to it if it was added with a
    `backend` or `deliver`, else it fetches it with `take`.

    - By the clock: once per 20 ms the media clock calls `tick`, which makes the windows of all
      rooms. Each source has a queue against jitter and drift.
    - Without a clock, in rooms where sound is brought to all: with strategy ``forward`` each frame
      goes to the other party from within `forward`; with ``mix`` a window closes when every active
      source has contributed or one is 3 frames ahead. A `tick` closes it too.

    Every method may be called from any thread (V137). Filters, processors and targets are called
    outside the lock, from the thread that brought the frame or the tick; a target's frames come in
    order, never two at once. What they raise is logged and counted.
    """

    def __init__(
        self,
        config: AudioBridgeConfig | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(config or AudioBridgeConfig())
        self._heard: list[Member] = []
        self._tick: int | None = None
        self._gate = FilterGate(clock)
        self._processor: BridgeFrameProcessor | None = None
        self._frames = self._unknown = self._windows = self._untaken = 0
        self._delivery_failures = 0

    # -- filters and processors

    def set_frame_filter(self, fn: BridgeFrameFilter | None) -> None:
        """Called with source and frame for every frame that comes in, in the thread that brings
        it; gives the frame to bridge or None. Under 1 ms, or it is counted as slow (V141)."""
        self._gate.frame_filter = fn

    set_bridge_filter = set_frame_filter

    def set_audio_filter(self, fn: BridgeAudioFilter | None, session_id: str | None = None) -> None:
        """The same with a `BridgeAudioEvent`, after the frame filter: for all sources, or in
        addition for one. A dropped frame counts as silence. `KeyError` for one that is no
        member."""
        if session_id is None:
            self._gate.audio_filter = fn
            return
        with self._lock:
            self._members[session_id].own_filter = fn

    def set_frame_processor(self, fn: BridgeFrameProcessor | None) -> None:
        """Called with target and frame before a target's backend gets it, at the target's rate;
        gives the chunk to send (V134)."""
        self._processor = fn

    # -- sound

    def forward(self, session: VoiceSession, frame: AudioFrame) -> None:
        """One frame of any format, as it left the inbound stages of `session`. One that is no
        member is ignored (counted): it may just have left. `ValueError` for a rate that can't be
        resampled."""
        member = self._enter(session.id)
        if member is not None:
            self._offer(member, frame)

    def push(self, session_id: str, samples: Samples) -> None:
        """The same with ``int16[n]`` mono at 16 kHz, best 320; the array is kept, not copied."""
        member = self._enter(session_id)
        if member is None:
            return
        if self._unfiltered(member) and not member.room.served:
            with self._lock:
                self._queue(member, samples)
        else:
            self._offer(member, AudioFrame.of(samples))

    def tick(self, n: int) -> None:
        """Make the windows of all rooms for tick `n` of the media clock; what `take` has not
        fetched of the last ones is gone. Ticks that were left out are made up for by dropping
        frames that have piled up meanwhile."""
        with self._lock:
            missed = 0 if self._tick is None else n - self._tick - 1
            self._tick = n
            self._expire()
            if not self._reading:
                return
            voices: dict[Room, list[Voice]] = {}
            for session_id, member in list(self._reading.items()):
                queue = member.queue
                if missed > 0:
                    queue.skip(missed)
                samples = queue.pop() if member.room.served else queue.read()
                if queue.idle:
                    del self._reading[session_id]
                if samples is not None:
                    voice = Voice(session_id, samples, member.audience)
                    voices.setdefault(member.room, []).append(voice)
            due = self._mix(voices)
        self._drain(due)

    def take(self, session_id: str) -> Samples | None:
        """What a listener hears in this window, ``int16[320]`` at 16 kHz, once; None for nothing.
        The array may be shared and is not to be written to."""
        with self._lock:
            member = self._members.get(session_id)
            if member is None:
                return None
            heard, member.heard = member.heard, None
            return heard

    # -- figures

    def statistics(self) -> BridgeStatistics:
        """Figures since the bridge was made."""
        with self._lock:
            total, undelivered = self._left, self._left_undelivered
            for member in self._members.values():
                total = total.plus(member.figures())
                undelivered += member.outbox.dropped
            return BridgeStatistics(
                sessions=len(self._members),
                rooms=len(self._rooms),
                frames=self._frames,
                unknown=self._unknown,
                blocked=self._gate.blocked,
                windows=self._windows,
                untaken=self._untaken,
                undelivered=undelivered,
                delivery_failures=self._delivery_failures,
                filter_failures=self._gate.failures,
                slow_filters=self._gate.slow,
                underruns=total.underruns,
                overflows=total.overflows,
                shed=total.shed,
            )

    # -- inside

    def _enter(self, session_id: str) -> Member | None:
        """The source of a frame, if anybody may hear it."""
        with self._lock:
            self._frames += 1
            member = self._members.get(session_id)
            if member is None:
                self._unknown += 1
                return None
            return member if self._config.enabled and not member.muted else None

    def _unfiltered(self, member: Member) -> bool:
        gate = self._gate
        return gate.frame_filter is None and gate.audio_filter is None and member.own_filter is None

    def _offer(self, member: Member, frame: AudioFrame) -> None:
        """A frame on its way through the filters to the other party or the queue."""
        passed: AudioFrame | None = frame
        if not self._unfiltered(member):
            passed = self._gate.passes(
                member.session, member.room.room_id, member.own_filter, frame
            )
        target = self._direct_target(member)
        if target is not None:
            if passed is not None:
                with self._lock:
                    if not (member.gone or member.muted or target.gone) and target.hears(member):
                        target.outbox.put(passed)
                self._drain([target])
            return
        if passed is None:
            # A dropped frame keeps its place in time.
            silence = bytes(len(frame.data))
            passed = AudioFrame(silence, frame.sample_rate, frame.channels, frame.sample_width)
        with member.inbound_lock:
            samples = member.inbound.process(passed).samples
            with self._lock:
                due = self._queue(member, samples)
        self._drain(due)

    def _direct_target(self, member: Member) -> Member | None:
        """Whom frames go to without a window: the other one of two, if sound is brought there."""
        if self._config.mixing_strategy != "forward":
            return None
        with self._lock:
            for other in member.room.members.values():
                if other is not member:
                    return other if other.served else None
        return None

    def _queue(self, member: Member, samples: Samples) -> list[Member]:
        """Add to a source's queue; whoever has something to be brought now. Under the lock."""
        if member.gone or member.muted:
            return []
        if samples.dtype != np.int16:
            raise ValueError(f"samples are {samples.dtype}, not int16")
        member.queue.push(samples)
        self._reading[member.session.id] = member
        if not member.room.served:
            return []
        member.active = True
        return self._close_windows(member.room)

    def _close_windows(self, room: Room) -> list[Member]:
        """Windows to which every active source has contributed. Under the lock."""
        due: list[Member] = []
        while True:
            sources = [member for member in room.members.values() if member.active]
            depths = [member.queue.depth for member in sources]
            ahead = max(depths, default=0)
            if not ahead or (ahead < _LAG and not min(depths)):
                return due
            voices: list[Voice] = []
            for member in sources:
                # Who has nothing is waited for again once it speaks again.
                member.active = member.queue.depth > 0
                samples = member.queue.pop()
                if samples is not None:
                    voices.append(Voice(member.session.id, samples, member.audience))
                if member.queue.idle:
                    self._reading.pop(member.session.id, None)
            if voices:
                due += self._mix({room: voices})

    def _mix(self, voices: Mapping[Room, list[Voice]]) -> list[Member]:
        """One window of each room; whoever has something to be brought now. Under the lock."""
        windows = [(room, Window(said, room.listeners, {})) for room, said in voices.items()]
        mixer = self._config.mixer
        if mixer is None:
            mix_windows([window for _, window in windows])
        else:
            for _, window in windows:
                mix_with(mixer, window)
        due: list[Member] = []
        for room, window in windows:
            self._windows += bool(window.heard)
            for session_id, samples in window.heard.items():
                member = room.members[session_id]
                if member.served:
                    member.outbox.put(AudioFrame.of(samples))
                    due.append(member)
                    continue
                member.heard = samples
                self._heard.append(member)
        return due

    def _expire(self) -> None:
        for member in self._heard:
            if member.heard is not None:
                member.heard = None
                self._untaken += 1
        self._heard.clear()

    def _drain(self, targets: list[Member]) -> None:
        """Hand over what is due, outside the lock."""
        for member in targets:
            member.outbox.drain(partial(self._send, member))

    def _send(self, member: Member, frame: AudioFrame) -> None:
        if member.gone or member.deaf:
            return
        session, processor = member.session, self._processor
        try:
            frame = member.outbox.at_rate(frame)
            if member.deliver is not None:
                member.deliver(session, frame)
            elif member.backend is not None:
                chunk = frame.to_chunk() if processor is None else processor(session, frame)
                member.backend.send_audio_sync(session, chunk)
        except RAISED as error:  # a target's error ends here, counted and logged
            with self._lock:
                self._delivery_failures += 1
                count = self._delivery_failures
            if rare(count):
                _log.error(
                    "bridged sound could not be delivered (%d so far)",
                    count,
                    exc_info=error,
                    extra={"session_id": session.id},
                )
