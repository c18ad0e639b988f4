"""From speech to a message of the room (part 11)."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest
from tests.conformance.voice.stage import ROOM, ScriptSTT, Stage, stage

from salon.core.ports.channel import Channel
from salon.models import (
    AudioContent,
    ChannelBinding,
    ChannelCapabilities,
    ChannelMediaType,
    ChannelOutput,
    ChannelType,
    HookResult,
    HookTrigger,
    InboundMessage,
    RoomContext,
    RoomEvent,
    TextContent,
)
from salon.models.content import SystemContent
from salon.testing import virtual_time
from salon.voice.hook_payloads import TranscriptionEvent
from salon.voice.stt.mock import MockSpeechToText

T = HookTrigger


async def one(room: Stage, ms: int = 400) -> None:
    """Ann says something, and it is dealt with."""
    await room.speak(ms)
    await room.quiet(500)


@virtual_time
async def test_V90_V110_the_detector_of_turns_comes_after_the_transcription() -> None:
    from salon.voice.pipeline.turn.mock import MockTurnDetector

    async with stage(transcripts=["hello"], pipeline={"turn_detector": MockTurnDetector()}) as room:
        room.watch(T.ON_SPEECH_END, T.ON_TRANSCRIPTION, T.ON_TURN_COMPLETE, T.BEFORE_BROADCAST)
        await one(room)
        assert room.order() == [
            T.ON_SPEECH_END,
            T.ON_TRANSCRIPTION,
            T.ON_TURN_COMPLETE,
            T.BEFORE_BROADCAST,
        ]
        assert await room.said() == ["hello"]


@virtual_time
async def test_V90_the_payloads_are_those_of_part_23() -> None:
    async with stage(transcripts=["hello"]) as room:
        room.watch(T.ON_SPEECH_START, T.ON_SPEECH_END, T.ON_TRANSCRIPTION)
        await one(room)
        start, end, words = (payload for _, payload in room.fired)
        assert start is end is room.session
        assert words.session is room.session
        assert words.text == "hello"


@virtual_time
async def test_V91_partials_are_told_and_never_routed() -> None:
    stt = MockSpeechToText(["good morning to you"])
    async with stage(stt=stt) as room:
        room.watch(T.ON_PARTIAL_TRANSCRIPTION)
        await one(room)
        texts = [event.text for event in room.given(T.ON_PARTIAL_TRANSCRIPTION)]
        assert texts[:2] == ["good", "good morning"]
        assert all(
            event.session is room.session for event in room.given(T.ON_PARTIAL_TRANSCRIPTION)
        )
        assert {event.role for event in room.given(T.ON_PARTIAL_TRANSCRIPTION)} == {"user"}
        assert await room.said() == ["good morning to you"]


@virtual_time
async def test_V92_V130_what_is_routed_is_what_the_hook_left() -> None:
    async with stage(transcripts=["my number is 1234"]) as room:

        @room.kit.hook(T.ON_TRANSCRIPTION)
        async def redact(event: Any, _context: Any) -> HookResult:
            return HookResult.modify(dataclasses.replace(event, text="my number is ****"))

        await one(room)
        assert await room.said() == ["my number is ****"]


@virtual_time
async def test_V92_an_empty_replacement_is_a_redaction() -> None:
    async with stage(transcripts=["secret", "hello"], answers=["ok"]) as room:

        @room.kit.hook(T.ON_TRANSCRIPTION)
        async def redact(event: Any, _context: Any) -> HookResult:
            if event.text != "secret":
                return HookResult.allow()
            return HookResult.modify(TranscriptionEvent(event.session, ""))

        await one(room)
        assert "secret" not in str([event.model_dump() for event in await room.events()])
        assert not room.sound()
        await one(room)
        assert (await room.said())[-2:] == ["hello", "ok"]


@virtual_time
async def test_V93_what_is_blocked_reaches_neither_room_nor_agent() -> None:
    async with stage(transcripts=["secret", "hello"], answers=["ok"]) as room:

        @room.kit.hook(T.ON_TRANSCRIPTION)
        async def refuse(event: Any, _context: Any) -> HookResult:
            return HookResult.block("no") if event.text == "secret" else HookResult.allow()

        await one(room)
        assert await room.said() == []
        assert not room.sound()
        await one(room)
        assert await room.said() == ["hello", "ok"]


async def _raises(_event: Any, _context: Any) -> HookResult:
    raise RuntimeError("no")


async def _sleeps(_event: Any, _context: Any) -> HookResult:
    await asyncio.sleep(60)
    return HookResult.allow()


async def _returns_nonsense(_event: Any, _context: Any) -> Any:
    return "fine"


async def _wrong_payload(_event: Any, _context: Any) -> HookResult:
    return HookResult.modify(42)


@pytest.mark.parametrize("hook", [_raises, _sleeps, _returns_nonsense, _wrong_payload])
@virtual_time
async def test_V94_V129_V130_a_failing_hook_blocks_the_transcript(hook: Any) -> None:
    async with stage(transcripts=["secret"], answers=["ok"]) as room:
        room.kit.hook(T.ON_TRANSCRIPTION, timeout=1.0)(hook)
        await one(room)
        await room.quiet(2000)
        assert await room.said() == []
        assert not room.sound()


@virtual_time
async def test_V129_a_failing_hook_of_another_trigger_allows() -> None:
    async with stage(transcripts=["hello"]) as room:
        room.kit.hook(T.BEFORE_BROADCAST)(_raises)
        await one(room)
        assert await room.said() == ["hello"]


@virtual_time
async def test_V95_each_line_is_its_own_participant() -> None:
    async with stage(transcripts=["I am Ann", "I am Bob"]) as room:
        bob = await room.join("bob")
        await room.speak(400)
        await room.quiet(100)
        await room.speak(400, bob)
        await room.quiet(300)
        heard = [(e.source.participant_id, e.content.body) for e in await room.messages()]  # type: ignore[union-attr]
        assert heard == [("ann", "I am Ann"), ("bob", "I am Bob")]


@virtual_time
async def test_V95_two_who_speak_at_once_are_both_heard() -> None:
    async with stage(transcripts=["first", "second"]) as room:
        bob = await room.join("bob")
        await asyncio.gather(room.speak(400), room.speak(600, bob))
        await room.quiet(300)
        heard = [(e.source.participant_id, e.content.body) for e in await room.messages()]  # type: ignore[union-attr]
        assert heard == [("ann", "first"), ("bob", "second")]


class Texts(Channel):
    """A channel that takes texts only."""

    channel_type = ChannelType.SMS

    def __init__(self) -> None:
        super().__init__("texts")
        self.got: list[RoomEvent] = []

    def capabilities(self) -> ChannelCapabilities:
        return ChannelCapabilities(media_types=[ChannelMediaType.TEXT])

    async def deliver(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        self.got.append(event)
        return ChannelOutput()


@pytest.mark.parametrize(
    ("transcript", "read"), [("hi there", "hi there"), (None, "[Voice message")]
)
@virtual_time
async def test_V95_who_reads_gets_the_transcript_of_a_sound(
    transcript: str | None, read: str
) -> None:
    async with stage() as room:
        texts = Texts()
        room.kit.register_channel(texts)
        await room.kit.attach_channel(ROOM, "texts")
        await room.kit.process_inbound(
            InboundMessage(
                channel_id="voice",
                sender_id="ann",
                content=AudioContent(
                    url="https://sounds.test/a.wav", mime_type="audio/wav", transcript=transcript
                ),
            ),
            room_id=ROOM,
        )
        await asyncio.sleep(0.1)
        (got,) = [event for event in texts.got if not isinstance(event.content, SystemContent)]
        assert isinstance(got.content, TextContent)
        assert got.content.body.startswith(read)


@virtual_time
async def test_V96_a_failed_recognition_is_told_and_the_next_utterance_is_heard() -> None:
    async with stage(transcripts=[RuntimeError("busy"), "hello"]) as room:
        room.watch_framework("stt_error")
        await one(room)
        await one(room)
        assert await room.said() == ["hello"]
        ((_, data),) = room.framework
        assert data["session_id"] == room.session.id
        assert data["provider"] == "ScriptSTT"
        assert data["error"]


@virtual_time
async def test_V96_a_recogniser_that_never_answers_does_not_hold_the_line() -> None:
    class Stuck(ScriptSTT):
        async def transcribe(self, audio: Any, *, language: str | None = None) -> Any:
            if not self.heard:
                self.heard.append(b"")
                await asyncio.sleep(3600)
            return await super().transcribe(audio, language=language)

    async with stage(stt=Stuck(["hello"])) as room:
        room.watch_framework("stt_error")
        await one(room)
        await room.quiet(20_000)
        await one(room)
        assert await room.said() == ["hello"]
        assert len(room.framework) == 1


@virtual_time
async def test_X11_speech_without_words_is_no_message() -> None:
    async with stage(transcripts=["", "  ", "hello"], answers=["ok"]) as room:
        for _ in range(3):
            await one(room)
        assert await room.said() == ["hello", "ok"]


@virtual_time
async def test_X5_a_slow_recogniser_does_not_hold_up_sound() -> None:
    async with stage(stt=ScriptSTT(["hello", "again"], delay=2.0)) as room:
        await room.speak()
        began = asyncio.get_running_loop().time()
        await room.speak()
        assert asyncio.get_running_loop().time() - began < 0.5
        await room.quiet(5000)
        assert await room.said() == ["hello", "again"]


@virtual_time
async def test_V232_the_language_counts_from_the_next_utterance_on() -> None:
    async with stage(transcripts=["hello", "bonjour", "hi"]) as room:

        @room.kit.hook(T.ON_TRANSCRIPTION)
        async def switch(event: Any, _context: Any) -> HookResult:
            if event.text == "hello":
                room.channel.set_stt_language(event.session, "fr")
            return HookResult.allow()

        await one(room)
        assert room.channel.get_stt_language(room.session) == "fr"
        await one(room)
        room.channel.set_stt_language(room.session, None)
        await one(room)
        assert room.stt.languages == [None, "fr", None]


@virtual_time
async def test_V232_one_line_only() -> None:
    async with stage(transcripts=["hello", "hi"]) as room:
        bob = await room.join("bob")
        room.channel.set_stt_language(bob, "fr")
        await one(room)
        await room.speak(400, bob)
        await room.quiet(300)
        assert room.stt.languages == [None, "fr"]


@virtual_time
async def test_V232_what_is_known_before_the_session_is_bound_counts() -> None:
    async with stage(transcripts=["hello"], bound=False) as room:
        room.channel.set_stt_language(room.session, "de")
        room.channel.bind_session(room.session, ROOM)
        await asyncio.sleep(0)
        await one(room)
        assert room.stt.languages == ["de"]


@virtual_time
async def test_V232_it_is_forgotten_with_the_session() -> None:
    async with stage() as room:
        room.channel.set_stt_language(room.session, "de")
        room.channel.unbind_session(room.session)
        await asyncio.sleep(0.1)
        assert room.channel.get_stt_language(room.session) is None


@virtual_time
async def test_the_segment_of_the_detector_is_what_is_recognised() -> None:
    """RoomKit gives the recogniser the bytes that come with SPEECH_END."""
    from salon.voice.pipeline.vad.base import VADEvent, VADEventType

    async with stage(transcripts=["hello"]) as room:
        await room.begin()
        await room.quiet(200)
        segment = b"\x07\x00" * 4000
        room.vad.tell(
            room.session.id,
            VADEvent(VADEventType.SPEECH_END, audio_bytes=segment, duration_ms=250.0),
        )
        await room.quiet(200)
        assert room.stt.heard == [segment]


@virtual_time
async def test_V96_nothing_of_a_line_that_has_left_is_routed_late() -> None:
    async with stage(stt=ScriptSTT(["hello"], delay=1.0)) as room:
        await room.speak()
        room.channel.unbind_session(room.session)
        await asyncio.sleep(3)
        assert await room.said() in ([], ["hello"])
        assert not room.backend.errors
