"""Identity (chapter 16; R170-R177) and organizations (R267)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.conformance.core.stage import ROOM, RecordingTransport, Stage, staged, text

from salon.core import RoomNotFoundError
from salon.core.ports.identity import IdentityResolver
from salon.models import (
    ChannelType,
    EventSource,
    HookTrigger,
    IdentificationStatus,
    InboundMessage,
    InjectedEvent,
    RoomContext,
    RoomEvent,
)
from salon.models.identity import Identity, IdentityHookResult, IdentityResult

ANN = Identity(id="person-ann", display_name="Ann")
BOB = Identity(id="person-bob", display_name="Bob")


class Oracle(IdentityResolver):
    """Says what it is told to and counts how often it is asked."""

    def __init__(self, status: IdentificationStatus, *candidates: Identity) -> None:
        self.status = status
        self.candidates = candidates
        self.asked = 0
        self.delay = 0.0

    async def resolve(self, message: InboundMessage, context: RoomContext) -> IdentityResult:
        self.asked += 1
        await asyncio.sleep(self.delay)
        identity = ANN if self.status is IdentificationStatus.IDENTIFIED else None
        return IdentityResult(status=self.status, identity=identity, candidates=self.candidates)


def answering(stage: Stage, trigger: HookTrigger, answer: IdentityHookResult | None) -> None:
    @stage.kit.identity_hook(trigger)
    async def answer_it(
        event: RoomEvent, context: RoomContext, result: IdentityResult
    ) -> IdentityHookResult | None:
        return answer


def challenge() -> InjectedEvent:
    source = EventSource(channel_id="system", channel_type=ChannelType.SYSTEM)
    return InjectedEvent(RoomEvent(room_id=ROOM, source=source, content=text("who?")), ("sms",))


async def people(stage: Stage) -> dict[str, tuple[str, list[str] | None]]:
    found = await stage.kit.store.list_participants(ROOM)
    return {item.id: (item.identification.value, item.candidates) for item in found}


AMBIGUOUS, UNKNOWN = HookTrigger.ON_IDENTITY_AMBIGUOUS, HookTrigger.ON_IDENTITY_UNKNOWN
S = IdentificationStatus
# resolver, hook, answer -> reason of the block, participant of the event, people of the room
TABLE: dict[str, tuple[S, HookTrigger, IdentityHookResult | None, Any, Any, Any]] = {
    "identified": (
        S.IDENTIFIED, UNKNOWN, None, None, "person-ann", {"person-ann": ("identified", None)}
    ),
    "ambiguous, resolved": (
        S.AMBIGUOUS, AMBIGUOUS, IdentityHookResult.resolved(BOB), None, "person-bob",
        {"person-bob": ("identified", None)},
    ),
    "ambiguous, pending": (
        S.AMBIGUOUS, AMBIGUOUS, IdentityHookResult.pending(), None, "ann",
        {"ann": ("pending", ["person-ann", "person-bob"])},
    ),
    "ambiguous, no answer": (
        S.AMBIGUOUS, AMBIGUOUS, None, None, "ann",
        {"ann": ("pending", ["person-ann", "person-bob"])},
    ),
    "ambiguous, challenge": (
        S.AMBIGUOUS, AMBIGUOUS, IdentityHookResult.challenge(challenge()),
        "identity_challenge_sent", None, {},
    ),
    "ambiguous, reject": (
        S.AMBIGUOUS, AMBIGUOUS, IdentityHookResult.reject(), "identity_rejected", None, {}
    ),
    "ambiguous, reject with a reason": (
        S.AMBIGUOUS, AMBIGUOUS, IdentityHookResult.reject("go away"), "go away", None, {}
    ),
    "pending, pending": (
        S.PENDING, AMBIGUOUS, IdentityHookResult.pending(), None, "ann",
        {"ann": ("pending", ["person-ann", "person-bob"])},
    ),
    "unknown, create": (
        S.UNKNOWN, UNKNOWN, IdentityHookResult.create(BOB), None, "person-bob",
        {"person-bob": ("identified", None)},
    ),
    "unknown, resolved": (
        S.UNKNOWN, UNKNOWN, IdentityHookResult.resolved(BOB), None, "person-bob",
        {"person-bob": ("identified", None)},
    ),
    "unknown, reject": (
        S.UNKNOWN, UNKNOWN, IdentityHookResult.reject(), "unknown_sender", None, {}
    ),
    "unknown, challenge": (
        S.UNKNOWN, UNKNOWN, IdentityHookResult.challenge(challenge()),
        "identity_challenge_sent", None, {},
    ),
    "unknown, no answer": (S.UNKNOWN, UNKNOWN, None, None, "ann", {"ann": ("pending", None)}),
    "rejected, no answer": (S.REJECTED, UNKNOWN, None, None, "ann", {"ann": ("pending", None)}),
    "challenge sent": (S.CHALLENGE_SENT, UNKNOWN, None, "identity_challenge_sent", None, {}),
}  # fmt: skip


@pytest.mark.parametrize("row", TABLE, ids=[name.replace(" ", "-") for name in TABLE])
async def test_R173_what_the_resolver_and_its_hook_decide(row: str) -> None:
    status, trigger, answer, reason, participant, expected = TABLE[row]
    async with staged(identity_resolver=Oracle(status, ANN, BOB)) as stage:
        sms = RecordingTransport("sms")
        await stage.room(sms)
        answering(stage, trigger, answer)
        result = await stage.inbound("sms", "hello")
        await stage.settle()
        assert (result.blocked, result.reason) == (reason is not None, reason)
        said = [body for body, _ in await stage.said()]
        if reason is None:
            assert result.event is not None
            assert result.event.source.participant_id == participant
            assert said == ["hello"]
        else:
            assert "hello" not in said
        found = await people(stage)
        assert {name: (kind, who or None) for name, (kind, who) in found.items()} == expected
        asks = answer is not None and answer.inject is not None
        assert sms.bodies == (["who?"] if asks else [])
        if "create" in row:
            assert await stage.kit.store.get_identity(BOB.id) is not None


async def test_R170_without_a_resolver_or_on_other_channels_nobody_is_resolved() -> None:
    oracle = Oracle(S.IDENTIFIED)
    async with staged(
        identity_resolver=oracle, identity_channel_types={ChannelType.EMAIL}
    ) as stage:
        await stage.room(
            RecordingTransport("sms"), RecordingTransport("mail", channel_type=ChannelType.EMAIL)
        )
        await stage.inbound("sms")
        assert oracle.asked == 0
        await stage.inbound("mail")
        assert oracle.asked == 1


async def test_R177_without_a_resolver_the_channels_word_is_taken(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    event = (await stage.inbound("sms", sender="+15550100")).event
    assert event is not None
    assert event.source.participant_id == "+15550100"


async def test_R171_a_slow_resolver_means_unknown_and_blocks_nobody() -> None:
    oracle = Oracle(S.IDENTIFIED)
    oracle.delay = 100.0
    async with staged(identity_resolver=oracle, identity_timeout=2.0) as stage:
        asked = []

        @stage.kit.identity_hook(UNKNOWN)
        async def unknown(*_: Any) -> None:
            asked.append(1)

        heard = stage.listen("identity_timeout")
        await stage.room(RecordingTransport("sms"))
        result = await stage.inbound("sms")
        assert (result.blocked, asked) == (False, [1])
        assert [event.room_id for event in heard] == [ROOM]


async def test_R172_whoever_is_identified_is_not_resolved_again() -> None:
    oracle = Oracle(S.IDENTIFIED)
    async with staged(identity_resolver=oracle) as stage:
        sms = RecordingTransport("sms")
        await stage.room(sms)
        await stage.inbound("sms", sender="person-ann")
        await stage.inbound("sms", sender="person-ann")
        assert oracle.asked == 1


async def test_R172_a_channel_that_names_participants_is_not_resolved() -> None:
    oracle = Oracle(S.IDENTIFIED)
    async with staged(identity_resolver=oracle) as stage:
        sms = RecordingTransport("sms")
        sms.sender_is_participant = True
        await stage.room(sms)
        event = (await stage.inbound("sms")).event
        assert event is not None
        assert (oracle.asked, event.source.participant_id) == (0, "ann")


async def test_R172_who_is_pending_is_resolved_again() -> None:
    oracle = Oracle(S.AMBIGUOUS, ANN, BOB)
    async with staged(identity_resolver=oracle) as stage:
        await stage.room(RecordingTransport("sms"))
        await stage.inbound("sms")
        await stage.inbound("sms")
        assert oracle.asked == 2


async def test_R173_a_refused_message_writes_nobody_down() -> None:
    async with staged(identity_resolver=Oracle(S.IDENTIFIED)) as stage:
        await stage.room(RecordingTransport("sms"))
        await stage.kit.close_room(ROOM)
        await stage.inbound("sms")
        assert await people(stage) == {}


async def test_R174_R267_an_address_belongs_to_its_organization(stage: Stage) -> None:
    store = stage.kit.store
    address = {ChannelType.SMS: ["+15550100"]}
    for organization in ("a", None):
        await store.create_identity(
            Identity(
                id=f"of-{organization}", organization_id=organization, channel_addresses=address
            )
        )
    found = [await store.resolve_identity("sms", "+15550100", name) for name in ("a", "b", None)]
    assert [item.id if item else None for item in found] == ["of-a", None, "of-None"]


async def test_R175_the_first_identity_hook_that_answers_counts() -> None:
    async with staged(identity_resolver=Oracle(S.UNKNOWN)) as stage:
        log: list[str] = []

        @stage.kit.identity_hook(UNKNOWN, priority=0)
        async def broken(*_: Any) -> IdentityHookResult:
            log.append("broken")
            raise RuntimeError("broken")

        @stage.kit.identity_hook(UNKNOWN, priority=1)
        async def first(*_: Any) -> IdentityHookResult:
            log.append("first")
            return IdentityHookResult.resolved(ANN)

        @stage.kit.identity_hook(UNKNOWN, priority=2)
        async def second(*_: Any) -> IdentityHookResult:
            log.append("second")
            return IdentityHookResult.reject()

        await stage.room(RecordingTransport("sms"))
        assert not (await stage.inbound("sms")).blocked
        assert log == ["broken", "first"]


async def test_R176_a_challenge_into_a_closed_room_is_refused() -> None:
    async with staged(identity_resolver=Oracle(S.UNKNOWN)) as stage:
        sms = RecordingTransport("sms")
        await stage.room(sms)
        answering(stage, UNKNOWN, IdentityHookResult.challenge(challenge()))
        await stage.kit.close_room(ROOM)
        before = await stage.timeline()
        result = await stage.inbound("sms")
        await stage.settle()
        assert (result.blocked, result.reason) == (True, "room_closed")
        assert (await stage.timeline(), sms.bodies) == (before, [])


async def test_R267_another_tenants_room_is_not_found(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), organization_id="acme")
    assert (await stage.kit.get_room(ROOM, organization_id="acme")).id == ROOM
    for call in (
        stage.kit.get_room(ROOM, organization_id="other"),
        stage.kit.get_timeline(ROOM, organization_id="other"),
        stage.kit.close_room(ROOM, organization_id="other"),
        stage.kit.list_members(ROOM, organization_id="other"),
        stage.kit.get_room("nowhere", organization_id="other"),
    ):
        with pytest.raises(RoomNotFoundError):
            await call


async def test_R267_a_message_does_not_enter_another_tenants_room(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), organization_id="acme")
    given = InboundMessage(channel_id="sms", sender_id="eve", content=text("let me in"))
    with pytest.raises(RoomNotFoundError):
        await stage.kit.process_inbound(given, room_id=ROOM, organization_id="other")
    assert await stage.messages() == []
