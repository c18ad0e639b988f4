"""The stages that ship, all at once: streams do not touch each other, and leave nothing behind
(V42, V43, V46)."""

from __future__ import annotations

from typing import Any

import numpy as np

from salon.media.frame import AudioFormat, AudioFrame
from salon.voice.backends.session import VoiceSession
from salon.voice.pipeline.agc.simple import SimpleAGCProvider
from salon.voice.pipeline.config import AudioPipelineConfig, AudioPipelineContract
from salon.voice.pipeline.denoiser.spectral import SpectralDenoiserProvider
from salon.voice.pipeline.dtmf.goertzel import GoertzelDTMFDetector
from salon.voice.pipeline.engine import AudioPipeline
from salon.voice.pipeline.resampler.sinc import SincResamplerProvider
from salon.voice.pipeline.vad.energy import EnergyVADProvider

FRAMES = 150


def shipped() -> AudioPipelineConfig:
    return AudioPipelineConfig(
        resampler=SincResamplerProvider(),
        dtmf=GoertzelDTMFDetector(),
        agc=SimpleAGCProvider(),
        denoiser=SpectralDenoiserProvider(),
        vad=EnergyVADProvider(),
        contract=AudioPipelineContract(transport_outbound_format=AudioFormat(8_000)),
    )


def call(seed: int, rate: int = 8_000) -> list[AudioFrame]:
    """Three seconds: a hum of noise, a second of loud sound, the key 5, noise."""
    noise = np.random.default_rng(seed)
    time = np.arange(rate * 3) / rate
    sound = noise.normal(0, 30, len(time))
    loud = (time > 0.5) & (time < 1.5)
    sound[loud] += 6000 * np.sin(2 * np.pi * (180 + seed) * time[loud]) * np.sin(20 * time[loud])
    key = (time > 2) & (time < 2.2)
    sound[key] += 5000 * (
        np.sin(2 * np.pi * 770 * time[key]) + np.sin(2 * np.pi * 1336 * time[key])
    )
    pieces = sound.astype(np.int16).reshape(FRAMES, -1)
    return [AudioFrame.of(piece, rate, 20.0 * number) for number, piece in enumerate(pieces)]


def heard(streams: dict[str, list[AudioFrame]], which: str) -> list[Any]:
    pipeline = AudioPipeline(shipped())
    results = []
    for number in range(FRAMES):
        for stream, frames in streams.items():
            result = pipeline.process_inbound_stream(stream, frames[number])
            if stream == which:
                results.append((result.frame.data, result.vad_event, result.dtmf))
    pipeline.close()
    assert pipeline.failures == {}
    return results


def test_V42_V43_the_shipped_stages_keep_streams_apart() -> None:
    alone = heard({"a": call(1)}, "a")
    together = heard({"b": call(2), "a": call(1), "c": call(3)}, "a")
    assert alone == together
    assert [key.digit for _, _, key in alone if key is not None] == ["5"]
    kinds = [event.type for _, event, _ in alone if event is not None]
    assert kinds[:2] == ["speech_start", "speech_end"]


def test_V46_a_key_used_again_starts_anew() -> None:
    pipeline = AudioPipeline(shipped())

    def run() -> list[Any]:
        results = [pipeline.process_inbound_stream("a", frame) for frame in call(1)]
        pipeline.release_stream("a")
        return [(result.frame.data, result.vad_event, result.dtmf) for result in results]

    assert run() == run()


def test_V46_a_thousand_sessions_leave_nothing_in_the_shipped_stages() -> None:
    config = shipped()
    pipeline = AudioPipeline(config)
    frame = call(1)[0]
    for number in range(1000):
        who = VoiceSession(str(number), "room", "caller", "voice")
        pipeline.on_session_active(who)
        pipeline.process_inbound(who, frame)
        pipeline.process_outbound(who, AudioFrame.of(np.zeros(320, np.int16)))
        pipeline.on_session_ended(who)
    stages: list[Any] = [config.resampler, config.dtmf, config.agc, config.denoiser, config.vad]
    assert [stage.stream_count for stage in stages if hasattr(stage, "stream_count")] == [0] * 5
    assert pipeline.stream_count == 0
