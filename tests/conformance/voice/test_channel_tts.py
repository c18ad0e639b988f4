"""From an answer to sound (part 12), for one listener and for several."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import numpy as np
import pytest
from tests.conformance.voice.stage import CHAR_MS, ROOM, Stage, stage
from tests.conformance.voice.test_channel_stt import (
    Texts,
    _raises,
    _returns_nonsense,
    _sleeps,
    _wrong_payload,
)

from salon.channels.voice import VoiceChannel
from salon.core.ports.ai import AIContext, AIStreamPart
from salon.media.wav import wav_bytes
from salon.models import (
    AudioContent,
    ChannelType,
    EventSource,
    EventStatus,
    EventType,
    HookResult,
    HookTrigger,
    InboundMessage,
    LocationContent,
    ProviderDeliveryError,
    RoomEvent,
    TextContent,
)
from salon.testing import MockAIProvider, virtual_time
from salon.voice.backends.mock import MockVoiceBackend
from salon.voice.interruption import InterruptionConfig
from salon.voice.tts.mock import MockTextToSpeech, MockTTSProvider

T = HookTrigger
ANSWER = "There are many things to tell about this town and its people."
LONG = " ".join([ANSWER] * 4)


class Counting(MockAIProvider):
    """Counts what it has made so far."""

    made = 0

    async def generate_stream(self, context: AIContext) -> AsyncGenerator[AIStreamPart, None]:
        async for part in super().generate_stream(context):
            self.made += 1
            yield part


def now() -> float:
    return asyncio.get_running_loop().time()


async def typed(room: Stage, text: str, sender: str = "carl") -> Any:
    """Somebody types into the room, on another channel."""
    if room.kit.get_channel("texts") is None:
        room.kit.register_channel(Texts())
        await room.kit.attach_channel(ROOM, "texts")
    return await room.kit.process_inbound(
        InboundMessage(channel_id="texts", sender_id=sender, content=TextContent(body=text)),
        room_id=ROOM,
    )


# -- streaming ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tts", "backend", "streams"),
    [
        (MockTextToSpeech(), MockVoiceBackend(), True),
        (MockTTSProvider(), MockVoiceBackend(), False),
        (MockTextToSpeech(), None, False),
        (None, MockVoiceBackend(), False),
    ],
)
@virtual_time
async def test_V98_streaming_needs_a_voice_that_streams_and_a_backend(
    tts: Any, backend: Any, streams: bool
) -> None:
    channel = VoiceChannel("voice", tts=tts, backend=backend)
    assert channel.supports_streaming_delivery is streams
    await channel.close()


@virtual_time
async def test_V98_V109_streaming_can_be_switched_off() -> None:
    channel = VoiceChannel(
        "voice", tts=MockTextToSpeech(), backend=MockVoiceBackend(), streaming=False
    )
    assert not channel.supports_streaming_delivery
    await channel.close()


@virtual_time
async def test_V100_a_streamed_answer_sounds_at_once() -> None:
    async with stage(transcripts=["hello"], answers=[ANSWER]) as room:
        await room.speak()
        began = now()
        await room.until_audible()
        assert now() - began < 0.3


@virtual_time
async def test_V99_V100_it_sounds_before_its_end_is_known() -> None:
    pieces = ["First one. ", "Then two. ", "At last three."]
    provider = MockAIProvider([pieces], delay=1.0)
    async with stage(transcripts=["hello"], provider=provider) as room:
        await room.ask()
        assert now() < 2.9
        texts = [text for text, _ in room.tts.spoken]
        assert texts == ["First one."]
        await room.quiet(5000)
        assert [text for text, _ in room.tts.spoken] == [p.strip() for p in pieces]
        assert (await room.said())[1] == "".join(pieces)


@virtual_time
async def test_V100_one_event_for_the_others_and_none_twice() -> None:
    async with stage(transcripts=["hello"], answers=[ANSWER]) as room:
        texts = Texts()
        room.kit.register_channel(texts)
        await room.kit.attach_channel(ROOM, "texts")
        await room.ask()
        await room.quiet(3000)
        assert await room.said() == ["hello", ANSWER]
        got = [e.content.body for e in texts.got if isinstance(e.content, TextContent)]
        assert got == ["hello", ANSWER]
        assert room.played_ms() == len(ANSWER) * CHAR_MS


@virtual_time
async def test_V101_after_tts_comes_once_at_the_end() -> None:
    async with stage(transcripts=["hello"], answers=[LONG]) as room:
        room.watch(T.AFTER_TTS)
        await room.ask()
        await room.quiet(4000)
        assert not room.fired
        await room.quiet(2000)
        assert room.given(T.AFTER_TTS) == [LONG]


@virtual_time
async def test_V102_before_tts_may_change_what_is_said() -> None:
    async with stage(transcripts=["hello"], answers=[ANSWER]) as room:

        @room.kit.hook(T.BEFORE_TTS)
        async def change(text: Any, _context: Any) -> HookResult:
            assert text == ANSWER
            return HookResult.modify("Nothing to tell.")

        await room.ask()
        await room.quiet(2000)
        assert [text for text, _ in room.tts.spoken] == ["Nothing to tell."]


@pytest.mark.parametrize("hook", [_raises, _sleeps, _returns_nonsense, _wrong_payload])
@virtual_time
async def test_V102_V129_V130_a_failing_hook_blocks_the_voice(hook: Any) -> None:
    async with stage(transcripts=["hello"], answers=[ANSWER]) as room:
        room.kit.hook(T.BEFORE_TTS, timeout=1.0)(hook)
        await room.speak()
        await room.quiet(4000)
        assert not room.sound()
        assert await room.said() == ["hello", ANSWER]


@virtual_time
async def test_V102_an_emptied_text_is_not_spoken() -> None:
    async with stage(transcripts=["hello"], answers=[ANSWER]) as room:

        @room.kit.hook(T.BEFORE_TTS)
        async def change(_text: Any, _context: Any) -> HookResult:
            return HookResult.modify("")

        await room.speak()
        await room.quiet(2000)
        assert not room.sound()


@virtual_time
async def test_V131_a_hook_on_another_channel_does_not_block_the_voice() -> None:
    async with stage(transcripts=["hello"], answers=[ANSWER]) as room:

        @room.kit.hook(T.BEFORE_TTS, channel_ids=["other"])
        async def refuse(_text: Any, _context: Any) -> HookResult:
            return HookResult.block("no")

        await room.ask()
        await room.quiet(2000)
        assert room.played_ms() == len(ANSWER) * CHAR_MS


# -- whole events ---------------------------------------------------------------------------------


@virtual_time
async def test_V103_a_text_of_another_channel_is_spoken() -> None:
    async with stage() as room:
        await typed(room, "Hello, Ann.")
        await room.quiet(1000)
        assert [text for text, _ in room.tts.spoken] == ["Hello, Ann."]
        assert room.played_ms() == len("Hello, Ann.") * CHAR_MS


@virtual_time
async def test_V103_nobody_hears_their_own_words_again() -> None:
    async with stage(transcripts=["hello"]) as room:
        await room.speak()
        await room.quiet(1000)
        assert not room.tts.spoken
        assert not room.sound()


def _wav(ms: int) -> bytes:
    return wav_bytes(np.full(16 * ms, 0x1010, dtype=np.int16))


@virtual_time
async def test_V103_V104_sound_is_played_as_it_is() -> None:
    async with stage() as room:
        room.kit.register_channel(Texts())
        await room.kit.attach_channel(ROOM, "texts")
        url = "data:audio/wav;base64," + base64.b64encode(_wav(400)).decode()
        await room.kit.process_inbound(
            InboundMessage(
                channel_id="texts",
                sender_id="carl",
                content=AudioContent(url=url, mime_type="audio/wav"),
            ),
            room_id=ROOM,
        )
        await room.quiet(1000)
        assert not room.tts.spoken
        assert room.sound() == b"\x10\x10" * 16 * 400


@virtual_time
async def test_V103_X15_what_cannot_be_heard_is_a_failed_delivery() -> None:
    async with stage() as room:
        binding = await room.kit.get_binding(ROOM, "voice")
        event = RoomEvent(
            room_id=ROOM,
            type=EventType.MESSAGE,
            source=EventSource(channel_id="texts", channel_type=ChannelType.SMS),
            content=LocationContent(latitude=1.0, longitude=2.0),
        )
        context: Any = None
        with pytest.raises(ProviderDeliveryError):
            await room.channel.deliver(event, binding, context)


@virtual_time
async def test_V105_an_utterance_ends_with_a_final_chunk() -> None:
    async with stage(transcripts=["hello"], answers=[ANSWER]) as room:
        await room.ask()
        await room.quiet(3000)
        finals = [chunk.is_final for _, chunk in room.backend.sent_chunks]
        assert finals[-1]
        assert not any(finals[:-1])


@virtual_time
async def test_V106_a_failed_synthesis_is_told_and_the_next_answer_is_heard() -> None:
    tts = MockTextToSpeech(char_ms=CHAR_MS, failures={"Broken.": "busy"})
    async with stage(transcripts=["one", "two"], answers=["Broken.", ANSWER], tts=tts) as room:
        room.watch_framework("tts_error")
        await room.speak()
        await room.quiet(2000)
        await room.speak()
        await room.quiet(3000)
        assert room.played_ms() >= len(ANSWER) * CHAR_MS
        assert await room.said() == ["one", "Broken.", "two", ANSWER]
        (_, data) = room.framework[0]
        assert data["session_id"] == room.session.id
        assert data["provider"] == "mock"
        assert "busy" in data["error"]


@virtual_time
async def test_V106_what_failed_was_not_spoken() -> None:
    tts = MockTextToSpeech(char_ms=CHAR_MS, failures={"Broken.": "busy"})
    async with stage(transcripts=["one"], answers=["Broken."], tts=tts) as room:
        room.watch(T.AFTER_TTS)
        await room.speak()
        await room.quiet(1000)
        assert not room.fired


@virtual_time
async def test_V106_so_with_a_provider_that_raises() -> None:
    class Broken(MockTTSProvider):
        async def synthesize_stream(self, text: str, **_: Any) -> AsyncIterator[Any]:
            if text:
                raise RuntimeError("busy")
            yield

    async with stage(transcripts=["one", "two"], answers=["Yes.", "No."], tts=Broken()) as room:
        room.watch_framework("tts_error")
        for _ in range(2):
            await room.speak()
            await room.quiet(1000)
        assert await room.said() == ["one", "Yes.", "two", "No."]
        assert len(room.framework) == 2


@virtual_time
async def test_tts_filter_changes_what_is_spoken_not_what_is_stored() -> None:
    async with stage(
        transcripts=["hello"], answers=["**Bold** words."], tts_filter=lambda t: t.replace("*", "")
    ) as room:
        await room.ask()
        await room.quiet(1000)
        assert [text for text, _ in room.tts.spoken] == ["Bold words."]
        assert (await room.said())[1] == "**Bold** words."


@virtual_time
async def test_max_sentences_is_kept() -> None:
    async with stage(
        transcripts=["hello"], answers=["This is one. This is two. This is three."], max_sentences=2
    ) as room:
        await room.ask()
        await room.quiet(2000)
        assert len(room.tts.spoken) == 2


# -- what was no interruption ---------------------------------------------------------------------


async def _sound_of(sentences: list[str]) -> bytes:
    voice = MockTextToSpeech(char_ms=CHAR_MS)
    await voice.start()
    return b"".join(
        [chunk.samples.tobytes() for text in sentences async for chunk in voice.speak(text)]
    )


@virtual_time
async def test_a_false_interruption_resumes_at_the_same_place() -> None:
    interruption = InterruptionConfig(resume_false_interruption_ms=800)
    async with stage(transcripts=["hello", ""], answers=[LONG], interruption=interruption) as room:
        room.watch(T.ON_BARGE_IN, T.ON_TTS_CANCELLED, T.AFTER_TTS)
        await room.ask()
        await room.quiet(500)
        await room.begin()
        await room.quiet(400)
        paused = room.played_ms()
        await room.quiet(300)
        assert room.played_ms() == paused
        await room.fall_silent(ms=720)
        await room.quiet(8000)
        assert room.order() == [T.AFTER_TTS]
        assert room.played_ms() == 4 * len(ANSWER) * CHAR_MS
        assert room.sound() == await _sound_of([ANSWER] * 4)
        assert await room.said() == ["hello", LONG]


@virtual_time
async def test_a_real_word_cuts_what_was_paused() -> None:
    interruption = InterruptionConfig(resume_false_interruption_ms=800)
    async with stage(
        transcripts=["hello", "stop it"], answers=[LONG, "ok"], interruption=interruption
    ) as room:
        room.watch(T.ON_BARGE_IN, T.ON_TTS_CANCELLED)
        await room.ask()
        await room.quiet(500)
        await room.speak(700)
        await room.quiet(3000)
        assert room.order() == [T.ON_BARGE_IN, T.ON_TTS_CANCELLED]
        assert room.played_ms() < 1500
        (stored,) = [e for e in await room.messages() if e.source.channel_id == "agent"][:1]
        assert stored.metadata["interrupted"] is True


@virtual_time
async def test_what_words_cut_is_stored_before_them() -> None:
    interruption = InterruptionConfig(resume_false_interruption_ms=800)
    async with stage(
        transcripts=["hello", "stop it"], answers=[LONG, "ok"], interruption=interruption
    ) as room:
        await room.ask()
        await room.quiet(500)
        await room.speak(700)
        await room.quiet(3000)
        assert (await room.said())[2:] == ["stop it", "ok"]


@virtual_time
async def test_a_slow_recogniser_does_not_bring_back_what_it_later_cuts() -> None:
    """The words come 2 s after the agent has gone on: they still cut it, once."""
    from tests.conformance.voice.stage import ScriptSTT

    interruption = InterruptionConfig(resume_false_interruption_ms=800)
    async with stage(
        stt=ScriptSTT(["hello", "stop it"], delay=2.0),
        answers=[LONG, "ok"],
        interruption=interruption,
    ) as room:
        room.watch(T.ON_BARGE_IN, T.ON_TTS_CANCELLED)
        await room.ask()
        await room.quiet(300)
        await room.speak(600)
        await room.quiet(6000)
        said = await room.said()
        assert said[-1] == "ok"
        assert "stop it" in said
        assert room.order().count(T.ON_TTS_CANCELLED) == 1


@virtual_time
async def test_more_speech_starts_the_wait_again() -> None:
    from tests.conformance.voice.stage import ScriptSTT

    interruption = InterruptionConfig(resume_false_interruption_ms=800)
    async with stage(
        stt=ScriptSTT(["hello", "", ""], delay=2.0), answers=[LONG], interruption=interruption
    ) as room:
        await room.ask()
        await room.quiet(500)
        await room.speak(600)
        await room.quiet(400)
        paused = room.played_ms()
        await room.begin()
        await room.quiet(1000)
        assert room.played_ms() == paused


# -- content of what is stored --------------------------------------------------------------------


@virtual_time
async def test_V126_V205_a_muted_voice_hears_on_but_says_nothing() -> None:
    async with stage(transcripts=["hello"], answers=[ANSWER]) as room:
        await room.kit.mute_output(ROOM, "voice")
        await room.speak()
        await room.quiet(2000)
        assert not room.sound()
        delivered = [e for e in await room.messages() if e.status is EventStatus.DELIVERED]
        assert [e.content.body for e in delivered] == ["hello", ANSWER]  # type: ignore[union-attr]


@virtual_time
async def test_a_late_joiner_hears_the_next_answer() -> None:
    async with stage(transcripts=["one", "two"], answers=[ANSWER, "Yes."]) as room:
        await room.ask()
        bob = await room.join("bob")
        await room.quiet(3000)
        await room.ask()
        await room.quiet(1000)
        assert room.played_ms(bob) == len("Yes.") * CHAR_MS
