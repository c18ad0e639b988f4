"""A player, its events, and a hand that pulls frames."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from salon.base import TaskScope
from salon.media.frame import Samples
from salon.testing import MockTextToSpeech, VirtualClock
from salon.voice.events import (
    Failed,
    MediaEvent,
    Synthesized,
)
from salon.voice.playback import Playback, Player
from salon.voice.speaking import (
    Speech,
    SpeechTrack,
)
from salon.voice.tts.base import TextToSpeech


class Stage:
    """A player, its events, and a hand that pulls frames."""

    def __init__(self, voice: TextToSpeech, scope: TaskScope) -> None:
        self.clock = VirtualClock()
        self.events: list[MediaEvent] = []
        self.news: list[Synthesized | Failed] = []
        self.player = Player(self.clock, self.events.append)
        self._voice = voice
        self._scope = scope

    def speech(self) -> Speech:
        return Speech(self._voice, self._scope, self.clock, play_id="p", notify=self.news.append)

    async def play(self, *texts: str, streaming: bool = False, shared: bool = False) -> Playback:
        speech = self.speech()
        for text in texts:
            speech.say(text)
        playback = Playback(SpeechTrack(speech, shared=shared), "p", streaming=streaming)
        self.player.start(playback)
        await asyncio.sleep(0.01)  # the mock makes everything it may at once
        return playback

    async def pull(self, frames: int) -> list[Samples]:
        """Ticks; the frames that came."""
        got = []
        for _ in range(frames):
            frame = self.player.next_frame(self.clock.monotonic())
            if frame is not None:
                got.append(frame)
            await asyncio.sleep(0.02)
        return got

    def kinds(self) -> list[type]:
        return [type(event) for event in self.events]


@asynccontextmanager
async def stage(voice: TextToSpeech | None = None) -> AsyncIterator[Stage]:
    voice = voice or MockTextToSpeech()
    scope = TaskScope("test")
    await voice.start()
    try:
        yield Stage(voice, scope)
    finally:
        await scope.close()
        await voice.close()
