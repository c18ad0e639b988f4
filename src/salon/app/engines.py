"""The speech engines the settings ask for, started if they can be, with the reason if not."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable
from difflib import get_close_matches

from salon.app.house import EngineInfo, Service
from salon.app.metrics import Metrics
from salon.app.settings import Settings
from salon.base import ConfigurationError, SalonError
from salon.core.ports.ai import AIProvider
from salon.gateway.ears import Ears
from salon.gateway.providers import Providers
from salon.gateway.speech_cache import SpeechCache
from salon.gateway.voices import Voices
from salon.providers.house import HouseAgent
from salon.transport.ticker import Ticker
from salon.voice.engine import VoiceEngine
from salon.voice.stt import OpenAISpeechToText, PocketSphinxSpeechToText, SpeechToText
from salon.voice.tts import (
    EspeakTextToSpeech,
    FliteTextToSpeech,
    OpenAITextToSpeech,
    TextToSpeech,
)
from salon.voice.vad import BatchedVad, SileroModel

EMBEDDED_STT_NOTE = "built in, offline; understands English about what the agent can talk about"
EMBEDDED_TTS_NOTE = "built in, offline; speaks English"
HOUSE_NOTE = "rules and look-up, no language model"
NO_VOICE = "speech is switched off (SALON_TTS=none)"
SHOWN_VOICES = 12


class Engines:
    """Builds the `VoiceEngine` and the services that start and stop its parts."""

    def __init__(self, settings: Settings, metrics: Metrics, agent: AIProvider) -> None:
        self._agent = agent
        self._recognizers: dict[str, SpeechToText] = {}
        self._synthesizers: dict[str, TextToSpeech] = {}
        self._missing: dict[str, str] = {}
        self._voice = settings.tts_voice
        self._refusal: ConfigurationError | None = None
        self.ticker = Ticker()
        self.stt = _recognizer(settings)
        self.tts = _synthesizer(settings)
        self.providers = Providers(no_local_voices="" if self.tts is not None else NO_VOICE)
        """What calls may name beside these."""
        self._house = _fingerprint(settings)
        self.vad_note = ""
        hints = agent.speech_hints()
        self.voice = VoiceEngine(
            vad=self._vad(metrics),
            ticker=self.ticker,
            recognizers=self._recognizers,
            synthesizers=self._synthesizers,
            missing=self._missing,
            hints=lambda: hints,
            on_decoder_wait=metrics.decoder_wait,
        )
        if self.stt is None:
            self._missing["recognition"] = "recognition is switched off (SALON_STT=none)"
        if self.tts is None:
            self._missing["synthesis"] = NO_VOICE

    def _vad(self, metrics: Metrics) -> BatchedVad:
        """Without the model every window counts as speech (G286)."""
        try:
            model: SileroModel | None = SileroModel.load()
        except SalonError as error:
            model = None
            self.vad_note = str(error)
        return BatchedVad(model, on_batch=lambda size, _seconds: metrics.vad_batch(size))

    def voices(self, cache: SpeechCache | None = None) -> Voices:
        """What calls speak with; texts that come whole go through `cache`."""
        return Voices(self.voice, self.providers, cache, house=self._house)

    def ears(self) -> Ears:
        """What calls are heard with."""
        return Ears(self.voice, self.providers)

    def services(self) -> tuple[Service, ...]:
        """To be opened together, before anything that listens or speaks."""
        made = [
            Service("media clock", self._start_clock, self._stop_clock),
            Service("speech providers of calls", self._nothing, self.providers.close),
        ]
        stt, tts = self.stt, self.tts
        if stt is not None:
            made.append(
                Service(
                    f"recognition ({stt.name})",
                    lambda: self._start_stt(stt),
                    stt.close,
                    lambda reason: self._missing.__setitem__("recognition", reason),
                )
            )
        if tts is not None:
            made.append(
                Service(
                    f"synthesis ({tts.name})",
                    lambda: self._start_tts(tts),
                    tts.close,
                    self._without_tts,
                )
            )
        return tuple(made)

    async def _nothing(self) -> None:
        """They start when a call needs them."""

    async def _start_clock(self) -> None:
        self.voice.start()

    async def _stop_clock(self) -> None:
        self.voice.stop()

    async def _start_stt(self, engine: SpeechToText) -> None:
        await engine.start()
        await engine.prepare(self.voice.hints())
        self._recognizers.update({"": engine, engine.name: engine})

    async def _start_tts(self, engine: TextToSpeech) -> None:
        await engine.start()
        self._refusal = wrong_voice(self._voice, engine)
        if self._refusal is not None:
            await engine.close()
            raise self._refusal
        self._synthesizers.update({"": engine, engine.name: engine})

    def _without_tts(self, reason: str) -> None:
        """A server may do without an engine that is missing, not without the voice asked for: each
        of its sentences would fail."""
        if self._refusal is not None:
            raise self._refusal
        self._missing["synthesis"] = reason

    def describe(self) -> dict[str, EngineInfo]:
        """What is there, for people."""
        vad_available = self.voice.vad.has_model
        return {
            "recognition": _info(
                self.stt, self._missing.get("recognition"), EMBEDDED_STT_NOTE, "pocketsphinx"
            ),
            "synthesis": _info(
                self.tts, self._missing.get("synthesis"), EMBEDDED_TTS_NOTE, "espeak", "flite"
            ),
            "vad": EngineInfo("silero" if vad_available else "none", vad_available, self.vad_note),
            "model": EngineInfo(
                self._agent.model_name or self._agent.name,
                True,
                self._agent_note(),
            ),
        }

    def _agent_note(self) -> str:
        if isinstance(self._agent, HouseAgent):
            return HOUSE_NOTE
        return "" if self._agent.model_name else "your code"


def register_providers(providers: Providers, where: str) -> None:
    """Call ``module:function`` with the providers, so that it registers its own.
    `ConfigurationError` if there is no such function."""
    module, _, name = where.partition(":")
    try:
        register = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"no speech providers at {where!r}: {error}") from error
    register(providers)


def _fingerprint(settings: Settings) -> str:
    """Stands for what the sound of the server's own voice depends on."""
    parts = [settings.tts, settings.tts_voice, settings.tts_base_url, settings.tts_model]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def wrong_voice(voice: str | None, engine: TextToSpeech) -> ConfigurationError | None:
    """What is to be said if the started engine has no such voice, with the likely one meant."""
    known = engine.voices()
    if voice is None or not known:
        return None
    # eSpeak NG takes a variant behind the voice (en-us+f3), and capitals
    plain = voice.partition("+")[0].lower() if engine.name == "espeak" else voice
    if plain in known:
        return None
    close = get_close_matches(plain.lower(), known, n=1)
    shown = ", ".join(known[:SHOWN_VOICES]) + (", ..." if len(known) > SHOWN_VOICES else "")
    meant = f"did you mean {close[0]}?" if close else f"it has {shown}"
    return ConfigurationError(
        f"SALON_TTS_VOICE={voice!r}: {engine.name} has no such voice; {meant}"
    )


def _info(
    engine: SpeechToText | TextToSpeech | None, missing: str | None, note: str, *embedded: str
) -> EngineInfo:
    name = engine.name if engine is not None else "none"
    if missing is not None:
        return EngineInfo(name, False, missing)
    if name in embedded:
        return EngineInfo(name, True, note, ("en",))
    return EngineInfo(name, True)


def _recognizer(settings: Settings) -> SpeechToText | None:
    made: dict[str, Callable[[], SpeechToText]] = {
        "embedded": lambda: PocketSphinxSpeechToText(workers=settings.recognizer_workers),
        "openai": lambda: OpenAISpeechToText(
            settings.stt_base_url or "", settings.stt_api_key, settings.stt_model
        ),
    }
    build = made.get(settings.stt)
    return build() if build else None


def _synthesizer(settings: Settings) -> TextToSpeech | None:
    made: dict[str, Callable[[], TextToSpeech]] = {
        "espeak": EspeakTextToSpeech,
        "flite": FliteTextToSpeech,
        "openai": lambda: OpenAITextToSpeech(
            settings.tts_base_url or "",
            settings.tts_api_key,
            settings.tts_model,
            settings.tts_voice or "alloy",
        ),
    }
    build = made.get(settings.tts)
    return build() if build else None
