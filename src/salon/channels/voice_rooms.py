"""The rooms of a voice channel: who is on their lines, who has the floor, what goes into them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from salon.channels.voice_floor import Floor
from salon.channels.voice_people import Caller
from salon.channels.voice_transcripts import Words
from salon.core.framework import FrameworkEvent
from salon.core.kit import RoomKit
from salon.models import (
    Access,
    ChannelType,
    EventStatus,
    EventType,
    InboundMessage,
    RoomEvent,
    SystemContent,
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
        self._forget: list[Callable[[], None]] = []
        self._over: set[str] = set()
        """Rooms of callers that take no more events."""

    def bind(self, kit: RoomKit) -> None:
        """Hear what is said in the rooms of this framework."""
        self._kit = kit
        self._forget += (
            kit.on_commit(self._committed),
            kit.framework.on("channel_unregistered", self._unregistered),
        )

    def close(self) -> None:
        """Stop every agent and hear nothing more; idempotent."""
        for forget in self._forget:
            forget()
        self._forget.clear()
        for floor in self.floors.values():
            floor.stop("explicit")

    def floor(self, room_id: str) -> Floor:
        """A room's floor, made where there is none."""
        floor = self.floors.get(room_id)
        if floor is None:
            floor = Floor(partial(self._empty, room_id))
            self.floors[room_id] = floor
        return floor

    def _empty(self, room_id: str, floor: Floor) -> None:
        """Nobody is left who speaks or listens."""
        if self.floors.get(room_id) is floor:
            del self.floors[room_id]
            self._over.discard(room_id)

    # -- whether it takes part --------------------------------------------------------------------

    def is_over(self, room_id: str) -> bool:
        """Whether nothing more is said, shown or bridged there: the room is closed."""
        return room_id in self._over

    def end(self, room_id: str) -> bool:
        """The room takes no more events; False if that was known, or nobody is there."""
        if room_id in self._over or not self.callers(room_id):
            return False
        self._over.add(room_id)
        return True

    def reopen(self, room_id: str) -> None:
        """It takes events again."""
        self._over.discard(room_id)

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
        floor.gone(caller)
        if not floor.callers and floor.silent:
            self._empty(caller.room_id, floor)

    def stop(
        self, room_id: str, reason: CancelReason = "explicit", *, by: Caller | None = None
    ) -> bool:
        """Stop what agents say in a room; False if they say nothing. With `by` what they say to
        other people alone goes on."""
        floor = self.floors.get(room_id)
        return floor is not None and floor.stop(reason, by=None if by is None else (by,))

    # -- what is said -----------------------------------------------------------------------------

    def _committed(self, event: RoomEvent) -> None:
        """A person said or typed something new: the agent stops talking. What agents say belongs to
        whoever asked first."""
        floor = self.floors.get(event.room_id)
        if floor is None:
            return
        if (agent := _silenced(event)) is not None:
            floor.dismiss(agent)
        if event.type is not EventType.MESSAGE:
            return
        if event.responds_to is not None:
            floor.answered(event.responds_to, event.id)
        if event.source.channel_type is ChannelType.AI:
            if event.text:
                self._answered(event.room_id, event.text)
            return
        if event.status is not EventStatus.DELIVERED or event.chain_depth != 0:
            return
        if self._may_interrupt(event, floor):
            # of what nobody has heard yet, its own author decides (V243)
            heard_only = bool(event.metadata.get("spoken"))
            floor.stop("barge_in", heard_only=heard_only, by=_lines_of(event, floor))
        if event.source.participant_id is not None:
            floor.asked(event.source.participant_id, event.id)

    def _unregistered(self, event: FrameworkEvent) -> None:
        """Who is not there any more says nothing more."""
        for floor in tuple(self.floors.values()):
            floor.dismiss(event.channel_id or "")

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
        late = caller.gone or self.is_over(caller.room_id)
        if late and not await self._kit.store.room_exists(caller.room_id):
            self.floor(caller.room_id).silence(caller)  # last words make no deleted room anew
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


def _lines_of(event: RoomEvent, floor: Floor) -> list[Caller]:
    """The lines of whoever this comes from."""
    session_id, participant_id = event.metadata.get("session_id"), event.source.participant_id
    return [
        caller
        for caller in floor.callers
        if session_id in (None, caller.session.id)
        and (session_id is not None or caller.participant_id == participant_id)
    ]


def _silenced(event: RoomEvent) -> str | None:
    """The channel that an entry of the timeline takes the right to speak from."""
    content = event.content
    if not isinstance(content, SystemContent):
        return None
    taken = event.type in (EventType.CHANNEL_MUTED, EventType.CHANNEL_DETACHED) or (
        event.type is EventType.CHANNEL_UPDATED
        and "access" in content.data
        and not Access(content.data["access"]).can_write
    )
    return content.data.get("channel_id") if taken else None
