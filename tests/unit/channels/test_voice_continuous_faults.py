"""A recogniser that hears everything and hangs: who asks next is answered, and each fault is told.

The caller's microphone may be closed: then no sound comes after what was said.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from tests.conformance.voice.stage import ROOM, ScriptSTT, stage

from salon.channels.voice_lines import LAST_WORDS_S
from salon.channels.voice_modes import PIECE_BYTES, RETRY_S, STUCK_S, ContinuousEar
from salon.channels.voice_stretches import QUIET_S
from salon.media.frame import AudioChunk, Samples
from salon.testing import scripted_engine, virtual_time
from salon.voice.events import Final, MediaEvent, RecognitionFailed, TurnDropped, TurnEnded
from salon.voice.interruption import InterruptionConfig, InterruptionHandler
from salon.voice.leg import SilentLeg
from salon.voice.session import MediaSession
from salon.voice.stt.provider import STTProvider
from salon.voice.stt.result import TranscriptionResult

SPEECH: Samples = np.full(320, 9000, dtype=np.int16)
SILENCE: Samples = np.zeros(320, dtype=np.int16)
PAUSE_S = 0.5


class PauseFinder(STTProvider):
    """Finds the end of what is said where whole chunks are quiet for `PAUSE_S`, as engines do that
    look at one chunk after the other; says how many ms of speech there were. The finals of the
    first `hangs` streams never come, and those streams end `closes_in` seconds after they are asked
    to."""

    name = "PauseFinder"
    supports_streaming = True
    keeps_stream_across_turns = True

    def __init__(self, hangs: int = 0, *, closes_in: float = 0.0) -> None:
        self.hangs = hangs
        self.closes_in = closes_in
        self.opened: list[float] = []
        self.sizes: list[int] = []

    async def transcribe(self, audio: Any, *, language: str | None = None) -> TranscriptionResult:
        raise NotImplementedError

    async def transcribe_stream(
        self, audio_stream: AsyncIterator[AudioChunk], *, language: str | None = None
    ) -> AsyncIterator[TranscriptionResult]:
        self.opened.append(asyncio.get_running_loop().time())
        spoken = quiet = 0
        async for chunk in audio_stream:
            self.sizes.append(len(chunk.data))
            if any(chunk.data):
                first, spoken, quiet = not spoken, spoken + len(chunk.data), 0
                if first:
                    yield TranscriptionResult("speech", is_final=False)
            elif spoken:
                quiet += len(chunk.data)
            if spoken and quiet >= PAUSE_S * 32_000:
                if len(self.opened) <= self.hangs:
                    await self._hang()
                yield TranscriptionResult(f"{spoken // 32} ms of speech")
                spoken = quiet = 0

    async def _hang(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(self.closes_in)


class Line:
    """A session that is recognised continuously by `ear`, and what it posted."""

    def __init__(self, session: MediaSession, ear: ContinuousEar) -> None:
        self.session = session
        self.ear = ear
        self.events: list[MediaEvent] = []
        session.scope.spawn(self._read(), name="reader")

    async def _read(self) -> None:
        async for event in self.session.events:
            self.events.append(event)

    async def say(self, speech_ms: int, pause_ms: int = 800) -> None:
        """Something, and then no more sound at all."""
        for frame, ms in ((SPEECH, speech_ms), (SILENCE, pause_ms)):
            for _ in range(ms // 20):
                self.session.hear(frame)
                await asyncio.sleep(0.02)

    def texts(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Final)]

    def failures(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, RecognitionFailed)]

    def count(self, kind: type) -> int:
        return sum(isinstance(event, kind) for event in self.events)


@asynccontextmanager
async def line(provider: STTProvider) -> AsyncIterator[Line]:
    async with scripted_engine() as engine:
        session = MediaSession("call", engine, leg=SilentLeg())
        ear = ContinuousEar(session, provider, InterruptionHandler(InterruptionConfig()))
        try:
            yield Line(session, ear)
        finally:
            ear.close()
            await session.close()


TOOK_NO_SOUND = f"PauseFinder: took no sound for {STUCK_S:g} s"


@virtual_time
async def test_a_question_that_a_hanging_stream_left_is_answered_though_no_sound_follows() -> None:
    stt = PauseFinder(hangs=1)
    async with line(stt) as caller:
        await caller.say(1000)  # hangs about here
        await asyncio.sleep(6)
        await caller.say(2000)
        await asyncio.sleep(12)
        assert caller.texts() == ["2000 ms of speech"]
        assert caller.failures() == [TOOK_NO_SOUND]


@virtual_time
async def test_V96_a_stream_that_hangs_is_told_of_though_no_sound_follows() -> None:
    stt = PauseFinder(hangs=1)
    async with line(stt) as caller:
        await caller.say(1000)
        await asyncio.sleep(STUCK_S - 1)
        assert caller.failures() == []
        await asyncio.sleep(1)
        assert caller.failures() == [TOOK_NO_SOUND]
        await asyncio.sleep(60)
        await caller.say(1000)  # at once: nobody waits for the stream that hung
        assert caller.texts() == ["1000 ms of speech"]
        assert caller.failures() == [TOOK_NO_SOUND]


@virtual_time
async def test_an_engine_that_waits_for_sound_is_not_given_up_in_silence() -> None:
    stt = PauseFinder()
    async with line(stt) as caller:
        await caller.say(1000)
        await asyncio.sleep(10 * STUCK_S)
        await caller.say(2000)
        assert caller.texts() == ["1000 ms of speech", "2000 ms of speech"]
        assert caller.failures() == []
        assert len(stt.opened) == 1


@virtual_time
async def test_sound_that_waited_for_a_stream_comes_in_pieces_with_the_pauses_in_it() -> None:
    stt = PauseFinder(hangs=1)
    async with line(stt) as caller:
        await caller.say(1000)
        await asyncio.sleep(4)
        await caller.say(400)
        await caller.say(600)
        await asyncio.sleep(STUCK_S)
        assert caller.texts() == ["400 ms of speech", "600 ms of speech"]
        assert max(stt.sizes) == PIECE_BYTES


@virtual_time
async def test_one_long_frame_is_handed_on_in_pieces_and_whole() -> None:
    stt = PauseFinder()
    async with line(stt) as caller:
        whole = np.concatenate([SPEECH] * 45 + [SILENCE] * 40)
        caller.session.hear(whole)
        await asyncio.sleep(0.1)
        assert caller.texts() == ["900 ms of speech"]
        assert max(stt.sizes) == PIECE_BYTES
        assert sum(stt.sizes) == 2 * len(whole)


@virtual_time
async def test_each_hang_is_told_of_once() -> None:
    """Neither the words it left interim nor the streams after it make two of it."""
    stt = PauseFinder(hangs=3)
    async with line(stt) as caller:
        for _ in range(3):
            await caller.say(1000)
            await asyncio.sleep(STUCK_S + QUIET_S + RETRY_S)
        assert caller.failures() == [TOOK_NO_SOUND] * 3
        await caller.say(1000)
        assert caller.texts() == ["1000 ms of speech"]


@virtual_time
async def test_V232_another_language_may_come_while_a_stream_is_given_up() -> None:
    stt = PauseFinder(hangs=1, closes_in=4)
    async with line(stt) as caller:
        await caller.say(1000)
        await asyncio.sleep(STUCK_S + 2)
        assert (len(stt.opened), caller.failures()) == (1, [])
        caller.ear.language = "de"
        await caller.say(2000)
        await asyncio.sleep(4)
        assert caller.texts() == ["2000 ms of speech"]
        assert caller.failures() == [TOOK_NO_SOUND]


@virtual_time
async def test_a_stream_that_hangs_is_forgotten_when_its_caller_leaves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with line(PauseFinder(hangs=1)) as caller:
        await caller.say(1000)
    await asyncio.sleep(2 * STUCK_S)
    assert caller.failures() == []
    assert caplog.records == []


@virtual_time
async def test_V96_words_whose_sound_breaks_off_are_told_and_the_line_goes_on() -> None:
    stt = PauseFinder()
    async with line(stt) as caller:
        await caller.say(1000, pause_ms=0)
        await asyncio.sleep(QUIET_S + 1)
        assert caller.failures() == ["PauseFinder: its words did not become final within 10 s"]
        assert (caller.count(TurnEnded), caller.count(TurnDropped)) == (1, 0)
        await caller.say(20, pause_ms=800)
        assert caller.texts() == ["1020 ms of speech"]
        assert len(stt.opened) == 1


# -- who has left ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (OSError("gone"), "ScriptSTT: OSError: gone"),
        ("too late", f"ScriptSTT: no words within {LAST_WORDS_S:g} s of the end of the call"),
    ],
)
@virtual_time
async def test_V96_that_the_last_words_of_who_has_left_failed_is_told(
    answer: str | Exception, error: str
) -> None:
    delay = 1.0 if isinstance(answer, Exception) else LAST_WORDS_S + 2
    async with stage(stt=ScriptSTT([answer], delay=delay)) as room:
        room.watch_framework("stt_error")
        await room.speak()
        await asyncio.sleep(0.5)
        await room.kit.leave(room.session)
        await asyncio.sleep(10)
        assert [told["error"] for _, told in room.framework] == [error]
        assert [told["session_id"] for _, told in room.framework] == [room.session.id]
        assert await room.said() == []
        assert room.channel._rooms.floors == {}


@virtual_time
async def test_last_words_do_not_make_a_deleted_room_anew() -> None:
    async with stage(stt=ScriptSTT(["goodbye"], delay=LAST_WORDS_S - 2)) as room:
        await room.speak()
        await asyncio.sleep(0.5)
        await room.kit.delete_room(ROOM)
        await room.kit.leave(room.session)
        await asyncio.sleep(10)
        assert not await room.kit.store.room_exists(ROOM)
        assert room.channel._rooms.floors == {}


@virtual_time
async def test_the_last_words_of_who_has_left_are_still_said() -> None:
    async with stage(stt=ScriptSTT(["goodbye"], delay=LAST_WORDS_S - 1)) as room:
        room.watch_framework("stt_error")
        await room.speak()
        await asyncio.sleep(0.5)
        await room.kit.leave(room.session)
        await asyncio.sleep(10)
        assert await room.said() == ["goodbye"]
        assert room.framework == []
