"""The contract of `SpeechToText`, as an engine and as an `STTProvider`."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from salon.media.frame import SAMPLE_RATE, AudioChunk, AudioFrame, Samples
from salon.media.resample import resample
from salon.voice.content import audio_content
from salon.voice.errors import SpeechError
from salon.voice.stt.base import SpeechToText, Transcription
from salon.voice.stt.provider import STTProvider
from salon.voice.stt.result import TranscriptionResult

LIMIT = 20.0
"""Seconds after which something that must happen counts as missing."""
_STEP = 320


def pushes(sound: Samples) -> list[Samples]:
    """The sound in 20 ms."""
    return [sound[at : at + _STEP] for at in range(0, len(sound), _STEP)]


async def chunks(
    sound: Samples, rate: int = SAMPLE_RATE, channels: int = 1
) -> AsyncIterator[AudioChunk]:
    """The sound as a stream of 20 ms and some bytes each, cut without regard to samples."""
    data = np.repeat(resample(sound, SAMPLE_RATE, rate), channels).tobytes()
    step = rate // 50 * 2 * channels + 3
    for at in range(0, len(data), step):
        await asyncio.sleep(0)
        yield AudioChunk(data[at : at + step], rate, channels)


async def hear(engine: SpeechToText, sound: Samples) -> Transcription:
    """One utterance."""
    utterance = engine.recognize()
    for frame in pushes(sound):
        utterance.push(frame)
    async with asyncio.timeout(LIMIT):
        return await utterance.finish()


class SpeechToTextContract:
    """Give it an `engine` fixture (new, not started; the test closes it), a `sound` fixture
    (``int16[n]`` 16 kHz) and `heard`: what the engine makes of it, whole and on every call."""

    heard: str = ""

    @pytest.fixture
    async def running(self, engine: SpeechToText) -> AsyncIterator[SpeechToText]:
        """The engine, started."""
        await engine.start()
        yield engine
        await engine.close()

    async def test_speech_becomes_final_text(self, running: SpeechToText, sound: Samples) -> None:
        result = await hear(running, sound)
        assert result.text == self.heard
        assert result.is_final
        assert result.confidence is None or 0 <= result.confidence <= 1
        for word in result.words:
            assert result.text[word.offset : word.offset + word.length] == word.text

    async def test_the_sound_given_is_not_changed(
        self, running: SpeechToText, sound: Samples
    ) -> None:
        before = sound.copy()
        await hear(running, sound)
        assert np.array_equal(sound, before)

    async def test_partials_are_not_final_and_come_only_if_promised(
        self, running: SpeechToText, sound: Samples
    ) -> None:
        partials: list[Transcription] = []
        utterance = running.recognize(on_partial=partials.append)
        for frame in pushes(sound):
            utterance.push(frame)
            await asyncio.sleep(0)
        async with asyncio.timeout(LIMIT):
            await utterance.finish()
        assert not any(partial.is_final for partial in partials)
        assert running.supports_partials or not partials

    async def test_two_at_once_do_not_mix(self, running: SpeechToText, sound: Samples) -> None:
        first, second = running.recognize(), running.recognize()
        for frame in pushes(sound):
            first.push(frame)
            second.push(frame)
            await asyncio.sleep(0)
        async with asyncio.timeout(LIMIT):
            results = await asyncio.gather(first.finish(), second.finish())
        assert [result.text for result in results] == [self.heard] * 2

    async def test_cancel_is_idempotent_and_the_next_utterance_works(
        self, running: SpeechToText, sound: Samples
    ) -> None:
        utterance = running.recognize()
        utterance.push(sound)
        await asyncio.sleep(0)
        utterance.cancel()
        utterance.cancel()
        utterance.push(sound)
        with pytest.raises(SpeechError):
            await utterance.finish()
        assert (await hear(running, sound)).text == self.heard

    async def test_a_cancelled_wait_cancels_the_utterance(
        self, running: SpeechToText, sound: Samples
    ) -> None:
        utterance = running.recognize()
        for frame in pushes(sound):
            utterance.push(frame)
        waiting = asyncio.create_task(utterance.finish())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        utterance.cancel()
        assert (await hear(running, sound)).text == self.heard

    async def test_close_ends_open_utterances(self, running: SpeechToText, sound: Samples) -> None:
        utterance = running.recognize()
        utterance.push(sound)
        await running.close()
        with pytest.raises(SpeechError):
            await utterance.finish()
        with pytest.raises(SpeechError):
            running.recognize()

    async def test_start_and_close_are_idempotent(
        self, engine: SpeechToText, sound: Samples
    ) -> None:
        await engine.close()
        await engine.start()
        await engine.start()
        await engine.close()
        await engine.close()
        await engine.start()
        assert (await hear(engine, sound)).text == self.heard
        await engine.close()

    async def test_it_is_a_provider_of_whole_recordings(
        self, running: SpeechToText, sound: Samples
    ) -> None:
        assert isinstance(running, STTProvider)
        assert running.name
        frame = AudioFrame.of(sound)
        for audio in (frame, frame.to_chunk(), audio_content(sound, "")):
            result = await running.transcribe(audio)
            assert isinstance(result, TranscriptionResult)
            assert (result.text, result.is_final) == (self.heard, True)

    async def test_a_recording_that_is_none_is_refused(self, running: SpeechToText) -> None:
        with pytest.raises(ValueError, match="mp3"):
            await running.transcribe(AudioChunk(b"\0\0", format="mp3"))

    @pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (48_000, 2)])
    async def test_it_is_a_provider_of_streams(
        self, running: SpeechToText, sound: Samples, rate: int, channels: int
    ) -> None:
        async with asyncio.timeout(LIMIT):
            results = [r async for r in running.transcribe_stream(chunks(sound, rate, channels))]
        assert [r.text for r in results if r.is_final] == [self.heard]
        assert results[-1].is_final

    async def test_V105_a_final_chunk_ends_an_utterance(
        self, running: SpeechToText, sound: Samples
    ) -> None:
        async def twice() -> AsyncIterator[AudioChunk]:
            for _ in range(2):
                yield AudioChunk(sound.tobytes())
                yield AudioChunk(b"", is_final=True)

        async with asyncio.timeout(LIMIT):
            results = [r async for r in running.transcribe_stream(twice())]
        assert [r.text for r in results if r.is_final] == [self.heard] * 2

    async def test_a_slow_reader_of_a_stream_loses_no_final_text(
        self, running: SpeechToText, sound: Samples
    ) -> None:
        finals = []
        async with asyncio.timeout(LIMIT):
            async for result in running.transcribe_stream(chunks(sound)):
                for _ in range(20):
                    await asyncio.sleep(0)
                finals += [result.text] * result.is_final
        assert finals == [self.heard]

    async def test_a_stream_that_is_closed_early_ends_its_source(
        self, running: SpeechToText, sound: Samples
    ) -> None:
        ended = asyncio.Event()

        async def endless() -> AsyncIterator[AudioChunk]:
            try:
                yield AudioChunk(sound.tobytes())
                await asyncio.Event().wait()
            finally:
                ended.set()

        source = endless()
        reading = asyncio.create_task(anext(running.transcribe_stream(source), None))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        async with asyncio.timeout(LIMIT):
            await source.aclose()  # type: ignore[attr-defined]
            await ended.wait()
        assert (await hear(running, sound)).text == self.heard


class SpeechToTextFaultContract:
    """Give it `make`: an engine of name `name` over a provider. What the provider does wrong is
    `SpeechError` with that name within a second, and the next utterance is heard."""

    name = "Faulty"

    def make(self, provider: STTProvider) -> SpeechToText:
        """The engine under test; its patience is under a second."""
        raise NotImplementedError

    @pytest.mark.parametrize("streaming", [True, False])
    @pytest.mark.parametrize(
        "fault", ["crash", "late crash", "hang", "garbage", "no text", "no iterator", "warmup"]
    )
    async def test_V96_a_fault_ends_its_own_utterance(self, fault: str, streaming: bool) -> None:
        provider = FaultySTTProvider(fault, streaming=streaming)
        engine = self.make(provider)
        if fault == "warmup":
            with pytest.raises(SpeechError, match=self.name):
                await engine.start()
        provider.fault, broken = "", fault
        await engine.start()
        provider.fault = broken
        sound = np.ones(3200, dtype=np.int16)
        if fault != "warmup":
            with pytest.raises(SpeechError, match=self.name):
                await hear(engine, sound)
        provider.fault = ""
        assert (await hear(engine, sound)).text == "heard"
        assert provider.open == 0
        await engine.close()


class FaultySTTProvider(STTProvider):
    """Hears "heard", or does what `fault` says: crash, late crash, hang, garbage, no text, no
    iterator, warmup. `open` counts its streams that are not closed."""

    def __init__(self, fault: str = "", *, streaming: bool = True) -> None:
        self.fault = fault
        self.streaming = streaming
        self.open = 0
        self.calls = 0

    @property
    def name(self) -> str:
        return "Faulty"

    @property
    def supports_streaming(self) -> bool:
        return self.streaming

    async def warmup(self) -> None:
        if self.fault == "warmup":
            raise OSError("no model")

    async def transcribe(
        self, audio: object, *, language: str | None = None
    ) -> TranscriptionResult:
        self.calls += 1
        match self.fault:
            case "crash" | "late crash":
                raise RuntimeError("it broke")
            case "hang":
                await asyncio.Event().wait()
            case "garbage" | "no iterator":
                return "text"  # type: ignore[return-value]
            case "no text":
                return TranscriptionResult(None)  # type: ignore[arg-type]
        return TranscriptionResult("heard")

    def transcribe_stream(
        self, audio_stream: AsyncIterator[AudioChunk], *, language: str | None = None
    ) -> AsyncIterator[TranscriptionResult]:
        if self.fault == "no iterator":
            return 5  # type: ignore[return-value]
        return self._stream(audio_stream)

    async def _stream(
        self, audio_stream: AsyncIterator[AudioChunk]
    ) -> AsyncIterator[TranscriptionResult]:
        self.open += 1
        self.calls += 1
        try:
            if self.fault == "crash":
                raise RuntimeError("it broke")
            async for _ in audio_stream:
                yield TranscriptionResult("hea", is_final=False)
                if self.fault == "late crash":
                    raise RuntimeError("it broke")
            if self.fault == "hang":
                await asyncio.Event().wait()
            if self.fault == "garbage":
                yield {"text": "heard"}  # type: ignore[misc]
            if self.fault == "no text":
                yield TranscriptionResult(None)  # type: ignore[arg-type]
            yield TranscriptionResult("heard")
        finally:
            self.open -= 1
