"""Which voice speaks a text, and how."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

from salon.base import RAISED, ConfigurationError
from salon.gateway.commands import TtsCommand
from salon.gateway.options import SynthesisOption
from salon.gateway.providers import KEYS, Providers
from salon.gateway.speech_cache import SpeechCache, speech_key
from salon.voice.engine import VoiceEngine
from salon.voice.errors import SpeechError
from salon.voice.foreign import failure, is_ours
from salon.voice.tts import remove_emoji
from salon.voice.tts.base import TextToSpeech, VoiceSettings

RAW_SCALE = "rawScale"
_NO_OPTION = SynthesisOption()


@dataclass(frozen=True, slots=True)
class Cached:
    """What `Voices.precache` did. `bytes` is 0 where the sound was there before (G204)."""

    status: Literal["cached", "exists"]
    key: str
    bytes: int


class Voices:
    """Chooses among the voices of a `VoiceEngine` and of `providers`; texts that come whole go
    through `cache`.

    A name means what is registered under it, else the server's own engine of that name, unless the
    call brings keys of its own, else a built-in provider. `house` stands for the settings of the
    server's own voices: with others, what was kept does not count.
    """

    def __init__(
        self,
        engine: VoiceEngine,
        providers: Providers | None = None,
        cache: SpeechCache | None = None,
        *,
        house: str = "",
    ) -> None:
        self._engine = engine
        self._providers = providers
        self._cache = cache
        self._house = house

    def voice(
        self, option: SynthesisOption | None, command: TtsCommand
    ) -> tuple[TextToSpeech, VoiceSettings]:
        """The engine and its settings for `command`; `option` is the call's and the command's in
        one (G292). `ConfigurationError` if there is no such engine (G82), another `SalonError` if
        it cannot be used."""
        engine, lent = self._chosen(option)
        settings = _settings(command, option, engine, lent=lent)
        if self._cache is None or command.streaming:
            return engine, settings
        text = _spoken(command)
        key = self._key(command, option, engine, text, lent=lent)
        return self._cache.voice(engine, key, text), settings

    async def precache(self, command: TtsCommand) -> Cached:
        """Make the speech of `command` ahead (G204). `ConfigurationError` for what cannot be kept
        and who is not known, another `SalonError` if it cannot be made."""
        if self._cache is None:
            raise ConfigurationError("the media cache is switched off")
        if command.base64 or command.streaming:
            raise ConfigurationError("only whole texts are kept, no streaming and no base64")
        text = _spoken(command)
        if not text:
            raise ConfigurationError("there is no text")
        engine, lent = self._chosen(command.option)
        key = self._key(command, command.option, engine, text, lent=lent)
        if await self._cache.files.has(key):
            return Cached("exists", key, 0)
        voice = self._cache.voice(engine, key, text)
        settings = _settings(command, command.option, engine, lent=lent)
        try:
            async with aclosing(voice.speak(text, settings)) as sound:
                async for _ in sound:
                    pass
        except RAISED as error:
            if isinstance(error, SpeechError) or is_ours(error):
                raise
            raise failure(engine.name, error) from error
        if not voice.kept_bytes and not voice.from_cache:
            raise SpeechError(engine.name, "gave no sound that could be kept")
        return Cached("cached", key, voice.kept_bytes)

    def _chosen(self, option: SynthesisOption | None) -> tuple[TextToSpeech, bool]:
        """The engine, and whether it belongs to a provider and not to the server."""
        name = option.provider if option is not None else None
        providers = self._providers
        if option is None or not name or providers is None:
            return self._engine.synthesizer(name), False
        own = name in self._engine.synthesizers and not _brings_keys(option)
        if providers.has_voice(name) and (not own or providers.replaces_voice(name)):
            return providers.voice(option), True
        return self._engine.synthesizer(name), False

    def _key(
        self,
        command: TtsCommand,
        option: SynthesisOption | None,
        engine: TextToSpeech,
        text: str,
        *,
        lent: bool,
    ) -> str:
        if command.cache_key:
            return command.cache_key
        option = option or _NO_OPTION
        speaker = command.speaker or option.speaker
        house = "" if lent else self._house
        return speech_key(option, engine.name, speaker, text, house=house)


def _brings_keys(option: SynthesisOption) -> bool:
    return any(getattr(option, name) for name in KEYS)


def _spoken(command: TtsCommand) -> str:
    """The text as it reaches the engine."""
    return remove_emoji(command.text).strip()


def _settings(
    command: TtsCommand, option: SynthesisOption | None, engine: TextToSpeech, *, lent: bool
) -> VoiceSettings:
    """Numbers within Salon's scale, unless a provider is to get them as they are (G291)."""
    wanted = command.speaker or (option.speaker if option else None)
    known = engine.voices()
    voice = wanted if wanted and (not known or wanted in known) else None
    if option is None:
        return VoiceSettings(voice)
    if lent and (option.extra or {}).get(RAW_SCALE) == "true":
        return VoiceSettings(voice, option.speed, float(option.volume), option.language)
    return VoiceSettings(
        voice,
        min(max(option.speed, 0.5), 2.0),
        float(min(max(option.volume, 0), 10)),
        option.language,
    )
