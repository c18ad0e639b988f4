"""Recognition without a detector: on demand (batch), or of everything that is heard (continuous).

An ear is attached to a session by its `taps`: it hears what the pipeline leaves. What it
recognises goes the way of all media events, so that hooks, turns and the room see no difference.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TYPE_CHECKING, Any
from typing import Final as Constant

from salon.base import RAISED, LocalProtocolError
from salon.channels.voice_people import Caller
from salon.channels.voice_stretches import Stretches
from salon.media.frame import SAMPLE_RATE, AudioChunk, AudioFrame, Samples
from salon.voice.errors import SpeechError
from salon.voice.events import Final, MediaEvent, RecognitionFailed, TurnEnded
from salon.voice.foreign import close_stream, failure, is_ours
from salon.voice.interruption import InterruptionConfig, InterruptionHandler
from salon.voice.patience import Patience
from salon.voice.session import MediaSession
from salon.voice.speakers import LabelEpochs
from salon.voice.stt.adapt import AdaptedSpeechToText
from salon.voice.stt.base import SpeechToText
from salon.voice.stt.provider import STTProvider
from salon.voice.stt.result import TranscriptionResult

if TYPE_CHECKING:
    from salon.channels.voice_transcripts import Transcripts
    from salon.voice.pipeline.backchannel.base import BackchannelDetector

_log = logging.getLogger("salon.channels.voice")

MAX_BATCH_BYTES: Constant = 10 * 1024 * 1024
"""Of one session, about 5.5 minutes; sound beyond is dropped and counted."""
BATCH_ANSWER_S: Constant = 120.0
"""The text of a whole batch must come within this."""
MAX_HELD_BYTES: Constant = 5 * SAMPLE_RATE * 2
"""Sound that waits for a stream; beyond, the oldest goes and is counted."""
RETRY_S: Constant = 0.5
MAX_RETRY_S: Constant = 30.0
IDLE_S: Constant = 1.0
"""No sound for this long ends the stream of a provider that does not keep it across turns."""
ENDING_S: Constant = 5.0
"""A stream whose sound is over must end within this."""
STUCK_S: Constant = 10.0
"""A stream that does not come for more sound for so long has failed, be there some or not: who asks
next would wait for it in vain."""
PIECE_BYTES: Constant = SAMPLE_RATE // 10 * 2
"""Sound that has waited is handed on in pieces of 100 ms at most: an engine that looks for pauses
chunk by chunk finds those within it."""
SETTLED_S: Constant = 0.8
"""An engine that does not find the ends of turns by itself is told that words which have not
changed for this long are one."""
MAX_PART_BYTES: Constant = 20 * SAMPLE_RATE * 2
"""Such an engine is told to begin anew after so much sound in which it found no words."""


class RecognitionModeError(LocalProtocolError, RuntimeError):
    """The channel's way of recognition has no such operation."""

    code = "recognition_mode"


def provider_of(recognizer: SpeechToText) -> STTProvider:
    """The provider behind a recogniser: itself, or the one that was wrapped."""
    return recognizer.provider if isinstance(recognizer, AdaptedSpeechToText) else recognizer


def _options(provider: STTProvider, language: str | None) -> dict[str, Any]:
    """A language goes only to a provider that takes one (V231)."""
    if language is None or provider.supports_language_override is not True:
        return {}
    return {"language": language}


