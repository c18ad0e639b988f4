"""What one call hears: voice activity, turns, recognition.

Sound comes in synchronously (`receive`), decisions come back through the batched detector's tick.
The last seconds are kept in a ring, so that an utterance begins before the moment at which it was
noticed and no syllable is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from salon.base import RAISED, SalonError, TaskScope
from salon.media.frame import FRAME_MS, SAMPLE_RATE, Samples
from salon.models.speech import NO_HINTS, SpeechHints
from salon.voice.engine import VoiceEngine
from salon.voice.errors import SpeechError
from salon.voice.events import (
    Failed,
    Final,
    Level,
    MediaEvent,
    RecognitionFailed,
    Recognized,
    Silence,
    Speaking,
    TurnClock,
    TurnDropped,
    TurnEnded,
    TurnStarted,
)
from salon.voice.foreign import failure, is_ours
from salon.voice.history import History
from salon.voice.lull import Pauses
from salon.voice.open_turn import OpenTurn
from salon.voice.pipeline.vad.base import VADEvent, VADEventType
from salon.voice.stt.base import SpeechToText, Transcription, Utterance
from salon.voice.tail import SpeechTail
from salon.voice.turns import (
    Action,
    AwaitWords,
    BeginUtterance,
    Classify,
    EndOfTurn,
    FalseStart,
    GoesOn,
    Interrupt,
    Phase,
    SegmentMachine,
    SegmentPhase,
    Speculate,
    TurnConfig,
    TurnMachine,
    Withdraw,
)
from salon.voice.vad.any_sound import AnySound
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
_RISE = 4.0
"""Power by which sound that is not looked at yet has to exceed what is, to be waited for (6 dB)."""
_FAINT = 100.0**2
"""Power below which it does not matter."""
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
    any_sound: bool = False
    """For `segments` all that is not digital silence is speech; turns keep their detector."""
    begin_at: Callable[[], bool] | None = None
    """Turns begin once it is true: what was said before that is not recognised (G64). Speech is
    told all the same. Without effect where `external_vad` is."""


def _power(samples: Samples) -> float:
    """Mean square."""
    wide = samples.astype(np.float32)
    return float(np.dot(wide, wide)) / len(wide)


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
        finals = config.recognizer is not None
        streams = config.recognizer is not None and config.recognizer.supports_partials
        if config.turns is not None and config.external_vad:
            self._segments = SegmentMachine(
                config.turns, config.classify, finals=finals, streams=streams
            )
        elif config.turns is not None:
            self._windows = TurnMachine(
                config.turns, config.classify, finals=finals, streams=streams
            )
        self._machine = self._windows or self._segments
        self._pauses: Pauses | None = None
        if self._segments is not None and (after := self._segments.config.speculate_after_ms):
            self._pauses = Pauses(self._segments, after)
        self._any: AnySound | None = None
        if self._segmenter is not None and config.any_sound:
            self._any = AnySound(self._any_sound)
        self._begin_at = config.begin_at if self._windows is not None else None
        batched = self._windows is not None or (self._segmenter is not None and self._any is None)
        self._vad = engine.vad.open(self._window) if batched else None
        self._history = History(HISTORY_SAMPLES if self._machine else 0)
        self._base_ms: int | None = None
        self._last_arrival = 0.0
        self._tail = SpeechTail()
        self._turn: OpenTurn | None = None
        self._speaking = self._segmenter is None
        self._voiced = False
        self._first_arrival = 0.0
        self._ahead_ms = 0
        """How much more was heard than time went by, at most."""
        self._segment: bytes | None = None
        """What the detector says the utterance consists of, while it ends."""
        self._next_index = 0
        self._looked = 0
        """Where the newest window of the detector ended."""
        self._ending = False
        """Somebody waits for the end of the pause."""
        self._finishing: asyncio.Task[None] | None = None
        self.last_turn: TurnClock | None = None
        """The newest finished turn whose answer has not been heard yet."""

    def receive(self, samples: Samples) -> None:
        """Sound from the caller, ``int16[n]`` 16 kHz."""
        self._last_arrival = now = self._engine.clock.monotonic()
        if self._base_ms is None:
            self._base_ms, self._first_arrival = self._engine.clock.now_ms(), now
        if self._segments is not None:  # sound may come faster than it is spoken
            heard_ms = (self._history.heard + len(samples)) // SAMPLES_PER_MS
            ahead = heard_ms - int((now - self._first_arrival) * 1000)
            self._ahead_ms = max(self._ahead_ms, ahead)
        if len(samples) <= BURST_SAMPLES:
            self._hear(samples)
            return
        for start in range(0, len(samples), BURST_SAMPLES):
            self._hear(samples[start : start + BURST_SAMPLES])

    def _hear(self, samples: Samples) -> None:
        unused = self._machine is not None and not self._has_begun()
        self._history.remember(np.zeros_like(samples) if unused else samples)
        if self._any is not None:
            self._any.push(samples)
        if self._vad is not None:
            self._vad.push(samples)
            if self._vad.pending > BURST_SAMPLES:  # faster than it is spoken (G305)
                self._engine.vad.run()
        turn = self._turn
        if turn is not None and turn.utterance is not None:
            if turn.sound is not None:
                turn.sound.append(samples.copy())
            if turn.asking is None:
                turn.utterance.push(samples)
        if self._pauses is not None:
            self._act(self._pauses.heard(samples, self._instant()))

    def _has_begun(self) -> bool:
        """What is said now is to be recognised."""
        if self._begin_at is not None and self._begin_at():
            self._begin_at = None
        return self._begin_at is None

    def close(self) -> None:
        """Stop listening; an open utterance is given up. Idempotent."""
        if self._vad is not None:
            self._vad.close()
            self._vad = None
        if self._turn is not None:
            self._turn.give_up()
        self._turn = None
        self._barge_in = lambda _onset_ms: None  # frees the session

    def now_ms(self) -> int:
        """The end of what was heard so far, on the sample clock (G121)."""
        base_ms = self._base_ms or self._engine.clock.now_ms()
        return base_ms + self._history.heard // SAMPLES_PER_MS

    def instant_ms(self) -> int:
        """Now, on the scale on which turns are told."""
        return self._instant()

    async def last_words(self, limit_s: float) -> None:
        """Wait for the words of turns that have ended, `limit_s` seconds at most; that there are
        none by then is told."""
        if self._finishing is None or self._finishing.done():
            return
        await asyncio.wait([self._finishing], timeout=limit_s)
        if not self._finishing.done():
            recognizer = self._config.recognizer
            name = "asr" if recognizer is None else recognizer.name
            late = f"{name}: no words within {limit_s:g} s of the end of the call"
            self._post(Failed(name, late, 500))
            self._post(RecognitionFailed(self._next_index - 1, name, late))

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
        if machine is None:
            return
        missing = self._missing()
        if self._turn is None:
            if missing >= MISSING_S and machine.phase is Phase.IDLE:  # a clean end is one here too
                self._act(machine.tick(self.now_ms() + int(missing * 1000)))
            return
        if missing >= MISSING_S:
            self._act(machine.tick(self.now_ms() + int(missing * 1000)))
        elif (due := machine.due_ms) is not None and not self._ending:
            wait = (due - self.now_ms()) / 1000 - missing
            if wait < FRAME_MS / 1000:
                self._ending = True
                self._scope.spawn(self._end_at(due, max(wait, 0)), name="end of turn")

    async def _end_at(self, due_ms: int, seconds: float) -> None:
        """A turn ends when its silence has lasted, be the tick or the detector's window where it
        may; unless what the detector has not looked at yet grows loud."""
        try:
            if seconds:
                await self._engine.clock.sleep(seconds)
        finally:
            self._ending = False
        machine = self._windows
        if machine is None or machine.due_ms != due_ms or self._vad is None:
            return
        late = due_ms - self.now_ms() > 2 * FRAME_MS  # sound that is late is no silence
        if not late and not self._rises():
            self._act(machine.tick(due_ms))

    def _rises(self) -> bool:
        """The sound after the newest window is clearly louder than that window."""
        newest = self._history.since(self._looked)
        if not len(newest):
            return False
        before = self._history.until(self._looked, WINDOW_SAMPLES)
        return _power(newest) > max(_RISE * _power(before), _FAINT)

    def _missing(self) -> float:
        """Seconds since sound came."""
        return self._engine.clock.monotonic() - self._last_arrival

    def _segmented(self, probability: float, end_sample: int) -> None:
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

    def _any_sound(self, probability: float, end_sample: int) -> None:
        if self._windows is None:
            self._voiced = probability > 0
        self._segmented(probability, end_sample)

    def _window(self, probability: float, end_sample: int) -> None:
        t_ms = (self._base_ms or 0) + end_sample // SAMPLES_PER_MS
        if self._any is None:
            self._segmented(probability, end_sample)
        self._looked = end_sample
        if self._windows is None:
            segments = self._config.segments
            self._voiced = segments is not None and probability > segments.voice_threshold
        elif self._has_begun():
            newest = self._history.until(end_sample, WINDOW_SAMPLES)
            corrected = self._tail.correct(probability, newest)
            self._voiced = corrected >= VOICED
            self._act(self._windows.window(corrected, t_ms))

    @property
    def is_speech(self) -> bool | None:
        """Whether the caller is speaking now, as the detector sees it; None without one."""
        if self._segments is not None:
            return self._segments.phase is SegmentPhase.SPEAKING
        told = self._windows is not None or self._segmenter is not None
        return self._voiced if told else None

    def vad_event(self, event: VADEvent) -> None:
        """What somebody else's detector says about the sound heard so far."""
        machine, now = self._segments, self._instant()
        if machine is None:
            return
        match event.type:
            case VADEventType.SPEECH_START:
                if self._pauses is not None:
                    self._act(self._pauses.started(now))
                self._act(machine.speech_started(now, self._pre_roll_ms(event)))
            case VADEventType.SPEECH_END:
                self._segment = event.audio_bytes
                duration = event.duration_ms
                self._act(machine.speech_ended(now, None if duration is None else int(duration)))
                self._segment = None
            case VADEventType.SILENCE:
                lasted = int(event.duration_ms or 0)
                if self._pauses is not None:
                    self._act(self._pauses.told(lasted, now))
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
        if self._turn is not None:
            for event in self._turn.spoken():
                self._post(event)

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
                case AwaitWords():
                    self._ask()
                case GoesOn():
                    self._go_on()

    def _begin(self, start_ms: int) -> None:
        index = self._next_index
        self._next_index += 1
        turn = OpenTurn(index, start_ms, None, self._speaking)
        if self._segments is not None:
            turn.pre_roll_ms = max(self._instant() - start_ms, 0)
        elif self._windows is not None:
            turn.pre_roll_ms = self._windows.config.pre_roll_ms
        self._turn = turn
        self._post(TurnStarted(index, start_ms))
        if not self._recognize(turn) or turn.utterance is None:
            return
        back = max(self._instant() - start_ms, 0) * SAMPLES_PER_MS
        sound = self._history.since(self._history.heard - back)
        if self._machine is not None and self._machine.may_ask:
            turn.sound = [sound]
        turn.utterance.push(sound)

    def _recognize(self, turn: OpenTurn) -> bool:
        """Give the turn a recogniser. False: there is none, or it does not begin."""
        recognizer = self._config.recognizer
        turn.utterance = None
        if recognizer is None:
            return False

        def partial(result: Transcription) -> None:
            if self._turn is turn and result.text and result.text != turn.partial:
                now = self._engine.clock.monotonic()
                for event in turn.interim(result, recognizer.name, self.now_ms(), now):
                    self._post(event)
                if turn.pausing and not turn.guessed:  # the first words come only now
                    self._guess()
                if self._machine is not None:
                    self._act(self._machine.transcript(result.text, self._instant()))

        turn.began = self._engine.clock.monotonic()
        try:
            turn.utterance = recognizer.recognize(
                self._config.hints, on_partial=partial, language=self.language
            )
        except RAISED as error:
            said = str(_broken(error, recognizer))
            self._post(Failed(recognizer.name, said, 500))
            self._post(RecognitionFailed(turn.index, recognizer.name, said))
            return False
        return True

    def _ask(self) -> None:
        """Have the recogniser finish: its words decide."""
        turn = self._turn
        if turn is None:
            return
        if turn.utterance is None:
            self._tell(turn)
        else:
            if self._segment is not None and not turn.went_on:
                turn.utterance = self._with_segment(turn.utterance, self._segment)
            turn.asking = self._scope.spawn(self._answer(turn, turn.utterance), name="last words")

    async def _answer(self, turn: OpenTurn, utterance: Utterance) -> None:
        try:
            turn.words = await utterance.finish()
        except RAISED as error:
            if is_ours(error):
                raise
            turn.broken = _broken(error, self._config.recognizer)
        if self._turn is turn:
            turn.asking = None
            self._tell(turn)

    def _tell(self, turn: OpenTurn) -> None:
        if self._machine is not None:
            text = "" if turn.words is None else turn.words.text
            self._act(self._machine.words_final(text, self._instant()))

    def _go_on(self) -> None:
        """The caller went on after all: a new recogniser hears everything."""
        turn = self._turn
        if turn is None:
            return
        turn.give_up()
        turn.words = turn.broken = None
        turn.went_on = True
        if self._recognize(turn) and turn.utterance is not None and turn.sound:
            turn.utterance.push(np.concatenate(turn.sound))

    def _drop(self, action: FalseStart) -> None:
        turn, self._turn = self._turn, None
        if turn is None:
            return
        recognizer, broken = self._config.recognizer, turn.broken
        if turn.asking is not None:
            broken = SpeechError(recognizer.name if recognizer else "asr", "no words in time")
        turn.give_up()
        if broken is not None:
            sender = _sender(broken)
            self._post(Failed(sender, str(broken), 500))
            self._post(RecognitionFailed(turn.index, sender, str(broken)))
        self._post(
            TurnDropped(turn.index, turn.start_ms, action.is_backchannel, action.backchannel)
        )

    def _guess(self) -> None:
        guess = self._turn.guess() if self._turn is not None else None
        if guess is not None:
            self._post(guess)

    def _withdraw(self) -> None:
        withdrawn = self._turn.withdraw() if self._turn is not None else None
        if withdrawn is not None:
            self._post(withdrawn)

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
        asked = turn.went_on or turn.asking is not None or turn.words is not None
        if self._segment is not None and not asked:
            turn.utterance = self._with_segment(turn.utterance, self._segment)
        self._finishing = self._scope.spawn(
            self._finish(turn, turn.utterance, action, clock, self._finishing),
            name="recognition",
        )
        # a task that is cancelled before its first step runs nothing, not even a `finally`
        utterance = turn.utterance
        self._finishing.add_done_callback(lambda _: utterance.cancel())

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
        turn: OpenTurn,
        utterance: Utterance,
        end: EndOfTurn,
        clock: TurnClock,
        before: asyncio.Task[None] | None,
    ) -> None:
        began = self._engine.clock.monotonic()
        try:
            result = await turn.last_words(utterance)
        except RAISED as error:
            if is_ours(error):
                raise
            broken = _broken(error, self._config.recognizer)
            sender = _sender(broken)
            self._post(Failed(sender, str(broken), 500))
            self._post(RecognitionFailed(turn.index, sender, str(broken)))
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
        if (recognizer := self._config.recognizer) is not None:
            took = round((now - began) * 1000)
            self._post(Recognized(recognizer.name, turn.index, took, final=True))


def _broken(error: BaseException, recognizer: SpeechToText | None) -> SalonError:
    """The failure of the recogniser; what it should not have raised becomes a `SpeechError`."""
    if isinstance(error, SalonError):
        return error
    return failure("asr" if recognizer is None else recognizer.name, error)


def _sender(error: SalonError) -> str:
    return error.engine if isinstance(error, SpeechError) else "asr"
