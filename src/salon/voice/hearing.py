"""What one call hears: voice activity, turns, recognition.

Sound comes in synchronously (`receive`), decisions come back through the batched detector's tick.
The last seconds are kept in a ring, so that an utterance begins before the moment at which it was
noticed and no syllable is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from salon.base import ConfigurationError, SalonError, TaskScope
from salon.media.frame import SAMPLE_RATE, Samples
from salon.models.speech import NO_HINTS, SpeechHints
from salon.voice.engine import VoiceEngine
from salon.voice.errors import SpeechError
from salon.voice.events import (
    Failed,
    Final,
    Guess,
    Level,
    MediaEvent,
    Partial,
    RecognitionFailed,
    Silence,
    Speaking,
    TurnClock,
    TurnDropped,
    TurnEnded,
    TurnStarted,
    Withdrawn,
)
from salon.voice.pipeline.vad.base import VADEvent, VADEventType
from salon.voice.stt.base import SpeechToText, Transcription, Utterance
from salon.voice.tail import SpeechTail
from salon.voice.turns import (
    Action,
    BeginUtterance,
    Classify,
    EndOfTurn,
    FalseStart,
    Interrupt,
    SegmentMachine,
    SegmentPhase,
    Speculate,
    TurnConfig,
    TurnMachine,
    Withdraw,
)
from salon.voice.vad.segmenter import (
    Segmenter,
    SegmenterConfig,
    SilenceLasted,
    SpeechEnded,
    SpeechStarted,
)

HISTORY_SAMPLES = 3 * SAMPLE_RATE
BURST_SAMPLES = SAMPLE_RATE // 5
"""More sound than this at once is not waited with until the next tick."""
WINDOW_SAMPLES = 512
MISSING_S = 0.3
"""No packet for this long is silence of the caller, not jitter of the network."""
LOST_S = 5.0
"""No packet for this long ends speech whose end somebody else's detector would have to tell."""
SAMPLES_PER_MS = SAMPLE_RATE // 1000
VOICED = 0.5
"""A window at least this probable is told as speech."""


@dataclass(frozen=True, slots=True)
class HearingConfig:
    """What to listen for. `segments` None: no `Speaking`/`Silence` (G126); `turns` None: no
    recognition and no barge-in."""

    segments: SegmenterConfig | None = None
    turns: TurnConfig | None = None
    recognizer: SpeechToText | None = None
    hints: SpeechHints = NO_HINTS
    language: str | None = None
    external_vad: bool = False
    """Somebody else's detector says when speech begins and ends: `Hearing.vad_event`."""
    classify: Classify | None = None
    """Tells backchannels; None: the word lists of `turns`."""


@dataclass(slots=True)
class _OpenTurn:
    index: int
    start_ms: int
    utterance: Utterance | None
    told: bool
    """`Speaking` went out for its speech."""
    partial: str = field(default="")
    held: Partial | None = None
    """Interim words that wait for `Speaking` (G120)."""
    guessed: bool = False
    """`Guess` went out and still holds."""
    pre_roll_ms: int = 0
    """How much of it lies before the onset."""


