"""Foreign recognisers, and ours seen as providers."""

from __future__ import annotations

import asyncio
import base64
import math
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from salon.base import ConfigurationError
from salon.media.frame import AudioChunk, AudioFrame
from salon.media.timing import WordTime
from salon.models.content import AudioContent
from salon.testing.contracts.voice_stt import FaultySTTProvider, hear
from salon.voice.chunks import ChunkReader, quietest_cut, whole_sound
from salon.voice.content import MAX_URL, audio_content, sound_of
from salon.voice.errors import SpeechError
from salon.voice.stt import (
    AdaptedSpeechToText,
    MockSpeechToText,
    MockSTTProvider,
    SpeakerSegment,
    STTProvider,
    Transcription,
    TranscriptionResult,
    recognizer_of,
    speaker_label,
)
from salon.voice.stt.base import MAX_SAMPLES

SOUND = np.arange(3200, dtype=np.int16)
R = TranscriptionResult


class Scripted(STTProvider):
    """Yields `results`, one per chunk of sound as far as they go, the rest at the end."""

    supports_streaming = True

    def __init__(self, *results: Any, override: bool = False) -> None:
        self.results = list(results)
        self.override = override
        self.languages: list[str | None] = []
        self.heard = b""
        self.closed = 0

    @property
    def supports_language_override(self) -> bool:
        return self.override

    async def transcribe(
        self, audio: AudioContent | AudioChunk | AudioFrame, *, language: str | None = None
    ) -> TranscriptionResult:
        raise AssertionError

    async def transcribe_stream(
        self, audio_stream: AsyncIterator[AudioChunk], *, language: str | None = None
    ) -> AsyncIterator[TranscriptionResult]:
        self.languages.append(language)
        results = iter(self.results)
        async for chunk in audio_stream:
            self.heard += chunk.data
            for result in results:
                yield result
                break
        for result in results:
            yield result

    async def close(self) -> None:
        self.closed += 1


async def adapted(*results: Any, override: bool = False) -> AdaptedSpeechToText:
    engine = AdaptedSpeechToText(Scripted(*results, override=override), answer_timeout=1)
    await engine.start()
    return engine


def test_an_engine_is_not_wrapped() -> None:
    engine = MockSpeechToText()
    assert recognizer_of(engine) is engine
    assert recognizer_of(MockSTTProvider()).name == "MockSTTProvider"


async def test_finals_are_joined_and_partials_come_with_them() -> None:
    partials: list[str] = []
    engine = await adapted(
        R("", is_final=False, is_speech_start=True),
        R("one", is_final=False),
        R("one two.", confidence=0.9, language="en"),
        R("three", is_final=False, confidence=7),
        R(" three four ", confidence=0.5),
        R(""),
    )
    utterance = engine.recognize(on_partial=lambda partial: partials.append(partial.text))
    utterance.push(SOUND)
    result = await utterance.finish()
    assert partials == ["one", "one two. three"]
    assert (result.text, result.confidence, result.language) == ("one two. three four", 0.5, "en")
    assert engine.provider.heard == SOUND.tobytes()  # type: ignore[attr-defined]


async def test_what_stayed_interim_at_the_end_was_said_too() -> None:
    engine = await adapted(R("one."), R("two", is_final=False))
    assert (await hear(engine, SOUND)).text == "one. two"


async def test_word_times_are_found_in_the_text() -> None:
    words: list[Any] = [
        {"word": "hello", "punctuated_word": "Hello,", "start": 0.1, "end": 0.5},
        {"word": "missing", "start": 0.5, "end": 0.6},
        {"word": "you", "start": "x", "end": 1},
        {"word": "you", "start": math.nan, "end": 1},
        "you",
        {"text": "you", "start": 0.5, "end": 1},
    ]
    engine = await adapted(R("Well."), R("Hello, you", words=words))
    result = await hear(engine, SOUND)
    assert result.words == (WordTime("Hello,", 100, 500, 6, 6), WordTime("you", 500, 1000, 13, 3))
    assert result.to_result().words[0] == {"word": "Hello,", "start": 0.1, "end": 0.5}


