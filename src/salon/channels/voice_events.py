"""What happens on a line, told to the room's floor, to the hooks and to the transcripts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from salon.channels.voice_floor import Floor, Utterance
from salon.channels.voice_guesses import Guesses
from salon.channels.voice_hooks import VoiceHooks
from salon.channels.voice_measures import VoiceMeasures
from salon.channels.voice_people import Caller
from salon.channels.voice_transcripts import Transcripts
from salon.models import HookTrigger
from salon.voice.errors import describe
from salon.voice.events import (
    BargeIn,
    Dtmf,
    Final,
    Guess,
    Interrupted,
    Level,
    MediaEvent,
    Partial,
    Paused,
    RecognitionFailed,
    Silence,
    SpeakerChanged,
    TrackEnded,
    TurnDropped,
    TurnEnded,
    TurnStarted,
    Withdrawn,
)
from salon.voice.hook_payloads import (
    AudioLevelEvent,
    BackchannelEvent,
    BargeInEvent,
    DTMFDetectedEvent,
    PartialTranscriptionEvent,
    SpeakerChangeEvent,
    VADAudioLevelEvent,
    VADSilenceEvent,
)
from salon.voice.interruption import InterruptionConfig
from salon.voice.pipeline.dtmf.base import DTMFRedaction

Caption = Callable[[str, str, str | None, str, bool], None]
"""``(room_id, participant_id, name, text, final)``: interim words, shown by other channels."""

PATIENCE_S = 10.0
"""An answer nobody has heard yet waits this long at most for the words of whoever just spoke."""


class LineEvents:
    """Takes the media events of all lines of one channel, in order per line."""

    def __init__(
        self,
        hooks: VoiceHooks,
        transcripts: Transcripts,
        floor: Callable[[str], Floor],
        measures: VoiceMeasures,
        *,
        interruption: InterruptionConfig,
        redaction: DTMFRedaction | None = None,
        guesses: Guesses,
        caption: Caption | None = None,
        is_over: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._hooks = hooks
        self._transcripts = transcripts
        self._floor = floor
        self._measures = measures
        self._interruption = interruption
        self._redaction = redaction
        self._caption = caption
        self._guesses = guesses
        self._is_over = is_over
        """Whether a room takes no more events: no words are shown there, or told."""
        self._last_speaker: dict[Caller, str] = {}
        self._resuming: dict[Caller, asyncio.TimerHandle] = {}
        self._patience: dict[Caller, asyncio.TimerHandle] = {}
        self._interrupted: dict[Caller, Utterance] = {}
        """What somebody cut, and has not said the words to yet."""
        self._queued: dict[Caller, set[int]] = {}
        """Turns whose words wait until no agent speaks (V125), or soon will."""

    def take(self, caller: Caller, event: MediaEvent) -> None:
        """One event of a line."""
        self._measures.take(caller, event)
        match event:
            case TurnStarted():
                self._began(caller)
            case TurnEnded():
                self._ended(caller, event)
            case TurnDropped():
                self._dropped(caller, event)
            case Partial():
                self._partial(caller, event)
            case Final():
                self._final(caller, event)
            case RecognitionFailed():
                self._guesses.withdraw(caller)
                self._not_queued(caller, event.index)
                error = describe(event.message)
                self._hooks.emit("stt_error", caller, provider=event.engine, error=error)
                self._wordless(caller)
            case BargeIn():
                self._barge_in(caller)
            case Paused():
                self._paused(caller)
            case Guess():
                self._guesses.guess(caller, event.text)
            case Withdrawn():
                self._guesses.withdraw(caller)
            case Interrupted() | TrackEnded():
                self._playback(caller, event)
            case _:
                self._observe(caller, event)

    def forget(self, caller: Caller) -> None:
        """The line is gone."""
        self._last_speaker.pop(caller, None)
        self._resume(caller)
        self._be_patient(caller, 0)
        self._queued.pop(caller, None)
        self._interrupted.pop(caller, None)
        self._floor(caller.room_id).silence(caller)
        self._guesses.withdraw(caller)

    def unused(self, caller: Caller) -> None:
        """What a caller said leads to nothing: what waited for it goes on."""
        self._resume(caller)
        self._floor(caller.room_id).silence(caller)

    # -- speech -----------------------------------------------------------------------------------

    def _be_patient(self, caller: Caller, seconds: float) -> None:
        """What nobody has heard yet waits for the caller's words, for so long; 0: no more."""
        timer = self._patience.pop(caller, None)
        if timer is not None:
            timer.cancel()
        if seconds:
            floor = self._floor(caller.room_id)
            self._patience[caller] = asyncio.get_running_loop().call_later(
                seconds, floor.silence, caller
            )

    def _wordless(self, caller: Caller) -> None:
        """The speech that ended last brought no words."""
        self._transcripts.no_words(caller)
        self.unused(caller)

    def _began(self, caller: Caller) -> None:
        self._no_resume(caller)
        self._be_patient(caller, 0)
        self._floor(caller.room_id).speaks(caller)
        self._transcripts.speech_started(caller)
        self._hooks.tell(HookTrigger.ON_SPEECH_START, caller, caller.line)

    def _ended(self, caller: Caller, event: TurnEnded) -> None:
        self._transcripts.speech_ended(caller)
        self._hooks.tell(HookTrigger.ON_SPEECH_END, caller, caller.line)
        if event.queued:
            self._queued.setdefault(caller, set()).add(event.index)
        if caller in self._queued:  # these words wait for the agents, not the agents for them
            self._floor(caller.room_id).silence(caller)
        else:
            self._be_patient(caller, PATIENCE_S)
        wait_ms = self._interruption.resume_false_interruption_ms
        if wait_ms is not None and self._floor(caller.room_id).held_by(caller):
            self._no_resume(caller)
            self._resuming[caller] = asyncio.get_running_loop().call_later(
                wait_ms / 1000, self._resume, caller
            )

    def _dropped(self, caller: Caller, event: TurnDropped) -> None:
        self._guesses.withdraw(caller)
        self._transcripts.speech_ended(caller)
        self._hooks.tell(HookTrigger.ON_SPEECH_END, caller, caller.line)
        if event.backchannel:
            self._hooks.tell(
                HookTrigger.ON_BACKCHANNEL,
                caller,
                BackchannelEvent(caller.line, event.words),
            )
        self._show(caller, "", final=True)
        self._wordless(caller)

    def _partial(self, caller: Caller, event: Partial) -> None:
        if self._is_over(caller.room_id):
            return
        self._guesses.heard(caller, event.text)
        if not self._hooks.wants(HookTrigger.ON_TRANSCRIPTION, caller.room_id):
            self._show(caller, event.text, final=False)  # else it may be refused, or changed
        self._hooks.tell(
            HookTrigger.ON_PARTIAL_TRANSCRIPTION,
            caller,
            PartialTranscriptionEvent(caller.line, event.text, event.confidence, False),
        )

    def _final(self, caller: Caller, event: Final) -> None:
        self._guesses.confirm(caller, event.text)
        self._show(caller, "", final=True)
        if not event.text.strip():
            self._not_queued(caller, event.index)
            self._wordless(caller)
            return
        floor = self._floor(caller.room_id)
        cut = [held for held in floor.held_by(caller) if not held.unheard]
        for held in cut:
            self._no_resume(caller)
            self._cut(caller, held)
        if (before := self._interrupted.pop(caller, None)) is not None and before not in cut:
            cut.append(before)

        async def turn_to_speak() -> None:
            try:
                if event.queued:
                    await floor.until_silent(caller)
                elif cut:  # what was said is stored before what cut it
                    await floor.until_left(cut)
            finally:
                self._not_queued(caller, event.index)

        after = turn_to_speak if event.queued or cut or caller in self._queued else None
        self._transcripts.final(caller, event, after=after)

    def _not_queued(self, caller: Caller, index: int) -> None:
        """The words of this turn and of those before it wait no more; idempotent."""
        left = {later for later in self._queued.pop(caller, ()) if later > index}
        if left:
            self._queued[caller] = left

    def _show(self, caller: Caller, text: str, *, final: bool) -> None:
        if self._caption is not None:
            self._caption(caller.room_id, caller.participant_id, caller.name, text, final)

    # -- interruption -----------------------------------------------------------------------------

    def _barge_in(self, caller: Caller) -> None:
        utterance = self._floor(caller.room_id).heard_by(caller)
        if utterance is not None:
            self._cut(caller, utterance)

    def _cut(self, caller: Caller, utterance: Utterance) -> None:
        """The caller interrupts for everybody (V120)."""
        utterance.note_heard()
        self._measures.barged_in(caller)
        self._hooks.tell(
            HookTrigger.ON_BARGE_IN,
            caller,
            BargeInEvent(caller.line, utterance.heard, utterance.played_ms),
        )
        if self._interruption.flush_partial_tts:
            self._interrupted[caller] = utterance
            self._floor(caller.room_id).cut(utterance, caller)

    def _paused(self, caller: Caller) -> None:
        """It stops for everybody, and perhaps goes on."""
        utterance = self._floor(caller.room_id).heard_by(caller)
        if utterance is not None:
            utterance.pause(caller)

    def _resume(self, caller: Caller) -> None:
        """The interruption was none: the agent goes on where it was."""
        self._no_resume(caller)
        for held in self._floor(caller.room_id).held_by(caller):
            held.resume(caller)

    def _no_resume(self, caller: Caller) -> None:
        timer = self._resuming.pop(caller, None)
        if timer is not None:
            timer.cancel()

    def _playback(self, caller: Caller, event: Interrupted | TrackEnded) -> None:
        floor = self._floor(caller.room_id)
        utterance = floor.heard_by(caller)
        if utterance is None or utterance.tracks[caller].ssrc != event.ssrc:
            return
        if isinstance(event, Interrupted):
            floor.drop(caller, "explicit")  # only this one hears no more of it
        else:
            utterance.check()

    # -- observations -----------------------------------------------------------------------------

    def _observe(self, caller: Caller, event: MediaEvent) -> None:
        line = caller.line
        match event:
            case Dtmf():
                masked = self._redaction.mask(event.digit) if self._redaction is not None else ""
                self._hooks.tell(
                    HookTrigger.ON_DTMF,
                    caller,
                    DTMFDetectedEvent(
                        line,
                        event.digit,
                        event.duration_ms,
                        event.confidence,
                        masked or event.digit,
                    ),
                )
            case Level() if event.outbound:
                self._hooks.tell(
                    HookTrigger.ON_OUTPUT_AUDIO_LEVEL, caller, AudioLevelEvent(line, event.dbfs)
                )
            case Level():
                self._hooks.tell(
                    HookTrigger.ON_INPUT_AUDIO_LEVEL, caller, AudioLevelEvent(line, event.dbfs)
                )
                if event.is_speech is not None:
                    self._hooks.tell(
                        HookTrigger.ON_VAD_AUDIO_LEVEL,
                        caller,
                        VADAudioLevelEvent(line, event.dbfs, event.is_speech),
                    )
            case Silence() if event.lasting:
                self._hooks.tell(
                    HookTrigger.ON_VAD_SILENCE, caller, VADSilenceEvent(line, event.duration_ms)
                )
            case SpeakerChanged() if self._last_speaker.get(caller) != event.speaker_id:
                self._last_speaker[caller] = event.speaker_id
                self._hooks.tell(
                    HookTrigger.ON_SPEAKER_CHANGE,
                    caller,
                    SpeakerChangeEvent(line, event.speaker_id, event.confidence, event.is_new),
                )
            case _:
                pass
