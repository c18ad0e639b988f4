"""Providers that calls name: registration, keys, endpoints, the pool of engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from salon.base import ConfigurationError, PolicyError, SalonError, UrlPolicy
from salon.gateway import builtin_providers
from salon.gateway.engine_pool import EnginePool, Recipe
from salon.gateway.lent import LentRecognizer, LentVoice
from salon.gateway.options import SynthesisOption, TranscriptionOption
from salon.gateway.providers import Providers
from salon.models.speech import NO_HINTS, SpeechHints
from salon.testing import MockTextToSpeech, VirtualClock, virtual_time
from salon.voice.errors import SpeechError
from salon.voice.stt.base import SpeechToText
from salon.voice.stt.deepgram import DeepgramSTTProvider
from salon.voice.stt.mock import MockSpeechToText
from salon.voice.stt.openai import OpenAISpeechToText
from salon.voice.tts.base import SpeechChunk, TextToSpeech, VoiceSettings
from salon.voice.tts.deepgram import DeepgramTTSProvider
from salon.voice.tts.elevenlabs import ElevenLabsTTSProvider
from salon.voice.tts.espeak import EspeakTextToSpeech
from salon.voice.tts.flite import FliteTextToSpeech
from salon.voice.tts.openai import OpenAITextToSpeech

SECRET = "dg-0123456789abcdef0123456789"


async def spoken(
    engine: TextToSpeech, text: str = "hello", voice: str | None = None
) -> list[SpeechChunk]:
    return [chunk async for chunk in engine.speak(text, VoiceSettings(voice))]


class Counted(MockTextToSpeech):
    """Counts its starts and ends."""

    def __init__(self) -> None:
        super().__init__(name="counted")
        self.starts = self.ends = 0

    async def start(self) -> None:
        self.starts += 1
        await super().start()

    async def close(self) -> None:
        self.ends += 1
        await super().close()


def recipe(name: str, engine: TextToSpeech, digest: str = "") -> Recipe[TextToSpeech]:
    return Recipe(name, digest or name, lambda: engine)


# -- the pool ---------------------------------------------------------------------------------


@virtual_time
async def test_an_engine_is_made_once_and_closed_when_idle() -> None:
    pool: EnginePool[TextToSpeech] = EnginePool(idle=60, clock=VirtualClock())
    engine = Counted()
    voice = LentVoice(pool, recipe("a", engine))
    await asyncio.gather(spoken(voice), spoken(voice))
    assert (engine.starts, engine.ends, len(pool)) == (1, 0, 1)
    await asyncio.sleep(50)
    await spoken(voice)  # used again: it stays
    await asyncio.sleep(50)
    assert engine.ends == 0
    await asyncio.sleep(80)
    assert (engine.starts, engine.ends, len(pool)) == (1, 1, 0)
    await pool.close()


@virtual_time
async def test_a_full_pool_closes_what_is_idle_and_refuses_when_all_are_in_use() -> None:
    pool: EnginePool[TextToSpeech] = EnginePool(most=2, clock=VirtualClock())
    first, second, third = Counted(), Counted(), Counted()
    await spoken(LentVoice(pool, recipe("a", first)))
    await asyncio.sleep(1)
    async with pool.use(recipe("b", second)), pool.use(recipe("c", third)):
        assert (first.ends, second.ends, len(pool)) == (1, 0, 2)
        with pytest.raises(SpeechError, match="2 other accounts are in use"):
            async with pool.use(recipe("d", Counted())):
                pass
    await pool.close()
    assert (second.ends, third.ends, len(pool)) == (1, 1, 0)
    with pytest.raises(SpeechError, match="closing"):
        async with pool.use(recipe("a", first)):
            pass
    with pytest.raises(SpeechError, match="closing"):
        _ = pool.scope
    await pool.close()


@virtual_time
async def test_an_engine_that_does_not_start_is_tried_again() -> None:
    class Broken(Counted):
        error: BaseException | None = ValueError("no such model")

        async def start(self) -> None:
            await super().start()
            if self.error is not None:
                raise self.error

    pool: EnginePool[TextToSpeech] = EnginePool(clock=VirtualClock())
    engine = Broken()
    voice = LentVoice(pool, recipe("broken", engine))
    with pytest.raises(SpeechError, match="broken: ValueError: no such model"):
        await spoken(voice)
    engine.error = ConfigurationError("not installed")
    with pytest.raises(ConfigurationError):
        await spoken(voice)
    assert (engine.ends, len(pool)) == (2, 0)
    engine.error = None
    assert await spoken(voice)
    await pool.close()


@virtual_time
async def test_a_user_that_leaves_while_the_engine_starts_leaves_nothing_behind() -> None:
    class Slow(Counted):
        async def start(self) -> None:
            await asyncio.sleep(5)

    pool: EnginePool[TextToSpeech] = EnginePool(clock=VirtualClock())
    engine = Slow()
    task = asyncio.ensure_future(spoken(LentVoice(pool, recipe("slow", engine))))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    assert (engine.ends, len(pool)) == (1, 0)

    late = asyncio.ensure_future(spoken(LentVoice(pool, recipe("slow", engine))))
    await asyncio.sleep(1)
    await pool.close()
    with pytest.raises(SpeechError, match="closing"):
        await late
    assert engine.ends == 2


@virtual_time
async def test_a_speaker_the_engine_does_not_know_is_left_to_it() -> None:
    class Named(MockTextToSpeech):
        def voices(self) -> tuple[str, ...]:
            return ("ann",)

    pool: EnginePool[TextToSpeech] = EnginePool(clock=VirtualClock())
    engine = Named()
    voice = LentVoice(pool, recipe("named", engine))
    await spoken(voice, voice="ann")
    await spoken(voice, voice="101001")
    assert [settings.voice for _, settings in engine.spoken] == ["ann", None]
    await pool.close()


# -- recognisers ------------------------------------------------------------------------------


class SlowEars(MockSpeechToText):
    async def start(self) -> None:
        await asyncio.sleep(1)
        await super().start()


@virtual_time
async def test_sound_waits_for_the_recogniser_to_start() -> None:
    pool: EnginePool[SpeechToText] = EnginePool(clock=VirtualClock())
    engine = SlowEars(["what was said"])
    lent = LentRecognizer(pool, Recipe("slow", "", lambda: engine))
    partials: list[str] = []
    hints = SpeechHints(phrases=("Salon",))
    utterance = lent.recognize(hints, on_partial=lambda t: partials.append(t.text), language="en")
    utterance.push(np.ones(320, dtype=np.int16))
    utterance.push(np.zeros(0, dtype=np.int16))
    await asyncio.sleep(2)
    utterance.push(np.full(160, 2, dtype=np.int16))
    assert (await utterance.finish()).text == "what was said"
    utterance.push(np.ones(10, dtype=np.int16))
    (heard,) = engine.heard
    assert [len(chunk) for chunk in heard.chunks] == [320, 160]
    assert (heard.hints, heard.language) == (hints, "en")
    assert partials == ["what", "what was"]
    utterance.cancel()
    await pool.close()


@virtual_time
async def test_what_waits_for_a_recogniser_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salon.gateway.lent.MAX_WAITING", 500)
    pool: EnginePool[SpeechToText] = EnginePool(clock=VirtualClock())
    engine = SlowEars(["x"])
    lent = LentRecognizer(pool, Recipe("slow", "", lambda: engine))
    utterance = lent.recognize()
    for _ in range(3):
        utterance.push(np.ones(300, dtype=np.int16))
    assert lent.dropped_samples == 400
    await utterance.finish()
    assert sum(len(chunk) for chunk in engine.heard[0].chunks) == 500
    await pool.close()


@virtual_time
async def test_a_recogniser_that_fails_fails_the_utterance() -> None:
    pool: EnginePool[SpeechToText] = EnginePool(clock=VirtualClock())
    broken = MockSpeechToText(
        [SpeechError("mock", "line lost"), RuntimeError("odd"), ConfigurationError(f"key={SECRET}")]
    )
    lent = LentRecognizer(pool, Recipe("broken", "", lambda: broken))
    with pytest.raises(SpeechError, match="line lost"):
        await lent.recognize().finish()
    with pytest.raises(SpeechError, match="broken: RuntimeError: odd"):
        await lent.recognize().finish()
    with pytest.raises(SpeechError, match="broken: ConfigurationError") as told:
        await lent.recognize().finish()
    assert SECRET not in str(told.value)
    await pool.close()
    with pytest.raises(SpeechError, match="closing"):
        lent.recognize()


@virtual_time
async def test_an_utterance_that_is_given_up_frees_its_recogniser() -> None:
    pool: EnginePool[SpeechToText] = EnginePool(clock=VirtualClock())
    engine = MockSpeechToText(["never"])
    lent = LentRecognizer(pool, Recipe("a", "", lambda: engine))
    utterance = lent.recognize(NO_HINTS)
    await asyncio.sleep(1)
    utterance.cancel()
    utterance.cancel()
    with pytest.raises(SpeechError, match="given up"):
        await utterance.finish()
    waiting = lent.recognize()
    await asyncio.sleep(1)
    await pool.close()
    with pytest.raises(SpeechError):
        await waiting.finish()
    assert not engine.running


@virtual_time
async def test_who_waits_for_a_text_may_be_cancelled() -> None:
    pool: EnginePool[SpeechToText] = EnginePool(clock=VirtualClock())
    lent = LentRecognizer(pool, Recipe("slow", "", lambda: SlowEars(["x"])))
    utterance = lent.recognize()
    task = asyncio.ensure_future(utterance.finish())
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(pool.scope) == 0 or not len(pool)
    await pool.close()


# -- names and keys ---------------------------------------------------------------------------


def option(provider: str, **fields: object) -> SynthesisOption:
    return SynthesisOption(provider=provider, **fields)  # type: ignore[arg-type]


def listening(provider: str, **fields: object) -> TranscriptionOption:
    return TranscriptionOption(provider=provider, **fields)  # type: ignore[arg-type]


def made(providers: Providers, wanted: SynthesisOption) -> TextToSpeech:
    """The engine itself, not started."""
    voice = providers.voice(wanted)
    assert isinstance(voice, LentVoice)
    return voice._recipe.make()


def heard_by(providers: Providers, wanted: TranscriptionOption) -> SpeechToText:
    found = providers.recognizer(wanted)
    assert isinstance(found, LentRecognizer)
    return found._recipe.make()


@virtual_time
async def test_G293_names_are_registered_and_matched_exactly() -> None:
    providers = Providers(environ=dict, clock=VirtualClock())
    asked: list[SynthesisOption] = []

    def make(wanted: SynthesisOption) -> TextToSpeech:
        asked.append(wanted)
        return MockTextToSpeech()

    providers.register_voice("acme", make)
    providers.register_recognizer("acme", lambda _: MockSpeechToText(["heard"]))
    assert providers.has_voice("acme")
    assert not providers.has_voice("Acme")
    assert providers.has_recognizer("acme")
    assert not providers.has_recognizer("ACME")
    assert providers.replaces_voice("acme")
    assert not providers.replaces_voice("deepgram")
    assert providers.replaces_recognizer("acme")
    assert not providers.replaces_recognizer("openai")
    voice = providers.voice(option("acme", emotion="happy", speaker="ann"))
    assert voice.name == "acme"
    assert await spoken(voice)
    assert [wanted.emotion for wanted in asked] == ["happy"]
    found = providers.recognizer(listening("acme"))
    assert (found.name, (await found.recognize().finish()).text) == ("acme", "heard")
    for name in ("Acme", "tencent", "aliyun", "sensevoice", "supertonic", ""):
        with pytest.raises(ConfigurationError, match=f"TTS type not found: {name}"):
            providers.voice(option(name))
        with pytest.raises(ConfigurationError, match=f"ASR type not found: {name}"):
            providers.recognizer(listening(name))
    with pytest.raises(ConfigurationError):
        providers.register_voice("", make)
    await providers.close()


async def test_G293_a_built_in_name_can_be_replaced() -> None:
    providers = Providers(environ=dict)
    mine = MockTextToSpeech()
    providers.register_voice("deepgram", lambda _: mine)
    assert made(providers, option("deepgram")) is mine


async def test_G294_keys_of_the_call_win_and_the_environment_is_read_per_call() -> None:
    environ: dict[str, str] = {}
    providers = Providers(environ=lambda: environ)
    with pytest.raises(SpeechError, match="neither secretKey nor DEEPGRAM_API_KEY"):
        providers.voice(option("deepgram"))
    environ["DEEPGRAM_API_KEY"] = "from-outside"
    by_environment = made(providers, option("deepgram"))
    by_call = made(providers, option("deepgram", secret_key=SECRET))
    assert isinstance(by_environment, DeepgramTTSProvider)
    assert isinstance(by_call, DeepgramTTSProvider)
    assert by_environment.config.api_key == "from-outside"
    assert by_call.config.api_key == SECRET


async def test_G290_engines_have_the_models_that_are_asked_for() -> None:
    providers = Providers(environ=dict)
    voice = made(providers, option("deepgram", secret_key=SECRET, samplerate=8000))
    assert isinstance(voice, DeepgramTTSProvider)
    assert voice.config.sample_rate == 8000
    ears = heard_by(
        providers,
        listening("deepgram", secret_key=SECRET, language="auto", extra={"tier": "nova"}),
    )
    assert isinstance(ears, DeepgramSTTProvider)
    query = ears.config.utterance_query("auto", NO_HINTS, True)
    assert ("model", "nova-3") in query
    assert ("tier", "nova") in query
    assert not [name for name, _ in query if name == "language"]
    ears = heard_by(
        providers,
        listening(
            "deepgram",
            secret_key=SECRET,
            model_type="nova-2",
            language="de",
            extra={"model": "mine"},
            endpoint="wss://ears.example.com",
        ),
    )
    assert isinstance(ears, DeepgramSTTProvider)
    query = ears.config.utterance_query("de", NO_HINTS, False)
    assert [value for name, value in query if name == "model"] == ["mine"]
    assert ("language", "de") in query
    assert ears.config.base_url == "https://ears.example.com"
    assert isinstance(
        heard_by(providers, listening("openai", secret_key=SECRET)), OpenAISpeechToText
    )
    assert isinstance(made(providers, option("openai", secret_key=SECRET)), OpenAITextToSpeech)
    assert isinstance(
        made(providers, option("elevenlabs", secret_key=SECRET)), ElevenLabsTTSProvider
    )
    assert isinstance(made(providers, option("espeak")), EspeakTextToSpeech)
    assert isinstance(made(providers, option("flite")), FliteTextToSpeech)


async def test_G82_voices_of_this_machine_may_be_switched_off() -> None:
    providers = Providers(environ=dict, no_local_voices="speech is switched off")
    for name in ("espeak", "flite"):
        with pytest.raises(ConfigurationError, match=f"TTS type not found: {name}: speech is "):
            providers.voice(option(name))
    assert isinstance(made(providers, option("openai", secret_key=SECRET)), OpenAITextToSpeech)
    providers.register_voice("espeak", lambda _: MockTextToSpeech())
    assert isinstance(made(providers, option("espeak")), MockTextToSpeech)


@pytest.mark.parametrize(
    ("codec", "samplerate", "expected"),
    [
        ("pcm", 48_000, ("linear16", 48_000)),
        ("pcmu", 8000, ("mulaw", 8000)),
        ("PCMA", 16_000, ("alaw", 16_000)),
        ("pcmu", 48_000, ("mulaw", 16_000)),  # no such rate: as without
        ("mp3", 8000, ("linear16", 8000)),
    ],
)
async def test_G290_codec_is_what_deepgram_is_asked_for(
    codec: str, samplerate: int, expected: tuple[str, int]
) -> None:
    providers = Providers(environ=dict)
    wanted = option("deepgram", secret_key=SECRET, codec=codec, samplerate=samplerate)
    voice = made(providers, wanted)
    assert isinstance(voice, DeepgramTTSProvider)
    assert (voice.config.encoding, voice.config.sample_rate) == expected


async def test_G290_the_model_of_deepgram_wins_over_the_speaker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[tuple[str, VoiceSettings]] = []

    class Aura(DeepgramTTSProvider):
        async def start(self) -> None: ...

        async def speak(  # type: ignore[override]
            self, text: str, settings: VoiceSettings
        ) -> AsyncIterator[SpeechChunk]:
            said.append((self.config.model, settings))
            yield SpeechChunk(np.ones(320, dtype=np.int16))

    monkeypatch.setattr("salon.voice.tts.deepgram.DeepgramTTSProvider", Aura)
    providers = Providers(environ=dict)
    for wanted in (
        option("deepgram", secret_key="k"),
        option("deepgram", secret_key="k", model="m"),
    ):
        await spoken(providers.voice(wanted), voice="aura-2-zeus-en")
    assert [(model, settings.voice) for model, settings in said] == [
        ("aura-2-thalia-en", "aura-2-zeus-en"),
        ("m", None),
    ]
    await providers.close()


async def test_a_key_of_the_server_goes_to_no_endpoint_of_a_call() -> None:
    providers = Providers(environ=lambda: {"OPENAI_API_KEY": "house"})
    with pytest.raises(SpeechError, match="needs a secretKey of its own"):
        providers.voice(option("openai", endpoint="https://collector.example.com"))
    with pytest.raises(SpeechError, match="needs a secretKey of its own"):
        providers.recognizer(listening("openai", endpoint="https://collector.example.com"))


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://speech.example.com",
        "ws://speech.example.com",
        "https://127.0.0.1/v1",
        "https://localhost",
        "https://me:secret@speech.example.com",
        "file:///etc/passwd",
        "nothing",
    ],
)
async def test_endpoints_of_calls_are_public_and_encrypted(endpoint: str) -> None:
    with pytest.raises(PolicyError):
        Providers(environ=dict).voice(option("openai", secret_key="k", endpoint=endpoint))


async def test_the_operator_may_allow_hosts() -> None:
    policy = UrlPolicy(allowed_hosts=frozenset({"speech.local"}))
    providers = Providers(policy=policy, environ=dict)
    voice = made(
        providers, option("deepgram", secret_key="k", endpoint="ws://speech.local:81", model="m")
    )
    assert isinstance(voice, builtin_providers._OneVoice)
    assert voice._engine.config.base_url == "http://speech.local:81"


async def test_the_address_of_an_endpoint_is_checked_before_it_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def private(*_args: object, **_options: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", ("10.0.0.7", 0))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", private)
    providers = Providers(environ=dict)
    voice = providers.voice(option("openai", secret_key="k", endpoint="https://inner.example.com"))
    with pytest.raises(PolicyError, match="private"):
        await spoken(voice)
    await providers.close()


async def test_one_engine_per_account_and_no_key_is_shown() -> None:
    providers = Providers(environ=dict)
    one = providers.voice(option("openai", secret_key=SECRET, speaker="alloy", speed=1.5))
    same = providers.voice(option("openai", secret_key=SECRET, speaker="nova", volume=9))
    other = providers.voice(option("openai", secret_key=SECRET + "x"))
    model = providers.voice(option("openai", secret_key=SECRET, model="tts-2"))
    assert one == same
    assert hash(one) == hash(same)
    assert len({one, same, other, model}) == 3
    assert not one.__eq__(None)
    assert isinstance(one, LentVoice)
    assert SECRET not in repr(one._recipe) + repr(one)
    assert (
        one._recipe.digest
        != LentVoice(
            one._pool,
            Providers(environ=dict).voice(option("openai", secret_key=SECRET))._recipe,  # type: ignore[attr-defined]
        )._recipe.digest
    )
    flite = providers.voice(option("flite", extra={"a": "1"}))
    assert flite == providers.voice(option("flite", extra={"a": "2"}))


async def test_what_a_factory_raises_is_a_failure_of_the_provider() -> None:
    def broken(_option: SynthesisOption) -> TextToSpeech:
        raise KeyError("voice")

    providers = Providers(environ=dict)
    providers.register_voice("broken", broken)
    with pytest.raises(SalonError, match="broken: KeyError"):
        await spoken(providers.voice(option("broken")))
    await providers.close()
