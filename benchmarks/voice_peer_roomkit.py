"""The work that `bench_voice_turns` and `bench_voice` measure, for either package, in the
interpreter that runs this.

    python benchmarks/voice_peer_roomkit.py roomkit '{"work": "turns", "sound": "said.pcm", ...}'

Each argument is a case; one line of JSON per case. Nothing is imported but the package named, what
its detector needs, and the standard library. ``sound`` is a file of ``int16``, 16 kHz mono, in
which somebody speaks until sample ``end`` and is then silent.

"turns": people talk to a room in real time, one after the other; the recogniser, the agent and
the voice answer at once. Of every third turn the recogniser makes nothing, so that there is no
answer: its CPU time is what the frames cost. "inbound": frames go through RoomKit's pipeline as
fast as they can, nobody takes turns.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import importlib
import json
import platform
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

FRAME_MS = 20
FRAME_BYTES = 640
QUESTION = "When does the next boat leave?"
ANSWER = "It leaves at a quarter past nine."
ANSWER_FRAMES = 5
SETTLE_S = 0.5
LEAD_MS, TRAIL_MS = 80, 220
"""CPU time counts from so long before the end of a turn is due until so long after."""
SILENT_EVERY = 3
WARM_UP_FRAMES = 50


def named(package: str, path: str) -> Any:
    """Something by its module and name, in either package."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(f"{package}.{module}" if module else package), name)


@dataclass
class Turn:
    """When things happened, by `time.perf_counter`; 0: not at all."""

    due: float = 0.0
    """The frame was handed in in which the silence after speech had lasted, for the detector."""
    due_true: float = 0.0
    """The same, from the end of speech that the recording has."""
    asked: float = 0.0
    """The recogniser was asked for its words."""
    agent: float = 0.0
    voice: float = 0.0
    heard: float = 0.0
    """The first frame of the answer was handed to the transport."""
    answered: bool = True
    """Somebody is to answer it."""
    cpu: float = 0.0
    """CPU seconds of the process, from `LEAD_MS` before its end is due to `TRAIL_MS` after."""


@dataclass
class Line:
    """One person, whose sound is played to the channel in real time."""

    session: Any = None
    handed: list[float] = field(default_factory=list)
    """When each frame was handed in."""
    turns: list[Turn] = field(default_factory=list)

    @property
    def turn(self) -> Turn:
        """The newest."""
        if not self.turns:
            self.turns.append(Turn())
        return self.turns[-1]


