"""What voice is made of: architectures, types, and the parts that ship (parts 1, 6, 9, 13)."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import pkgutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from tests.conformance.voice.stage import (
    FRAME,
    ROOM,
    Stage,
    ToldVAD,
    _engine_in_virtual_time,
    stage,
)
from tests.conformance.voice.test_channel_rooms import typed
from tests.unit.voice.pipeline_stages.test_aec import SubtractingProvider

import salon.channels
import salon.voice.backends
import salon.voice.pipeline
from salon.channels.voice import VoiceChannel
from salon.media.frame import AudioFrame
from salon.models import (
    ChannelCategory,
    ChannelDirection,
    ChannelMediaType,
    ChannelType,
)
from salon.testing import virtual_time
from salon.voice.backends.mock import MockVoiceBackend
from salon.voice.backends.session import VoiceSession
from salon.voice.pipeline.aec.base import AECProvider
from salon.voice.pipeline.agc.base import AGCConfig, AGCProvider
from salon.voice.pipeline.agc.mock import MockAGCProvider
from salon.voice.pipeline.agc.simple import SimpleAGCProvider
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.denoiser.base import DenoiserProvider
from salon.voice.pipeline.denoiser.spectral import SpectralDenoiserProvider
from salon.voice.pipeline.diarization.base import DiarizationProvider
from salon.voice.pipeline.dtmf.base import DTMFDetector
from salon.voice.pipeline.postprocessor.base import AudioPostProcessor
from salon.voice.pipeline.resampler.base import ResamplerProvider
from salon.voice.pipeline.turn.base import TurnContext, TurnDecision, TurnDetector
from salon.voice.pipeline.turn.mock import MockTurnDetector
from salon.voice.pipeline.turn.silence import SilenceAdaptiveTurnDetector
from salon.voice.pipeline.vad.base import VADProvider
from salon.voice.tts.mock import MockTextToSpeech

LOUD = AudioFrame.of(np.full(320, 3000, dtype=np.int16))
STAGES = (
    VADProvider,
    AECProvider,
    AGCProvider,
    DenoiserProvider,
    DTMFDetector,
    DiarizationProvider,
    AudioPostProcessor,
)


@asynccontextmanager
async def second_channel(room: Stage, **options: Any) -> AsyncIterator[VoiceSession]:
    """Another voice channel ``voice2`` in the room, with Bob on its line."""
    backend = MockVoiceBackend()
    with patch("salon.channels.voice_parts.engine_for", _engine_in_virtual_time):
        channel = VoiceChannel("voice2", backend=backend, **options)
    room.kit.register_channel(channel)
    binding = await room.kit.attach_channel(ROOM, "voice2")
    session = await backend.connect(ROOM, "bob", "voice2")
    channel.bind_session(session, ROOM, binding)
    yield session


def imported(package: Any, starts: str = "") -> Iterator[tuple[str, str]]:
    """Every module of a package whose name begins so, with each thing it imports, also late."""
    (directory,) = package.__path__
    for path in sorted(Path(directory).glob(f"{starts}*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                yield path.stem, node.module
            elif isinstance(node, ast.Import):
                yield from ((path.stem, alias.name) for alias in node.names)


def voiced(at: int) -> AudioFrame:
    """One frame of a voice at -20 dBFS: syllables of 200 ms with pauses."""
    place = np.arange(at * 320, (at + 1) * 320)
    tone = sum(np.sin(2 * np.pi * 150 * part * place / 16_000) / part for part in range(1, 8))
    return AudioFrame.of(np.rint((at // 10 % 2) * 1500 * tone).astype(np.int16))


@virtual_time
async def test_V1_the_pipeline_and_the_bridge_are_one_channel() -> None:
    for bridge in (False, True):
        async with stage(transcripts=["hello"], answers=["hi"], bridge=bridge) as room:
            bob = await room.join("bob")
            for _ in range(20):
                await room.backend.simulate_audio_received(room.session, LOUD)
                await asyncio.sleep(0.02)
            assert bool(room.sound(bob)) is bridge
            assert not room.sound()
            await room.ask()
            await room.quiet(500)
            assert await room.said() == ["hello", "hi"]


@virtual_time
async def test_V2_channels_of_a_room_are_linked_by_text() -> None:
    async with stage(transcripts=["hello there"], bridge=True) as room:
        tts = MockTextToSpeech(char_ms=20)
        async with second_channel(room, tts=tts):
            await typed(room, "written")
            await room.quiet(1000)
            await room.speak()
            await room.quiet(1000)
            assert [text for text, _ in room.tts.spoken] == ["written"]
            assert [text for text, _ in tts.spoken] == ["written", "hello there"]
            texts = room.kit.get_channel("texts")
            assert texts is not None
            assert [event.text for event in texts.got][-1] == "hello there"  # type: ignore[attr-defined]


def test_V3_six_channel_types() -> None:
    names = "voice realtime_voice audio_video realtime_audio_video video conference"
    assert {ChannelType(name).name for name in names.split()} == {
        "VOICE",
        "REALTIME_VOICE",
        "AUDIO_VIDEO",
        "REALTIME_AUDIO_VIDEO",
        "VIDEO",
        "CONFERENCE",
    }


@virtual_time
async def test_V3_a_voice_channel_is_a_transport_of_sound_both_ways() -> None:
    async with stage() as room:
        binding = await room.kit.get_binding(ROOM, "voice")
        assert binding.channel_type is ChannelType.VOICE
        assert binding.category is ChannelCategory.TRANSPORT
        assert binding.direction is ChannelDirection.BIDIRECTIONAL
        assert ChannelMediaType.AUDIO in binding.capabilities.media_types


def test_V4_backends_know_nothing_of_what_is_done_to_the_sound() -> None:
    seen = [(name, what) for name, what in imported(salon.voice.backends)]
    work = ("pipeline", "stt", "tts", "vad", "turns", "hearing", "speaking", "interruption")
    found = {
        (name, what)
        for name, what in seen
        if any(what.startswith(f"salon.voice.{part}") for part in work)
    }
    # a key's payload, and the reference that a loudspeaker's callback may feed (V59)
    assert found == {
        ("dtmf", "salon.voice.pipeline.dtmf.base"),
        ("local", "salon.voice.pipeline.aec.base"),
    }


def test_V5_a_voice_channel_knows_no_ai_provider() -> None:
    for name, what in imported(salon.channels, "voice"):
        assert not what.startswith(("salon.providers", "salon.clients")), name
        assert what not in ("salon.channels.ai", "salon.core.ports.ai"), name
    for name in inspect.signature(VoiceChannel).parameters:
        assert not {"ai", "provider", "llm", "agent"} & set(name.split("_")), name


@virtual_time
async def test_V5_it_speaks_what_the_room_gives_it() -> None:
    async with stage() as room:
        await typed(room, "nobody here is artificial")
        await room.until_audible()
        assert [text for text, _ in room.tts.spoken] == ["nobody here is artificial"]


@virtual_time
async def test_V36_two_channels_of_a_room_have_pipelines_of_their_own() -> None:
    first, second = MockAGCProvider(), MockAGCProvider()
    async with stage(pipeline={"agc": first}) as room:
        config = AudioPipelineConfig(vad=ToldVAD(), agc=second)
        async with second_channel(room, pipeline=config) as bob:
            await room.feed(3)
            assert (len(first.frames), len(second.frames)) == (3, 0)
            backend = room.kit.get_channel("voice2").backend  # type: ignore[union-attr]
            await backend.simulate_audio_received(bob, FRAME)
            assert (len(first.frames), len(second.frames)) == (3, 1)


def shipped(base: type) -> list[type]:
    """A stage's base and every implementation that is part of the package."""
    package = salon.voice.pipeline
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    found, waiting = [], [base]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__.startswith("salon.voice.pipeline."):
            found.append(kind)
    return found


