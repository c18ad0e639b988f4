"""Who sent a message, and making the room ready for it (stages 5 and 6 of chapter 11)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from salon.base import unbroken
from salon.core.bindings import Bindings
from salon.core.delivery import RootCall
from salon.core.errors import ParticipantNotAdmittedError
from salon.core.identity import IdentityStage
from salon.core.identity.decision import (
    Actions,
    Block,
    KeepPending,
    SendChallenge,
    StoreIdentity,
    UseIdentity,
)
from salon.core.participants import Participants, reached_at
from salon.core.passes import Admission
from salon.core.ports.channel import Channel
from salon.core.ports.locks import RoomLockManager
from salon.core.ports.store import ConversationStore
from salon.core.routing import admits
from salon.core.tenancy import ANY_ROOM, Meant, Tenancy
from salon.core.timeline import Timeline
from salon.models import (
    ChannelBinding,
    EventFilter,
    InboundMessage,
    Participant,
    ParticipantStatus,
    RoomContext,
    RoomEvent,
)

_log = logging.getLogger("salon.core.senders")

NOT_ADMITTED = "sender_not_admitted"
BARRED = "participant_not_admitted"


@dataclass(slots=True, eq=False)
class Brought:
    """What a message brought into its room. `attached` and `newcomer` are noted before something is
    written, `binding` and `record`, what was written, after it: a write that was cut off is taken
    back whatever it came to."""

    attached: bool = False
    binding: ChannelBinding | None = None
    newcomer: str | None = None
    record: Participant | None = None
    after: int = -1
    """The room's latest index when it was brought."""
    kept: bool = False
    """The message is committed; what came with it stays."""

    def keep(self) -> None:
        """Called when the message is committed."""
        self.kept = True


@dataclass(frozen=True, slots=True)
class Sender:
    """A message's channel and what is to be done about who sent it. `routed`: nobody named the
    room, so the sender must be one whom its binding admits."""

    channel: Channel
    message: InboundMessage
    actions: Actions = ()
    routed: bool = False
    brought: Brought = field(default_factory=Brought)

    def named(self, event: RoomEvent) -> RoomEvent:
        """The event of whoever the sender turned out to be."""
        for action in self.actions:
            if isinstance(action, UseIdentity):
                source = event.source.model_copy(update={"participant_id": action.identity.id})
                return event.model_copy(update={"source": source})
        return event


