"""The sessions of a voice channel: how lines come to rooms and leave them, and what each is asked
and told alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from salon.base import ConfigurationError, LocalProtocolError
from salon.channels.voice_parts import VoiceOptions, VoiceParts, VoiceReports, assemble
from salon.channels.voice_people import Caller
from salon.channels.voice_traces import TracedChannel
from salon.core.kit import RoomKit
from salon.media.frame import SAMPLE_RATE, AudioFrame, Samples
from salon.models import ChannelBinding, HookTrigger, RoomKitError
from salon.voice.backends.base import VoiceBackend
from salon.voice.backends.session import VoiceSession, VoiceSessionState
from salon.voice.events import Dtmf, Final, MediaEvent
from salon.voice.foreign import close_engine
from salon.voice.stt.result import TranscriptionResult

CLOSE_S = 5.0
"""A backend has so long to end a session or itself, and so has a provider."""
DIGITS = frozenset("0123456789*#ABCD")


class VoiceSessions(TracedChannel):
    """A channel that people's lines belong to; `VoiceChannel` makes it one that agents speak in."""

    def __init__(self, channel_id: str, options: VoiceOptions) -> None:
        super().__init__(channel_id)
        reports = VoiceReports(
            joined=self.join,
            left=self.leave,
            media=self.media,
            kept=self._kept,
            unused=self._unused,
            answered=self._answered,
        )
        parts = assemble(channel_id, options, reports)
        self.interruption = parts.shared.interruption
        self._hold(parts)
        self._kit: RoomKit | None = None
        self._heard_taps: list[Callable[[VoiceSession, AudioFrame], None]] = []
        self._played_taps: list[Callable[[VoiceSession, bytes, int], None]] = []

    def _hold(self, parts: VoiceParts) -> None:
        self._options = parts.shared.options
        self._engine = parts.shared.engine
        self._scope = parts.shared.scope
        self._hooks = parts.shared.hooks
        self._rooms = parts.shared.rooms
        self._stt = parts.stt
        self._tts = parts.tts
        self._voices = parts.voices
        self._ears = parts.ears
        self._speakers = parts.speakers
        self._lines = parts.lines
        self._traces = parts.traces
        self._measures = parts.measures
        self._context = parts.context
        self._transcripts = parts.transcripts
        self._guesses = parts.guesses
        self._events = parts.events
        self._delivery = parts.delivery
        self._bridge = parts.bridge

    # -- sessions ---------------------------------------------------------------------------------

    @property
    def backend(self) -> VoiceBackend | None:
        """The first one added."""
        return self._lines.backends[0] if self._lines.backends else None

    def add_backend(self, backend: VoiceBackend) -> None:
        """Take sessions of another backend too."""
        self._lines.add_backend(backend)
        self._traces.wire()

    async def open_session(
        self,
        room_id: str,
        participant_id: str,
        *,
        metadata: dict[str, Any],
        backend: VoiceBackend | None = None,
        connection: Any = None,
    ) -> VoiceSession:
        """A session of `backend` (default: the first one). With `connection` the backend takes
        what came from outside; without, it connects by itself. `ConfigurationError` without a
        backend."""
        backend = backend or self.backend
        if backend is None:
            raise ConfigurationError("the voice channel has no backend: pass backend=")
        self.add_backend(backend)
        session = await backend.connect(room_id, participant_id, self.channel_id, metadata=metadata)
        if connection is not None:
            await backend.accept(session, connection)
        return session

    async def connect_session(
        self, session: VoiceSession, room_id: str, binding: ChannelBinding
    ) -> None:
        """The message that brought a session passed the room's gates (V16)."""
        self.bind_session(session, room_id, binding)

    def bind_session(
        self,
        session: VoiceSession,
        room_id: str,
        binding: ChannelBinding | None = None,
        *,
        backend: VoiceBackend | None = None,
    ) -> None:
        """Let a session of a backend take part in a room."""
        self._ears.start(self._scope)
        self._lines.bind(session, room_id, backend)
        if binding is not None:
            self._bar(room_id, binding)

    def unbind_session(self, session: VoiceSession) -> None:
        """A session leaves its room; idempotent. Its connection stays, and it may be bound again,
        to the same room or to another one."""
        self._lines.unbind_soon(session)

    async def disconnect_session(self, session: VoiceSession, room_id: str) -> None:
        """A session leaves its room and its connection ends; idempotent. A backend that takes more
        than `CLOSE_S` for that, or fails, is logged and left to itself."""
        del room_id
        line = self._lines.get(session.id)
        await self._lines.unbind(session, over=True)
        if line is None and not self._lines.backends:
            return
        backend = line.backend if line is not None else self._lines.backend_of(session)
        name = f"the {backend.name} of voice session {session.id}"
        await close_engine(partial(backend.disconnect, session), name, limit=CLOSE_S)

    # -- who is there -----------------------------------------------------------------------------

    def join(self, caller: Caller) -> None:
        """A line enters its room; answers are spoken to it from now on."""
        caller.line.channel_id = self.channel_id
        self._rooms.floor(caller.room_id).callers.append(caller)
        self._measures.join(caller)
        self._traces.joined(caller.session.id, caller.room_id)
        self._context.join(caller)
        if self._kit is not None:
            self._scope.spawn(self._look_up(self._kit, caller.room_id), name="binding")
        self._tap(caller)
        self._watch_levels(caller)
        if self._bridge is not None:
            self._bridge.join(caller)
        caller.session.cuts = self.interruption.flush_partial_tts
        caller.session.holds = self.interruption.resume_false_interruption_ms is not None
        self._ears.join(caller)

    def _watch_levels(self, caller: Caller) -> None:
        wants = partial(self._hooks.wants, room_id=caller.room_id)
        speech = wants(HookTrigger.ON_VAD_AUDIO_LEVEL)
        caller.session.watch_levels(
            speech or wants(HookTrigger.ON_INPUT_AUDIO_LEVEL),
            wants(HookTrigger.ON_OUTPUT_AUDIO_LEVEL),
        )

    def _hooks_changed(self) -> None:
        """Somebody registered or removed a hook: perhaps one that wants levels or traces."""
        self._traces.look()
        for floor in self._rooms.floors.values():
            for caller in floor.callers:
                self._watch_levels(caller)

    def leave(self, caller: Caller) -> None:
        """A line leaves; idempotent. An answer that nobody listens to any more is over."""
        self._ears.leave(caller)
        if self._bridge is not None:
            self._bridge.leave(caller)
        self._transcripts.forget(caller)
        self._events.forget(caller)
        self._context.leave(caller)
        if self._speakers is not None:
            self._speakers.forget(caller)
        self._measures.leave(caller)
        self._rooms.leave(caller)

    def add_media_tap(self, callback: Callable[[VoiceSession, AudioFrame], None]) -> None:
        """Call `callback(session, frame)` with what is heard on each line that joins from now on,
        as the pipeline leaves it; a plain function that returns at once."""
        self._heard_taps.append(callback)

    def add_outbound_media_tap(self, callback: Callable[[VoiceSession, bytes, int], None]) -> None:
        """Call `callback(session, samples, rate)` with what each line that joins from now on is
        played; signed 16-bit samples."""
        self._played_taps.append(callback)

    def _tap(self, caller: Caller) -> None:
        for heard in self._heard_taps:
            caller.session.taps.append(partial(_show_frame, heard, caller.line))
        for played in self._played_taps:
            caller.session.played_taps.append(partial(_show_bytes, played, caller.line))

    async def _look_up(self, kit: RoomKit, room_id: str) -> None:
        """Somebody joined a room that may be closed, or in which the channel may be muted."""
        with suppress(RoomKitError):
            self._bar(room_id, await kit.get_binding(room_id, self.channel_id))
            if not (await kit.get_room(room_id)).status.accepts_events:
                self._shut(room_id)

    def _bar(self, room_id: str, binding: ChannelBinding) -> None:
        for caller in self._rooms.callers(room_id):
            caller.session.barred = binding.muted or not binding.access.can_write
            caller.session.deaf = binding.output_muted or not binding.access.can_read

    def _shut(self, room_id: str) -> None:
        self._rooms.stop(room_id)
        if self._rooms.end(room_id) and self._bridge is not None:
            self._bridge.suspend(room_id)

    # -- what happens -----------------------------------------------------------------------------

    def media(self, caller: Caller, event: MediaEvent) -> None:
        """A media event of a line, in order."""
        if self._speakers is not None:
            event = self._speakers.name(caller, event)
        if isinstance(event, Dtmf):
            self._context.pressed(caller)
        self._events.take(caller, event)

    def _kept(self, caller: Caller, event: Final, text: str) -> None:
        changed = text != event.text
        self._context.said(caller, text, event.start_ms, event.end_ms, changed=changed)

    def _unused(self, caller: Caller) -> None:
        self._events.unused(caller)

    def _answered(self, room_id: str, text: str) -> None:
        self._transcripts.answered(room_id, text)

    # -- what one session is told and asked -------------------------------------------------------

    def _caller(self, session: VoiceSession) -> Caller:
        line = self._lines.get(session.id)
        if line is None:
            raise LocalProtocolError(f"voice session {session.id} is bound to no room")
        if self._rooms.is_over(line.caller.room_id):
            raise LocalProtocolError(f"room {line.caller.room_id!r} is closed")
        return line.caller

    def send_dtmf(self, session: VoiceSession, digit: str, duration_ms: int = 160) -> None:
        """Press a key towards the far end (V70). `ValueError` for a digit or a duration that there
        is not, `LocalProtocolError` for a session that is not active, `NotImplementedError` where
        the backend sends none (V24)."""
        if digit not in DIGITS:
            raise ValueError(f"digit is {digit!r}; it is one of 0-9, *, #, A-D")
        if not 1 <= duration_ms <= 10_000:
            raise ValueError(f"duration_ms is {duration_ms}; it must lie in 1..10000")
        if session.state is not VoiceSessionState.ACTIVE:
            raise LocalProtocolError(f"voice session {session.id} is {session.state}, not active")
        line = self._lines.get(session.id)
        backend = line.backend if line is not None else self.backend
        if backend is None:
            raise LocalProtocolError(f"voice session {session.id} is bound to no room")
        backend.send_dtmf(session, digit, duration_ms)

    # -- recognition without a detector -----------------------------------------------------------

    async def flush_stt(self, session: VoiceSession, *, route: bool = False) -> TranscriptionResult:
        """Batch mode: the text of what was heard since the last call; with `route` it is said in
        the room too, as ON_TRANSCRIPTION leaves it. `RecognitionModeError` in another mode,
        `LocalProtocolError` for a session bound to no room, `SpeechError` if the provider fails:
        the sound is lost."""
        transcripts = self._transcripts if route else None
        return await self._ears.modes.flush(session.id, self.media, transcripts)

    def clear_stt_buffer(self, session: VoiceSession) -> int:
        """Batch mode: forget what was heard; how many bytes."""
        return self._ears.modes.clear(session.id)

    def stt_buffer_size(self, session: VoiceSession) -> int:
        """Bytes heard since the last flush; 0 outside batch mode."""
        return self._ears.modes.size(session.id)

    def set_stt_language(self, session: VoiceSession, language: str | None) -> None:
        """The language of what a session says, from its next utterance on (V232)."""
        self._ears.set_language(session.id, language)
        line = self._lines.get(session.id)
        if line is not None:
            line.caller.session.hearing.language = language

    def get_stt_language(self, session: VoiceSession) -> str | None:
        """What was set."""
        return self._ears.language(session.id)


def _show_frame(
    tap: Callable[[VoiceSession, AudioFrame], None], session: VoiceSession, samples: Samples
) -> None:
    tap(session, AudioFrame.of(samples))


def _show_bytes(
    tap: Callable[[VoiceSession, bytes, int], None], session: VoiceSession, samples: Samples
) -> None:
    tap(session, samples.tobytes(), SAMPLE_RATE)
