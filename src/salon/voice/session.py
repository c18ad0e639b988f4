"""One call's media: the object at which the media plane and the event plane meet.

Below it a leg delivers decoded sound to `hear` and gets a frame per tick; above it one reader takes
`events`; commands take effect at the next tick.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from salon.base import RAISED, TaskScope
from salon.media.frame import AudioFrame, Samples
from salon.media.mixer import both
from salon.transport.ticker import Phase
from salon.voice.engine import VoiceEngine
from salon.voice.events import (
    BargeIn,
    Dtmf,
    Failed,
    Interrupted,
    MediaEvent,
    Paused,
    SpeakerChanged,
    Synthesized,
    TurnClock,
)
from salon.voice.hearing import Hearing, HearingConfig
from salon.voice.leg import AudioLeg
from salon.voice.levels import Levels
from salon.voice.mailbox import Mailbox
from salon.voice.pipe import Pipe, Piped
from salon.voice.playback import Playback, Player, Track
from salon.voice.recorder import StereoRecorder
from salon.voice.speaking import Speech, SpeechTrack
from salon.voice.tts.base import DEFAULT_VOICE, TextToSpeech, VoiceSettings

_log = logging.getLogger("salon.voice")


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
        self.pipe: Pipe | None = None
        """What the sound passes on its way in and out, if anything."""
        self.mix: Callable[[], Samples | None] | None = None
        """What other people say in this tick, ``int16[320]``; called once per tick. Rooms set
        it."""
        self.sources: list[Callable[[], Samples | None]] = []
        """Further sound of this tick, ``int16[320]`` each, heard beside all else."""
        self.background: Callable[[Samples | None], Samples | None] | None = None
        """The last word on what goes out in a tick: gets it, or None if nothing does."""
        self.clean: Callable[[Samples], Samples] | None = None
        """What the caller's sound passes first; may give less or more than it got. The recorder
        takes what comes out (G130)."""
        self.taps: list[Callable[[Samples], None]] = []
        """Each takes the caller's sound as the pipeline leaves it."""
        self.played_taps: list[Callable[[Samples], None]] = []
        """Each takes what the caller hears, ``int16[320]``."""
        self.tap_failures = 0
        self.barred = False
        """The caller may not speak here: what they say is not heard by anybody or anything."""
        self.deaf = False
        """The caller may not hear here: what other people say is kept from them."""
        self.cuts = True
        """Speech over the agent cuts it. False: it is told, and the agent plays out (V120)."""
        self.holds = False
        """Speech over the agent pauses it (`Paused`) in place of cutting it: it may go on."""
        self._levels: Levels | None = None
        self._closed = False
        self._speaking = False
        self._sending = False
        self._early: Samples | None = None
        self._answering: TurnClock | None = None
        self.player = Player(engine.clock, self.events.post)
        self.hearing = self._hear(HearingConfig())
        self._tick = engine.ticker.add(self._on_tick, phase=Phase.OUTBOUND)
        leg.open(self.hear, self._from_leg)

    def _hear(self, config: HearingConfig) -> Hearing:
        return Hearing(
            self.engine, config, scope=self.scope, post=self.events.post, barge_in=self.barge_in
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
        if self.barred:
            if self.recorder is not None:
                self.recorder.inbound(samples * 0)
            return
        if self.muted:
            samples = samples * 0
        if self.clean is not None:
            samples = self.clean(samples)
            if not len(samples):
                return
        if self.recorder is not None:
            self.recorder.inbound(samples)
        if self.pipe is None:
            self._take(samples)
            return
        for piece in self.pipe.inbound(samples):
            self._piped(piece)

    def hear_frame(self, frame: AudioFrame) -> None:
        """One frame of the caller, of any format the pipeline takes."""
        if self._closed:
            return
        self.frames_in += 1
        if self.barred:
            return
        if self.muted:
            frame = replace(frame, data=bytes(len(frame.data)))
        if self.pipe is None:
            self.pipe = Pipe(None, None)
        self._piped(self.pipe.inbound_frame(frame))

    def _piped(self, piece: Piped) -> None:
        """What came out of the pipeline, with what its detectors say."""
        if (key := piece.dtmf) is not None and not self.muted:
            self.events.post(Dtmf(key.digit, key.duration_ms, key.confidence))
        if (who := piece.speaker) is not None and who.speaker_id is not None:
            self.events.post(SpeakerChanged(who.speaker_id, who.confidence, who.is_new_speaker))
        self._take(piece.samples)
        if piece.vad is not None:
            self.hearing.vad_event(piece.vad)

    def _take(self, samples: Samples) -> None:
        if not len(samples):
            return
        if self._levels is not None:
            self._levels.inbound(samples)
        if self.taps:
            self._show(self.taps, samples)
        self.hearing.receive(samples)

    def _show(self, taps: list[Callable[[Samples], None]], samples: Samples) -> None:
        """One that fails disturbs neither the others nor the call (V204)."""
        for tap in taps:
            try:
                tap(samples)
            except RAISED:  # the edge to other people's code
                self.tap_failures += 1
                if self.tap_failures & (self.tap_failures - 1) == 0:  # the 1st, 2nd, 4th, 8th ...
                    _log.exception("a media tap failed (%d times)", self.tap_failures)

    def watch_levels(self, inbound: bool, outbound: bool) -> None:
        """Whether `Level` is posted, at most ten times a second and direction (V128)."""
        self._levels = None
        if inbound or outbound:
            self._levels = Levels(
                self.events.post, inbound, outbound, lambda: self.hearing.is_speech
            )

    def _from_leg(self, event: MediaEvent) -> None:
        """What the leg noticed; of a muted caller no key is told (G87)."""
        if not (self.muted and isinstance(event, Dtmf)):
            self.events.post(event)

    def speech(
        self,
        engine: TextToSpeech | None,
        *,
        settings: VoiceSettings = DEFAULT_VOICE,
        play_id: str | None = None,
    ) -> Speech:
        """A new utterance of this call, not yet attached to anything. Without an engine each piece
        brings its own, or is ready sound."""
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
        """Attach a playback, replacing what plays; heard at once if nothing is being sent, else
        from the next tick on."""
        if self._closed:
            return
        self.player.start(playback)
        track = playback.track
        if isinstance(track, SpeechTrack):
            track.on_sound = self._start
            if not track.begin(self.engine.clock.monotonic()):
                return
        self._start(track)

    def _start(self, track: Track) -> None:
        """`track` has its first sound: unless something is being sent, there is no reason to wait
        for the tick. The frames after it come with the ticks, so the far end is one frame ahead."""
        playback = self.player.current
        if (
            playback is None
            or playback.track is not track
            or playback.paused
            or self._closed
            or self.background is not None
            or self._sending
            or not self.leg.ready
            or not self.leg.quiet
        ):
            return
        frame = self.player.next_frame(self.engine.clock.monotonic())
        if frame is not None:
            self._sending = True
            self._agent_heard()
            if self.recorder is not None:
                self._early = frame
            self._emit(frame, playback.shared)

    def interrupt(self, *, graceful: bool = False, fade_ms: int = 0) -> Interrupted | None:
        """Cut what plays; idempotent (G76)."""
        cut = self.player.stop(graceful=graceful, fade_ms=fade_ms)
        if self.player.current is None:
            self.leg.flush()
        self._note_speaking()
        return cut

    def pause(self) -> None:
        """Hold what plays where it is; nothing plays: no effect. `NotPausableError` if it can't
        be held."""
        self.player.pause()
        self._note_speaking()

    def resume(self) -> None:
        """Go on with it."""
        self.player.resume()

    def answer_begins(self) -> None:
        """The first word of the answer to the newest turn is there."""
        turn = self.hearing.last_turn
        if turn is not None and turn.first_word is None:
            turn.first_word = self.engine.clock.monotonic()
            self._answering = turn

    def barge_in(self, onset_ms: int) -> None:
        """Speech since `onset_ms` means to interrupt: cut what plays, hold it, or only tell."""
        if not self.cuts:
            self.events.post(BargeIn(onset_ms))
            return
        if self.holds and self.player.pausable and self.player.pause():
            self.events.post(Paused(onset_ms))
            self.leg.flush()
            self._note_speaking()
            return
        self.events.post(BargeIn(onset_ms))
        self.interrupt()

    def answer_sounds(self) -> None:
        """The first sound of that answer came from the voice."""
        answering = self._answering
        if answering is not None and answering.first_sound is None:
            answering.first_sound = self.engine.clock.monotonic()

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
        others = self.mix() if self.mix is not None and not self.deaf else None
        if self.sources:
            others = self._with_sources(others)
        if (
            player.current is None
            and recorder is None
            and not self._speaking
            and others is None
            and self.background is None
        ):
            self._sending = False
            self.leg.idle()
            return
        playback = player.current
        ready = self.leg.ready
        frame = player.next_frame(self.engine.clock.monotonic()) if ready else None
        if frame is not None:
            self._agent_heard()
        out, shared = frame, playback.shared if playback is not None else None
        if others is not None and ready:
            out, shared = others if frame is None else both(frame, others), None
        if self.background is not None and ready:
            out, shared = self.background(out), None
        self._sending = out is not None
        if recorder is not None:
            self._record(recorder, out)
        if out is not None:
            self._emit(out, shared)
        else:
            self.leg.idle()
        if frame is None and not player.audible:
            self._note_speaking()
            if playback is not None and player.current is None:
                self.leg.boundary()

    def _with_sources(self, others: Samples | None) -> Samples | None:
        for source in tuple(self.sources):
            more = source()
            if more is not None:
                others = more if others is None else both(others, more)
        return others

    def _record(self, recorder: StereoRecorder, out: Samples | None) -> None:
        """A frame per tick: after one that was sent before its tick, the one before."""
        if self._early is not None:
            out, self._early = self._early, out
        recorder.outbound(out)

    def _emit(self, frame: Samples, shared: SpeechTrack | None) -> None:
        if self.pipe is not None:
            frame = self.pipe.outbound(frame)
        if self._levels is not None:
            self._levels.outbound(frame)
        if self.played_taps:
            self._show(self.played_taps, frame)
        if shared is None or self.pipe is not None:
            self.leg.send(frame)
        else:
            self.leg.send_shared(frame, shared.speech.mix, shared.played - 1)
        self.frames_out += 1

    def _agent_heard(self) -> None:
        """The agent's sound is on its way in this tick."""
        if not self._speaking:
            self._note_speaking()
        answering = self._answering
        if answering is not None:
            self._answering = None
            if self.hearing.last_turn is answering:
                self.hearing.last_turn = None
            self.events.post(answering.measured(self.engine.clock.monotonic()))

    async def close(self, *, last_words_s: float = 0.0) -> None:
        """Stop everything: playback (its end is still told), recognition, tasks. The words of turns
        that have ended are waited for `last_words_s` seconds at most. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self.player.stop()
        self._tick.cancel()
        self.leg.close()
        self.hearing.close()
        try:
            if last_words_s:
                await self.hearing.last_words(last_words_s)
        finally:
            await self._release()

    async def _release(self) -> None:
        try:
            await self.scope.close()
            if self.recorder is not None:
                await self.recorder.close()
        finally:
            self.events.close()


__all__ = ["MediaSession", "Playback", "SpeechTrack"]
