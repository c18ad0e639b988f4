"""What the room gives a voice channel to say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from salon.base import TaskScope, new_id
from salon.channels.voice_floor import Floor
from salon.channels.voice_hooks import VoiceHooks
from salon.channels.voice_people import Caller
from salon.channels.voice_sound import ready_sound
from salon.channels.voice_speaking import AgentVoice, Said
from salon.core.kit import RoomKit
from salon.core.ports.channel import StreamOutcome
from salon.media.frame import Samples
from salon.models import (
    AudioContent,
    ChannelType,
    EventType,
    HookTrigger,
    ProviderDeliveryError,
    RoomEvent,
    SystemContent,
    TextContent,
)
from salon.voice.events import Failed


async def _once(text: str) -> AsyncIterator[str]:
    """A whole text as a stream of one."""
    yield text


class VoiceDelivery:
    """Speaks events to the people of a room, and words to one of them alone."""

    def __init__(
        self,
        channel_id: str,
        agents: AgentVoice,
        hooks: VoiceHooks,
        scope: TaskScope,
        floors: Mapping[str, Floor],
        *,
        keep_partial: bool,
        speak_text_events: bool,
    ) -> None:
        self._channel_id = channel_id
        self._agents = agents
        self._hooks = hooks
        self._scope = scope
        self._floors = floors
        self._keep_partial = keep_partial
        self._speak_text_events = speak_text_events
        self._kit: RoomKit | None = None

    def bind(self, kit: RoomKit) -> None:
        """Work for this framework."""
        self._kit = kit

    async def deliver(self, event: RoomEvent, room_id: str) -> None:
        """A stored event. It is spoken beside the room's lane: nobody's delivery waits for a
        loudspeaker. `ProviderDeliveryError` for content that can't be heard."""
        floor, content = self._floors.get(room_id), event.content
        if floor is None or not floor.callers:
            return
        if isinstance(content, SystemContent):
            if content.code == "agent_failed":
                for caller in tuple(floor.callers):
                    caller.session.events.post(Failed("agent", content.body))
            return
        if event.type is not EventType.MESSAGE:
            return
        if isinstance(content, AudioContent):
            samples = await asyncio.to_thread(ready_sound, content)
            said = self._said(event, room_id, floor)
            self._scope.spawn(
                self._agents.play(said, samples, content.transcript or ""), name="sound"
            )
        elif not isinstance(content, TextContent):
            raise ProviderDeliveryError(
                "unsupported_content", f"voice can't say {type(content).__name__}"
            )
        elif event.source.channel_type is ChannelType.AI or self._speak_text_events:
            self._scope.spawn(self._whole(event, room_id, content.body), name="whole text")

    async def _whole(self, event: RoomEvent, room_id: str, text: str) -> None:
        """What cuts it short is added to what is stored (V120, V242)."""
        outcome = await self._hooks.ask(HookTrigger.BEFORE_TTS, room_id, text)
        if outcome.blocked or not outcome.payload.strip():
            return
        cut = await self.speak(event, room_id, _once(outcome.payload))
        if cut.interrupted and self._kit is not None and self._keep_partial:
            facts = {"interrupted": True, "heard": cut.text, **cut.metadata}
            await self._kit.update_event(room_id, event.id, metadata={**event.metadata, **facts})

    async def speak(
        self, event: RoomEvent, room_id: str, text: AsyncIterator[str]
    ) -> StreamOutcome:
        """Speak while the text is produced; returns when it was heard or cut (V100, V240)."""
        floor = self._floors.get(room_id)
        if floor is None or not floor.callers:
            return StreamOutcome(text=None)
        if floor.is_superseded(event.responds_to):
            metadata = {"played_ms": 0, "cancelled": True, "cancellation_reason": "superseded"}
            return StreamOutcome(text="", interrupted=True, metadata=metadata)
        outcome = await self._agents.speak(self._said(event, room_id, floor), text)
        if event.chain_depth == 1 and not outcome.metadata.get("cancellation_reason"):
            floor.heard(event.responds_to)  # of replies to an agent each is unheard by itself
        return outcome

    @staticmethod
    def _said(event: RoomEvent, room_id: str, floor: Floor) -> Said:
        return Said(
            room_id,
            event.id,
            event.source.channel_id,
            tuple(floor.callers),
            answers=floor.who_asked(event.responds_to),
        )

    async def say(self, caller: Caller, text: str, voice: str | None) -> None:
        """Words for one caller alone, as BEFORE_TTS leaves them. `TypeError` for no text."""
        if not isinstance(text, str):
            raise TypeError(f"text is {type(text).__name__}, not str")
        outcome = await self._hooks.ask(HookTrigger.BEFORE_TTS, caller.room_id, text, caller)
        if not outcome.blocked and outcome.payload.strip():
            said = Said(
                caller.room_id, new_id(), self._channel_id, (caller,), private=True, voice=voice
            )
            await self._agents.speak(said, _once(outcome.payload))

    async def play(self, caller: Caller, samples: Samples, text: str) -> None:
        """Ready sound for one caller alone."""
        said = Said(caller.room_id, new_id(), self._channel_id, (caller,), private=True)
        await self._agents.play(said, samples, text)
