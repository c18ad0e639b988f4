"""The agents' voices: from text to what a room hears, and what it has heard when it is cut."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from salon.base import RAISED, SalonError, TaskScope
from salon.channels.voice_context import Answer, VoiceContext
from salon.channels.voice_floor import Floor, Utterance
from salon.channels.voice_hooks import VoiceHooks
from salon.channels.voice_people import Caller
from salon.core.ports.channel import StreamOutcome
from salon.media.frame import Samples
from salon.models import HookTrigger
from salon.voice.engine import VoiceEngine
from salon.voice.errors import describe
from salon.voice.events import Failed, Synthesized
from salon.voice.foreign import is_ours
from salon.voice.hook_payloads import TTSCancelledEvent
from salon.voice.interruption import InterruptionConfig
from salon.voice.playback import Playback
from salon.voice.sentences import SentenceSplitter
from salon.voice.speaking import Speech, SpeechTrack
from salon.voice.tts import remove_emoji
from salon.voice.tts.base import TextToSpeech, VoiceSettings

_log = logging.getLogger("salon.channels.voice")

START_S = 10.0
"""A voice has to be ready within this."""


@dataclass(frozen=True, slots=True)
class Said:
    """One thing to be said in a room."""

    room_id: str
    play_id: str
    agent: str
    """Channel id of whoever says it."""
    callers: Sequence[Caller]
    private: bool = False
    """It is said to these alone, not to the room."""
    answers: str | None = None
    """Participant whose words it answers, or who began the chain of answers that it is part of."""
    voice: str | None = None


class AgentVoice:
    """Speaks for one channel. `floor` gives a room's floor."""

    def __init__(
        self,
        engine: VoiceEngine,
        hooks: VoiceHooks,
        scope: TaskScope,
        floor: Callable[[str], Floor],
        *,
        synthesizer: TextToSpeech | None = None,
        settings: VoiceSettings,
        voices: Mapping[str, str],
        text_filter: Callable[[str], str] | None = None,
        max_sentences: int | None = None,
        interruption: InterruptionConfig,
        context: VoiceContext | None = None,
    ) -> None:
        self._engine = engine
        self._hooks = hooks
        self._scope = scope
        self._floor = floor
        self._synthesizer = synthesizer
        self._started = False
        self._settings = settings
        self._voices = voices
        self._filter = text_filter
        self._max_sentences = max_sentences
        self._interruption = interruption
        self._context = context
        self._answers: dict[Utterance, Answer] = {}

    async def speak(self, said: Said, text: AsyncIterator[str]) -> StreamOutcome:
        """Speak while the text is produced; returns when it was heard or cut (V100, V240)."""
        engine = await self._engine_or_none(said)
        if engine is None:  # the answer is read, not heard
            return StreamOutcome(text=None)
        utterance = self._utterance(said, engine)
        feeding = self._scope.spawn(self._feed(said, text, utterance), name="feed")
        return await self._heard(said, utterance, feeding)

    async def play(self, said: Said, samples: Samples, text: str = "") -> StreamOutcome:
        """Let a room hear ready sound, ``int16[n]`` 16 kHz."""
        engine = await self._engine_or_none(said, needed=False)
        utterance = self._utterance(said, engine)
        utterance.speech.say_sound(samples, text)
        utterance.speech.end()
        return await self._heard(said, utterance, None)

    async def _engine_or_none(self, said: Said, *, needed: bool = True) -> TextToSpeech | None:
        try:
            if self._synthesizer is None:
                return self._engine.synthesizer()
            if needed and not self._started:
                async with asyncio.timeout(START_S):
                    await self._synthesizer.start()
                self._started = True
            return self._synthesizer
        except SalonError as error:
            message = str(error)
        except TimeoutError:
            message = f"the voice did not start within {START_S:.0f} s"
        except RAISED as error:
            if is_ours(error):
                raise
            _log.exception("the voice did not start")
            message = f"the voice did not start ({type(error).__name__})"
        if needed:
            for caller in said.callers:
                caller.session.events.post(Failed("tts", describe(message)))
            provider = "tts" if self._synthesizer is None else self._synthesizer.name
            self._failed(said, provider, message)
        return None

    def _failed(self, said: Said, provider: str, message: str) -> None:
        for caller in said.callers[:1]:
            self._hooks.emit("tts_error", caller, provider=provider, error=describe(message))

    def _utterance(self, said: Said, engine: TextToSpeech | None) -> Utterance:
        voice = said.voice or self._voices.get(said.agent)
        settings = self._settings if voice is None else replace(self._settings, voice=voice)

        def notify(news: Synthesized | Failed) -> None:
            for caller in said.callers:
                caller.session.events.post(news)
            if isinstance(news, Failed):
                utterance.failed = True
                self._failed(said, engine.name if engine is not None else "tts", news.message)

        def sounds() -> None:
            for caller in said.callers:
                caller.session.answer_sounds()

        answer = None if self._context is None else self._context.answer(said.callers)
        speech = Speech(
            engine if answer is None else answer,
            self._scope,
            self._engine.clock,
            settings=settings,
            play_id=said.play_id,
            notify=notify,
            sounds=sounds,
        )
        utterance = Utterance(
            speech, said.agent, set(said.callers), private=said.private, answers=said.answers
        )
        if answer is not None:
            self._answers[utterance] = answer
        return utterance

    async def _heard(
        self, said: Said, utterance: Utterance, feeding: asyncio.Task[None] | None
    ) -> StreamOutcome:
        """Wait for the floor, play, and say what came of it."""
        floor = self._floor(said.room_id)
        try:
            if await floor.take(utterance):
                self._attach(said, utterance, feeding)
                await utterance.over.wait()
        finally:
            utterance.stop("explicit")  # no effect on what is over
            utterance.speech.stop()
            for caller, playback in utterance.tracks.items():
                if caller.session.player.current is playback:
                    caller.session.interrupt()
            self._notice_silence(said, utterance)
            self._remember(said, utterance)
            floor.leave(utterance)
            if feeding is not None:  # last: this wait may itself be cancelled
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)
        return self._outcome(said, utterance)

    def _attach(self, said: Said, utterance: Utterance, feeding: asyncio.Task[None] | None) -> None:
        streaming = feeding is not None and not feeding.done()
        present = self._floor(said.room_id).callers
        for caller in said.callers:
            if caller not in present:
                continue
            track = SpeechTrack(utterance.speech, hurry=True, shared=True)
            playback = Playback(track, said.play_id, streaming=streaming)
            utterance.tracks[caller] = playback
            if (answer := self._answers.get(utterance)) is not None:
                answer.follow(caller, track)
            caller.session.play(playback)
        if not utterance.tracks:
            utterance.stop("disconnect")
        elif not streaming and utterance.speech.silent:
            utterance.end()

    def _notice_silence(self, said: Said, utterance: Utterance) -> None:
        """A voice that has nothing to say to words has failed (V106)."""
        pieces = utterance.speech.pieces
        if utterance.cut or utterance.failed or not pieces or any(item.made for item in pieces):
            return
        provider = "tts" if self._synthesizer is None else self._synthesizer.name
        self._failed(said, provider, "the voice gave no sound")

    def _remember(self, said: Said, utterance: Utterance) -> None:
        """Each listener's session knows what was heard there (V238)."""
        answer = self._answers.pop(utterance, None)
        if answer is not None:
            answer.over(said.agent, interrupted=utterance.cut)

    def _outcome(self, said: Said, utterance: Utterance) -> StreamOutcome:
        source = said.callers[0] if said.callers else None
        if not utterance.cut:
            if source is not None and utterance.heard:
                self._hooks.tell(HookTrigger.AFTER_TTS, source, utterance.heard)
            return StreamOutcome(text=None)
        for caller in said.callers:
            self._hooks.tell(
                HookTrigger.ON_TTS_CANCELLED,
                caller,
                TTSCancelledEvent(
                    caller.line,
                    utterance.reason or "explicit",
                    utterance.heard,
                    utterance.played_ms,
                ),
            )
        metadata: dict[str, object] = {"played_ms": utterance.played_ms}
        if utterance.reason == "superseded":
            metadata |= {"cancelled": True, "cancellation_reason": "superseded"}
        heard = utterance.heard if self._interruption.keep_partial_transcript else ""
        return StreamOutcome(text=heard, interrupted=True, metadata=metadata)

    async def _feed(self, said: Said, text: AsyncIterator[str], utterance: Utterance) -> None:
        splitter = SentenceSplitter()
        sentences, words = 0, False
        try:
            async for delta in text:
                if not words and delta.strip():
                    words = True
                    for caller in said.callers:
                        caller.session.answer_begins()
                for sentence in splitter.feed(delta):
                    sentences += 1
                    if self._max_sentences is None or sentences <= self._max_sentences:
                        self._say(utterance, sentence)
            for sentence in splitter.flush():
                sentences += 1
                if self._max_sentences is None or sentences <= self._max_sentences:
                    self._say(utterance, sentence)
        finally:
            utterance.speech.end()
            for playback in utterance.tracks.values():
                playback.streaming = False
            if utterance.speech.silent and not words:
                utterance.end()

    def _say(self, utterance: Utterance, sentence: str) -> None:
        if self._filter is not None:
            sentence = self._filter(sentence)
        if (text := remove_emoji(sentence).strip()) and any(c.isalnum() for c in text):
            utterance.speech.say(text)
