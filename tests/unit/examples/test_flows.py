"""The worked flows run, and go as the rules say."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from salon import (
    AIGenerationEvent,
    ChannelMediaType,
    EventStatus,
    FrameworkEvent,
    HookExecution,
    HookResult,
    HookTrigger,
    HTTPChannel,
    IdentificationStatus,
    Identity,
    InboundMessage,
    InMemoryIdentityResolver,
    MockSMSProvider,
    RoomContext,
    RoomEvent,
    RoomKit,
    SMSChannel,
    TextContent,
)

FLOWS = Path(__file__).parents[3] / "examples" / "flows"
NAMES = sorted(path.stem for path in FLOWS.glob("*.py") if path.stem != "stage")


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A program finds what lies beside it; these find theirs, and leave nothing behind."""
    monkeypatch.syspath_prepend(str(FLOWS))
    yield
    for name in (*NAMES, "stage"):
        sys.modules.pop(name, None)


class Played:
    """A flow that has been played, and what was heard of it."""

    def __init__(self, flow: ModuleType) -> None:
        self._flow = flow
        self.kit: RoomKit = flow.make()
        self.heard: list[FrameworkEvent] = []
        self.after: list[str] = []
        for kind in ("delivery_succeeded", "chain_depth_exceeded", "identity_resolved"):
            self.kit.on(kind)(self.heard.append)
        self.kit.hook(HookTrigger.AFTER_BROADCAST, HookExecution.ASYNC)(self._after)
        self.kit.hook(HookTrigger.BEFORE_AI_GENERATION)(self._asked)
        self.asked: list[AIGenerationEvent] = []
        self.out: list[str] = []
        """What was printed."""

    async def _after(self, event: RoomEvent, context: RoomContext) -> HookResult:
        self.after.append(event.id)
        return HookResult.allow()

    async def _asked(self, event: AIGenerationEvent, context: RoomContext) -> HookResult:
        self.asked.append(event)
        return HookResult.allow()

    async def play(self) -> None:
        await self.kit.open()
        self.room_id: str = await self._flow.play(self.kit)
        await self.kit.idle(self.room_id)
        self.events = await self.kit.get_timeline(self.room_id, include_blocked=True)
        self.said = [event for event in self.events if event.source.channel_id != "system"]

    def reached(self, event: RoomEvent) -> set[str]:
        """The channels that an event was delivered to."""
        return {
            heard.channel_id or ""
            for heard in self.heard
            if heard.type == "delivery_succeeded" and heard.event_id == event.id
        }


@pytest.fixture
async def played(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Played]:
    flow = Played(import_module(request.param))
    try:
        await flow.play()
        flow.out = capsys.readouterr().out.splitlines()
        yield flow
    finally:
        await flow.kit.close()


