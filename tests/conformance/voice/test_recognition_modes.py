"""Recognition without a detector: batch, continuous, and speakers told apart."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.conformance.voice.listening import ScriptedStreams, by, final, interim, listening
from tests.conformance.voice.stage import FRAME, stage

from salon.base import ConfigurationError, LocalProtocolError
from salon.channels.voice import VoiceChannel
from salon.models import HookResult, HookTrigger
from salon.testing import MockTextToSpeech, virtual_time
from salon.voice.errors import SpeechError
from salon.voice.interruption import InterruptionConfig, InterruptionStrategy
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.turn.mock import MockTurnDetector
from salon.voice.pipeline.vad.mock import MockVADProvider
from salon.voice.stt.mock import MockSpeechToText, MockSTTProvider

T = HookTrigger
ANSWER = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"


# -- batch ----------------------------------------------------------------------------------------


@virtual_time
async def test_V23_a_batch_is_gathered_and_recognised_on_demand() -> None:
    stt = MockSTTProvider(["hello there"])
    async with listening(stt, batch_mode=True) as room:
        await room.feed(5)
        assert room.channel.stt_buffer_size(room.session) == 5 * len(FRAME.data)
        result = await room.channel.flush_stt(room.session)
        assert result.text == "hello there"
        assert stt.calls[0].data == 5 * FRAME.data  # type: ignore[union-attr]
        assert room.channel.stt_buffer_size(room.session) == 0
        assert (await room.channel.flush_stt(room.session)).text == ""
        assert len(stt.calls) == 1
        assert await room.said() == []
        await room.feed(2)
        assert room.channel.clear_stt_buffer(room.session) == 2 * len(FRAME.data)
        assert room.channel.clear_stt_buffer(room.session) == 0


@virtual_time
async def test_V90_a_routed_batch_goes_the_normal_way() -> None:
    async with listening(MockSTTProvider(["hello there"]), batch_mode=True) as room:
        room.watch(T.ON_SPEECH_END, T.ON_TRANSCRIPTION, T.BEFORE_BROADCAST)
        await room.feed(5)
        await room.channel.flush_stt(room.session, route=True)
        assert await room.said() == ["hello there"]
        assert room.order() == [T.ON_SPEECH_END, T.ON_TRANSCRIPTION, T.BEFORE_BROADCAST]
        (message,) = await room.messages()
        assert message.source.participant_id == "ann"
        assert message.metadata["end_ms"] - message.metadata["start_ms"] == 100


@virtual_time
async def test_V93_a_routed_batch_may_be_changed_and_blocked() -> None:
    async with listening(MockSTTProvider(["one", "two"]), batch_mode=True) as room:

        @room.kit.hook(T.ON_TRANSCRIPTION)
        async def check(event: Any, _context: Any) -> HookResult:
            if event.text == "two":
                return HookResult.block("no")
            return HookResult.modify(replace(event, text="eins"))

        for text in ("one", "two"):
            await room.feed(1)
            assert (await room.channel.flush_stt(room.session, route=True)).text == text
        assert await room.said() == ["eins"]


@virtual_time
async def test_V110_a_routed_batch_passes_the_turn_detector() -> None:
    from salon.voice.pipeline.turn.base import TurnDecision

    detector = MockTurnDetector([TurnDecision(False, 0.9), TurnDecision(True, 0.9)])
    stt = MockSTTProvider(["hello", "there"])
    async with listening(stt, batch_mode=True, pipeline={"turn_detector": detector}) as room:
        room.watch(T.ON_TURN_INCOMPLETE, T.ON_TURN_COMPLETE)
        for _ in range(2):
            await room.feed(1)
            await room.channel.flush_stt(room.session, route=True)
            await asyncio.sleep(0.2)
        assert room.order() == [T.ON_TURN_INCOMPLETE, T.ON_TURN_COMPLETE]
        assert await room.said() == ["hello there"]


@virtual_time
async def test_V96_a_failed_batch_is_told_and_the_next_one_works() -> None:
    class Failing(MockSTTProvider):
        async def transcribe(self, audio: Any, *, language: str | None = None) -> Any:
            if not self.calls:
                self.calls.append(audio)
                raise OSError("no route")
            return await super().transcribe(audio, language=language)

    stt = Failing(["fine"])
    async with listening(stt, batch_mode=True) as room:
        told: list[Any] = []
        room.kit.on("stt_error")(told.append)
        await room.feed(1)
        with pytest.raises(SpeechError, match="no route"):
            await room.channel.flush_stt(room.session)
        await asyncio.sleep(0.1)
        (error,) = told
        assert error.data["provider"] == stt.name
        assert error.data["session_id"] == room.session.id
        await room.feed(1)
        assert (await room.channel.flush_stt(room.session)).text == "fine"


@virtual_time
async def test_V23_a_flush_needs_batch_mode_and_a_bound_session() -> None:
    async with stage() as room:
        with pytest.raises(RuntimeError, match="batch_mode"):
            await room.channel.flush_stt(room.session)
        with pytest.raises(RuntimeError, match="batch_mode"):
            room.channel.clear_stt_buffer(room.session)
        assert room.channel.stt_buffer_size(room.session) == 0
    async with listening(MockSTTProvider(), batch_mode=True) as room:
        await room.feed(1)
        room.channel.unbind_session(room.session)
        await asyncio.sleep(0.1)
        with pytest.raises(LocalProtocolError, match="bound to no room"):
            await room.channel.flush_stt(room.session)
        assert room.channel.clear_stt_buffer(room.session) == 0
    with pytest.raises(ConfigurationError, match="stt"):
        VoiceChannel("voice", batch_mode=True)


@virtual_time
async def test_V232_a_language_counts_from_the_next_batch() -> None:
    stt = MockSTTProvider(["hallo"])
    async with listening(stt, batch_mode=True) as room:
        for language in (None, "de"):
            room.channel.set_stt_language(room.session, language)
            assert room.channel.get_stt_language(room.session) == language
            await room.feed(1)
            await room.channel.flush_stt(room.session)
        assert stt.languages_requested == [None, "de"]


# -- continuous -----------------------------------------------------------------------------------


@virtual_time
async def test_V91_words_of_a_stream_are_partial_then_routed() -> None:
    stt = ScriptedStreams(
        [(40, interim("hel")), (60, interim("hello")), (80, final("hello")), (160, final("again"))]
    )
    async with listening(stt) as room:
        room.watch(
            T.ON_SPEECH_START, T.ON_PARTIAL_TRANSCRIPTION, T.ON_SPEECH_END, T.ON_TRANSCRIPTION
        )
        await room.feed(12)
        await asyncio.sleep(0.1)
        turn = [T.ON_SPEECH_START, T.ON_SPEECH_END, T.ON_TRANSCRIPTION]
        assert room.order() == [turn[0], *[T.ON_PARTIAL_TRANSCRIPTION] * 2, *turn[1:], *turn]
        assert await room.said() == ["hello", "again"]
        assert len(stt.opened) == 1


@virtual_time
async def test_V96_a_stream_that_fails_is_opened_again_and_misses_nothing() -> None:
    stt = ScriptedStreams([(40, OSError("gone"))], [(20, final("back"))])
    async with listening(stt) as room:
        told: list[Any] = []
        room.kit.on("stt_error")(told.append)
        await room.feed(40)
        assert await room.said() == ["back"]
        assert len(told) == 1
        assert stt.opened[1] - stt.opened[0] == pytest.approx(0.54, abs=0.05)
        assert sum(map(len, stt.heard)) == 40 * len(FRAME.data)


@virtual_time
async def test_V23_a_provider_that_does_not_keep_its_stream_gets_an_end_when_sound_stops() -> None:
    stt = MockSTTProvider(["first", "second"], streaming=True)
    async with listening(stt) as room:
        for _ in range(2):
            await room.feed(5)
            await asyncio.sleep(1.5)
        assert await room.said() == ["first", "second"]


@virtual_time
async def test_V23_an_engine_of_our_own_is_told_where_turns_end() -> None:
    async with listening(MockSpeechToText(["hello there", "more"])) as room:
        await room.feed(100)
        assert await room.said() == ["hello there", "more"]


@virtual_time
async def test_V232_a_language_ends_the_stream_and_holds_for_the_next() -> None:
    stt = ScriptedStreams([(20, interim("hallo"))], [(20, final("guten Tag"))])
    async with listening(stt) as room:
        await room.feed(3)
        room.channel.set_stt_language(room.session, "de")
        await room.feed(3)
        assert stt.languages == [None, "de"]
        assert await room.said() == ["hallo", "guten Tag"]
        assert sum(map(len, stt.heard)) == 6 * len(FRAME.data)


@virtual_time
async def test_V231_a_provider_without_languages_is_asked_for_none() -> None:
    class Plain(ScriptedStreams):
        supports_language_override = False

    async with listening(Plain()) as room:
        with pytest.raises(RuntimeError, match="takes no language"):
            room.channel.set_stt_language(room.session, "de")


# -- interruption by words ------------------------------------------------------------------------


async def over_the_agent(strategy: InterruptionStrategy, *steps: Any) -> tuple[Any, list[str]]:
    """Ann says hello; over the answer she says `steps`, given in ms after 2 s."""
    script = [(20, final("hello")), *((2000 + ms, result) for ms, result in steps)]
    config = InterruptionConfig(strategy=strategy)
    async with listening(
        ScriptedStreams(script),
        answers=[ANSWER, "fine"],
        interruption=config,
        tts=MockTextToSpeech(char_ms=60),
    ) as room:
        room.watch(T.ON_BARGE_IN, T.ON_BACKCHANNEL, T.ON_TTS_CANCELLED)
        await room.feed(200)
        fired = [trigger for trigger, _ in room.fired]
        await asyncio.sleep(20)
        return fired, await room.said()


@virtual_time
async def test_V115_immediate_cuts_with_the_first_sign_of_words() -> None:
    fired, _ = await over_the_agent(InterruptionStrategy.IMMEDIATE, (100, interim("a")))
    assert fired[:1] == [T.ON_BARGE_IN]


@virtual_time
async def test_V116_confirmed_cuts_when_the_words_have_lasted() -> None:
    confirmed = InterruptionStrategy.CONFIRMED
    fired, _ = await over_the_agent(confirmed, (100, interim("a")))
    assert fired[:1] == [T.ON_BARGE_IN]
    fired, said = await over_the_agent(confirmed, (100, interim("a")), (200, final("a")))
    assert fired == []
    assert said == ["hello", ANSWER]


@virtual_time
async def test_V245_each_look_judges_the_latest_words() -> None:
    semantic = InterruptionStrategy.SEMANTIC
    fired, said = await over_the_agent(
        semantic, (0, interim("yeah")), (1500, interim("yeah")), (1800, final("yeah"))
    )
    assert fired == [T.ON_BACKCHANNEL]
    assert said == ["hello", ANSWER]
    fired, said = await over_the_agent(
        semantic, (0, interim("yeah")), (1000, interim("yeah but wait a moment"))
    )
    assert fired[:1] == [T.ON_BARGE_IN]


@virtual_time
async def test_V125_disabled_queues_the_words() -> None:
    fired, said = await over_the_agent(
        InterruptionStrategy.DISABLED, (0, interim("stop it")), (500, final("stop it now"))
    )
    assert fired == []
    assert said == ["hello", ANSWER, "stop it now", "fine"]


@virtual_time
async def test_X14_the_echo_of_an_answer_is_not_the_caller() -> None:
    fired, said = await over_the_agent(
        InterruptionStrategy.CONFIRMED, (0, interim("two three")), (900, final("two three four"))
    )
    assert fired == []
    assert said == ["hello", ANSWER]


# -- speakers -------------------------------------------------------------------------------------


@virtual_time
async def test_V235_each_segment_is_a_message_of_its_own() -> None:
    stt = ScriptedStreams(
        [(40, by(("1", "good morning"), ("2", "hello"), ("UU", "what")))],
        [(40, by(("1", "back again"), ("2", "yes")))],
        ends=True,
        diarizes=True,
    )
    async with listening(stt) as room:
        room.watch(T.ON_SPEAKER_CHANGE, T.ON_TRANSCRIPTION)
        await room.feed(60)
        assert await room.said() == ["good morning", "hello", "what", "back again", "yes"]
        keys = ("speaker_label", "speaker_epoch", "sender_name")
        told = [tuple(m.metadata[key] for key in keys) for m in await room.messages()]
        assert told == [
            ("1", 0, "Speaker 1"),
            ("2", 0, "Speaker 2"),
            (None, 0, "Unknown speaker"),
            ("1", 1, "Speaker 1#1"),
            ("2", 1, "Speaker 2#1"),
        ]
        changes = [event for trigger, event in room.fired if trigger is T.ON_SPEAKER_CHANGE]
        assert [(e.speaker_id, e.source, e.speaker_epoch, e.is_new_speaker) for e in changes] == [
            ("1", "stt", 0, True),
            ("2", "stt", 0, True),
            ("1", "stt", 1, True),
            ("2", "stt", 1, True),
        ]
        asked = [event for trigger, event in room.fired if trigger is T.ON_TRANSCRIPTION]
        assert [event.speaker for event in asked] == ["1", "2", None, "1", "2"]


@virtual_time
async def test_V235_a_hook_names_the_speakers() -> None:
    stt = ScriptedStreams([(40, by(("1", "good morning"), ("2", "hello")))], diarizes=True)
    async with listening(stt) as room:

        @room.kit.hook(T.ON_TRANSCRIPTION)
        async def name(event: Any, _context: Any) -> HookResult:
            if event.speaker != "2":
                return HookResult.allow()
            return HookResult.modify(replace(event, sender_name="Bob"))

        await room.feed(10)
        names = [message.metadata["sender_name"] for message in await room.messages()]
        assert names == ["Speaker 1", "Bob"]


@virtual_time
async def test_V235_a_turn_detector_does_not_join_speakers() -> None:
    from salon.voice.pipeline.turn.base import TurnDecision

    detector = MockTurnDetector([TurnDecision(False, 0.9), TurnDecision(True, 0.9)])
    stt = ScriptedStreams([(40, by(("1", "good morning"), ("2", "hello")))], diarizes=True)
    async with listening(stt, pipeline={"turn_detector": detector}) as room:
        await room.feed(20)
        assert await room.said() == ["good morning", "hello"]


def test_V234_speakers_are_told_apart_only_in_one_stream() -> None:
    def channel(**options: Any) -> VoiceChannel:
        return VoiceChannel("voice", stt=ScriptedStreams(diarizes=True), **options)

    channel()
    channel(pipeline=AudioPipelineConfig())
    with pytest.raises(ConfigurationError, match="V234"):
        channel(pipeline=AudioPipelineConfig(vad=MockVADProvider([])))
    with pytest.raises(ConfigurationError, match="V234"):
        channel(batch_mode=True)
