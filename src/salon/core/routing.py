"""The room of a message that names none (R178-R182).

A message in a room of its own can be moved; one in a stranger's conversation has been read there.
So a room is found only where its binding of the channel admits the sender (AMB-2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from salon.core.ports.channel import Channel
from salon.core.ports.router import InboundRoomRouter
from salon.core.ports.store import ConversationStore
from salon.models import (
    AnyChannelType,
    ChannelBinding,
    InboundMessage,
    Participant,
    ParticipantStatus,
    RoomStatus,
    TextContent,
)
from salon.models.identity import Identity

_OPEN = (RoomStatus.ACTIVE, RoomStatus.PAUSED)
_LONGEST = 512


class DefaultInboundRoomRouter(InboundRoomRouter):
    """The newest open room in which this very channel knows the sender (AMB-1); else the newest
    one whose binding names whom an answer would go to; else the only ACTIVE room that the channel
    is bound to, or with no ACTIVE one the only PAUSED one; else none. The latter two only if the
    binding admits the sender.

    `channel_of` finds a registered channel, whose `recipient_key` says where bindings name the
    address they deliver to.
    """

    def __init__(
        self,
        store: ConversationStore,
        *,
        channel_of: Callable[[str], Channel | None] | None = None,
    ) -> None:
        self._store = store
        self._channel_of = channel_of

    async def route(
        self,
        channel_id: str,
        channel_type: AnyChannelType,
        participant_id: str | None = None,
        channel_data: dict[str, Any] | None = None,
        *,
        organization_id: str | None = None,
        identity: Identity | None = None,
    ) -> str | None:
        del channel_type
        own = await self._room_of_sender(channel_id, participant_id, identity, organization_id)
        if own is not None:
            return own
        channel = self._channel_of(channel_id) if self._channel_of is not None else None
        address = _answer_to(channel, participant_id, channel_data or {})
        for room_id in (
            await self._named_room(channel_id, address, organization_id),
            await self._only_room(channel_id, organization_id),
        ):
            if room_id is not None and await self._admits(
                room_id, channel_id, channel, participant_id, identity
            ):
                return room_id
        return None

    async def _admits(
        self,
        room_id: str,
        channel_id: str,
        channel: Channel | None,
        sender: str | None,
        identity: Identity | None,
    ) -> bool:
        binding = await self._store.get_binding(room_id, channel_id)
        return binding is not None and admits(
            binding,
            await self._store.list_participants(room_id),
            sender,
            identity=identity,
            recipient_key=None if channel is None else channel.recipient_key,
            normalize=str if channel is None else channel.normalize_address,
        )

    async def _room_of_sender(
        self,
        channel_id: str,
        sender: str | None,
        identity: Identity | None,
        organization_id: str | None,
    ) -> str | None:
        found = [
            room
            for name in sorted(known_as(sender, identity))
            if (
                room := await self._store.find_latest_room(
                    name, channel_id=channel_id, statuses=_OPEN, organization_id=organization_id
                )
            )
        ]
        newest = max(found, key=lambda room: (room.created_at, room.id), default=None)
        return newest.id if newest is not None else None

    async def _named_room(
        self, channel_id: str, address: str | None, organization_id: str | None
    ) -> str | None:
        """The newest one: which it is would be a guess only if none were named."""
        if not address:
            return None
        found = await self._store.find_room_ids_by_recipient(
            channel_id, address, statuses=_OPEN, organization_id=organization_id, limit=1
        )
        return found[0] if found else None

    async def _only_room(self, channel_id: str, organization_id: str | None) -> str | None:
        for status in _OPEN:
            rooms = await self._store.find_room_ids_by_channel(
                channel_id, statuses=(status,), organization_id=organization_id, limit=2
            )
            if rooms:
                return rooms[0] if len(rooms) == 1 else None
        return None


def known_as(sender: str | None, identity: Identity | None = None) -> frozenset[str]:
    """The names under which a room may know a sender, as id, identity or `external_id`."""
    return frozenset(
        name for name in (sender, identity.id if identity is not None else None) if name
    )


def admits(
    binding: ChannelBinding,
    participants: Iterable[Participant],
    sender: str | None,
    *,
    identity: Identity | None = None,
    recipient_key: str | None = None,
    normalize: Callable[[str], str] = str,
) -> bool:
    """Whether a routed message of `sender` belongs into the room of `binding` (AMB-2, R180).

    `participants` are the room's, `recipient_key` the key under which the binding's metadata names
    an address. Somebody who is there through this channel always belongs there; so does somebody
    barred, to be refused at the gate and not to begin anew elsewhere. Of others only the
    correspondents that the binding names, or while it names nobody, whoever comes first. A `group`
    binding takes everybody. `sender` None is nobody's correspondent.
    """
    names = known_as(sender, identity)
    heard_other = False
    present = False
    for person in participants:
        here = binding.channel_id in person.connected_via
        if not names.isdisjoint((person.id, person.identity_id, person.external_id)):
            barred = person.status is ParticipantStatus.BANNED
            present = present or barred or (here and person.status is ParticipantStatus.ACTIVE)
        elif here:
            heard_other = True
    if binding.group or present:
        return True
    named = {normalize(name) for name in _correspondents(binding, recipient_key)}
    if not named:
        return not heard_other
    return not named.isdisjoint({normalize(name) for name in names})


def _correspondents(binding: ChannelBinding, recipient_key: str | None) -> frozenset[str]:
    """Whom a binding names. A recipient that is no address stands for somebody nobody is."""
    named = set() if binding.participant_id is None else {binding.participant_id}
    recipient = binding.metadata.get(recipient_key) if recipient_key is not None else None
    if recipient is None:
        recipient = binding.recipient
    if recipient is not None:
        named.add(_address(recipient))
    return frozenset(named)


def recipient_of(channel: Channel, metadata: Mapping[str, Any]) -> str | None:
    """The address that a binding's metadata name, in the channel's spelling; None: no address."""
    named = metadata.get(channel.recipient_key) if channel.recipient_key is not None else None
    address = channel.normalize_address(_address(named))
    return address if may_be_found(address) else None


def may_be_found(address: str) -> bool:
    """Whether rooms are to be found by an address: not every store indexes every text."""
    return 0 < len(address) <= _LONGEST and "\0" not in address


def _address(named: object) -> str:
    """Empty for what is none."""
    known = isinstance(named, str | int) and not isinstance(named, bool)
    return str(named) if known else ""


def _answer_to(channel: Channel | None, sender: str | None, metadata: dict[str, Any]) -> str | None:
    """Where the answer to a message goes, which may be a group chat."""
    if channel is None or not sender:
        return sender
    message = InboundMessage(
        channel_id=channel.channel_id,
        sender_id=sender,
        content=TextContent(body=""),
        metadata=metadata,
    )
    return channel.normalize_address(channel.conversation_address(message))
