"""A room with one voice channel around mocks: frames in, hooks, events and frames out (part 24)."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from salon.channels.ai import AIChannel
from salon.channels.voice import VoiceChannel
from salon.core import RoomKit
from salon.media.frame import FRAME_SAMPLES, AudioFrame
from salon.models import EventType, HookResult, HookTrigger, RoomEvent, TextContent
from salon.testing import MockAIProvider, VirtualClock
from salon.transport.ticker import Ticker
from salon.voice.backends.mock import MockVoiceBackend
from salon.voice.backends.session import VoiceSession
from salon.voice.engine import VoiceEngine
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.vad.base import VADEvent, VADEventType, VADProvider
from salon.voice.pipeline.vad.mock import MockVADProvider
from salon.voice.stt.mock import MockSTTProvider
from salon.voice.stt.provider import STTProvider
from salon.voice.stt.result import TranscriptionResult
from salon.voice.tts.mock import MockTextToSpeech, MockTTSProvider
from salon.voice.vad.batch import BatchedVad

ROOM = "room"
FRAME = AudioFrame(b"\x01\x00" * FRAME_SAMPLES)
START = VADEvent(VADEventType.SPEECH_START)
FRAME_MS = 20
CHAR_MS = 20
"""How long the stage's own voice takes for a character."""


def end(audio: bytes | None = b"\x01\x00" * 3200, duration_ms: float = 400.0) -> VADEvent:
    """The detector's end of a stretch of speech."""
    return VADEvent(VADEventType.SPEECH_END, audio_bytes=audio, duration_ms=duration_ms)


class ToldVAD(VADProvider):
    """A detector that says what `tell` put up for a stream, one event a frame."""

    def __init__(self) -> None:
        self.events: defaultdict[str, deque[VADEvent | None]] = defaultdict(deque)
        self.resets: list[str] = []
        self.closed = False

    @property
    def name(self) -> str:
        return "ToldVAD"

    def tell(self, stream: str, event: VADEvent | None) -> None:
        """For the next frame."""
        self.events[stream].append(event)

    def process(self, frame: AudioFrame, stream: str) -> VADEvent | None:
        waiting = self.events[stream]
        return waiting.popleft() if waiting else None

    def reset(self, stream: str) -> None:
        """What it is still to say stays: it may be reset just before the first frame."""
        self.resets.append(stream)
        if not self.events[stream]:
            del self.events[stream]

    def close(self) -> None:
        self.closed = True


class ScriptSTT(STTProvider):
    """Answers each utterance with the next of `script`, after `delay` seconds; then with nothing.
    What is an exception is raised. `heard` keeps the bytes of each."""

    def __init__(self, script: Iterable[str | Exception] = (), *, delay: float = 0.0) -> None:
        self.script: deque[str | Exception] = deque(script)
        self.delay = delay
        self.heard: list[bytes] = []
        self.languages: list[str | None] = []

    @property
    def name(self) -> str:
        return "ScriptSTT"

    @property
    def supports_language_override(self) -> bool:
        return True

    async def transcribe(self, audio: Any, *, language: str | None = None) -> TranscriptionResult:
        self.heard.append(bytes(audio.data))
        self.languages.append(language)
        await asyncio.sleep(self.delay)
        said = self.script.popleft() if self.script else ""
        if isinstance(said, Exception):
            raise said
        return TranscriptionResult(said)


class QuietBackend(MockVoiceBackend):
    """A mock whose lines are not live before `simulate_session_ready`."""

    async def connect(self, *args: Any, **options: Any) -> VoiceSession:
        ready, self._on_ready = self._on_ready, []
        try:
            return await super().connect(*args, **options)
        finally:
            self._on_ready = ready


