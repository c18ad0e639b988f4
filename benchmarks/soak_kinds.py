"""The kinds of wards of `soak_voice.py`: between them, every engine and every way of listening."""

from __future__ import annotations

from faulty_lines import PairBackend, PullBackend
from faulty_voice import (
    FaultyAEC,
    FaultyBackchannels,
    FaultyDenoiser,
    FaultyDiarization,
    FaultyDTMF,
    FaultyRecorder,
    FaultyStreamingSTT,
    FaultySTT,
    FaultyTurnDetector,
)
from soak_wards import Ward, World

from salon.channels.voice import VoiceChannel
from salon.models import HookTrigger
from salon.voice.interruption import InterruptionConfig, InterruptionStrategy
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.recorder.base import RecordingConfig

T = HookTrigger


def all_wards(world: World, sessions: int) -> list[Ward]:
    """One of each kind, with about as many people each."""
    each = max(sessions // 5, 1)
    return [
        _plain(world, shared(each, (1,))),
        _bridged(world, shared(each, (3, 4, 2))),
        _two_agents(world, shared(each, (1, 2))),
        _continuous(world, shared(each, (1,))),
        _hooked(world, shared(sessions - 4 * each, (1, 2))),
    ]


def shared(people: int, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """So many people in rooms of these sizes."""
    rooms: list[int] = []
    while sum(rooms) < people:
        rooms.append(min(sizes[len(rooms) % len(sizes)], people - sum(rooms)))
    return tuple(rooms)


def _plain(world: World, sizes: tuple[int, ...]) -> Ward:
    """Every stage there is, and a backend that pulls."""
    ward = Ward(world, "plain", sizes)
    faults = ward.faults
    backend = PullBackend(ward.ticker, faults)
    pipeline = AudioPipelineConfig(
        denoiser=FaultyDenoiser(faults),
        aec=FaultyAEC(faults),
        dtmf=FaultyDTMF(faults),
        diarization=FaultyDiarization(faults),
        recorder=FaultyRecorder(faults),
        recording_config=RecordingConfig(storage_encrypted_at_rest=True),
    )
    stt = ward.stt(FaultySTT(faults, "plain-stt"))
    channel = VoiceChannel(
        "plain", stt=stt, tts=ward.tts, backend=backend, pipeline=pipeline, engine=world.engine
    )
    ward.open(backend, channel)
    return ward


def _bridged(world: World, sizes: tuple[int, ...]) -> Ward:
    """People hear each other; words decide about interruptions."""
    ward = Ward(world, "bridged", sizes)
    faults = ward.faults
    backend = PairBackend(ward.ticker, faults)
    interruption = InterruptionConfig(
        strategy=InterruptionStrategy.SEMANTIC, backchannel_detector=FaultyBackchannels(faults)
    )
    channel = VoiceChannel(
        "bridged",
        stt=ward.stt(FaultyStreamingSTT(faults, "bridged-stt")),
        tts=ward.tts,
        backend=backend,
        interruption=interruption,
        bridge=True,
        engine=world.engine,
    )
    ward.open(backend, channel)
    return ward


def _two_agents(world: World, sizes: tuple[int, ...]) -> Ward:
    """Two agents in a room, and somebody who judges whether a turn is over."""
    ward = Ward(world, "agents", sizes, agents=2)
    backend = PairBackend(ward.ticker, ward.faults)
    ward.turn = FaultyTurnDetector(ward.faults)
    channel = VoiceChannel(
        "agents",
        stt=ward.stt(FaultySTT(ward.faults, "agents-stt")),
        tts=ward.tts,
        backend=backend,
        pipeline=AudioPipelineConfig(turn_detector=ward.turn),
        engine=world.engine,
    )
    ward.open(backend, channel)
    return ward


def _continuous(world: World, sizes: tuple[int, ...]) -> Ward:
    """No detector: the recogniser hears everything."""
    ward = Ward(world, "continuous", sizes)
    channel = VoiceChannel(
        "continuous",
        stt=ward.stt(FaultyStreamingSTT(ward.faults, "continuous-stt", turns=True)),
        tts=ward.tts,
    )
    ward.ticker = channel._engine.ticker
    backend = PullBackend(ward.ticker, ward.faults)
    channel.add_backend(backend)
    ward.open(backend, channel)
    return ward


def _hooked(world: World, sizes: tuple[int, ...]) -> Ward:
    """Hooks wherever voice has some; answers that were cut by nothing go on."""
    ward = Ward(world, "hooked", sizes)
    backend = PairBackend(ward.ticker, ward.faults)
    ward.hooks = (
        T.ON_TRANSCRIPTION,
        T.ON_SPEECH_START,
        T.ON_SPEECH_END,
        T.ON_SESSION_STARTED,
        T.BEFORE_TTS,
        T.AFTER_TTS,
        T.ON_BARGE_IN,
        T.ON_TTS_CANCELLED,
        T.BEFORE_BROADCAST,
        T.ON_ERROR,
    )
    channel = VoiceChannel(
        "hooked",
        stt=ward.stt(FaultySTT(ward.faults, "hooked-stt")),
        tts=ward.tts,
        backend=backend,
        interruption=InterruptionConfig(resume_false_interruption_ms=1500),
        engine=world.engine,
    )
    ward.open(backend, channel)
    return ward
