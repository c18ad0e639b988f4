"""Voices made to order: designed from a description, or after a person who consents (V250)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from salon.base import SalonError
from salon.models.content import AudioContent
from salon.voice.voices import VoiceInfo

VoiceAudio = AudioContent | bytes | Path
"""A recording: as content, as the bytes of a sound file, or as its path."""


class VoiceConsentError(SalonError):
    """The service did not take the recording for the speaker's consent."""

    code = "voice_consent"


class CustomVoice(BaseModel):
    """A voice that was made. `stored` tells whether the service keeps it, until `expires_at` if
    that is known; `sample` is how it sounds."""

    voice: VoiceInfo
    stored: bool
    expires_at: datetime | None = None
    sample: AudioContent | None = None


class VoiceLibrary(ABC):
    """A service's custom voices. Recordings are sent on and kept nowhere (V250)."""

    @property
    def name(self) -> str:
        """Names the library in errors and logs."""
        return type(self).__name__

    @property
    def supports_design(self) -> bool:
        """Whether `design_voice` works."""
        return False

    @property
    def supports_replication(self) -> bool:
        """Whether `replicate_voice` works."""
        return False

    async def design_voice(
        self, description: str, *, store: bool = True, name: str | None = None
    ) -> CustomVoice:
        """A new voice as described. `NotImplementedError` without `supports_design`."""
        raise NotImplementedError(f"{self.name} designs no voices")

    async def replicate_voice(
        self,
        sample: VoiceAudio,
        consent: VoiceAudio,
        *,
        store: bool = True,
        name: str | None = None,
    ) -> CustomVoice:
        """The voice of `sample`, whose speaker agrees in `consent`. `VoiceConsentError` if that
        is refused, `NotImplementedError` without `supports_replication`."""
        raise NotImplementedError(f"{self.name} replicates no voices")

    @abstractmethod
    async def get_voice(self, voice_id: str) -> CustomVoice | None:
        """A stored voice; None if there is none of that id."""

    @abstractmethod
    async def delete_voice(self, voice_id: str) -> None:
        """Delete a stored voice."""

    async def close(self) -> None:  # noqa: B027 - optional to override
        """Free everything."""
