"""What engines say when they fail, and engines that cancel themselves (V96, V106, V204)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.conformance.voice.stage import ScriptSTT, Stage, stage

from salon.base import UnavailableError
from salon.core.ports.ai import AIContext, AIResponse
from salon.media.frame import AudioChunk
from salon.models import HookResult, HookTrigger
from salon.testing import MockAIProvider, virtual_time
from salon.voice.errors import SpeechError, describe
from salon.voice.foreign import close_stream, failure
from salon.voice.pipeline.turn.base import TurnDetector
from salon.voice.stt.base import SpeechToText, Transcription, Utterance
from salon.voice.stt.provider import STTProvider
from salon.voice.stt.result import TranscriptionResult
from salon.voice.tts.provider import TTSProvider

T = HookTrigger
SECRET = "AIzaSyD9x7Qm2LwT4vB8nK1pR6sU3e"
SAID = f"POST https://api.example.com/v1/{SECRET}/say?user=ann&key={SECRET} refused key {SECRET}"
ANSWER = "There are many things to tell about this town and its people."


# -- what is told ---------------------------------------------------------------------------------


def test_a_failure_is_told_without_credentials_and_queries() -> None:
    assert describe(SAID) == "POST https://api.example.com/v1/***/say?*** refused key ***"
    assert describe("no such\n  voice: amy") == "no such voice: amy"
    assert len(describe("word " * 1000)) == 300
    assert str(SpeechError("ears", SAID)) == f"ears: {describe(SAID)}"


def test_a_failure_names_its_kind() -> None:
    assert str(failure("ears", KeyError("x"))) == "ears: KeyError: 'x'"
    assert str(failure("ears", asyncio.CancelledError())) == "ears: CancelledError"
    assert str(failure("ears", UnavailableError("full"))) == (
        "ears: UnavailableError (unavailable): full"
    )


class TellingTTS(TTSProvider):
    """Fails, and says too much."""

    def __init__(self, error: BaseException, *, at_start: bool = False) -> None:
        self.error = error
        self.at_start = at_start

    @property
    def name(self) -> str:
        return "TellingTTS"

    @property
    def supports_streaming_input(self) -> bool:
        return True

    async def warmup(self) -> None:
        if self.at_start:
            raise self.error

    async def synthesize(self, text: str, *, voice: str | None = None) -> Any:
        raise self.error

    async def synthesize_stream(
        self, text: str, *, voice: str | None = None, context: Any = None
    ) -> AsyncIterator[AudioChunk]:
        if text.startswith("Fine"):
            yield AudioChunk(b"\1\0" * 16_000)
            return
        raise self.error


@pytest.mark.parametrize("at_start", [False, True])
@virtual_time
async def test_V106_tts_error_holds_no_credentials(at_start: bool) -> None:
    tts = TellingTTS(RuntimeError(SAID), at_start=at_start)
    async with stage(transcripts=["tell me"], answers=[ANSWER], tts=tts) as room:
        room.watch_framework("tts_error")
        await room.speak()
        await asyncio.sleep(3)
        (_, told), *_ = room.framework
        assert told["provider"] == "TellingTTS"
        assert "RuntimeError" in told["error"]
        assert SECRET not in str(room.framework)
        assert "ann" not in told["error"]


@virtual_time
async def test_V96_stt_error_holds_no_credentials() -> None:
    async with stage(transcripts=[RuntimeError(SAID), "again"]) as room:
        room.watch_framework("stt_error")
        await room.speak()
        await asyncio.sleep(1)
        ((_, told),) = room.framework
        assert (told["provider"], SECRET in told["error"]) == ("ScriptSTT", False)
        assert "RuntimeError" in told["error"]


# -- engines that cancel themselves ---------------------------------------------------------------


@virtual_time
async def test_V96_a_recogniser_that_cancels_itself_has_failed() -> None:
    script: Any = [asyncio.CancelledError(), "again"]

    class Cancels(ScriptSTT):
        async def transcribe(self, audio: Any, *, language: str | None = None) -> Any:
            said: Any = self.script.popleft()
            if isinstance(said, BaseException):
                raise said
            return TranscriptionResult(said)

    async with stage(stt=Cancels(script)) as room:
        room.watch_framework("stt_error")
        await room.speak()
        await asyncio.sleep(1)
        assert [told["error"] for _, told in room.framework] == ["ScriptSTT: CancelledError"]
        await room.speak()
        await asyncio.sleep(1)
        assert await room.said() == ["again"]


class NativeSTT(SpeechToText):
    """Its utterances fail as `errors` say, first where `begins` when they begin."""

    name = "NativeSTT"

    def __init__(self, *errors: BaseException, begins: bool = False) -> None:
        self.errors = list(errors)
        self.begins = begins

    def recognize(self, *_args: Any, **_options: Any) -> Utterance:
        error = self.errors.pop(0) if self.errors else None
        if error is not None and self.begins:
            raise error
        return NativeUtterance(error)


class NativeUtterance(Utterance):
    def __init__(self, error: BaseException | None) -> None:
        self.error = error

    def push(self, samples: Any) -> None:
        """What is said is known."""

    async def finish(self) -> Transcription:
        if self.error is not None:
            raise self.error
        return Transcription("again", is_final=True)

    def cancel(self) -> None:
        """There is nothing to end."""


@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), RuntimeError("x"), SpeechError("a", "b")]
)
@virtual_time
async def test_V96_so_has_one_of_our_own_kind(error: BaseException, begins: bool) -> None:
    async with stage(stt=NativeSTT(error, begins=begins)) as room:
        room.watch_framework("stt_error")
        await room.speak()
        await asyncio.sleep(1)
        assert len(room.framework) == 1
        await room.speak()
        await asyncio.sleep(1)
        assert await room.said() == ["again"]


class CancellingStreams(STTProvider):
    """Each stream hears a word, but the first cancels itself."""

    def __init__(self) -> None:
        self.streams = 0
        self.closed = 0

    @property
    def name(self) -> str:
        return "CancellingStreams"

    @property
    def supports_streaming(self) -> bool:
        return True

    async def transcribe(self, audio: Any, *, language: str | None = None) -> TranscriptionResult:
        raise asyncio.CancelledError

    async def transcribe_stream(
        self, audio_stream: AsyncIterator[AudioChunk], *, language: str | None = None
    ) -> AsyncIterator[TranscriptionResult]:
        self.streams += 1
        first = self.streams == 1
        try:
            async for _ in audio_stream:
                if first:
                    raise asyncio.CancelledError
                yield TranscriptionResult("again", is_final=True)
                await asyncio.Event().wait()
        finally:
            self.closed += 1


@virtual_time
async def test_V96_a_stream_that_cancels_itself_is_opened_again() -> None:
    stt = CancellingStreams()
    async with stage(stt=stt, detector=False) as room:
        room.watch_framework("stt_error")
        await room.quiet(3000)
        assert [told["error"] for _, told in room.framework] == [
            "CancellingStreams: CancelledError"
        ]
        assert await room.said() == ["again"]
        assert stt.streams == 2
        await room.kit.leave(room.session)  # our own cancelling ends it
        await asyncio.sleep(0.1)
        assert (stt.streams, stt.closed) == (2, 2)


@virtual_time
async def test_V96_a_batch_that_cancels_itself_has_failed() -> None:
    async with stage(stt=CancellingStreams(), detector=False, batch_mode=True) as room:
        await room.feed(5)
        with pytest.raises(SpeechError, match="CancelledError"):
            await room.channel.flush_stt(room.session)


@pytest.mark.parametrize("at_start", [False, True])
@virtual_time
async def test_V106_a_voice_that_cancels_itself_has_failed(at_start: bool) -> None:
    tts = TellingTTS(asyncio.CancelledError(), at_start=at_start)
    answers = [ANSWER, "Fine then."]
    async with stage(transcripts=["tell me", "and?"], answers=answers, tts=tts) as room:
        room.watch_framework("tts_error")
        await room.speak()
        await asyncio.sleep(3)
        assert ["CancelledError" in told["error"] for _, told in room.framework] == [True]
        assert (await room.said())[-1] == ANSWER
        tts.at_start = False
        await room.ask()
        await asyncio.sleep(3)
        assert (await room.said())[-1] == "Fine then."


@virtual_time
async def test_V92_a_turn_detector_that_cancels_itself_holds_no_turn_up() -> None:
    class Cancels(TurnDetector):
        @property
        def name(self) -> str:
            return "cancels"

        def evaluate(self, context: Any) -> Any:
            raise asyncio.CancelledError

    async with stage(transcripts=["hello"], pipeline={"turn_detector": Cancels()}) as room:
        await room.speak()
        await asyncio.sleep(1)
        assert await room.said() == ["hello"]


@virtual_time
async def test_R160_hooks_that_cancel_themselves_have_failed() -> None:
    """Those that only look on are passed over, those that decide may fail closed."""
    async with stage(transcripts=["lost", "hello"], answers=[ANSWER]) as room:
        decided = []

        async def cancels(_payload: Any, _context: Any) -> HookResult:
            raise asyncio.CancelledError

        async def cancels_once(payload: Any, _context: Any) -> HookResult:
            decided.append(payload)
            if len(decided) == 1:
                raise asyncio.CancelledError
            return HookResult.allow()

        for trigger in (T.ON_SPEECH_START, T.ON_SPEECH_END, T.AFTER_TTS):
            room.kit.hook(trigger, name=f"cancels {trigger}")(cancels)
        room.kit.hook(T.ON_TRANSCRIPTION, name="once")(cancels_once)
        await room.speak()
        await asyncio.sleep(1)
        await hears(room)
        assert await room.said() == ["hello", ANSWER]


@virtual_time
async def test_R131_an_agent_that_cancels_itself_answers_the_next_time() -> None:
    class Cancels(MockAIProvider):
        cancels = True

        async def generate(self, context: AIContext) -> AIResponse:
            if self.cancels:
                raise asyncio.CancelledError
            return AIResponse(content=ANSWER)

    provider = Cancels([])
    async with stage(transcripts=["tell me", "and now?"], provider=provider) as room:
        await room.speak()
        await asyncio.sleep(2)
        provider.cancels = False
        await hears(room)


async def hears(room: Stage) -> None:
    await room.ask()
    await asyncio.sleep(4)
    assert (await room.said())[-1] == ANSWER


@virtual_time
async def test_a_stream_that_cancels_itself_in_closing_is_closed() -> None:
    class Odd:
        def __aiter__(self) -> Odd:
            return self

        async def __anext__(self) -> int:
            return 1

        async def aclose(self) -> None:
            raise asyncio.CancelledError

    await close_stream(Odd(), "odd")
