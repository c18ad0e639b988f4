"""Programs written for RoomKit 0.109, with the module names changed and nothing else.

What they assert is what RoomKit 0.109 does.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from tests.conformance.voice.stage import FRAME, _engine_in_virtual_time

from salon import (
    AIChannel,
    ChannelCategory,
    HookExecution,
    HookResult,
    HookTrigger,
    RoomKit,
    VoiceChannel,
)
from salon.models import SystemContent
from salon.providers.ai.mock import MockAIProvider
from salon.testing import VirtualClock, virtual_time
from salon.voice.backends.mock import MockVoiceBackend
from salon.voice.pipeline import AudioPipelineConfig
from salon.voice.pipeline.dtmf.base import DTMFEvent
from salon.voice.pipeline.dtmf.mock import MockDTMFDetector
from salon.voice.pipeline.recorder.base import RecordingConfig
from salon.voice.pipeline.recorder.mock import MockAudioRecorder
from salon.voice.pipeline.turn.base import TurnDecision
from salon.voice.pipeline.turn.mock import MockTurnDetector
from salon.voice.pipeline.vad.base import VADEvent, VADEventType
from salon.voice.pipeline.vad.mock import MockVADProvider
from salon.voice.stt.mock import MockSTTProvider
from salon.voice.tts.mock import MockTTSProvider

START = VADEvent(type=VADEventType.SPEECH_START)
END = VADEvent(type=VADEventType.SPEECH_END, audio_bytes=b"\x00\x01" * 8000, duration_ms=500)
SPEECH = [START, None, END]
SYNC = (HookTrigger.ON_TRANSCRIPTION, HookTrigger.BEFORE_TTS)


class Program(SimpleNamespace):
    """What such a program holds."""

    kit: RoomKit
    voice: VoiceChannel
    backend: MockVoiceBackend


@asynccontextmanager
async def program(
    events: list[VADEvent | None],
    *,
    texts: tuple[str, ...] = ("hello",),
    ai: bool = True,
    pipeline: dict[str, Any] | None = None,
    stt: Any = None,
    tts: Any = None,
    vad: bool = True,
    **options: Any,
) -> AsyncIterator[Program]:
    kit = RoomKit(clock=VirtualClock())
    parts = dict(pipeline or {})
    if vad:
        parts["vad"] = MockVADProvider(events=events)
    backend = MockVoiceBackend()
    tts = tts or MockTTSProvider()
    with patch("salon.channels.voice_parts.engine_for", _engine_in_virtual_time):
        voice = VoiceChannel(
            "voice",
            stt=stt or MockSTTProvider(transcripts=list(texts)),
            tts=tts,
            backend=backend,
            pipeline=AudioPipelineConfig(**parts),
            **options,
        )
    kit.register_channel(voice)
    if ai:
        kit.register_channel(AIChannel("ai", provider=MockAIProvider(responses=["Hi there."])))
    await kit.create_room(room_id="r1")
    await kit.attach_channel("r1", "voice")
    if ai:
        await kit.attach_channel("r1", "ai", category=ChannelCategory.INTELLIGENCE)
    fired: list[tuple[str, Any]] = []
    session = await backend.connect("r1", "user1", "voice")
    binding = await kit.store.get_binding("r1", "voice")
    assert binding is not None

    def watch(*triggers: HookTrigger) -> None:
        for trigger in triggers:
            kind = HookExecution.SYNC if trigger in SYNC else HookExecution.ASYNC

            @kit.hook(trigger, kind, name=f"watch_{trigger}")
            async def note(event: Any, _ctx: Any, trigger: HookTrigger = trigger) -> Any:
                fired.append((trigger.name, event))
                return HookResult.allow() if trigger in SYNC else None

    async def feed(count: int) -> None:
        for _ in range(count):
            await backend.simulate_audio_received(session, FRAME)
            await asyncio.sleep(0.02)

    async def stored() -> list[tuple[str, Any]]:
        events = await kit.store.list_events("r1")
        return [
            (event.source.channel_id, getattr(event.content, "body", None))
            for event in events
            if event.type == "message"
        ]

    held = Program(
        kit=kit,
        voice=voice,
        backend=backend,
        tts=tts,
        session=session,
        binding=binding,
        fired=fired,
        watch=watch,
        feed=feed,
        stored=stored,
        names=lambda: [name for name, _ in fired],
    )
    try:
        yield held
    finally:
        await kit.close()


def bind(c: Any) -> None:
    c.voice.bind_session(c.session, "r1", c.binding)


@virtual_time
async def test_a_conversation() -> None:
    async with program(SPEECH) as c:
        c.watch(
            HookTrigger.ON_SPEECH_START,
            HookTrigger.ON_SPEECH_END,
            HookTrigger.ON_TRANSCRIPTION,
            HookTrigger.BEFORE_TTS,
        )
        bind(c)
        await c.feed(3)
        await asyncio.sleep(1)
        assert c.names() == ["ON_SPEECH_START", "ON_SPEECH_END", "ON_TRANSCRIPTION", "BEFORE_TTS"]
        start, end, words, text = (event for _, event in c.fired)
        assert start is end is c.session
        assert (words.session, words.text) == (c.session, "hello")
        assert text == "Hi there."
        assert await c.stored() == [("voice", "hello"), ("ai", "Hi there.")]
        assert [call["text"] for call in c.tts.calls] == ["Hi there."]


@virtual_time
async def test_V15_the_mock_backend_is_live_as_soon_as_it_connects() -> None:
    async with program([]) as c:
        c.watch(HookTrigger.ON_SESSION_STARTED)
        bind(c)
        await asyncio.sleep(0.2)
        assert c.names() == ["ON_SESSION_STARTED"]


@virtual_time
async def test_hooks_that_modify() -> None:
    async with program(SPEECH) as c:

        @c.kit.hook(HookTrigger.ON_TRANSCRIPTION, HookExecution.SYNC, name="words")
        async def words(event: Any, _ctx: Any) -> HookResult:
            return HookResult.modify(dataclasses.replace(event, text="changed"))

        @c.kit.hook(HookTrigger.BEFORE_TTS, HookExecution.SYNC, name="voice")
        async def voice(text: Any, _ctx: Any) -> HookResult:
            return HookResult.modify(text.upper())

        bind(c)
        await c.feed(3)
        await asyncio.sleep(1)
        assert await c.stored() == [("voice", "changed"), ("ai", "Hi there.")]
        assert [call["text"] for call in c.tts.calls] == ["HI THERE."]


@virtual_time
async def test_turns() -> None:
    detector = MockTurnDetector(
        decisions=[
            TurnDecision(is_complete=False, confidence=0.3, suggested_wait_ms=3000),
            TurnDecision(is_complete=True, confidence=0.9),
        ]
    )
    async with program(
        [*SPEECH, None, *SPEECH], texts=("I want", "a pizza"), pipeline={"turn_detector": detector}
    ) as c:
        c.watch(HookTrigger.ON_TURN_COMPLETE, HookTrigger.ON_TURN_INCOMPLETE)
        bind(c)
        await c.feed(3)
        await asyncio.sleep(0.4)
        await c.feed(4)
        await asyncio.sleep(1)
        assert [(name, event.text) for name, event in c.fired] == [
            ("ON_TURN_INCOMPLETE", "I want"),
            ("ON_TURN_COMPLETE", "I want a pizza"),
        ]
        assert await c.stored() == [("voice", "I want a pizza"), ("ai", "Hi there.")]


@virtual_time
async def test_keys_both_ways() -> None:
    detector = MockDTMFDetector(events=[DTMFEvent(digit="5", duration_ms=80)])
    async with program([], ai=False, pipeline={"dtmf": detector}) as c:
        c.watch(HookTrigger.ON_DTMF)
        bind(c)
        await c.feed(2)
        await asyncio.sleep(0.2)
        assert [(event.digit, event.duration_ms) for _, event in c.fired] == [("5", 80)]
        c.voice.send_dtmf(c.session, "7")
        assert [sent[1:] for sent in c.backend.sent_dtmf] == [("7", 160)]
        for digit, duration in (("x", 160), ("1", 0), ("1", 20_000)):
            with pytest.raises(ValueError, match=r"digit|duration"):
                c.voice.send_dtmf(c.session, digit, duration)


@virtual_time
async def test_recording_of_a_session() -> None:
    recorder = MockAudioRecorder()
    config = RecordingConfig(storage="x", storage_encrypted_at_rest=True)
    async with program(
        [], ai=False, pipeline={"recorder": recorder, "recording_config": config}
    ) as c:
        c.watch(HookTrigger.ON_RECORDING_STARTED, HookTrigger.ON_RECORDING_STOPPED)
        bind(c)
        await c.backend.simulate_session_ready(c.session)
        await asyncio.sleep(0.2)
        await c.feed(3)
        c.voice.unbind_session(c.session)
        await asyncio.sleep(0.2)
        assert c.names() == ["ON_RECORDING_STARTED", "ON_RECORDING_STOPPED"]
        assert len(recorder.inbound_frames) == 3


@virtual_time
async def test_batch_mode() -> None:
    async with program([], vad=False, batch_mode=True, texts=("batch text",)) as c:
        c.watch(HookTrigger.ON_TRANSCRIPTION)
        bind(c)
        await c.feed(10)
        assert c.voice.stt_buffer_size(c.session) == 6400
        result = await c.voice.flush_stt(c.session)
        assert result.text == "batch text"
        assert c.voice.stt_buffer_size(c.session) == 0
        assert await c.stored() == []
        await c.feed(10)
        assert c.voice.clear_stt_buffer(c.session) == 6400
        await c.feed(5)
        await c.voice.flush_stt(c.session, route=True)
        await asyncio.sleep(0.6)
        assert await c.stored() == [("voice", "batch text"), ("ai", "Hi there.")]
        assert c.names() == ["ON_TRANSCRIPTION"]
        assert (await c.voice.flush_stt(c.session)).text == ""


@virtual_time
async def test_batch_methods_without_batch_mode() -> None:
    async with program([]) as c:
        bind(c)
        assert c.voice.stt_buffer_size(c.session) == 0
        with pytest.raises(RuntimeError, match="batch_mode"):
            c.voice.clear_stt_buffer(c.session)
        with pytest.raises(RuntimeError, match="batch_mode"):
            await c.voice.flush_stt(c.session)


@virtual_time
async def test_framework_events_of_a_session() -> None:
    async with program([], ai=False) as c:
        seen: list[tuple[str, Any]] = []
        for name in ("voice_session_started", "voice_session_ready", "voice_session_ended"):

            @c.kit.on(name)
            async def note(event: Any, name: str = name) -> None:
                seen.append((name, event))

        bind(c)
        await c.backend.simulate_session_ready(c.session)
        await asyncio.sleep(0.2)
        await c.backend.simulate_client_disconnected(c.session)
        await asyncio.sleep(0.2)
        assert [name for name, _ in seen] == [
            "voice_session_started",
            "voice_session_ready",
            "voice_session_ended",
        ]
        assert all(event.data["session_id"] == c.session.id for _, event in seen)
        assert all(event.room_id == "r1" for _, event in seen)


async def _told_of_a_session() -> dict[str, Any]:
    """The data of each framework event of a session."""
    async with program([], ai=False) as c:
        data: dict[str, Any] = {}
        for name in ("voice_session_started", "voice_session_ready", "voice_session_ended"):

            @c.kit.on(name)
            async def note(event: Any, name: str = name) -> None:
                data[name] = event.data

        bind(c)
        await c.backend.simulate_session_ready(c.session)
        await asyncio.sleep(0.2)
        await c.backend.simulate_client_disconnected(c.session)
        await asyncio.sleep(0.2)
        return data


@virtual_time
async def test_framework_events_of_a_session_name_the_participant() -> None:
    data = await _told_of_a_session()
    assert len(data) == 3
    assert all(told["participant_id"] == "user1" for told in data.values())


@virtual_time
async def test_V14_framework_events_of_a_session_name_the_channel() -> None:
    data = await _told_of_a_session()
    assert data["voice_session_started"]["channel_id"] == "voice"
    assert data["voice_session_ended"]["channel_id"] == "voice"


@virtual_time
async def test_which_methods_are_awaited() -> None:
    async with program([], ai=False) as c:
        bind(c)
        voice, session = c.voice, c.session
        for method, args, awaited in (
            ("interrupt", (session,), True),
            ("interrupt_all", ("r1",), True),
            ("wait_playback_done", ("r1",), True),
            ("say", (session, "Hello."), True),
            ("set_stt_language", (session, "fr"), False),
            ("get_stt_language", (session,), False),
            ("update_voice_map", ({"a": "b"},), False),
            ("stt_buffer_size", (session,), False),
            ("send_dtmf", (session, "1"), False),
            ("unbind_session", (session,), False),
            ("disconnect_session", (session, "r1"), True),
        ):
            result = getattr(voice, method)(*args)
            assert inspect.isawaitable(result) is awaited, method
            if awaited:
                await result


@virtual_time
async def test_interrupt_says_whether_there_was_something() -> None:
    async with program([], ai=False) as c:
        bind(c)
        assert await c.voice.interrupt(c.session) is False
        assert await c.voice.interrupt_all("r1") == 0


MEMBERS = [
    "info",
    "add_media_tap",
    "add_outbound_media_tap",
    "supports_streaming_delivery_for",
    "active_turns",
    "resolve_trace_room",
    "trace_enabled",
]


@pytest.mark.parametrize("name", MEMBERS)
@virtual_time
async def test_other_members(name: str) -> None:
    async with program([], ai=False) as c:
        assert getattr(c.voice, name) != {}
        if name == "info":
            assert {"stt", "tts", "backend", "streaming", "pipeline", "batch_mode"} <= set(
                c.voice.info
            )


def test_where_frames_come_from() -> None:
    from importlib import import_module

    assert import_module("salon.voice.audio_frame").AudioFrame


@virtual_time
async def test_a_message_brings_a_session() -> None:
    from importlib import import_module

    parse_voice_session = import_module("salon.voice").parse_voice_session
    async with program(SPEECH) as c:
        await c.kit.process_inbound(parse_voice_session(c.session, "voice"), room_id="r1")
        await c.feed(3)
        await asyncio.sleep(0.6)
        events = await c.kit.store.list_events("r1")
        (started,) = [
            event for event in events if getattr(event.content, "code", "") == "session_started"
        ]
        assert started.source.participant_id == "user1"
        assert isinstance(started.content, SystemContent)
        assert {"caller", "channel_id", "session_id"} <= set(started.content.data)
        assert ("voice", "hello") in await c.stored()


@virtual_time
async def test_errors_of_providers_are_told() -> None:
    class BadSTT(MockSTTProvider):
        async def transcribe(self, audio: Any, **_: Any) -> Any:
            raise RuntimeError("bad")

    class BadTTS(MockTTSProvider):
        async def synthesize_stream(self, text: str, **_: Any) -> AsyncIterator[Any]:
            if text:
                raise RuntimeError("bad")
            yield

    for options, name in (({"stt": BadSTT()}, "stt_error"), ({"tts": BadTTS()}, "tts_error")):
        async with program(SPEECH, **options) as c:
            seen: list[Any] = []

            @c.kit.on(name)
            async def note(event: Any, seen: list[Any] = seen) -> None:
                seen.append(event)

            bind(c)
            await c.feed(3)
            await asyncio.sleep(1)
            assert len(seen) == 1
            assert {"session_id", "provider", "error"} <= set(seen[0].data)