class Senders:
    """Identifies senders before the lock and writes their records under it (R173)."""

    def __init__(
        self,
        *,
        store: ConversationStore,
        identity: IdentityStage,
        bindings: Bindings,
        locks: RoomLockManager,
        participants: Participants,
        timeline: Timeline,
    ) -> None:
        self._store = store
        self._identity = identity
        self._bindings = bindings
        self._locks = locks
        self._participants = participants
        self._tenancy = Tenancy(store)
        self._timeline = timeline

    def identifies(self, channel: Channel) -> bool:
        """Whether senders on this channel are looked up."""
        return self._identity.enabled_for(channel.channel_type)

    async def identify(
        self, event: RoomEvent, message: InboundMessage, context: RoomContext, channel: Channel
    ) -> Actions:
        """What is to be done about the sender; nothing is written yet."""
        if not self.identifies(channel):
            return ()
        return await self._identity.run(
            event, message, context, sender_is_participant=channel.sender_is_participant
        )

    async def hold_back(
        self, room_id: str, sender: Sender, root: RootCall, meant: Meant = ANY_ROOM
    ) -> str | None:
        """Why the message is held back for its sender, the challenge having been sent; None: it
        goes on. Raises `RoomNotFoundError`, also for another room than the one `meant`."""
        challenges = [item.inject for item in sender.actions if isinstance(item, SendChallenge)]
        if challenges:
            async with self._locks.locked(room_id):
                meant.check(await self._tenancy.room(room_id))
                await self._bindings.admit(
                    room_id,
                    sender.channel.channel_id,
                    sender.channel.reply_metadata(sender.message),
                )
            if not await self._timeline.inject(challenges, room_id, root, meant):
                return "room_closed"
        for action in sender.actions:
            if isinstance(action, Block):
                return action.reason
        return None

    async def admit(self, event: RoomEvent, context: RoomContext, sender: Sender) -> Admission:
        """Under the lock, the room being open: attach the channel, record the sender."""
        channel = sender.channel
        room_id, channel_id = context.room.id, channel.channel_id
        binding = context.binding(channel_id)
        changed = False
        sender.brought.after = context.room.event_count - 1
        if binding is None:
            answer_to = channel.reply_metadata(sender.message)
            sender.brought.attached = True
            changed = await self._bindings.admit(room_id, channel_id, answer_to)
            sender.brought.attached = changed
            sender.brought.binding = await self._store.get_binding(room_id, channel_id)
        elif sender.routed and not self._is_welcome(binding, context, sender):
            return Admission(event, refusal=NOT_ADMITTED)
        try:
            event, written = await self._record(event, context, sender)
        except ParticipantNotAdmittedError:
            return Admission(event, refusal=BARRED)
        return Admission(event, changed or written)

    @asynccontextmanager
    async def tentatively(
        self, room_id: str, sender: Sender, *, patience: float
    ) -> AsyncIterator[None]:
        """Around what is done for a message under the lock. Unless it is committed, the channel
        that came with it goes, and the record of somebody unknown before: nothing durable comes of
        what is refused, times out, fails or is given up (R120, R204). What somebody changed of them
        in the meantime, they meant: it stays; so does what was learned of those who were there, and
        what another message needs that was committed since, a hook's own. The channel has
        `patience` seconds to go.

        One trace remains: the timeline has two entries, that the channel came and that it went.
        Whoever listens has been told of both by then, and an index is never given back (R98)."""
        try:
            yield
        finally:
            brought = sender.brought
            if not brought.kept and (brought.attached or brought.newcomer is not None):
                await unbroken(self._take_back(room_id, sender, patience))

    async def _take_back(self, room_id: str, sender: Sender, patience: float) -> None:
        brought, channel_id = sender.brought, sender.channel.channel_id
        try:
            if brought.newcomer is not None:
                known = await self._store.get_participant(room_id, brought.newcomer)
                if (
                    known is not None
                    and known == (brought.record or known)
                    and not await self._said(room_id, brought, participant_id=known.id)
                ):
                    await self._store.remove_participant(room_id, brought.newcomer)
            if brought.attached and not await self._said(
                room_id, brought, source_channel_id=channel_id
            ):
                async with asyncio.timeout(patience):
                    await self._bindings.withdraw(room_id, channel_id, brought.binding)
        except Exception:  # noqa: BLE001 - why the message was refused is what its sender learns
            words = "what a refused message brought into room %s was not all taken back"
            _log.exception(words, room_id, extra={"room_id": room_id, "channel_id": channel_id})

    async def _said(self, room_id: str, brought: Brought, **by: str) -> bool:
        """Whether something was committed since then by whom or what was brought."""
        wanted = EventFilter(include_blocked=True, **by)
        found = await self._store.list_events(
            room_id, limit=1, after_index=brought.after, event_filter=wanted
        )
        return bool(found)

    @staticmethod
    def _is_welcome(binding: ChannelBinding, context: RoomContext, sender: Sender) -> bool:
        identity = next(
            (item.identity for item in sender.actions if isinstance(item, UseIdentity)), None
        )
        return admits(
            binding,
            context.participants,
            sender.message.sender_id,
            identity=identity,
            recipient_key=sender.channel.recipient_key,
            normalize=sender.channel.normalize_address,
        )

    async def _record(
        self, event: RoomEvent, context: RoomContext, sender: Sender
    ) -> tuple[RoomEvent, bool]:
        """The event with its participant, whose record is written if it says something new."""
        room_id, channel_id = context.room.id, sender.channel.channel_id
        address, brought = sender.message.sender_id, sender.brought

        def unknown(person: str) -> str | None:
            return person if context.participant(person) is None else None

        for action in sender.actions:
            if isinstance(action, StoreIdentity):
                await self._store.create_identity(action.identity)
            elif isinstance(action, UseIdentity):
                brought.newcomer = unknown(action.identity.id)
                brought.record = await self._participants.identify(
                    room_id, channel_id, action.identity, by=action.resolved_by, address=address
                )
                source = event.source.model_copy(update={"participant_id": action.identity.id})
                return event.model_copy(update={"source": source}), True
        participant_id = event.source.participant_id
        if participant_id is None:
            return event, False
        for action in sender.actions:
            if isinstance(action, KeepPending):
                brought.newcomer = unknown(participant_id)
                brought.record = await self._participants.keep_pending(
                    room_id, channel_id, participant_id, action, address=address
                )
                return event, True
        known = context.participant(participant_id)
        if known is None and _is_barred(address, channel_id, context):
            raise ParticipantNotAdmittedError(room_id, participant_id)
        if (
            known is not None
            and known.status is not ParticipantStatus.BANNED
            and reached_at(known, channel_id, address) is known
        ):
            return event, False
        brought.newcomer = unknown(participant_id)
        brought.record = await self._participants.ensure(
            room_id, participant_id, channel_id, address=address
        )
        return event, True


def _is_barred(address: str, channel_id: str, context: RoomContext) -> bool:
    """Whether an address of which it is not known whose it is, is only that of somebody barred:
    else nobody barred would need more than a resolver that fails (R171)."""
    found = {
        person.status is ParticipantStatus.BANNED
        for person in context.participants
        if person.external_id == address and channel_id in person.connected_via
    }
    return found == {True}