class Hearing:
    """The inbound half of a `MediaSession`.

    `post` takes the events; `barge_in` is called, in the media plane, with the onset of the speech
    that interrupts the agent.
    """

    def __init__(
        self,
        engine: VoiceEngine,
        config: HearingConfig,
        *,
        scope: TaskScope,
        post: Callable[[MediaEvent], None],
        barge_in: Callable[[int], None],
    ) -> None:
        self._engine = engine
        self._config = config
        self.language = config.language
        """For the next utterances (V232)."""
        self._scope = scope
        self._post = post
        self._barge_in = barge_in
        self._segmenter = Segmenter(config.segments) if config.segments else None
        self._windows: TurnMachine | None = None
        self._segments: SegmentMachine | None = None
        if config.turns is not None and config.external_vad:
            self._segments = SegmentMachine(config.turns, config.classify)
        elif config.turns is not None:
            self._windows = TurnMachine(config.turns, config.classify)
        self._machine = self._windows or self._segments
        batched = self._segmenter is not None or self._windows is not None
        self._vad = engine.vad.open(self._window) if batched else None
        self._history = np.zeros(HISTORY_SAMPLES if self._machine else 0, dtype=np.int16)
        self._heard = 0
        self._base_ms: int | None = None
        self._last_arrival = 0.0
        self._tail = SpeechTail()
        self._turn: _OpenTurn | None = None
        self._speaking = self._segmenter is None
        self._voiced = False
        self._first_arrival = 0.0
        self._ahead_ms = 0
        """How much more was heard than time went by, at most."""
        self._segment: bytes | None = None
        """What the detector says the utterance consists of, while it ends."""
        self._next_index = 0
        self._finishing: asyncio.Task[None] | None = None
        self.last_turn: TurnClock | None = None
        """The newest finished turn whose answer has not been heard yet."""

    def receive(self, samples: Samples) -> None:
        """Sound from the caller, ``int16[n]`` 16 kHz."""
        self._last_arrival = now = self._engine.clock.monotonic()
        if self._base_ms is None:
            self._base_ms, self._first_arrival = self._engine.clock.now_ms(), now
        if self._segments is not None:  # sound may come faster than it is spoken
            heard_ms = (self._heard + len(samples)) // SAMPLES_PER_MS
            ahead = heard_ms - int((now - self._first_arrival) * 1000)
            self._ahead_ms = max(self._ahead_ms, ahead)
        if len(samples) <= BURST_SAMPLES:
            self._hear(samples)
            return
        for start in range(0, len(samples), BURST_SAMPLES):
            self._hear(samples[start : start + BURST_SAMPLES])

    def _hear(self, samples: Samples) -> None:
        if self._machine is not None:
            self._remember(samples)
        self._heard += len(samples)
        if self._vad is not None:
            self._vad.push(samples)
            if self._vad.pending > BURST_SAMPLES:  # faster than it is spoken (G305)
                self._engine.vad.run()
        turn = self._turn
        if turn is not None and turn.utterance is not None:
            turn.utterance.push(samples)

    def close(self) -> None:
        """Stop listening; an open utterance is given up. Idempotent."""
        if self._vad is not None:
            self._vad.close()
            self._vad = None
        if self._turn is not None and self._turn.utterance is not None:
            self._turn.utterance.cancel()
        self._turn = None
        self._barge_in = lambda _onset_ms: None  # frees the session

    def now_ms(self) -> int:
        """The end of what was heard so far, on the sample clock (G121)."""
        return (self._base_ms or self._engine.clock.now_ms()) + self._heard // SAMPLES_PER_MS

    def _instant(self) -> int:
        """Now, as the machine sees it. Somebody else's detector may be told of nothing while
        speech goes on, so that there its instants go on when the sound does not."""
        if self._segments is None or self._base_ms is None:
            return self.now_ms()
        elapsed = self._engine.clock.monotonic() - self._first_arrival
        return self._base_ms + int(elapsed * 1000) + self._ahead_ms

    def agent_started(self) -> None:
        """The agent became audible."""
        if self._machine is not None:
            self._act(self._machine.agent_started(self._instant()))

    def agent_finished(self) -> None:
        """The agent fell silent."""
        if self._machine is not None:
            self._act(self._machine.agent_finished(self._instant()))

    def tick(self) -> None:
        """Called every 20 ms: a turn ends also when the caller's packets stop coming."""
        if self._segments is not None:
            if self._turn is not None:
                self._act(self._segments.tick(self._instant()))
            if self._turn is not None and self._missing() >= LOST_S:
                self._act(self._segments.speech_ended(self._instant()))
            return
        machine = self._windows
        if machine is None or self._turn is None:
            return
        missing = self._missing()
        if missing >= MISSING_S:
            self._act(machine.tick(self.now_ms() + int(missing * 1000)))

    def _missing(self) -> float:
        """Seconds since sound came."""
        return self._engine.clock.monotonic() - self._last_arrival

    def _remember(self, samples: Samples) -> None:
        size = HISTORY_SAMPLES
        if len(samples) > size:
            samples = samples[-size:]
        at = self._heard % size
        end = at + len(samples)
        if end <= size:
            self._history[at:end] = samples
        else:
            self._history[at:] = samples[: size - at]
            self._history[: end - size] = samples[size - at :]

    def _since(self, sample: int) -> Samples:
        """A copy of what was heard from this sample position on, as far as it is kept."""
        count = min(max(self._heard - sample, 0), self._heard, HISTORY_SAMPLES)
        start = (self._heard - count) % HISTORY_SAMPLES
        end = start + count
        if end <= HISTORY_SAMPLES:
            return self._history[start:end].copy()
        return np.concatenate((self._history[start:], self._history[: end - HISTORY_SAMPLES]))

    def _window(self, probability: float, end_sample: int) -> None:
        t_ms = (self._base_ms or 0) + end_sample // SAMPLES_PER_MS
        if self._segmenter is not None:
            for event in self._segmenter.feed(probability, t_ms):
                match event:
                    case SpeechStarted():
                        self._announce(event.start_ms)
                    case SpeechEnded():
                        self._speaking = False
                        self._post(Silence(event.start_ms, event.duration_ms))
                    case SilenceLasted():
                        self._post(Silence(event.start_ms, event.duration_ms, lasting=True))
        if self._windows is not None:
            corrected = self._tail.correct(probability, self._heard_until(end_sample))
            self._voiced = corrected >= VOICED
            self._act(self._windows.window(corrected, t_ms))

    def _heard_until(self, end_sample: int) -> Samples:
        """The window that ends at this sample position, as far as it is kept."""
        end = (end_sample - 1) % HISTORY_SAMPLES + 1
        start = end - WINDOW_SAMPLES
        if start >= 0:
            return self._history[start:end]
        return np.concatenate((self._history[start:], self._history[:end]))

    @property
    def is_speech(self) -> bool | None:
        """Whether the caller is speaking now, as the detector sees it; None without one."""
        if self._segments is not None:
            return self._segments.phase is SegmentPhase.SPEAKING
        return self._voiced if self._windows is not None else None

    def vad_event(self, event: VADEvent) -> None:
        """What somebody else's detector says about the sound heard so far."""
        machine, now = self._segments, self._instant()
        if machine is None:
            return
        match event.type:
            case VADEventType.SPEECH_START:
                self._act(machine.speech_started(now, self._pre_roll_ms(event)))
            case VADEventType.SPEECH_END:
                self._segment = event.audio_bytes
                duration = event.duration_ms
                self._act(machine.speech_ended(now, None if duration is None else int(duration)))
                self._segment = None
            case VADEventType.SILENCE:
                lasted = int(event.duration_ms or 0)
                self._post(Silence(now - lasted, lasted, lasting=True))
            case VADEventType.AUDIO_LEVEL if event.level_db is not None:
                self._post(Level(event.level_db, is_speech=self.is_speech))

    @staticmethod
    def _pre_roll_ms(event: VADEvent) -> int | None:
        """How much of the speech is known at its start."""
        if event.audio_bytes is None:
            return None
        return len(event.audio_bytes) // 2 // SAMPLES_PER_MS

    def transport_barge_in(self) -> None:
        """The transport itself noticed speech over the agent (V115, V122)."""
        if self._segments is not None:
            self._act(self._segments.transport_barge_in(self._instant()))

    def _announce(self, start_ms: int) -> None:
        """`Speaking`, then the words that waited for it (G120)."""
        self._speaking = True
        self._post(Speaking(start_ms))
        turn = self._turn
        if turn is not None:
            turn.told = True
            if turn.held is not None:
                self._post(turn.held)
                turn.held = None

    def _act(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            match action:
                case BeginUtterance():
                    self._begin(action.start_ms)
                case FalseStart():
                    self._drop(action)
                case EndOfTurn():
                    self._end(action)
                case Interrupt():
                    self._barge_in(action.onset_ms)
                case Speculate():
                    self._guess()
                case Withdraw():
                    self._withdraw()

    def _begin(self, start_ms: int) -> None:
        index = self._next_index
        self._next_index += 1
        turn = _OpenTurn(index, start_ms, None, self._speaking)
        if self._segments is not None:
            turn.pre_roll_ms = max(self._instant() - start_ms, 0)
        elif self._windows is not None:
            turn.pre_roll_ms = self._windows.config.pre_roll_ms
        self._turn = turn
        self._post(TurnStarted(index, start_ms))
        recognizer = self._config.recognizer
        if recognizer is None:
            return

        def partial(result: Transcription) -> None:
            if self._turn is turn and result.text and result.text != turn.partial:
                turn.partial = result.text
                now = self.now_ms()
                event = Partial(index, result.text, start_ms, now, result.confidence)
                if turn.told:
                    self._post(event)
                else:
                    turn.held = event
                if self._machine is not None:
                    self._act(self._machine.transcript(result.text, self._instant()))

        try:
            turn.utterance = recognizer.recognize(
                self._config.hints, on_partial=partial, language=self.language
            )
        except (SpeechError, ConfigurationError) as error:
            self._post(Failed(recognizer.name, str(error), 500))
            self._post(RecognitionFailed(index, recognizer.name, str(error)))
            return
        back = max(self._instant() - start_ms, 0) * SAMPLES_PER_MS
        turn.utterance.push(self._since(self._heard - back))

    def _drop(self, action: FalseStart) -> None:
        turn, self._turn = self._turn, None
        if turn is None:
            return
        if turn.utterance is not None:
            turn.utterance.cancel()
        self._post(
            TurnDropped(turn.index, turn.start_ms, action.is_backchannel, action.backchannel)
        )

    def _guess(self) -> None:
        turn = self._turn
        if turn is not None and turn.partial:
            turn.guessed = True
            self._post(Guess(turn.index, turn.partial))

    def _withdraw(self) -> None:
        turn = self._turn
        if turn is not None and turn.guessed:
            turn.guessed = False
            self._post(Withdrawn(turn.index))

    def _end(self, action: EndOfTurn) -> None:
        turn, self._turn = self._turn, None
        if turn is None:
            return
        now = self._engine.clock.monotonic()
        after_end = self._instant() - action.speech_end_ms
        speech_end = self._last_arrival - after_end / 1000
        clock = TurnClock(turn.index, min(speech_end, now))
        self._post(TurnEnded(turn.index, turn.start_ms, action.speech_end_ms, action.queued))
        if turn.utterance is None:
            return
        if self._segment is not None:
            turn.utterance = self._with_segment(turn.utterance, self._segment)
        self._finishing = self._scope.spawn(
            self._finish(turn, turn.utterance, action, clock, self._finishing),
            name="recognition",
        )

    def _with_segment(self, utterance: Utterance, segment: bytes) -> Utterance:
        """A recogniser that has heard nothing yet gets what the detector cut out."""
        recognizer, config = self._config.recognizer, self._config
        if recognizer is None or recognizer.supports_partials:
            return utterance
        utterance.cancel()
        whole = recognizer.recognize(config.hints, language=self.language)
        whole.push(np.frombuffer(segment, dtype="<i2"))
        return whole

    async def _finish(
        self,
        turn: _OpenTurn,
        utterance: Utterance,
        end: EndOfTurn,
        clock: TurnClock,
        before: asyncio.Task[None] | None,
    ) -> None:
        began = self._engine.clock.monotonic()
        try:
            result = await utterance.finish()
        except SalonError as error:
            sender = error.engine if isinstance(error, SpeechError) else "asr"
            self._post(Failed(sender, str(error), 500))
            self._post(RecognitionFailed(turn.index, sender, str(error)))
            return
        finally:
            utterance.cancel()
        if before is not None and not before.done():
            await asyncio.wait([before])  # texts come in the order of the turns
        now = self._engine.clock.monotonic()
        self._engine.on_decoder_wait(utterance.decoder_wait_ms / 1000)
        clock.recognised, clock.text = now, result.text
        if result.text:
            self.last_turn = clock
        self._post(
            Final(
                turn.index,
                result.text,
                turn.start_ms,
                end.speech_end_ms,
                result.confidence,
                (now - began) * 1000,
                language=result.language,
                speech_ms=max(0, end.speech_end_ms - turn.start_ms - turn.pre_roll_ms),
                queued=end.queued,
            )
        )