class BatchEar:
    """Gathers a session's sound until somebody asks for its text."""

    def __init__(self, session: MediaSession, provider: STTProvider) -> None:
        self.language: str | None = None
        self.dropped_bytes = 0
        self._session = session
        self._provider = provider
        self._sound = bytearray()
        session.taps.append(self.hear)

    def __len__(self) -> int:
        """Bytes gathered, two a sample."""
        return len(self._sound)

    def hear(self, samples: Samples) -> None:
        """Sound of the session, ``int16[n]`` 16 kHz."""
        size = 2 * len(samples)
        if len(self._sound) + size > MAX_BATCH_BYTES:
            if not self.dropped_bytes:
                _log.warning("the batch of voice session %s is full", self._session.id)
            self.dropped_bytes += size
            return
        self._sound += samples.tobytes()

    def clear(self) -> int:
        """Forget it; how many bytes there were."""
        size = len(self._sound)
        self._sound.clear()
        return size

    async def flush(self) -> tuple[TranscriptionResult, Final | None]:
        """Its text, as the provider answered and as words of a turn (None without words); what is
        heard meanwhile belongs to the next. `SpeechError` if the provider fails: the sound is
        gone."""
        if not self._sound:
            return TranscriptionResult(""), None
        data = bytes(self._sound)
        self._sound.clear()
        end_ms = self._session.hearing.now_ms()
        provider = self._provider
        clock = self._session.engine.clock
        began = clock.monotonic()
        try:
            async with asyncio.timeout(BATCH_ANSWER_S):
                result: object = await provider.transcribe(
                    AudioFrame(data, SAMPLE_RATE), **_options(provider, self.language)
                )
        except RAISED as error:
            if is_ours(error):
                raise
            raise failure(provider.name, error) from error
        if not isinstance(result, TranscriptionResult) or not isinstance(result.text, str):
            kind = type(result).__name__
            raise SpeechError(provider.name, f"answered {kind}, no transcription")
        if not result.text.strip():
            return result, None
        final = Final(
            0,
            result.text,
            end_ms - len(data) // 2 * 1000 // SAMPLE_RATE,
            end_ms,
            result.confidence,
            (clock.monotonic() - began) * 1000,
            language=result.language,
        )
        return result, final

    def close(self) -> None:
        """Hear no more; idempotent."""
        self._sound.clear()
        if self.hear in self._session.taps:
            self._session.taps.remove(self.hear)


class _Stream:
    """One stream of a provider."""

    def __init__(self, base_ms: int) -> None:
        self.base_ms = base_ms
        self.limit = asyncio.timeout(None)
        self.stuck = False
        """It came for no more sound."""
        self.patience = Patience(STUCK_S, self._give_up)
        """With the engine, while it has a piece of sound and does not come for the next."""
        self.over = False
        """Its sound has ended, by our will."""
        self.brought = False
        self.part_bytes = 0
        """Sound since the last result, or since the engine was told to begin anew."""
        self.settled = False
        self.settling: asyncio.TimerHandle | None = None

    def end(self) -> None:
        """No more sound; it must end soon."""
        if not self.over:
            self.over = True
            self._limit_to(ENDING_S)

    def _give_up(self) -> None:
        """It takes no more sound: it is over now."""
        if not self.over and not self.stuck:
            self.stuck = True
            self._limit_to(0)

    def _limit_to(self, seconds: float) -> None:
        if not self.limit.expired():
            self.limit.reschedule(asyncio.get_running_loop().time() + seconds)

    def close(self) -> None:
        """It has ended."""
        self.patience.close()
        self.settle_no_more()

    def settle_no_more(self) -> None:
        """Its words have changed, or there are none."""
        if self.settling is not None:
            self.settling.cancel()
            self.settling = None