@pytest.mark.parametrize("base", [*STAGES, ResamplerProvider])
def test_V41_the_key_is_a_required_parameter(base: type) -> None:
    kinds = shipped(base)
    assert len(kinds) > 1
    methods = ["process", "resample", "feed_reference"]
    if base is not ResamplerProvider:  # its reset without a key is that of every stream
        methods.append("reset")
    for kind in kinds:
        given = [getattr(kind, method) for method in methods if hasattr(kind, method)]
        assert given
        for function in given:
            key = inspect.signature(function).parameters["stream"]
            assert key.default is inspect.Parameter.empty, function.__qualname__


def test_V41_a_call_without_it_is_a_type_error() -> None:
    for provider in (SimpleAGCProvider(), SpectralDenoiserProvider()):
        with pytest.raises(TypeError):
            provider.process(FRAME)  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            provider.reset()  # type: ignore[call-arg]


def test_V45_settings_and_registries_belong_to_no_stream() -> None:
    provider = SimpleAGCProvider()
    speech = [voiced(at) for at in range(160)]
    before = [float(provider.process(frame, "a").samples.max()) for frame in speech][-1]
    provider.configure(AGCConfig(target_level_dbfs=-30.0))
    provider.reset("a")
    after = {
        name: [float(provider.process(frame, name).samples.max()) for frame in speech][-1]
        for name in ("a", "b")
    }
    assert after["a"] == after["b"] < before / 4
    for kind in shipped(DiarizationProvider):
        assert list(inspect.signature(kind.clear_speakers).parameters) == ["self"]  # type: ignore[attr-defined]


