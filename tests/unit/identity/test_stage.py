"""The identity stage of the inbound pipeline."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from salon.identity import (
    Actions,
    Block,
    Identity,
    IdentityHookResult,
    IdentityHooks,
    IdentityResolver,
    IdentityResult,
    IdentityStage,
    InMemoryIdentityResolver,
    KeepPending,
    MockIdentityResolver,
    UseIdentity,
)
from salon.models import (
    ChannelType,
    EventSource,
    InboundMessage,
    RoomContext,
    RoomEvent,
    TextContent,
)
from salon.models import IdentificationStatus as Status
from salon.testing.contracts.identity import ANN, make_context, make_message
from salon.testing.contracts.samples import make_participant

BOB = Identity(id="bob")
OURS = Identity(id="ours", organization_id="a")
THEIRS = Identity(id="theirs", organization_id="b")


class Scripted(IdentityResolver):
    """Answers with, or raises, one thing; keeps what it was asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[InboundMessage, RoomContext]] = []

    async def resolve(self, message: InboundMessage, context: RoomContext) -> IdentityResult:
        self.asked.append((message, context))
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer  # type: ignore[no-any-return]


def event_from(address: str, channel_type: str = ChannelType.SMS) -> RoomEvent:
    source = EventSource(channel_id="phone", channel_type=channel_type, participant_id=address)
    return RoomEvent(room_id="room", source=source, content=TextContent(body="hello"))


async def run(
    resolver: IdentityResolver | None,
    hooks: IdentityHooks | None = None,
    context: RoomContext | None = None,
    *,
    address: str = "+15550001",
    declared: bool = False,
    **options: Any,
) -> Actions:
    stage = IdentityStage(resolver, hooks or IdentityHooks(), **options)
    return await stage.run(
        event_from(address),
        make_message(address),
        context or make_context(),
        sender_is_participant=declared,
    )


def unknown_is(answer: IdentityHookResult, seen: list[IdentityResult] | None = None) -> Any:
    hooks = IdentityHooks()

    async def pick(event: Any, context: Any, result: IdentityResult) -> IdentityHookResult:
        if seen is not None:
            seen.append(result)
        return answer

    for trigger in ("on_identity_unknown", "on_identity_ambiguous"):
        hooks.add(trigger, pick)
    return hooks


async def test_R170_without_a_resolver_nobody_is_asked() -> None:
    hooks = unknown_is(IdentityHookResult.reject())
    assert await run(None, hooks) == ()
    assert not IdentityStage(None, hooks).enabled_for("sms")


@pytest.mark.parametrize(
    ("types", "enabled"),
    [(None, True), ({ChannelType.SMS}, True), ({"sms"}, True), ({"email"}, False), ((), False)],
)
async def test_R170_resolution_may_be_limited_to_channel_types(types: Any, enabled: bool) -> None:
    mock = MockIdentityResolver({"+15550001": ANN})
    actions = await run(mock, channel_types=types)
    assert actions == ((UseIdentity(ANN, "auto"),) if enabled else ())
    assert len(mock.calls) == enabled
    stage = IdentityStage(mock, IdentityHooks(), channel_types=types)
    assert stage.enabled_for(ChannelType.SMS) is stage.enabled_for("sms") is enabled


async def test_R171_a_slow_resolver_counts_as_unknown_and_is_reported() -> None:
    late: list[tuple[str, str]] = []
    seen: list[IdentityResult] = []
    began = asyncio.get_running_loop().time()
    actions = await run(
        Scripted(None),
        unknown_is(IdentityHookResult.pending("X"), seen),
        on_timeout=lambda *who: late.append(who),
    )
    assert actions == (KeepPending((), "X"),)
    assert asyncio.get_running_loop().time() - began == pytest.approx(10)
    assert late == [("room", "+15550001")]
    (result,) = seen
    assert (result.status, result.address) == (Status.UNKNOWN, "+15550001")


async def test_R171_a_slow_resolver_does_not_block() -> None:
    assert await run(Scripted(None), timeout=3) == ()