class Floor:
    """The lines, and whose turn ends now: turns of two lines never end at the same time."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.latest = Line()

    def of(self, session_id: str) -> Line:
        """By the session of a package."""
        return next(line for line in self.lines if line.session.id == session_id)


def recogniser(package: str, floor: Floor) -> Any:
    """Knows the words at once, if there are any."""
    result = named(package, "voice.base.TranscriptionResult")

    class Recogniser(named(package, "voice.stt.base.STTProvider")):  # type: ignore[misc]
        async def transcribe(self, audio: Any, *, language: str | None = None) -> Any:
            turn = floor.latest.turn
            turn.asked = time.perf_counter()
            return result(text=QUESTION if turn.answered else "")

    return Recogniser()


def voice(package: str, floor: Floor) -> Any:
    """Has its sound at once."""
    chunk = named(package, "voice.base.AudioChunk")
    sound = b"\x10\x00\xf0\xff" * (ANSWER_FRAMES * FRAME_BYTES // 4)

    class Voice(named(package, "voice.tts.base.TTSProvider")):  # type: ignore[misc]
        async def synthesize(self, text: str, *, voice: str | None = None) -> Any:
            raise NotImplementedError

        async def synthesize_stream(
            self, text: str, *, voice: str | None = None, context: Any = None
        ) -> AsyncIterator[Any]:
            turn = floor.latest.turn
            turn.voice = turn.voice or time.perf_counter()
            yield chunk(data=sound, sample_rate=16000, is_final=True)

    return Voice()


def agent(package: str, floor: Floor) -> Any:
    """Answers one sentence at once."""
    response = named(package, "providers.ai.base.AIResponse")

    class Provider(named(package, "providers.ai.base.AIProvider")):  # type: ignore[misc]
        model_name = "scripted"
        supports_streaming = True

        async def generate(self, context: Any) -> Any:
            floor.latest.turn.agent = time.perf_counter()
            return response(content=ANSWER)

        async def generate_stream(self, context: Any) -> AsyncIterator[str]:
            floor.latest.turn.agent = time.perf_counter()
            yield ANSWER

    return named(package, "channels.ai.AIChannel")("agent", Provider())


def transport(package: str, floor: Floor) -> Any:
    """Notes when it is given the first frame of an answer.

    It cancels echo itself, as a browser does: else RoomKit takes no speech for two seconds after
    an answer.
    """
    capability = named(package, "voice.base.VoiceCapability").NATIVE_AEC

    class Transport(named(package, "voice.backends.mock.MockVoiceBackend")):  # type: ignore[misc]
        def heard(self, session: Any) -> None:
            turn = floor.of(session.id).turn
            turn.heard = turn.heard or time.perf_counter()

        async def send_audio(self, session: Any, audio: Any) -> None:
            if isinstance(audio, bytes):
                self.heard(session)
                return
            async for _chunk in audio:
                self.heard(session)

        def send_audio_sync(self, session: Any, chunk: Any) -> None:
            self.heard(session)

    return Transport(capabilities=capability)


def roomkit_detector(case: dict[str, Any], floor: Floor) -> Any:
    """Its own Silero detector; the frame that ends a turn is noted."""
    module = "voice.pipeline.vad.sherpa_onnx"
    base: Any = named("roomkit", f"{module}.SherpaOnnxVADProvider")
    end = named("roomkit", "voice.pipeline.vad.base.VADEventType").SPEECH_END

    class Detector(base):  # type: ignore[misc]
        def process(self, frame: Any, stream: str) -> Any:
            event = super().process(frame, stream)
            if event is not None and event.type is end:
                floor.latest.turn.due = floor.latest.handed[-1]
            return event

    config = named("roomkit", f"{module}.SherpaOnnxVADConfig")(
        model=case["model"],
        model_type="silero",
        threshold=0.5,
        silence_threshold_ms=case["silence_ms"],
        min_speech_duration_ms=96,
    )
    return Detector(config)


def channel(package: str, case: dict[str, Any], floor: Floor, backend: Any) -> Any:
    """The package's voice channel, with a Silero detector and this silence at the end of a turn."""
    cls = named(package, "channels.voice.VoiceChannel")
    config = named(package, "voice.pipeline.config.AudioPipelineConfig")
    if package == "salon":
        cls = _watched(cls, case, floor)
        silero = named(package, "voice.pipeline.vad.silero.SileroVADProvider")
        detector = silero(silence_threshold_ms=case["silence_ms"], min_speech_duration_ms=96)
    else:
        detector = roomkit_detector(case, floor)
    return cls(
        "voice",
        stt=recogniser(package, floor),
        tts=voice(package, floor),
        backend=backend,
        pipeline=config(vad=detector),
    )


def _watched(cls: Any, case: dict[str, Any], floor: Floor) -> Any:
    """Salon's channel tells where the detector heard the end of the speech."""
    ended = named("salon", "voice.events.TurnEnded")

    class Watched(cls):  # type: ignore[misc]
        def media(self, caller: Any, event: Any) -> None:
            if isinstance(event, ended):
                heard_ms = caller.session.hearing.now_ms()
                line = floor.of(caller.line.id)
                due_ms = event.end_ms + case["silence_ms"]
                # the newest frame ended at `heard_ms`: the silence was full before or after that
                line.turn.due = line.handed[-1] - (heard_ms - due_ms) / 1000
            super().media(caller, event)

    return Watched


