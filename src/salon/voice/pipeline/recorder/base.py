"""Recording of one voice session: what a recorder takes, gives and promises (V50, V58, V81-V89).

A recorder stands at two places of the pipeline: behind the resampler on the way in (V50), and on
the way out where the listener's sound is finished (V58). It copies and changes nothing.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from salon.base import ConfigurationError

if TYPE_CHECKING:
    from salon.media.frame import AudioFrame
    from salon.voice.backends.session import VoiceSession


class RecordingConfigurationError(ConfigurationError, ValueError):
    """A `RecordingConfig` asks for what the recorder hasn't: storage, format, encryption."""

    code = "recording_configuration"


class RecordingMode(StrEnum):
    """Whose voice is recorded (V82)."""

    INBOUND_ONLY = "inbound_only"
    OUTBOUND_ONLY = "outbound_only"
    BOTH = "both"

    @property
    def inbound(self) -> bool:
        """Whether the user is recorded."""
        return self is not RecordingMode.OUTBOUND_ONLY

    @property
    def outbound(self) -> bool:
        """Whether the bot is recorded."""
        return self is not RecordingMode.INBOUND_ONLY


class RecordingChannelMode(StrEnum):
    """How the two directions become files."""

    MIXED = "mixed"
    """One mono file of both."""
    SEPARATE = "separate"
    """Two mono files."""
    STEREO = "stereo"
    """One file: the user left, the bot right."""
    ALL = "all"
    """Three mono files: each direction, and both mixed."""


class RecordingTrigger(StrEnum):
    """When sound is captured."""

    ALWAYS = "always"
    SPEECH_ONLY = "speech_only"
    """While `AudioRecorder.speech` says the user speaks, and while the bot does."""


class RecordingEncryption(ABC):
    """Encryption of finished files (V87). Runs on a writer's thread, never on the frame path."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What `RecordingResult.metadata["encryption"]` says."""

    @abstractmethod
    def encrypt_file(self, path: str) -> str:
        """Encrypt the file at `path`, remove the plain one, and return the new path.

        `OSError` from the file system: then the plain file is still there.
        """


@dataclass
class RecordingConfig:
    """What to record and how.

    `format` is ``wav`` or, with `OggOpusFileRecorder`, ``ogg``. `storage` names a place
    known to the recorder's `RecordingStorages` (V83). One of `encryption` and
    `storage_encrypted_at_rest` (the disk or bucket does it) must be given (V87).
    `retention_days`: `purge_expired` deletes the recording after so long; None keeps it.
    `metadata` goes into the result unchanged.
    """

    mode: RecordingMode = RecordingMode.BOTH
    trigger: RecordingTrigger = RecordingTrigger.ALWAYS
    channels: RecordingChannelMode = RecordingChannelMode.MIXED
    format: str = "wav"
    storage: str = ""
    retention_days: int | None = None
    encryption: RecordingEncryption | None = None
    storage_encrypted_at_rest: bool = False
    metadata: dict[str, object] = field(default_factory=dict)


@dataclass
class RecordingHandle:
    """A recording that runs; opaque to those who hold it.

    `state` is ``recording`` or ``stopped``. `path` is the file, or for several files what
    their paths have in common. After the stop `result` is what came of it.
    """

    id: str
    session_id: str
    state: str = "recording"
    started_at: datetime | None = None
    path: str = ""
    result: RecordingResult | None = field(default=None, repr=False)

    @property
    def recording_id(self) -> str:
        """The same as `id`."""
        return self.id


@dataclass
class RecordingResult:
    """What came of a recording.

    `urls` are paths or addresses, of every file. `error` says why there is less than was asked
    for: the disk, the storage or the encryption failed; the files that exist are readable.
    """

    id: str
    urls: list[str] = field(default_factory=list)
    duration_seconds: float = 0.0
    format: str = "wav"
    mode: RecordingChannelMode = RecordingChannelMode.MIXED
    size_bytes: int = 0
    metadata: dict[str, object] = field(default_factory=dict)
    error: str | None = None

    @property
    def recording_id(self) -> str:
        """The same as `id`."""
        return self.id


class AudioRecorder(ABC):
    """Records voice sessions, one recording of two directions each (V89).

    Promises: the taps and `speech` never block, never raise because of a disk, and leave the
    frame as it is; a call with a handle that has stopped does nothing; the memory of a recording
    is bounded. Calls may come from any thread.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """For logs."""

    @abstractmethod
    def start(self, session: VoiceSession, config: RecordingConfig) -> RecordingHandle:
        """Begin. `RecordingConfigurationError` (also a `ValueError`) for a wrong `config`;
        whatever the storage does wrong shows in the result only."""

    @abstractmethod
    def stop(self, handle: RecordingHandle) -> RecordingResult:
        """End, and wait (for a bounded time) until the files are complete.

        A second call returns the same result. Inside an event loop use `finish`.
        """

    @abstractmethod
    def tap_inbound(self, handle: RecordingHandle, frame: AudioFrame) -> None:
        """A frame of what the user says, as it arrives (V50)."""

    @abstractmethod
    def tap_outbound(self, handle: RecordingHandle, frame: AudioFrame) -> None:
        """A frame of what the user hears, as it leaves (V58)."""

    async def finish(self, handle: RecordingHandle) -> RecordingResult:
        """`stop` without holding up the event loop."""
        return await asyncio.to_thread(self.stop, handle)

    def speech(self, handle: RecordingHandle, active: bool) -> None:
        """The user began or ceased to speak; of use to `RecordingTrigger.SPEECH_ONLY`."""
        del handle, active

    def hold(self, handle: RecordingHandle) -> None:
        """Capture nothing until `release`: the time line goes on, silent (V85, V86)."""
        del handle

    def release(self, handle: RecordingHandle) -> None:
        """Capture again."""
        del handle

    def outbound_cut(self, handle: RecordingHandle) -> None:
        """Playback was interrupted: outbound sound that lies in the future is not heard."""
        del handle

    def record_inbound(self, handle: RecordingHandle, frame: AudioFrame) -> None:
        """The same as `tap_inbound`."""
        self.tap_inbound(handle, frame)

    def record_outbound(self, handle: RecordingHandle, frame: AudioFrame) -> None:
        """The same as `tap_outbound`."""
        self.tap_outbound(handle, frame)

    def reset(self) -> None:  # noqa: B027 - of use to some
        """Forget what no running recording needs; recordings go on."""

    def close(self) -> None:  # noqa: B027 - of use to some
        """Stop every recording, wait for the files (for a bounded time), free the rest."""
