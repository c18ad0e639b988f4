"""Engines, caches and sounds of a call: G62, G64, G65, G80, G116, G141-G143, G204, G219, G290-G295;
T37, T41, T42, T44, T57, T58."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conformance.gateway.house import House, house, server

from salon.base import SalonError
from salon.gateway.commands import TtsCommand, parse_command
from salon.gateway.ears import Ears
from salon.gateway.options import SynthesisOption, TranscriptionOption
from salon.gateway.providers import Providers
from salon.gateway.sound_cache import SoundCache
from salon.gateway.sound_files import SoundFiles
from salon.gateway.sounds import SoundLoader
from salon.gateway.speech_cache import SpeechCache
from salon.gateway.voices import Voices
from salon.media import make_codec, write_wav
from salon.media.frame import SAMPLE_RATE, Samples
from salon.testing import CallPair, MockTextToSpeech, silence, tone, virtual_time
from salon.voice.stt.base import SpeechToText
from salon.voice.stt.mock import MockSpeechToText
from salon.voice.tts.base import TextToSpeech

SECRET = "dg-0123456789abcdef0123456789"


def tts(text: str = "ten words", **fields: Any) -> dict[str, Any]:
    return {"command": "tts", "text": text, **fields}


@dataclass(slots=True)
class Equipped:
    """A gateway with providers and caches."""

    at: House
    providers: Providers
    voices: Voices
    other: MockTextToSpeech
    """What is registered as "other"."""


@asynccontextmanager
async def equipped(
    folder: Path | None = None, environ: Mapping[str, str] | None = None, **parts: Any
) -> AsyncIterator[Equipped]:
    providers = Providers(environ=lambda: environ or {})
    other = MockTextToSpeech(name="the engine's own name", frequency=880.0)
    providers.register_voice("other", lambda _option: other)
    async with house(**parts) as at:
        services = at.gateway.services
        cache = SpeechCache(SoundFiles(folder, 10_000_000)) if folder is not None else None
        services.voices = Voices(at.engine, providers, cache)
        services.ears = Ears(at.engine, providers)
        try:
            yield Equipped(at, providers, services.voices, other)
        finally:
            await providers.close()


def pitch(samples: Samples) -> float:
    """The strongest frequency."""
    heard = samples[np.abs(samples) > 0]
    spectrum = np.abs(np.fft.rfft(samples.astype(float)))
    assert len(heard)
    return float(np.argmax(spectrum) * SAMPLE_RATE / len(samples))


# -- which voice ------------------------------------------------------------------------------


@virtual_time
async def test_T37_a_provider_for_one_track_only() -> None:
    async with equipped() as house_:
        call = await house_.at.call(tts={"provider": "mock"})
        for play_id, option in (("a", {"provider": "other"}), ("b", None)):
            call.send(tts(play_id, playId=play_id, option=option))
            await call.expect("trackEnd", playId=play_id)
        assert [text for text, _ in house_.other.spoken] == ["a"]
        assert [text for text, _ in house_.at.voice.spoken] == ["b"]
        keys = [event["key"] for event in call.of("metrics")]
        assert keys == ["completed.tts.other", "completed.tts.mock"]


@virtual_time
async def test_T37_two_voices_join_in_one_track() -> None:
    async with equipped() as house_:
        call = await house_.at.call()
        call.send(tts("first voice", playId="p"))
        call.send(tts("second voice", playId="p", option={"provider": "other"}))
        await call.expect("trackEnd", playId="p")
        assert server(call) == [("trackStart", "p"), ("trackEnd", "p")]
        assert len(house_.at.voice.spoken) == len(house_.other.spoken) == 1


@virtual_time
async def test_G75_text_in_pieces_stays_one_text_with_a_provider() -> None:
    async with equipped() as house_:
        call = await house_.at.call(tts={"provider": "other"})
        for piece in ("The weather is ", "fine today", ". Bye."):
            call.send(tts(piece, playId="p", streaming=True))
        call.send(tts("", playId="p", streaming=True, endOfStream=True))
        await call.expect("trackEnd", playId="p")
        said = [text for text, _ in house_.other.spoken]
        assert said == ["The weather is fine today.", "Bye."]


@virtual_time
async def test_G82_an_unknown_provider_is_an_error_of_the_command() -> None:
    async with equipped() as house_:
        call = await house_.at.call()
        call.send(tts("first words of a text", playId="p"))
        await call.expect("trackStart", playId="p")
        call.send(tts(option={"provider": "Other"}, playId="q"))  # G293: not "other"
        error = await call.expect("error")
        assert (error["sender"], error["error"]) == ("command", "TTS type not found: Other")
        await call.expect("trackEnd", playId="p")
        assert not call.of("interruption")


@virtual_time
async def test_G82_a_provider_without_a_key_cannot_start() -> None:
    async with equipped() as house_:
        call = await house_.at.call()
        call.send(tts(option={"provider": "deepgram"}, playId="p"))
        await call.expect("trackEnd", playId="p")
        (error,) = call.of("error")
        assert (error["sender"], error["trackId"]) == ("tts", "server-side-track")
        assert "DEEPGRAM_API_KEY" in error["error"]


@virtual_time
async def test_G143_a_factory_gets_what_was_asked_for() -> None:
    asked: list[SynthesisOption] = []

    def make(option: SynthesisOption) -> TextToSpeech:
        asked.append(option)
        return MockTextToSpeech()

    async with equipped() as house_:
        house_.providers.register_voice("acme", make)
        call = await house_.at.call(tts={"provider": "acme", "samplerate": 8000, "apiKey": SECRET})
        for number, model in enumerate(("m1", "m2", "m1")):
            option = {"model": model, "speaker": f"speaker {number}"}
            call.send(tts(playId=str(number), option=option))
            await call.expect("trackEnd", playId=str(number))
        assert [(option.model, option.samplerate) for option in asked] == [
            ("m1", 8000),
            ("m2", 8000),
        ]
        assert {option.secret_key for option in asked} == {SECRET}


@virtual_time
async def test_G294_no_key_is_told_to_anybody() -> None:
    class Angry(MockTextToSpeech):
        async def start(self) -> None:
            raise SalonError(f"401 for Authorization: Bearer {SECRET}")

    async with equipped() as house_:
        house_.providers.register_voice("angry", lambda _: Angry())
        call = await house_.at.call(
            tts={"provider": "angry", "secretKey": SECRET},
            asr={"provider": "deepgram", "secretKey": SECRET},
        )
        call.send(tts(playId="p"))
        await call.expect("trackEnd", playId="p")
        assert SECRET not in str(call.events)
        assert SECRET not in str(list(house_.at.gateway.list_calls()))


# -- who listens ------------------------------------------------------------------------------


async def says(call: CallPair, *, ms: int = 800, pause: int = 1200) -> None:
    await call.send_audio(np.concatenate((silence(200), tone(ms), silence(pause))))


@virtual_time
async def test_G64_an_unknown_provider_is_told_and_replaced() -> None:
    async with equipped() as house_:
        call = await house_.at.call(asr={"provider": "tencent"}, vad={})
        (error,) = call.of("error")
        assert error["sender"] == "asr"
        assert "'tencent' is not known, mock is used" in error["error"]
        await says(call)
        assert (await call.expect("asrFinal"))["text"] == "first words"


@virtual_time
async def test_G64_a_recogniser_by_name() -> None:
    ears = MockSpeechToText(["by the other one"])
    asked: list[TranscriptionOption] = []

    def make(option: TranscriptionOption) -> SpeechToText:
        asked.append(option)
        return ears

    async with equipped() as house_:
        house_.providers.register_recognizer("acme", make)
        call = await house_.at.call(
            asr={"provider": "acme", "model": "large", "extra": {"a": "b"}, "language": "de"}
        )
        await says(call)
        final = await call.expect("asrFinal")
        assert final["text"] == "by the other one"
        assert (asked[0].model_type, asked[0].extra, len(asked)) == ("large", {"a": "b"}, 1)
        assert ears.heard[0].language == "de"
        await call.expect("metrics", key="completed.asr.acme")


@virtual_time
async def test_G116_recognition_is_measured() -> None:
    async with equipped() as house_:
        call = await house_.at.call(asr={}, vad={})
        for _ in range(2):
            await says(call)
        await asyncio.sleep(1)
        told = [
            (
                event["event"],
                event.get("key"),
                event.get("index", (event.get("data") or {}).get("index")),
            )
            for event in call.events
            if event["event"] in ("asrDelta", "asrFinal", "metrics")
        ]
        for turn in (0, 1):
            of_turn = [entry[:2] for entry in told if entry[2] == turn]
            assert of_turn[:2] == [("asrDelta", None), ("metrics", "ttfb.asr.mock")]
            assert of_turn[-2:] == [("asrFinal", None), ("metrics", "completed.asr.mock")]
            assert of_turn.count(("metrics", "ttfb.asr.mock")) == 1
        assert all(event["duration"] >= 0 for event in call.of("metrics"))


@virtual_time
async def test_G141_a_failure_is_told_and_the_next_turn_is_recognised() -> None:
    failing = MockSpeechToText([ConnectionError("lost"), "after that"])
    async with equipped() as house_:
        house_.providers.register_recognizer("acme", lambda _: failing)
        call = await house_.at.call(asr={"provider": "acme"})
        await says(call)
        error = await call.expect("error")
        assert (error["sender"], error["code"]) == ("acme", 500)
        await says(call)
        assert (await call.expect("asrFinal"))["text"] == "after that"


@pytest.mark.parametrize("waits", [False, True])
def test_G64_what_was_said_before_the_answer_is_not_recognised(waits: bool) -> None:
    @virtual_time
    async def run() -> None:
        async with house() as at:
            call = at.connect()
            await call.send_audio(np.concatenate((tone(800), silence(100))))
            await call.invite(asr={"startWhenAnswer": waits}, vad={})
            await asyncio.sleep(0.5)
            await call.send_audio(silence(2000))
            heard = [event["text"] for event in call.of("asrFinal")]
            assert heard == ([] if waits else ["first words"])
            await says(call)
            final = await call.expect("asrFinal", index=0 if waits else 1)
            assert final["text"] == ("first words" if waits else "second words")

    run()


@virtual_time
async def test_G62_nop_takes_every_sound_for_speech() -> None:
    faint = np.zeros(8000, dtype=np.int16)
    faint[::300] = 1
    for kind, told in (("nop", True), ("silero", False)):
        async with house() as at:
            call = await at.call(vad={"type": kind})
            await call.send_audio(np.concatenate((silence(300), faint, silence(1000))))
            await asyncio.sleep(0.2)
            assert bool(call.of("speaking")) is told
            if told:
                (speaking,), (quiet,) = call.of("speaking"), call.of("silence")
                assert quiet["duration"] == pytest.approx(500, abs=64)
                assert not call.of("error")
                assert speaking["startTime"] < quiet["startTime"] + quiet["duration"]


@virtual_time
async def test_G62_nop_leaves_recognition_as_it_is() -> None:
    async with house() as at:
        call = await at.call(vad={"type": "nop"}, asr={})
        noise = np.where(np.arange(32_000) % 2, 3, -3).astype(np.int16)
        await call.send_audio(np.concatenate((noise, tone(800), noise)))
        assert (await call.expect("asrFinal"))["text"] == "first words"
        assert len(call.of("speaking")) == 1


# -- sounds -----------------------------------------------------------------------------------


def encoded(format_name: str, codec: str, rate: int, layout: str, seconds: int) -> bytes:
    import av

    out = io.BytesIO()
    with av.open(out, "w", format=format_name) as container:
        stream = container.add_stream(codec, rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.layout = layout
        stream.codec_context.options = {"strict": "experimental"}  # vorbis
        channels = 2 if layout == "stereo" else 1
        sound = np.repeat(tone(1000 * seconds), channels).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(sound, format="s16", layout=layout)
        frame.sample_rate = 16_000
        resampler = av.AudioResampler(
            format=stream.codec_context.format,
            layout=layout,
            rate=rate,
            frame_size=stream.codec_context.frame_size or None,
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return out.getvalue()


FORMATS = {
    "stereo8.wav": ("wav", "pcm_s16le", 8000, "stereo"),
    "eight.wav": ("wav", "pcm_u8", 16_000, "mono"),
    "wide.wav": ("wav", "pcm_s24le", 44_100, "stereo"),
    "float.wav": ("wav", "pcm_f32le", 16_000, "mono"),
    "song.mp3": ("mp3", "libmp3lame", 44_100, "stereo"),
    "vorbis.ogg": ("ogg", "vorbis", 44_100, "stereo"),
    "opus.ogg": ("ogg", "libopus", 48_000, "mono"),
    "plain": ("flac", "flac", 16_000, "mono"),
}


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_T41_formats_have_the_right_length_and_pitch(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(encoded(*FORMATS[name], 3))

    @virtual_time
    async def run() -> None:
        async with house(media=tmp_path) as at:
            call = await at.call()
            call.send({"command": "play", "url": name})
            end = await call.expect("trackEnd")
            assert end["playId"] == name
            assert not call.of("error")
            heard = call.sound
            length = np.flatnonzero(heard)[-1] - np.flatnonzero(heard)[0]
            assert length == pytest.approx(3 * SAMPLE_RATE, rel=0.02)
            assert pitch(heard) == pytest.approx(440, abs=3)

    run()


@virtual_time
async def test_T42_play_begins_at_its_offset(tmp_path: Path) -> None:
    write_wav(tmp_path / "long.wav", tone(3000), 16_000)
    async with house(media=tmp_path) as at:
        call = await at.call()
        call.send({"command": "play", "url": "long.wav", "offsetMs": 1000})
        await call.expect("trackEnd")
        assert np.count_nonzero(call.sound) == pytest.approx(2 * SAMPLE_RATE, rel=0.02)


@virtual_time
async def test_T44_pcmu_packets_hold_the_tone_that_was_played(tmp_path: Path) -> None:
    write_wav(tmp_path / "long.wav", tone(1000), 16_000)
    for codec in ("pcmu", "PCMU", "foo"):
        async with house(media=tmp_path) as at:
            call = at.connect(codec=codec)
            await call.invite(codec=codec)
            call.send({"command": "play", "url": "long.wav"})
            await call.expect("trackEnd")
            assert not call.of("error")
            if codec != "foo":
                assert {len(frame.data) for frame in call.audio} == {160}
            assert pitch(call.sound) == pytest.approx(440, abs=3)


@virtual_time
async def test_T57_a_tone_keeps_its_pitch_and_level_from_pcmu_to_pcm(tmp_path: Path) -> None:
    def level(samples: Samples) -> float:
        middle = samples[3200:-3200].astype(float)
        return float(10 * np.log10(np.mean(middle**2)))

    sound = tone(2000, 1000.0)
    async with house(media=tmp_path) as at:
        heard: list[Samples] = []
        call = at.connect(codec="pcmu")
        await call.invite(codec="pcmu")
        at.session().media.taps.append(heard.append)
        codec = make_codec("pcmu")
        for start in range(0, len(sound), 320):
            call.send_bytes(codec.encode(sound[start : start + 320]))
            await asyncio.sleep(0.02)
        came = np.concatenate(heard)
        assert pitch(came) == pytest.approx(1000, rel=0.01)
        assert level(came) == pytest.approx(level(sound), abs=1)


# -- caches -----------------------------------------------------------------------------------


def speech(data: dict[str, Any]) -> TtsCommand:
    command = parse_command(data)
    assert isinstance(command, TtsCommand)
    return command


def hits(call: CallPair) -> list[bool]:
    return [
        event["data"]["cached"]
        for event in call.of("metrics")
        if event["key"].startswith("completed.tts.")
    ]


@virtual_time
async def test_T58_what_was_made_ahead_is_not_made_again(tmp_path: Path) -> None:
    async with equipped(tmp_path) as house_:
        option = {"provider": "other", "speaker": "ann", "speed": 1.25}
        made = await house_.voices.precache(speech(tts("hello there", option=option)))
        assert made.status == "cached"
        call = await house_.at.call(tts={"provider": "other", "speaker": "ann"})
        call.send(tts("hello there", option={"speed": 1.25}, playId="p"))
        end = await call.expect("trackEnd", playId="p")
        (metrics,) = call.of("metrics")
        assert metrics["key"] == "completed.tts.other"
        data = metrics["data"]
        assert (data["cached"], data["speaker"], data["playId"]) == (True, "ann", "p")
        assert data["length"] == pytest.approx(made.bytes, abs=640)
        assert end["duration"] == pytest.approx(11 * 60 / 1.25, abs=60)
        assert len(house_.other.spoken) == 1


@virtual_time
async def test_G219_only_whole_texts_are_cached(tmp_path: Path) -> None:
    async with equipped(tmp_path) as house_:
        call = await house_.at.call()
        call.send(tts("a whole text", playId="a"))
        await call.expect("trackEnd", playId="a")
        call.send(tts("a whole text", playId="b"))
        await call.expect("trackEnd", playId="b")
        call.send(tts("a whole text", playId="c", streaming=True, endOfStream=True))
        await call.expect("trackEnd", playId="c")
        call.send(tts("a whole text", playId="d", speaker="ann"))
        await call.expect("trackEnd", playId="d")
        assert hits(call) == [False, True, False, False]
        assert len(list(tmp_path.iterdir())) == 2


@virtual_time
async def test_G219_a_piece_that_is_interrupted_is_not_cached(tmp_path: Path) -> None:
    slow = MockTextToSpeech(name="slow", chunk_delay_s=0.1)
    async with equipped(tmp_path, parts={"synthesizer": slow}) as house_:
        call = await house_.at.call()
        call.send(tts("words that are never all heard", playId="p"))
        await call.expect("trackStart", playId="p")
        await asyncio.sleep(0.5)
        call.send({"command": "interrupt"})
        await call.expect("trackEnd", playId="p")
        assert not list(tmp_path.glob("*.pcm"))


@virtual_time
async def test_G295_a_cache_key_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    async with equipped(folder) as house_:
        call = await house_.at.call()
        call.send(tts("one", cacheKey="../greeting", playId="a"))
        await call.expect("trackEnd", playId="a")
        call.send(tts("two", cacheKey="../greeting", playId="b", option={"provider": "other"}))
        await call.expect("trackEnd", playId="b")
        assert hits(call) == [False, True]
        assert [path.parent for path in tmp_path.rglob("*.pcm")] == [folder]


@virtual_time
async def test_G219_what_is_played_is_decoded_once(tmp_path: Path) -> None:
    write_wav(tmp_path / "bell.wav", tone(400), 16_000)
    cache = SoundCache(SoundFiles(tmp_path / "cache", 1_000_000))
    async with house() as at:
        at.gateway.services.sounds = SoundLoader(roots=(tmp_path,), cache=cache)
        call = await at.call()
        for play_id in ("a", "b"):
            call.send({"command": "play", "url": "bell.wav", "playId": play_id})
            await call.expect("trackEnd", playId=play_id)
        assert (cache.files.hits, cache.files.misses) == (1, 1)
        first, second = (event["duration"] for event in call.of("trackEnd"))
        assert first == second
