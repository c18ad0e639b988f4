"""CPU time of `salon.media` per 20 ms of sound, beside a floor measured in the same run.

    python benchmarks/bench_media.py [--json] [--runs 7]

Each figure is the median of several runs of process CPU time. The floor is the same work done by
libswresample or libavcodec through PyAV, by the standard library's audioop (Python 3.11, 3.12), or
by a bare copy of the frame. "limit" is the budget where there is one.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from salon.media import (
    AudioCodec,
    Fade,
    Framer,
    LevelMeter,
    Mixer,
    Pacer,
    Resampler,
    Samples,
    Tone,
    WavWriter,
    decode_alaw,
    decode_ulaw,
    encode_alaw,
    encode_ulaw,
    fade_out,
    low_noise,
    make_codec,
)

Work = Callable[[], Any]
TARGET_SECONDS = 0.03
"""CPU time of one run."""

RESAMPLER_PAIRS = (
    (8000, 16000),
    (16000, 8000),
    (22050, 16000),
    (24000, 16000),
    (44100, 16000),
    (48000, 16000),
    (16000, 22050),
    (16000, 24000),
    (16000, 44100),
    (16000, 48000),
    (48000, 44100),
)


@dataclass
class Row:
    """One line of the table; times in microseconds per 20 ms."""

    case: str
    cpu_us: float
    floor: str = ""
    floor_us: float | None = None
    limit_us: float | None = None


def cpu_us(work: Work, runs: int) -> float:
    """Median CPU time of one call."""
    work()
    started = time.process_time_ns()
    count = 0
    while time.process_time_ns() - started < TARGET_SECONDS * 1e9 / 5:
        work()
        count += 1
    count *= 5
    figures = []
    for _ in range(runs):
        started = time.process_time_ns()
        for _ in range(count):
            work()
        figures.append((time.process_time_ns() - started) / count / 1000)
    return statistics.median(figures)


def frame(rate: int = 16000) -> Samples:
    """20 ms of a tone."""
    return Tone(440, sample_rate=rate).read(rate // 50)


def optional(name: str) -> Any:
    """A module that may be missing, or None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return importlib.import_module(name)
        except ImportError:
            return None


def resampler_rows(runs: int) -> list[Row]:
    av = optional("av")
    rows = []
    for in_rate, out_rate in RESAMPLER_PAIRS:
        worker, sound = Resampler(in_rate, out_rate), frame(in_rate)

        def ours(worker: Resampler = worker, sound: Samples = sound) -> Samples:
            return worker.process(sound)

        row = Row(f"resample {in_rate} -> {out_rate}", cpu_us(ours, runs), limit_us=30)
        if av:
            row.floor = "PyAV libswresample"
            row.floor_us = cpu_us(av_resampler(av, sound, in_rate, out_rate), runs)
        rows.append(row)
    return rows


def av_resampler(av: Any, sound: Samples, in_rate: int, out_rate: int) -> Work:
    peer = av.AudioResampler(format="s16", layout="mono", rate=out_rate)

    def work() -> list[Samples]:
        piece = av.AudioFrame.from_ndarray(sound[None, :], format="s16", layout="mono")
        piece.sample_rate = in_rate
        return [out.to_ndarray()[0] for out in peer.resample(piece)]

    return work


def g711_rows(runs: int) -> list[Row]:
    narrow = frame(8000)
    raw, ulaw, alaw = narrow.tobytes(), encode_ulaw(narrow), encode_alaw(narrow)
    audioop = optional("audioop")
    cases: list[tuple[str, Work, Work | None]] = [
        (
            "ulaw encode",
            lambda: encode_ulaw(narrow),
            audioop and (lambda: audioop.lin2ulaw(raw, 2)),
        ),
        ("ulaw decode", lambda: decode_ulaw(ulaw), audioop and (lambda: audioop.ulaw2lin(ulaw, 2))),
        (
            "alaw encode",
            lambda: encode_alaw(narrow),
            audioop and (lambda: audioop.lin2alaw(raw, 2)),
        ),
        ("alaw decode", lambda: decode_alaw(alaw), audioop and (lambda: audioop.alaw2lin(alaw, 2))),
    ]
    rows = []
    for name, ours, floor in cases:
        row = Row(f"{name} (160 samples)", cpu_us(ours, runs))
        if floor:
            row.floor, row.floor_us = "audioop", cpu_us(floor, runs)
        rows.append(row)
    return rows


