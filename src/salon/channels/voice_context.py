"""What each session's voice knows of its conversation, gathered and handed on (V237, V238)."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from functools import partial

from salon.channels.voice_people import Caller
from salon.media.frame import SAMPLE_RATE, AudioChunk, Samples
from salon.voice.speaking import SpeechTrack
from salon.voice.tts.adapt import AdaptedTextToSpeech
from salon.voice.tts.base import DEFAULT_VOICE, SpeechChunk, TextToSpeech, VoiceSettings
from salon.voice.tts.context import (
    AssistantTurnRecorder,
    TTSContext,
    TTSContextConfig,
    TTSContextLevel,
    TTSContextStore,
)

MAX_SOUND_S = 60
"""Of what a caller said last this much is at hand, where sound is kept at all."""


class VoiceContext:
    """The conversations of one channel's sessions, as far as `synthesizer` wants to know them.

    What a session's caller said and what they were told, each session for itself; nothing comes
    from the room. An answer that several hear is made once (V240) and knows none of them: what one
    has said is not told to another's ear. With `redacts`, speech with keys in it keeps no sound.
    """

    def __init__(
        self, synthesizer: TextToSpeech | None, config: TTSContextConfig | None, *, redacts: bool
    ) -> None:
        config = config or TTSContextConfig()
        self._engine = synthesizer if isinstance(synthesizer, AdaptedTextToSpeech) else None
        level = TTSContextLevel.NONE if self._engine is None else self._engine.context_level
        self._store = (
            TTSContextStore(config, level)
            if config.enabled and level is not TTSContextLevel.NONE
            else None
        )
        self._redacts = redacts
        self._sounds: dict[str, _Sound] = {}

    def sessions(self) -> list[str]:
        """Those something may be kept of."""
        return [] if self._store is None else self._store.sessions()

    def join(self, caller: Caller) -> None:
        """A session begins."""
        if self._store is None:
            return
        self._store.open(caller.session.id)
        if self._store.keeps_audio:
            sound = self._sounds[caller.session.id] = _Sound()
            caller.session.taps.append(partial(sound.hear, caller))

    def leave(self, caller: Caller) -> None:
        """It is over: nothing of it stays here or with the provider; idempotent."""
        name = caller.session.id
        if self._store is None or name not in self._store.sessions():
            return
        self._store.release(name)
        if (sound := self._sounds.pop(name, None)) is not None:
            sound.close()
        if self._engine is not None:
            self._engine.release_context(name)

    def pressed(self, caller: Caller) -> None:
        """A key was heard."""
        if self._store is not None and self._redacts:
            self._store.note_dtmf(caller.session.id)

    def said(
        self, caller: Caller, text: str, start_ms: int, end_ms: int, *, changed: bool = False
    ) -> None:
        """What the caller said, as ON_TRANSCRIPTION left it; `changed`: in other words than heard.
        Without text the hook refused it, and nothing is kept."""
        store, name = self._store, caller.session.id
        if store is None:
            return
        keys = store.take_dtmf(name)
        if not text.strip():
            return
        sound = self._sounds.get(name)
        store.add_user_turn(
            name,
            caller.participant_id,
            text,
            audio=None if sound is None else sound.between(start_ms, end_ms),
            sample_rate=SAMPLE_RATE,
            text_changed=changed,
            dtmf_seen=keys,
        )

    def answer(self, callers: Sequence[Caller]) -> Answer | None:
        """Something is to be said to these; None where no context is kept."""
        store = self._store
        if store is None or self._engine is None:
            return None
        begun = {caller: store.begin_assistant_turn(caller.session.id) for caller in callers}
        context = next(iter(begun.values()))[0] if len(begun) == 1 else None
        recorders = {caller: recorder for caller, (_, recorder) in begun.items()}
        return Answer(store, self._engine, context, recorders)


class Answer(TextToSpeech):
    """The voice for one thing to be said: it knows the conversation, and keeps what it said."""

    def __init__(
        self,
        store: TTSContextStore,
        engine: AdaptedTextToSpeech,
        context: TTSContext | None,
        recorders: dict[Caller, AssistantTurnRecorder],
    ) -> None:
        self.name = engine.name
        self._store = store
        self._engine = engine
        self._context = context
        self._recorders = recorders
        self._tracks: dict[Caller, SpeechTrack] = {}

    async def speak(
        self, text: str, settings: VoiceSettings = DEFAULT_VOICE
    ) -> AsyncIterator[SpeechChunk]:
        """As the engine."""
        chunks = self._engine.speak_in_context(text, settings, self._context)
        try:
            async for chunk in chunks:
                for recorder in self._recorders.values():
                    recorder.add(AudioChunk(chunk.samples.tobytes(), SAMPLE_RATE))
                yield chunk
        finally:
            await chunks.aclose()

    def follow(self, caller: Caller, track: SpeechTrack) -> None:
        """A caller listens."""
        self._tracks[caller] = track

    def over(self, agent: str, *, interrupted: bool) -> None:
        """Nobody hears more of it: each session knows what was heard there."""
        for caller, track in self._tracks.items():
            self._store.commit_assistant_turn(
                self._recorders[caller],
                agent,
                track.heard(),
                played_ms=track.played_ms,
                interrupted=interrupted,
            )
        self._tracks.clear()


class _Sound:
    """The newest sound of one caller, by the sample clock."""

    def __init__(self) -> None:
        self._frames: deque[tuple[int, Samples]] = deque()
        self._samples = 0
        self._closed = False

    def hear(self, caller: Caller, samples: Samples) -> None:
        """As the pipeline leaves it."""
        if self._closed:
            return
        self._frames.append((caller.session.hearing.now_ms(), samples))
        self._samples += len(samples)
        while self._samples > MAX_SOUND_S * SAMPLE_RATE:
            self._samples -= len(self._frames.popleft()[1])

    def close(self) -> None:
        """Keep nothing more."""
        self._closed = True
        self._frames.clear()
        self._samples = 0

    def between(self, start_ms: int, end_ms: int) -> bytes:
        """Whole frames that began in this stretch."""
        return b"".join(
            samples.tobytes() for at, samples in tuple(self._frames) if start_ms <= at < end_ms
        )