@pytest.mark.parametrize("confidence", [None, "high", True, math.inf, math.nan])
async def test_a_confidence_that_is_none_is_none(confidence: Any) -> None:
    engine = await adapted(R("x", confidence=confidence, language=5, words=None, segments=None))  # type: ignore[arg-type]
    result = await hear(engine, SOUND)
    assert (result.confidence, result.language, result.words) == (None, None, ())


@pytest.mark.parametrize("label", ["UU", "PENDING", "Unknown", "unknown", " ", None])
async def test_V233_an_unattributed_segment_has_no_speaker(label: str | None) -> None:
    segments: list[Any] = [SpeakerSegment(label, "a"), SpeakerSegment(" S1 ", "b", 5, 9), "no"]
    result = await hear(await adapted(R("a b", segments=segments)), SOUND)
    assert result.segments == (SpeakerSegment(None, "a"), SpeakerSegment("S1", "b", 5, 9))
    assert speaker_label(0) == "0"


def test_V230_the_speaker_of_a_result_is_the_only_one() -> None:
    a, b = SpeakerSegment("a", "x"), SpeakerSegment("b", "y")
    assert [R("t", segments=s).speaker for s in ([], [a, a], [a, b])] == [None, "a", None]


async def test_V231_a_language_goes_only_to_a_provider_that_takes_one() -> None:
    for override, seen in ((True, ["de", None]), (False, [None, None])):
        engine = await adapted(R("x"), override=override)
        for language in ("de", "auto"):
            utterance = engine.recognize(language=language)
            utterance.push(SOUND)
            result = await utterance.finish()
            assert result.language is None, "not echoed"
        assert engine.provider.languages == seen  # type: ignore[attr-defined]


async def test_a_provider_that_takes_no_sound_gets_a_bounded_queue() -> None:
    class Deaf(Scripted):
        async def transcribe_stream(
            self, audio_stream: AsyncIterator[AudioChunk], *, language: str | None = None
        ) -> AsyncIterator[TranscriptionResult]:
            await asyncio.Event().wait()
            yield R("never")

    engine = AdaptedSpeechToText(Deaf(), answer_timeout=0.02, max_samples=1000)
    await engine.start()
    utterance = engine.recognize()
    for _ in range(10):
        utterance.push(SOUND[:300])
        await asyncio.sleep(0)
    assert engine.dropped_samples == 2000
    with pytest.raises(SpeechError, match=r"no answer within 0\.02 s"):
        await utterance.finish()
    await engine.close()


async def test_cancel_closes_the_stream() -> None:
    provider = FaultySTTProvider("hang")
    engine = recognizer_of(provider)
    await engine.start()
    utterance = engine.recognize()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert provider.open == 1
    utterance.cancel()
    async with asyncio.timeout(1):
        while provider.open:
            await asyncio.sleep(0)
    await engine.close()


async def test_a_provider_that_talks_without_end_is_stopped() -> None:
    with pytest.raises(SpeechError, match="over 100000"):
        await hear(await adapted(R("x" * 60_000), R("y" * 60_000)), SOUND)


async def test_a_provider_that_cannot_warm_up_or_close(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Scripted):
        async def warmup(self) -> None:
            raise ConfigurationError("no key")

        async def close(self) -> None:
            raise OSError("gone")

    engine = recognizer_of(Broken())
    with pytest.raises(ConfigurationError, match="no key"):
        await engine.warmup()
    Broken.warmup = Scripted.warmup  # type: ignore[method-assign]
    await engine.start()
    await engine.close()
    assert "did not close" in caplog.text