def codec_rows(runs: int) -> list[Row]:
    sound = frame()
    rows = []
    copy = cpu_us(sound.tobytes, runs)
    names = ["pcm", "pcmu", "pcma", *(["g722"] if optional("av") else [])]
    for name in names:
        codec = make_codec(name)
        payload = codec.encode(sound)

        def encode(codec: AudioCodec = codec) -> bytes:
            return codec.encode(sound)

        def decode(codec: AudioCodec = codec, payload: bytes = payload) -> Samples:
            return codec.decode(payload)

        rows.append(Row(f"codec {name} encode", cpu_us(encode, runs), "copy", copy))
        rows.append(Row(f"codec {name} decode", cpu_us(decode, runs), "copy", copy))
    return rows


def other_rows(runs: int) -> list[Row]:
    sound, meter, framer, pacer = frame(), LevelMeter(), Framer(), Pacer()
    now = iter(range(0, 10**18, 20_000_000))
    odd = np.resize(sound, 441)
    rng = np.random.default_rng(1)
    copy = cpu_us(sound.copy, runs)
    fade = Fade(10**12)
    cases: list[tuple[str, Work]] = [
        ("level meter", lambda: meter.push(sound)),
        ("fade out", lambda: fade_out(sound)),
        ("fade, one frame of many", lambda: fade.apply(sound)),
        ("framer, 441 samples in", lambda: framer.push(odd)),
        ("pacer", lambda: pacer.due(next(now))),
        ("low noise", lambda: low_noise(320, -60, rng)),
    ]
    rows = [Row(name, cpu_us(work, runs), "copy", copy) for name, work in cases]
    for people in (2, 3, 10, 50):
        sources = dict.fromkeys(range(people), sound)
        mixer: Mixer[int] = Mixer()

        def mix(mixer: Mixer[int] = mixer, sources: dict[int, Samples] = sources) -> Any:
            return mixer.mix(sources)

        each = cpu_us(mix, runs) / people
        rows.append(Row(f"mix {people} speaking, per listener", each, "copy", copy))
    with tempfile.TemporaryDirectory() as folder, WavWriter(Path(folder) / "a.wav") as writer:
        rows.append(Row("WAV write", cpu_us(lambda: writer.write(sound), runs), "copy", copy))
    return rows


def print_table(rows: list[Row]) -> None:
    print(f"{'CPU per 20 ms':<36}{'us':>8}{'limit':>7}   floor")
    for row in rows:
        limit = "" if row.limit_us is None else f"{row.limit_us:.0f}"
        floor = "" if row.floor_us is None else f"{row.floor_us:6.2f} {row.floor}"
        print(f"{row.case:<36}{row.cpu_us:>8.2f}{limit:>7}   {floor}")


def main() -> int:
    parser = argparse.ArgumentParser(description="CPU time of salon.media per 20 ms of sound")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--runs", type=int, default=7, help="runs per figure; the median counts")
    options = parser.parse_args()
    rows = [
        row
        for measure in (resampler_rows, g711_rows, codec_rows, other_rows)
        for row in measure(options.runs)
    ]
    over = [row.case for row in rows if row.limit_us is not None and row.cpu_us > row.limit_us]
    if options.json:
        facts = {"python": platform.python_version(), "numpy": np.__version__}
        print(json.dumps({"bench": "media", **facts, "rows": [asdict(row) for row in rows]}))
    else:
        print_table(rows)
        print("over the limit: " + ", ".join(over) if over else "all within their limits")
    return 1 if over else 0


if __name__ == "__main__":
    raise SystemExit(main())
