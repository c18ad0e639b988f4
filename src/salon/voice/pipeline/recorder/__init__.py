"""Recording of voice sessions: recorders, where and how files are kept, and consent."""

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

__all__ = [
    "AesGcmRecordingEncryption",
    "AudioRecorder",
    "ConsentGate",
    "DirectoryStorage",
    "FileRecorder",
    "MockAudioRecorder",
    "OggOpusFileRecorder",
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
    "WavFileRecorder",
    "encrypt_leftovers",
    "purge_expired",
]
