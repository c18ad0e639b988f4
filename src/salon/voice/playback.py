"""What one call plays: one server track at a time (G73-G79).

Synchronous; `next_frame` is pulled by the ticker, everything else by the event plane. Events go
out through `post` in the order in which they happen.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from salon.base import Clock, SalonError
from salon.media.frame import FRAME_MS, FRAME_SAMPLES, SILENCE, Samples
from salon.voice.events import Interrupted, MediaEvent, TrackEnded, TrackStarted
from salon.voice.speaking import SpeechTrack, SpokenPiece

_ssrc = itertools.count(random.SystemRandom().randrange(1 << 30))


class NotPausableError(SalonError):
    """What plays cannot be held: it goes on elsewhere whether anybody listens or not (G77)."""

    code = "not_pausable"


class Track(Protocol):
    """What a `Playback` plays."""

    @property
    def pausable(self) -> bool:
        """Frames not asked for now can be had later."""

    @property
    def finished(self) -> bool:
        """Everything was played and nothing more comes."""

    def next_frame(self, now: float) -> Samples | None:
        """The next 20 ms, ``int16[320]``, or None if there is nothing at this tick; called once
        per tick while it plays (monotonic `now`)."""

    def close(self) -> None:
        """It plays no more; called once."""


class SoundTrack:
    """Ready sound, ``int16[n]`` 16 kHz, played from `offset_ms` on."""

    pausable = True

    def __init__(self, samples: Samples, offset_ms: int = 0) -> None:
        self._samples = samples[offset_ms * 16 :]
        self._at = 0

    @property
    def finished(self) -> bool:
        """Everything was played."""
        return self._at >= len(self._samples)

    def next_frame(self, now: float) -> Samples | None:
        """The next 20 ms, the last one zero-padded."""
        del now
        part = self._samples[self._at : self._at + FRAME_SAMPLES]
        self._at += FRAME_SAMPLES
        if len(part) == FRAME_SAMPLES or not len(part):
            return part if len(part) else None
        frame = np.zeros(FRAME_SAMPLES, dtype=np.int16)
        frame[: len(part)] = part
        return frame

    def close(self) -> None:
        """There is nothing to let go of."""


@dataclass(slots=True)
class Playback:
    """The server track while it lives."""

    track: Track
    play_id: str | None
    auto_hangup: bool = False
    wait_input_ms: int | None = None
    streaming: bool = False
    """More text may come: the track stays open when it has run dry."""
    texts: int = 0
    """Whole texts it was given (G116)."""
    ssrc: int = field(default_factory=lambda: next(_ssrc) & 0xFFFFFFFF)
    began: float = 0.0
    paused: bool = False
    muted: bool = False
    """Silence goes out in its place, and time goes on (G87)."""
    cut: bool = False
    """`Interrupted` was posted; what still plays is the tail."""
    last_piece: SpokenPiece | None = None
    """Ends with this piece (a graceful interruption)."""
    fade_left: int = 0
    fade_total: int = 0

    @property
    def speech(self) -> SpeechTrack | None:
        """The track if it is speech."""
        return self.track if isinstance(self.track, SpeechTrack) else None

    @property
    def shared(self) -> SpeechTrack | None:
        """The track if others hear the very same frames."""
        track = self.track
        if not isinstance(track, SpeechTrack) or not track.shared:
            return None
        return None if self.fade_total or self.muted else track


class Player:
    """Owner of the server track of one call."""

    def __init__(self, clock: Clock, post: Callable[[MediaEvent], None]) -> None:
        self._clock = clock
        self._post = post
        self.current: Playback | None = None

    @property
    def audible(self) -> bool:
        """Something is attached, not paused and not already cut."""
        playback = self.current
        return playback is not None and not playback.paused and not playback.cut

    @property
    def pausable(self) -> bool:
        """Something is attached that can be held."""
        return self.current is not None and self.current.track.pausable

    def start(self, playback: Playback) -> None:
        """Attach; whatever plays is cut first (G74, G80)."""
        self.stop()
        playback.began = self._clock.monotonic()
        self.current = playback
        self._post(TrackStarted(playback.play_id, playback.ssrc))

    def stop(self, *, graceful: bool = False, fade_ms: int = 0) -> Interrupted | None:
        """Cut what plays (G76); what was heard of it, if it was speech. Nothing plays: no effect.

        `graceful` lets the piece being spoken end if it is plain speech that is already audible;
        `fade_ms` lets the sound fade linearly for that long.
        """
        playback = self.current
        if playback is None:
            return None
        cut = self._cut(playback)
        speech = playback.speech
        if graceful and speech is not None and self._ends_with_piece(playback, speech):
            return cut
        if fade_ms >= FRAME_MS and not playback.paused:
            if not playback.fade_total:
                playback.fade_total = playback.fade_left = fade_ms // FRAME_MS
            return cut
        self._end(playback)
        return cut

    @staticmethod
    def _ends_with_piece(playback: Playback, speech: SpeechTrack) -> bool:
        if playback.streaming or playback.paused or not speech.played:
            return False
        current = speech.current()
        if playback.last_piece is None and current is not None:
            playback.last_piece = current[0]
            if not speech.shared:
                speech.speech.drop_queue()
        return True

    def _cut(self, playback: Playback) -> Interrupted | None:
        speech = playback.speech
        playback.auto_hangup = False
        if speech is None or playback.cut:
            return None
        playback.cut = True
        current = speech.current()
        piece, played = current if current is not None else (None, 0)
        event = Interrupted(
            playback.play_id,
            playback.ssrc,
            piece.text if piece else "",
            piece.position(played) if piece else None,
            piece.total_ms if piece else 0,
            played,
            speech.heard(),
        )
        self._post(event)
        return event

    def pause(self) -> bool:
        """Freeze; False if there is no server track, `NotPausableError` if it can't be (G77)."""
        playback = self.current
        if playback is None:
            return False
        if not playback.track.pausable:
            name = playback.play_id or "the server track"
            raise NotPausableError(f"track does not support pausing: {name}")
        playback.paused = True
        return True

    def resume(self) -> bool:
        """Go on; False if there is no server track."""
        if self.current is None:
            return False
        self.current.paused = False
        return True

    def next_frame(self, now: float) -> Samples | None:
        """The 20 ms to send at this tick, or None (G45: nothing is sent while nothing plays)."""
        playback = self.current
        if playback is None or playback.paused:
            return None
        frame = playback.track.next_frame(now)
        if playback.muted and frame is not None:
            frame = SILENCE
        if playback.fade_total:
            return self._faded(playback, frame)
        if playback.last_piece is not None and self._beyond(playback, playback.last_piece):
            self._end(playback)
            return None
        if frame is None and self._is_over(playback):
            self._end(playback)
        return frame

    def _faded(self, playback: Playback, frame: Samples | None) -> Samples | None:
        if frame is None or playback.fade_left <= 0:
            self._end(playback)
            return None
        high = playback.fade_left / playback.fade_total
        low = (playback.fade_left - 1) / playback.fade_total
        playback.fade_left -= 1
        gain = np.linspace(high, low, FRAME_SAMPLES, endpoint=False, dtype=np.float32)
        return (frame * gain).astype(np.int16)

    @staticmethod
    def _beyond(playback: Playback, piece: SpokenPiece) -> bool:
        """The frame just taken belongs to a later piece."""
        current = playback.speech.current() if playback.speech is not None else None
        return current is not None and current[0] is not piece

    @staticmethod
    def _is_over(playback: Playback) -> bool:
        speech = playback.speech
        if speech is None:
            return playback.track.finished
        return speech.finished or (speech.drained and not playback.streaming)

    def _end(self, playback: Playback) -> None:
        if self.current is playback:
            self.current = None
        speech = playback.speech
        if speech is not None and not speech.shared:
            if playback.cut:
                speech.speech.stop()
            else:
                speech.speech.end()
        playback.track.close()
        self._post(
            TrackEnded(
                playback.play_id,
                playback.ssrc,
                round((self._clock.monotonic() - playback.began) * 1000),
                playback.auto_hangup,
                playback.wait_input_ms,
            )
        )