class Room:
    """Lines into rooms of one framework, each with the agent (if it is to answer)."""

    def __init__(self, package: str, case: dict[str, Any]) -> None:
        self.package, self.case = package, case
        self.floor = Floor()
        self.frame = named(package, "voice.audio_frame.AudioFrame")
        sound = Path(case["sound"]).read_bytes()
        self.pieces = [sound[at : at + FRAME_BYTES] for at in range(0, len(sound), FRAME_BYTES)]
        due_ms = case["end"] // 16 + case["silence_ms"]
        self.due_frame = -(-due_ms // FRAME_MS) - 1

    async def open(self) -> None:
        package, case = self.package, self.case
        self.kit = named(package, "RoomKit")()
        await self.kit.__aenter__()
        self.backend = transport(package, self.floor)
        self.channel = channel(package, case, self.floor, self.backend)
        self.kit.register_channel(self.channel)
        self.kit.register_channel(agent(package, self.floor))
        for number in range(case["lines"]):
            room = f"room-{number}"
            await self.kit.create_room(room)
            binding = await self.kit.attach_channel(room, "voice")
            await self.kit.attach_channel(room, "agent")
            session = await self.backend.connect(room, f"person-{number}", "voice")
            self.channel.bind_session(session, room, binding)
            self.floor.lines.append(Line(session))
        await asyncio.sleep(SETTLE_S)

    async def run(self) -> None:
        """Every line says its sentence `turns` times; line by line they begin a share later."""
        began = time.perf_counter() + 0.1
        share = len(self.pieces) * FRAME_MS / 1000 / len(self.floor.lines)
        shift = FRAME_MS / 1000 / len(self.floor.lines)  # frames come at different times
        async with asyncio.TaskGroup() as group:
            for number, line in enumerate(self.floor.lines):
                group.create_task(self._talk(number, line, began + number * (share + shift)))

    async def _talk(self, place: int, line: Line, start: float) -> None:
        due = start
        for count in range(self.case["turns"]):
            line.turns.append(Turn(answered=(count + place) % SILENT_EVERY > 0))
            for number, piece in enumerate(self.pieces):
                due += FRAME_MS / 1000
                await asyncio.sleep(max(due - time.perf_counter(), 0.0))
                if number == self.due_frame - LEAD_MS // FRAME_MS:
                    self.floor.latest = line
                    line.turn.cpu -= time.process_time()
                elif number == self.due_frame + TRAIL_MS // FRAME_MS:
                    line.turn.cpu += time.process_time()
                now = time.perf_counter()
                line.handed.append(now)
                if number == self.due_frame:
                    line.turn.due_true = now
                frame = self.frame(data=piece, sample_rate=16000)
                await self.backend.simulate_audio_received(line.session, frame)

    async def close(self) -> None:
        await self.kit.close()


async def turns(package: str, case: dict[str, Any]) -> dict[str, Any]:
    """The turns, and the time that garbage collection took in each of them on average."""
    room = Room(package, case)
    await room.open()
    profile = cProfile.Profile(time.process_time) if case.get("profile") else None
    collecting = [0.0]

    def collects(phase: str, _info: Any) -> None:
        collecting[0] += time.perf_counter() * (1 if phase == "stop" else -1)

    gc.callbacks.append(collects)
    if profile:
        profile.enable()
    await room.run()
    if profile:
        profile.disable()
        profile.dump_stats(case["profile"])
    gc.callbacks.remove(collects)
    with suppress(TimeoutError):
        async with asyncio.timeout(20):
            await room.close()
    found = [asdict(turn) for line in room.floor.lines for turn in line.turns[1:]]
    return {"turns": found, "gc_ms": collecting[0] * 1000 / max(len(found), 1)}


async def inbound(package: str, case: dict[str, Any]) -> dict[str, Any]:
    """CPU microseconds per frame of RoomKit's pipeline with its Silero detector, `calls` lines."""
    floor = Floor()
    floor.latest.handed.append(0.0)
    config = named(package, "voice.pipeline.config.AudioPipelineConfig")
    pipeline = named(package, "voice.pipeline.engine.AudioPipeline")(
        config(vad=roomkit_detector(case, floor))
    )
    session = named(package, "voice.base.VoiceSession")
    active = named(package, "voice.base.VoiceSessionState").ACTIVE
    events = [0]

    def said(*_: Any) -> None:
        events[0] += 1

    pipeline.on_vad_event(said)
    lines = [
        session(id=f"s{n}", room_id="r", participant_id="p", channel_id="v", state=active)
        for n in range(case["calls"])
    ]
    for line in lines:
        pipeline.on_session_active(line)
    sound = Path(case["sound"]).read_bytes()
    pieces = [sound[at : at + FRAME_BYTES] for at in range(0, len(sound), FRAME_BYTES)]
    frame = named(package, "voice.audio_frame.AudioFrame")
    began = 0
    for tick in range(case["frames"] + WARM_UP_FRAMES):
        if tick == WARM_UP_FRAMES:
            began = time.process_time_ns()
        for number, line in enumerate(lines):
            piece = pieces[(tick + 7 * number) % len(pieces)]
            pipeline.process_inbound(line, frame(data=piece, sample_rate=16000))
    spent = time.process_time_ns() - began
    pipeline.close()
    return {"us": spent / 1000 / case["frames"] / case["calls"], "events": events[0]}


def main() -> None:
    package = sys.argv[1]
    for argument in sys.argv[2:]:
        case = json.loads(argument)
        found = asyncio.run((inbound if case["work"] == "inbound" else turns)(package, case))
        about = {"version": version(package), "python": platform.python_version()}
        print(json.dumps(found | about), flush=True)


if __name__ == "__main__":
    main()