def test_V66_a_cancelled_frame_says_so() -> None:
    provider = SubtractingProvider()
    frame = AudioFrame.of(np.arange(320, dtype=np.int16))
    provider.feed_reference(frame, "a")
    assert "echo_cancelled" not in frame.metadata
    out = provider.process(frame, "a")
    assert not out.samples.any()
    assert out.metadata["echo_cancelled"] is True


def test_V71_a_denoiser_ships_and_takes_noise_away() -> None:
    rng = np.random.default_rng(1)
    provider = SpectralDenoiserProvider()
    loud = 0.0
    for _ in range(150):
        frame = AudioFrame.of(np.rint(rng.normal(0, 500, 320)).astype(np.int16))
        out = provider.process(frame, "a").samples.astype(float)
        loud = float(np.sqrt(np.mean(out**2)))
    assert loud < 250


class Hybrid(TurnDetector):
    """A kind of its own: it asks another one and then itself."""

    @property
    def name(self) -> str:
        return "Hybrid"

    def evaluate(self, context: TurnContext) -> TurnDecision:
        first = SilenceAdaptiveTurnDetector().evaluate(context)
        return TurnDecision(first.is_complete and "please" in context.transcript)


def test_V114_kinds_of_detectors() -> None:
    heuristic = SilenceAdaptiveTurnDetector()
    open_end = heuristic.evaluate(
        TurnContext(transcript="I would like to order the", is_final=True)
    )
    assert not open_end.is_complete
    assert (open_end.suggested_wait_ms or 0) > 0
    assert not Hybrid().evaluate(TurnContext(transcript="That is all.", is_final=True)).is_complete
    words = TurnContext(transcript="That is all, please.", is_final=True)
    assert Hybrid().evaluate(words).is_complete


@virtual_time
@pytest.mark.parametrize(("suggested", "waits"), [(700.0, 700), (None, 2000)])
async def test_V114_an_incomplete_turn_waits_as_long_as_is_suggested(
    suggested: float | None, waits: int
) -> None:
    detector = MockTurnDetector([TurnDecision(is_complete=False, suggested_wait_ms=suggested)])
    parts = {"turn_detector": detector, "turn_incomplete_wait_ms": 2000.0}
    async with stage(transcripts=["I want"], pipeline=parts) as room:
        await room.speak()
        await room.quiet(waits - 200)
        assert await room.said() == []
        await room.quiet(500)
        assert await room.said() == ["I want"]
