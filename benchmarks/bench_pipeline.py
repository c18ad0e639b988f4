"""CPU time of one 20 ms frame from the socket to the voice activity decision, per call.

    python benchmarks/bench_pipeline.py [--json] [--calls 64] [--runs 7]

Every call is a whole `MediaSession` that listens for segments and turns; frames come in as bytes of
the call's codec, and the ticker's work (batched detection, players) runs once per 20 ms for all.
The floor is the same without sessions: copying the bytes into an array and feeding the bare
detector.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from typing import Any

import numpy as np
from bench_call import speech_like

from salon.media import make_codec
from salon.transport.ticker import Ticker
from salon.voice.engine import VoiceEngine
from salon.voice.hearing import HearingConfig
from salon.voice.leg import SocketLeg
from salon.voice.session import MediaSession
from salon.voice.turns import TurnConfig
from salon.voice.vad import BatchedVad, SileroModel
from salon.voice.vad.segmenter import SegmenterConfig

LIMIT_US = 60.0
FRAMES = 400


def chunks_of(seconds: int) -> list[bytes]:
    sound = speech_like(seconds).tobytes()
    return [sound[i : i + 640] for i in range(0, len(sound) - 639, 640)]


async def pipeline(calls: int, codec: str) -> float:
    """CPU microseconds per frame and call."""
    vad = BatchedVad(SileroModel.load())
    engine = VoiceEngine(vad=vad, ticker=Ticker())
    legs = [SocketLeg(make_codec(codec), lambda _b: None) for _ in range(calls)]
    sessions = [MediaSession(f"bench-{n}", engine, leg=leg) for n, leg in enumerate(legs)]
    encoder = make_codec(codec)
    chunks = [encoder.encode(np.frombuffer(chunk, dtype=np.int16)) for chunk in chunks_of(8)]
    for session in sessions:
        session.listen(HearingConfig(segments=SegmenterConfig(), turns=TurnConfig()))
    started = 0
    for tick in range(FRAMES + 50):
        if tick == 50:
            started = time.process_time_ns()
        for number, leg in enumerate(legs):
            leg.receive(chunks[(tick + 7 * number) % len(chunks)])
        vad.run()
        for session in sessions:
            session._on_tick(tick)
            session.events._items.clear()
    spent = time.process_time_ns() - started
    for session in sessions:
        await session.close()
    return spent / FRAMES / calls / 1000


def floor(calls: int) -> float:
    vad = BatchedVad(SileroModel.load())
    streams = [vad.open(lambda _p, _e: None) for _ in range(calls)]
    chunks = chunks_of(8)
    started = 0
    for tick in range(FRAMES + 50):
        if tick == 50:
            started = time.process_time_ns()
        for number, stream in enumerate(streams):
            chunk = chunks[(tick + 7 * number) % len(chunks)]
            stream.push(np.frombuffer(chunk, dtype=np.int16))
        vad.run()
    return (time.process_time_ns() - started) / FRAMES / calls / 1000


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure and print; the figures as a dictionary."""
    parser = argparse.ArgumentParser(description="CPU per 20 ms frame, socket to decision")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--calls", type=int, default=64)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args(arguments or [])
    rows = {
        codec: statistics.median(
            asyncio.run(pipeline(options.calls, codec)) for _ in range(options.runs)
        )
        for codec in ("pcm", "pcmu")
    }
    bare = statistics.median(floor(options.calls) for _ in range(options.runs))
    result = {
        "bench": "pipeline",
        "calls": options.calls,
        "limit_us": LIMIT_US,
        "cpu_us": rows,
        "floor_us": bare,
        "over": [codec for codec, value in rows.items() if value > LIMIT_US],
    }
    if options.json:
        print(json.dumps(result))
        return result
    print(f"frame in -> pipeline -> decision, {options.calls} calls, CPU us per 20 ms frame")
    for codec, value in rows.items():
        print(f"  {codec:<10} {value:.1f}   (limit {LIMIT_US:.0f})")
    print(f"  detector   {bare:.1f}   (floor: the bare detector)")
    return result


if __name__ == "__main__":
    raise SystemExit(1 if main(sys.argv[1:])["over"] else 0)
