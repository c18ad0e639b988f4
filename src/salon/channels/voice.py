"""People who take part in rooms by voice, and the agents' voices towards them.

One channel serves all rooms. Each line is a `MediaSession`; its transcripts become messages of its
participant, and an answer is spoken to everybody in the room, synthesized once. Whoever talks over
the agent (or types) stops it for all, and what is stored of the answer is what had been heard by
then, to the word.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from salon.base import ConfigurationError, LocalProtocolError, TaskScope
from salon.channels.voice_bridge import VoiceBridge
from salon.channels.voice_delivery import VoiceDelivery
from salon.channels.voice_ears import Ears, engine_for
from salon.channels.voice_events import Caption, LineEvents
from salon.channels.voice_guesses import Guesses
from salon.channels.voice_hooks import VoiceHooks
from salon.channels.voice_lines import VoiceLines
from salon.channels.voice_measures import MeasuredTurn, VoiceMeasures
from salon.channels.voice_people import Caller
from salon.channels.voice_rooms import VoiceRooms
from salon.channels.voice_sound import wav_sound
from salon.channels.voice_speaking import AgentVoice
from salon.channels.voice_transcripts import Transcripts
from salon.core.kit import RoomKit
from salon.core.ports.channel import Channel, StreamOutcome
from salon.core.telemetry import tracer_of
from salon.media.frame import SAMPLE_RATE, AudioFrame, Samples
from salon.models import (
    NO_OUTPUT,
    ChannelBinding,
    ChannelCapabilities,
    ChannelMediaType,
    ChannelOutput,
    ChannelType,
    HookTrigger,
    RoomContext,
    RoomEvent,
    RoomKitError,
)
from salon.voice.backends.base import VoiceBackend
from salon.voice.backends.session import VoiceSession, VoiceSessionState
from salon.voice.bridge_config import AudioBridgeConfig
from salon.voice.engine import VoiceEngine
from salon.voice.events import MediaEvent
from salon.voice.hook_payloads import CancelReason
from salon.voice.interruption import InterruptionConfig, interruption_of
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.stt.adapt import recognizer_of
from salon.voice.stt.provider import STTProvider
from salon.voice.stt.result import TranscriptionResult
from salon.voice.tts.adapt import voice_of
from salon.voice.tts.base import DEFAULT_VOICE, VoiceSettings
from salon.voice.tts.provider import TTSProvider

__all__ = ["Caller", "Caption", "MeasuredTurn", "VoiceChannel"]

_log = logging.getLogger("salon.channels.voice")

DIGITS = frozenset("0123456789*#ABCD")


class VoiceChannel(Channel):
    """The channel ``voice``. It holds no reference to an agent: it speaks what the room gives it
    (V5).

    Lines come either through a `backend` (`bind_session`, `connect_session`), with `stt`, `tts` and
    `pipeline` of this channel, or made elsewhere, as a `Caller` (`join`). `engine` is what calls of
    a process share; by default the channel makes one of its own.

    `voice_map` gives agents (by channel id) voices of their own. `interruption` says how people cut
    agents off (default: `CONFIRMED`); `enable_barge_in` and `barge_in_threshold_ms` are the older
    way to say it (V247). `batch_mode`: there is no detector, whoever holds the session calls
    `flush_stt`. `bridge` lets people hear each other (V143). `tts_filter` changes what is spoken,
    not what is stored. `speak_text_events` False: only agents are spoken. `caption` is told interim
    words. After a pause of `speculate_after_ms` agents may begin an answer, unheard; None: never.
    `ConfigurationError` for what can't work together.
    """

    channel_type = ChannelType.VOICE
    playout_timeout = 1800.0  # a long answer is heard for as long as it takes
    sender_is_participant = True

    def __init__(
        self,
        channel_id: str = "voice",
        *,
        stt: STTProvider | None = None,
        tts: TTSProvider | None = None,
        backend: VoiceBackend | None = None,
        pipeline: AudioPipelineConfig | None = None,
        streaming: bool = True,
        enable_barge_in: bool = True,
        barge_in_threshold_ms: int | None = None,
        interruption: InterruptionConfig | None = None,
        batch_mode: bool = False,
        voice_map: Mapping[str, str] | None = None,
        max_audio_frames_per_second: int | None = None,
        tts_filter: Callable[[str], str] | None = None,
        max_sentences: int | None = None,
        bridge: bool | AudioBridgeConfig | None = None,
        close_providers: bool = True,
        engine: VoiceEngine | None = None,
        voice: VoiceSettings = DEFAULT_VOICE,
        speak_text_events: bool = True,
        caption: Caption | None = None,
        speculate_after_ms: int | None = None,
    ) -> None:
        super().__init__(channel_id)
        if interruption is None and pipeline is not None:
            interruption = pipeline.interruption
        self.interruption = interruption_of(
            interruption,
            enable_barge_in=enable_barge_in,
            barge_in_threshold_ms=barge_in_threshold_ms,
        )
        self._own_engine = engine is None
        self._engine = engine or engine_for(pipeline)
        self._stt = None if stt is None else recognizer_of(stt)
        self._tts = None if tts is None else voice_of(tts)
        self._close_providers = close_providers
        self._streaming = streaming and (tts is None or tts.supports_streaming_input)
        self._voices: dict[str, str] = dict(voice_map or {})
        self._kit: RoomKit | None = None
        self._heard_taps: list[Callable[[VoiceSession, AudioFrame], None]] = []
        self._played_taps: list[Callable[[VoiceSession, bytes, int], None]] = []
        self._scope = TaskScope(f"channel {channel_id}")
        self._hooks = VoiceHooks(channel_id)
        self._rooms = VoiceRooms(
            channel_id,
            self.interruption,
            answered=lambda room_id, text: self._transcripts.answered(room_id, text),
        )
        self._ears = Ears(
            self._engine,
            self._stt,
            pipeline,
            self.interruption,
            own_engine=self._own_engine,
            batch=batch_mode,
            speculate_after_ms=speculate_after_ms,
        )
        self._lines = VoiceLines(
            self._engine,
            self._hooks,
            self._scope,
            config=self._ears.pipeline,
            listening=self._ears.listening,
            joined=self.join,
            left=self.leave,
            media=self.media,
            max_frames_per_second=max_audio_frames_per_second,
        )
        self._transcripts = Transcripts(
            self._hooks,
            self._scope,
            self._engine.clock,
            route=self._rooms.route,
            unused=self._unused,
            detector=pipeline.turn_detector if pipeline is not None else None,
            incomplete_wait_ms=pipeline.turn_incomplete_wait_ms if pipeline is not None else 0.0,
        )
        self._guesses = Guesses(channel_id, self._scope)
        self._measures = VoiceMeasures(channel_id, self._engine, self._stt, self._tts)
        self._events = LineEvents(
            self._hooks,
            self._transcripts,
            self._rooms.floor,
            self._measures,
            interruption=self.interruption,
            redaction=pipeline.dtmf_redaction if pipeline is not None else None,
            caption=caption,
            guesses=self._guesses,
        )
        agents = AgentVoice(
            self._engine,
            self._hooks,
            self._scope,
            self._rooms.floor,
            synthesizer=self._tts,
            settings=voice,
            voices=self._voices,
            text_filter=tts_filter,
            max_sentences=max_sentences,
            interruption=self.interruption,
        )
        self._delivery = VoiceDelivery(
            channel_id,
            agents,
            self._hooks,
            self._scope,
            self._rooms.floors,
            keep_partial=self.interruption.keep_partial_transcript,
            speak_text_events=speak_text_events,
        )
        config = AudioBridgeConfig() if bridge is True else bridge or None
        self._bridge = (
            VoiceBridge(config, self._engine.ticker, self._hooks, self._scope)
            if config is not None and config.enabled
            else None
        )
        if backend is not None:
            self.add_backend(backend)

    # -- what the room sees -----------------------------------------------------------------------

    @property
    def backend(self) -> VoiceBackend | None:
        """The first one added."""
        return self._lines.backends[0] if self._lines.backends else None

    @property
    def provider_name(self) -> str | None:
        """The name that events carry as their provider (V18)."""
        backend = self.backend
        return "WebSocketVoiceBackend" if backend is None else backend.name

    def capabilities(self) -> ChannelCapabilities:
        """Sound only; text becomes sound."""
        return ChannelCapabilities(
            media_types=[ChannelMediaType.AUDIO, ChannelMediaType.TEXT], supports_audio=True
        )

    @property
    def info(self) -> dict[str, Any]:
        """What it is made of."""
        return {
            "stt": None if self._stt is None else self._stt.name,
            "tts": None if self._tts is None else self._tts.name,
            "backend": None if self.backend is None else self.backend.name,
            "streaming": self._streaming,
            "pipeline": self._ears.pipeline is not None,
            "batch_mode": self._ears.batch,
        }

    def supports_streaming_delivery_for(self, room_id: str) -> bool:
        """The same for one room: whether an answer would be spoken while it is produced."""
        return self.supports_streaming_delivery and self.reaches(room_id)

    @property
    def supports_streaming_delivery(self) -> bool:
        """Sentences are spoken while the rest is produced (V98)."""
        if self._own_engine and (self._tts is None or self.backend is None):
            return False
        return self._streaming

    def accepts_stream(self, binding: ChannelBinding) -> bool:
        """Somebody is there to listen, and no hook wants to see the whole text first: nothing can
        be blocked in mid-stream (V101)."""
        room_id = binding.room_id
        return (
            self.supports_streaming_delivery
            and self.reaches(room_id)
            and not self._hooks.wants(HookTrigger.BEFORE_TTS, room_id)
        )

    def reaches(self, room_id: str) -> bool:
        return bool(self._rooms.callers(room_id))

    def bind(self, kit: RoomKit) -> None:
        """Work for this framework; called once at start."""
        self._hooks.bind(kit)
        self._measures.bind(tracer_of(kit))
        self._delivery.bind(kit)
        self._guesses.bind(kit)
        self._kit = kit
        self._rooms.bind(kit)
        kit.hooks.changed.append(self._hooks_changed)

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
        self._lines.add_backend(backend)
        session = await backend.connect(room_id, participant_id, self.channel_id, metadata=metadata)
        if connection is not None:
            await backend.accept(session, connection)
        return session

    async def connect_session(
        self, session: VoiceSession, room_id: str, binding: ChannelBinding
    ) -> None:
        """The message that brought a session passed the room's gates (V16)."""
        self.bind_session(session, room_id, binding)

    async def on_room_attached(self, room_id: str, binding: ChannelBinding) -> None:
        """A backend with a line of its own (a local microphone) connects it."""
        for backend in self._lines.backends:
            if backend.auto_connect:
                participant = str(binding.metadata.get("participant_id", "local"))
                session = await backend.connect(room_id, participant, self.channel_id)
                self._lines.bind(session, room_id, backend)

    async def on_room_detached(self, room_id: str) -> None:
        """Its lines leave the room."""
        await self._empty(room_id)

    def on_room_ended(self, room_id: str, how: str) -> None:
        """Nothing more is said there; lines stay connected, without a room to speak in (V20)."""
        self.stop_speaking(room_id)
        if how == "deleted":
            self._measures.forget_room(room_id)

    async def update_binding(self, room_id: str, binding: ChannelBinding) -> None:
        """Who may not hear the room any more hears no more of what is being said, and who may not
        speak is not heard by anybody or anything (V205)."""
        self._bar(room_id, binding)
        if binding.output_muted or not binding.access.can_read:
            self.stop_speaking(room_id)

    async def _look_up(self, kit: RoomKit, room_id: str) -> None:
        """Somebody joined a room in which the channel may be muted."""
        with suppress(RoomKitError):
            self._bar(room_id, await kit.get_binding(room_id, self.channel_id))

    def _bar(self, room_id: str, binding: ChannelBinding) -> None:
        for caller in self._rooms.callers(room_id):
            caller.session.barred = binding.muted or not binding.access.can_write
            caller.session.deaf = binding.output_muted or not binding.access.can_read

    async def _empty(self, room_id: str) -> None:
        self.stop_speaking(room_id)
        for caller in self._rooms.callers(room_id):
            line = self._lines.get(caller.session.id)
            if line is None:
                self.leave(caller)
            else:
                await self._lines.unbind(line.session)

    async def close(self) -> None:
        """Stop speaking everywhere and end the lines of its backends; idempotent."""
        if self._kit is not None and self._hooks_changed in self._kit.hooks.changed:
            self._kit.hooks.changed.remove(self._hooks_changed)
        self._rooms.close()
        await self._lines.close()
        if self._bridge is not None:
            self._bridge.close()
        await self._transcripts.close()
        await self._hooks.close()
        await self._scope.close()
        if self._close_providers:
            for provider in (self._stt, self._tts):
                if provider is not None:
                    await provider.close()
            for backend in self._lines.backends:
                await backend.close()
        await self._ears.close()

    # -- sessions ---------------------------------------------------------------------------------

    def add_backend(self, backend: VoiceBackend) -> None:
        """Take sessions of another backend too."""
        self._lines.add_backend(backend)

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
        """A session leaves its room; idempotent. Its connection stays."""
        self._lines.unbind_soon(session)

    async def disconnect_session(self, session: VoiceSession, room_id: str) -> None:
        """A session leaves its room and its connection ends; idempotent."""
        del room_id
        line = self._lines.get(session.id)
        await self._lines.unbind(session)
        backend = line.backend if line is not None else self.backend
        if backend is not None:
            await backend.disconnect(session)

    def join(self, caller: Caller) -> None:
        """A line enters its room; answers are spoken to it from now on."""
        caller.line.channel_id = self.channel_id
        self._rooms.floor(caller.room_id).callers.append(caller)
        self._measures.join(caller)
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
        """Somebody registered or removed a hook: perhaps one that wants levels."""
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

    # -- what happens -----------------------------------------------------------------------------

    def media(self, caller: Caller, event: MediaEvent) -> None:
        """A media event of a line, in order."""
        self._events.take(caller, event)

    def measured_turns(self, room_id: str) -> tuple[MeasuredTurn, ...]:
        """How long the newest answers in a room took, oldest first; 100 at most, while the process
        lives and the room is there."""
        return self._measures.turns(room_id)

    def stop_speaking(self, room_id: str, *, reason: CancelReason = "explicit") -> bool:
        """Stop what agents say in a room; False if they say nothing."""
        return self._rooms.stop(room_id, reason)

    async def interrupt(self, session: VoiceSession, *, reason: CancelReason = "explicit") -> bool:
        """Stop what agents say in the room of a session; False if they say nothing."""
        line = self._lines.get(session.id)
        return line is not None and self.stop_speaking(line.caller.room_id, reason=reason)

    async def interrupt_all(self, room_id: str, *, reason: CancelReason = "explicit") -> int:
        """Stop what agents say in a room; how many sessions were listening."""
        floor = self._rooms.floors.get(room_id)
        heard = len(floor.current.tracks) if floor is not None and floor.current else 0
        return heard if self.stop_speaking(room_id, reason=reason) else 0

    def _unused(self, caller: Caller) -> None:
        self._events.unused(caller)

    # -- the agents' voices -----------------------------------------------------------------------

    def update_voice_map(self, entries: Mapping[str, str]) -> None:
        """Voices of agents, by channel id; from the next thing said on."""
        self._voices.update(entries)

    async def deliver(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        """Speak a whole text, as BEFORE_TTS leaves it, or play a sound (V103). That an agent failed
        is told, not spoken. `ProviderDeliveryError` for content that can't be heard."""
        del context
        await self._delivery.deliver(event, binding.room_id)
        return NO_OUTPUT

    async def deliver_stream(
        self,
        text_stream: AsyncIterator[str],
        event: RoomEvent,
        binding: ChannelBinding,
        context: RoomContext,
    ) -> StreamOutcome:
        """Speak while the text is produced; returns when it was heard or cut (V100, V240)."""
        del context
        if binding.room_id in self._rooms.floors:
            self._rooms.floors[binding.room_id].stores(event.id)
        return await self._delivery.speak(event, binding.room_id, text_stream)

    async def finish_stream(
        self,
        announced: RoomEvent,
        stored: RoomEvent | None,
        binding: ChannelBinding,
        error: str | None,
    ) -> None:
        """What was said is in the room's history, or never will be (V125)."""
        del stored, error
        if binding.room_id in self._rooms.floors:
            self._rooms.floors[binding.room_id].stored(announced.id)

    async def say(self, session: VoiceSession, text: str, *, voice: str | None = None) -> None:
        """Say something to one session alone, as BEFORE_TTS leaves it; returns when it was heard or
        cut. Nothing is stored."""
        await self._delivery.say(self._caller(session), text, voice)

    async def play(
        self, session: VoiceSession, audio: str | bytes, *, text: str | None = None
    ) -> None:
        """Play a WAV file (its path, or its bytes) to one session alone; returns when it was heard
        or cut."""
        samples = await asyncio.to_thread(wav_sound, audio)
        await self._delivery.play(self._caller(session), samples, text or "")

    def _caller(self, session: VoiceSession) -> Caller:
        line = self._lines.get(session.id)
        if line is None:
            raise LocalProtocolError(f"voice session {session.id} is bound to no room")
        return line.caller

    async def wait_playback_done(self, room_id: str, timeout: float = 15.0) -> None:
        """Wait until no agent speaks in a room, for `timeout` seconds at most; then it is
        logged."""
        floor = self._rooms.floors.get(room_id)
        if floor is None:
            return
        try:
            async with asyncio.timeout(timeout):
                await floor.until_silent()
        except TimeoutError:
            _log.warning("an agent still speaks in room %s after %g s", room_id, timeout)

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
