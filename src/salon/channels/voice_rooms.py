"""The rooms of a voice channel: who is on their lines, who has the floor, what goes into them."""

from __future__ import annotations

from collections.abc import Callable

from salon.channels.voice_floor import Floor
from salon.channels.voice_people import Caller
from salon.channels.voice_transcripts import Words
from salon.core.kit import RoomKit
from salon.models import (
    ChannelType,
    EventStatus,
    EventType,
    InboundMessage,
    RoomEvent,
    TextContent,
)
from salon.voice.hook_payloads import CancelReason
from salon.voice.interruption import InterruptionConfig


class VoiceRooms:
    """`answered` is told what agents said, by room."""

    def __init__(
        self,
        channel_id: str,
        interruption: InterruptionConfig,
        *,
        answered: Callable[[str, str], None],
    ) -> None:
        self.floors: dict[str, Floor] = {}
        self._channel_id = channel_id
        self._interruption = interruption
        self._answered = answered
        self._kit: RoomKit | None = None
        self._forget: Callable[[], None] | None = None

    def bind(self, kit: RoomKit) -> None:
        """Hear what is said in the rooms of this framework."""
        self._kit = kit
        self._forget = kit.on_commit(self._committed)

    def close(self) -> None:
        """Stop every agent and hear nothing more; idempotent."""
        if self._forget is not None:
            self._forget()
            self._forget = None
        for floor in self.floors.values():
            floor.stop("explicit")

    def floor(self, room_id: str) -> Floor:
        """A room's floor, made where there is none."""
        floor = self.floors.get(room_id)
        if floor is None:
            floor = Floor(lambda: self._empty(room_id, floor))
            self.floors[room_id] = floor
        return floor

    def _empty(self, room_id: str, floor: Floor | None) -> None:
        """Nobody is left who speaks or listens."""
        if self.floors.get(room_id) is floor:
            del self.floors[room_id]

    def callers(self, room_id: str) -> tuple[Caller, ...]:
        """Whoever is on a line in a room."""
        floor = self.floors.get(room_id)
        return () if floor is None else tuple(floor.callers)

    def leave(self, caller: Caller) -> None:
        """A line leaves; an answer that nobody listens to any more is over. Idempotent."""
        caller.gone = True
        floor = self.floors.get(caller.room_id)
        if floor is None:
            return
        if caller in floor.callers:
            floor.callers.remove(caller)
        floor.silence(caller)
        if floor.current is not None:
            floor.current.resume(caller)
            floor.current.drop(caller, "disconnect")
        if not floor.callers and floor.silent:
            self._empty(caller.room_id, floor)

    def stop(self, room_id: str, reason: CancelReason = "explicit") -> bool:
        """Stop what agents say in a room; False if they say nothing."""
        floor = self.floors.get(room_id)
        return floor is not None and floor.stop(reason)

    # -- what is said -----------------------------------------------------------------------------

    def _committed(self, event: RoomEvent) -> None:
        """A person said or typed something new: the agent stops talking."""
        floor = self.floors.get(event.room_id)
        if floor is None or event.type is not EventType.MESSAGE:
            return
        if event.source.channel_type is ChannelType.AI:
            if event.text:
                self._answered(event.room_id, event.text)
            return
        if event.status is not EventStatus.DELIVERED or event.chain_depth != 0:
            return
        if self._may_interrupt(event, floor):
            # of what nobody has heard yet, its own author decides (V243)
            floor.stop("barge_in", heard_only=bool(event.metadata.get("spoken")))
        if event.source.participant_id is not None:
            floor.asked(event.source.participant_id, event.id)

    def _may_interrupt(self, event: RoomEvent, floor: Floor) -> bool:
        """Not with words of a caller who may not, nor where agents play out (V115, V120)."""
        session_id = event.metadata.get("session_id")
        spoken = [caller for caller in floor.callers if caller.session.id == session_id]
        if spoken and not self._interruption.flush_partial_tts:
            return False
        return all(caller.interrupts for caller in spoken)

    async def route(self, caller: Caller, words: Words) -> None:
        """A finished turn goes into the room (V95); returns when it is stored or refused."""
        if self._kit is None:
            return
        floor, sender = self.floor(caller.room_id), words.participant_id or caller.participant_id
        if words.speech_ms >= self._interruption.min_speech_ms:
            floor.supersede(sender)
        metadata: dict[str, object] = {
            "session_id": caller.session.id,
            "spoken": True,
            "start_ms": words.start_ms,
            "end_ms": words.end_ms,
            **words.extra,
        }
        if name := words.sender_name or caller.name:
            metadata["sender_name"] = name
        if words.confidence is not None:
            metadata["confidence"] = round(words.confidence, 3)
        if words.language is not None:
            metadata["language"] = words.language
        message = InboundMessage(
            channel_id=self._channel_id,
            sender_id=sender,
            content=TextContent(body=words.text),
            metadata=metadata,
        )
        try:
            await self._kit.process_inbound(message, room_id=caller.room_id, detached=True)
        finally:
            floor.silence(caller)
