"""The agent's voice: text in, 20 ms frames out, and at any moment what has been heard of it.

A `Speech` is one utterance: pieces of text, each synthesized once. A `SpeechTrack` is one
listener's place in it, so that a room of many listeners costs one synthesis. Frames are pulled by
the ticker; synthesis runs ahead of the fastest listener by a bounded amount.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakSet

import numpy as np

from salon.base import RAISED, Clock, SalonError, TaskScope, within
from salon.media.frame import FRAME_MS, FRAME_SAMPLES, Samples
from salon.media.packet_codec import PacketEncoder
from salon.media.packet_codecs import SharedPacketEncoder
from salon.media.timing import PhonemeTime, WordTime
from salon.voice.errors import describe
from salon.voice.events import Failed, Synthesized
from salon.voice.foreign import close_stream, is_ours
from salon.voice.tts.base import DEFAULT_VOICE, SpeechChunk, TextToSpeech, VoiceSettings

_log = logging.getLogger("salon.voice")

AHEAD_FRAMES = 15_000 // FRAME_MS
"""Synthesis pauses when this much sound waits unplayed."""
START_FRAMES = 200 // FRAME_MS
"""Playback begins with this much buffered, or the piece complete (G133) ..."""
START_WAIT_S = 0.5
"""... or after this long."""
STARVED_S = 10.0
"""A piece whose engine gives nothing for this long is given up (G133)."""
MAX_QUEUED_PIECES = 512
MAX_READY_FRAMES = 300_000 // FRAME_MS
"""This much sound made elsewhere may wait to be played."""


class SpokenPiece:
    """One text with its sound so far: whole frames ``int16[320]``, the last zero-padded (G47)."""

    __slots__ = ("_rest", "done", "frames", "made", "phonemes", "text", "words")

    def __init__(self, text: str) -> None:
        self.text = text
        self.frames: list[Samples] = []
        self.made = 0
        """Frames made so far; they go when everybody has heard them."""
        self.words: list[WordTime] = []
        self.phonemes: list[PhonemeTime] = []
        self.done = False
        self._rest: Samples | None = None

    def add(self, chunk: SpeechChunk) -> None:
        """Append sound and times."""
        self.words.extend(chunk.words)
        self.phonemes.extend(chunk.phonemes)
        samples = chunk.samples
        if self._rest is not None:
            samples = np.concatenate((self._rest, samples))
        whole = len(samples) // FRAME_SAMPLES * FRAME_SAMPLES
        if whole:
            self.frames.extend(samples[:whole].reshape(-1, FRAME_SAMPLES))
            self.made += whole // FRAME_SAMPLES
        self._rest = samples[whole:] if whole < len(samples) else None

    def finish(self) -> None:
        """No more sound comes."""
        if self._rest is not None:
            last = np.zeros(FRAME_SAMPLES, dtype=np.int16)
            last[: len(self._rest)] = self._rest
            self.frames.append(last)
            self.made += 1
            self._rest = None
        self.done = True

    def release(self) -> None:
        """Everybody has heard it; text and times stay."""
        self.frames = []

    @property
    def total_ms(self) -> int:
        """Milliseconds of sound received so far."""
        return self.made * FRAME_MS

    def heard(self, played_ms: int) -> str:
        """The text up to the last word that was played whole."""
        if self.done and played_ms >= self.total_ms:
            return self.text if self.made else ""
        if self.words:
            end = 0
            for word in self.words:
                if word.end_ms > played_ms:
                    break
                end = word.offset + word.length
            return self.text[:end].rstrip()
        if not self.total_ms:
            return ""
        cut = int(len(self.text) * min(1.0, played_ms / self.total_ms))
        space = self.text.rfind(" ", 0, cut + 1)
        return self.text[: max(space, 0)].rstrip()

    def position(self, played_ms: int) -> int | None:
        """Start index of the last word that began before `played_ms` (G113)."""
        begun = [word.offset for word in self.words if word.start_ms < played_ms]
        return begun[-1] if begun else None


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    text: str
    settings: VoiceSettings
    engine: TextToSpeech | None
    samples: Samples | None = None
    sequence: int | None = None


class Mix:
    """What several listeners hear alike: encoded once per format, frame by frame."""

    __slots__ = ("_encoders", "_loss")

    def __init__(self) -> None:
        self._encoders: dict[str, SharedPacketEncoder] = {}
        self._loss = 0

    def expect_loss(self, percent: int) -> None:
        """What a listener misses; the mix is made for the one that misses most."""
        if percent > self._loss:
            self._loss = percent
            for encoder in self._encoders.values():
                encoder.encoder.set_expected_loss(percent)

    def payload(
        self, key: str, make: Callable[[], PacketEncoder], index: int, frame: Samples
    ) -> bytes | None:
        """The payload of frame `index` in the format that `key` names; None if this listener is
        too far from the others and has to encode for itself."""
        encoder = self._encoders.get(key)
        if encoder is None:
            encoder = self._encoders[key] = SharedPacketEncoder(make())
            if self._loss:
                encoder.encoder.set_expected_loss(self._loss)
        return encoder.encode(index, frame)


class Speech:
    """One utterance. `say` pieces, then `end`; `stop` gives up what is not spoken yet.

    `notify` is told of finished and failed pieces, `sounds` once, of the first sound. The synthesis
    task lives in `scope`. Without an engine only ready sound can be said.
    """

    def __init__(
        self,
        engine: TextToSpeech | None,
        scope: TaskScope,
        clock: Clock,
        *,
        settings: VoiceSettings = DEFAULT_VOICE,
        play_id: str | None = None,
        notify: Callable[[Synthesized | Failed], None] | None = None,
        sounds: Callable[[], None] | None = None,
    ) -> None:
        self.pieces: list[SpokenPiece] = []
        self.mix = Mix()
        self.play_id = play_id
        self.ended = False
        """No further piece will be appended to `pieces`."""
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._notify = notify or (lambda _: None)
        self._sounds = sounds
        self._queue: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._room_ahead = asyncio.Event()
        self._closing = False
        self._asleep = False
        self._frames_made = 0
        self._front = 0
        self._queued_frames = 0
        self._tracks: WeakSet[SpeechTrack] = WeakSet()
        self._released = 0
        self._task: asyncio.Task[None] | None = scope.spawn(self._synthesize(), name="speech")

    def say(
        self,
        text: str,
        settings: VoiceSettings | None = None,
        engine: TextToSpeech | None = None,
        *,
        sequence: int | None = None,
    ) -> None:
        """Queue one piece. After `end` or `stop`: no effect. `sequence` comes back in
        `Synthesized`."""
        if self._closing:
            return
        if len(self._queue) >= MAX_QUEUED_PIECES:
            self._notify(
                Failed("tts", f"more than {MAX_QUEUED_PIECES} pieces wait to be spoken", 500)
            )
            return
        chosen = engine or self._engine
        self._queue.append(_Waiting(text, settings or self._settings, chosen, sequence=sequence))
        self._wake.set()

    def say_sound(self, samples: Samples, text: str = "") -> None:
        """Queue ready sound, ``int16[n]`` 16 kHz, as a piece of its own."""
        if self._closing:
            return
        frames = -(-len(samples) // FRAME_SAMPLES)
        waiting = self._queued_frames + self._frames_made - self._front
        if len(self._queue) >= MAX_QUEUED_PIECES or waiting + frames > MAX_READY_FRAMES:
            seconds = MAX_READY_FRAMES * FRAME_MS // 1000
            self._notify(Failed("tts", f"more than {seconds} s of sound wait to be played", 500))
            return
        self._queued_frames += frames
        self._queue.append(_Waiting(text, self._settings, None, samples))
        self._wake.set()

    def follow(self, track: SpeechTrack) -> None:
        """A listener; its sound is kept until it has left it behind."""
        self._tracks.add(track)

    def left_behind(self) -> None:
        """A listener went on to its next piece."""
        first = min((track.piece for track in self._tracks), default=0)
        for piece in self.pieces[self._released : first]:
            piece.release()
        self._released = max(self._released, first)

    def end(self) -> None:
        """No more text comes."""
        self._closing = True
        self._wake.set()

    def reopen(self) -> bool:
        """Take more text after `end`, if the engine has not finished yet (G75)."""
        if self.ended:
            return False
        self._closing = False
        return True

    def stop(self) -> None:
        """Drop what is queued and stop the engine; what was made stays playable."""
        self._closing = True
        self._queue.clear()
        self._queued_frames = 0
        self.ended = True
        if self._task is not None:
            self._task.cancel()
        if self.pieces and not self.pieces[-1].done:
            self.pieces[-1].finish()

    def drop_queue(self) -> None:
        """Finish what is being synthesized and nothing after it."""
        self._queue.clear()
        self._queued_frames = 0
        self.end()

    @property
    def silent(self) -> bool:
        """Nothing was said so far."""
        return not self.pieces and not self._queue

    @property
    def idle(self) -> bool:
        """Nothing is queued and nothing is being synthesized."""
        return self.ended or (self._asleep and not self._queue)

    def advanced(self, frames_played: int) -> None:
        """A listener has reached this frame; lets synthesis go on."""
        if frames_played > self._front:
            self._front = frames_played
            if self._frames_made - self._front < AHEAD_FRAMES:
                self._room_ahead.set()

    async def _synthesize(self) -> None:
        try:
            await self._work()
        finally:
            self.ended = True
            self._notify = lambda _: None  # frees the session
            self._sounds = None
            self._task = None  # where it was cancelled it knows this one by its traceback

    async def _work(self) -> None:
        while True:
            while self._queue:
                waiting = self._queue.popleft()
                if waiting.engine is not None:
                    await self._one(waiting, waiting.engine)
                elif waiting.samples is not None:
                    self._ready(waiting.text, waiting.samples)
            if self._closing:
                return
            self._wake.clear()
            self._asleep = True
            await self._wake.wait()
            self._asleep = False

    def _ready(self, text: str, samples: Samples) -> None:
        piece = SpokenPiece(text)
        piece.add(SpeechChunk(samples))
        piece.finish()
        self.pieces.append(piece)
        self._frames_made += piece.made
        self._queued_frames -= piece.made
        self._sound_came()

    def _sound_came(self) -> None:
        """Listeners that had nothing to play need not wait for the next tick."""
        for track in tuple(self._tracks):
            if track.on_sound is not None and track.begin(self._clock.monotonic()):
                track.on_sound(track)

    async def _one(self, waiting: _Waiting, engine: TextToSpeech) -> None:
        piece = SpokenPiece(waiting.text)
        began = self._clock.monotonic()
        first: float | None = None
        self.pieces.append(piece)
        chunks = None
        try:
            chunks = engine.speak(waiting.text, waiting.settings)
            while True:
                chunk = await within(STARVED_S, anext(chunks, None))
                if chunk is None:
                    break
                if first is None:
                    first = self._clock.monotonic()
                    if self._sounds is not None:
                        self._sounds()
                        self._sounds = None
                made = piece.made
                piece.add(chunk)
                self._frames_made += piece.made - made
                self._sound_came()
                await self._wait_for_room()
        except TimeoutError:
            message = f"{engine.name} gave no sound for {STARVED_S:.0f} s"
            self._notify(Failed("tts", message, 500))
        except SalonError as error:
            self._notify(Failed("tts", describe(str(error)), 500))
        except RAISED as error:
            if is_ours(error):
                raise
            _log.exception("the voice %s failed", engine.name)
            self._notify(Failed("tts", f"{engine.name} failed (see the log)", 500))
        finally:
            piece.finish()
            self._sound_came()
            if chunks is not None:
                await close_stream(chunks, engine.name)
        now = self._clock.monotonic()
        if piece.made:
            self._notify(
                Synthesized(
                    engine.name,
                    self.play_id,
                    piece.made * FRAME_SAMPLES * 2,
                    round(((first or now) - began) * 1000),
                    round((now - began) * 1000),
                    bool(getattr(engine, "from_cache", False)),
                    waiting.settings.voice,
                    waiting.sequence,
                )
            )

    async def _wait_for_room(self) -> None:
        while self._frames_made - self._front >= AHEAD_FRAMES:
            self._room_ahead.clear()
            await self._room_ahead.wait()


class SpeechTrack:
    """One listener's place in a `Speech`. `next_frame` is called once per tick."""

    pausable = True

    def __init__(self, speech: Speech, *, hurry: bool = False, shared: bool = False) -> None:
        self.speech = speech
        self.shared = shared
        """Others listen to the same speech: the end of this track does not end it."""
        self.played = 0
        """Frames given out so far."""
        self.piece = 0
        self.on_sound: Callable[[SpeechTrack], None] | None = None
        """Called when there is something to play after there was nothing."""
        self._frame = 0
        self._hurry = hurry
        self._flowing = False
        self._waiting_since: float | None = None
        speech.follow(self)

    @property
    def finished(self) -> bool:
        """Everything was played and nothing more comes."""
        speech = self.speech
        return speech.ended and self._skip_empty() is None and self.piece >= len(speech.pieces)

    @property
    def drained(self) -> bool:
        """Everything synthesized so far was played and nothing is under way."""
        return self.speech.idle and self._skip_empty() is None

    def begin(self, now: float) -> bool:
        """Let it play if there is enough to play and nothing was before; whether that is so."""
        if self._flowing or (piece := self._skip_empty()) is None:
            return False
        available = len(piece.frames) - self._frame
        return available > 0 and self._may_start(piece, available, now)

    def next_frame(self, now: float) -> Samples | None:
        """The next 20 ms, or None if there is nothing to play at this tick (monotonic `now`)."""
        piece = self._skip_empty()
        if piece is None:
            self._flowing = False
            return None
        available = len(piece.frames) - self._frame
        if not self._flowing and not self._may_start(piece, available, now):
            return None
        if available <= 0:
            self._flowing = False
            self._waiting_since = None
            return None
        frame = piece.frames[self._frame]
        self._frame += 1
        self.played += 1
        self.speech.advanced(self.played)
        return frame

    def _may_start(self, piece: SpokenPiece, available: int, now: float) -> bool:
        if self._waiting_since is None:
            self._waiting_since = now
        enough = piece.done or available >= START_FRAMES or (self._hurry and available > 0)
        if enough or (available and now - self._waiting_since >= START_WAIT_S):
            self._flowing = True
            self._waiting_since = None
        return self._flowing

    def _skip_empty(self) -> SpokenPiece | None:
        """The piece to play from, or None if there is none now."""
        pieces = self.speech.pieces
        while self.piece < len(pieces):
            piece = pieces[self.piece]
            if self._frame < len(piece.frames) or not piece.done:
                return piece
            self.piece += 1
            self._frame = 0
            self.speech.left_behind()
        return None

    def current(self) -> tuple[SpokenPiece, int] | None:
        """The piece being spoken (or the last one spoken) and the ms of it played."""
        pieces = self.speech.pieces
        if not pieces:
            return None
        if self.piece < len(pieces):
            return pieces[self.piece], self._frame * FRAME_MS
        return pieces[-1], pieces[-1].total_ms

    def heard(self) -> str:
        """The text played so far, in full words."""
        pieces = self.speech.pieces
        parts = [piece.text for piece in pieces[: self.piece] if piece.made]
        if self.piece < len(pieces):
            parts.append(pieces[self.piece].heard(self._frame * FRAME_MS))
        return " ".join(part.strip() for part in parts if part.strip())

    def close(self) -> None:
        """It is listened to no more."""
        self.on_sound = None

    @property
    def played_ms(self) -> int:
        """Milliseconds given out so far."""
        return self.played * FRAME_MS
