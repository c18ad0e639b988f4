"""Which recogniser a call listens with."""

from __future__ import annotations

from salon.gateway.buffered import BufferedRecognizer
from salon.gateway.options import TranscriptionOption
from salon.gateway.providers import KEYS, Providers
from salon.voice.engine import VoiceEngine
from salon.voice.stt.base import SpeechToText


class Ears:
    """Chooses among the recognisers of a `VoiceEngine` and of `providers`.

    A name means what is registered under it, else the server's own engine of that name, unless the
    call brings keys of its own, else a built-in provider, else the default (G64).
    """

    def __init__(self, engine: VoiceEngine, providers: Providers | None = None) -> None:
        self._engine = engine
        self._providers = providers

    def recognizer(self, option: TranscriptionOption | None) -> SpeechToText:
        """The engine that `option` asks for; None asks for the default. `ConfigurationError` if
        there is none, another `SalonError` if it cannot be used."""
        found = self._chosen(option)
        if option is None or not option.buffer_size:
            return found
        return BufferedRecognizer(found, option.buffer_size)

    def _chosen(self, option: TranscriptionOption | None) -> SpeechToText:
        name = option.provider if option is not None else None
        providers = self._providers
        if option is None or not name or providers is None:
            return self._engine.recognizer(name)
        own = name in self._engine.recognizers and not _brings_keys(option)
        if providers.has_recognizer(name) and (not own or providers.replaces_recognizer(name)):
            return providers.recognizer(option)
        return self._engine.recognizer(name)

    def knows(self, provider: str) -> bool:
        """Whether a provider of this name is to be had; another gets the default (G64)."""
        known = self._providers is not None and self._providers.has_recognizer(provider)
        return known or provider in self._engine.recognizers


def _brings_keys(option: TranscriptionOption) -> bool:
    return any(getattr(option, name) for name in KEYS)
