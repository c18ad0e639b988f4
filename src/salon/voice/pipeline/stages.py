"""The stages of one pipeline as they stand after its configuration has been checked."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from salon.media.frame import AudioFormat
from salon.voice.backends.base import VoiceCapability
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.contract import agreed_format, check_stages, same_pcm, spell

if TYPE_CHECKING:
    from salon.voice.pipeline.aec.base import AECProvider
    from salon.voice.pipeline.agc.base import AGCProvider
    from salon.voice.pipeline.denoiser.base import DenoiserProvider
    from salon.voice.pipeline.diarization.base import DiarizationProvider
    from salon.voice.pipeline.dtmf.base import DTMFDetector
    from salon.voice.pipeline.postprocessor.base import AudioPostProcessor
    from salon.voice.pipeline.resampler.base import ResamplerProvider
    from salon.voice.pipeline.vad.base import VADProvider

_log = logging.getLogger("salon.voice.pipeline")


def default_resampler() -> ResamplerProvider:
    """The one a pipeline makes when its contract needs one."""
    from salon.voice.pipeline.resampler.sinc import SincResamplerProvider

    return SincResamplerProvider()


@dataclass(slots=True)
class Stages:
    """What runs. `internal` is the format that frames are turned into first, None when they are
    taken as they come; `outbound` the one they leave in, None for as they are."""

    resampler: ResamplerProvider | None
    dtmf: DTMFDetector | None
    aec: AECProvider | None
    agc: AGCProvider | None
    denoiser: DenoiserProvider | None
    vad: VADProvider | None
    diarization: DiarizationProvider | None
    postprocessors: tuple[AudioPostProcessor, ...]
    suppress_dtmf: bool
    internal: AudioFormat | None
    outbound: AudioFormat | None

    def inbound(self) -> list[tuple[str, Any]]:
        """Slot and stage in inbound order, the resampler excepted (V48)."""
        slots = {
            "dtmf": self.dtmf,
            "aec": self.aec,
            "agc": self.agc,
            "denoiser": self.denoiser,
            "vad": self.vad,
            "diarization": self.diarization,
        }
        return [(slot, stage) for slot, stage in slots.items() if stage is not None]

    def keyed(self) -> list[tuple[str, Any]]:
        """Every stage that keeps state per stream, in pipeline order, each once."""
        found = [("resampler", self.resampler), *self.inbound()]
        found += [("postprocessor", stage) for stage in self.postprocessors]
        once = {id(stage): (slot, stage) for slot, stage in reversed(found) if stage is not None}
        return list(reversed(once.values()))


def arrange(
    config: AudioPipelineConfig,
    capabilities: VoiceCapability,
    transport_format: AudioFormat | None,
) -> Stages:
    """Check the configuration and decide what runs (V22, V38, V39).

    `transport_format` is what comes in when that is known. `ConfigurationError` when a stage cannot
    take what it would get.
    """
    contract = config.contract
    stages = Stages(
        resampler=config.resampler,
        dtmf=config.dtmf,
        aec=None if VoiceCapability.NATIVE_AEC in capabilities else config.aec,
        agc=None if VoiceCapability.NATIVE_AGC in capabilities else config.agc,
        denoiser=config.denoiser,
        vad=config.vad,
        diarization=config.diarization,
        postprocessors=tuple(config.postprocessors),
        suppress_dtmf=config.suppress_dtmf,
        internal=None,
        outbound=contract.transport_outbound_format if contract is not None else None,
    )
    inbound = stages.inbound()
    agreed = agreed_format(inbound)
    if contract is not None:
        stages.internal = contract.internal_format
        if stages.resampler is None:
            stages.resampler = default_resampler()
    elif stages.resampler is not None:
        stages.internal = agreed or AudioFormat()
    given = stages.internal or transport_format
    if given is not None:
        check_stages(inbound, given)
    _configure(config)
    return stages


def _configure(config: AudioPipelineConfig) -> None:
    if config.vad is not None and config.vad_config is not None:
        config.vad.configure(config.vad_config)
    configure_agc = getattr(config.agc, "configure", None)
    if configure_agc is not None and config.agc_config is not None:
        configure_agc(config.agc_config)
    _warn_of_idle_settings(config, agc_takes_settings=configure_agc is not None)


def _warn_of_idle_settings(config: AudioPipelineConfig, *, agc_takes_settings: bool) -> None:
    """Tell of what was asked for and will not happen (V214)."""
    if config.recorder is not None and config.recording_config is None:
        _log.warning("a recorder without recording_config records nothing")
    idle = {
        "vad_config without a vad": config.vad_config is not None and config.vad is None,
        "agc_config without an agc that takes one": (
            config.agc_config is not None and not agc_takes_settings
        ),
        "recording_config without a recorder": (
            config.recording_config is not None and config.recorder is None
        ),
        "suppress_dtmf without a dtmf detector": config.suppress_dtmf and config.dtmf is None,
    }
    for what, found in idle.items():
        if found:
            _log.warning("%s changes nothing", what)


def warn_of_mismatch(stages: Stages, given: AudioFormat) -> None:
    """Tell of the stages that expect another format than the first frame has (V39)."""
    for slot, stage in stages.inbound():
        for what in ("required_format", "preferred_format"):
            wanted = getattr(stage, what, None)
            if wanted is not None and not same_pcm(wanted, given):
                _log.warning(
                    "the pipeline's %s expects %s, the transport gives %s and there is no"
                    " resampler",
                    slot,
                    spell(wanted),
                    spell(given),
                )
                break
