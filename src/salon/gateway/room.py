"""A call whose driver is a room: people in it hear and see each other and its agents."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from salon.base import new_id
from salon.channels.voice import Caller, VoiceChannel
from salon.core.kit import RoomKit
from salon.gateway.errors import CommandError
from salon.gateway.handlers import CallHandler, any_sound, segments, start_of
from salon.gateway.options import CallOption
from salon.gateway.query import CallQuery
from salon.models import InboundMessage, TextContent
from salon.voice.events import MediaEvent
from salon.voice.hearing import HearingConfig
from salon.voice.turns import InterruptionStrategy, TurnConfig
from salon.voice.vad.segmenter import SegmenterConfig

if TYPE_CHECKING:
    from salon.gateway.session import Session


class RoomDoor(Protocol):
    """Lets people into rooms; makes a room that is not there yet."""

    async def enter(
        self, room_id: str | None, participant_id: str, channel_id: str, name: str | None
    ) -> str:
        """The id of the room entered. Raises `SalonError` if it takes nobody (closed)."""


class RoomHandler(CallHandler):
    """Puts the caller into a room through the voice channel.

    Without ``room`` in the query a new room is made; without ``participant`` the session's id
    stands for the person.
    """

    def __init__(
        self,
        query: CallQuery,
        *,
        kit: RoomKit,
        channel: VoiceChannel,
        door: RoomDoor,
        turns: TurnConfig,
    ) -> None:
        self._query = query
        self._kit = kit
        self._channel = channel
        self._door = door
        self._turns = turns
        self._caller: Caller | None = None

    async def begin(self, session: Session, option: CallOption) -> HearingConfig:
        query = self._query
        participant_id = query.participant or session.id
        try:
            self.room_id = await self._door.enter(
                query.room or new_id(), participant_id, self._channel.channel_id, query.name
            )
        except ValueError as error:
            raise CommandError(f"the room cannot be entered: {error}") from None
        turns = self._turns_for(query)
        self._caller = Caller(
            session.media,
            self.room_id,
            participant_id,
            query.name,
            interrupts=turns.strategy is not InterruptionStrategy.DISABLED,
        )
        self._channel.join(self._caller)
        engine = session.services.engine
        recognizer = session.recognizer(option, always=True)
        return HearingConfig(
            segments=segments(option.vad) or SegmenterConfig(),
            turns=turns,
            recognizer=recognizer,
            hints=engine.hints(),
            language=option.asr.language if option.asr else None,
            any_sound=any_sound(option.vad),
            begin_at=start_of(session, option),
        )

    def _turns_for(self, query: CallQuery) -> TurnConfig:
        if query.interruption is None:
            return self._turns
        return replace(self._turns, strategy=InterruptionStrategy(query.interruption))

    def media(self, event: MediaEvent) -> None:
        if self._caller is not None:
            self._channel.media(self._caller, event)

    def interrupt(self) -> None:
        """The caller asked for silence: the agent's answer ends for the whole room."""
        if self.room_id is not None:
            self._channel.stop_speaking(self.room_id)

    async def chat(self, text: str) -> bool:
        caller = self._caller
        if caller is None:
            return False
        result = await self._kit.process_inbound(
            InboundMessage(
                channel_id=self._channel.channel_id,
                sender_id=caller.participant_id,
                content=TextContent(body=text),
                metadata={"sender_name": caller.name} if caller.name else {},
            ),
            room_id=caller.room_id,
            detached=True,
        )
        if result.blocked:
            raise CommandError(f"the message was refused: {result.reason}")
        return True

    async def end(self, reason: str) -> None:
        del reason
        if self._caller is not None:
            self._channel.leave(self._caller)
            self._caller = None
