"""People who take part in a room by voice, and the agent's voice towards them.

One channel serves all rooms. Each call joins with its `MediaSession`; its transcripts become
messages of its participant, and a streamed answer is spoken to everybody in the room, synthesized
once. Whoever talks over the agent (or types) stops it for all, and what is stored of the answer is
what had been heard by then, to the word.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from salon.base import SalonError, TaskScope
from salon.core.kit import RoomKit
from salon.core.ports.channel import Channel, StreamOutcome
from salon.models import (
    NO_OUTPUT,
    ChannelBinding,
    ChannelCapabilities,
    ChannelMediaType,
    ChannelOutput,
    ChannelType,
    EventStatus,
    EventType,
    HookTrigger,
    InboundMessage,
    RoomContext,
    RoomEvent,
    SystemContent,
    TextContent,
)
from salon.voice.engine import VoiceEngine
from salon.voice.events import (
    BargeIn,
    Failed,
    Final,
    Interrupted,
    MediaEvent,
    Partial,
    Synthesized,
    TrackEnded,
)
from salon.voice.playback import Playback
from salon.voice.sentences import SentenceSplitter
from salon.voice.session import MediaSession
from salon.voice.speaking import Speech, SpeechTrack
from salon.voice.tts import remove_emoji
from salon.voice.tts.base import DEFAULT_VOICE, VoiceSettings

_log = logging.getLogger("salon.channels.voice")

Caption = Callable[[str, str, str | None, str, bool], None]
"""``(room_id, participant_id, name, text, final)``: interim words, shown by other channels."""


@dataclass(slots=True, eq=False)
class Caller:
    """One voice in a room."""

    session: MediaSession
    room_id: str
    participant_id: str
    name: str | None = None
    interrupts: bool = True
    """What this voice says stops the agent (V115)."""


@dataclass(slots=True, eq=False)
class _Utterance:
    """What the agent is saying in a room."""

    speech: Speech
    tracks: dict[Caller, Playback] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    cut: bool = False
    heard: str = ""
    played_ms: int = 0

    def note_heard(self) -> None:
        """Keep the longest part anyone has heard."""
        for playback in self.tracks.values():
            track = playback.speech
            if track is not None and track.played_ms >= self.played_ms:
                self.played_ms, self.heard = track.played_ms, track.heard()

    def drop(self, caller: Caller) -> None:
        """One listener is gone; without listeners it is over."""
        self.note_heard()
        if self.tracks.pop(caller, None) is None:
            return
        if not self.tracks:
            self.stop()
        else:
            self.check()

    def check(self) -> None:
        """It is over when nobody's playback runs any more."""
        if all(who.session.player.current is not track for who, track in self.tracks.items()):
            self.note_heard()
            self.over.set()

    def stop(self) -> None:
        """Nobody hears more of it."""
        if not self.over.is_set():
            self.note_heard()
            self.cut = True
            self.over.set()


