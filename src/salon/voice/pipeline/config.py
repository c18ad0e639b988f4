"""Which stages a channel's pipeline has. The settings of a stage live beside it and are reachable
from here too."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from salon.media.frame import AudioFormat
from salon.voice.pipeline.contract import AudioPipelineContract

if TYPE_CHECKING:
    from salon.voice.interruption import InterruptionConfig
    from salon.voice.pipeline.aec.base import AECProvider
    from salon.voice.pipeline.agc.base import AGCConfig, AGCProvider
    from salon.voice.pipeline.backchannel.base import BackchannelDetector
    from salon.voice.pipeline.debug_taps import PipelineDebugTaps
    from salon.voice.pipeline.denoiser.base import DenoiserProvider
    from salon.voice.pipeline.diarization.base import DiarizationProvider
    from salon.voice.pipeline.dtmf.base import DTMFDetector, DTMFRedaction
    from salon.voice.pipeline.metrics import Metrics
    from salon.voice.pipeline.postprocessor.base import AudioPostProcessor
    from salon.voice.pipeline.recorder.base import AudioRecorder, RecordingConfig
    from salon.voice.pipeline.resampler.base import ResamplerProvider
    from salon.voice.pipeline.turn.base import TurnDetector
    from salon.voice.pipeline.vad.base import VADConfig, VADProvider

__all__ = ["AudioFormat", "AudioPipelineConfig", "AudioPipelineContract"]


@dataclass
class AudioPipelineConfig:
    """Every stage is optional (V34); a stage may serve many pipelines' streams at once.

    `vad_config` is given to the VAD when the pipeline is built, `agc_config` to an AGC that has
    ``configure``. Nothing is recorded without `recording_config`. `turn_detector`,
    `turn_incomplete_wait_ms`, `backchannel_detector`, `interruption` and `dtmf_redaction` are for
    the channel, which works on transcripts and keys; the pipeline only closes the two detectors.
    `telemetry` takes metrics (``record_metric``). `inbound_dsp_threads` changes nothing: stages run
    where the frame comes in. `suppress_dtmf` silences what later stages get while a key is heard
    (V69); a recording keeps the tone.
    """

    vad: VADProvider | None = None
    denoiser: DenoiserProvider | None = None
    diarization: DiarizationProvider | None = None
    postprocessors: list[AudioPostProcessor] = field(default_factory=list)
    vad_config: VADConfig | None = None
    aec: AECProvider | None = None
    agc: AGCProvider | None = None
    agc_config: AGCConfig | None = None
    dtmf: DTMFDetector | None = None
    dtmf_redaction: DTMFRedaction | None = None
    turn_detector: TurnDetector | None = None
    turn_incomplete_wait_ms: float = 1500.0
    backchannel_detector: BackchannelDetector | None = None
    recorder: AudioRecorder | None = None
    recording_config: RecordingConfig | None = None
    interruption: InterruptionConfig | None = None
    resampler: ResamplerProvider | None = None
    contract: AudioPipelineContract | None = None
    debug_taps: PipelineDebugTaps | None = None
    telemetry: Metrics | None = None
    inbound_dsp_threads: int | None = None
    suppress_dtmf: bool = False


_ELSEWHERE = {
    "AGCConfig": "agc.base",
    "DTMFRedaction": "dtmf.base",
    "PipelineDebugTaps": "debug_taps",
    "RecordingChannelMode": "recorder.base",
    "RecordingConfig": "recorder.base",
    "RecordingMode": "recorder.base",
    "RecordingTrigger": "recorder.base",
    "VADConfig": "vad.base",
}


def __getattr__(name: str) -> Any:
    if name == "InterruptionConfig":
        return import_module("salon.voice.interruption").InterruptionConfig
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"salon.voice.pipeline.{_ELSEWHERE[name]}"), name)
