"""Who may write, who sees what, who is asked (chapters 8 and 9)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.core.kit import RoomKit
from salon.core.permissions import (
    check_scope,
    effective_scope,
    history_for,
    may_deliver,
    may_read,
    no_wider,
    scope_includes,
    targets,
    visible,
    visible_events,
    write_refusal,
)
from salon.models import (
    Access,
    ChannelBinding,
    ChannelCategory,
    ChannelDirection,
    EventSource,
    EventStatus,
    HookResult,
    HookTrigger,
    Observation,
    Room,
    RoomContext,
    RoomEvent,
    Task,
)

from .helpers import ROOM, Agent, Transport, message, messages, room_with, text, words

IDS = ("a", "b", "c", "d")
scopes = st.one_of(
    st.sampled_from(["all", "none", "transport", "intelligence", "internal", ""]),
    st.lists(st.sampled_from((*IDS, "ghost", " a ", "")), max_size=4).map(",".join),
)


@st.composite
def rooms(draw: st.DrawFn) -> list[ChannelBinding]:
    ids = draw(st.lists(st.sampled_from(IDS), unique=True))
    return [
        ChannelBinding(
            channel_id=channel_id,
            room_id=ROOM,
            channel_type="sms",
            category=draw(st.sampled_from(ChannelCategory)),
            access=draw(st.sampled_from(Access)),
            muted=draw(st.booleans()),
            visibility=draw(scopes),
        )
        for channel_id in ids
    ]


@st.composite
def events(draw: st.DrawFn) -> RoomEvent:
    return event(
        draw(st.sampled_from((*IDS, "system"))),
        visibility=draw(scopes),
        status=draw(st.sampled_from([EventStatus.DELIVERED, EventStatus.BLOCKED])),
    )


def event(source: str, **more: Any) -> RoomEvent:
    return RoomEvent(
        room_id=ROOM,
        source=EventSource(channel_id=source, channel_type="sms"),
        content=text("x"),
        **more,
    )


def binding(channel_id: str, category: ChannelCategory, **more: Any) -> ChannelBinding:
    return ChannelBinding(
        channel_id=channel_id,
        room_id=ROOM,
        channel_type="sms",
        category=category,
        **more,
    )


@given(events(), rooms())
def test_R70_R74_targets_read_see_and_are_not_the_source(
    event: RoomEvent, bindings: list[ChannelBinding]
) -> None:
    got = {b.channel_id for b in targets(event, bindings)}
    source = {b.channel_id: b for b in bindings}.get(event.source.channel_id)
    for b in bindings:
        own = b.channel_id == event.source.channel_id
        allowed = b.access in (Access.READ_WRITE, Access.READ_ONLY)
        within = scope_includes(event.visibility, b) and (
            source is None or scope_includes(source.visibility, b)
        )
        assert (b.channel_id in got) == (not own and allowed and within)


@given(events(), rooms(), scopes)
def test_AMB14_narrowing_either_scope_never_widens(
    event: RoomEvent, bindings: list[ChannelBinding], scope: str
) -> None:
    every = {
        b.channel_id for b in targets(event.model_copy(update={"visibility": "all"}), bindings)
    }
    some = {b.channel_id for b in targets(event.model_copy(update={"visibility": scope}), bindings)}
    assert some <= every


@given(st.lists(events(), max_size=6), rooms(), st.sampled_from(IDS))
def test_R80_R81_R84_history_is_what_was_seen_or_said(
    past: list[RoomEvent], bindings: list[ChannelBinding], reader: str
) -> None:
    known = history_for(reader, past, bindings)
    bound = {b.channel_id for b in bindings}
    for one in past:
        expected = one.status is not EventStatus.BLOCKED and (
            one.source.channel_id == reader
            or (reader in bound and reader in {b.channel_id for b in targets(one, bindings)})
        )
        assert (one in known) == expected


@pytest.mark.parametrize(
    ("scope", "transport", "intelligence", "listed"),
    [
        ("all", True, True, True),
        ("none", False, False, False),
        ("internal", False, False, False),
        ("transport", True, False, True),
        ("intelligence", False, True, False),
        ("listed", False, False, True),
        (" listed , ,other ", False, False, True),
        ("", False, False, False),
    ],
)
def test_R77_R78_scopes(scope: str, transport: bool, intelligence: bool, listed: bool) -> None:
    seen = [
        scope_includes(scope, binding(name, category))
        for name, category in (
            ("t", ChannelCategory.TRANSPORT),
            ("i", ChannelCategory.INTELLIGENCE),
            ("listed", ChannelCategory.TRANSPORT),
        )
    ]
    assert seen == [transport, intelligence, listed]


def test_R84_a_source_that_is_gone_leaves_the_events_own_scope() -> None:
    reader = binding("t", ChannelCategory.TRANSPORT)
    assert visible(event("gone"), None, reader)
    assert not visible(event("gone", visibility="none"), None, reader)


def test_R81_ones_own_is_always_visible() -> None:
    own = binding("t", ChannelCategory.TRANSPORT, visibility="none")
    assert visible(event("t", visibility="none"), own, own)


TABLE = [
    # access, muted, receives, own inbound (None: delivered), answers re-enter
    (Access.READ_WRITE, False, True, None, "delivered"),
    (Access.READ_WRITE, True, True, "source_muted", "source_muted"),
    (Access.READ_ONLY, False, True, "source_read_only", "source_read_only"),
    (Access.READ_ONLY, True, True, "source_read_only", "source_read_only"),
    (Access.WRITE_ONLY, False, False, None, None),
    (Access.WRITE_ONLY, True, False, "source_muted", None),
    (Access.NONE, False, False, "source_read_only", None),
    (Access.NONE, True, False, "source_read_only", None),
]


@pytest.mark.parametrize(("access", "muted", "receives", "refusal", "answers"), TABLE)
class TestTruthTable:
    """Table 8.1, row by row."""

    async def test_R70_R71_inbound_and_injection(
        self,
        kit: RoomKit,
        access: Access,
        muted: bool,
        receives: bool,
        refusal: str | None,
        answers: str | None,
    ) -> None:
        subject, other = Transport("subject"), Transport("other")
        kit.register_channel(subject)
        await room_with(kit, other)
        await kit.attach_channel(ROOM, "subject", access=access, muted=muted)

        async def note(event: RoomEvent, context: RoomContext) -> HookResult:
            task = Task(room_id=ROOM, title="t")
            return HookResult(tasks=(task,))

        kit.add_hook(HookTrigger.BEFORE_BROADCAST, note, channel_ids=["subject"])
        await kit.process_inbound(message("other", "to it"), room_id=ROOM)
        inbound = await kit.process_inbound(message("subject", "in"), room_id=ROOM)
        sent = await kit.send_event(ROOM, "subject", text("sent"))

        assert [e.text for e in subject.told] == (["to it"] if receives else [])
        assert subject.bodies == (["to it"] if receives else [])
        assert (inbound.reason, sent.blocked_by) == (refusal, refusal)
        assert other.bodies == ([] if refusal else ["in", "sent"])
        assert len(await messages(kit)) == 3
        assert len(await kit.store.list_tasks(ROOM)) == 2

    async def test_R71_R72_answers_and_side_effects(
        self,
        kit: RoomKit,
        access: Access,
        muted: bool,
        receives: bool,
        refusal: str | None,
        answers: str | None,
    ) -> None:
        sms, bot = Transport("sms"), Agent("bot")
        kit.register_channel(bot)
        await room_with(kit, sms)
        await kit.attach_channel(ROOM, "bot", access=access, muted=muted)
        bot.extras = {
            "tasks": (Task(room_id=ROOM, title="t"),),
            "observations": (Observation(room_id=ROOM, channel_id="bot", content="o"),),
            "metadata_updates": {"mood": "good"},
        }
        await kit.process_inbound(message("sms"), room_id=ROOM)
        stored = await words(kit)
        assert stored[1:] == ([("bot: hi", answers)] if answers else [])
        assert sms.bodies == (["bot: hi"] if answers == "delivered" else [])
        room = await kit.get_room(ROOM)
        assert room is not None
        assert len(await kit.store.list_tasks(ROOM)) == int(receives)
        assert len(await kit.store.list_observations(ROOM)) == int(receives)
        assert room.metadata.get("mood") == ("good" if receives else None)


async def test_R73_R79_R80_a_whisper_reaches_its_reader_only_also_one_turn_later(
    kit: RoomKit,
) -> None:
    web, advisor = Transport("web"), Transport("advisor")
    spy, bot = Agent("spy", lambda *_: None), Agent("bot", lambda *_: None)
    await room_with(kit, web, advisor, spy, bot)
    await kit.set_visibility(ROOM, "bot", "advisor")
    await kit.send_event(ROOM, "bot", text("whisper"))
    await kit.send_event(ROOM, "web", text("secret"), visibility="none")
    await kit.process_inbound(message("web", "hello"), room_id=ROOM)
    assert advisor.bodies == ["whisper", "hello"]
    assert web.bodies == []
    assert [e.text for e in await kit.history(ROOM, "spy")] == ["hello"]
    assert [e.text for e in await kit.history(ROOM, "bot")] == ["whisper", "hello"]
    assert [e.text for e in await kit.history(ROOM, "advisor")] == ["whisper", "hello"]
    # R82: the context of hooks and the framework is whole
    assert [e.text for e in (await kit.context(ROOM)).recent_events] == [
        "whisper",
        "secret",
        "hello",
    ]
    # R84: the source is detached, its own field was "all"
    await kit.detach_channel(ROOM, "web")
    assert [e.text for e in await kit.history(ROOM, "spy")] == ["hello"]
    # a reader without a binding sees its own only
    assert [e.text for e in await kit.history(ROOM, "web")] == ["secret", "hello"]


async def test_AMB14_an_event_cannot_exceed_the_scope_of_its_binding(kit: RoomKit) -> None:
    web, advisor = Transport("web"), Transport("advisor")
    await room_with(kit, Transport("sms"), web, advisor)
    await kit.set_visibility(ROOM, "sms", "advisor")
    await kit.send_event(ROOM, "sms", text("x"), visibility="web")
    await kit.send_event(ROOM, "sms", text("y"), visibility="web,advisor")
    assert (web.bodies, advisor.bodies) == ([], ["y"])


async def test_R83_widening_a_binding_does_not_widen_its_past(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"), Agent("bot", lambda *_: None))
    await kit.set_visibility(ROOM, "sms", "none")
    await kit.process_inbound(message("sms", "early"), room_id=ROOM)
    assert await kit.history(ROOM, "bot") == ()
    await kit.set_visibility(ROOM, "sms", "all")
    assert await kit.history(ROOM, "bot") == ()


async def test_AMB26_refused_events_are_in_nobodys_history(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"), Agent("bot"))
    await kit.mute(ROOM, "sms")
    await kit.process_inbound(message("sms"), room_id=ROOM)
    assert await kit.history(ROOM, "sms") == ()
    assert await kit.history(ROOM, "bot") == ()


async def test_R76_output_muted_is_told_but_not_delivered_to(kit: RoomKit) -> None:
    web = Transport("web")
    await room_with(kit, Transport("sms"), web)
    own = await kit.store.get_binding(ROOM, "web")
    assert own is not None
    await kit.store.add_binding(own.model_copy(update={"output_muted": True}))
    result = await kit.process_inbound(message("sms"), room_id=ROOM)
    assert ([e.text for e in web.told], web.got) == (["hi"], [])
    assert result.delivery_results == {}


async def test_AMB7_an_inbound_only_channel_is_told_an_outbound_one_gets_it(kit: RoomKit) -> None:
    camera = Transport("camera", direction=ChannelDirection.INBOUND)
    push = Transport("push", direction=ChannelDirection.OUTBOUND)
    await room_with(kit, Transport("sms"), camera, push)
    await kit.process_inbound(message("sms"), room_id=ROOM)
    assert (camera.bodies, len(camera.told), push.bodies) == ([], 1, ["hi"])


@pytest.mark.parametrize(
    ("addressed", "asked"),
    [
        (None, ["a", "b"]),
        ([], []),
        (["a"], ["a"]),
        (["ghost"], []),
        (["a", "ghost"], ["a"]),
        (["hidden"], []),
        (["web"], []),
    ],
)
async def test_R85_R92_addressing(
    kit: RoomKit, addressed: list[str] | None, asked: list[str]
) -> None:
    agents = [Agent(name, lambda *_: None) for name in ("a", "b", "hidden")]
    web = Transport("web")
    await room_with(kit, Transport("sms"), web, *agents)
    await kit.set_access(ROOM, "hidden", Access.WRITE_ONLY)
    result = await kit.process_inbound(message("sms", addressed_to=addressed), room_id=ROOM)
    assert [agent.channel_id for agent in agents if agent.asked] == asked
    assert web.bodies == ["hi"]
    assert result.event is not None
    assert result.event.addressed_to == addressed


async def test_R89_an_address_reveals_nothing(kit: RoomKit) -> None:
    bot = Agent("bot")
    await room_with(kit, Transport("sms"), bot)
    await kit.process_inbound(
        message("sms", addressed_to=["bot"], visibility="transport"), room_id=ROOM
    )
    assert bot.asked == []


@given(scopes, scopes, rooms())
def test_AMB14_the_effective_scope_is_what_both_include(
    one: str, other: str, bindings: list[ChannelBinding]
) -> None:
    both = effective_scope(one, other, bindings)
    for b in bindings:
        expected = scope_includes(one, b) and scope_includes(other, b)
        assert scope_includes(both, b) == expected


@given(scopes, scopes, rooms(), rooms())
def test_AMB14_who_comes_later_gets_no_more_than_both_include(
    one: str, other: str, bindings: list[ChannelBinding], later: list[ChannelBinding]
) -> None:
    both = effective_scope(one, other, bindings)
    for b in later:
        if scope_includes(both, b) and b.channel_id not in {x.channel_id for x in bindings}:
            assert scope_includes(one, b)
            assert scope_includes(other, b)


@given(scopes, scopes, rooms())
def test_AMB14_the_effective_scope_may_be_set(
    one: str, other: str, bindings: list[ChannelBinding]
) -> None:
    both = effective_scope(one, other, bindings)
    assert check_scope(both) == both


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("all", "all", "all"),
        ("all", " b , a ", "a,b"),
        ("transport", "all", "transport"),
        ("transport", "intelligence", "none"),
        ("transport", "none", "none"),
        ("internal", "all", "internal"),
        ("internal", "none", "none"),
        ("a,b", "b,c", "b"),
        ("a", "b", "none"),
        ("transport", "t,i,ghost", "t"),
        ("t,i,ghost", "intelligence", "i"),
        ("", "all", "none"),
    ],
)
def test_AMB14_effective_scopes(one: str, other: str, both: str) -> None:
    bindings = [
        binding("t", ChannelCategory.TRANSPORT),
        binding("i", ChannelCategory.INTELLIGENCE),
    ]
    assert effective_scope(one, other, bindings) == both


@pytest.mark.parametrize(
    ("scope", "normal"),
    [
        *((word, word) for word in ("all", "none", "transport", "intelligence", "internal")),
        (" all ", "all"),
        ("web", "web"),
        (" web, sms,web ", "web,sms"),
        ("All", "All"),
    ],
)
def test_R78_a_scope_is_set_in_its_normal_form(scope: str, normal: str) -> None:
    assert check_scope(scope) == normal


@pytest.mark.parametrize("scope", ["", " ", ",", "a,", ",a", "a,,b", "a,all", "none,a", "all,none"])
def test_R78_what_is_hard_to_guess_is_not_set(scope: str) -> None:
    with pytest.raises(ValueError, match="visibility"):
        check_scope(scope)


@given(rooms().filter(bool), st.sampled_from(Access), scopes, st.booleans(), rooms())
def test_R49_nothing_derived_is_wider_than_its_origin(
    some: list[ChannelBinding],
    access: Access,
    scope: str,
    muted: bool,
    others: list[ChannelBinding],
) -> None:
    origin = some[0]
    grants = no_wider(origin, access, scope, muted, bindings=others)
    assert grants.access.can_read == (access.can_read and origin.access.can_read)
    assert grants.access.can_write == (access.can_write and origin.access.can_write)
    assert grants.muted == (muted or origin.muted)
    for b in others:
        if scope_includes(grants.visibility, b):
            assert scope_includes(origin.visibility, b)
            assert scope_includes(scope, b)


@given(rooms().filter(bool))
def test_R49_what_is_not_asked_for_is_carried_over(some: list[ChannelBinding]) -> None:
    origin = some[0]
    derived = origin.model_copy(update=no_wider(origin)._asdict())
    assert derived == origin


def test_AMB28_of_two_reasons_the_lasting_one() -> None:
    own = binding("x", ChannelCategory.TRANSPORT, access=Access.READ_ONLY, muted=True)
    assert write_refusal(own) == "source_read_only"
    assert write_refusal(None) == "source_unbound"


@pytest.mark.parametrize("direction", list(ChannelDirection))
@pytest.mark.parametrize("output_muted", [True, False])
@pytest.mark.parametrize("access", list(Access))
def test_AMB7_told_by_access_delivered_to_by_direction(
    access: Access, output_muted: bool, direction: ChannelDirection
) -> None:
    own = binding(
        "x",
        ChannelCategory.TRANSPORT,
        access=access,
        output_muted=output_muted,
        direction=direction,
    )
    assert may_read(own) == access.can_read
    assert may_deliver(own) == (not output_muted and direction is not ChannelDirection.INBOUND)
    assert (own in targets(event("y"), [own])) == access.can_read


def test_R80_the_view_of_one_reader_is_there_for_hosts() -> None:
    bindings = (binding("t", ChannelCategory.TRANSPORT), binding("i", ChannelCategory.INTELLIGENCE))
    past = (event("t"), event("t", visibility="none"), event("i", visibility="none"))
    context = RoomContext(Room(), bindings=bindings, recent_events=past)
    assert visible_events(context, "i") == [past[0], past[2]]
    assert visible_events(context, "gone") == []
