"""Which providers get what of the people on a channel's lines (V208)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from salon.voice.backends.base import VoiceBackend
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.stt.base import SpeechToText
from salon.voice.tts.base import TextToSpeech
from salon.voice.tts.context import TTSContextConfig, TTSContextLevel


@dataclass(frozen=True, slots=True)
class SoundReceiver:
    """A plugged-in part and the most it may be given: ``sound`` of what people say, or their
    ``words``. What it does with it, and where, is the provider's own affair."""

    part: str
    """The argument, or the stage of the pipeline, it was given as."""
    name: str
    gets: Literal["sound", "words"]


STAGES = (
    "resampler",
    "recorder",
    "dtmf",
    "aec",
    "agc",
    "denoiser",
    "vad",
    "diarization",
    "turn_detector",
)
"""Of a pipeline, those that are given what people say."""


def sound_receivers(
    backends: Sequence[VoiceBackend],
    recognizer: SpeechToText | None,
    synthesizer: TextToSpeech | None,
    config: AudioPipelineConfig | None,
    context: TTSContextConfig | None,
) -> tuple[SoundReceiver, ...]:
    """All of them, in the order in which sound passes."""
    found = [SoundReceiver("backend", backend.name, "sound") for backend in backends]
    if config is not None:
        found += _of_pipeline(config)
    if recognizer is not None:
        found.append(SoundReceiver("stt", recognizer.name, "sound"))
    context = context or TTSContextConfig()
    level = TTSContextLevel.NONE if synthesizer is None else synthesizer.context_level
    if synthesizer is not None and context.enabled and level in ("text", "audio"):
        whole = level is TTSContextLevel.AUDIO and context.include_audio
        found.append(SoundReceiver("tts", synthesizer.name, "sound" if whole else "words"))
    return tuple(found)


def _of_pipeline(config: AudioPipelineConfig) -> Iterator[SoundReceiver]:
    for part in STAGES:
        stage = getattr(config, part)
        if stage is None or (part == "recorder" and config.recording_config is None):
            continue
        words = part == "turn_detector"
        yield SoundReceiver(part, stage.name, "words" if words else "sound")
