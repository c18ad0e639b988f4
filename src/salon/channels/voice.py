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
from typing import Any

from salon.channels.voice_events import Caption
from salon.channels.voice_measures import MeasuredTurn
from salon.channels.voice_parts import VoiceOptions
from salon.channels.voice_people import Caller
from salon.channels.voice_receivers import SoundReceiver, sound_receivers
from salon.channels.voice_sessions import CLOSE_S, VoiceSessions
from salon.channels.voice_sound import wav_sound
from salon.core.kit import RoomKit
from salon.core.ports.channel import StreamOutcome
from salon.core.telemetry import tracer_of
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
)
from salon.voice.backends.base import VoiceBackend
from salon.voice.backends.session import VoiceSession
from salon.voice.bridge_config import AudioBridgeConfig
from salon.voice.engine import VoiceEngine
from salon.voice.foreign import close_engine
from salon.voice.hook_payloads import CancelReason
from salon.voice.interruption import InterruptionConfig
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.stt.provider import STTProvider
from salon.voice.tts.base import DEFAULT_VOICE, VoiceSettings
from salon.voice.tts.context import TTSContextConfig
from salon.voice.tts.provider import TTSProvider

__all__ = ["Caller", "Caption", "MeasuredTurn", "VoiceChannel"]

_log = logging.getLogger("salon.channels.voice")


class VoiceChannel(VoiceSessions):
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
    `tts_context` bounds what a provider that wants to know the conversation is told of it (V238).
    `pipeline_speakers`: each utterance is a message of the speaker that the pipeline's diarization
    stage heard longest in it (V236). `ConfigurationError` for what can't work together.
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
        tts_context: TTSContextConfig | None = None,
        pipeline_speakers: bool = False,
        engine: VoiceEngine | None = None,
        voice: VoiceSettings = DEFAULT_VOICE,
        speak_text_events: bool = True,
        caption: Caption | None = None,
        speculate_after_ms: int | None = None,
    ) -> None:
        options = VoiceOptions(
            stt=stt,
            tts=tts,
            pipeline=pipeline,
            streaming=streaming,
            enable_barge_in=enable_barge_in,
            barge_in_threshold_ms=barge_in_threshold_ms,
            interruption=interruption,
            batch_mode=batch_mode,
            voice_map=voice_map,
            max_audio_frames_per_second=max_audio_frames_per_second,
            tts_filter=tts_filter,
            max_sentences=max_sentences,
            bridge=bridge,
            close_providers=close_providers,
            tts_context=tts_context,
            pipeline_speakers=pipeline_speakers,
            engine=engine,
            voice=voice,
            speak_text_events=speak_text_events,
            caption=caption,
            speculate_after_ms=speculate_after_ms,
        )
        super().__init__(channel_id, options)
        self._streaming = streaming and (tts is None or tts.supports_streaming_input)
        if backend is not None:
            self.add_backend(backend)

    # -- what the room sees -----------------------------------------------------------------------

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

    @property
    def sound_receivers(self) -> tuple[SoundReceiver, ...]:
        """Which of its parts are given what people say (V208)."""
        options = self._options
        return sound_receivers(
            self._lines.backends, self._stt, self._tts, options.pipeline, options.tts_context
        )

    @property
    def active_turns(self) -> int:
        """Agents' turns that run in this channel: none, it speaks what others answer."""
        return 0

    def supports_streaming_delivery_for(self, room_id: str) -> bool:
        """The same for one room: whether an answer would be spoken while it is produced."""
        return self.supports_streaming_delivery and self.reaches(room_id)

    @property
    def supports_streaming_delivery(self) -> bool:
        """Sentences are spoken while the rest is produced (V98)."""
        if self._options.engine is None and (self._tts is None or self.backend is None):
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
        self._traces.bind(kit)
        self._kit = kit
        self._rooms.bind(kit)
        kit.hooks.changed.append(self._hooks_changed)

    async def on_room_attached(self, room_id: str, binding: ChannelBinding) -> None:
        """A backend with a line of its own (a local microphone) connects it."""
        self._traces.attached(room_id)
        for backend in self._lines.backends:
            if backend.auto_connect:
                participant = str(binding.metadata.get("participant_id", "local"))
                session = await backend.connect(room_id, participant, self.channel_id)
                self._lines.bind(session, room_id, backend)

    async def on_room_detached(self, room_id: str) -> None:
        """Its lines leave the room."""
        self._traces.detached(room_id)
        await self._empty(room_id)

    def on_room_ended(self, room_id: str, how: str) -> None:
        """Nothing more is said, shown or bridged there; lines stay connected, without a room to
        speak in (V20)."""
        self._shut(room_id)
        if how == "deleted":
            self._measures.forget_room(room_id)
            self._traces.detached(room_id)

    def on_room_reopened(self, room_id: str) -> None:
        """Whoever is still there takes part again."""
        self._rooms.reopen(room_id)
        if self._bridge is not None:
            self._bridge.resume(room_id)

    async def update_binding(self, room_id: str, binding: ChannelBinding) -> None:
        """Who may not hear the room any more hears no more of what is being said, and who may not
        speak is not heard by anybody or anything (V205)."""
        self._bar(room_id, binding)
        if binding.output_muted or not binding.access.can_read:
            self.stop_speaking(room_id)

    async def _empty(self, room_id: str) -> None:
        self.stop_speaking(room_id)
        for caller in self._rooms.callers(room_id):
            line = self._lines.get(caller.session.id)
            if line is None:
                self.leave(caller)
            else:
                await self._lines.unbind(line.session)

    async def close(self) -> None:
        """Stop speaking everywhere and end the lines of its backends; idempotent. A provider or a
        backend that fails in closing is logged, and one that takes more than `CLOSE_S` is left."""
        if self._kit is not None and self._hooks_changed in self._kit.hooks.changed:
            self._kit.hooks.changed.remove(self._hooks_changed)
        self._rooms.close()
        await self._lines.close()
        if self._bridge is not None:
            self._bridge.close()
        await self._transcripts.close()
        await self._traces.close()
        await self._hooks.close()
        await self._scope.close()
        if self._options.close_providers:
            for backend in self._lines.backends:
                await close_engine(backend.close, backend.name, limit=CLOSE_S)
            providers = [provider for provider in (self._stt, self._tts) if provider is not None]
            await asyncio.gather(
                *(close_engine(each.close, each.name, limit=CLOSE_S) for each in providers)
            )
        await self._ears.close()

    def measured_turns(self, room_id: str) -> tuple[MeasuredTurn, ...]:
        """How long the newest answers in a room took, oldest first; 100 at most, while the process
        lives and the room is there."""
        return self._measures.turns(room_id)

    def stop_speaking(self, room_id: str, *, reason: CancelReason = "explicit") -> bool:
        """Stop what agents say in a room; False if they say nothing."""
        return self._rooms.stop(room_id, reason)

    async def interrupt(self, session: VoiceSession, *, reason: CancelReason = "explicit") -> bool:
        """Stop what agents say in the room of a session, other than to other people alone; False if
        they say nothing."""
        line = self._lines.get(session.id)
        return line is not None and self._rooms.stop(line.caller.room_id, reason, by=line.caller)

    async def interrupt_all(self, room_id: str, *, reason: CancelReason = "explicit") -> int:
        """Stop what agents say in a room; how many sessions were listening."""
        floor = self._rooms.floors.get(room_id)
        heard = sum(len(said.tracks) for said in floor.speaking) if floor is not None else 0
        return heard if self.stop_speaking(room_id, reason=reason) else 0

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
