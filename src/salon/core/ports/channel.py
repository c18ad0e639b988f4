"""The contract of everything that can join a room (chapter 7 of the conversation rules)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from salon.models import (
    NO_OUTPUT,
    AnyChannelType,
    ChannelBinding,
    ChannelCapabilities,
    ChannelCategory,
    ChannelData,
    ChannelDirection,
    ChannelOutput,
    EventSource,
    InboundMessage,
    RoomContext,
    RoomEvent,
    UnsupportedError,
)

if TYPE_CHECKING:
    from salon.core.kit import RoomKit


@dataclass(frozen=True, slots=True)
class StreamOutcome:
    """What became of a streamed answer at one channel.

    `text` None: all of it was taken. With `interrupted` the answer ended there for everybody:
    `text` is exactly what its listeners got, and generation stops.
    """

    text: str | None = None
    interrupted: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)


class Channel(ABC):
    """One way into and out of rooms; one instance serves any number of them.

    Transports implement `deliver`, intelligence channels `on_event`. Methods run outside the room
    lock. An exception is recorded as this target's failure and touches nothing else (R131).
    """

    channel_type: AnyChannelType
    category: ChannelCategory = ChannelCategory.TRANSPORT
    direction: ChannelDirection = ChannelDirection.BIDIRECTIONAL
    sender_is_participant: bool = False
    """Inbound `sender_id` already is a participant id of the room."""
    recipient_key: str | None = None
    """Under which key the metadata of a binding names the address behind it (R56)."""
    playout_timeout: float = 60.0
    """Seconds that `deliver_stream` may go on after the last word was produced."""
    context_events: int = 0
    """Messages of history the channel wants to see (R20); the framework shows at least 50."""

    def __init__(self, channel_id: str) -> None:
        self.channel_id = channel_id

    @property
    def provider_name(self) -> str | None:
        """What events carry as `source.provider` (R13)."""
        return None

    @property
    def info(self) -> dict[str, Any]:
        """Static facts about this instance."""
        return {}

    def capabilities(self) -> ChannelCapabilities:
        """What the channel can carry; a binding keeps a snapshot (R52)."""
        return ChannelCapabilities()

    def bind(self, kit: RoomKit) -> None:  # noqa: B027 - optional to override
        """The channel was registered with `kit`."""

    def normalize_address(self, address: str) -> str:
        """An address as this channel writes it, so that two spellings of one are equal."""
        return address

    def conversation_address(self, message: InboundMessage) -> str:
        """Where an answer to `message` goes: the sender, unless the channel has group chats."""
        return message.sender_id

    def reply_metadata(self, message: InboundMessage) -> dict[str, str]:
        """What the metadata of a binding made for `message` says about whom to answer (R56)."""
        if self.recipient_key is None:
            return {}
        return {self.recipient_key: self.conversation_address(message)}

    @staticmethod
    def extract_text(event: RoomEvent) -> str:
        """The words of a text event, else nothing."""
        return event.text or ""

    async def handle_inbound(self, message: InboundMessage, context: RoomContext) -> RoomEvent:
        """An event for an external message; the source comes from this channel (R14)."""
        return self.inbound_event(message, context)

    def inbound_event(self, message: InboundMessage, context: RoomContext) -> RoomEvent:
        """The plain translation, for channels that add nothing."""
        return RoomEvent(
            room_id=context.room.id,
            type=message.event_type,
            source=EventSource(
                channel_id=self.channel_id,
                channel_type=self.channel_type,
                participant_id=message.sender_id,
                external_id=message.external_id,
                provider=self.provider_name,
                raw_payload=message.raw_payload,
                provider_message_id=message.provider_message_id,
            ),
            content=message.content,
            idempotency_key=message.idempotency_key,
            metadata=dict(message.metadata),
            channel_data=ChannelData(
                provider=self.provider_name,
                external_id=message.external_id,
                thread_id=message.thread_id,
            ),
        )

    @abstractmethod
    async def deliver(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        """Push an event to the people behind this channel."""

    async def on_event(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        """React to an event of the room."""
        del event, binding, context
        return NO_OUTPUT

    @property
    def supports_streaming_delivery(self) -> bool:
        """Whether `deliver_stream` shows text while it is produced."""
        return False

    def accepts_stream(self, binding: ChannelBinding) -> bool:
        """Whether somebody is there to get a stream in this room, now."""
        del binding
        return self.supports_streaming_delivery

    async def deliver_stream(
        self,
        text_stream: AsyncIterator[str],
        event: RoomEvent,
        binding: ChannelBinding,
        context: RoomContext,
    ) -> StreamOutcome:
        """Deliver an answer while it is produced. `event` is its announcement: same id as the
        event that will be stored, without text. Returning early ends only this channel's part,
        unless the outcome is `interrupted` (V240)."""
        del event, binding, context
        async for _ in text_stream:
            pass
        return StreamOutcome()

    async def finish_stream(  # noqa: B027 - optional to override
        self,
        announced: RoomEvent,
        stored: RoomEvent | None,
        binding: ChannelBinding,
        error: str | None,
    ) -> None:
        """The answer streamed as `announced` is over: stored, or not (nothing was said, or
        `error`). Called instead of `deliver` for channels that took the stream."""

    async def on_room_attached(  # noqa: B027 - optional to override
        self, room_id: str, binding: ChannelBinding
    ) -> None:
        """The binding was written, nothing is announced yet; raising undoes it (R47)."""

    async def on_room_detached(self, room_id: str) -> None:  # noqa: B027 - optional to override
        """The binding is gone."""

    def on_room_ended(self, room_id: str, how: str) -> None:  # noqa: B027 - optional to override
        """A room takes no more events: it was ``closed``, ``archived`` or ``deleted``. Told to
        every channel at once, so it must neither take long nor raise; a closed room can be read
        on, and be reopened."""

    def on_room_reopened(self, room_id: str) -> None:  # noqa: B027 - optional to override
        """A closed room takes events again; told like its end."""

    async def update_binding(  # noqa: B027 - optional to override
        self, room_id: str, binding: ChannelBinding
    ) -> None:
        """The binding was changed."""

    async def connect_session(  # noqa: B027 - optional to override
        self, session: Any, room_id: str, binding: ChannelBinding
    ) -> None:
        """The message that carried a media session passed the gates (R19)."""

    async def open_session(
        self,
        room_id: str,
        participant_id: str,
        *,
        metadata: dict[str, Any],
        backend: Any = None,
        connection: Any = None,
    ) -> Any:
        """A live session of a participant, not yet in the room; `connection` is what carries it,
        if it came from outside. `UnsupportedError` where there are none."""
        del room_id, participant_id, metadata, backend, connection
        raise UnsupportedError(f"channel {self.channel_id!r} has no live sessions")

    async def disconnect_session(  # noqa: B027 - optional to override
        self, session: Any, room_id: str
    ) -> None:
        """End a session that was connected; idempotent."""

    def reaches(self, room_id: str) -> bool:
        """Whether what is delivered there gets to somebody, as far as the channel can tell."""
        return True

    async def close(self) -> None:  # noqa: B027 - optional to override
        """Free everything; idempotent."""
