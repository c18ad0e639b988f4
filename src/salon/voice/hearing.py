"""What one call hears: the sound on its way to the detectors and to the recogniser.

Sound comes in synchronously (`receive`), decisions come back through the batched detector's tick.
The last seconds are kept in a ring, so that an utterance begins before the moment at which it was
noticed and no syllable is lost. `turn_driver` says when a turn ends, `caller_turns` what is done
with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from salon.base import TaskScope
from salon.media.frame import SAMPLE_RATE, Samples
from salon.models.speech import NO_HINTS, SpeechHints
from salon.voice.caller_turns import CallerTurns
from salon.voice.engine import VoiceEngine
from salon.voice.events import Level, MediaEvent, Silence
from salon.voice.history import History
from salon.voice.lull import Pauses
from salon.voice.pipeline.vad.base import VADEvent, VADEventType
from salon.voice.sample_clock import SAMPLES_PER_MS, SampleClock
from salon.voice.stt.base import SpeechToText
from salon.voice.turn_driver import TurnDriver
from salon.voice.turns import Classify, SegmentMachine, SegmentPhase, TurnConfig, TurnMachine
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
LOST_S = 5.0
"""No packet for this long ends speech whose end somebody else's detector would have to tell."""


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


def _machine_of(config: HearingConfig) -> TurnMachine | SegmentMachine | None:
    """Who decides about turns."""
    if config.turns is None:
        return None
    kind = SegmentMachine if config.external_vad else TurnMachine
    recognizer = config.recognizer
    streams = recognizer is not None and recognizer.supports_partials
    return kind(config.turns, config.classify, finals=recognizer is not None, streams=streams)


class Hearing(CallerTurns):
    """The inbound half of a `MediaSession`: the turns of a caller as they are heard.

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
        machine = _machine_of(config)
        history = History(HISTORY_SAMPLES if machine else 0)
        heard = SampleClock(engine.clock, history, runs_on=isinstance(machine, SegmentMachine))
        super().__init__(
            engine,
            machine,
            history,
            heard,
            recognizer=config.recognizer,
            hints=config.hints,
            language=config.language,
            scope=scope,
            post=post,
            barge_in=barge_in,
        )
        self._config = config
        self._windows = machine if isinstance(machine, TurnMachine) else None
        self._segments = machine if isinstance(machine, SegmentMachine) else None
        self._driver: TurnDriver | None = None
        if self._windows is not None:
            self._driver = TurnDriver(
                self._windows, history, heard, clock=engine.clock, scope=scope, act=self._act
            )
        self._pauses: Pauses | None = None
        if self._segments is not None and (after := self._segments.config.speculate_after_ms):
            self._pauses = Pauses(self._segments, after)
        self._segmenter = Segmenter(config.segments) if config.segments else None
        self._speaking = self._segmenter is None
        self._any: AnySound | None = None
        if self._segmenter is not None and config.any_sound:
            self._any = AnySound(self._any_sound)
        self._begin_at = config.begin_at if self._windows is not None else None
        batched = self._windows is not None or (self._segmenter is not None and self._any is None)
        self._vad = engine.vad.open(self._window) if batched else None
        self._voiced = False
        """Whether the newest window holds speech, where no turns are decided by it."""

    def receive(self, samples: Samples) -> None:
        """Sound from the caller, ``int16[n]`` 16 kHz."""
        self._heard.arrived(len(samples))
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
            self._act(self._pauses.heard(samples, self._heard.instant_ms()))

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
        if self._driver is not None:
            self._driver.close()
        super().close()

    def now_ms(self) -> int:
        """The end of what was heard so far, on the sample clock (G121)."""
        return self._heard.now_ms()

    def instant_ms(self) -> int:
        """Now, on the scale on which turns are told."""
        return self._heard.instant_ms()

    def tick(self) -> None:
        """Called every 20 ms: a turn ends also when the caller's packets stop coming."""
        if self._segments is not None:
            if self._turn is not None:
                self._act(self._segments.tick(self._heard.instant_ms()))
            if self._turn is not None and self._heard.missing_s() >= LOST_S:
                self._act(self._segments.speech_ended(self._heard.instant_ms()))
        elif self._driver is not None:
            self._driver.tick(open_turn=self._turn is not None)

    def _segmented(self, probability: float, end_sample: int) -> None:
        if self._segmenter is None:
            return
        for event in self._segmenter.feed(probability, self._heard.at_ms(end_sample)):
            match event:
                case SpeechStarted():
                    self._announce(event.start_ms)
                case SpeechEnded():
                    self._speaking = False
                    self._post(Silence(event.start_ms, event.duration_ms))
                case SilenceLasted():
                    self._post(Silence(event.start_ms, event.duration_ms, lasting=True))

    def _any_sound(self, probability: float, end_sample: int) -> None:
        self._voiced = probability > 0
        self._segmented(probability, end_sample)

    def _window(self, probability: float, end_sample: int) -> None:
        if self._any is None:
            self._segmented(probability, end_sample)
        if self._driver is None:
            segments = self._config.segments
            self._voiced = segments is not None and probability > segments.voice_threshold
        elif self._has_begun():
            self._driver.window(probability, end_sample)

    @property
    def is_speech(self) -> bool | None:
        """Whether the caller is speaking now, as the detector sees it; None without one."""
        if self._segments is not None:
            return self._segments.phase is SegmentPhase.SPEAKING
        if self._driver is not None:
            return self._driver.voiced
        return self._voiced if self._segmenter is not None else None

    def vad_event(self, event: VADEvent) -> None:
        """What somebody else's detector says about the sound heard so far."""
        machine, now = self._segments, self._heard.instant_ms()
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
            self._act(self._segments.transport_barge_in(self._heard.instant_ms()))
