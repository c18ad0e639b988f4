"""The synthesis contract user code writes against; `TextToSpeech` is the engine's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

from salon.media.frame import AudioChunk
from salon.voice.tts.context import TTSContext, TTSContextLevel

if TYPE_CHECKING:
    from salon.models.content import AudioContent
    from salon.voice.voices import DialogueTurn, VoiceInfo

__all__ = ["TTSProvider"]


class TTSProvider(ABC):
    """Turns text into sound. One provider serves all sessions at once.

    `synthesize` is enough; a provider that streams overrides `synthesize_stream`, one that takes
    text piece by piece `supports_streaming_input` and `synthesize_stream_input` too. `context` is
    None unless `context_level` asks for one (V238).
    """

    @property
    def name(self) -> str:
        """Names the provider in events, errors and logs."""
        return type(self).__name__

    @property
    def default_voice(self) -> str | None:
        """The voice used where none is asked for, if it has a name."""
        return None

    @property
    def supports_streaming_input(self) -> bool:
        """Whether text may come piece by piece."""
        return False

    @property
    def context_level(self) -> TTSContextLevel:
        """How much of the conversation the calls want to know (V237)."""
        return TTSContextLevel.NONE

    @property
    def max_dialogue_speakers(self) -> int:
        """Speakers in one dialogue; 0 makes none (V237)."""
        return 0

    @classmethod
    def available_voices(cls) -> list[VoiceInfo]:
        """Voices known without asking the service."""
        return []

    async def list_voices(
        self,
        *,
        language: str | None = None,
        gender: str | None = None,
        query: str | None = None,
    ) -> list[VoiceInfo]:
        """Voices there are, filtered as `filter_voices` does (V248)."""
        from salon.voice.voices import filter_voices

        return filter_voices(self.available_voices(), language=language, gender=gender, query=query)

    @abstractmethod
    async def synthesize(self, text: str, *, voice: str | None = None) -> AudioContent:
        """The whole sound of `text`."""

    def synthesize_stream(
        self, text: str, *, voice: str | None = None, context: TTSContext | None = None
    ) -> AsyncIterator[AudioChunk]:
        """The sound of `text` as it is made; the last chunk is final. `NotImplementedError` if
        the provider does not stream."""
        raise NotImplementedError(f"{self.name} does not stream; use synthesize()")

    def synthesize_stream_input(
        self,
        text_stream: AsyncIterator[str],
        *,
        voice: str | None = None,
        context: TTSContext | None = None,
    ) -> AsyncIterator[AudioChunk]:
        """The sound of a text that is still being written. `NotImplementedError` without
        `supports_streaming_input`."""
        raise NotImplementedError(f"{self.name} takes no streamed text")

    async def synthesize_dialogue(
        self, turns: Sequence[DialogueTurn], voices: Mapping[str, str]
    ) -> AudioContent:
        """Several speakers in one recording; `voices` names each speaker's. See `check_dialogue`
        for what is refused before anything is made (V249)."""
        raise NotImplementedError(f"{self.name} makes no dialogues")

    def release_context(self, context_id: str) -> None:  # noqa: B027 - optional to override
        """The session with this context is over; forget it (V238)."""

    async def warmup(self) -> None:  # noqa: B027 - optional to override
        """Load what the first piece would have to wait for."""

    async def close(self) -> None:  # noqa: B027 - optional to override
        """Free everything."""