async def test_an_iterator_that_cannot_be_closed_or_fails_in_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Plain:
        def __init__(self) -> None:
            self.results = [R("x")]

        def __aiter__(self) -> Plain:
            return self

        async def __anext__(self) -> TranscriptionResult:
            if not self.results:
                raise StopAsyncIteration
            return self.results.pop()

    class Sticky(Plain):
        async def aclose(self) -> None:
            raise OSError("stuck")

    for kind in (Plain, Sticky):
        engine = await adapted()
        engine.provider.transcribe_stream = lambda *_, kind=kind: kind()  # type: ignore[method-assign]
        assert (await hear(engine, SOUND)).text == "x"
    assert "did not close" in caplog.text


async def test_the_properties_are_the_providers() -> None:
    engine = recognizer_of(FaultySTTProvider())
    assert not engine.supports_diarization
    assert not engine.keeps_stream_across_turns
    assert not engine.supports_language_override
    assert engine.supports_streaming


async def test_a_provider_without_stream_hears_it_all_at_the_end() -> None:
    class Whole(STTProvider):
        heard: Any = None

        async def transcribe(
            self, audio: AudioContent | AudioChunk | AudioFrame, *, language: str | None = None
        ) -> TranscriptionResult:
            self.heard = audio
            return R("x", language=language)

    async def sound(n: int) -> AsyncIterator[AudioChunk]:
        for _ in range(n):
            yield AudioChunk(b"\1\1" * 4, 8000, 2)

    provider = Whole()
    assert [r.text async for r in provider.transcribe_stream(sound(2), language="de")] == ["x"]
    assert provider.heard == AudioChunk(b"\1\1" * 8, 8000, 2)
    assert [r.text async for r in provider.transcribe_stream(sound(0))] == ["x"]
    assert provider.heard == AudioChunk(b"")
    await provider.warmup()
    await provider.close()
    assert provider.name == "Whole"
    taking = type("Taking", (Whole,), {"supports_language_override": True})()
    assert [r.language async for r in taking.transcribe_stream(sound(1), language="de")] == ["de"]


async def test_the_mock_provider_answers_in_turn() -> None:
    mock = MockSTTProvider(["a", "b"], streaming=True, languages=["fr", None])
    chunk = AudioChunk(b"\0\0")
    results = [await mock.transcribe(chunk, language="de") for _ in range(3)]
    assert [(r.text, r.language) for r in results] == [("a", "fr"), ("b", None), ("a", "fr")]
    assert mock.calls == [chunk] * 3
    assert mock.languages_requested == ["de"] * 3
    assert mock.supports_streaming
    assert mock.supports_language_override
    assert MockSTTProvider().transcripts == ["Hello", "How can I help you?"]


async def test_long_recordings_are_cut_where_it_is_quiet() -> None:
    mock = MockSpeechToText(
        [
            Transcription("one two", True, 0.9, "en", (WordTime("two", 100, 200, 4, 3),)),
            Transcription("", True),
            Transcription("three", True, 0.5, "en", (WordTime("three", 0, 100, 0, 5),),
                          (SpeakerSegment("S1", "three"),)),
        ]
    )  # fmt: skip
    sound = np.full(2 * MAX_SAMPLES + 16_000, 500, dtype=np.int16)
    sound[45 * 16_000 : 45 * 16_000 + 1600] = 0
    result = await mock.transcribe(AudioFrame.of(sound))
    assert len(mock.heard[0].samples) == 45 * 16_000 + 800
    assert sum(len(h.samples) for h in mock.heard) == len(sound)
    assert result.text == "one two three"
    assert (result.confidence, result.language) == (0.5, "en")
    assert [w["word"] for w in result.words] == ["two", "three"]
    assert result.words[1]["start"] > 45
    assert result.segments == [SpeakerSegment(None, "three")], "labels are of one stream (V233)"
    assert quietest_cut(sound, 500, 100) == 500