def flow(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("played", [name], indirect=True)


def heads(events: list[RoomEvent]) -> list[tuple[str, str, int, EventStatus]]:
    return [
        (event.type.value, event.source.channel_id, event.chain_depth, event.status)
        for event in events
    ]


DELIVERED, BLOCKED = EventStatus.DELIVERED, EventStatus.BLOCKED


@pytest.mark.parametrize("name", NAMES)
def test_every_flow_runs_by_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    import_module(name).main()
    out = capsys.readouterr().out
    assert "\nTimeline\n" in out
    assert [line.split()[0] for line in out.partition("\nTimeline\n")[2].splitlines()] == [
        str(index) for index in range(out.partition("\nTimeline\n")[2].count("\n"))
    ], "R94: numbers without gaps"


@flow("sms_customer")
async def test_R27_R147_flow_1_a_room_is_made_and_the_agent_answers(played: Played) -> None:
    question, answer = played.said
    assert heads([question, answer]) == [
        ("message", "sms", 0, DELIVERED),
        ("message", "agent", 1, DELIVERED),
    ]
    assert (question.index + 1, answer.responds_to) == (answer.index, question.id)
    assert [binding.channel_id for binding in await played.kit.list_bindings(played.room_id)] == [
        "agent",
        "sms",
    ], "AMB-3: the hook furnished the room before the channel of the message was attached"
    (person,) = await played.kit.list_members(played.room_id)
    assert question.source.participant_id == person.id == person.identity_id == "ann"
    assert person.identification is IdentificationStatus.IDENTIFIED
    assert [heard.type for heard in played.heard].count("identity_resolved") == 1
    (asked,) = played.asked
    assert asked.ai_context.target_capabilities.max_length == 1600, "R59"
    assert set(asked.ai_context.target_media_types) == {
        ChannelMediaType.TEXT,
        ChannelMediaType.MEDIA,
    }
    assert played.reached(answer) == {"sms"}
    assert played.after.count(question.id) == played.after.count(answer.id) == 1
    assert played.out[-1] == "  +15550100 gets: Hello Ann, your parcel comes tomorrow."


@flow("sensitive_number")
async def test_R122_R143_flow_2_a_block_is_stored_and_tells_those_it_names(played: Played) -> None:
    refused, to_sender, to_advisor = played.events[-3:]
    assert (refused.status, refused.blocked_by) == (BLOCKED, "no_numbers")
    assert heads([to_sender, to_advisor]) == [("message", "system", 0, DELIVERED)] * 2
    assert (refused.index + 1, refused.index + 2) == (to_sender.index, to_advisor.index)
    assert played.out[1:3] == [
        "  +15550100 gets: Please never send that number here.",
        "  advisor sees: The customer sent a sensitive number.",
    ]
    (observation,) = await played.kit.list_observations(played.room_id)
    assert observation.category == "sensitive_number"
    assert refused.id not in played.after
    assert played.asked == []


@flow("family_phone")
async def test_R44_flow_3_who_it_was_is_settled_later(played: Played) -> None:
    (message,) = played.said
    assert (message.status, message.source.participant_id) == (DELIVERED, "+15550100")
    assert played.out[1:] == [
        "  advisor sees: We lost our key.",
        "  Somebody of the family is pending, candidates: ['ann', 'bob', 'cleo']",
        "The advisor has asked: it is Bob",
        "  identified: bob",
        "  Bob is identified, candidates: none",
    ]
    (person,) = await played.kit.list_members(played.room_id)
    assert person.identification is IdentificationStatus.IDENTIFIED
    assert (person.identity_id, person.resolved_by) == ("bob", "advisor")
    assert (person.candidates, person.display_name) == (None, "Bob")
    assert played.events[-1].type.value == "participant_identified"


@flow("two_agents")
async def test_R148_R91_flow_4_a_chain_ends_at_its_limit_or_is_not_begun(played: Played) -> None:
    chain, quiet = played.said[:6], played.said[6:]
    assert heads(chain) == [
        ("message", "screen", 0, DELIVERED),
        ("message", "analyst", 1, DELIVERED),
        ("message", "writer", 2, DELIVERED),
        ("message", "analyst", 3, DELIVERED),
        ("message", "writer", 4, DELIVERED),
        ("message", "analyst", 5, BLOCKED),
    ]
    assert chain[-1].blocked_by == "event_chain_depth_limit"
    (exceeded,) = [heard for heard in played.heard if heard.type == "chain_depth_exceeded"]
    assert (exceeded.channel_id, exceeded.data["depth"]) == ("analyst", 5)
    (observation,) = await played.kit.list_observations(played.room_id)
    assert observation.category == "event_chain_depth_exceeded"
    assert heads(quiet) == [
        ("message", "screen", 0, DELIVERED),
        ("message", "analyst", 1, DELIVERED),
    ]


@flow("whisper")
async def test_R73_flow_5_a_whisper_reaches_the_advisor_alone(played: Played) -> None:
    records = [event.type.value for event in played.events if event not in played.said]
    assert records[2:] == [
        "channel_attached",
        "channel_muted",
        "channel_updated",
        "channel_unmuted",
        "channel_updated",
    ]
    before, first, question, whisper, advice, last, aloud = played.said
    assert [event.source.channel_id for event in played.said] == [
        *("sms", "agent"),
        *("sms", "agent", "advisor"),
        *("sms", "agent"),
    ]
    assert (played.reached(before), played.reached(first)) == (set(), {"sms"})
    assert (played.reached(question), whisper.responds_to) == ({"advisor"}, question.id)
    assert played.reached(whisper) == {"advisor"}
    assert played.reached(advice) == {"sms"}
    assert (played.reached(last), aloud.responds_to) == ({"advisor"}, last.id)
    assert played.reached(aloud) == {"sms", "advisor"}, "as before, once all may see it"


@flow("edits_across_channels")
async def test_R111_R113_flow_6_an_edit_reaches_each_channel_as_it_can(played: Played) -> None:
    target, edit = played.said
    assert heads([target, edit]) == [
        ("message", "whatsapp", 0, DELIVERED),
        ("edit", "whatsapp", 0, DELIVERED),
    ]
    assert (target.text, target.metadata["edited"]) == ("We meet at seven.", True)
    assert edit.index == target.index + 1
    assert played.reached(edit) == {"sms", "screen"}
    assert sorted(played.out[-3:]) == [
        "  +15550101 gets: Correction: We meet at seven.",
        f"  event {target.index} now says: We meet at seven.",
        "  screen sees: (edited) We meet at seven.",
    ]


@flow("email_and_web")
async def test_R62_an_agent_looks_up_what_it_answers_by_mail(played: Played) -> None:
    question, answer, remark = played.said
    assert heads([question, answer, remark]) == [
        ("message", "email", 0, DELIVERED),
        ("message", "agent", 1, DELIVERED),
        ("message", "web", 0, DELIVERED),
    ]
    assert played.reached(answer) == {"email", "web"}
    assert played.reached(remark) == {"email"}
    assert len(played.asked) == 1, "R87: the remark asked nobody"
    assert played.out[1:3] == [
        "  web sees: Where is order 7?",
        "  the agent calls find_order({'number': 7}) and reads: on its way",
    ]
    assert set(played.out[3:5]) == {
        "  ann@example.org gets: Order 7 is on its way.",
        "  web sees: Order 7 is on its way.",
    }
    assert played.out[-1] == "  ann@example.org gets: I have sent you a voucher, too."


@pytest.mark.parametrize("kind", ["sms", "webhook"])
async def test_R179_an_identified_sender_comes_back_to_their_room(kind: str) -> None:
    people = [
        Identity(id=name, channel_addresses={kind: [address]})
        for name, address in (("ann", "+15550100"), ("bob", "+15550101"))
    ]
    senders = ["+15550100", "+15550101"] if kind == "sms" else ["+15550100"]
    async with RoomKit(identity_resolver=InMemoryIdentityResolver(people)) as kit:
        phones = SMSChannel("in", provider=MockSMSProvider())
        kit.register_channel(phones if kind == "sms" else HTTPChannel("in"))
        rooms = []
        for address in senders * 2:
            result = await kit.process_inbound(
                InboundMessage(
                    channel_id="in", sender_id=address, content=TextContent(body="Hello")
                )
            )
            assert result.event is not None
            rooms.append(result.event.room_id)
        assert rooms == rooms[: len(senders)] * 2