@pytest.mark.parametrize(
    "answer", [ZeroDivisionError(), TimeoutError(), asyncio.CancelledError(), "nonsense"]
)
async def test_R171_a_broken_resolver_counts_as_unknown(answer: Any) -> None:
    late: list[Any] = []
    actions = await run(
        Scripted(answer),
        unknown_is(IdentityHookResult.reject()),
        on_timeout=lambda *who: late.append(who),
    )
    assert actions == (Block("unknown_sender"),)
    assert late == []


async def test_a_cancelled_caller_is_cancelled() -> None:
    running = asyncio.create_task(run(Scripted(None)))
    await asyncio.sleep(1)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()


async def test_R172_a_channel_that_names_participants_is_skipped() -> None:
    mock = MockIdentityResolver()
    hooks = unknown_is(IdentityHookResult.reject())
    assert await run(mock, hooks, declared=True) == ()
    assert mock.calls == []


@pytest.mark.parametrize("status", list(Status))
async def test_R172_only_identified_participants_are_skipped(status: Status) -> None:
    mock = MockIdentityResolver({"+15550001": ANN})
    known = make_participant("+15550001", identification=status)
    context = replace(make_context(), participants=(make_participant("other"), known))
    actions = await run(mock, context=context)
    skipped = status is Status.IDENTIFIED
    assert actions == (() if skipped else (UseIdentity(ANN, "auto"),))
    assert len(mock.calls) == (not skipped)


async def test_chapter_16_a_shared_phone_stays_pending() -> None:
    mock = MockIdentityResolver(ambiguous={"+15550001": [ANN, BOB]})
    assert await run(mock) == (KeepPending(("ann", "bob")),)


async def test_chapter_16_the_hook_that_resolved_is_named() -> None:
    mock = MockIdentityResolver(ambiguous={"+15550001": [ANN, BOB]})
    hooks = unknown_is(IdentityHookResult.resolved(BOB))
    assert await run(mock, hooks) == (UseIdentity(BOB, "pick"),)


async def test_chapter_16_known_senders_need_no_hook() -> None:
    mock = MockIdentityResolver({"+15550001": ANN})
    hooks = unknown_is(IdentityHookResult.reject())
    assert await run(mock, hooks) == (UseIdentity(ANN, "auto"),)


async def test_chapter_16_address_and_channel_type_are_filled_in() -> None:
    seen: list[IdentityResult] = []
    hooks = unknown_is(IdentityHookResult.pending(), seen)
    await run(Scripted(IdentityResult(status=Status.UNKNOWN)), hooks)
    own = IdentityResult(status=Status.UNKNOWN, address="a", channel_type="t")
    await run(Scripted(own), hooks)
    assert [(item.address, item.channel_type) for item in seen] == [
        ("+15550001", "sms"),
        ("a", "t"),
    ]


async def test_a_first_message_finds_the_channel_type_too() -> None:
    context = replace(make_context(), bindings=())
    resolver = InMemoryIdentityResolver([ANN])
    assert await run(resolver, context=context) == (UseIdentity(ANN, "auto"),)


async def test_R267_people_of_other_organizations_are_not_found() -> None:
    found = IdentityResult(status=Status.IDENTIFIED, identity=THEIRS)
    hooks = unknown_is(IdentityHookResult.reject())
    assert await run(Scripted(found), hooks, make_context("a")) == (Block("unknown_sender"),)
    assert await run(Scripted(found), hooks, make_context()) == (Block("unknown_sender"),)
    assert await run(Scripted(found), hooks, make_context("b")) == (UseIdentity(THEIRS, "auto"),)


async def test_R267_candidates_of_other_organizations_are_left_out() -> None:
    found = IdentityResult(status=Status.AMBIGUOUS, candidates=(OURS, THEIRS, BOB))
    assert await run(Scripted(found), None, make_context("a")) == (KeepPending(("ours", "bob")),)


@pytest.mark.parametrize(
    "answer",
    [
        IdentityHookResult.resolved(THEIRS),
        IdentityHookResult.create(THEIRS),
        IdentityHookResult.pending(candidates=[OURS, THEIRS]),
    ],
)
async def test_R267_an_answer_with_people_of_others_is_none(answer: IdentityHookResult) -> None:
    assert await run(MockIdentityResolver(), unknown_is(answer), make_context("a")) == ()