class VoiceChannel(Channel):
    """The channel ``voice``. It holds no reference to an agent: it speaks what the room gives it
    (V5).

    `caption` is told interim words. Answers of agents are spoken; what people type is not, unless
    `speak_text_events`.
    """

    channel_type = ChannelType.VOICE
    playout_timeout = 1800.0  # a long answer is heard for as long as it takes
    sender_is_participant = True

    def __init__(
        self,
        channel_id: str = "voice",
        *,
        engine: VoiceEngine,
        voice: VoiceSettings = DEFAULT_VOICE,
        speak_text_events: bool = False,
        caption: Caption | None = None,
    ) -> None:
        super().__init__(channel_id)
        self._engine = engine
        self._voice = voice
        self._speak_text_events = speak_text_events
        self._caption = caption
        self._kit: RoomKit | None = None
        self._scope = TaskScope(f"channel {channel_id}")
        self._rooms: dict[str, list[Caller]] = {}
        self._utterances: dict[str, _Utterance] = {}
        self._forget: Callable[[], None] | None = None

    # -- what the room sees -----------------------------------------------------------------------

    @property
    def provider_name(self) -> str | None:
        """The name that events carry as their provider (V18)."""
        return "WebSocketVoiceBackend"

    def capabilities(self) -> ChannelCapabilities:
        """Sound only; text becomes sound."""
        return ChannelCapabilities(
            media_types=[ChannelMediaType.AUDIO, ChannelMediaType.TEXT], supports_audio=True
        )

    @property
    def supports_streaming_delivery(self) -> bool:
        """Sentences are spoken while the rest is produced (V98)."""
        return True

    def accepts_stream(self, binding: ChannelBinding) -> bool:
        """Somebody is there to listen."""
        return self.reaches(binding.room_id)

    def reaches(self, room_id: str) -> bool:
        return bool(self._rooms.get(room_id))

    def bind(self, kit: RoomKit) -> None:
        """Work for this framework; called once at start."""
        self._kit = kit
        self._forget = kit.on_commit(self._committed)

    async def close(self) -> None:
        """Stop speaking everywhere; idempotent."""
        if self._forget is not None:
            self._forget()
            self._forget = None
        for utterance in list(self._utterances.values()):
            utterance.stop()
        await self._scope.close()

    # -- callers ----------------------------------------------------------------------------------

    def join(self, caller: Caller) -> None:
        """A call enters its room; answers are spoken to it from now on."""
        self._rooms.setdefault(caller.room_id, []).append(caller)

    def leave(self, caller: Caller) -> None:
        """A call leaves; idempotent. An answer that nobody listens to any more is over."""
        callers = self._rooms.get(caller.room_id, [])
        if caller in callers:
            callers.remove(caller)
        if not callers:
            self._rooms.pop(caller.room_id, None)
        utterance = self._utterances.get(caller.room_id)
        if utterance is not None:
            utterance.drop(caller)

    def media(self, caller: Caller, event: MediaEvent) -> None:
        """A media event of a caller, in order."""
        match event:
            case Partial():
                self._show(caller, event.text, final=False)
            case Final():
                self._show(caller, "", final=True)
                if event.text.strip() and self._kit is not None:
                    self._scope.spawn(self._heard(self._kit, caller, event), name="turn")
            case BargeIn():
                utterance = self._utterances.get(caller.room_id)
                if utterance is not None and caller in utterance.tracks:
                    utterance.stop()
                self._observe(HookTrigger.ON_BARGE_IN, caller, event)
            case Interrupted() | TrackEnded():
                self._playback_event(caller, event)
            case _:
                pass

    def interrupt(self, room_id: str) -> bool:
        """Stop what the agent says in a room; False if it says nothing."""
        utterance = self._utterances.get(room_id)
        if utterance is None or utterance.over.is_set():
            return False
        utterance.stop()
        return True

    def _show(self, caller: Caller, text: str, *, final: bool) -> None:
        if self._caption is not None:
            self._caption(caller.room_id, caller.participant_id, caller.name, text, final)

    def _observe(self, trigger: HookTrigger, caller: Caller, payload: object) -> None:
        if self._kit is not None:
            self._scope.spawn(
                self._kit.run_hooks(trigger, caller.room_id, payload), name=trigger.value
            )

    def _playback_event(self, caller: Caller, event: Interrupted | TrackEnded) -> None:
        utterance = self._utterances.get(caller.room_id)
        playback = utterance.tracks.get(caller) if utterance is not None else None
        if utterance is None or playback is None or playback.ssrc != event.ssrc:
            return
        if isinstance(event, Interrupted):
            utterance.drop(caller)  # only this one hears no more of it
        else:
            utterance.check()

    def _committed(self, event: RoomEvent) -> None:
        """A person said or typed something new: the agent stops talking."""
        if (
            event.type is EventType.MESSAGE
            and event.status is EventStatus.DELIVERED
            and event.chain_depth == 0
            and event.source.channel_type is not ChannelType.AI
            and self._may_interrupt(event)
        ):
            self.interrupt(event.room_id)

    def _may_interrupt(self, event: RoomEvent) -> bool:
        session_id = event.metadata.get("session_id")
        return all(
            caller.interrupts
            for caller in self._rooms.get(event.room_id, ())
            if caller.session.id == session_id
        )

    async def _heard(self, kit: RoomKit, caller: Caller, event: Final) -> None:
        """A finished utterance goes into the room (V90-V95)."""
        outcome = await kit.run_hooks(HookTrigger.ON_TRANSCRIPTION, caller.room_id, event.text)
        if outcome.blocked:
            return
        text = outcome.payload if isinstance(outcome.payload, str) else event.text
        metadata: dict[str, object] = {
            "session_id": caller.session.id,
            "spoken": True,
            "start_ms": event.start_ms,
            "end_ms": event.end_ms,
        }
        if caller.name:
            metadata["sender_name"] = caller.name
        if event.confidence is not None:
            metadata["confidence"] = round(event.confidence, 3)
        await kit.process_inbound(
            InboundMessage(
                channel_id=self.channel_id,
                sender_id=caller.participant_id,
                content=TextContent(body=text),
                metadata=metadata,
            ),
            room_id=caller.room_id,
        )

    # -- the agent's voice ------------------------------------------------------------------------

    async def deliver(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        """A whole text: a stream of one. That an agent failed is told, not spoken."""
        if isinstance(event.content, SystemContent) and event.content.code == "agent_failed":
            for caller in tuple(self._rooms.get(binding.room_id, ())):
                caller.session.events.post(Failed("agent", event.content.body))
        spoken_by_agent = event.source.channel_type is ChannelType.AI
        if isinstance(event.content, TextContent) and (spoken_by_agent or self._speak_text_events):
            text = event.content.body

            async def once() -> AsyncIterator[str]:
                yield text

            # spoken beside the room's lane: nobody's delivery waits for a loudspeaker
            self._scope.spawn(
                self.deliver_stream(once(), event, binding, context), name="whole answer"
            )
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
        room_id = binding.room_id
        callers = list(self._rooms.get(room_id, ()))
        if not callers:
            return StreamOutcome(text=None)
        self.interrupt(room_id)

        def notify(news: Synthesized | Failed) -> None:
            for caller in callers:
                caller.session.events.post(news)

        try:
            engine = self._engine.synthesizer()
        except SalonError as error:  # the answer is read, not heard
            notify(Failed("tts", str(error)))
            return StreamOutcome(text=None)
        speech = Speech(
            engine,
            self._scope,
            self._engine.clock,
            settings=self._voice,
            play_id=event.id,
            notify=notify,
        )
        utterance = _Utterance(speech)
        for caller in callers:
            playback = Playback(
                SpeechTrack(speech, hurry=True, shared=True), event.id, streaming=True
            )
            utterance.tracks[caller] = playback
            caller.session.play(playback)
        self._utterances[room_id] = utterance
        feeding = self._scope.spawn(self._feed(text_stream, utterance, room_id), name="feed")
        try:
            await utterance.over.wait()
        finally:
            if not utterance.over.is_set():
                utterance.stop()
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            speech.stop()
            for caller, playback in utterance.tracks.items():
                if caller.session.player.current is playback:
                    caller.session.interrupt()
            if self._utterances.get(room_id) is utterance:
                del self._utterances[room_id]
        if not utterance.cut:
            return StreamOutcome(text=None)
        return StreamOutcome(
            text=utterance.heard, interrupted=True, metadata={"played_ms": utterance.played_ms}
        )

    async def _feed(
        self, text_stream: AsyncIterator[str], utterance: _Utterance, room_id: str
    ) -> None:
        splitter = SentenceSplitter()
        said = False
        try:
            async for delta in text_stream:
                if not said and delta.strip():
                    said = True
                    for caller in utterance.tracks:
                        caller.session.answer_begins()
                for sentence in splitter.feed(delta):
                    await self._say(utterance, sentence, room_id)
            for sentence in splitter.flush():
                await self._say(utterance, sentence, room_id)
        finally:
            utterance.speech.end()
            for playback in utterance.tracks.values():
                playback.streaming = False
            if not utterance.speech.pieces and not said:
                utterance.over.set()

    async def _say(self, utterance: _Utterance, sentence: str, room_id: str) -> None:
        """One sentence, as BEFORE_TTS leaves it; a blocked one is not spoken (V102)."""
        if self._kit is not None and self._kit.hooks.wants(HookTrigger.BEFORE_TTS, room_id):
            outcome = await self._kit.run_hooks(HookTrigger.BEFORE_TTS, room_id, sentence)
            if outcome.blocked:
                return
            sentence = str(outcome.payload)
        if (text := remove_emoji(sentence).strip()) and any(c.isalnum() for c in text):
            utterance.speech.say(text)
