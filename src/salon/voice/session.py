"""One call's media: the object at which the media plane and the event plane meet.

Below it a leg delivers decoded sound to `hear` and gets a frame per tick; above it one reader takes
`events`; commands take effect at the next tick.
"""

from __future__ import annotations

from salon.base import TaskScope
from salon.media.frame import Samples
from salon.transport.ticker import Phase
from salon.voice.engine import VoiceEngine
from salon.voice.events import (
    BargeIn,
    Dtmf,
    Failed,
    Interrupted,
    MediaEvent,
    Synthesized,
    TurnClock,
)
from salon.voice.hearing import Hearing, HearingConfig
from salon.voice.leg import AudioLeg
from salon.voice.mailbox import Mailbox
from salon.voice.playback import Playback, Player
from salon.voice.recorder import StereoRecorder
from salon.voice.speaking import Speech, SpeechTrack
from salon.voice.tts.base import DEFAULT_VOICE, TextToSpeech, VoiceSettings


class MediaSession:
    """The media of one call. `close` ends it and everything it started.

    A new session can already play (through `leg`) and hears without listening for anything;
    `listen` tells it what to listen for. It owns its leg: opens it and closes it.
    """

    def __init__(self, session_id: str, engine: VoiceEngine, *, leg: AudioLeg) -> None:
        self.id = session_id
        self.engine = engine
        self.events: Mailbox[MediaEvent] = Mailbox()
        self.scope = TaskScope(f"call {session_id}")
        self.frames_in = 0
        """Pieces of sound heard, of whatever length."""
        self.frames_out = 0
        self.muted = False
        self.leg = leg
        self.recorder: StereoRecorder | None = None
        self._closed = False
        self._speaking = False
        self._answering: TurnClock | None = None
        self.player = Player(engine.clock, self.events.post)
        self.hearing = self._hear(HearingConfig())
        self._tick = engine.ticker.add(self._on_tick, phase=Phase.OUTBOUND)
        leg.open(self.hear, self._from_leg)

    def _hear(self, config: HearingConfig) -> Hearing:
        return Hearing(
            self.engine, config, scope=self.scope, post=self.events.post, barge_in=self._on_barge_in
        )

    def listen(self, config: HearingConfig) -> None:
        """Replace what is listened for; from the next packet on."""
        if not self._closed:
            self.hearing.close()
            self.hearing = self._hear(config)

    def use(self, leg: AudioLeg) -> None:
        """Replace the leg, which is closed; from the next tick and packet on. After `close` the new
        one is closed at once."""
        if leg is self.leg:
            return
        self.leg.close()
        self.leg = leg
        if self._closed:
            leg.close()
        else:
            leg.open(self.hear, self._from_leg)

    def hear(self, samples: Samples) -> None:
        """Sound from the caller, ``int16[n]`` 16 kHz, any length but 0; may be read-only."""
        if self._closed:
            return
        self.frames_in += 1
        if self.muted:
            samples = samples * 0
        if self.recorder is not None:
            self.recorder.inbound(samples)
        self.hearing.receive(samples)

    def _from_leg(self, event: MediaEvent) -> None:
        """What the leg noticed; of a muted caller no key is told (G87)."""
        if not (self.muted and isinstance(event, Dtmf)):
            self.events.post(event)

    def speech(
        self,
        engine: TextToSpeech,
        *,
        settings: VoiceSettings = DEFAULT_VOICE,
        play_id: str | None = None,
    ) -> Speech:
        """A new utterance of this call, not yet attached to anything."""
        return Speech(
            engine,
            self.scope,
            self.engine.clock,
            settings=settings,
            play_id=play_id,
            notify=self._notify,
        )

    def _notify(self, event: Synthesized | Failed) -> None:
        self.events.post(event)

    def play(self, playback: Playback) -> None:
        """Attach a playback, replacing what plays; heard from the next tick on."""
        if not self._closed:
            self.player.start(playback)

    def interrupt(self, *, graceful: bool = False, fade_ms: int = 0) -> Interrupted | None:
        """Cut what plays; idempotent (G76)."""
        cut = self.player.stop(graceful=graceful, fade_ms=fade_ms)
        self._note_speaking()
        return cut

    def answer_begins(self) -> None:
        """The first word of the answer to the newest turn is there."""
        turn = self.hearing.last_turn
        if turn is not None and turn.first_word is None:
            turn.first_word = self.engine.clock.monotonic()
            self._answering = turn

    def _on_barge_in(self, onset_ms: int) -> None:
        self.events.post(BargeIn(onset_ms))
        self.interrupt()

    def _note_speaking(self) -> None:
        speaking = self.player.audible
        if speaking == self._speaking:
            return
        if speaking:
            self._speaking = True
            self.hearing.agent_started()
        else:
            self._speaking = False
            self.hearing.agent_finished()

    def _on_tick(self, _tick: int) -> None:
        self.hearing.tick()
        player = self.player
        recorder = self.recorder
        if player.current is None and recorder is None and not self._speaking:
            self.leg.idle()
            return
        playback = player.current
        ready = self.leg.ready
        frame = player.next_frame(self.engine.clock.monotonic()) if ready else None
        if recorder is not None:
            recorder.outbound(frame)
        if frame is not None:
            self._emit(frame, playback.shared if playback is not None else None)
            return
        self.leg.idle()
        if not player.audible:
            self._note_speaking()

    def _emit(self, frame: Samples, shared: SpeechTrack | None) -> None:
        if shared is None:
            self.leg.send(frame)
        else:
            self.leg.send_shared(frame, shared.speech.mix, shared.played - 1)
        self.frames_out += 1
        if not self._speaking:
            self._note_speaking()
        answering = self._answering
        if answering is not None:
            self._answering = None
            if self.hearing.last_turn is answering:
                self.hearing.last_turn = None
            self.events.post(answering.measured(self.engine.clock.monotonic()))

    async def close(self) -> None:
        """Stop everything: playback (its end is still told), recognition, tasks. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self.player.stop()
        self._tick.cancel()
        self.leg.close()
        self.hearing.close()
        try:
            await self.scope.close()
            if self.recorder is not None:
                await self.recorder.close()
        finally:
            self.events.close()


__all__ = ["MediaSession", "Playback", "SpeechTrack"]
