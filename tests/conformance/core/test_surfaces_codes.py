"""Every reason, delivery error, exception and record code that there is (chapter 34)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.conformance.core.stage import (
    ROOM,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    message,
    staged,
    text,
)

from salon.core import (
    ChannelAlreadyRegisteredError,
    ChannelNotFoundError,
    ChannelNotRegisteredError,
    ParticipantNotFoundError,
    RoomClosedError,
    RoomKitError,
    RoomNotFoundError,
)
from salon.core.errors import (
    IdentityNotFoundError,
    ParticipantNotAdmittedError,
    SourceAlreadyAttachedError,
    SourceNotFoundError,
)
from salon.core.ports.identity import IdentityResolver
from salon.core.ports.source import BaseSourceProvider, EmitCallback
from salon.core.ports.transcoder import ContentTranscoder
from salon.models import (
    Access,
    DeleteContent,
    DeleteType,
    EditContent,
    EventStatus,
    EventType,
    HookResult,
    HookTrigger,
    IdentificationStatus,
    InboundMessage,
    InboundResult,
    LocationContent,
    ParticipantStatus,
    ProviderDeliveryError,
    RateLimit,
    RoomContext,
    RoomEvent,
    RoomTimers,
)
from salon.models.identity import Identity, IdentityHookResult, IdentityResult

Call = Callable[[Stage], Awaitable[Any]]


class Oracle(IdentityResolver):
    def __init__(self, status: IdentificationStatus) -> None:
        self.status = status

    async def resolve(self, message: InboundMessage, context: RoomContext) -> IdentityResult:
        people = (Identity(id="a"), Identity(id="b"))
        found = people if self.status is IdentificationStatus.AMBIGUOUS else ()
        return IdentityResult(status=self.status, candidates=found)


class NothingFits(ContentTranscoder):
    async def transcode(self, content: Any, source: Any, target: Any) -> Any:
        return None


# -- block reasons --------------------------------------------------------------------------------


async def two(stage: Stage) -> tuple[RecordingTransport, RecordingTransport]:
    channels = RecordingTransport("sms"), RecordingTransport("web")
    await stage.room(*channels)
    return channels


async def into_a_closed_room(stage: Stage) -> InboundResult:
    await two(stage)
    await stage.kit.close_room(ROOM)
    return await stage.inbound("sms")


async def into_an_archived_room(stage: Stage) -> InboundResult:
    await two(stage)
    await stage.kit.archive_room(ROOM)
    return await stage.inbound("sms")


async def too_slow(stage: Stage) -> InboundResult:
    sms, _ = await two(stage)

    async def hang(*_: Any) -> None:
        await asyncio.sleep(1000)

    sms.parse = hang
    return await asyncio.wait_for(stage.kit.process_inbound(message("sms"), room_id=ROOM), 100)


async def read_only(stage: Stage) -> InboundResult:
    await two(stage)
    await stage.kit.set_access(ROOM, "sms", Access.READ_ONLY)
    return await stage.inbound("sms")


async def muted(stage: Stage) -> InboundResult:
    await two(stage)
    await stage.kit.mute(ROOM, "sms")
    return await stage.inbound("sms")


async def unbound(stage: Stage) -> InboundResult:
    await two(stage)
    await stage.kit.detach_channel(ROOM, "sms")
    return await stage.inbound("sms")


async def hooked(stage: Stage) -> InboundResult:
    await two(stage)
    stage.block("rude words", name="censor")
    return await stage.inbound("sms")


async def a_broken_guard(stage: Stage) -> InboundResult:
    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST, name="guard", fail_closed=True)
    async def fn(event: RoomEvent, context: RoomContext) -> HookResult:
        raise RuntimeError("oops")

    await two(stage)
    return await stage.inbound("sms")


async def a_slow_guard(stage: Stage) -> InboundResult:
    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST, name="guard", fail_closed=True, timeout=1)
    async def fn(event: RoomEvent, context: RoomContext) -> HookResult:
        await asyncio.sleep(5)
        return HookResult.allow()

    await two(stage)
    return await stage.inbound("sms")


async def a_wrong_guard(stage: Stage) -> InboundResult:
    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST, name="guard", fail_closed=True)
    async def fn(event: RoomEvent, context: RoomContext) -> Any:
        return "fine"

    await two(stage)
    return await stage.inbound("sms")


async def too_often(stage: Stage) -> InboundResult:
    await two(stage)
    await stage.inbound("sms", "the one")
    return await stage.inbound("sms")


async def change(stage: Stage, content: Any, **more: Any) -> InboundResult:
    kind = EventType.EDIT if isinstance(content, EditContent) else EventType.DELETE
    return await stage.inbound("sms", content=content, event_type=kind, **more)


async def of_nothing(stage: Stage) -> InboundResult:
    await two(stage)
    return await change(stage, EditContent(target_event_id="nothing", new_content=text("x")))


async def by_nobody(stage: Stage) -> InboundResult:
    sms, _ = await two(stage)
    target = (await stage.inbound("sms", "the one")).event
    assert target is not None

    def anonymous(message: InboundMessage, event: RoomEvent) -> RoomEvent:
        source = event.source.model_copy(update={"participant_id": None})
        return event.model_copy(update={"source": source})

    sms.make = anonymous
    return await change(stage, EditContent(target_event_id=target.id, new_content=text("x")))


async def by_another(stage: Stage) -> InboundResult:
    await two(stage)
    target = (await stage.inbound("sms", "the one", sender="bob")).event
    assert target is not None
    return await change(stage, EditContent(target_event_id=target.id, new_content=text("x")))


async def as_admin(stage: Stage) -> InboundResult:
    await two(stage)
    target = (await stage.inbound("sms", "the one", sender="bob")).event
    assert target is not None
    content = DeleteContent(target_event_id=target.id, delete_type=DeleteType.ADMIN)
    return await change(stage, content)


async def barred(stage: Stage) -> InboundResult:
    await two(stage)
    await stage.kit.add_member(ROOM, "sms", "ann")
    await stage.kit.remove_member(ROOM, "ann", status=ParticipantStatus.BANNED)
    return await stage.inbound("sms")


def identified(trigger: HookTrigger | None, answer: IdentityHookResult | None) -> Call:
    async def scene(stage: Stage) -> InboundResult:
        if trigger is not None:

            @stage.kit.identity_hook(trigger)
            async def fn(*_: Any) -> IdentityHookResult | None:
                return answer

        await two(stage)
        return await stage.inbound("sms")

    return scene


S, T = IdentificationStatus, HookTrigger
REJECT = IdentityHookResult.reject()
# reason -> scene, options of the kit, whether it is stored (and then as blocked by what)
REASONS: dict[str, tuple[Call, dict[str, Any], str | None]] = {
    "room_closed": (into_a_closed_room, {}, None),
    "room_closed, archived": (into_an_archived_room, {}, None),
    "process_timeout": (too_slow, {"process_timeout": 2}, None),
    "source_read_only": (read_only, {}, "source_read_only"),
    "source_muted": (muted, {}, "source_muted"),
    "source_unbound": (unbound, {}, "source_unbound"),
    "rude words": (hooked, {}, "censor"),
    "hook_error:guard": (a_broken_guard, {}, "guard"),
    "hook_timeout:guard": (a_slow_guard, {}, "guard"),
    "hook_invalid_result:guard": (a_wrong_guard, {}, "guard"),
    "rate_limited": (too_often, {"inbound_rate_limit": RateLimit(max_per_minute=1)}, None),
    "target_event_not_found": (of_nothing, {}, None),
    "identity_required_for_edit": (by_nobody, {}, None),
    "not_original_author": (by_another, {}, None),
    "not_authorized": (as_admin, {}, None),
    "participant_not_admitted": (barred, {}, None),
    "identity_challenge_sent": (
        identified(None, None), {"identity_resolver": Oracle(S.CHALLENGE_SENT)}, None
    ),
    "identity_rejected": (
        identified(T.ON_IDENTITY_AMBIGUOUS, REJECT),
        {"identity_resolver": Oracle(S.AMBIGUOUS)},
        None,
    ),
    "unknown_sender": (
        identified(T.ON_IDENTITY_UNKNOWN, REJECT), {"identity_resolver": Oracle(S.UNKNOWN)}, None
    ),
}  # fmt: skip


@pytest.mark.parametrize("reason", REASONS, ids=[name.replace(", ", "-") for name in REASONS])
async def test_chapter_34_every_block_reason_is_reached(reason: str) -> None:
    scene, options, blocked_by = REASONS[reason]
    async with staged(**options) as stage:
        result = await scene(stage)
        await stage.settle()
        assert (result.blocked, result.reason) == (True, reason.partition(",")[0])
        others = [event for event in await stage.messages() if event.text != "the one"]
        assert [event.blocked_by for event in others] == ([blocked_by] if blocked_by else [])
        if blocked_by is None:
            assert result.event is None
        else:
            assert result.event is not None
            assert result.event.status is EventStatus.BLOCKED
            assert result.event.id == others[0].id
        web = stage.kit.get_channel("web")
        assert isinstance(web, RecordingTransport)
        assert "hi" not in web.bodies


async def test_chapter_34_the_depth_limit_blocks_answers(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), ScriptedAgent("one"), ScriptedAgent("two"))
    await stage.inbound("sms", addressed_to=["one"])
    await stage.settle()
    blocked = [event for event in await stage.messages() if event.status is EventStatus.BLOCKED]
    assert {event.blocked_by for event in blocked} == {"event_chain_depth_limit"}


async def test_chapter_34_the_loop_cap_blocks_answers(stage: Stage) -> None:
    agent = ScriptedAgent("ai", lambda event, context: ["one"] * 60)
    await stage.room(RecordingTransport("sms"), agent)
    await stage.inbound("sms")
    await stage.settle()
    answers = [event for event in await stage.messages() if event.source.channel_id == "ai"]
    assert [event.blocked_by for event in answers] == [None] * 50 + ["reentry_loop_cap"] * 10


async def test_chapter_34_a_duplicate_is_known_by_its_mark(stage: Stage) -> None:
    await two(stage)
    first = await stage.inbound("sms", idempotency_key="k")
    again = await stage.inbound("sms", idempotency_key="k")
    assert (again.duplicate, again.blocked) == (True, False)
    assert first.event is not None
    assert again.event is not None
    assert again.event.id == first.event.id


# -- delivery errors ------------------------------------------------------------------------------


async def untranscodable(stage: Stage, web: RecordingTransport) -> None:
    """The transcoder of the kit sees to it."""


async def provider_says_no(stage: Stage, web: RecordingTransport) -> None:
    web.failures = [ProviderDeliveryError("21610", "unsubscribed", retryable=False)]


async def raises(stage: Stage, web: RecordingTransport) -> None:
    web.failures = [OSError("gone")]


async def hangs(stage: Stage, web: RecordingTransport) -> None:
    web.hold = asyncio.Event()


async def is_out(stage: Stage, web: RecordingTransport) -> None:
    web.failures = [OSError("gone") for _ in range(5)]
    for _ in range(5):
        await stage.inbound("sms")


DELIVERY: dict[str, tuple[Callable[..., Awaitable[None]], dict[str, Any], bool]] = {
    "transcoding_failed": (untranscodable, {"transcoder": NothingFits()}, False),
    "circuit_breaker_open": (is_out, {}, True),
    "21610": (provider_says_no, {}, False),
    "OSError": (raises, {}, True),
    "timeout": (hangs, {"delivery_timeout": 2}, True),
}


@pytest.mark.parametrize("code", DELIVERY)
async def test_chapter_34_every_delivery_error_is_reached(code: str) -> None:
    scene, options, retryable = DELIVERY[code]
    async with staged(**options) as stage:
        failed = stage.listen("delivery_failed")
        _, web = await two(stage)
        await scene(stage, web)
        result = await stage.inbound("sms")
        await stage.settle()
        assert not result.blocked
        outcome = result.delivery_results["web"]
        assert (outcome.status, outcome.channel_id) == ("failed", "web")
        assert outcome.error is not None
        assert (outcome.error.code, outcome.error.retryable) == (code, retryable)
        assert outcome.error.message
        assert failed[-1].channel_id == "web"
        assert (await stage.said())[-1] == ("hi", "delivered")


# -- exceptions -----------------------------------------------------------------------------------


class Silence(BaseSourceProvider):
    @property
    def name(self) -> str:
        return "silence"

    async def start(self, emit: EmitCallback) -> None:
        await asyncio.Event().wait()


async def named_twice(stage: Stage) -> None:
    stage.kit.register_channel(RecordingTransport("sms"))


async def sent_to_a_closed_room(stage: Stage) -> None:
    await stage.kit.close_room(ROOM)
    await stage.send("sms")


async def a_second_source(stage: Stage) -> None:
    await stage.kit.attach_source("sms", Silence())
    await stage.kit.attach_source("sms", Silence())


async def an_unknown_identity(stage: Stage) -> None:
    await stage.kit.add_member(ROOM, "sms", "ann")
    await stage.kit.resolve_participant(ROOM, "ann", "nobody")


async def a_foreign_identity(stage: Stage) -> None:
    await stage.kit.store.create_identity(Identity(id="theirs", organization_id="other"))
    await stage.kit.add_member(ROOM, "sms", "ann")
    await stage.kit.resolve_participant(ROOM, "ann", "theirs")


async def a_barred_member(stage: Stage) -> None:
    await stage.kit.add_member(ROOM, "sms", "ann")
    await stage.kit.remove_member(ROOM, "ann", status=ParticipantStatus.BANNED)
    await stage.kit.ensure_participant(ROOM, "sms", "ann")


EXCEPTIONS: dict[str, tuple[type[Exception], Call]] = {
    "unknown room": (RoomNotFoundError, lambda s: s.kit.get_room("nowhere")),
    "another's room": (RoomNotFoundError, lambda s: s.kit.get_room(ROOM, organization_id="x")),
    "closed room": (RoomClosedError, sent_to_a_closed_room),
    "unknown channel": (ChannelNotRegisteredError, lambda s: s.kit.attach_channel(ROOM, "fax")),
    "message of it": (ChannelNotRegisteredError, lambda s: s.kit.process_inbound(message("fax"))),
    "duplicate channel": (ChannelAlreadyRegisteredError, named_twice),
    "no binding": (ChannelNotFoundError, lambda s: s.kit.get_binding(ROOM, "web")),
    "muting no binding": (ChannelNotFoundError, lambda s: s.kit.mute(ROOM, "web")),
    "sending without": (ChannelNotFoundError, lambda s: s.send("web")),
    "unknown member": (ParticipantNotFoundError, lambda s: s.kit.remove_member(ROOM, "eve")),
    "barred member": (ParticipantNotAdmittedError, a_barred_member),
    "unknown identity": (IdentityNotFoundError, an_unknown_identity),
    "foreign identity": (IdentityNotFoundError, a_foreign_identity),
    "second source": (SourceAlreadyAttachedError, a_second_source),
    "no source": (SourceNotFoundError, lambda s: s.kit.detach_source("sms")),
    "invalid model": (ValueError, lambda s: _location()),
    "both cursors": (
        ValueError, lambda s: s.kit.get_timeline(ROOM, after_index=1, before_index=2)
    ),
}  # fmt: skip


async def _location() -> LocationContent:
    return LocationContent(latitude=91, longitude=0)


@pytest.mark.parametrize("name", EXCEPTIONS, ids=[n.replace(" ", "-") for n in EXCEPTIONS])
async def test_chapter_34_every_exception_is_reached(stage: Stage, name: str) -> None:
    kind, call = EXCEPTIONS[name]
    await stage.room(RecordingTransport("sms"), organization_id="acme")
    stage.register(RecordingTransport("web"))
    with pytest.raises(kind) as caught:
        await call(stage)
    if kind is not ValueError:
        assert isinstance(caught.value, RoomKitError)
        assert str(caught.value)
        assert getattr(caught.value, "code", None)


def test_chapter_34_a_providers_refusal_carries_what_it_said() -> None:
    error = ProviderDeliveryError("21610", "unsubscribed", retryable=False)
    assert isinstance(error, RoomKitError)
    assert (error.code, error.retryable) == ("21610", False)


# -- codes of records -----------------------------------------------------------------------------


async def a_whole_life(stage: Stage) -> None:
    kit = stage.kit
    await stage.room(
        RecordingTransport("sms"),
        RecordingTransport("web"),
        timers=RoomTimers(inactive_after_seconds=100, closed_after_seconds=100),
    )
    await kit.mute(ROOM, "web")
    await kit.unmute(ROOM, "web")
    await kit.set_access(ROOM, "web", Access.READ_ONLY)
    await kit.set_visibility(ROOM, "web", "none")
    await kit.update_binding_metadata(ROOM, "web", {"a": 1})
    await kit.store.create_identity(Identity(id="person", display_name="Ann"))
    await kit.add_member(ROOM, "sms", "ann")
    await kit.rename_member(ROOM, "ann", "Anna")
    await kit.resolve_participant(ROOM, "ann", "person")
    await kit.remove_member(ROOM, "ann")
    await kit.detach_channel(ROOM, "web")
    for _ in range(2):
        await asyncio.sleep(101)
        await kit.check_all_timers()


async def test_chapter_34_every_record_has_its_code(stage: Stage) -> None:
    await a_whole_life(stage)
    found = await stage.codes()
    assert found == [
        "channel_attached",
        "channel_attached",
        "channel_muted",
        "channel_unmuted",
        "channel_access_changed",
        "channel_visibility_changed",
        "channel_metadata_updated",
        "participant_joined",
        "participant_updated",
        "participant_identified",
        "participant_left",
        "channel_detached",
        "room_paused_by_timer",
        "room_closed_by_timer",
    ]
