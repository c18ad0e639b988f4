"""Answers that are begun before it is certain that somebody asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from salon.channels.agent import Agent
from salon.channels.ai import AIChannel
from salon.channels.ai_prepared import (
    LIFETIME_S,
    MAX_PARTS,
    MAX_PREPARATIONS,
    PreparationCounts,
)
from salon.core.kit import RoomKit
from salon.core.ports.ai import (
    AIContext,
    AIProvider,
    AIStreamPart,
    AIToolCall,
    ResponseMetadata,
    TextDelta,
)
from salon.models import (
    Access,
    ChannelType,
    HookExecution,
    HookResult,
    HookTrigger,
    InboundResult,
    ParticipantStatus,
)
from salon.models.identity import IdentityResult
from salon.providers import ToolBox
from salon.providers.mock import MockAIProvider
from salon.testing import VirtualClock

from .rooms import ROOM, Phone, bodies, furnish, say, stored

SPOKEN = {"spoken": True}


class Slow(AIProvider):
    """Says ``re: <question>`` word by word, each after a second. `log` holds what became of its
    generations."""

    name = "slow"
    model_name = "slow-1"

    def __init__(self, *, more: int = 0) -> None:
        self.asked: list[AIContext] = []
        self.log: list[str] = []
        self.made = 0
        self.more = more

    async def generate_stream(self, context: AIContext) -> AsyncIterator[AIStreamPart]:
        self.asked.append(context)
        question = context.messages[-1].text
        try:
            for word in ("re: ", question):
                await asyncio.sleep(1)
                yield TextDelta(word)
            for _ in range(self.more):
                self.made += 1
                yield TextDelta(".")
            yield ResponseMetadata({"usage": {"input_tokens": 7}})
        except BaseException:
            self.log.append(f"{question} closed")
            raise
        self.log.append(question)


def foresee(agent: AIChannel, text: str = "hi", who: str = "ann", room_id: str = ROOM) -> None:
    agent.prepare(room_id, channel_id="sms", participant_id=who, name=None, text=text)


async def speak(kit: RoomKit, text: str = "hi", **more: Any) -> InboundResult:
    return await say(kit, text, metadata=SPOKEN, **more)


def counts(agent: AIChannel) -> tuple[int, int, int, int]:
    found = agent.preparations
    return found.prepared, found.adopted, found.withdrawn, found.mismatched


async def slow(kit: RoomKit, **options: Any) -> tuple[AIChannel, Slow, Phone]:
    provider, sms = Slow(more=options.pop("more", 0)), Phone()
    agent = AIChannel("bot", provider, **options)
    await furnish(kit, sms, agent)
    return agent, provider, sms


def now() -> float:
    return asyncio.get_running_loop().time()


# -- adopted ---------------------------------------------------------------------------------------


async def test_an_answer_comes_earlier_by_what_was_saved(kit: RoomKit) -> None:
    agent, provider, _ = await slow(kit)
    began = now()
    await speak(kit)
    assert now() - began == pytest.approx(2.0)
    foresee(agent, "and now")
    await asyncio.sleep(0.7)
    began = now()
    await speak(kit, "and now")
    assert now() - began == pytest.approx(1.3)
    assert await bodies(kit) == ["hi", "re: hi", "and now", "re: and now"]
    assert len(provider.asked) == 2
    assert provider.log == ["hi", "and now"]
    assert counts(agent) == (1, 1, 0, 0)


async def test_a_whole_answer_waits_to_be_adopted(kit: RoomKit) -> None:
    agent, _, _ = await slow(kit)
    foresee(agent)
    await asyncio.sleep(5)
    assert await bodies(kit) == []
    began = now()
    await speak(kit)
    assert now() - began == pytest.approx(0.0)
    assert (await bodies(kit))[1] == "re: hi"


async def test_an_adopted_answer_is_reported_once_and_as_any_other(kit: RoomKit) -> None:
    agent, _, _ = await slow(kit, clock=VirtualClock())
    told: list[Any] = []

    @kit.hook(HookTrigger.ON_AI_RESPONSE, execution=HookExecution.ASYNC)
    async def note(event: Any, _context: Any) -> None:
        told.append(event)

    foresee(agent)
    await asyncio.sleep(1.5)
    assert told == []
    await speak(kit)
    (event,) = told
    assert (event.response_content, event.usage) == ("re: hi", {"input_tokens": 7})
    assert (event.round_count, event.latency_ms) == (1, 500)
    assert (await stored(kit))[1].metadata["usage"] == {"input_tokens": 7}


async def test_two_participants_at_once(kit: RoomKit) -> None:
    agent, _, _ = await slow(kit)
    for name in ("ann", "bob"):
        await speak(kit, name, sender=name)
    foresee(agent, "from ann", "ann")
    foresee(agent, "from bob", "bob")
    await asyncio.sleep(1.5)
    await speak(kit, "from bob", sender="bob")
    assert counts(agent) == (2, 1, 0, 0)
    await speak(kit, "from ann")
    assert counts(agent) == (2, 1, 0, 1), "somebody else spoke in between"
    assert (await bodies(kit))[4:] == ["from bob", "re: from bob", "from ann", "re: from ann"]


# -- discarded -------------------------------------------------------------------------------------


async def test_it_is_discarded_silently(kit: RoomKit) -> None:
    agent, provider, sms = await slow(kit)
    fired: list[HookTrigger] = []
    observed = (HookTrigger.ON_AI_RESPONSE, HookTrigger.AFTER_BROADCAST, HookTrigger.ON_ERROR)
    for trigger in observed:

        async def note(_event: Any, _context: Any, trigger: HookTrigger = trigger) -> None:
            fired.append(trigger)

        kit.hook(trigger, execution=HookExecution.ASYNC, name=trigger)(note)
    before = await kit.store.get_event_count(ROOM)
    foresee(agent)
    await asyncio.sleep(1.5)
    agent.withdraw(ROOM, "ann")
    agent.withdraw(ROOM, "ann")
    await asyncio.sleep(0.01)
    assert provider.log == ["hi closed"]
    assert await kit.store.get_event_count(ROOM) == before
    assert (fired, sms.got) == ([], [])
    assert counts(agent) == (1, 0, 1, 0)


async def test_other_words_are_answered_afresh(kit: RoomKit) -> None:
    agent, provider, _ = await slow(kit)
    foresee(agent, "hi")
    await asyncio.sleep(1.5)
    began = now()
    await speak(kit, "hi there")
    assert now() - began == pytest.approx(2.0)
    assert await bodies(kit) == ["hi there", "re: hi there"]
    assert provider.log == ["hi closed", "hi there"]
    assert counts(agent) == (1, 0, 0, 1)


async def test_what_was_said_in_between_changes_the_question(kit: RoomKit) -> None:
    agent, _, _ = await slow(kit, respond="addressed", name="Robin")
    foresee(agent, "Robin, hi")
    await asyncio.sleep(1.5)
    await say(kit, "wait", sender="bob")
    await speak(kit, "Robin, hi")
    assert counts(agent) == (1, 0, 0, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda agent, kit: agent.set_system_prompt("be brief"),
        lambda agent, kit: setattr(agent, "_temperature", 0.5),
        lambda agent, kit: kit.rename(),
    ],
    ids=["prompt", "temperature", "name"],
)
async def test_it_must_have_been_asked_in_the_same_way(kit: RoomKit, change: Any) -> None:
    agent, _, _ = await slow(kit)
    await kit.add_member(ROOM, "sms", "ann", display_name="Ann")
    foresee(agent)
    await asyncio.sleep(1.5)

    async def rename() -> None:
        await kit.rename_member(ROOM, "ann", "Anna")

    kit.rename = rename  # type: ignore[attr-defined]
    if (work := change(agent, kit)) is not None:
        await work
    await speak(kit)
    assert counts(agent) == (1, 0, 0, 1)


async def test_typed_words_adopt_nothing(kit: RoomKit) -> None:
    agent, provider, _ = await slow(kit)
    foresee(agent)
    await asyncio.sleep(1)
    await say(kit, "hi")
    assert len(provider.asked) == 2
    assert agent.preparations.adopted == 0


async def test_another_guess_takes_its_place(kit: RoomKit) -> None:
    agent, provider, _ = await slow(kit)
    foresee(agent, "hi")
    await asyncio.sleep(0.5)
    foresee(agent, "hi there")
    await asyncio.sleep(0.5)
    await speak(kit, "hi there")
    assert provider.log == ["hi closed", "hi there"]
    assert counts(agent) == (2, 1, 1, 0)


async def test_none_lives_longer_than_ten_seconds(kit: RoomKit) -> None:
    agent, provider, _ = await slow(kit)
    foresee(agent)
    await asyncio.sleep(LIFETIME_S - 0.1)
    assert len(agent._preparations) == 1
    await asyncio.sleep(0.2)
    assert len(agent._preparations) == 0
    assert counts(agent) == (1, 0, 1, 0)
    await speak(kit)
    assert len(provider.asked) == 2


async def test_an_adopted_answer_may_take_longer(kit: RoomKit) -> None:
    provider = MockAIProvider([["a ", "b ", "c"]], delay=6.0)
    agent = AIChannel("bot", provider)
    await furnish(kit, Phone(), agent)
    foresee(agent)
    await asyncio.sleep(8)
    await speak(kit)
    assert (await bodies(kit))[1] == "a b c"


async def test_the_oldest_goes_if_there_are_too_many(kit: RoomKit) -> None:
    agent, provider, _ = await slow(kit)
    for number in range(MAX_PREPARATIONS + 2):
        foresee(agent, "hi", f"p{number}")
    await asyncio.sleep(0.1)
    assert len(agent._preparations) == MAX_PREPARATIONS
    assert len(provider.asked) == MAX_PREPARATIONS
    foresee(agent, "hi", "one more")
    await asyncio.sleep(0.1)
    assert counts(agent) == (MAX_PREPARATIONS + 1, 0, 1, 0)


async def test_parts_are_kept_up_to_a_limit(kit: RoomKit) -> None:
    agent, provider, _ = await slow(kit, more=2 * MAX_PARTS)
    foresee(agent)
    await asyncio.sleep(3)
    assert provider.made == MAX_PARTS - 1  # it waits with the part that finds no room
    await speak(kit)
    assert (await bodies(kit))[1] == "re: hi" + "." * 2 * MAX_PARTS


@pytest.mark.parametrize("end", ["detach_channel", "close_room", "delete_room", "close"])
async def test_what_ends_the_room_or_the_agent_ends_it(kit: RoomKit, end: str) -> None:
    agent, provider, _ = await slow(kit)
    foresee(agent)
    await asyncio.sleep(1.5)
    if end == "close":
        await agent.close()
    elif end == "detach_channel":
        await kit.detach_channel(ROOM, "bot")
    else:
        await getattr(kit, end)(ROOM)
    await asyncio.sleep(0.01)
    assert provider.log == ["hi closed"]
    assert counts(agent) == (1, 0, 1, 0)
    foresee(agent)
    await asyncio.sleep(0.01)
    assert len(provider.asked) == 1


# -- failures --------------------------------------------------------------------------------------


async def test_one_that_failed_is_made_afresh(kit: RoomKit) -> None:
    agent = AIChannel("bot", MockAIProvider([["wor", LookupError("defect")], "fine"]))
    await furnish(kit, Phone(), agent)
    foresee(agent)
    await asyncio.sleep(0.1)
    result = await speak(kit)
    assert result.error is None
    assert await bodies(kit) == ["hi", "fine"]
    assert counts(agent) == (1, 0, 1, 0)


async def test_one_that_fails_after_its_adoption_but_before_a_word_is_too(kit: RoomKit) -> None:
    agent = AIChannel("bot", MockAIProvider([[LookupError("defect")], "fine"], delay=1.0))
    await furnish(kit, Phone(), agent)
    foresee(agent)
    await asyncio.sleep(0.5)
    result = await speak(kit)
    assert result.error is None
    assert await bodies(kit) == ["hi", "fine"]


async def test_one_that_fails_in_mid_answer_fails_as_any_other(kit: RoomKit) -> None:
    agent = AIChannel("bot", MockAIProvider([["some words", LookupError("defect")]], delay=1.0))
    await furnish(kit, Phone(), agent)
    foresee(agent)
    await asyncio.sleep(1.5)
    result = await speak(kit)
    assert isinstance(result.error, LookupError)
    assert await bodies(kit) == ["hi", "some words"]


async def test_a_question_that_is_not_ready_is_asked_afresh(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, provider, _ = await slow(kit)
    go = asyncio.Event()
    request = agent._request

    async def late(*given: Any) -> AIContext:
        if not go.is_set():
            go.set()
            await asyncio.sleep(5)
        return await request(*given)

    monkeypatch.setattr(agent, "_request", late)
    foresee(agent)
    await go.wait()
    await speak(kit)
    assert len(provider.asked) == 1
    assert agent.preparations == PreparationCounts()


async def test_a_room_that_is_not_there(kit: RoomKit) -> None:
    agent, provider, _ = await slow(kit)
    foresee(agent, room_id="nowhere")
    agent.prepare(ROOM, channel_id="none", participant_id="ann", name=None, text="hi")
    await asyncio.sleep(0.1)
    assert (provider.asked, len(agent._preparations)) == ([], 0)


# -- tools -----------------------------------------------------------------------------------------


async def test_tools_are_not_run_before_adoption(kit: RoomKit) -> None:
    ran: list[float] = []

    async def book() -> str:
        """Book it."""
        ran.append(now())
        return "booked"

    provider = MockAIProvider([["One moment. ", AIToolCall("1", "book", {})], "Done."])
    agent = AIChannel("bot", provider, tools=[book])
    await furnish(kit, Phone(), agent)
    foresee(agent)
    await asyncio.sleep(2)
    assert ran == []
    await speak(kit)
    assert len(ran) == 1
    assert (await bodies(kit))[1] == "One moment. Done."
    assert len(provider.contexts) == 2
    assert counts(agent) == (1, 1, 0, 0)


class OwnTools(AIProvider):
    """Runs a tool itself, as function agents do; the tool says something in the room, which asks
    the agent once more."""

    name = "own"

    def __init__(self, kit: RoomKit) -> None:
        self.ran: list[str] = []

        async def book() -> str:
            """Book it, and tell the room."""
            self.ran.append("book")
            await say(kit, "is it booked?", sender="bob")
            return "booked"

        self.box = ToolBox([book])

    async def generate_stream(self, context: AIContext) -> AsyncIterator[AIStreamPart]:
        if context.messages[-1].text != "book it":
            yield TextDelta("yes")
            return
        assert context.guard is not None
        tools = context.guard(self.box)
        assert [tool.name for tool in tools.specs] == ["book"]
        done = await tools.run(AIToolCall("1", "book", {}))
        yield TextDelta(done.content)


async def test_tools_of_a_provider_wait_too_and_then_belong_to_the_answer(kit: RoomKit) -> None:
    provider = OwnTools(kit)
    agent = AIChannel("bot", provider)
    await furnish(kit, Phone(), agent)
    foresee(agent, "book it")
    await asyncio.sleep(2)
    assert provider.ran == []
    began = now()
    await speak(kit, "book it")
    assert now() - began < 1, "the room did not wait for itself (R128)"
    await asyncio.sleep(1)
    assert provider.ran == ["book"]
    assert await bodies(kit) == ["book it", "is it booked?", "booked", "yes"]
    assert counts(agent) == (1, 1, 0, 0)


# -- who is asked, and what may leave --------------------------------------------------------------


async def test_an_answer_that_is_cut_stops_the_generation(kit: RoomKit) -> None:
    agent, provider, _ = await slow(kit)
    foresee(agent)
    await asyncio.sleep(0.5)
    binding = (await kit.context(ROOM)).binding("bot")
    assert binding is not None
    await kit.mute(ROOM, "bot")  # nobody else asks it
    await speak(kit, detached=True)
    event = (await stored(kit))[-1]
    output = await agent.on_event(event, binding, await kit.context(ROOM))
    stream = output.response_stream
    assert stream is not None
    assert await anext(aiter(stream)) == "re: "
    await stream.aclose()  # type: ignore[attr-defined]
    assert provider.log == ["hi closed"]
    assert counts(agent) == (1, 1, 0, 0)


@pytest.mark.parametrize(
    "trigger",
    [
        HookTrigger.ON_TRANSCRIPTION,
        HookTrigger.BEFORE_BROADCAST,
        HookTrigger.BEFORE_AI_CONTEXT_BUILD,
        HookTrigger.BEFORE_AI_GENERATION,
    ],
)
async def test_nothing_leaves_that_a_hook_may_change(kit: RoomKit, trigger: HookTrigger) -> None:
    agent, provider, _ = await slow(kit)

    async def gate(_payload: Any, _context: Any) -> HookResult:
        return HookResult.allow()

    async def asked() -> bool:
        before = len(provider.asked)
        foresee(agent)
        await asyncio.sleep(0.1)
        agent.withdraw(ROOM, "ann")
        return len(provider.asked) > before

    await kit.add_room_hook(ROOM, trigger, HookExecution.SYNC, gate, name="gate")
    assert not await asked()
    assert await kit.remove_room_hook(ROOM, "gate")
    assert await asked()
    kit.hook(trigger, execution=HookExecution.ASYNC, name="onlooker")(gate)
    assert await asked(), "who only looks on is told later"
    kit.room_hook("named", trigger)(gate)
    await kit.enable_room_hook(ROOM, "named")
    assert not await asked()


async def test_hooks_of_other_channels_are_no_reason(kit: RoomKit) -> None:
    agent, provider, _ = await slow(kit)

    async def gate(_payload: Any, _context: Any) -> HookResult:
        return HookResult.allow()

    for trigger in (HookTrigger.ON_TRANSCRIPTION, HookTrigger.BEFORE_BROADCAST):
        kit.hook(trigger, channel_ids={"mail"}, name=trigger)(gate)
    foresee(agent)
    await asyncio.sleep(0.1)
    assert len(provider.asked) == 1


@pytest.mark.parametrize(
    "refusal",
    ["muted", "write_only", "unseen", "speaker_muted", "banned", "closed", "detached", "silent"],
)
async def test_who_would_not_be_asked_prepares_nothing(kit: RoomKit, refusal: str) -> None:
    agent, provider, _ = await slow(kit)
    match refusal:
        case "muted":
            await kit.mute(ROOM, "bot")
        case "write_only":
            await kit.set_access(ROOM, "bot", Access.WRITE_ONLY)
        case "unseen":
            await kit.set_visibility(ROOM, "sms", "transport")
        case "speaker_muted":
            await kit.mute(ROOM, "sms")
        case "banned":
            await kit.add_member(ROOM, "sms", "ann")
            await kit.remove_member(ROOM, "ann", status=ParticipantStatus.BANNED)
        case "closed":
            await kit.close_room(ROOM)
        case "detached":
            await kit.detach_channel(ROOM, "bot")
    foresee(agent, " " if refusal == "silent" else "hi")
    await asyncio.sleep(0.1)
    assert (provider.asked, counts(agent)) == ([], (0, 0, 0, 0))


async def test_an_agent_that_waits_to_be_called_prepares_when_it_is(kit: RoomKit) -> None:
    agent, provider, _ = await slow(kit, respond="addressed", name="Robin")
    foresee(agent, "what time is it")
    await asyncio.sleep(0.1)
    assert provider.asked == []
    foresee(agent, "Robin, what time is it")
    await asyncio.sleep(0.1)
    assert len(provider.asked) == 1


async def test_of_unknown_senders_nothing_is_known_yet() -> None:
    class Resolver:
        async def resolve(self, *_: Any) -> IdentityResult:
            raise AssertionError("never")

    async with RoomKit(
        identity_resolver=Resolver(),  # type: ignore[arg-type]
        identity_channel_types={ChannelType.SMS},
        shutdown_timeout=0,
    ) as kit:
        agent, provider, _ = await slow(kit)
        foresee(agent)
        await asyncio.sleep(0.1)
        assert provider.asked == []


async def test_a_provider_may_want_no_guesses(kit: RoomKit) -> None:
    agent, provider, _ = await slow(kit)
    provider.speculative = False  # type: ignore[attr-defined]
    foresee(agent)
    await asyncio.sleep(0.1)
    assert provider.asked == []


async def test_without_a_room_or_a_provider_there_is_nothing_to_prepare(kit: RoomKit) -> None:
    provider = Slow()
    foresee(AIChannel("alone", provider))
    described = Agent("described")
    await furnish(kit, described)
    foresee(described)
    await asyncio.sleep(0.1)
    assert provider.asked == []


async def test_a_hook_that_came_meanwhile_has_the_last_word(kit: RoomKit) -> None:
    agent, provider, _ = await slow(kit)
    foresee(agent)
    await asyncio.sleep(1.5)

    @kit.hook(HookTrigger.BEFORE_AI_CONTEXT_BUILD)
    async def refuse(_payload: Any, _context: Any) -> HookResult:
        return HookResult.block("no")

    await speak(kit)
    assert await bodies(kit) == ["hi"]
    await asyncio.sleep(0.01)
    assert provider.log == ["hi closed"]
    assert counts(agent) == (1, 0, 1, 0)


async def test_the_guess_is_told_as_the_words_will_be(kit: RoomKit) -> None:
    agent, provider, _ = await slow(kit, system_prompt="be kind")
    agent.prepare(ROOM, channel_id="sms", participant_id="ann", name="Ann", text="hi")
    await asyncio.sleep(1.5)
    await say(kit, "hi", metadata={"spoken": True, "sender_name": "Ann", "start_ms": 1})
    (asked,) = provider.asked
    assert (asked.spoken, asked.participant_name, asked.system_prompt) == (True, "Ann", "be kind")
    assert counts(agent) == (1, 1, 0, 0)
