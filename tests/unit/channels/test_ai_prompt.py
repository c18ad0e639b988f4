"""What an agent is told of the room, and when it answers at all (R57-R62, R80, R93, R235-R237)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from salon.base import ConfigurationError
from salon.channels.ai import AIChannel
from salon.channels.ai_prompt import MAX_THINKING, is_called, thoughts_in, thoughts_kept
from salon.core.kit import RoomKit
from salon.core.ports.ai import (
    AIContext,
    AIMessage,
    AIThinkingPart,
    AIToolCall,
    ThinkingDelta,
)
from salon.memory import MockMemoryProvider
from salon.models import (
    Access,
    AgentResponsePolicy,
    ChannelCapabilities,
    ChannelMediaType,
    HookResult,
    HookTrigger,
    RoomContext,
    RoomEvent,
    TextContent,
)
from salon.models.ai import AIGenerationEvent, AIResponseEvent, ThinkingEvent
from salon.providers.errors import AIProviderError
from salon.providers.mock import MockAIProvider

from .rooms import ROOM, Bot, Phone, bodies, furnish, say, stored, words


class Line(Phone):
    """A transport with limits."""

    def __init__(
        self, channel_id: str, length: int | None = None, *media: ChannelMediaType
    ) -> None:
        super().__init__(channel_id)
        self.can = ChannelCapabilities(
            max_length=length, media_types=list(media) or [ChannelMediaType.TEXT]
        )

    def capabilities(self) -> ChannelCapabilities:
        return self.can


def hear(kit: RoomKit, trigger: HookTrigger) -> list[Any]:
    heard: list[Any] = []

    async def note(payload: Any, context: RoomContext) -> None:
        heard.append(payload)

    kit.add_hook(trigger, note)
    return heard


# -- what the recipients can take ------------------------------------------------------------------


async def test_R59_what_the_recipients_can_take_reaches_the_model(kit: RoomKit) -> None:
    provider = MockAIProvider()
    rich = Line("web", None, ChannelMediaType.TEXT, ChannelMediaType.RICH)
    await furnish(kit, Line("sms", 160), rich)
    await furnish(kit, AIChannel(provider=provider, system_prompt="Be kind."))
    await say(kit)
    (asked,) = provider.contexts
    assert asked.target_capabilities is not None
    assert asked.target_capabilities.max_length == 160
    assert asked.target_media_types == ("text", "rich")
    assert asked.system_prompt == (
        "Be kind.\n\nThe recipient can take: text, rich.\n\n"
        "Your answer must not be longer than 160 characters."
    )


async def test_R59_who_will_not_get_the_answer_sets_no_limit(kit: RoomKit) -> None:
    provider = MockAIProvider()
    await furnish(kit, Line("sms", 1000), Line("deaf", 10), Line("mute", 20), Line("other", 30))
    await furnish(kit, AIChannel(provider=provider))
    await kit.set_access(ROOM, "deaf", Access.WRITE_ONLY)
    binding = await kit.store.get_binding(ROOM, "mute")
    assert binding is not None
    await kit.store.update_binding(binding.model_copy(update={"output_muted": True}))
    await say(kit, response_visibility="sms,deaf,mute")
    assert provider.contexts[0].target_capabilities is not None
    assert provider.contexts[0].target_capabilities.max_length == 1000


async def test_R59_a_room_without_recipients_takes_plain_text(kit: RoomKit) -> None:
    provider = MockAIProvider()
    await furnish(kit, Line("sms", 10), AIChannel(provider=provider))
    await say(kit, response_visibility="intelligence")
    assert provider.contexts[0].target_capabilities == ChannelCapabilities()
    assert provider.contexts[0].system_prompt is None


async def test_R59_what_is_spoken_knows_no_media(kit: RoomKit) -> None:
    provider = MockAIProvider()
    await furnish(kit, Line("sms", 300, ChannelMediaType.AUDIO), AIChannel(provider=provider))
    await say(kit, metadata={"spoken": True})
    assert (
        provider.contexts[0].system_prompt == "Your answer must not be longer than 300 characters."
    )


# -- memory ----------------------------------------------------------------------------------------


async def test_R235_what_the_memory_gives_comes_before_the_question(kit: RoomKit) -> None:
    provider = MockAIProvider(["one", "two"])
    memory = MockMemoryProvider([AIMessage("system", "So far: nothing.")], notes=["Ann likes tea."])
    await furnish(kit, Phone(), AIChannel(provider=provider, memory=memory, system_prompt="Hi."))
    await say(kit, "first")
    await say(kit, "second")
    assert words(provider.contexts[1]) == ["So far: nothing.", "second"]
    assert provider.contexts[1].system_prompt == "Hi.\n\nAnn likes tea."
    asked = memory.calls[1]
    assert (asked.room_id, asked.channel_id, asked.current_event.text) == (ROOM, "agent", "second")


async def test_R236_the_memory_gets_the_agents_view_and_the_question_once(kit: RoomKit) -> None:
    class Everything(MockMemoryProvider):
        async def retrieve(
            self,
            room_id: str,
            current_event: RoomEvent,
            context: RoomContext,
            *,
            channel_id: str | None = None,
        ) -> Any:
            found = await super().retrieve(room_id, current_event, context, channel_id=channel_id)
            found.events.extend(context.recent_events)
            return found

    provider = MockAIProvider(["one"])
    memory = Everything()
    await furnish(kit, Phone(), AIChannel(provider=provider, memory=memory))
    await say(kit, "between us", visibility="transport")
    await say(kit, "first")
    assert words(provider.contexts[0]) == ["first"]
    assert [event.text for event in memory.calls[0].context.recent_events] == ["first"]
    assert provider.contexts[0].room is memory.calls[0].context


async def test_an_answer_anew_is_asked_for_with_the_question_last(kit: RoomKit) -> None:
    provider = MockAIProvider(["one", "two", "other two", "three"])
    await furnish(kit, Phone(), AIChannel(provider=provider))
    await say(kit, "first")
    asked = await say(kit, "second")
    await kit.regenerate_response(ROOM)
    assert words(provider.contexts[2]) == ["first", "one", "second"]
    assert asked.event is not None
    await kit.update_event(ROOM, asked.event.id, content=TextContent(body="second, edited"))
    await kit.regenerate_response(ROOM)
    assert words(provider.contexts[3]) == ["first", "one", "second, edited"]


async def test_R236_what_agents_made_of_an_answer_is_left_out_with_it(kit: RoomKit) -> None:
    provider, other = MockAIProvider(["one", "again", "anew"]), MockAIProvider(["hm"])
    await furnish(kit, Phone(), AIChannel(provider=provider))
    await furnish(kit, AIChannel("other", provider=other, respond="addressed", name="one"))
    await say(kit, "first")
    assert await bodies(kit) == ["first", "one", "hm", "again"]
    assert words(provider.contexts[1]) == ["first", "one", "hm"]
    await kit.regenerate_response(ROOM)
    assert words(provider.contexts[2]) == ["first"]


async def test_R235_closing_the_channel_closes_its_memory_and_its_providers(kit: RoomKit) -> None:
    memory, first, second = MockMemoryProvider(), MockAIProvider(), MockAIProvider()
    agent = AIChannel(provider=first, fallback_provider=second, memory=memory)
    await first.start()
    await second.start()
    await agent.close()
    assert (memory.closed, first.started, second.started) == (True, False, False)


async def test_R53_what_can_not_be_closed_keeps_nothing_else_open(kit: RoomKit) -> None:
    class Stuck(MockMemoryProvider):
        async def close(self) -> None:
            raise OSError("stuck")

    provider = MockAIProvider()
    await provider.start()
    with pytest.raises(OSError, match="stuck"):
        await AIChannel(provider=provider, memory=Stuck()).close()
    assert not provider.started


async def test_R20_the_memory_may_want_a_wider_window() -> None:
    class Wide(MockMemoryProvider):
        @property
        def recent_events_window(self) -> int:
            return 400

    assert AIChannel(provider=MockAIProvider(), memory=Wide()).context_events == 401
    plain = AIChannel(provider=MockAIProvider(), memory=MockMemoryProvider())
    assert plain.context_events == 51


# -- several agents --------------------------------------------------------------------------------


async def test_R57_another_agents_words_are_a_user_message_with_its_name(kit: RoomKit) -> None:
    provider = MockAIProvider(["mine"])
    robin = AIChannel("helper", MockAIProvider(["I am Robin."]), name="Robin", respond="addressed")
    last = AIChannel("last", provider, respond="addressed")
    await furnish(kit, Phone(), robin, Bot("anonymous"), last)
    await kit.add_member(ROOM, "sms", "ann", display_name="Ann")
    await say(kit, "hello", addressed_to=["helper"])
    event = await kit.send_event(ROOM, "bot", TextContent(body="beep"), addressed_to=[])
    assert event.index
    await say(kit, "and you?", addressed_to=["last"])
    told = [(m.role, m.name, m.text) for m in provider.contexts[0].messages]
    assert told == [
        ("user", "Ann", "hello"),
        ("user", "Robin", "I am Robin."),
        ("user", "bot", "beep"),
        ("user", "Ann", "and you?"),
    ]


# -- when it answers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ("Robin, are you there?", True),
        ("robin", True),
        ("  @Robin help", True),
        ("thanks @ROBIN!", True),
        ("I saw Robin", False),
        ("Robinson came", False),
        ("mail a@robin", False),
        ("@robinson", False),
        ("", False),
    ],
)
def test_R93_who_is_called(text: str, called: bool) -> None:
    assert is_called(text, ("Robin", "")) is called


def test_respond_has_two_values() -> None:
    with pytest.raises(ConfigurationError, match="'always' or 'addressed'"):
        AIChannel(provider=MockAIProvider(), respond="never")  # type: ignore[arg-type]


async def test_R93_an_agent_that_listens_answers_when_it_is_called(kit: RoomKit) -> None:
    provider = MockAIProvider(["one", "two", "three"])
    agent = AIChannel("ai", provider=provider, name="Robin", respond="addressed")
    await furnish(kit, Phone(), agent)
    await say(kit, "lovely weather")
    await say(kit, "isn't it?")
    assert provider.contexts == []
    await say(kit, "Robin, what do you say?")
    await say(kit, "and @ai?")
    await say(kit, "you", addressed_to=["ai"])
    await say(kit, "Robin?", addressed_to=["somebody"])
    assert [words(context)[-1] for context in provider.contexts] == [
        "Robin, what do you say?",
        "and @ai?",
        "you",
    ]
    assert words(provider.contexts[0])[:2] == ["lovely weather", "isn't it?"]
    assert provider.contexts[0].system_prompt == (
        "Since you last spoke, 2 messages were not meant for you to answer; they are part of this"
        " conversation."
    )
    assert provider.contexts[1].system_prompt is None


async def test_R93_what_an_agent_missed_is_bounded_and_counted(kit: RoomKit) -> None:
    provider = MockAIProvider(["one", "two"])
    agent = AIChannel(provider=provider, respond="addressed", max_context_events=3)
    await furnish(kit, Phone(), agent)
    await say(kit, "agent?")
    for number in range(5):
        await say(kit, f"line {number}")
    await say(kit, "agent, well?")
    assert words(provider.contexts[1]) == ["line 2", "line 3", "line 4", "agent, well?"]
    assert provider.contexts[1].system_prompt == (
        "Since you last spoke, 5 messages were not meant for you to answer; you see the latest 3 of"
        " them."
    )


async def test_R93_what_is_beyond_the_window_is_at_least_that_much(kit: RoomKit) -> None:
    provider = MockAIProvider(["one"])
    agent = AIChannel(provider=provider, respond="addressed")
    await furnish(kit, Phone(), agent)
    for number in range(55):
        await say(kit, f"line {number}")
    await say(kit, "agent, well?")
    assert provider.contexts[0].system_prompt == (
        "Since you last spoke, at least 50 messages were not meant for you to answer; you see the"
        " latest 50 of them."
    )


async def test_R92_one_message_that_went_by_is_one(kit: RoomKit) -> None:
    provider = MockAIProvider(["one"])
    await furnish(kit, Phone(), AIChannel(provider=provider))
    await say(kit, "not you", addressed_to=[])
    await say(kit, "you")
    assert provider.contexts[0].notes == (
        "Since you last spoke, 1 message was not meant for you to answer; they are part of this"
        " conversation.",
    )


async def test_R91_what_agents_say_among_themselves_went_by(kit: RoomKit) -> None:
    provider = MockAIProvider(["one"])
    other = AIChannel("other", MockAIProvider(["beep"]), respond="addressed")
    await kit.create_room(ROOM, agent_response_policy=AgentResponsePolicy.ADDRESSED_ONLY)
    await furnish(kit, Phone(), other, AIChannel("ai", provider))
    await say(kit, "go", addressed_to=["other"])
    await say(kit, "and?", addressed_to=["ai"])
    assert provider.contexts[0].system_prompt is not None
    assert provider.contexts[0].system_prompt.startswith("Since you last spoke, 2 messages")


async def test_a_caller_who_goes_on_talking_to_others_still_gets_an_answer(kit: RoomKit) -> None:
    provider = MockAIProvider(["one"])
    agent = AIChannel(provider=provider, respond="addressed")
    await furnish(kit, Phone(), agent)
    await kit.mute(ROOM, "agent")  # so that the framework itself reads nothing
    first = (await say(kit, "agent, stop", metadata={"spoken": True})).event
    await say(kit, "it never listens", metadata={"spoken": True})
    context = await kit.context(ROOM)
    binding = context.binding("agent")
    assert first is not None
    assert binding is not None
    assert (await agent.on_event(first, binding, context)).response_stream is not None


# -- hooks before the model is asked ---------------------------------------------------------------


@pytest.mark.parametrize(
    "trigger", [HookTrigger.BEFORE_AI_CONTEXT_BUILD, HookTrigger.BEFORE_AI_GENERATION]
)
async def test_a_hook_may_forbid_the_generation(kit: RoomKit, trigger: HookTrigger) -> None:
    async def forbid(payload: Any, context: RoomContext) -> HookResult:
        return HookResult.block("quiet hours")

    kit.add_hook(trigger, forbid)
    provider, memory = MockAIProvider(), MockMemoryProvider()
    heard = hear(kit, HookTrigger.ON_AI_RESPONSE)
    await furnish(kit, Phone(), AIChannel(provider=provider, memory=memory))
    assert (await say(kit)).error is None
    assert (provider.contexts, await bodies(kit), heard) == ([], ["hi"], [])
    assert len(memory.calls) == (trigger is HookTrigger.BEFORE_AI_GENERATION)


async def test_a_hook_may_change_the_context_in_place(kit: RoomKit) -> None:
    async def enrich(event: AIGenerationEvent, context: RoomContext) -> HookResult:
        assert (event.channel_id, event.room_id, event.provider_name) == ("agent", ROOM, "mock")
        assert event.trigger is not None
        assert event.trigger.text == "hi"
        event.ai_context.system_prompt = "Changed."
        event.ai_context.messages.insert(0, AIMessage(role="system", content="Remember."))
        return HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_AI_GENERATION, enrich)
    provider = MockAIProvider()
    await furnish(kit, Phone(), AIChannel(provider=provider))
    await say(kit)
    assert words(provider.contexts[0]) == ["Remember.", "hi"]
    assert provider.contexts[0].system_prompt == "Changed."


async def test_R159_a_context_that_is_none_is_not_taken(kit: RoomKit) -> None:
    async def mangle(event: AIGenerationEvent, context: RoomContext) -> HookResult:
        return HookResult.modify(replace(event, ai_context="no context"))

    kit.add_hook(HookTrigger.BEFORE_AI_GENERATION, mangle)
    await furnish(kit, Phone(), AIChannel(provider=MockAIProvider(["ok"])))
    await say(kit)
    assert (await bodies(kit))[1] == "ok"


async def test_a_hook_may_change_what_is_asked(kit: RoomKit) -> None:
    async def polish(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.modify(
            event.model_copy(update={"content": TextContent(body="hello, dear")})
        )

    kit.add_hook(HookTrigger.BEFORE_AI_CONTEXT_BUILD, polish)
    provider = MockAIProvider()
    await furnish(kit, Phone(), AIChannel(provider=provider))
    await say(kit)
    assert (words(provider.contexts[0]), (await bodies(kit))[0]) == (["hello, dear"], "hi")


# -- thinking --------------------------------------------------------------------------------------


def thoughts(context: AIContext) -> list[tuple[AIThinkingPart, ...]]:
    return [message.thinking for message in context.messages]


async def test_R62_thoughts_are_told_and_kept_but_are_no_part_of_the_answer(kit: RoomKit) -> None:
    began = hear(kit, HookTrigger.ON_AI_THINKING)
    ended = hear(kit, HookTrigger.ON_AI_RESPONSE)
    call = AIToolCall("c", "nothing", {})
    provider = MockAIProvider(
        [
            [ThinkingDelta("Let me "), ThinkingDelta("see.", "sig"), call],
            [ThinkingDelta("Aha."), "Yes."],
            "Later.",
        ]
    )
    await furnish(kit, Phone(), AIChannel(provider=provider, thinking_budget=64))
    await say(kit)
    answer = (await stored(kit))[1]
    assert answer.text == "Yes."
    assert answer.metadata["thinking"] == [
        {"thinking": "Let me see.", "signature": "sig"},
        {"thinking": "Aha."},
    ]
    told = [(e.thinking, e.round_index, e.channel_id, e.room_id) for e in began]
    assert told == [("Let me ", 0, "agent", ROOM), ("Aha.", 1, "agent", ROOM)]
    assert all(isinstance(event, ThinkingEvent) for event in began)
    assert isinstance(ended[0], AIResponseEvent)
    assert ended[0].thinking == "Let me see.Aha."
    first = AIThinkingPart("Let me see.", "sig")
    assert provider.contexts[0].thinking_budget == 64
    assert thoughts(provider.contexts[1])[1] == (first,)
    await say(kit)
    assert thoughts(provider.contexts[2])[1] == (first, AIThinkingPart("Aha."))


async def test_R62_the_thoughts_of_an_answer_that_broke_off_are_kept(kit: RoomKit) -> None:
    provider = MockAIProvider([[ThinkingDelta("Hm."), "Well, ", AIProviderError("cut")]])
    await furnish(kit, Phone(), AIChannel(provider=provider))
    await say(kit)
    answer = (await stored(kit))[1]
    assert answer.metadata["thinking"] == [{"thinking": "Hm."}]


def test_R62_the_thoughts_that_are_kept_are_bounded() -> None:
    long = AIThinkingPart("x" * MAX_THINKING)
    assert len(thoughts_kept([long, AIThinkingPart("more")])) == 1
    assert thoughts_kept([AIThinkingPart("x", "s" * MAX_THINKING)]) == []
    assert thoughts_kept([AIThinkingPart("")]) == []
    assert thoughts_in({"thinking": "odd"}) == []
    assert thoughts_in({"thinking": ["odd", {"redacted": "r"}]}) == [AIThinkingPart("", None, "r")]


# -- settings --------------------------------------------------------------------------------------


async def test_the_prompt_may_be_replaced_between_turns(kit: RoomKit) -> None:
    provider = MockAIProvider(["a", "b"])
    agent = AIChannel(provider=provider, system_prompt="one")
    await furnish(kit, Phone(), agent)
    await say(kit)
    assert agent.system_prompt == "one"
    agent.set_system_prompt("two")
    await say(kit)
    assert [context.system_prompt for context in provider.contexts] == ["one", "two"]


async def test_R61_a_room_may_set_how_much_is_thought(kit: RoomKit) -> None:
    provider = MockAIProvider()
    await furnish(kit, Phone(), AIChannel(provider=provider, thinking_budget=10))
    await kit.attach_channel(ROOM, "agent", metadata={"thinking_budget": 99})
    await say(kit)
    assert provider.contexts[0].thinking_budget == 99


def test_an_agent_needs_somebody_who_answers() -> None:
    with pytest.raises(ConfigurationError, match="pass provider="):
        AIChannel("ai")
