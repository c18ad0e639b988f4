"""One call on a scripted engine, for tests of what it hears and plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from salon.media import make_codec
from salon.media.frame import FRAME_SAMPLES, Samples
from salon.testing import MockSpeechToText, scripted_engine
from salon.voice.engine import VoiceEngine
from salon.voice.events import (
    MediaEvent,
)
from salon.voice.hearing import HearingConfig
from salon.voice.leg import SocketLeg
from salon.voice.playback import Playback
from salon.voice.session import MediaSession
from salon.voice.speaking import SpeechTrack
from salon.voice.stt.mock import Scripted
from salon.voice.turns import TurnConfig
from salon.voice.vad.segmenter import SegmenterConfig


class Call:
    """A session, the sound it sent, and a caller who can talk."""

    def __init__(self, engine: VoiceEngine) -> None:
        self.engine = engine
        self.sent: list[bytes] = []
        self.leg = SocketLeg(make_codec("pcm"), self.sent.append)
        self.session = MediaSession("call", engine, leg=self.leg)
        self.events: list[MediaEvent] = []
        self._reader = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        async for event in self.session.events:
            self.events.append(event)

    def listen(self, *, segments: bool = True, **turns: Any) -> None:
        ears = self.engine.recognizers.get("")
        self.session.listen(
            HearingConfig(
                segments=SegmenterConfig() if segments else None,
                turns=TurnConfig(**turns),
                recognizer=ears,
            )
        )

    async def talk(self, samples: Samples) -> None:
        for frame in samples.reshape(-1, FRAME_SAMPLES):
            self.leg.receive(frame.tobytes())
            await asyncio.sleep(0.02)

    def speak(self, text: str) -> Playback:
        """The agent says this."""
        speech = self.session.speech(self.engine.synthesizer(), play_id="p")
        speech.say(text)
        speech.end()
        playback = Playback(SpeechTrack(speech), "p")
        self.session.play(playback)
        return playback

    def of(self, kind: type[MediaEvent]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def end(self) -> None:
        await self.session.close()
        await self._reader


@asynccontextmanager
async def calling(heard: Iterable[Scripted] = (), **parts: Any) -> AsyncIterator[Call]:
    async with scripted_engine(heard, **parts) as engine:
        call = Call(engine)
        try:
            yield call
        finally:
            await call.end()


def ears(call: Call) -> MockSpeechToText:
    found = call.engine.recognizers[""]
    assert isinstance(found, MockSpeechToText)
    return found
