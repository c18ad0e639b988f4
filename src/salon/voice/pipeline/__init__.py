"""What happens to sound between the transport and who listens or speaks (parts 6 to 10 of the voice
rules).

`AudioPipeline` takes frames through the stages that an `AudioPipelineConfig` names. Each kind of
stage has a package: its contract in ``base``, implementations, and a mock.
Names are loaded when they are asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salon.voice.pipeline.aec.base import AECProvider
    from salon.voice.pipeline.aec.mock import MockAECProvider
    from salon.voice.pipeline.aec.speex import SpeexAECProvider
    from salon.voice.pipeline.aec.webrtc import WebRTCAECProvider
    from salon.voice.pipeline.agc.base import AGCConfig, AGCProvider
    from salon.voice.pipeline.agc.mock import MockAGCProvider
    from salon.voice.pipeline.agc.simple import SimpleAGCProvider
    from salon.voice.pipeline.backchannel import (
        ENGLISH_BACKCHANNELS,
        FRENCH_BACKCHANNELS,
        GERMAN_BACKCHANNELS,
        SPANISH_BACKCHANNELS,
    )
    from salon.voice.pipeline.backchannel.base import (
        BackchannelContext,
        BackchannelDecision,
        BackchannelDetector,
    )
    from salon.voice.pipeline.backchannel.mock import MockBackchannelDetector
    from salon.voice.pipeline.backchannel.phrases import PhraseBackchannelDetector
    from salon.voice.pipeline.config import AudioFormat, AudioPipelineConfig
    from salon.voice.pipeline.contract import AudioPipelineContract
    from salon.voice.pipeline.debug_taps import PipelineDebugTaps
    from salon.voice.pipeline.denoiser.base import DenoiserProvider
    from salon.voice.pipeline.denoiser.mock import MockDenoiserProvider
    from salon.voice.pipeline.denoiser.spectral import SpectralDenoiserProvider
    from salon.voice.pipeline.denoiser.webrtc import WebRTCNoiseSuppressorProvider
    from salon.voice.pipeline.diarization.base import DiarizationProvider, DiarizationResult
    from salon.voice.pipeline.diarization.mock import MockDiarizationProvider
    from salon.voice.pipeline.diarization.single import SingleSpeakerDiarizationProvider
    from salon.voice.pipeline.dtmf.base import (
        DTMFDetector,
        DTMFEvent,
        DTMFRedaction,
        DTMFRedactionError,
    )
    from salon.voice.pipeline.dtmf.goertzel import GoertzelDTMFDetector
    from salon.voice.pipeline.dtmf.mock import MockDTMFDetector
    from salon.voice.pipeline.engine import AudioPipeline
    from salon.voice.pipeline.mixer.base import MixerProvider
    from salon.voice.pipeline.mixer.numpy import NumpyMixerProvider
    from salon.voice.pipeline.mixer.python import PythonMixerProvider
    from salon.voice.pipeline.postprocessor.base import AudioPostProcessor
    from salon.voice.pipeline.postprocessor.call import CallablePostProcessor
    from salon.voice.pipeline.postprocessor.gain import GainPostProcessor
    from salon.voice.pipeline.postprocessor.loudness import LoudnessConfig, LoudnessPostProcessor
    from salon.voice.pipeline.postprocessor.mock import MockAudioPostProcessor
    from salon.voice.pipeline.recorder.base import (
        AudioRecorder,
        RecordingChannelMode,
        RecordingConfig,
        RecordingConfigurationError,
        RecordingEncryption,
        RecordingHandle,
        RecordingMode,
        RecordingResult,
        RecordingTrigger,
    )
    from salon.voice.pipeline.recorder.consent import ConsentGate, RecordingConsent
    from salon.voice.pipeline.recorder.encryption import (
        AesGcmRecordingEncryption,
        RecordingDecryptionError,
    )
    from salon.voice.pipeline.recorder.files import FileRecorder
    from salon.voice.pipeline.recorder.mock import MockAudioRecorder
    from salon.voice.pipeline.recorder.ogg import OggOpusFileRecorder
    from salon.voice.pipeline.recorder.retention import encrypt_leftovers, purge_expired
    from salon.voice.pipeline.recorder.storage import (
        DirectoryStorage,
        RecordingStorage,
        RecordingStorages,
    )
    from salon.voice.pipeline.recorder.wav import WavFileRecorder
    from salon.voice.pipeline.resampler.base import ResamplerProvider
    from salon.voice.pipeline.resampler.linear import LinearResamplerProvider
    from salon.voice.pipeline.resampler.mock import MockResamplerProvider, ResampleCall
    from salon.voice.pipeline.resampler.numpy import NumpyResamplerProvider
    from salon.voice.pipeline.resampler.sinc import SincResamplerProvider
    from salon.voice.pipeline.result import InboundResult
    from salon.voice.pipeline.turn.base import TurnContext, TurnDecision, TurnDetector, TurnEntry
    from salon.voice.pipeline.turn.mock import MockTurnDetector
    from salon.voice.pipeline.turn.silence import SilenceAdaptiveTurnDetector
    from salon.voice.pipeline.turn.smart_turn import SmartTurnConfig, SmartTurnDetector
    from salon.voice.pipeline.vad.base import VADConfig, VADEvent, VADEventType, VADProvider
    from salon.voice.pipeline.vad.energy import EnergyVADProvider
    from salon.voice.pipeline.vad.mock import MockVADProvider
    from salon.voice.pipeline.vad.silero import SileroVADProvider

_WHERE = {
    "AECProvider": "aec.base",
    "AGCConfig": "agc.base",
    "AGCProvider": "agc.base",
    "AesGcmRecordingEncryption": "recorder.encryption",
    "AudioFormat": "config",
    "AudioPipeline": "engine",
    "AudioPipelineConfig": "config",
    "AudioPipelineContract": "contract",
    "AudioPostProcessor": "postprocessor.base",
    "AudioRecorder": "recorder.base",
    "BackchannelContext": "backchannel.base",
    "BackchannelDecision": "backchannel.base",
    "BackchannelDetector": "backchannel.base",
    "CallablePostProcessor": "postprocessor.call",
    "ConsentGate": "recorder.consent",
    "DTMFDetector": "dtmf.base",
    "DTMFEvent": "dtmf.base",
    "DTMFRedaction": "dtmf.base",
    "DTMFRedactionError": "dtmf.base",
    "DenoiserProvider": "denoiser.base",
    "DiarizationProvider": "diarization.base",
    "DiarizationResult": "diarization.base",
    "DirectoryStorage": "recorder.storage",
    "ENGLISH_BACKCHANNELS": "backchannel",
    "EnergyVADProvider": "vad.energy",
    "FRENCH_BACKCHANNELS": "backchannel",
    "FileRecorder": "recorder.files",
    "GERMAN_BACKCHANNELS": "backchannel",
    "GainPostProcessor": "postprocessor.gain",
    "GoertzelDTMFDetector": "dtmf.goertzel",
    "InboundResult": "result",
    "LinearResamplerProvider": "resampler.linear",
    "LoudnessConfig": "postprocessor.loudness",
    "LoudnessPostProcessor": "postprocessor.loudness",
    "MixerProvider": "mixer.base",
    "MockAECProvider": "aec.mock",
    "MockAGCProvider": "agc.mock",
    "MockAudioPostProcessor": "postprocessor.mock",
    "MockAudioRecorder": "recorder.mock",
    "MockBackchannelDetector": "backchannel.mock",
    "MockDTMFDetector": "dtmf.mock",
    "MockDenoiserProvider": "denoiser.mock",
    "MockDiarizationProvider": "diarization.mock",
    "MockResamplerProvider": "resampler.mock",
    "MockTurnDetector": "turn.mock",
    "MockVADProvider": "vad.mock",
    "NumpyMixerProvider": "mixer.numpy",
    "NumpyResamplerProvider": "resampler.numpy",
    "OggOpusFileRecorder": "recorder.ogg",
    "PhraseBackchannelDetector": "backchannel.phrases",
    "PipelineDebugTaps": "debug_taps",
    "PythonMixerProvider": "mixer.python",
    "RecordingChannelMode": "recorder.base",
    "RecordingConfig": "recorder.base",
    "RecordingConfigurationError": "recorder.base",
    "RecordingConsent": "recorder.consent",
    "RecordingDecryptionError": "recorder.encryption",
    "RecordingEncryption": "recorder.base",
    "RecordingHandle": "recorder.base",
    "RecordingMode": "recorder.base",
    "RecordingResult": "recorder.base",
    "RecordingStorage": "recorder.storage",
    "RecordingStorages": "recorder.storage",
    "RecordingTrigger": "recorder.base",
    "ResampleCall": "resampler.mock",
    "ResamplerProvider": "resampler.base",
    "SPANISH_BACKCHANNELS": "backchannel",
    "SilenceAdaptiveTurnDetector": "turn.silence",
    "SileroVADProvider": "vad.silero",
    "SimpleAGCProvider": "agc.simple",
    "SincResamplerProvider": "resampler.sinc",
    "SingleSpeakerDiarizationProvider": "diarization.single",
    "SmartTurnConfig": "turn.smart_turn",
    "SmartTurnDetector": "turn.smart_turn",
    "SpectralDenoiserProvider": "denoiser.spectral",
    "SpeexAECProvider": "aec.speex",
    "TurnContext": "turn.base",
    "TurnDecision": "turn.base",
    "TurnDetector": "turn.base",
    "TurnEntry": "turn.base",
    "VADConfig": "vad.base",
    "VADEvent": "vad.base",
    "VADEventType": "vad.base",
    "VADProvider": "vad.base",
    "WavFileRecorder": "recorder.wav",
    "WebRTCAECProvider": "aec.webrtc",
    "WebRTCNoiseSuppressorProvider": "denoiser.webrtc",
    "encrypt_leftovers": "recorder.retention",
    "purge_expired": "recorder.retention",
}

__all__ = [
    "ENGLISH_BACKCHANNELS",
    "FRENCH_BACKCHANNELS",
    "GERMAN_BACKCHANNELS",
    "SPANISH_BACKCHANNELS",
    "AECProvider",
    "AGCConfig",
    "AGCProvider",
    "AesGcmRecordingEncryption",
    "AudioFormat",
    "AudioPipeline",
    "AudioPipelineConfig",
    "AudioPipelineContract",
    "AudioPostProcessor",
    "AudioRecorder",
    "BackchannelContext",
    "BackchannelDecision",
    "BackchannelDetector",
    "CallablePostProcessor",
    "ConsentGate",
    "DTMFDetector",
    "DTMFEvent",
    "DTMFRedaction",
    "DTMFRedactionError",
    "DenoiserProvider",
    "DiarizationProvider",
    "DiarizationResult",
    "DirectoryStorage",
    "EnergyVADProvider",
    "FileRecorder",
    "GainPostProcessor",
    "GoertzelDTMFDetector",
    "InboundResult",
    "LinearResamplerProvider",
    "LoudnessConfig",
    "LoudnessPostProcessor",
    "MixerProvider",
    "MockAECProvider",
    "MockAGCProvider",
    "MockAudioPostProcessor",
    "MockAudioRecorder",
    "MockBackchannelDetector",
    "MockDTMFDetector",
    "MockDenoiserProvider",
    "MockDiarizationProvider",
    "MockResamplerProvider",
    "MockTurnDetector",
    "MockVADProvider",
    "NumpyMixerProvider",
    "NumpyResamplerProvider",
    "OggOpusFileRecorder",
    "PhraseBackchannelDetector",
    "PipelineDebugTaps",
    "PythonMixerProvider",
    "RecordingChannelMode",
    "RecordingConfig",
    "RecordingConfigurationError",
    "RecordingConsent",
    "RecordingDecryptionError",
    "RecordingEncryption",
    "RecordingHandle",
    "RecordingMode",
    "RecordingResult",
    "RecordingStorage",
    "RecordingStorages",
    "RecordingTrigger",
    "ResampleCall",
    "ResamplerProvider",
    "SilenceAdaptiveTurnDetector",
    "SileroVADProvider",
    "SimpleAGCProvider",
    "SincResamplerProvider",
    "SingleSpeakerDiarizationProvider",
    "SmartTurnConfig",
    "SmartTurnDetector",
    "SpectralDenoiserProvider",
    "SpeexAECProvider",
    "TurnContext",
    "TurnDecision",
    "TurnDetector",
    "TurnEntry",
    "VADConfig",
    "VADEvent",
    "VADEventType",
    "VADProvider",
    "WavFileRecorder",
    "WebRTCAECProvider",
    "WebRTCNoiseSuppressorProvider",
    "encrypt_leftovers",
    "purge_expired",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
