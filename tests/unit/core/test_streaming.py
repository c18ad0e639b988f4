"""One answer, many listeners, while it is produced (R63, R75, V240)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from salon.base import SalonError
from salon.core.kit import RoomKit
from salon.core.ports.channel import Channel, StreamOutcome
from salon.core.streaming import bounded
from salon.models import (
    CompositeContent,
    EventType,
    HookResult,
    HookTrigger,
    LocationContent,
    RichContent,
    RoomContext,
    RoomEvent,
    TextContent,
)

from .helpers import (
    PATIENCE,
    ROOM,
    Agent,
    Screen,
    Stream,
    Transport,
    message,
    messages,
    room_with,
    text,
    timeline,
    words,
)


def says(stream: Stream) -> Any:
    return lambda event, context: stream() if event.source.channel_id == "sms" else None


async def ask(kit: RoomKit, **more: Any) -> Any:
    return await asyncio.wait_for(
        kit.process_inbound(message("sms", **more), room_id=ROOM), PATIENCE
    )


async def test_R63_V240_the_tee_feeds_every_sink_and_the_rest_get_the_event(kit: RoomKit) -> None:
    one, two, plain = Screen("one"), Screen("two"), Transport("plain")
    bot = Agent("bot", says(Stream("Hel", "", "lo", "!")))
    bot.metadata = {"sender_name": "Bot"}
    await room_with(kit, Transport("sms"), one, two, plain, bot)
    await ask(kit)
    answer = (await messages(kit))[1]
    assert (answer.text, answer.metadata) == ("Hello!", {"sender_name": "Bot"})
    for screen in (one, two):
        assert screen.heard == ["Hel", "lo", "!"]
        assert [e.id for e in screen.announced] == [answer.id]
        assert screen.finished == [(answer.id, answer, None)]
        assert screen.bodies == ["hi"]
    assert plain.bodies == ["hi", "Hello!"]
    announced = one.announced[0]
    assert (announced.text, announced.metadata) == ("", {"sender_name": "Bot"})
    assert (announced.correlation_id, answer.correlation_id) == (answer.id, answer.id)


async def test_text_comes_as_it_is_produced(kit: RoomKit) -> None:
    go = asyncio.Event()
    screen = Screen("web")
    await room_with(kit, Transport("sms"), screen, Agent("bot", says(Stream("a", go, "b"))))
    call = asyncio.create_task(ask(kit))
    while not screen.heard:
        await asyncio.sleep(0)
    assert len(await messages(kit)) == 1
    go.set()
    await call
    assert screen.heard == ["a", "b"]


async def test_metadata_that_comes_with_the_stream_is_stored(kit: RoomKit) -> None:
    from salon.models import ChannelOutput

    class Late(Agent):
        async def on_event(self, *args: Any) -> ChannelOutput:
            facts: dict[str, Any] = {"a": 1}

            async def answer() -> AsyncIterator[str]:
                yield "x"
                facts["state"] = {"step": 2}

            return ChannelOutput(response_stream=answer(), response_metadata=facts)

    await room_with(kit, Transport("sms"), Late("bot"))
    await ask(kit)
    assert (await messages(kit))[1].metadata == {"a": 1, "state": {"step": 2}}


@pytest.mark.parametrize("failure", [OSError("gone"), asyncio.CancelledError()])
async def test_R131_a_sink_that_fails_gets_the_stored_event_instead(
    kit: RoomKit, failure: BaseException
) -> None:
    good, bad = Screen("good"), Screen("bad")

    async def fail(text_stream: AsyncIterator[str]) -> StreamOutcome:
        await anext(text_stream)
        raise failure

    bad.behave = fail
    await room_with(kit, Transport("sms"), good, bad, Agent("bot", says(Stream("a", "b"))))
    await ask(kit)
    assert good.heard == ["a", "b"]
    assert len(good.finished) == 1
    assert (bad.bodies, bad.finished) == (["hi", "ab"], [])


async def test_a_sink_that_stops_early_ends_only_its_own_part(kit: RoomKit) -> None:
    good, bored = Screen("good"), Screen("bored")

    async def leave(text_stream: AsyncIterator[str]) -> StreamOutcome:
        return StreamOutcome()

    bored.behave = leave
    stream = Stream("a", "b", "c")
    await room_with(kit, Transport("sms"), good, bored, Agent("bot", says(stream)))
    await ask(kit)
    assert (good.heard, stream.given) == (["a", "b", "c"], ["a", "b", "c"])
    assert len(bored.finished) == 1


def interrupts(heard: str | None, after: int = 1, **metadata: Any) -> Any:
    async def behave(text_stream: AsyncIterator[str]) -> StreamOutcome:
        for _ in range(after):
            await anext(text_stream)
        return StreamOutcome(heard, interrupted=True, metadata=metadata)

    return behave


async def test_an_interruption_ends_the_answer_for_all_and_stores_what_was_heard(
    kit: RoomKit,
) -> None:
    voice, web = Screen("voice"), Screen("web")
    voice.behave = interrupts("One two", played_ms=740)
    never = asyncio.Event()
    stream = Stream("One two three ", "four ", never, "five")
    bot = Agent("bot", says(stream))
    await room_with(kit, Transport("sms"), voice, web, bot)
    await ask(kit)
    answer = (await messages(kit))[1]
    assert answer.text == "One two"
    assert answer.metadata == {"interrupted": True, "cancelled": True, "played_ms": 740}
    assert stream.closed
    assert "five" not in stream.given
    for screen in (voice, web):
        assert screen.finished == [(answer.id, answer, None)]
    # the next question sees that text
    voice.behave = None
    bot.script = lambda event, context: None
    await ask(kit)
    assert [e.text for e in bot.contexts[-1].recent_events] == ["hi", "One two", "hi"]


async def test_an_interruption_without_a_text_stores_what_was_produced(kit: RoomKit) -> None:
    voice = Screen("voice")
    voice.behave = interrupts(None, after=2)
    await room_with(
        kit, Transport("sms"), voice, Agent("bot", says(Stream("a", "b", asyncio.Event())))
    )
    await ask(kit)
    assert (await messages(kit))[1].text == "ab"


@pytest.mark.parametrize("heard", ["", "  "])
async def test_an_interruption_before_anything_was_heard_stores_nothing(
    kit: RoomKit, heard: str
) -> None:
    voice, web = Screen("voice"), Screen("web")
    voice.behave = interrupts(heard)
    stream = Stream("One", asyncio.Event())
    await room_with(kit, Transport("sms"), voice, web, Agent("bot", says(stream)))
    await ask(kit)
    assert await words(kit) == [("hi", "delivered")]
    assert stream.closed
    assert web.finished == [(web.announced[0].id, None, None)]


async def test_a_sink_that_does_not_end_after_an_interruption_is_given_up(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salon.core.streaming.GRACE_S", 0.01)
    voice, stuck = Screen("voice"), Screen("stuck")
    voice.behave = interrupts("One")

    async def hang(text_stream: AsyncIterator[str]) -> StreamOutcome:
        await asyncio.Event().wait()
        return StreamOutcome()

    stuck.behave = hang
    await room_with(kit, Transport("sms"), voice, stuck, Agent("bot", says(Stream("One two"))))
    await ask(kit)
    assert stuck.bodies == ["hi", "One"]


async def test_R206_a_channel_that_never_ends_is_given_up_alone(kit: RoomKit) -> None:
    stuck, slow = Screen("stuck"), Screen("slow")
    stuck.playout_timeout, slow.playout_timeout = 0.5, 60.0

    async def hang(text_stream: AsyncIterator[str]) -> StreamOutcome:
        await asyncio.Event().wait()
        return StreamOutcome()

    async def take_time(text_stream: AsyncIterator[str]) -> StreamOutcome:
        await asyncio.sleep(2)
        return StreamOutcome()

    stuck.behave, slow.behave = hang, take_time
    await room_with(kit, Transport("sms"), stuck, slow, Agent("bot", says(Stream("One"))))
    await ask(kit)
    assert await words(kit) == [("hi", "delivered"), ("One", "delivered")]
    assert stuck.bodies == ["hi", "One"]  # as a whole event instead
    assert len(slow.finished) == 1


class QuotaError(SalonError):
    code = "quota"


async def test_R63_a_provider_that_fails_in_the_middle_keeps_what_was_said(kit: RoomKit) -> None:
    web = Screen("web")
    stream = Stream("half ", QuotaError("no credit left"))
    await room_with(kit, Transport("sms"), web, Agent("bot", says(stream)))
    result = await ask(kit)
    assert isinstance(result.error, QuotaError)
    assert await words(kit) == [("hi", "delivered"), ("half ", "delivered")]
    answer = (await messages(kit))[1]
    assert answer.metadata == {"failed": True, "error": "no credit left"}
    assert web.finished == [(answer.id, answer, None)]
    note = (await timeline(kit))[-1]
    assert (
        getattr(note.content, "body", "") == "The agent could not finish its answer: no credit left"
    )
    assert (note.type, note.metadata["error"]) == (EventType.SYSTEM, "no credit left")
    assert web.got[-1].id == note.id


async def test_a_provider_that_fails_before_the_first_word_announces_nothing(kit: RoomKit) -> None:
    web = Screen("web")
    await room_with(kit, Transport("sms"), web, Agent("bot", says(Stream(QuotaError("no")))))
    result = await ask(kit)
    assert isinstance(result.error, QuotaError)
    assert (web.announced, web.finished) == ([], [])
    assert await words(kit) == [("hi", "delivered")]
    assert (await timeline(kit))[-1].type is EventType.SYSTEM


async def test_R55_a_failure_after_blanks_ends_the_stream_with_the_error(kit: RoomKit) -> None:
    web = Screen("web")
    stream = Stream(" ", QuotaError("no credit left"))
    await room_with(kit, Transport("sms"), web, Agent("bot", says(stream)))
    await ask(kit)
    assert web.finished == [(web.announced[0].id, None, "no credit left")]


async def test_a_provider_that_cancels_itself_failed(kit: RoomKit) -> None:
    web = Screen("web")
    stream = Stream("half", asyncio.CancelledError())
    bot = Agent("bot", says(stream))
    await room_with(kit, Transport("sms"), web, bot)
    result = await ask(kit)
    assert result.error is not None
    assert await words(kit) == [("hi", "delivered"), ("half", "delivered")]
    bot.script = says(Stream("again"))
    await ask(kit)
    assert (await words(kit))[-1] == ("again", "delivered")


async def test_an_empty_answer_leaves_no_trace(kit: RoomKit) -> None:
    web = Screen("web")
    await room_with(kit, Transport("sms"), web, Agent("bot", says(Stream("", ""))))
    await ask(kit)
    assert (web.announced, await words(kit)) == ([], [("hi", "delivered")])


async def test_R75_a_muted_agents_answer_is_not_generated(kit: RoomKit) -> None:
    web = Screen("web")
    stream = Stream("never")
    bot = Agent("bot", says(stream))
    await room_with(kit, Transport("sms"), web, bot)
    await kit.mute(ROOM, "bot")
    await ask(kit)
    assert (len(bot.asked), stream.given, web.announced) == (1, [], [])
    assert await words(kit) == [("hi", "delivered")]


async def test_R75_an_iterator_without_aclose_is_dropped_too(kit: RoomKit) -> None:
    class Plain:
        read = 0

        def __aiter__(self) -> Plain:
            return self

        async def __anext__(self) -> str:
            Plain.read += 1
            if Plain.read > 2:
                raise StopAsyncIteration
            return "x"

    bot = Agent("bot", lambda event, context: Plain())
    await room_with(kit, Transport("sms"), bot)
    await kit.mute(ROOM, "bot")
    await ask(kit)
    assert Plain.read == 0
    await kit.unmute(ROOM, "bot")
    await ask(kit)
    assert (await words(kit))[-1] == ("xx", "delivered")


@pytest.mark.parametrize("how", ["block", "hide"])
async def test_a_streamed_answer_that_is_refused_ends_without_an_event(
    kit: RoomKit, how: str
) -> None:
    web = Screen("web")
    await room_with(kit, Transport("sms"), web, Agent("bot", says(Stream("rude"))))

    async def guard(event: RoomEvent, context: RoomContext) -> HookResult:
        if how == "block":
            return HookResult.block("rude")
        return HookResult.modify(event.model_copy(update={"visibility": "none"}))

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, guard, channel_ids=["bot"])
    await ask(kit)
    assert web.finished == [(web.announced[0].id, None, None)]
    assert (await words(kit))[-1] == ("rude", "guard" if how == "block" else "delivered")


async def test_a_room_that_closes_during_an_answer_ends_the_stream(kit: RoomKit) -> None:
    go = asyncio.Event()
    web = Screen("web")
    await room_with(kit, Transport("sms"), web, Agent("bot", says(Stream("a", go, "b"))))
    call = asyncio.create_task(ask(kit))
    while not web.heard:
        await asyncio.sleep(0)
    await kit.close_room(ROOM)
    go.set()
    await call
    assert web.finished == [(web.announced[0].id, None, None)]
    assert await words(kit) == [("hi", "delivered")]


async def test_who_may_not_see_the_answer_gets_no_stream(kit: RoomKit) -> None:
    web, advisor, away = Screen("web"), Screen("advisor"), Screen("away")
    away.accepts_stream = lambda binding: False  # type: ignore[method-assign]
    await room_with(kit, Transport("sms"), web, advisor, away, Agent("bot", says(Stream("a"))))
    await kit.set_visibility(ROOM, "bot", "advisor,away")
    await ask(kit)
    assert (web.announced, len(advisor.announced), away.announced) == ([], 1, [])
    assert (web.bodies, away.bodies) == (["hi"], ["hi", "a"])


@pytest.mark.parametrize("pieces", [["abcde"] * 10, ["abcdeabcde" * 9, "more"]])
async def test_a_long_answer_is_cut_and_marked(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch, pieces: list[str]
) -> None:
    monkeypatch.setattr("salon.core.streaming.MAX_ANSWER_CHARS", 10)
    web, stream = Screen("web"), Stream(*pieces)
    await room_with(kit, Transport("sms"), web, Agent("bot", says(stream)))
    await ask(kit)
    assert (await words(kit))[-1] == ("abcdeabcde", "delivered")
    assert (await messages(kit))[1].metadata == {"truncated": True}
    assert "".join(web.heard) == "abcdeabcde"
    assert "more" not in stream.given
    assert stream.closed


async def test_an_answer_of_just_the_longest_length_is_whole(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salon.core.streaming.MAX_ANSWER_CHARS", 10)
    await room_with(kit, Transport("sms"), Agent("bot", says(Stream("abcde", "abcde", ""))))
    await ask(kit)
    assert (await messages(kit))[1].metadata == {}


async def test_an_answer_that_is_not_streamed_is_cut_too(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salon.core.streaming.MAX_ANSWER_CHARS", 5)
    bot = Agent("bot", lambda event, context: ["abcdefgh", "abcde"])
    await room_with(kit, Transport("sms"), bot)
    await ask(kit)
    cut, whole = (await messages(kit))[1:]
    assert (cut.text, cut.metadata) == ("abcde", {"truncated": True})
    assert (whole.text, whole.metadata) == ("abcde", {})


def test_all_text_of_an_answer_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salon.core.streaming.MAX_ANSWER_CHARS", 5)
    place = LocationContent(latitude=1, longitude=2)
    rich = RichContent(body="*a*", plain_text="abcdefgh")
    parts = [TextContent(body="abc"), place, TextContent(body="def"), RichContent(body="g")]
    event = Agent("bot").event(ROOM, "")
    for content, shown in (
        (rich, RichContent(body="*a*", plain_text="abcde")),
        (
            CompositeContent(parts=parts),
            CompositeContent(parts=[parts[0], place, TextContent(body="de"), RichContent(body="")]),
        ),
    ):
        cut = bounded(event.model_copy(update={"content": content}))
        assert (cut.content, cut.metadata) == (shown, {"truncated": True})
    whole = event.model_copy(update={"content": CompositeContent(parts=parts[:2])})
    assert bounded(whole) is whole


async def test_a_source_that_fails_to_close_costs_nothing_that_was_heard(kit: RoomKit) -> None:
    voice = Screen("voice")
    voice.behave = interrupts("One")

    async def stubborn() -> AsyncIterator[str]:
        try:
            yield "One two"
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            yield "more"
        finally:
            raise OSError("socket")

    bot = Agent("bot", lambda e, c: stubborn() if e.source.channel_id == "sms" else None)
    await room_with(kit, Transport("sms"), voice, bot)
    await ask(kit)
    assert (await words(kit))[-1] == ("One", "delivered")


async def test_closing_the_framework_stops_an_answer_that_has_not_begun() -> None:
    kit = RoomKit(shutdown_timeout=0)
    await kit.open()
    stream = Stream(asyncio.Event(), "never")
    bot = Agent("bot", says(stream))
    await room_with(kit, Transport("sms"), bot)
    call = asyncio.create_task(kit.process_inbound(message("sms"), room_id=ROOM))
    while not bot.asked:
        await asyncio.sleep(0)
    await kit.close()
    assert stream.closed
    await asyncio.wait_for(call, PATIENCE)


async def test_the_default_stream_delivery_takes_everything() -> None:
    class Quiet(Transport):
        deliver_stream = Channel.deliver_stream

    channel = Quiet("q")
    stream = Stream("a", "b")
    outcome = await channel.deliver_stream(stream(), None, None, None)  # type: ignore[arg-type]
    assert (outcome, stream.given) == (StreamOutcome(), ["a", "b"])
    assert not channel.supports_streaming_delivery
    assert text("x").body == "x"
