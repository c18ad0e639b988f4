"""Floor 5: the audio pipeline, backends, recognition, synthesis, turns.

Names are loaded when they are asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salon.media.frame import (
        AudioChunk,
        AudioFormat,
        AudioFrame,
    )
    from salon.voice.backends.base import (
        AudioReceivedCallback,
        BargeInCallback,
        SessionReadyCallback,
        VoiceBackend,
        VoiceCapability,
    )
    from salon.voice.backends.fastrtc import (
        FastRTCVoiceBackend,
    )
    from salon.voice.backends.local import (
        LocalAudioBackend,
    )
    from salon.voice.backends.mock import (
        MockVoiceBackend,
    )
    from salon.voice.backends.pair import (
        MemoryCaller,
        MemoryVoiceBackend,
    )
    from salon.voice.backends.rtp import (
        RTPVoiceBackend,
    )
    from salon.voice.backends.session import (
        VoiceSession,
        VoiceSessionState,
    )
    from salon.voice.backends.webrtc import (
        WebRTCVoiceBackend,
    )
    from salon.voice.backends.websocket import (
        WebSocketVoiceBackend,
    )
    from salon.voice.bridge import (
        AudioBridge,
    )
    from salon.voice.bridge_config import (
        AudioBridgeConfig,
        BridgeFrameFilter,
        BridgeFrameProcessor,
    )
    from salon.voice.capture.base import (
        AudioCaptureSource,
        CaptureFrameCallback,
        CaptureMark,
        CaptureSubscription,
    )
    from salon.voice.capture.local import (
        LocalMicSource,
    )
    from salon.voice.capture.mock import (
        MockCaptureSource,
    )
    from salon.voice.hook_payloads import (
        BackchannelEvent,
        BargeInEvent,
        BridgeAudioEvent,
        DTMFDetectedEvent,
        PartialTranscriptionEvent,
        RecordingStartedEvent,
        RecordingStoppedEvent,
        SpeakerChangeEvent,
        TranscriptionEvent,
        TTSCancelledEvent,
        TurnCompleteEvent,
        TurnIncompleteEvent,
        VADAudioLevelEvent,
        VADSilenceEvent,
    )
    from salon.voice.inbound import (
        parse_voice_session,
    )
    from salon.voice.interruption import (
        InterruptionConfig,
        InterruptionDecision,
        InterruptionHandler,
    )
    from salon.voice.pipeline.aec.base import (
        AECProvider,
    )
    from salon.voice.pipeline.aec.mock import (
        MockAECProvider,
    )
    from salon.voice.pipeline.aec.speex import (
        SpeexAECProvider,
    )
    from salon.voice.pipeline.aec.webrtc import (
        WebRTCAECProvider,
    )
    from salon.voice.pipeline.agc.base import (
        AGCConfig,
        AGCProvider,
    )
    from salon.voice.pipeline.agc.mock import (
        MockAGCProvider,
    )
    from salon.voice.pipeline.agc.simple import (
        SimpleAGCProvider,
    )
    from salon.voice.pipeline.backchannel.base import (
        BackchannelContext,
        BackchannelDecision,
        BackchannelDetector,
    )
    from salon.voice.pipeline.backchannel.mock import (
        MockBackchannelDetector,
    )
    from salon.voice.pipeline.backchannel.phrases import (
        PhraseBackchannelDetector,
    )
    from salon.voice.pipeline.config import (
        AudioPipelineConfig,
    )
    from salon.voice.pipeline.contract import (
        AudioPipelineContract,
    )
    from salon.voice.pipeline.debug_taps import (
        PipelineDebugTaps,
    )
    from salon.voice.pipeline.denoiser.base import (
        DenoiserProvider,
    )
    from salon.voice.pipeline.denoiser.mock import (
        MockDenoiserProvider,
    )
    from salon.voice.pipeline.denoiser.sherpa_onnx import (
        SherpaOnnxDenoiserConfig,
        SherpaOnnxDenoiserProvider,
    )
    from salon.voice.pipeline.denoiser.spectral import (
        SpectralDenoiserProvider,
    )
    from salon.voice.pipeline.denoiser.webrtc import (
        WebRTCNoiseSuppressorProvider,
    )
    from salon.voice.pipeline.diarization.base import (
        DiarizationProvider,
        DiarizationResult,
    )
    from salon.voice.pipeline.diarization.mock import (
        MockDiarizationProvider,
    )
    from salon.voice.pipeline.diarization.single import (
        SingleSpeakerDiarizationProvider,
    )
    from salon.voice.pipeline.dtmf.base import (
        DTMFDetector,
        DTMFEvent,
        DTMFRedaction,
    )
    from salon.voice.pipeline.dtmf.goertzel import (
        GoertzelDTMFDetector,
    )
    from salon.voice.pipeline.dtmf.mock import (
        MockDTMFDetector,
    )
    from salon.voice.pipeline.engine import (
        AudioPipeline,
    )
    from salon.voice.pipeline.mixer.base import (
        MixerProvider,
    )
    from salon.voice.pipeline.mixer.python import (
        PythonMixerProvider,
    )
    from salon.voice.pipeline.postprocessor.base import (
        AudioPostProcessor,
    )
    from salon.voice.pipeline.postprocessor.gain import (
        GainPostProcessor,
    )
    from salon.voice.pipeline.postprocessor.loudness import (
        LoudnessPostProcessor,
    )
    from salon.voice.pipeline.recorder.base import (
        AudioRecorder,
        RecordingChannelMode,
        RecordingConfig,
        RecordingHandle,
        RecordingMode,
        RecordingResult,
        RecordingTrigger,
    )
    from salon.voice.pipeline.recorder.consent import (
        ConsentGate,
        RecordingConsent,
    )
    from salon.voice.pipeline.recorder.encryption import (
        AesGcmRecordingEncryption,
    )
    from salon.voice.pipeline.recorder.mock import (
        MockAudioRecorder,
    )
    from salon.voice.pipeline.recorder.ogg import (
        OggOpusFileRecorder,
    )
    from salon.voice.pipeline.recorder.retention import (
        encrypt_leftovers,
        purge_expired,
    )
    from salon.voice.pipeline.recorder.storage import (
        RecordingStorages,
    )
    from salon.voice.pipeline.recorder.wav import (
        WavFileRecorder,
    )
    from salon.voice.pipeline.resampler.base import (
        ResamplerProvider,
    )
    from salon.voice.pipeline.resampler.linear import (
        LinearResamplerProvider,
    )
    from salon.voice.pipeline.resampler.mock import (
        MockResamplerProvider,
    )
    from salon.voice.pipeline.turn.base import (
        TurnContext,
        TurnDecision,
        TurnDetector,
        TurnEntry,
    )
    from salon.voice.pipeline.turn.mock import (
        MockTurnDetector,
    )
    from salon.voice.pipeline.turn.silence import (
        SilenceAdaptiveTurnDetector,
    )
    from salon.voice.pipeline.turn.smart_turn import (
        SmartTurnDetector,
    )
    from salon.voice.pipeline.vad.base import (
        VADEvent,
        VADEventType,
        VADProvider,
    )
    from salon.voice.pipeline.vad.energy import (
        EnergyVADProvider,
    )
    from salon.voice.pipeline.vad.mock import (
        MockVADProvider,
    )
    from salon.voice.pipeline.vad.sherpa_onnx import (
        SherpaOnnxVADConfig,
        SherpaOnnxVADProvider,
    )
    from salon.voice.pipeline.vad.silero import (
        SileroVADProvider,
    )
    from salon.voice.stt.base import (
        SpeechToText,
    )
    from salon.voice.stt.fallback import (
        FallbackSpeechToText,
    )
    from salon.voice.stt.mock import (
        MockSTTProvider,
    )
    from salon.voice.stt.provider import (
        STTProvider,
    )
    from salon.voice.stt.result import (
        SpeakerSegment,
        TranscriptionResult,
        speaker_label,
    )
    from salon.voice.tts.base import (
        TextToSpeech,
    )
    from salon.voice.tts.cache import (
        CachedTextToSpeech,
    )
    from salon.voice.tts.context import (
        ConversationTurn,
        TTSContext,
        TTSContextConfig,
        TTSContextLevel,
    )
    from salon.voice.tts.fallback import (
        FallbackTextToSpeech,
    )
    from salon.voice.tts.filters import (
        StripBrackets,
        StripEmoji,
        StripInternalTags,
        StripTechnicalText,
        TTSFilterChain,
        TTSStreamFilter,
    )
    from salon.voice.tts.library import (
        CustomVoice,
        VoiceConsentError,
        VoiceLibrary,
    )
    from salon.voice.tts.mock import (
        MockTTSProvider,
    )
    from salon.voice.tts.provider import (
        TTSProvider,
    )
    from salon.voice.turns.config import (
        InterruptionStrategy,
    )
    from salon.voice.vad.config import (
        VADConfig,
    )
    from salon.voice.voices import (
        DialogueTurn,
        VoiceInfo,
        filter_voices,
    )

_NAMES = {
    "salon.media.frame": "AudioChunk AudioFormat AudioFrame",
    "salon.voice.backends.base": (
        "AudioReceivedCallback BargeInCallback SessionReadyCallback VoiceBackend VoiceCapability"
    ),
    "salon.voice.backends.fastrtc": "FastRTCVoiceBackend",
    "salon.voice.backends.local": "LocalAudioBackend",
    "salon.voice.backends.mock": "MockVoiceBackend",
    "salon.voice.backends.pair": "MemoryCaller MemoryVoiceBackend",
    "salon.voice.backends.rtp": "RTPVoiceBackend",
    "salon.voice.backends.session": "VoiceSession VoiceSessionState",
    "salon.voice.backends.webrtc": "WebRTCVoiceBackend",
    "salon.voice.backends.websocket": "WebSocketVoiceBackend",
    "salon.voice.bridge": "AudioBridge",
    "salon.voice.bridge_config": "AudioBridgeConfig BridgeFrameFilter BridgeFrameProcessor",
    "salon.voice.capture.base": (
        "AudioCaptureSource CaptureFrameCallback CaptureMark CaptureSubscription"
    ),
    "salon.voice.capture.local": "LocalMicSource",
    "salon.voice.capture.mock": "MockCaptureSource",
    "salon.voice.hook_payloads": (
        "BackchannelEvent BargeInEvent BridgeAudioEvent DTMFDetectedEvent "
        "PartialTranscriptionEvent RecordingStartedEvent RecordingStoppedEvent "
        "SpeakerChangeEvent TTSCancelledEvent TranscriptionEvent TurnCompleteEvent "
        "TurnIncompleteEvent VADAudioLevelEvent VADSilenceEvent"
    ),
    "salon.voice.inbound": "parse_voice_session",
    "salon.voice.interruption": "InterruptionConfig InterruptionDecision InterruptionHandler",
    "salon.voice.pipeline.aec.base": "AECProvider",
    "salon.voice.pipeline.aec.mock": "MockAECProvider",
    "salon.voice.pipeline.aec.speex": "SpeexAECProvider",
    "salon.voice.pipeline.aec.webrtc": "WebRTCAECProvider",
    "salon.voice.pipeline.agc.base": "AGCConfig AGCProvider",
    "salon.voice.pipeline.agc.mock": "MockAGCProvider",
    "salon.voice.pipeline.agc.simple": "SimpleAGCProvider",
    "salon.voice.pipeline.backchannel.base": (
        "BackchannelContext BackchannelDecision BackchannelDetector"
    ),
    "salon.voice.pipeline.backchannel.mock": "MockBackchannelDetector",
    "salon.voice.pipeline.backchannel.phrases": "PhraseBackchannelDetector",
    "salon.voice.pipeline.config": "AudioPipelineConfig",
    "salon.voice.pipeline.contract": "AudioPipelineContract",
    "salon.voice.pipeline.debug_taps": "PipelineDebugTaps",
    "salon.voice.pipeline.denoiser.base": "DenoiserProvider",
    "salon.voice.pipeline.denoiser.mock": "MockDenoiserProvider",
    "salon.voice.pipeline.denoiser.sherpa_onnx": (
        "SherpaOnnxDenoiserConfig SherpaOnnxDenoiserProvider"
    ),
    "salon.voice.pipeline.denoiser.spectral": "SpectralDenoiserProvider",
    "salon.voice.pipeline.denoiser.webrtc": "WebRTCNoiseSuppressorProvider",
    "salon.voice.pipeline.diarization.base": "DiarizationProvider DiarizationResult",
    "salon.voice.pipeline.diarization.mock": "MockDiarizationProvider",
    "salon.voice.pipeline.diarization.single": "SingleSpeakerDiarizationProvider",
    "salon.voice.pipeline.dtmf.base": "DTMFDetector DTMFEvent DTMFRedaction",
    "salon.voice.pipeline.dtmf.goertzel": "GoertzelDTMFDetector",
    "salon.voice.pipeline.dtmf.mock": "MockDTMFDetector",
    "salon.voice.pipeline.engine": "AudioPipeline",
    "salon.voice.pipeline.mixer.base": "MixerProvider",
    "salon.voice.pipeline.mixer.python": "PythonMixerProvider",
    "salon.voice.pipeline.postprocessor.base": "AudioPostProcessor",
    "salon.voice.pipeline.postprocessor.gain": "GainPostProcessor",
    "salon.voice.pipeline.postprocessor.loudness": "LoudnessPostProcessor",
    "salon.voice.pipeline.recorder.base": (
        "AudioRecorder RecordingChannelMode RecordingConfig RecordingHandle RecordingMode "
        "RecordingResult RecordingTrigger"
    ),
    "salon.voice.pipeline.recorder.consent": "ConsentGate RecordingConsent",
    "salon.voice.pipeline.recorder.encryption": "AesGcmRecordingEncryption",
    "salon.voice.pipeline.recorder.mock": "MockAudioRecorder",
    "salon.voice.pipeline.recorder.ogg": "OggOpusFileRecorder",
    "salon.voice.pipeline.recorder.retention": "encrypt_leftovers purge_expired",
    "salon.voice.pipeline.recorder.storage": "RecordingStorages",
    "salon.voice.pipeline.recorder.wav": "WavFileRecorder",
    "salon.voice.pipeline.resampler.base": "ResamplerProvider",
    "salon.voice.pipeline.resampler.linear": "LinearResamplerProvider",
    "salon.voice.pipeline.resampler.mock": "MockResamplerProvider",
    "salon.voice.pipeline.turn.base": "TurnContext TurnDecision TurnDetector TurnEntry",
    "salon.voice.pipeline.turn.mock": "MockTurnDetector",
    "salon.voice.pipeline.turn.silence": "SilenceAdaptiveTurnDetector",
    "salon.voice.pipeline.turn.smart_turn": "SmartTurnDetector",
    "salon.voice.pipeline.vad.base": "VADEvent VADEventType VADProvider",
    "salon.voice.pipeline.vad.energy": "EnergyVADProvider",
    "salon.voice.pipeline.vad.mock": "MockVADProvider",
    "salon.voice.pipeline.vad.sherpa_onnx": "SherpaOnnxVADConfig SherpaOnnxVADProvider",
    "salon.voice.pipeline.vad.silero": "SileroVADProvider",
    "salon.voice.stt.base": "SpeechToText",
    "salon.voice.stt.fallback": "FallbackSpeechToText",
    "salon.voice.stt.mock": "MockSTTProvider",
    "salon.voice.stt.provider": "STTProvider",
    "salon.voice.stt.result": "SpeakerSegment TranscriptionResult speaker_label",
    "salon.voice.tts.base": "TextToSpeech",
    "salon.voice.tts.cache": "CachedTextToSpeech",
    "salon.voice.tts.context": "ConversationTurn TTSContext TTSContextConfig TTSContextLevel",
    "salon.voice.tts.fallback": "FallbackTextToSpeech",
    "salon.voice.tts.filters": (
        "StripBrackets StripEmoji StripInternalTags StripTechnicalText TTSFilterChain "
        "TTSStreamFilter"
    ),
    "salon.voice.tts.library": "CustomVoice VoiceConsentError VoiceLibrary",
    "salon.voice.tts.mock": "MockTTSProvider",
    "salon.voice.tts.provider": "TTSProvider",
    "salon.voice.turns.config": "InterruptionStrategy",
    "salon.voice.vad.config": "VADConfig",
    "salon.voice.voices": "DialogueTurn VoiceInfo filter_voices",
}
_WHERE = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "AECProvider",
    "AGCConfig",
    "AGCProvider",
    "AesGcmRecordingEncryption",
    "AudioBridge",
    "AudioBridgeConfig",
    "AudioCaptureSource",
    "AudioChunk",
    "AudioFormat",
    "AudioFrame",
    "AudioPipeline",
    "AudioPipelineConfig",
    "AudioPipelineContract",
    "AudioPostProcessor",
    "AudioReceivedCallback",
    "AudioRecorder",
    "BackchannelContext",
    "BackchannelDecision",
    "BackchannelDetector",
    "BackchannelEvent",
    "BargeInCallback",
    "BargeInEvent",
    "BridgeAudioEvent",
    "BridgeFrameFilter",
    "BridgeFrameProcessor",
    "CachedTextToSpeech",
    "CaptureFrameCallback",
    "CaptureMark",
    "CaptureSubscription",
    "ConsentGate",
    "ConversationTurn",
    "CustomVoice",
    "DTMFDetectedEvent",
    "DTMFDetector",
    "DTMFEvent",
    "DTMFRedaction",
    "DenoiserProvider",
    "DialogueTurn",
    "DiarizationProvider",
    "DiarizationResult",
    "EnergyVADProvider",
    "FallbackSpeechToText",
    "FallbackTextToSpeech",
    "FastRTCVoiceBackend",
    "GainPostProcessor",
    "GoertzelDTMFDetector",
    "InterruptionConfig",
    "InterruptionDecision",
    "InterruptionHandler",
    "InterruptionStrategy",
    "LinearResamplerProvider",
    "LocalAudioBackend",
    "LocalMicSource",
    "LoudnessPostProcessor",
    "MemoryCaller",
    "MemoryVoiceBackend",
    "MixerProvider",
    "MockAECProvider",
    "MockAGCProvider",
    "MockAudioRecorder",
    "MockBackchannelDetector",
    "MockCaptureSource",
    "MockDTMFDetector",
    "MockDenoiserProvider",
    "MockDiarizationProvider",
    "MockResamplerProvider",
    "MockSTTProvider",
    "MockTTSProvider",
    "MockTurnDetector",
    "MockVADProvider",
    "MockVoiceBackend",
    "OggOpusFileRecorder",
    "PartialTranscriptionEvent",
    "PhraseBackchannelDetector",
    "PipelineDebugTaps",
    "PythonMixerProvider",
    "RTPVoiceBackend",
    "RecordingChannelMode",
    "RecordingConfig",
    "RecordingConsent",
    "RecordingHandle",
    "RecordingMode",
    "RecordingResult",
    "RecordingStartedEvent",
    "RecordingStoppedEvent",
    "RecordingStorages",
    "RecordingTrigger",
    "ResamplerProvider",
    "STTProvider",
    "SessionReadyCallback",
    "SherpaOnnxDenoiserConfig",
    "SherpaOnnxDenoiserProvider",
    "SherpaOnnxVADConfig",
    "SherpaOnnxVADProvider",
    "SilenceAdaptiveTurnDetector",
    "SileroVADProvider",
    "SimpleAGCProvider",
    "SingleSpeakerDiarizationProvider",
    "SmartTurnDetector",
    "SpeakerChangeEvent",
    "SpeakerSegment",
    "SpectralDenoiserProvider",
    "SpeechToText",
    "SpeexAECProvider",
    "StripBrackets",
    "StripEmoji",
    "StripInternalTags",
    "StripTechnicalText",
    "TTSCancelledEvent",
    "TTSContext",
    "TTSContextConfig",
    "TTSContextLevel",
    "TTSFilterChain",
    "TTSProvider",
    "TTSStreamFilter",
    "TextToSpeech",
    "TranscriptionEvent",
    "TranscriptionResult",
    "TurnCompleteEvent",
    "TurnContext",
    "TurnDecision",
    "TurnDetector",
    "TurnEntry",
    "TurnIncompleteEvent",
    "VADAudioLevelEvent",
    "VADConfig",
    "VADEvent",
    "VADEventType",
    "VADProvider",
    "VADSilenceEvent",
    "VoiceBackend",
    "VoiceCapability",
    "VoiceConsentError",
    "VoiceInfo",
    "VoiceLibrary",
    "VoiceSession",
    "VoiceSessionState",
    "WavFileRecorder",
    "WebRTCAECProvider",
    "WebRTCNoiseSuppressorProvider",
    "WebRTCVoiceBackend",
    "WebSocketVoiceBackend",
    "encrypt_leftovers",
    "filter_voices",
    "parse_voice_session",
    "purge_expired",
    "speaker_label",
]


def __getattr__(name: str) -> Any:
    module = _WHERE.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
