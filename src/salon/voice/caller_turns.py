"""The turns of one caller: what was decided is told, and recognised."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import numpy as np

from salon.base import RAISED, SalonError, TaskScope
from salon.models.speech import SpeechHints
from salon.voice.engine import VoiceEngine
from salon.voice.errors import SpeechError
from salon.voice.events import (
    Failed,
    Final,
    MediaEvent,
    RecognitionFailed,
    Recognized,
    Speaking,
    TurnClock,
    TurnDropped,
    TurnEnded,
    TurnStarted,
)
from salon.voice.foreign import failure, is_ours
from salon.voice.history import History
from salon.voice.open_turn import OpenTurn
from salon.voice.sample_clock import SAMPLES_PER_MS, SampleClock
from salon.voice.stt.base import SpeechToText, Transcription, Utterance
from salon.voice.turns import (
    Action,
    AwaitWords,
    BeginUtterance,
    EndOfTurn,
    FalseStart,
    GoesOn,
    Interrupt,
    SegmentMachine,
    Speculate,
    TurnMachine,
    Withdraw,
)


class CallerTurns:
    """Carries out what `machine` decides and tells it of the agent and of the words.

    Who decides when is not known here: whoever moves the machine on hands its actions to `_act`
    and gives the sound to the recogniser of the open turn. Without a machine there are no turns,
    without a recogniser they have no words.
    """

    def __init__(
        self,
        engine: VoiceEngine,
        machine: TurnMachine | SegmentMachine | None,
        history: History,
        heard: SampleClock,
        *,
        recognizer: SpeechToText | None,
        hints: SpeechHints,
        language: str | None,
        scope: TaskScope,
        post: Callable[[MediaEvent], None],
        barge_in: Callable[[int], None],
    ) -> None:
        self._engine = engine
        self._machine = machine
        self._history = history
        self._heard = heard
        self._recognizer = recognizer
        self._hints = hints
        self.language = language
        """For the next utterances (V232)."""
        self._scope = scope
        self._post = post
        self._barge_in = barge_in
        self._turn: OpenTurn | None = None
        self._speaking = True
        """`Speaking` went out, or nobody wants it: words need not wait for it (G120)."""
        self._segment: bytes | None = None
        """What the detector says the utterance consists of, while it ends."""
        self._next_index = 0
        self._finishing: asyncio.Task[None] | None = None
        self.last_turn: TurnClock | None = None
        """The newest finished turn whose answer has not been heard yet."""

    def close(self) -> None:
        """No more turns; an open utterance is given up. Idempotent."""
        if self._turn is not None:
            self._turn.give_up()
        self._turn = None
        self._barge_in = lambda _onset_ms: None  # frees the session

    def agent_started(self) -> None:
        """The agent became audible."""
        if self._machine is not None:
            self._act(self._machine.agent_started(self._heard.instant_ms()))

    def agent_finished(self) -> None:
        """The agent fell silent."""
        if self._machine is not None:
            self._act(self._machine.agent_finished(self._heard.instant_ms()))

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
        if isinstance(self._machine, TurnMachine):
            turn.pre_roll_ms = self._machine.config.pre_roll_ms
        else:
            turn.pre_roll_ms = max(self._heard.instant_ms() - start_ms, 0)
        self._turn = turn
        self._post(TurnStarted(index, start_ms))
        if not self._recognize(turn) or turn.utterance is None:
            return
        back = max(self._heard.instant_ms() - start_ms, 0) * SAMPLES_PER_MS
        sound = self._history.since(self._history.heard - back)
        if self._machine is not None and self._machine.may_ask:
            turn.sound = [sound]
        turn.utterance.push(sound)

    def _announce(self, start_ms: int) -> None:
        """`Speaking`, then the words that waited for it (G120)."""
        self._speaking = True
        self._post(Speaking(start_ms))
        if self._turn is not None:
            for event in self._turn.spoken():
                self._post(event)

    def _guess(self) -> None:
        guess = self._turn.guess() if self._turn is not None else None
        if guess is not None:
            self._post(guess)

    def _withdraw(self) -> None:
        withdrawn = self._turn.withdraw() if self._turn is not None else None
        if withdrawn is not None:
            self._post(withdrawn)

    def _drop(self, action: FalseStart) -> None:
        turn, self._turn = self._turn, None
        if turn is None:
            return
        recognizer, broken = self._recognizer, turn.broken
        if turn.asking is not None:
            broken = SpeechError(recognizer.name if recognizer else "asr", "no words in time")
        turn.give_up()
        if broken is not None:
            self._failed(turn.index, _sender(broken), str(broken))
        self._post(
            TurnDropped(turn.index, turn.start_ms, action.is_backchannel, action.backchannel)
        )

    def _end(self, action: EndOfTurn) -> None:
        turn, self._turn = self._turn, None
        if turn is None:
            return
        now = self._engine.clock.monotonic()
        after_end = self._heard.instant_ms() - action.speech_end_ms
        speech_end = self._heard.last_arrival - after_end / 1000
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
        self._finishing.add_done_callback(partial(self._finished, turn))

    def _recognize(self, turn: OpenTurn) -> bool:
        """Give the turn a recogniser. False: there is none, or it does not begin."""
        recognizer = self._recognizer
        turn.utterance = None
        if recognizer is None:
            return False

        def partial(result: Transcription) -> None:
            if self._turn is turn and result.text and result.text != turn.partial:
                now = self._engine.clock.monotonic()
                for event in turn.interim(result, recognizer.name, self._heard.now_ms(), now):
                    self._post(event)
                if turn.pausing and not turn.guessed:  # the first words come only now
                    self._guess()
                if self._machine is not None:
                    self._act(self._machine.transcript(result.text, self._heard.instant_ms()))

        turn.began = self._engine.clock.monotonic()
        try:
            turn.utterance = recognizer.recognize(
                self._hints, on_partial=partial, language=self.language
            )
        except RAISED as error:
            self._failed(turn.index, recognizer.name, str(_broken(error, recognizer)))
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
            turn.broken = _broken(error, self._recognizer)
        if self._turn is turn:
            turn.asking = None
            self._tell(turn)

    def _tell(self, turn: OpenTurn) -> None:
        if self._machine is not None:
            text = "" if turn.words is None else turn.words.text
            self._act(self._machine.words_final(text, self._heard.instant_ms()))

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

    def _with_segment(self, utterance: Utterance, segment: bytes) -> Utterance:
        """A recogniser that has heard nothing yet gets what the detector cut out."""
        recognizer = self._recognizer
        if recognizer is None or recognizer.supports_partials:
            return utterance
        utterance.cancel()
        whole = recognizer.recognize(self._hints, language=self.language)
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
            broken = _broken(error, self._recognizer)
            self._failed(turn.index, _sender(broken), str(broken))
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
        if (recognizer := self._recognizer) is not None:
            took = round((now - began) * 1000)
            self._post(Recognized(recognizer.name, turn.index, took, final=True))

    def _finished(self, turn: OpenTurn, task: asyncio.Task[None]) -> None:
        turn.give_up()
        if self._finishing is task:
            self._finishing = None  # one that was cancelled knows this object by its traceback

    async def last_words(self, limit_s: float) -> None:
        """Wait for the words of turns that have ended, `limit_s` seconds at most; that there are
        none by then is told."""
        if self._finishing is None or self._finishing.done():
            return
        await asyncio.wait([self._finishing], timeout=limit_s)
        if not self._finishing.done():
            recognizer = self._recognizer
            name = "asr" if recognizer is None else recognizer.name
            late = f"{name}: no words within {limit_s:g} s of the end of the call"
            self._failed(self._next_index - 1, name, late)

    def _failed(self, index: int, sender: str, said: str) -> None:
        """The words of a turn are lost (V96)."""
        self._post(Failed(sender, said, 500))
        self._post(RecognitionFailed(index, sender, said))


def _broken(error: BaseException, recognizer: SpeechToText | None) -> SalonError:
    """The failure of the recogniser; what it should not have raised becomes a `SpeechError`."""
    if isinstance(error, SalonError):
        return error
    return failure("asr" if recognizer is None else recognizer.name, error)


def _sender(error: SalonError) -> str:
    return error.engine if isinstance(error, SpeechError) else "asr"