@dataclass(slots=True)
class Stage:
    """What a test holds."""

    kit: RoomKit
    channel: VoiceChannel
    backend: MockVoiceBackend
    session: VoiceSession
    agent: AIChannel | None
    vad: Any
    tts: Any
    stt: Any
    fired: list[tuple[HookTrigger, Any]] = field(default_factory=list)
    framework: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def watch(self, *triggers: HookTrigger, **filters: Any) -> None:
        """Note what these hooks are given, in order."""
        for trigger in triggers:

            async def note(
                payload: Any, _context: Any, trigger: HookTrigger = trigger
            ) -> HookResult:
                self.fired.append((trigger, payload))
                return HookResult.allow()

            name = f"watch {trigger} {filters}"
            self.kit.hook(trigger, name=name, **filters)(note)

    def watch_framework(self, *names: str) -> None:
        """Note these framework events."""
        for name in names:

            async def note(event: Any, name: str = name) -> None:
                self.framework.append((name, dict(event.data) | {"room_id": event.room_id}))

            self.kit.on(name)(note)

    def order(self) -> list[HookTrigger]:
        """The hooks that fired."""
        return [trigger for trigger, _ in self.fired]

    def given(self, trigger: HookTrigger) -> list[Any]:
        """What a hook was given, each time."""
        return [payload for fired, payload in self.fired if fired is trigger]

    async def join(self, participant: str, **metadata: Any) -> VoiceSession:
        """One more line in the room."""
        session = await self.backend.connect(ROOM, participant, "voice", metadata=metadata)
        self.channel.bind_session(session, ROOM)
        return session

    # -- the caller -------------------------------------------------------------------------------

    async def feed(self, frames: int = 1, session: VoiceSession | None = None) -> None:
        """Frames of the caller, one every 20 ms."""
        for _ in range(frames):
            await self.backend.simulate_audio_received(session or self.session, FRAME)
            await asyncio.sleep(0.02)

    async def quiet(self, ms: int, session: VoiceSession | None = None) -> None:
        """Frames in which the detector hears nothing new."""
        await self.feed(ms // FRAME_MS, session)

    async def begin(self, session: VoiceSession | None = None, audio: bytes | None = None) -> None:
        """The detector hears speech begin."""
        who = session or self.session
        self.vad.tell(who.id, VADEvent(VADEventType.SPEECH_START, audio_bytes=audio))
        await self.feed(1, who)

    async def fall_silent(
        self, session: VoiceSession | None = None, ms: float | None = None
    ) -> None:
        """The detector hears it end."""
        who = session or self.session
        self.vad.tell(who.id, VADEvent(VADEventType.SPEECH_END, duration_ms=ms))
        await self.backend.simulate_audio_received(who, FRAME)
        await asyncio.sleep(0)

    async def speak(self, ms: int = 400, session: VoiceSession | None = None) -> None:
        """Speech that lasts `ms`, to the instant."""
        await self.begin(session)
        whole, rest = divmod(ms - FRAME_MS, FRAME_MS)
        await self.feed(whole, session)
        await asyncio.sleep(rest / 1000)
        await self.fall_silent(session, ms)

    async def ask(self, ms: int = 400) -> None:
        """The caller says something; returns when an agent is heard in answer."""
        before = len(self.backend.sent_chunks)
        await self.speak(ms)
        await self.until_audible(before)

    # -- the agent --------------------------------------------------------------------------------

    async def until_audible(self, before: int = 0) -> None:
        """Wait for sound towards anyone, beyond `before` chunks; Ann's frames go on."""
        async with asyncio.timeout(20):
            while len(self.backend.sent_chunks) <= before:
                await self.feed()

    def sound(self, session: VoiceSession | None = None) -> bytes:
        """What was played to a session."""
        who = (session or self.session).id
        return b"".join(chunk.data for to, chunk in self.backend.sent_chunks if to == who)

    def played_ms(self, session: VoiceSession | None = None) -> int:
        """How much that is, of sound in 16 kHz."""
        return len(self.sound(session)) // 32

    # -- the room ---------------------------------------------------------------------------------

    async def messages(self) -> list[RoomEvent]:
        """What was said in the room, in order."""
        events = await self.kit.store.list_events(ROOM, limit=500)
        return [event for event in events if event.type is EventType.MESSAGE]

    async def said(self) -> list[str]:
        """The words of these messages."""
        contents = [event.content for event in await self.messages()]
        return [content.body for content in contents if isinstance(content, TextContent)]

    async def events(self) -> list[RoomEvent]:
        """Everything stored."""
        return list(await self.kit.store.list_events(ROOM, limit=500))


def _engine_in_virtual_time(config: AudioPipelineConfig | None) -> VoiceEngine:
    del config
    return VoiceEngine(vad=BatchedVad(None), ticker=Ticker(), clock=VirtualClock())


@asynccontextmanager
async def stage(
    events: Sequence[VADEvent | None] | None = None,
    transcripts: Sequence[str | Exception] = (),
    *,
    answers: Sequence[Any] = (),
    provider: Any = None,
    stt: Any = None,
    tts: Any = None,
    pipeline: dict[str, Any] | None = None,
    backend: MockVoiceBackend | None = None,
    bound: bool = True,
    detector: bool = True,
    telemetry: Any = None,
    **options: Any,
) -> AsyncIterator[Stage]:
    """A room ``room`` with Ann on a mock line, and an agent if there are `answers` (or it has a
    `provider`). With `events` the detector plays them, and recognition and voice are RoomKit's
    mocks; without, the detector says what it is told (`begin`, `speak`), recognition goes by
    `transcripts` once, and the voice takes `CHAR_MS` a character. ``detector=False``: there is
    none, for continuous recognition and batches."""
    vad: Any = ToldVAD() if events is None else MockVADProvider(list(events))
    if stt is None:
        stt = ScriptSTT(transcripts) if events is None else MockSTTProvider(_texts(transcripts))
    if tts is None:
        tts = MockTextToSpeech(char_ms=CHAR_MS) if events is None else MockTTSProvider()
    if not detector:
        vad = None
    config: dict[str, Any] = {"vad": vad, **(pipeline or {})}
    backend = backend or QuietBackend()
    clock = VirtualClock()
    kit = RoomKit(clock=clock, telemetry=telemetry)
    with patch("salon.channels.voice_parts.engine_for", _engine_in_virtual_time):
        channel = VoiceChannel(
            "voice",
            stt=stt,
            tts=tts,
            backend=backend,
            pipeline=AudioPipelineConfig(**config),
            **options,
        )
    kit.register_channel(channel)
    agent = None
    if answers or provider is not None:
        agent = AIChannel("agent", provider=provider or MockAIProvider(list(answers)))
        kit.register_channel(agent)
    async with kit:
        await kit.create_room(ROOM)
        binding = await kit.attach_channel(ROOM, "voice")
        if agent is not None:
            await kit.attach_channel(ROOM, "agent")
        session = await backend.connect(ROOM, "ann", "voice")
        held = Stage(kit, channel, backend, session, agent, config["vad"], tts, stt)
        if bound:
            channel.bind_session(session, ROOM, binding)
            await asyncio.sleep(0)  # the recogniser begins
        yield held


def _texts(transcripts: Sequence[str | Exception]) -> list[str]:
    return [text for text in transcripts if isinstance(text, str)]
