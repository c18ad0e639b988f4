"""Speech services a call names in its options (G64, G65, G290-G295): built-in ones, with the keys
of the call or of the environment, and those registered under a name."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from salon.base import SYSTEM_CLOCK, Clock, ConfigurationError, PolicyError, UrlPolicy
from salon.gateway.builtin_providers import RECOGNIZERS, VOICES, Builtin, O
from salon.gateway.engine_pool import IDLE_S, MOST_ENGINES, E, EnginePool, Recipe
from salon.gateway.lent import LentRecognizer, LentVoice
from salon.gateway.options import SynthesisOption, TranscriptionOption
from salon.transport.addresses import resolve_checked
from salon.voice.errors import SpeechError
from salon.voice.stt.base import SpeechToText
from salon.voice.tts.base import TextToSpeech

VoiceFactory = Callable[[SynthesisOption], TextToSpeech]
"""Makes a voice for what a call asks for; speaker, speed, volume and language come with each piece
instead."""
RecognizerFactory = Callable[[TranscriptionOption], SpeechToText]

KEYS: Final = frozenset({"app_id", "secret_id", "secret_key", "endpoint"})
_PER_PIECE: Final = frozenset(
    {"speaker", "speed", "volume", "language", "max_concurrent_tasks", "session_id", "subtitle"}
)
_PER_CALL: Final = frozenset({"start_when_answer", "buffer_size", "samplerate"})


class Providers:
    """The speech services of a process, by name; names are case-sensitive (G293).

    Keys of a call win over those of the environment, which is read for each call (G294); those of
    the environment go to no `endpoint` that a call names. Such an endpoint must be https, and
    public, unless `policy` says otherwise. Engines are shared by calls with the same keys, `most`
    at once, closed after `idle` seconds without use. `no_local_voices` says why the built-in voices
    that are programs of this machine are not to be had, if they are not.
    """

    def __init__(
        self,
        *,
        policy: UrlPolicy | None = None,
        no_local_voices: str = "",
        environ: Callable[[], Mapping[str, str]] = lambda: os.environ,
        most: int = MOST_ENGINES,
        idle: float = IDLE_S,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._policy = policy or UrlPolicy()
        self._no_local_voices = no_local_voices
        self._environ = environ
        self._voice_factories: dict[str, VoiceFactory] = {}
        self._recognizer_factories: dict[str, RecognizerFactory] = {}
        self._voices: EnginePool[TextToSpeech] = EnginePool(most=most, idle=idle, clock=clock)
        self._recognizers: EnginePool[SpeechToText] = EnginePool(most=most, idle=idle, clock=clock)
        self._salt = secrets.token_bytes(16)

    # -- names ------------------------------------------------------------------------------------

    def register_voice(self, name: str, factory: VoiceFactory) -> None:
        """Calls that name this provider get what `factory` makes; replaces a built-in one. Whether
        an `endpoint` of the option may be connected to is the factory's to say."""
        self._voice_factories[_named(name)] = factory

    def register_recognizer(self, name: str, factory: RecognizerFactory) -> None:
        """The same for recognition."""
        self._recognizer_factories[_named(name)] = factory

    def replaces_voice(self, name: str) -> bool:
        """A voice of this name is registered."""
        return name in self._voice_factories

    def replaces_recognizer(self, name: str) -> bool:
        """A recogniser of this name is registered."""
        return name in self._recognizer_factories

    def has_voice(self, name: str) -> bool:
        """A voice of this name is registered or built in."""
        return name in self._voice_factories or name in VOICES

    def has_recognizer(self, name: str) -> bool:
        """A recogniser of this name is registered or built in."""
        return name in self._recognizer_factories or name in RECOGNIZERS

    # -- engines ----------------------------------------------------------------------------------

    def voice(self, option: SynthesisOption) -> TextToSpeech:
        """What speaks for `option.provider`; it starts with its first piece. `ConfigurationError`
        for an unknown name (G82), `SpeechError` or `PolicyError` for what makes it unusable."""
        name = option.provider or ""
        factory = self._voice_factories.get(name)
        if factory is not None:
            recipe = Recipe(name, self._digest(option, _PER_PIECE), lambda: factory(option))
        elif name in VOICES:
            if self._no_local_voices and not VOICES[name].key_name:
                raise ConfigurationError(f"TTS type not found: {name}: {self._no_local_voices}")
            recipe = self._recipe(name, option, VOICES[name], _PER_PIECE)
        else:
            raise ConfigurationError(f"TTS type not found: {name}")
        return LentVoice(self._voices, recipe)

    def recognizer(self, option: TranscriptionOption) -> SpeechToText:
        """What recognises for `option.provider`; it starts with its first utterance. Raises as
        `voice`."""
        name = option.provider or ""
        factory = self._recognizer_factories.get(name)
        if factory is not None:
            recipe = Recipe(name, self._digest(option, _PER_CALL), lambda: factory(option))
        elif name in RECOGNIZERS:
            recipe = self._recipe(name, option, RECOGNIZERS[name], _PER_CALL)
        else:
            raise ConfigurationError(f"ASR type not found: {name}")
        return LentRecognizer(self._recognizers, recipe)

    async def close(self) -> None:
        """Close all engines. Idempotent."""
        await self._voices.close()
        await self._recognizers.close()

    def _recipe(
        self, name: str, option: O, builtin: Builtin[O, E], left_out: frozenset[str]
    ) -> Recipe[E]:
        if not builtin.key_name:  # a program on this machine, one for all calls
            return Recipe(name, "", lambda: builtin.make(option))
        changes: dict[str, Any] = {"secret_key": self._key(name, option, builtin.key_name)}
        endpoint = self._endpoint(option.endpoint) if option.endpoint else None
        changes["endpoint"] = endpoint
        complete = option.model_copy(update=changes)

        async def check() -> None:
            if endpoint:
                await resolve_checked(self._policy, endpoint)

        return Recipe(name, self._digest(complete, left_out), lambda: builtin.make(complete), check)

    def _key(self, name: str, option: SynthesisOption | TranscriptionOption, variable: str) -> str:
        if option.secret_key:
            return option.secret_key
        if option.endpoint:
            raise SpeechError(name, "an endpoint of the call's own needs a secretKey of its own")
        if key := self._environ().get(variable):
            return key
        raise SpeechError(name, f"there is no key: neither secretKey nor {variable} is given")

    def _endpoint(self, given: str) -> str:
        """As the engines take it."""
        for socket, plain in (("wss://", "https://"), ("ws://", "http://")):
            given = given.replace(socket, plain, 1) if given.startswith(socket) else given
        self._policy.check(given)
        parts = urlsplit(given)
        if parts.scheme != "https" and not (
            self._policy.allow_private or parts.hostname in self._policy.allowed_hosts
        ):
            # the certificate is what binds the name to the address that was checked
            raise PolicyError("the endpoint of a speech service must be https")
        return given

    def _digest(self, option: O, left_out: frozenset[str]) -> str:
        """Stands for everything of the option an engine is made of; of use in this process only."""
        parts = option.model_dump(exclude=set(left_out))
        text = json.dumps(parts, sort_keys=True).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._salt, digest_size=16).hexdigest()


def _named(name: str) -> str:
    if not name:
        raise ConfigurationError("a provider is registered under a name")
    return name