class ContinuousEar:
    """Has everything of one session recognised, in one stream from turn to turn.

    A stream is opened with the first sound. When the provider ends it or fails, the next one is
    opened after 0.5 s, 1 s, ... 30 s, from 0.5 s again once one has brought words; sound is kept
    meanwhile (5 s). Each stream is a label epoch.
    """

    def __init__(
        self,
        session: MediaSession,
        provider: STTProvider,
        handler: InterruptionHandler,
        *,
        language: str | None = None,
    ) -> None:
        self.dropped_bytes = 0
        self.epochs = LabelEpochs()
        diarizes = provider.supports_diarization is True
        self._session = session
        self._provider = provider
        self._language = language
        self._keeps = diarizes or provider.keeps_stream_across_turns is True
        self._cuts_turns = not isinstance(provider, SpeechToText)
        self._stretches = Stretches(
            session,
            provider.name,
            handler,
            epochs=self.epochs if diarizes else None,
            busy=self._is_busy,
        )
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._more = asyncio.Event()
        self._stream: _Stream | None = None
        session.taps.append(self.hear)
        self._task = session.scope.spawn(self._run(), name="continuous recognition")

    @property
    def language(self) -> str | None:
        """Of what is said. Another one ends the stream (V232): it holds for the next."""
        return self._language

    @language.setter
    def language(self, language: str | None) -> None:
        if language == self._language:
            return
        self._language = language
        if self._stream is not None:
            self._stream.end()
            self._more.set()

    def hear(self, samples: Samples) -> None:
        """Sound of the session, ``int16[n]`` 16 kHz."""
        self._held.append(samples.tobytes())
        self._held_bytes += 2 * len(samples)
        while self._held_bytes > MAX_HELD_BYTES and len(self._held) > 1:
            oldest = len(self._held.popleft())
            self._held_bytes -= oldest
            self.dropped_bytes += oldest
        self._more.set()

    def claimed(self) -> None:
        """The transport noticed speech over the agent."""
        self._stretches.claimed()

    def close(self) -> None:
        """Hear no more; idempotent."""
        self._task.cancel()
        self._stretches.close()
        if self.hear in self._session.taps:
            self._session.taps.remove(self.hear)

    def _is_busy(self) -> bool:
        """The engine has sound and has not come for more: it will be told of if it never does."""
        return self._stream is not None and self._stream.patience.waiting

    async def _run(self) -> None:
        delay = RETRY_S
        while True:
            while not self._held:
                self._more.clear()
                await self._more.wait()
            stream = self._stream = _Stream(self._session.hearing.now_ms() - self._held_ms())
            stream.patience.wait()
            self.epochs.opened()
            try:
                error = await self._recognise(stream)
            finally:
                self._stream = None
                stream.close()
            self._stretches.stream_over(stream.base_ms, error)
            if stream.brought:
                delay = RETRY_S
            if stream.over and error is None:
                continue
            await self._session.engine.clock.sleep(delay)
            delay = min(2 * delay, MAX_RETRY_S)

    def _held_ms(self) -> int:
        return self._held_bytes // 2 * 1000 // SAMPLE_RATE

    async def _recognise(self, stream: _Stream) -> str | None:
        """One stream from beginning to end; why it failed."""
        name = self._provider.name
        try:
            async with stream.limit:
                await self._read(stream)
        except RAISED as error:
            if is_ours(error):
                raise
            if stream.limit.expired():
                if stream.stuck:
                    return f"{name}: took no sound for {STUCK_S:g} s"
                return f"{name}: did not end within {ENDING_S:g} s"
            _log.warning("a stream of the recogniser %s failed", name, exc_info=error)
            return str(failure(name, error))
        return None

    async def _read(self, stream: _Stream) -> None:
        provider = self._provider
        sound = self._sound(stream)
        results: object = provider.transcribe_stream(sound, **_options(provider, self._language))
        if not isinstance(results, AsyncIterator):
            kind = type(results).__name__
            raise SpeechError(provider.name, f"transcribe_stream gave {kind}, no iterator")
        try:
            async for result in results:
                words = self._stretches.words
                if self._stretches.take(result, stream.base_ms):
                    stream.brought = True
                    stream.part_bytes = 0
                if not self._cuts_turns and self._stretches.words != words:
                    self._settle(stream)
        finally:
            await close_stream(results, provider.name)
            await close_stream(sound, provider.name)

    def _piece(self) -> bytes:
        """The oldest sound that waits."""
        parts: list[bytes] = []
        room = PIECE_BYTES
        while self._held and room:
            part = self._held.popleft()
            if len(part) > room:
                self._held.appendleft(part[room:])
                part = part[:room]
            parts.append(part)
            room -= len(part)
        data = b"".join(parts)
        self._held_bytes -= len(data)
        return data

    def _settle(self, stream: _Stream) -> None:
        """The turn of an engine that does not end it itself ends when its words stay the same."""
        stream.settle_no_more()
        if self._stretches.words:
            stream.settling = asyncio.get_running_loop().call_later(
                SETTLED_S, self._settled, stream
            )

    def _settled(self, stream: _Stream) -> None:
        stream.settled = True
        self._more.set()

    async def _sound(self, stream: _Stream) -> AsyncGenerator[AudioChunk, None]:
        """What has come since the last chunk, `PIECE_BYTES` at most at a time."""
        patience = stream.patience
        patience.came()
        while True:
            if self._held:
                data = self._piece()
                stream.part_bytes += len(data)
                patience.wait()
                yield AudioChunk(data, SAMPLE_RATE)
                patience.came()
            if stream.over:  # what still waits is for the next
                return
            if not self._cuts_turns and (stream.settled or stream.part_bytes > MAX_PART_BYTES):
                stream.settled, stream.part_bytes = False, 0
                patience.wait()
                yield AudioChunk(b"", SAMPLE_RATE, is_final=True)
                patience.came()
            elif not self._held:
                self._more.clear()
                try:
                    async with asyncio.timeout(None if self._keeps else IDLE_S):
                        await self._more.wait()
                except TimeoutError:
                    stream.end()


