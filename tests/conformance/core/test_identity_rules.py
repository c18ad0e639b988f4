"""Identity beyond the table: scope, locks, order, and whose rooms are left (chapter 16)."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.core.stage import (
    ROOM,
    RecordingTransport,
    Stage,
    bodies,
    message,
    staged,
)

from salon.core import RoomKit
from salon.core.memory import InMemoryStore
from salon.core.ports.identity import IdentityResolver
from salon.core.ports.store import ConversationStore
from salon.identity.directory import StoreIdentityResolver
from salon.models import (
    ChannelType,
    HookTrigger,
    IdentificationStatus,
    InboundMessage,
    RoomContext,
)
from salon.models.identity import Identity, IdentityHookResult, IdentityResult

S = IdentificationStatus
ANN = Identity(id="person-ann", display_name="Ann")
BOB = Identity(id="person-bob", display_name="Bob")
AMBIGUOUS, UNKNOWN = HookTrigger.ON_IDENTITY_AMBIGUOUS, HookTrigger.ON_IDENTITY_UNKNOWN


class Oracle(IdentityResolver):
    """Says what it is told to; `gate` keeps it thinking."""

    def __init__(self, status: S = S.IDENTIFIED, *candidates: Identity) -> None:
        self.status, self.candidates = status, candidates
        self.asked: list[str] = []
        self.gate: asyncio.Event | None = None

    async def resolve(self, message: InboundMessage, context: RoomContext) -> IdentityResult:
        self.asked.append(message.sender_id)
        if self.gate is not None:
            await self.gate.wait()
        identity = ANN if self.status is S.IDENTIFIED else None
        return IdentityResult(status=self.status, identity=identity, candidates=self.candidates)


async def people(stage: Stage, room_id: str = ROOM) -> dict[str, S]:
    found = await stage.kit.store.list_participants(room_id)
    return {person.id: person.identification for person in found}


ROWS: dict[str, tuple[S, HookTrigger, IdentityHookResult | None, str | None, dict[str, S]]] = {
    "pending, no answer": (S.PENDING, AMBIGUOUS, None, None, {"ann": S.PENDING}),
    "pending, reject": (
        S.PENDING, AMBIGUOUS, IdentityHookResult.reject(), "identity_rejected", {}
    ),
    "pending, resolved": (
        S.PENDING, AMBIGUOUS, IdentityHookResult.resolved(BOB), None, {"person-bob": S.IDENTIFIED}
    ),
    "unknown, pending": (
        S.UNKNOWN, UNKNOWN, IdentityHookResult.pending("A caller"), None, {"ann": S.PENDING}
    ),
    "unknown, reject with a reason": (
        S.UNKNOWN, UNKNOWN, IdentityHookResult.reject("go away"), "go away", {}
    ),
    "rejected, reject": (
        S.REJECTED, UNKNOWN, IdentityHookResult.reject(), "unknown_sender", {}
    ),
    "rejected, create": (
        S.REJECTED, UNKNOWN, IdentityHookResult.create(BOB), None, {"person-bob": S.IDENTIFIED}
    ),
    "unknown, the other trigger's hook": (
        S.UNKNOWN, AMBIGUOUS, IdentityHookResult.reject(), None, {"ann": S.PENDING}
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[n.replace(", ", "-").replace(" ", "-") for n in ROWS])
async def test_R173_the_remaining_rows(row: str) -> None:
    status, trigger, answer, reason, expected = ROWS[row]
    async with staged(identity_resolver=Oracle(status)) as stage:

        @stage.kit.identity_hook(trigger)
        async def fn(*_: Any) -> IdentityHookResult | None:
            return answer

        await stage.room(RecordingTransport("sms"))
        result = await stage.inbound("sms")
        assert (result.blocked, result.reason) == (reason is not None, reason)
        assert await people(stage) == expected


async def test_R173_candidates_are_kept_until_somebody_settles_it() -> None:
    async with staged(identity_resolver=Oracle(S.AMBIGUOUS, ANN, BOB)) as stage:
        heard = stage.hear(HookTrigger.ON_PARTICIPANT_IDENTIFIED)
        await stage.room(RecordingTransport("sms"))
        await stage.kit.store.create_identity(BOB)
        await stage.inbound("sms", sender="phone")
        (person,) = await stage.kit.store.list_participants(ROOM)
        assert person.candidates == ["person-ann", "person-bob"]
        settled = await stage.kit.resolve_participant(ROOM, "phone", BOB.id)
        await stage.settle()
        assert (settled.identity_id, settled.display_name) == (BOB.id, "Bob")
        assert (settled.candidates, settled.resolved_by) == (None, "manual")
        assert settled.resolved_at is not None
        assert (await stage.codes())[-1] == "participant_identified"
        assert len(heard) == 1


async def test_R173_resolving_does_not_hold_the_room_lock() -> None:
    oracle = Oracle()
    oracle.gate = asyncio.Event()
    async with staged(identity_resolver=oracle, identity_timeout=100) as stage:
        await stage.room(RecordingTransport("sms"))
        call = stage.start(stage.inbound("sms"))
        await stage.settle()
        assert oracle.asked == ["ann"]
        async with asyncio.timeout(1), stage.kit.locks.locked(ROOM):
            assert await people(stage) == {}
        oracle.gate.set()
        await call
        assert await people(stage) == {"person-ann": S.IDENTIFIED}


def test_R171_ten_seconds_are_the_default() -> None:
    assert inspect.signature(RoomKit).parameters["identity_timeout"].default == 10.0


async def test_R171_a_failing_resolver_blocks_nobody() -> None:
    class Broken(Oracle):
        async def resolve(self, message: InboundMessage, context: RoomContext) -> IdentityResult:
            raise ConnectionError("the directory is down")

    async with staged(identity_resolver=Broken()) as stage:
        await stage.room(RecordingTransport("sms"))
        result = await stage.inbound("sms")
        assert not result.blocked
        assert bodies(await stage.messages()) == ["hi"]


async def test_R172_whoever_was_settled_by_hand_is_not_resolved() -> None:
    oracle = Oracle(S.UNKNOWN)
    async with staged(identity_resolver=oracle) as stage:
        await stage.room(RecordingTransport("sms"))
        await stage.kit.store.create_identity(ANN)
        await stage.inbound("sms")
        await stage.kit.resolve_participant(ROOM, "ann", ANN.id)
        event = (await stage.inbound("sms")).event
        assert oracle.asked == ["ann"]
        assert event is not None
        assert event.source.participant_id == "ann"


async def test_R172_being_identified_in_one_room_says_nothing_in_another() -> None:
    oracle = Oracle()
    async with staged(identity_resolver=oracle) as stage:
        sms = RecordingTransport("sms")
        for room_id in ("one", "two"):
            await stage.room(sms, room_id=room_id)
            await stage.inbound("sms", sender="person-ann", room_id=room_id)
        assert len(oracle.asked) == 2


async def test_R170_hooks_may_be_limited_to_channel_types() -> None:
    log: list[str] = []
    async with staged(identity_resolver=Oracle(S.UNKNOWN)) as stage:

        @stage.kit.identity_hook(UNKNOWN, channel_types={ChannelType.EMAIL})
        async def fn(event: Any, *_: Any) -> None:
            log.append(event.source.channel_id)

        mail = RecordingTransport("mail", channel_type=ChannelType.EMAIL)
        await stage.room(RecordingTransport("sms"), mail)
        await stage.inbound("sms")
        await stage.inbound("mail")
    assert log == ["mail"]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("organization", ["acme", "other", None])
async def test_R174_lookups_stay_within_the_organization(
    tmp_path: Path, kind: str, organization: str | None
) -> None:
    store: ConversationStore = InMemoryStore()
    if kind == "sqlite":
        pytest.importorskip("sqlalchemy")
        from salon.store.factory import make_stores

        store = make_stores(f"sqlite:///{tmp_path / 'people.db'}").conversation
    async with staged(store=store, identity_resolver=StoreIdentityResolver(store)) as stage:
        for name in ("acme", None):
            person = Identity(id=f"of-{name}", organization_id=name)
            await store.create_identity(person)
            await store.link_address(person.id, "sms", "+15550100", organization_id=name)
        await stage.room(RecordingTransport("sms"), organization_id=organization)
        event = (await stage.inbound("sms", sender="+15550100")).event
        assert event is not None
        expected = {"acme": "of-acme", None: "of-None", "other": "+15550100"}[organization]
        assert event.source.participant_id == expected


async def test_R174_the_first_message_of_a_conversation_is_resolved_too() -> None:
    store = InMemoryStore()
    async with staged(store=store, identity_resolver=StoreIdentityResolver(store)) as stage:
        await store.create_identity(ANN)
        await store.link_address(ANN.id, "sms", "+15550100")
        stage.register(RecordingTransport("sms"))
        event = (await stage.inbound("sms", sender="+15550100", room_id=None)).event
        assert event is not None
        assert event.source.participant_id == ANN.id


async def test_R173_no_room_is_left_of_a_refused_stranger() -> None:
    async with staged(identity_resolver=Oracle(S.UNKNOWN)) as stage:

        @stage.kit.identity_hook(UNKNOWN)
        async def refuse(*_: Any) -> IdentityHookResult:
            return IdentityHookResult.reject()

        stage.register(RecordingTransport("sms"))
        result = await stage.kit.process_inbound(message("sms"))
        assert result.reason == "unknown_sender"
        assert await stage.kit.store.list_rooms() == []
