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
    ) -> None:
        self._hooks = hooks
        self._transcripts = transcripts
        self._floor = floor
        self._measures = measures
        self._interruption = interruption
        self._redaction = redaction
        self._caption = caption
        self._guesses = guesses
        self._last_speaker: dict[Caller, str] = {}
        self._resuming: dict[Caller, asyncio.TimerHandle] = {}
        self._patience: dict[Caller, asyncio.TimerHandle] = {}

    def take(self, caller: Caller, event: MediaEvent) -> None:
        """One event of a line."""
        self._measures.take(caller, event)
        match event:
            case TurnStarted():
                self._began(caller)
            case TurnEnded():
                self._ended(caller)
            case TurnDropped():
                self._dropped(caller, event)
            case Partial():
                self._partial(caller, event)
            case Final():
                self._final(caller, event)
            case RecognitionFailed():
                self._guesses.withdraw(caller)
                self._hooks.emit("stt_error", caller, provider=event.engine, error=event.message)
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
        self._be_patient(caller, 0)
        self._floor(caller.room_id).speaks(caller)
        self._transcripts.speech_started(caller)
        self._hooks.tell(HookTrigger.ON_SPEECH_START, caller, caller.line)

    def _ended(self, caller: Caller) -> None:
        self._transcripts.speech_ended(caller)
        self._hooks.tell(HookTrigger.ON_SPEECH_END, caller, caller.line)
        floor = self._floor(caller.room_id)
        self._be_patient(caller, PATIENCE_S)
        wait_ms = self._interruption.resume_false_interruption_ms
        if wait_ms is not None and (paused := floor.current) is not None and paused.paused:
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
            self._wordless(caller)
            return
        floor = self._floor(caller.room_id)
        current, waits = floor.current, event.queued
        if current is not None and not current.unheard and caller in current.held_by:
            self._no_resume(caller)
            self._cut(caller, current)
            waits = True  # for what was said to be stored before what cut it
        self._transcripts.final(caller, event, after=floor.until_silent if waits else None)

    def _show(self, caller: Caller, text: str, *, final: bool) -> None:
        if self._caption is not None:
            self._caption(caller.room_id, caller.participant_id, caller.name, text, final)

    # -- interruption -----------------------------------------------------------------------------

    def _barge_in(self, caller: Caller) -> None:
        utterance = self._floor(caller.room_id).current
        if utterance is not None and caller in utterance.tracks:
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
            self._floor(caller.room_id).stop("barge_in")

    def _paused(self, caller: Caller) -> None:
        """It stops for everybody, and perhaps goes on."""
        utterance = self._floor(caller.room_id).current
        if utterance is not None and caller in utterance.tracks:
            utterance.pause(caller)

    def _resume(self, caller: Caller) -> None:
        """The interruption was none: the agent goes on where it was."""
        self._no_resume(caller)
        utterance = self._floor(caller.room_id).current
        if utterance is not None:
            utterance.resume(caller)

    def _no_resume(self, caller: Caller) -> None:
        timer = self._resuming.pop(caller, None)
        if timer is not None:
            timer.cancel()

    def _playback(self, caller: Caller, event: Interrupted | TrackEnded) -> None:
        utterance = self._floor(caller.room_id).current
        playback = utterance.tracks.get(caller) if utterance is not None else None
        if utterance is None or playback is None or playback.ssrc != event.ssrc:
            return
        if isinstance(event, Interrupted):
            utterance.drop(caller, "explicit")  # only this one hears no more of it
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