class RecognitionModes:
    """The ears of a channel's sessions, if it has no detector.

    `batch` gathers, `continuous` streams, neither: a detector says what is recognised.
    """

    def __init__(
        self,
        recognizer: SpeechToText | None,
        interruption: InterruptionConfig,
        detector: BackchannelDetector | None,
        *,
        batch: bool,
        continuous: bool,
    ) -> None:
        self._provider = None if recognizer is None else provider_of(recognizer)
        self._handler = InterruptionHandler(interruption, backchannel_detector=detector)
        self._batch = batch
        self._continuous = continuous
        self._ears: dict[str, tuple[Caller, BatchEar | ContinuousEar]] = {}

    def attach(self, caller: Caller, language: str | None) -> None:
        """Listen to a caller; idempotent."""
        session, provider = caller.session, self._provider
        if session.id in self._ears or provider is None:
            return
        ear: BatchEar | ContinuousEar
        if self._batch:
            ear = BatchEar(session, provider)
            ear.language = language
        elif self._continuous:
            ear = ContinuousEar(session, provider, self._handler, language=language)
        else:
            return
        self._ears[session.id] = caller, ear

    def claimed(self, caller: Caller) -> None:
        """The transport noticed a caller's speech over the agent."""
        kept = self._ears.get(caller.session.id)
        if kept is not None and isinstance(kept[1], ContinuousEar):
            kept[1].claimed()

    def detach(self, caller: Caller) -> None:
        """A caller is gone; idempotent."""
        kept = self._ears.get(caller.session.id)
        if kept is not None and kept[0] is caller:
            del self._ears[caller.session.id]
            kept[1].close()

    def set_language(self, session_id: str, language: str | None) -> None:
        """For a session's next stream or batch (V232). `RecognitionModeError` where the provider
        takes no language."""
        provider = self._provider
        if provider is None or provider.supports_language_override is not True:
            name = "no recogniser" if provider is None else provider.name
            raise RecognitionModeError(f"{name} takes no language of a session")
        if session_id in self._ears:
            self._ears[session_id][1].language = language

    def size(self, session_id: str) -> int:
        """Bytes gathered for a session; 0 where nothing is gathered."""
        ear = self._batch_ear(session_id)
        return 0 if ear is None else len(ear)

    def clear(self, session_id: str) -> int:
        """Forget them; how many there were. `RecognitionModeError` outside batch mode."""
        self._require_batch("clear_stt_buffer")
        ear = self._batch_ear(session_id)
        return 0 if ear is None else ear.clear()

    async def flush(
        self,
        session_id: str,
        media: Callable[[Caller, MediaEvent], None],
        transcripts: Transcripts | None,
    ) -> TranscriptionResult:
        """The text of what was gathered; with `transcripts` it goes their way too, and this returns
        when they are done with it."""
        self._require_batch("flush_stt")
        ear = self._batch_ear(session_id)
        if ear is None:
            raise LocalProtocolError(f"voice session {session_id} is bound to no room")
        caller = self._ears[session_id][0]
        try:
            result, final = await ear.flush()
        except SpeechError as error:
            media(caller, RecognitionFailed(0, error.engine, str(error)))
            raise
        if transcripts is not None and final is not None and session_id in self._ears:
            media(caller, TurnEnded(0, final.start_ms, final.end_ms))
            done = transcripts.final(caller, final)
            if done is not None:
                await asyncio.shield(done)
        return result

    def _batch_ear(self, session_id: str) -> BatchEar | None:
        ear = self._ears[session_id][1] if session_id in self._ears else None
        return ear if isinstance(ear, BatchEar) else None

    def _require_batch(self, what: str) -> None:
        if not self._batch:
            raise RecognitionModeError(f"{what} needs VoiceChannel(batch_mode=True)")
