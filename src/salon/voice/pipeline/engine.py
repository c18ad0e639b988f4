"""The audio pipeline: every stage in its place, many streams, nothing per frame that could have
been decided before (parts 6 to 10 of the voice rules)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from salon.base import RAISED
from salon.media.frame import AudioFormat, AudioFrame
from salon.voice.backends.base import VoiceCapability
from salon.voice.backends.session import VoiceSessionState
from salon.voice.foreign import is_ours
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.debug_taps import DebugTaps
from salon.voice.pipeline.failures import Failures
from salon.voice.pipeline.inbound import InboundStream, Surroundings, format_of
from salon.voice.pipeline.listeners import Announcer, Listeners
from salon.voice.pipeline.metrics import Gauges, StageTimer
from salon.voice.pipeline.outbound import OutboundStream, outbound_key
from salon.voice.pipeline.recording import Recording
from salon.voice.pipeline.reference import Reference
from salon.voice.pipeline.result import InboundResult
from salon.voice.pipeline.stages import arrange, warn_of_mismatch

if TYPE_CHECKING:
    from salon.voice.backends.session import VoiceSession
    from salon.voice.pipeline.recorder.base import RecordingResult

__all__ = ["AudioPipeline", "InboundResult"]

_log = logging.getLogger("salon.voice.pipeline")
_ENDED_KEPT: Final = 4096
"""How many ended sessions are remembered, so that a late frame of one revives nothing."""


class AudioPipeline(Announcer):
    """One channel's stages, for as many streams as it has (V36, V40).

    Sound of a session goes through `process_inbound`, which tells the registered callbacks, or,
    where there is no session, through `process_inbound_stream`, which gives the result back; what a
    session is played goes through `process_outbound`. All are plain calls that do the work at once.
    One stream's inbound frames come from one thread at a time; `process_outbound` and
    `feed_aec_reference` may be called from any thread.

    A stage that raises, or that gives nonsense, changes nothing: the frame goes on, `failures`
    counts (V204).

    `transport_format` is what comes in, where that is known beforehand; `stage_timer` is told how
    long each stage took on every 50th frame of a stream, as is ``config.telemetry`` (V210).
    Building raises `ConfigurationError` when a stage can't take the format it would get (V38).
    """

    def __init__(
        self,
        config: AudioPipelineConfig,
        *,
        backend_capabilities: VoiceCapability = VoiceCapability.NONE,
        backend_feeds_aec_reference: bool = False,
        transport_format: AudioFormat | None = None,
        stage_timer: StageTimer | None = None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self.config = config
        self._stages = arrange(config, backend_capabilities, transport_format)
        self._failures = Failures()
        gauges = Gauges(config.telemetry, self._failures, clock)
        taps = DebugTaps(config.debug_taps) if config.debug_taps is not None else None
        timer = gauges.stage_timer(stage_timer)
        self._listeners = Listeners()
        self._around = Surroundings(self._failures, self._listeners, taps, gauges, timer)
        aec = self._stages.aec
        self._reference = Reference(aec, self._stages.internal) if aec is not None else None
        self._feeds_reference = not backend_feeds_aec_reference
        self._lock = threading.RLock()
        self._inbound: dict[str, InboundStream] = {}
        self._lanes: dict[str, InboundStream] = {}
        self._outbound: dict[str, OutboundStream] = {}
        self._recordings: dict[str, Recording] = {}
        self._targets: dict[str, AudioFormat] = {}
        self._ended: dict[str, None] = {}
        self._formats_seen: set[AudioFormat] = set()
        self._closed = False

    # -- what it is -------------------------------------------------------------------------------

    @property
    def failures(self) -> dict[str, int]:
        """How often each stage and kind of callback has raised."""
        return dict(self._failures.counts)

    @property
    def stream_count(self) -> int:
        """How many streams it keeps something for."""
        return len(self._inbound) + len(self._lanes)

    @property
    def runs_aec(self) -> bool:
        """Whether it cancels echo itself: there is a canceller, and the backend is none (V22)."""
        return self._reference is not None

    @property
    def debug_frames_dropped(self) -> int:
        """Frames missing in debug files because the disk was too slow."""
        return self._around.taps.dropped if self._around.taps is not None else 0

    def inbound_sample_rate(self, transport_rate: int) -> int:
        """Hz of what callbacks and results get when `transport_rate` comes in."""
        internal = self._stages.internal
        return transport_rate if internal is None else internal.sample_rate

    # -- frames -----------------------------------------------------------------------------------

    def process_inbound(self, session: VoiceSession, frame: AudioFrame) -> None:
        """Take a session's frame through the stages and tell who listens (V48). A frame of a
        session that is ending or has ended is dropped."""
        stream = self._inbound.get(session.id)
        if stream is None:
            stream = self._admit(session)
            if stream is None:
                return
        for step in stream.steps:
            frame = step(frame)

    def process_frame(self, session: VoiceSession, frame: AudioFrame) -> None:
        """The same as `process_inbound`."""
        self.process_inbound(session, frame)

    def process_inbound_stream(self, stream: str, frame: AudioFrame) -> InboundResult:
        """Take a frame of a stream without session through the same stages; callbacks are not
        called. Who is done with a stream calls `release_stream`. A closed pipeline gives the frame
        back as it is."""
        lane = self._lanes.get(stream)
        if lane is None:
            if self._closed:
                return InboundResult(frame)
            lane = self._open_lane(stream)
        lane.vad_event = lane.dtmf = lane.speaker = None
        for step in lane.steps:
            frame = step(frame)
        return InboundResult(frame, lane.vad_event, lane.dtmf, lane.speaker)

    def process_outbound(self, session: VoiceSession, frame: AudioFrame) -> AudioFrame:
        """What the transport is to play (V57). A frame of a session that has ended comes back as
        it is."""
        out = self._outbound.get(session.id)
        if out is None:
            self._admit(session)
            out = self._outbound.get(session.id)
            if out is None:
                return frame
        with out.lock:
            for step in out.steps:
                frame = step(frame)
        return frame

    # -- sessions and streams ---------------------------------------------------------------------

    def on_session_active(self, session: VoiceSession, *, hold_recording: bool = False) -> None:
        """A session begins: every stage forgets its key, then the recorder starts (V19, V46).

        With `hold_recording` nothing is captured before `release_recording` (V85). A recorder that
        refuses its configuration raises `ConfigurationError`.
        """
        with self._lock:
            if self._closed:
                return
            if self._ended.pop(session.id, session) is None and session.id in self._outbound:
                self.release_stream(session.id)  # what its predecessor has not let go of yet
            self._open(session)
            self._record(session, held=hold_recording)

    def release_recording(self, session: VoiceSession) -> None:
        """Let the recorder capture what comes from now on; does nothing without a held one."""
        self._hold(session, held=False)

    def hold_recording(self, session: VoiceSession) -> None:
        """Capture nothing until `release_recording`."""
        self._hold(session, held=True)

    def outbound_cut(self, session: VoiceSession) -> None:
        """Playback was interrupted: what the recorder has and nobody hears is dropped."""
        recording = self._recordings.get(session.id)
        if recording is not None:
            cut = partial(recording.recorder.outbound_cut, recording.handle)
            self._failures.guard("recorder", session.id, cut)

    def on_session_ending(self, session: VoiceSession) -> None:
        """The end begins: frames that still come in are dropped; recording and state stay until
        `on_session_ended`."""
        with self._lock:
            self._inbound.pop(session.id, None)
            self._note_ended(session.id)

    def on_session_ended(self, session: VoiceSession) -> None:
        """Stop the recorder, tell of it, let every stage forget the key (V19, V46).

        Waits for the recorder; inside an event loop `end_session` is kinder.
        """
        out = self._outbound.get(session.id)
        recording = self._leave(session)
        if recording is not None:
            result = self._failures.guard("recorder", session.id, recording.stop)
            self._recorded(session, result)
        self._release(session.id, out)

    def end_session(self, session: VoiceSession) -> Coroutine[Any, Any, None]:
        """`on_session_ended` without holding up the event loop while the recording is completed,
        which is what the result is to be awaited for. A session may begin anew under the same id
        meanwhile. Cancelled, it still lets the stages forget."""
        out = self._outbound.get(session.id)
        return self._complete(session, self._leave(session), out)

    async def _complete(
        self, session: VoiceSession, recording: Recording | None, out: OutboundStream | None
    ) -> None:
        try:
            if recording is not None:
                self._recorded(session, await recording.finish())
        except RAISED as error:
            if is_ours(error):
                raise
            self._failures.note("recorder", session.id, error)
        finally:
            self._release(session.id, out)

    def _release(self, key: str, out: OutboundStream | None) -> None:
        """Free what a session had, unless one has begun anew under its id meanwhile."""
        if self._outbound.get(key) is out:
            self.release_stream(key)

    def release_stream(self, stream: str) -> None:
        """Free all that is kept for a stream, here and in every stage (V46). A later frame would
        begin it anew."""
        with self._lock:
            self._lanes.pop(stream, None)
            self._inbound.pop(stream, None)
            out = self._outbound.pop(stream, None)
        if out is not None:
            # Not within the other lock: whoever holds this one may be calling us from a callback.
            with out.lock:
                out.steps = ()
        with self._lock:
            self._forget(stream)
            self._around.gauges.forget(stream)
        taps = self._around.taps
        if taps is not None:
            written = taps.end(stream)
            self._around.gauges.record("pipeline.debug_tap_bytes_written", written, "By", stream)

    def reset(self) -> None:
        """Every stage forgets what it has heard, of every stream; streams and recordings go on."""
        with self._lock:
            streams = [*self._inbound.values(), *self._lanes.values()]
            for stream in streams:
                stream.clear()
            for key in {stream.key for stream in streams} | set(self._outbound):
                self._forget(key)

    def close(self) -> None:
        """Stop all recordings and close every stage and detector, once; idempotent (V47)."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            sessions = [out.session for out in self._outbound.values()]
            lanes = list(self._lanes)
        for session in sessions:
            self.on_session_ended(session)
        for lane in lanes:
            self.release_stream(lane)
        config, stages = self.config, self._stages
        slots: list[tuple[str, Any]] = [
            ("resampler", stages.resampler),
            ("dtmf", config.dtmf),
            ("aec", config.aec),
            ("aec_reference", self._reference),
            ("agc", config.agc),
            ("denoiser", config.denoiser),
            ("vad", config.vad),
            ("diarization", config.diarization),
            *[("postprocessor", stage) for stage in config.postprocessors],
            ("recorder", config.recorder),
            ("turn_detector", config.turn_detector),
            ("backchannel_detector", config.backchannel_detector),
            ("debug_taps", self._around.taps),
        ]
        for slot, stage in {id(stage): (slot, stage) for slot, stage in slots}.values():
            if stage is not None:
                self._failures.guard(slot, "", stage.close)

    def set_outbound_format(self, stream: str, form: AudioFormat | None) -> None:
        """Give one session's transport another format than the contract's (V61); None ends that.
        Holds until the stream is released."""
        with self._lock:
            if form is None:
                self._targets.pop(stream, None)
            else:
                self._targets[stream] = form
            out = self._outbound.get(stream)
            if out is not None:
                self._build_outbound(out)

    # -- echo -------------------------------------------------------------------------------------

    def enable_playback_aec_feed(self) -> None:
        """The transport feeds the reference as it plays; the pipeline no longer does (V60)."""
        with self._lock:
            self._feeds_reference = False
            self._rebuild()

    def feed_aec_reference(self, frame: AudioFrame, stream: str) -> None:
        """What is being played to `stream` right now, from whoever plays it. The first call makes
        the pipeline leave the feeding to the caller (V59)."""
        reference = self._reference
        if reference is None:
            return
        if self._feeds_reference:
            self.enable_playback_aec_feed()
        self._failures.guard("aec", stream, partial(reference.feed, frame, stream))

    def set_aec_active(self, stream: str, active: bool, *, source: str = "playback") -> None:
        """`source` begins or ceases to play into `stream`: without any the canceller rests, and
        keeps what it has learnt."""
        reference = self._reference
        if reference is not None:
            self._failures.guard(
                "aec", stream, lambda: reference.set_active(stream, active, source)
            )

    # -- diagnosis --------------------------------------------------------------------------------

    def debug_tap(self, session_id: str, stage: str, frame: AudioFrame) -> None:
        """Add a frame of the transport's own to a debug file, where that is captured."""
        taps = self._around.taps
        if taps is not None:
            taps.write(session_id, stage, frame)

    def set_parent_span(self, session_id: str, span_id: str) -> None:
        """Name the span that the session's measurements belong to."""
        self._around.gauges.set_parent(session_id, span_id)

    # -- inner works ------------------------------------------------------------------------------

    def _listen(self, listeners: list[Any], callback: Any) -> None:
        with self._lock:
            listeners.append(callback)
            self._rebuild()

    def _admit(self, session: VoiceSession) -> InboundStream | None:
        """A session of which no start was told; None for one that is over."""
        with self._lock:
            over = session.state is VoiceSessionState.ENDED or session.id in self._ended
            if over or self._closed:
                return None
            return self._inbound.get(session.id) or self._open(session)

    def _open(self, session: VoiceSession) -> InboundStream:
        key = session.id
        self._lanes.pop(key, None)
        self._forget(key)
        stream = self._inbound[key] = InboundStream(key, session)
        stream.steps = (self._first_frame(stream),)
        out = self._outbound[key] = OutboundStream(session)
        stream.recording = out.recording = self._recordings.get(key)
        self._build_outbound(out)
        return stream

    def _open_lane(self, key: str) -> InboundStream:
        with self._lock:
            self._forget(key)
            lane = self._lanes[key] = InboundStream(key, None)
            lane.steps = (self._first_frame(lane),)
            return lane

    def _first_frame(self, stream: InboundStream) -> Callable[[AudioFrame], AudioFrame]:
        """Builds the stream's steps once its format is known, and goes through them."""

        def step(frame: AudioFrame) -> AudioFrame:
            with self._lock:
                if self._stages.internal is None:
                    form = format_of(frame)
                    if form not in self._formats_seen:
                        self._formats_seen.add(form)
                        warn_of_mismatch(self._stages, form)
                    if self._reference is not None:
                        self._reference.captured(stream.key, form)
                stream.build(self._stages, self._around)
            for built in stream.steps:
                frame = built(frame)
            return frame

        return step

    def _build_outbound(self, out: OutboundStream) -> None:
        out.target = self._targets.get(out.key)
        reference = self._reference if self._feeds_reference else None
        out.build(self._stages, self._around, reference)

    def _rebuild(self) -> None:
        for stream in (*self._inbound.values(), *self._lanes.values()):
            if stream.built:
                stream.build(self._stages, self._around)
        for out in self._outbound.values():
            self._build_outbound(out)

    def _forget(self, key: str) -> None:
        """Reset every stage for one stream."""
        for slot, stage in self._stages.keyed():
            self._failures.guard(slot, key, partial(stage.reset, key))
        resampler = self._stages.resampler
        if resampler is not None:
            self._failures.guard("resampler", key, partial(resampler.reset, outbound_key(key)))
        if self._reference is not None:
            self._reference.forget(key)

    def _record(self, session: VoiceSession, *, held: bool) -> None:
        recorder, config = self.config.recorder, self.config.recording_config
        if recorder is None or config is None or session.id in self._recordings:
            return
        recording = Recording.start(recorder, session, config, self._failures)
        if recording is None:
            return
        if held:
            self._failures.guard("recorder", session.id, recording.hold)
        self._recordings[session.id] = recording
        listeners = self._listeners.recording_started
        self._failures.tell("on_recording_started", listeners, session, recording.handle)
        self._attach(session.id, recording)

    def _attach(self, key: str, recording: Recording | None) -> None:
        """Put the recorder's taps into the session's steps, or take them out."""
        stream, out = self._inbound.get(key), self._outbound.get(key)
        if stream is not None:
            stream.recording = recording
            if stream.built:
                stream.build(self._stages, self._around)
        if out is not None:
            out.recording = recording
            self._build_outbound(out)

    def _hold(self, session: VoiceSession, *, held: bool) -> None:
        with self._lock:
            recording = self._recordings.get(session.id)
            if recording is None or recording.held == held:
                return
            self._failures.guard(
                "recorder", session.id, recording.hold if held else recording.release
            )
            self._attach(session.id, recording)

    def _leave(self, session: VoiceSession) -> Recording | None:
        """No frame of the session is processed or captured from here on."""
        with self._lock:
            self._inbound.pop(session.id, None)
            self._note_ended(session.id)
            self._targets.pop(session.id, None)
            self._attach(session.id, None)
            return self._recordings.pop(session.id, None)

    def _recorded(self, session: VoiceSession, result: RecordingResult | None) -> None:
        if result is None:
            return
        duration = result.duration_seconds
        self._around.gauges.record("pipeline.recording_duration_s", duration, "s", session.id)
        listeners = self._listeners.recording_stopped
        self._failures.tell("on_recording_stopped", listeners, session, result)

    def _note_ended(self, key: str) -> None:
        self._ended.pop(key, None)
        self._ended[key] = None
        if len(self._ended) > _ENDED_KEPT:
            del self._ended[next(iter(self._ended))]