async def test_a_failing_engine_gives_its_utterance_up() -> None:
    mock = MockSpeechToText([SpeechError("mock", "broken")])
    with pytest.raises(SpeechError):
        await mock.transcribe(AudioFrame.of(SOUND))
    mock.add(SpeechError("mock", "broken"))
    with pytest.raises(SpeechError):
        [r async for r in mock.transcribe_stream(_of(AudioChunk(b"\0\0" * 99)))]
    mock.add(SpeechError("mock", "broken"))
    with pytest.raises(ValueError, match="takes signed 16-bit"):
        [r async for r in mock.transcribe_stream(_of(AudioChunk(b"", format="opus")))]


async def _of(*chunks: AudioChunk) -> AsyncIterator[AudioChunk]:
    for chunk in chunks:
        yield chunk


async def test_a_stream_shows_partials_while_the_next_chunk_is_awaited() -> None:
    mock = MockSpeechToText(["one two"])
    more = asyncio.Event()

    async def sound() -> AsyncIterator[AudioChunk]:
        yield AudioChunk(SOUND.tobytes())
        await more.wait()

    stream = mock.transcribe_stream(sound())
    first = await anext(stream)
    assert (first.text, first.is_final) == ("one", False)
    more.set()
    assert [(r.text, r.is_final) async for r in stream] == [("one two", True)]
    assert [r async for r in mock.transcribe_stream(_of())] == []
    final = AudioChunk(b"", is_final=True)
    assert [r async for r in mock.transcribe_stream(_of(final))] == []


@pytest.mark.parametrize(
    ("chunk", "words"),
    [
        (b"\0\0", "bytes, not an AudioChunk"),
        (AudioChunk("x"), "chunk of str"),  # type: ignore[arg-type]
        (AudioChunk(b"", format="mp3"), "format 'mp3'"),
        (AudioChunk(b"", channels=0), "0 channels"),
        (AudioChunk(b"", sample_rate=1.5), "rate of 1.5"),  # type: ignore[arg-type]
        (AudioChunk(b"", sample_rate=10), "10 Hz"),
    ],
)
def test_V9_a_chunk_that_is_none_is_refused(chunk: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        list(ChunkReader("x").feed(chunk))


def test_V12_a_stream_may_change_its_format_and_cut_anywhere() -> None:
    reader = ChunkReader("x")
    data = SOUND.tobytes()
    first = [*reader.feed(AudioChunk(data[:101])), *reader.feed(AudioChunk(data[101:]))]
    assert np.array_equal(np.concatenate(first), SOUND)
    second = [*reader.feed(AudioChunk(b"\1\0" * 8000, 8000)), *reader.flush()]
    assert 16_000 <= sum(map(len, second)) < 16_100
    assert all(len(piece) <= 16_000 for piece in second)
    assert whole_sound(AudioChunk(b"\0\0\0"), "x").tolist() == [0]
    assert len(whole_sound(AudioChunk(b""), "x")) == 0
    assert len(whole_sound(AudioFrame(b"\0" * 80, 8000, 1, 1), "x")) == 160


def test_sound_comes_out_of_data_urls_only() -> None:
    assert np.array_equal(sound_of(audio_content(SOUND, "x"), "x"), SOUND)
    raw = base64.b64encode(SOUND.tobytes()).decode()
    bare = AudioContent(url=f"data:audio/L16;rate=8000;channels=1;base64,{raw}")
    assert len(sound_of(bare, "x")) == 6400
    plain = AudioContent(url="data:,%00%01", mime_type="audio/pcm")
    assert sound_of(plain, "x").tolist() == [256]
    for url, words in (
        ("https://example.com/a.wav", "fetch it before"),
        ("data:audio/wav;base64", "without data"),
        ("data:audio/wav;base64,*", "not base64"),
        ("data:audio/mpeg;base64,AAAA", "audio/mpeg"),
        ("data:audio/wav," + "x" * MAX_URL, "characters"),
    ):
        with pytest.raises(ValueError, match=words):
            sound_of(AudioContent(url=url), "x")
    with pytest.raises(ValueError, match="str"):
        sound_of("x", "x")  # type: ignore[arg-type]
