"""Answers, bridges and combinations from outside (V6, V107, V123, V135, V144, V145, V208, V214,
V252)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from tests.conformance.voice.stage import ROOM, QuietBackend, Stage, stage
from tests.conformance.voice.test_channel_rooms import typed
from tests.unit.transport.test_answer import offer_of

from salon.base import ConfigurationError
from salon.channels.ai import AIChannel
from salon.channels.voice import VoiceChannel
from salon.core.ports.ai import (
    AIContext,
    AIProvider,
    AIResponse,
    AIStreamPart,
    AITool,
    AIToolCall,
    TextDelta,
)
from salon.media.frame import AudioChunk, AudioFormat, AudioFrame, Samples
from salon.media.wav import wav_bytes
from salon.models import AudioContent, HookTrigger
from salon.testing import MockAIProvider, virtual_time
from salon.transport.answer import choose_audio
from salon.transport.packets import NegotiationError
from salon.voice.backends.base import VoiceCapability
from salon.voice.backends.mock import MockVoiceBackend
from salon.voice.bridge_config import AudioBridgeConfig
from salon.voice.interruption import InterruptionConfig, InterruptionStrategy
from salon.voice.pipeline.agc.mock import MockAGCProvider
from salon.voice.pipeline.config import AudioPipelineConfig, AudioPipelineContract
from salon.voice.pipeline.postprocessor.base import AudioPostProcessor
from salon.voice.pipeline.recorder.base import RecordingConfig
from salon.voice.pipeline.recorder.mock import MockAudioRecorder
from salon.voice.pipeline.recorder.wav import WavFileRecorder
from salon.voice.pipeline.turn.mock import MockTurnDetector
from salon.voice.pipeline.vad.mock import MockVADProvider
from salon.voice.stt.mock import MockSTTProvider
from salon.voice.tts.adapt import voice_of
from salon.voice.tts.cache import CachedTextToSpeech
from salon.voice.tts.context import TTSContext, TTSContextConfig, TTSContextLevel
from salon.voice.tts.mock import MockTextToSpeech, MockTTSProvider
from salon.voice.tts.provider import TTSProvider

T = HookTrigger
LOUD = AudioFrame.of(np.full(320, 3000, dtype=np.int16))
SENTENCES = [f"This is sentence number {n}. " for n in range(6)]


def now() -> float:
    return asyncio.get_running_loop().time()


async def talk(room: Stage, session: Any = None, frames: int = 20) -> None:
    """Sound that others can hear."""
    for _ in range(frames):
        await room.backend.simulate_audio_received(session or room.session, LOUD)
        await asyncio.sleep(0.02)


# -- answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("streaming", "least", "most"), [(True, 0.4, 0.8), (False, 1.3, 3.0)])
@virtual_time
async def test_V6_how_long_the_first_sound_takes(
    streaming: bool, least: float, most: float
) -> None:
    """150 ms for recognition, 200 ms for each part of the answer, 200 ms for its first sound."""
    from salon.testing import VirtualClock

    tts = MockTextToSpeech(char_ms=20, delay_s=0.2, clock=VirtualClock())
    provider = MockAIProvider([SENTENCES], delay=0.2, clock=VirtualClock())
    async with stage(
        transcripts=["tell me"], provider=provider, tts=tts, streaming=streaming
    ) as room:
        room.stt.delay = 0.15
        await room.speak()
        began = now()
        await room.until_audible()
        assert least <= now() - began <= most


class Plain(AIProvider):
    """Streams texts only; whoever wants tools gets whole answers."""

    supports_streaming = True

    def __init__(self) -> None:
        self.ways: list[str] = []

    async def generate(self, context: AIContext) -> AIResponse:
        self.ways.append("whole")
        if len(self.ways) == 1:
            return AIResponse("", tool_calls=[AIToolCall("c1", "weather", {})])
        return AIResponse("It is sunny.")

    async def generate_stream(self, context: AIContext) -> AsyncGenerator[AIStreamPart, None]:
        self.ways.append("stream")
        yield TextDelta("What I stream are texts only.")


@virtual_time
async def test_V107_with_tools_a_provider_that_cannot_stream_them_answers_whole() -> None:
    provider, called = Plain(), []

    async def handler(name: str, arguments: dict[str, Any]) -> str:
        called.append(name)
        return "sunny"

    async with stage(transcripts=["how is the weather"]) as room:
        agent = AIChannel(
            "agent",
            provider=provider,
            tools=[AITool("weather", "Tells the weather.", {"type": "object", "properties": {}})],
            tool_handler=handler,
        )
        room.kit.register_channel(agent)
        await room.kit.attach_channel(ROOM, "agent")
        await typed(room, "first")
        await room.quiet(2000)
        provider.ways.clear()
        called.clear()
        room.tts.spoken.clear()
        texts: Any = room.kit.get_channel("texts")
        texts.got.clear()
        room.watch(T.ON_TOOL_CALL, T.BEFORE_TTS, T.AFTER_TTS, T.BEFORE_BROADCAST)
        await room.speak()
        await room.quiet(2000)
        assert provider.ways == ["whole", "whole"]
        assert called == ["weather"]
        assert [text for text, _ in room.tts.spoken] == ["It is sunny."]
        assert (await room.said())[-2:] == ["how is the weather", "It is sunny."]
        assert [event.text for event in texts.got] == ["how is the weather", "It is sunny."]
        order = room.order()
        for trigger in (T.ON_TOOL_CALL, T.BEFORE_TTS, T.AFTER_TTS):
            assert order.count(trigger) == 1


@virtual_time
async def test_V123_without_the_capability_the_detectors_start_is_the_trigger() -> None:
    backend = QuietBackend()
    assert VoiceCapability.BARGE_IN not in backend.capabilities
    interruption = InterruptionConfig(strategy=InterruptionStrategy.IMMEDIATE)
    async with stage(
        transcripts=["tell me", "stop"],
        answers=["".join(SENTENCES), "ok"],
        backend=backend,
        interruption=interruption,
    ) as room:
        await room.ask()
        await room.quiet(400)
        room.watch(T.ON_BARGE_IN, T.ON_SPEECH_START)
        began = now()
        await room.begin()
        while T.ON_BARGE_IN not in room.order():
            await asyncio.sleep(0.001)
        assert now() - began <= 0.04
        played = room.played_ms()
        await room.quiet(400)
        assert room.played_ms() - played <= 40


# -- bridges ---------------------------------------------------------------------------------------


@virtual_time
async def test_V135_neither_waits_for_the_other() -> None:
    async with stage(transcripts=["hello"], bridge=True) as room:
        bob = await room.join("bob")
        room.stt.delay = 5.0
        await talk(room, frames=10)
        await room.speak(400)
        before = room.played_ms(bob)
        await talk(room, frames=50)
        assert await room.said() == []  # recognition is still at it
        assert room.played_ms(bob) - before >= 900
        room.stt.delay = 0.0
        await room.quiet(5000)
        assert await room.said() == ["hello"]


@virtual_time
async def test_V135_a_bridge_that_waits_for_a_hook_holds_up_no_words() -> None:
    async with stage(transcripts=["hello"], bridge=True) as room:
        await room.join("bob")

        @room.kit.hook(T.BEFORE_BRIDGE_AUDIO, name="slow")
        async def slow(_event: Any, _context: Any) -> None:
            await asyncio.sleep(10)

        await talk(room, frames=5)
        await room.speak(400)
        await room.quiet(500)
        assert await room.said() == ["hello"]


@virtual_time
async def test_V144_a_backend_that_could_bridge_is_not_left_to_it() -> None:
    """Handing over is optional; this channel bridges by itself, so that recording, echo
    cancellation and transcripts stay."""
    backend = QuietBackend(capabilities=VoiceCapability.NATIVE_BRIDGE)
    recorder = MockAudioRecorder()
    parts = {
        "recorder": recorder,
        "recording_config": RecordingConfig(storage="x", storage_encrypted_at_rest=True),
    }
    async with stage(transcripts=["hello"], backend=backend, bridge=True, pipeline=parts) as room:
        room.watch(T.ON_SESSION_STARTED, T.ON_TRANSCRIPTION)
        bob = await room.join("bob")
        for session in (room.session, bob):
            await backend.simulate_session_ready(session)
        await asyncio.sleep(0.1)
        assert room.order() == [T.ON_SESSION_STARTED] * 2
        await talk(room)
        assert room.sound(bob)
        assert recorder.inbound_frames
        await room.speak()
        await room.quiet(300)
        assert await room.said() == ["hello"]


class Halver(AudioPostProcessor):
    """Says by its work that sound passed it."""

    @property
    def name(self) -> str:
        return "Halver"

    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        return frame.with_samples(frame.samples // 2)


class Doubler(MockAGCProvider):
    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        return frame.with_samples(frame.samples * 4)


@virtual_time
async def test_V145_two_hear_each_others_processed_sound_while_they_are_bound() -> None:
    parts = {"agc": Doubler(), "postprocessors": [Halver()]}
    async with stage(bridge=AudioBridgeConfig(), pipeline=parts) as room:
        await talk(room)
        assert room.backend.sent_chunks == []  # alone
        bob = await room.join("bob")
        await talk(room)
        await talk(room, bob)
        for session in (room.session, bob):
            heard = np.frombuffer(room.sound(session), dtype=np.int16)
            assert heard.max() == 6000  # past the caller's stages, and past the listener's
        room.channel.unbind_session(bob)
        await room.quiet(100)
        before = len(room.backend.sent_chunks)
        await talk(room)
        assert len(room.backend.sent_chunks) == before
        cid = await room.join("cid")
        await talk(room)
        assert room.sound(cid)


# -- what is allowed -------------------------------------------------------------------------------


def test_V208_a_browsers_line_is_encrypted_or_refused() -> None:
    choose_audio(offer_of("0"), ("PCMU",))
    with pytest.raises(NegotiationError):
        choose_audio(offer_of("0", protocol="RTP/AVP"), ("PCMU",))


def test_V208_who_gets_the_sound_can_be_listed() -> None:
    def channel(**options: Any) -> VoiceChannel:
        parts = AudioPipelineConfig(
            vad=MockVADProvider(),
            agc=MockAGCProvider(),
            turn_detector=MockTurnDetector(),
            recorder=MockAudioRecorder(),
        )
        return VoiceChannel(
            "voice", stt=MockSTTProvider(), backend=MockVoiceBackend(), pipeline=parts, **options
        )

    least = [
        ("backend", "MockVoiceBackend", "sound"),
        ("agc", "MockAGCProvider", "sound"),
        ("vad", "MockVADProvider", "sound"),
        ("turn_detector", "MockTurnDetector", "words"),
        ("stt", "MockSTTProvider", "sound"),
    ]

    def listed(channel: VoiceChannel) -> list[tuple[str, str, str]]:
        return [(one.part, one.name, one.gets) for one in channel.sound_receivers]

    assert listed(channel(tts=MockTTSProvider())) == least
    for level, config, gets in (
        (TTSContextLevel.SELF, None, None),
        (TTSContextLevel.TEXT, None, "words"),
        (TTSContextLevel.AUDIO, None, "words"),
        (TTSContextLevel.AUDIO, TTSContextConfig(include_audio=True), "sound"),
        (TTSContextLevel.AUDIO, TTSContextConfig(enabled=False), None),
    ):
        found = listed(channel(tts=MockTTSProvider(context_level=level), tts_context=config))
        assert found == [*least, *([("tts", "MockTTSProvider", gets)] if gets else [])]
    assert VoiceChannel("bare").sound_receivers == ()


def _narrow() -> AudioPipelineConfig:
    class Wide(MockVADProvider):
        required_format = AudioFormat(48_000)

    return AudioPipelineConfig(
        vad=Wide(), contract=AudioPipelineContract(internal_format=AudioFormat(16_000))
    )


class Labels(MockSTTProvider):
    supports_diarization = True


IMPOSSIBLE: dict[str, Callable[[], Any]] = {
    "a batch and a detector": lambda: VoiceChannel(
        "voice",
        stt=MockSTTProvider(),
        batch_mode=True,
        pipeline=AudioPipelineConfig(vad=MockVADProvider()),
    ),
    "a batch and nobody to recognise it": lambda: VoiceChannel("voice", batch_mode=True),
    "labels and a detector": lambda: VoiceChannel(
        "voice", stt=Labels(), pipeline=AudioPipelineConfig(vad=MockVADProvider())
    ),
    "a stage of another format": lambda: VoiceChannel(
        "voice", backend=MockVoiceBackend(), pipeline=_narrow()
    ),
    "speakers without a stage": lambda: VoiceChannel("voice", pipeline_speakers=True),
    "an unknown way to mix": lambda: VoiceChannel(
        "voice",
        bridge=AudioBridgeConfig(mixing_strategy="shout"),  # type: ignore[arg-type]
    ),
    "a bridge for nobody": lambda: VoiceChannel(
        "voice", bridge=AudioBridgeConfig(max_participants=0)
    ),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
@virtual_time
async def test_V214_what_cannot_be_combined_is_refused_at_once(what: str) -> None:
    with pytest.raises((ConfigurationError, ValueError)):
        IMPOSSIBLE[what]()


@virtual_time
async def test_V214_an_unknown_storage_is_refused_before_anybody_is_heard(tmp_path: Any) -> None:
    config = RecordingConfig(storage="nowhere", storage_encrypted_at_rest=True)
    parts = {"recorder": WavFileRecorder(str(tmp_path)), "recording_config": config}
    async with stage(pipeline=parts, bound=False) as room:
        with pytest.raises(ConfigurationError):
            room.channel.bind_session(room.session, ROOM)


def _marked() -> Samples:
    """A sound whose least bits carry a mark."""
    rng = np.random.default_rng(4)
    samples: Samples = rng.integers(-3000, 3000, 16_000).astype(np.int16)
    return samples


@virtual_time
async def test_V252_marks_in_synthetic_sound_come_through_bit_for_bit() -> None:
    marked = _marked()
    async with stage() as room:
        await room.channel.play(room.session, wav_bytes(marked))
        assert room.sound() == marked.tobytes()


class Marked(TTSProvider):
    """Gives a sound with a mark in it, in uneven pieces."""

    async def synthesize(self, text: str, *, voice: str | None = None) -> AudioContent:
        raise NotImplementedError

    async def synthesize_stream(
        self, text: str, *, voice: str | None = None, context: TTSContext | None = None
    ) -> AsyncIterator[AudioChunk]:
        sound = _marked().tobytes()
        for start in range(0, len(sound), 998):
            yield AudioChunk(sound[start : start + 998])


@pytest.mark.parametrize("cached", [False, True])
@virtual_time
async def test_V252_a_synthesizers_sound_is_sent_as_it_was_made(cached: bool) -> None:
    tts = CachedTextToSpeech(voice_of(Marked())) if cached else Marked()
    async with stage(tts=tts) as room:
        for _ in range(2):
            before = len(room.sound())
            await room.channel.say(room.session, "hello you")
            assert room.sound()[before:] == _marked().tobytes()


@virtual_time
async def test_V252_a_recording_with_its_credentials_is_stored_untouched() -> None:
    body = wav_bytes(_marked()) + b"C2PA" + bytes(4)  # a chunk that no player reads
    import base64

    url = "data:audio/wav;base64," + base64.b64encode(body).decode()
    async with stage() as room:
        await room.kit.send_event(
            ROOM, "voice", AudioContent(url=url, mime_type="audio/wav", transcript="hi")
        )
        kept = [event for event in await room.messages() if isinstance(event.content, AudioContent)]
        assert [event.content.url for event in kept] == [url]  # type: ignore[union-attr]
