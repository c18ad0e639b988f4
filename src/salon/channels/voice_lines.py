"""Voice sessions that come through backends: bound to a room, heard through the pipeline, ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from salon.base import ConfigurationError, TaskScope
from salon.channels.voice_hooks import VoiceHooks
from salon.channels.voice_people import Caller
from salon.channels.voice_speakers import PipelineSpeakers
from salon.media.frame import AudioFrame
from salon.models import HookTrigger
from salon.models.session_event import SessionStartedEvent
from salon.voice.backend_leg import BackendLeg
from salon.voice.backends.base import VoiceBackend
from salon.voice.backends.errors import VoiceSessionEndedError
from salon.voice.backends.session import VoiceSession, VoiceSessionState
from salon.voice.engine import VoiceEngine
from salon.voice.events import Dtmf, Final, MediaEvent, RecognitionFailed
from salon.voice.foreign import CLOSE_S, close_engine
from salon.voice.hearing import HearingConfig
from salon.voice.hook_payloads import RecordingStartedEvent, RecordingStoppedEvent
from salon.voice.pipe import Pipe
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.diarization.base import DiarizationResult
from salon.voice.pipeline.dtmf.base import DTMFEvent
from salon.voice.pipeline.engine import AudioPipeline
from salon.voice.pipeline.recorder.base import RecordingHandle, RecordingResult
from salon.voice.pipeline.vad.base import VADEvent
from salon.voice.session import MediaSession

_log = logging.getLogger("salon.channels.voice")


END_S = 10.0
"""A recording has to be ended within this."""
LAST_WORDS_S = 5.0
"""The words of a turn that had ended before its line did are waited for this long."""


@dataclass(slots=True, eq=False)
class Line:
    """One bound session."""

    session: VoiceSession
    backend: VoiceBackend
    caller: Caller
    leg: BackendLeg
    pipe: Pipe
    pipeline: AudioPipeline | None
    started: bool = False
    live: asyncio.Event = field(default_factory=asyncio.Event)
    ending: bool = False
    left: bool = False
    completing: Coroutine[Any, Any, None] | None = None
    """What remains to be done in the pipeline when it has left."""
    frames: int = 0
    second: int = 0
    dropped: int = 0
    """Frames beyond the allowed number per second."""
    began: float = 0.0
    recording_id: str | None = None


class VoiceLines:
    """The sessions of one channel. `joined` and `left` tell of callers, `media` of what happens,
    `claimed` of speech over the agent that a transport noticed by itself."""

    def __init__(
        self,
        engine: VoiceEngine,
        hooks: VoiceHooks,
        scope: TaskScope,
        *,
        config: AudioPipelineConfig | None,
        listening: Callable[[VoiceSession], HearingConfig],
        joined: Callable[[Caller], None],
        left: Callable[[Caller], None],
        media: Callable[[Caller, MediaEvent], None],
        claimed: Callable[[Caller], None],
        max_frames_per_second: int | None = None,
        speakers: PipelineSpeakers | None = None,
    ) -> None:
        self._engine = engine
        self._hooks = hooks
        self._scope = scope
        self._config = config
        self._listening = listening
        self._joined = joined
        self._left = left
        self._media = media
        self._claimed = claimed
        self._max_frames = max_frames_per_second
        self._speakers = speakers
        self._lines: dict[str, Line] = {}
        self._ending: set[Line] = set()
        """Lines that have left their room, while what they were part of is completed."""
        self._recording: dict[str, Line] = {}
        """Whose recording it is, by its id."""
        self._ready: set[str] = set()
        """Sessions whose sound can pass but that are not bound."""
        self._pipelines: dict[int, AudioPipeline] = {}
        self.backends: list[VoiceBackend] = []
        self.unbound_frames = 0
        """Frames of sessions that belong to no room."""
        self.refused_frames = 0
        """What backends gave in place of frames."""

    # -- backends ---------------------------------------------------------------------------------

    def add_backend(self, backend: VoiceBackend) -> None:
        """Hear what comes through another backend. `ConfigurationError` for what the pipeline can't
        do with it (V214)."""
        if any(known is backend for known in self.backends):
            return
        if self._config is not None:
            self._pipelines[id(backend)] = self._pipeline(backend, self._config)
        self.backends.append(backend)
        backend.on_audio_received(self._on_audio)
        backend.on_session_ready(self._on_ready)
        backend.on_client_disconnected(self._on_gone)
        backend.on_barge_in(self._on_barge_in)
        keys = getattr(backend, "on_dtmf_received", None)
        if keys is not None:
            keys(self._on_key)

    def _pipeline(self, backend: VoiceBackend, config: AudioPipelineConfig) -> AudioPipeline:
        pipeline = AudioPipeline(
            config,
            backend_capabilities=backend.capabilities,
            backend_feeds_aec_reference=backend.feeds_aec_reference,
        )
        pipeline.on_processed_frame(self._processed)
        pipeline.on_vad_event(self._noticed_speech)
        pipeline.on_dtmf(self._noticed_key)
        pipeline.on_speaker_change(self._noticed_speaker)
        if self._speakers is not None:
            pipeline.on_diarization(self._heard_speaker)
        pipeline.on_recording_started(self._recording_started)
        pipeline.on_recording_stopped(self._recording_stopped)
        return pipeline

    async def close(self) -> None:
        """End every session and close the pipelines; the backends stay open."""
        lines = [*self._lines.values(), *self._ending]
        await asyncio.gather(*(self._end(line, over=True) for line in lines))
        for pipeline in self._pipelines.values():
            pipeline.close()
        self._pipelines.clear()

    # -- sessions ---------------------------------------------------------------------------------

    def get(self, session_id: str) -> Line | None:
        """A bound session."""
        return self._lines.get(session_id)

    def room_of(self, session_id: str | None) -> str | None:
        """Where a session is bound."""
        line = None if session_id is None else self._lines.get(session_id)
        return None if line is None else line.caller.room_id

    def bind(
        self, session: VoiceSession, room_id: str, backend: VoiceBackend | None = None
    ) -> Caller:
        """Let a session take part in a room. `ConfigurationError` without a backend or for a
        session that is bound elsewhere, `VoiceSessionEndedError` for one that has ended (V13)."""
        if session.state is VoiceSessionState.ENDED:
            raise VoiceSessionEndedError(
                f"voice session {session.id} has ended; whoever comes back gets a new session"
            )
        if session.id in self._lines:
            line = self._lines[session.id]
            if line.caller.room_id != room_id:
                raise ConfigurationError(
                    f"voice session {session.id} is bound to room {line.caller.room_id!r} already"
                )
            return line.caller
        if backend is not None:
            self.add_backend(backend)
        elif not self.backends:
            raise ConfigurationError("the voice channel has no backend: pass backend=")
        backend = backend or self.backend_of(session)
        before = session.room_id, session.state
        session.room_id = room_id
        pipeline = self._pipelines.get(id(backend))
        cut = None if pipeline is None else partial(pipeline.outbound_cut, session)
        leg = BackendLeg(backend, session, flushed=cut)
        media = MediaSession(session.id, self._engine, leg=leg)
        pipe = media.pipe = Pipe(pipeline, session)
        name = session.metadata.get("name") or session.metadata.get("display_name")
        caller = Caller(
            media,
            room_id,
            session.participant_id,
            None if name is None else str(name),
            voice=session,
        )
        line = Line(
            session, backend, caller, leg, pipe, pipeline, began=self._engine.clock.monotonic()
        )
        self._lines[session.id] = line
        if session.state is VoiceSessionState.CONNECTING:
            session.state = VoiceSessionState.ACTIVE
        try:
            if pipeline is not None:
                pipeline.on_session_active(session, hold_recording=True)
            media.listen(self._listening(session))
            self._joined(caller)
        except BaseException:
            self._unmake(line)
            session.room_id, session.state = before
            raise
        self._scope.spawn(self._pump(line), name="line")
        self._hooks.emit("voice_session_started", caller)
        if session.id in self._ready:
            self._ready.discard(session.id)
            self._start(line)
        return caller

    def _unmake(self, line: Line) -> None:
        """A session could not be bound: nothing is left of it here."""
        line.left = line.ending = True
        del self._lines[line.session.id]
        if line.recording_id is not None:
            self._recording.pop(line.recording_id, None)
        self._left(line.caller)
        if line.pipeline is not None:
            self._scope.spawn(line.pipeline.end_session(line.session), name="pipeline")
        self._scope.spawn(line.caller.session.close(), name="media")

    def backend_of(self, session: VoiceSession) -> VoiceBackend:
        """Whose session it is, as far as can be told; there must be a backend."""
        for backend in self.backends:
            if backend.get_session(session.id) is not None:
                return backend
        return self.backends[0]

    async def unbind(self, session: VoiceSession, *, over: bool = False) -> None:
        """A session leaves its room; idempotent. Its connection stays, unless it is `over`."""
        line = self._lines.get(session.id)
        if line is not None:
            await self._end(line, over=over)
        if over:
            self._ready.discard(session.id)

    def unbind_soon(self, session: VoiceSession) -> None:
        """The same, without waiting for the end of it."""
        line = self._lines.get(session.id)
        if line is not None:
            self._leave(line)
            self._scope.spawn(self._end(line), name="unbind")

    def _leave(self, line: Line) -> None:
        """Take no more part in the room; the session may be bound anew from now on."""
        if line.left:
            return
        line.left = True
        line.live.set()
        self._ending.add(line)
        if self._lines.get(line.session.id) is line:
            del self._lines[line.session.id]
            if line.started:
                self._ready.add(line.session.id)
        if line.pipeline is not None:
            line.completing = line.pipeline.end_session(line.session)
        line.caller.session.interrupt()
        self._left(line.caller)

    async def _end(self, line: Line, *, over: bool = False) -> None:
        """Complete what a line was part of. With `over` its session has ended, else it lives on
        without a room."""
        self._leave(line)
        if over:
            line.session.state = VoiceSessionState.ENDED
            self._ready.discard(line.session.id)
        if line.ending:
            return
        line.ending = True
        try:
            if line.completing is not None:
                async with asyncio.timeout(END_S):
                    await line.completing
        except TimeoutError:
            _log.error("a recorder did not end within %g s", END_S)
        finally:
            self._ending.discard(line)
        if line.recording_id is not None:
            self._recording.pop(line.recording_id, None)
        name = f"the media of voice session {line.session.id}"
        close = partial(line.caller.session.close, last_words_s=LAST_WORDS_S)
        await close_engine(close, name, limit=LAST_WORDS_S + CLOSE_S)
        elapsed = self._engine.clock.monotonic() - line.began
        self._hooks.emit("voice_session_ended", line.caller, duration_ms=round(elapsed * 1000))

    async def _pump(self, line: Line) -> None:
        events = line.caller.session.events
        async for event in events:
            if line.left and not isinstance(event, (Final, RecognitionFailed)):
                continue  # of who has left only the last words count, and that there are none
            try:
                self._media(line.caller, event)
            except Exception:  # noqa: BLE001 - one event; the line goes on
                _log.exception("an event of voice session %s failed", line.session.id)
        if events.overflowed:
            _log.error("voice session %s is ended: its events came too fast", line.session.id)
            self._leave(line)
            self._scope.spawn(self._end(line, over=True), name="overflow")

    # -- what backends tell -----------------------------------------------------------------------

    def _on_audio(self, session: VoiceSession, frame: AudioFrame | bytes) -> None:
        line = self._lines.get(session.id)
        if line is None:
            self.unbound_frames += 1
            if not _is_sound(frame):
                self._refuse(session, frame)
            return
        if self._max_frames is not None and not self._allowed(line, self._max_frames):
            line.dropped += 1
            return
        if isinstance(frame, bytes) and len(frame) % 2 == 0:
            rate = int(session.metadata.get("input_sample_rate", 16_000))
            frame = AudioFrame(frame, rate)
        if not isinstance(frame, AudioFrame):
            self._refuse(session, frame)
            return
        line.leg.counted()
        line.caller.session.hear_frame(frame)

    def _refuse(self, session: VoiceSession, what: object) -> None:
        """It is no sound; the 1st, 2nd, 4th, 8th... is logged."""
        self.refused_frames += 1
        if self.refused_frames & (self.refused_frames - 1) == 0:
            kind = f"{len(what)} bytes" if isinstance(what, bytes) else type(what).__name__
            _log.error(
                "the backend of voice session %s gave %s, not an AudioFrame (%d so far)",
                session.id,
                kind,
                self.refused_frames,
            )

    def _allowed(self, line: Line, most: int) -> bool:
        second = int(self._engine.clock.monotonic())
        if second != line.second:
            line.second, line.frames = second, 0
        line.frames += 1
        return line.frames <= most

    # what the pipeline says about the frame that is in it

    def _processed(self, session: VoiceSession, frame: AudioFrame) -> None:
        if (line := self._lines.get(session.id)) is not None:
            line.pipe.processed(frame)

    def _noticed_speech(self, session: VoiceSession, event: VADEvent) -> None:
        if (line := self._lines.get(session.id)) is not None:
            line.pipe.noticed(vad=event)

    def _noticed_key(self, session: VoiceSession, event: DTMFEvent) -> None:
        if (line := self._lines.get(session.id)) is not None:
            line.pipe.noticed(dtmf=event)

    def _noticed_speaker(self, session: VoiceSession, result: DiarizationResult) -> None:
        if (line := self._lines.get(session.id)) is not None:
            line.pipe.noticed(speaker=result)

    def _heard_speaker(self, session: VoiceSession, result: DiarizationResult) -> None:
        line = self._lines.get(session.id)
        if self._speakers is not None and line is not None:
            self._speakers.heard(line.caller, result)

    def _on_ready(self, session: VoiceSession) -> None:
        line = self._lines.get(session.id)
        if line is None:
            self._ready.add(session.id)
        else:
            self._start(line)

    def _start(self, line: Line) -> None:
        """Bound and live: both signals are there (V15)."""
        if line.started or line.left:
            return
        line.started = True
        line.live.set()
        self._hooks.emit("voice_session_ready", line.caller)
        self._hooks.tell(
            HookTrigger.ON_SESSION_STARTED,
            line.caller,
            SessionStartedEvent(
                room_id=line.caller.room_id,
                channel_id=line.session.channel_id,
                channel_type="voice",
                participant_id=line.session.participant_id,
                session=line.session,
            ),
        )

    def _on_gone(self, session: VoiceSession) -> None:
        self._ready.discard(session.id)
        line = self._lines.get(session.id)
        if line is not None:
            self._scope.spawn(self._end(line, over=True), name="gone")

    def _on_barge_in(self, session: VoiceSession) -> None:
        line = self._lines.get(session.id)
        if line is not None:
            self._claimed(line.caller)

    def _on_key(self, session: VoiceSession, event: Any) -> None:
        line = self._lines.get(session.id)
        if line is not None and not line.caller.session.muted:
            duration = getattr(event, "duration_ms", 0.0) or 0.0
            line.caller.session.events.post(
                Dtmf(event.digit, duration, getattr(event, "confidence", None))
            )

    # -- recording --------------------------------------------------------------------------------

    def _recording_started(self, session: VoiceSession, handle: RecordingHandle) -> None:
        line = self._lines.get(session.id)
        if line is not None:
            line.recording_id = handle.id
            self._recording[handle.id] = line
            self._scope.spawn(self._consent(line, handle), name="recording")

    async def _consent(self, line: Line, handle: RecordingHandle) -> None:
        """Recording begins after the session has (V19), and the hook is heard out before anything
        is captured (V85)."""
        await line.live.wait()
        if line.left:
            return
        await self._hooks.told(line.caller)
        event = RecordingStartedEvent(line.session, handle.id, line.caller.room_id)
        await self._hooks.show(HookTrigger.ON_RECORDING_STARTED, line.caller, event)
        self._hooks.emit("recording_started", line.caller, recording_id=handle.id)
        if line.pipeline is not None and not line.left:
            line.pipeline.release_recording(line.session)

    def _recording_stopped(self, session: VoiceSession, result: RecordingResult) -> None:
        line = self._recording.pop(result.id, None)
        if line is None:  # a recorder that gives its result another id than it gave the handle
            line = next((old for old in self._ending if old.session is session), None)
        if line is None:
            return
        caller = line.caller
        event = RecordingStoppedEvent(
            session,
            result.id,
            tuple(result.urls),
            result.duration_seconds,
            room_id=caller.room_id,
        )
        self._hooks.tell(HookTrigger.ON_RECORDING_STOPPED, caller, event)
        self._hooks.emit(
            "recording_stopped",
            caller,
            recording_id=result.id,
            duration_s=result.duration_seconds,
        )


def _is_sound(frame: object) -> bool:
    """Whether a backend may give this: a frame, or bytes that hold whole samples."""
    return isinstance(frame, AudioFrame) or (isinstance(frame, bytes) and len(frame) % 2 == 0)
