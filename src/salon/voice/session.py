"""One call's media: the object at which the media plane and the event plane meet.

Below it a carrier delivers encoded frames to `receive` and gets encoded frames through `send`.
Above it one reader takes `events`; commands take effect at the next tick.
"""

from __future__ import annotations

from collections.abc import Callable

from salon.base import TaskScope
from salon.media.codec import AudioCodec
from salon.media.frame import Samples
from salon.transport.ticker import Phase
from salon.voice.engine import VoiceEngine
from salon.voice.events import BargeIn, Failed, Interrupted, MediaEvent, Synthesized, TurnClock
from salon.voice.hearing import Hearing, HearingConfig
from salon.voice.mailbox import Mailbox
from salon.voice.playback import Playback, Player
from salon.voice.recorder import StereoRecorder
from salon.voice.speaking import Speech, SpeechTrack
from salon.voice.tts.base import DEFAULT_VOICE, TextToSpeech, VoiceSettings


class MediaSession:
    """The media of one call. `close` ends it and everything it started.

    A new session can already play (in `codec`) and hears without listening for anything; `listen`
    tells it what to listen for.
    """

    def __init__(
        self,
        session_id: str,
        engine: VoiceEngine,
        *,
        codec: AudioCodec,
        send: Callable[[bytes], None],
    ) -> None:
        self.id = session_id
        self.engine = engine
        self.events: Mailbox[MediaEvent] = Mailbox()
        self.scope = TaskScope(f"call {session_id}")
        self.frames_in = 0
        self.frames_out = 0
        self.muted = False
        self.codec = codec
        self.recorder: StereoRecorder | None = None
        self._send = send
        self._closed = False
        self._speaking = False
        self._answering: TurnClock | None = None
        self.player = Player(engine.clock, self.events.post)
        self.hearing = self._hear(HearingConfig())
        self._tick = engine.ticker.add(self._on_tick, phase=Phase.OUTBOUND)

    def _hear(self, config: HearingConfig) -> Hearing:
        return Hearing(
            self.engine, config, scope=self.scope, post=self.events.post, barge_in=self._on_barge_in
        )

    def listen(self, config: HearingConfig) -> None:
        """Replace what is listened for; from the next packet on."""
        if not self._closed:
            self.hearing.close()
            self.hearing = self._hear(config)

    def receive(self, payload: bytes) -> None:
        """One packet from the caller, in the call's codec; any size (G40)."""
        if self._closed:
            return
        samples = self.codec.decode(payload)
        if not len(samples):
            return
        self.frames_in += 1
        if self.muted:
            samples = samples * 0
        if self.recorder is not None:
            self.recorder.inbound(samples)
        self.hearing.receive(samples)

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
            return
        frame = player.next_frame(self.engine.clock.monotonic())
        if recorder is not None:
            recorder.outbound(frame)
        if frame is not None:
            self._emit(frame)
        elif not player.audible:
            self._note_speaking()

    def _emit(self, frame: Samples) -> None:
        self._send(self.codec.encode(frame))
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
        self.hearing.close()
        try:
            await self.scope.close()
            if self.recorder is not None:
                await self.recorder.close()
        finally:
            self.events.close()
            self._send = lambda _packet: None  # frees whoever carried the call


__all__ = ["MediaSession", "Playback", "SpeechTrack"]
