"""Who sent a message, and what the room learns of them (chapters 11, 16, 17)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from salon.core.kit import RoomKit
from salon.core.memory.store import InMemoryStore
from salon.core.ports.identity import IdentityResolver
from salon.models import (
    ChannelBinding,
    HookResult,
    HookTrigger,
    IdentificationStatus,
    Identity,
    IdentityHookResult,
    IdentityResult,
    InboundMessage,
    InjectedEvent,
    ParticipantStatus,
    RateLimit,
    RoomContext,
    RoomEvent,
    SessionStartedEvent,
)

from .helpers import ROOM, Transport, listen, message, messages, room_with, text

ANN = Identity(id="identity-ann", display_name="Ann")
BEN = Identity(id="identity-ben", display_name="Ben")


class Says(IdentityResolver):
    """One answer for everybody; a delay in seconds first."""

    def __init__(self, status: IdentificationStatus, delay: float = 0, **more: Any) -> None:
        self.result = IdentityResult(status=status, **more)
        self.delay = delay
        self.asked = 0

    async def resolve(self, message: InboundMessage, context: RoomContext) -> IdentityResult:
        self.asked += 1
        await asyncio.sleep(self.delay)
        return self.result


def kit_with(resolver: IdentityResolver, **more: Any) -> RoomKit:
    return RoomKit(identity_resolver=resolver, shutdown_timeout=0, **more)


async def test_R170_an_identified_sender_is_the_identity() -> None:
    resolver = Says(IdentificationStatus.IDENTIFIED, identity=ANN)
    async with kit_with(resolver) as kit:
        await room_with(kit, Transport("sms"))
        resolved = listen(kit, "identity_resolved")
        event = (await kit.process_inbound(message("sms", sender="+1"), room_id=ROOM)).event
        assert event is not None
        assert event.source.participant_id == ANN.id
        person = await kit.store.get_participant(ROOM, ANN.id)
        assert person is not None
        assert (person.identification, person.identity_id, person.display_name) == (
            IdentificationStatus.IDENTIFIED,
            ANN.id,
            "Ann",
        )
        assert [item.data["identity_id"] for item in resolved] == [ANN.id]


async def test_ambiguous_and_pending_keep_candidates_until_somebody_resolves() -> None:
    resolver = Says(IdentificationStatus.AMBIGUOUS, candidates=(ANN, BEN))
    async with kit_with(resolver) as kit:
        await room_with(kit, Transport("sms"))
        await kit.store.create_identity(ANN)
        for _ in range(2):
            assert not (await kit.process_inbound(message("sms"), room_id=ROOM)).blocked
        assert resolver.asked == 2  # R172: PENDING is still in question
        (person,) = await kit.list_members(ROOM)
        assert (person.identification, person.candidates) == (
            IdentificationStatus.PENDING,
            [ANN.id, BEN.id],
        )
        settled = await kit.resolve_participant(ROOM, "ann", ANN.id)
        assert (settled.identification, settled.candidates, settled.resolved_by) == (
            IdentificationStatus.IDENTIFIED,
            None,
            "manual",
        )
        await kit.process_inbound(message("sms"), room_id=ROOM)
        assert resolver.asked == 2  # R172: identified now


async def test_R170_restricted_to_channel_types() -> None:
    resolver = Says(IdentificationStatus.IDENTIFIED, identity=ANN)
    async with kit_with(resolver, identity_channel_types={"email"}) as kit:
        await room_with(kit, Transport("sms"))
        await kit.process_inbound(message("sms"), room_id=ROOM)
        assert resolver.asked == 0
        assert (kit.identity_enabled_for("sms"), kit.identity_enabled_for("email")) == (False, True)


async def test_a_hook_may_create_somebody_new() -> None:
    async with kit_with(Says(IdentificationStatus.UNKNOWN)) as kit:
        await room_with(kit, Transport("sms"))

        @kit.identity_hook(HookTrigger.ON_IDENTITY_UNKNOWN)
        async def greet(
            event: RoomEvent, context: RoomContext, result: IdentityResult
        ) -> IdentityHookResult:
            return IdentityHookResult.create(BEN)

        event = (await kit.process_inbound(message("sms"), room_id=ROOM)).event
        assert event is not None
        assert event.source.participant_id == BEN.id
        assert await kit.store.get_identity(BEN.id) == BEN


async def test_R173_R176_a_challenge_is_sent_and_the_message_held_back() -> None:
    async with kit_with(Says(IdentificationStatus.AMBIGUOUS, candidates=(ANN, BEN))) as kit:
        sms = Transport("sms")
        await room_with(kit, sms)

        @kit.identity_hook(HookTrigger.ON_IDENTITY_AMBIGUOUS)
        async def ask(
            event: RoomEvent, context: RoomContext, result: IdentityResult
        ) -> IdentityHookResult:
            question = event.model_copy(update={"id": "q", "content": text("who are you?")})
            return IdentityHookResult.challenge(InjectedEvent(question, ("sms",)))

        result = await kit.process_inbound(message("sms", "secret"), room_id=ROOM)
        await kit.idle(ROOM)
        assert (result.event, result.reason) == (None, "identity_challenge_sent")
        assert sms.bodies == ["who are you?"]
        assert await kit.list_members(ROOM) == []
        await kit.close_room(ROOM)
        result = await kit.process_inbound(message("sms", "secret"), room_id=ROOM)
        assert result.reason == "room_closed"
        assert sms.bodies == ["who are you?"]


async def test_a_rejected_sender_leaves_nothing_behind() -> None:
    async with kit_with(Says(IdentificationStatus.UNKNOWN)) as kit:
        kit.register_channel(Transport("sms"))

        @kit.identity_hook(HookTrigger.ON_IDENTITY_UNKNOWN)
        async def refuse(
            event: RoomEvent, context: RoomContext, result: IdentityResult
        ) -> IdentityHookResult:
            return IdentityHookResult.reject()

        result = await kit.process_inbound(message("sms"))
        assert (result.blocked, result.reason, result.event) == (True, "unknown_sender", None)
        assert await kit.list_rooms() == []  # AMB-21


async def test_R171_a_slow_resolver_is_unknown() -> None:
    resolver = Says(IdentificationStatus.IDENTIFIED, delay=60, identity=ANN)
    async with kit_with(resolver, identity_timeout=1.0) as kit:
        await room_with(kit, Transport("sms"))
        late = listen(kit, "identity_timeout")
        event = (await kit.process_inbound(message("sms"), room_id=ROOM)).event
        assert event is not None
        assert event.source.participant_id == "ann"
        assert [(item.room_id, item.data["address"]) for item in late] == [(ROOM, "ann")]


async def test_who_is_barred_is_not_heard() -> None:
    async with RoomKit(shutdown_timeout=0) as kit:
        await room_with(kit, Transport("sms"), Transport("web"))
        await kit.process_inbound(message("sms"), room_id=ROOM)
        await kit.remove_member(ROOM, "ann", status=ParticipantStatus.BANNED)
        for channel in ("sms", "web"):
            result = await kit.process_inbound(message(channel, "again"), room_id=ROOM)
            assert (result.event, result.reason) == (None, "participant_not_admitted")
        assert len(await messages(kit)) == 1


async def test_R180_a_second_sender_on_a_shared_number_gets_a_room_of_their_own() -> None:
    async with RoomKit(shutdown_timeout=0) as kit:
        kit.register_channel(Transport("sms"))
        first = (await kit.process_inbound(message("sms", sender="ann"))).event
        again = (await kit.process_inbound(message("sms", sender="ann"))).event
        other = (await kit.process_inbound(message("sms", sender="ben"))).event
        assert first is not None
        assert again is not None
        assert other is not None
        assert (again.room_id, other.room_id == first.room_id) == (first.room_id, False)


async def test_R180_a_group_binding_takes_everybody() -> None:
    async with RoomKit(shutdown_timeout=0) as kit:
        kit.register_channel(Transport("sms"))
        await kit.create_room(ROOM)
        await kit.attach_channel(ROOM, "sms", group=True)
        for sender in ("ann", "ben"):
            event = (await kit.process_inbound(message("sms", sender=sender))).event
            assert event is not None
            assert event.room_id == ROOM


async def test_R180_who_came_first_is_decided_under_the_lock() -> None:
    class Late(InMemoryStore):
        """Lets the other one in between the routing and the lock."""

        meanwhile = None

        async def get_binding(self, room_id: str, channel_id: str) -> ChannelBinding | None:
            found = await super().get_binding(room_id, channel_id)
            if self.meanwhile is not None:
                work, self.meanwhile = self.meanwhile, None
                await work()  # type: ignore[unreachable]
            return found

    store = Late()
    async with RoomKit(store, shutdown_timeout=0) as kit:
        await room_with(kit, Transport("sms"))

        async def ben() -> None:
            await kit.process_inbound(message("sms", sender="ben"), room_id=ROOM)

        store.meanwhile = ben  # type: ignore[assignment]
        event = (await kit.process_inbound(message("sms", sender="ann"))).event
        assert event is not None
        assert event.room_id != ROOM


async def test_R194_an_inbound_limit_drops_before_anything_else() -> None:
    limit = RateLimit(max_per_second=1)
    async with RoomKit(inbound_rate_limit=limit, shutdown_timeout=0) as kit:
        await room_with(kit, Transport("sms"), Transport("web"))
        assert not (await kit.process_inbound(message("sms"), room_id=ROOM)).blocked
        result = await kit.process_inbound(message("sms"), room_id=ROOM)
        assert (result.reason, result.event) == ("rate_limited", None)
        assert not (await kit.process_inbound(message("web"), room_id=ROOM)).blocked


async def test_R267_another_organizations_room_does_not_exist() -> None:
    async with RoomKit(shutdown_timeout=0) as kit:
        kit.register_channel(Transport("sms"))
        await kit.create_room(ROOM, organization_id="acme")
        with pytest.raises(Exception, match="no room"):
            await kit.process_inbound(message("sms"), room_id=ROOM, organization_id="other")
        for work in (
            kit.get_room(ROOM, organization_id="other"),
            kit.close_room(ROOM, organization_id="other"),
            kit.get_timeline(ROOM, organization_id="other"),
            kit.attach_channel(ROOM, "sms", organization_id="other"),
            kit.publish_typing(ROOM, "ann", organization_id="other"),
        ):
            with pytest.raises(Exception, match="no room"):
                await work  # type: ignore[misc]
        event = (await kit.process_inbound(message("sms"), organization_id="other")).event
        assert event is not None
        assert (await kit.get_room(event.room_id)).organization_id == "other"


async def test_a_first_message_starts_a_session_and_brings_its_media_in() -> None:
    class Media(Transport):
        def __init__(self, channel_id: str) -> None:
            super().__init__(channel_id)
            self.sessions: list[Any] = []

        async def connect_session(
            self, session: Any, room_id: str, binding: ChannelBinding
        ) -> None:
            assert not kit.locks.held(room_id)  # AMB-27
            self.sessions.append((session, binding.channel_id))

    async with RoomKit(shutdown_timeout=0) as kit:
        voice = Media("voice")
        kit.register_channel(voice)
        started: list[SessionStartedEvent] = []

        @kit.hook(HookTrigger.ON_SESSION_STARTED)
        async def look(event: SessionStartedEvent, context: RoomContext) -> None:
            started.append(event)

        @kit.hook(HookTrigger.BEFORE_BROADCAST)
        async def guard(event: RoomEvent, context: RoomContext) -> HookResult:
            return HookResult.block("no") if event.text == "bad" else HookResult.allow()

        await kit.process_inbound(message("voice", "hi", session="s1"))
        await kit.process_inbound(message("voice", "bad", session="s2"))
        await asyncio.sleep(1)
        assert voice.sessions == [("s1", "voice")]  # R19
        assert [(item.channel_id, item.participant_id) for item in started] == [("voice", "ann")]
