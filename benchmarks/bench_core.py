"""CPU time of one message on its way through a room: routed, committed, delivered.

    python benchmarks/bench_core.py [--quick] [--json] [--peer PYTHON | --no-peer]
    python benchmarks/bench_core.py --profile profile.txt

Store in memory; one channel speaks, all others of the room get it, and every delivery is counted.
"per event" and "per delivery" are the intercept and the slope of a line through the figures of 2,
10 and 50 channels (least squares of relative errors). The peer is RoomKit from its package, doing
the same work (`core_peer`) in the same run; it needs Python 3.12, and is installed into an
environment of its own in the user's cache on the first run. `--peer` names an interpreter that
already has it. `--profile` writes where the time goes instead.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import pstats
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LIMIT_EVENT_US = 300.0
LIMIT_DELIVERY_US = 30.0
LIMIT_HISTORY = 1.25
"""How many times as much an event may cost in a room with a past as in one without."""
CHANNELS = (2, 10, 50)
HISTORY = 10_000
EVENTS = {2: 400, 10: 200, 50: 100}
CASE_TIMEOUT_S = 300
INSTALL_TIMEOUT_S = 300

PEER = "roomkit"
PEER_VERSION = "0.109.0"
PEER_PYTHON = (3, 12)
PEER_BEFORE = "in one room 1.27 / 2.28 / 11.65 ms, over 100 rooms 1.5 / 3.3 / 17.5 ms"
"""Measured in November 2026 on two shared cores, CPython 3.12."""
WORK = Path(__file__).resolve().parent / "core_peer.py"


# -- the peer's interpreter -----------------------------------------------------------------------


def interpreters() -> Iterator[Path]:
    """Pythons that may be new enough: pyenv's, then those of the path."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    names = [f"python3.{minor}" for minor in (12, 13, 14)]
    for name in names:
        yield from sorted((root / "versions").glob(f"*/bin/{name}"))
    for name in names:
        found = shutil.which(name)
        if found:
            yield Path(found)
    yield Path(sys.executable)


def works(python: Path, statement: str) -> bool:
    """Whether it runs, and runs this."""
    try:
        done = subprocess.run([python, "-c", statement], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def cache_folder() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "salon" / f"bench-{PEER}-{PEER_VERSION}"


def find_peer(given: Path | None) -> Path | str:
    """An interpreter with the peer in it, or what is missing."""
    wanted = f"from importlib.metadata import version; assert version({PEER!r}) == {PEER_VERSION!r}"
    if given is not None:
        return given if works(given, wanted) else f"{given} has no {PEER} {PEER_VERSION}"
    folder = cache_folder()
    inside = folder / "bin" / "python"
    if works(inside, wanted):
        return inside
    able = f"import sys, venv, ensurepip; assert sys.version_info >= {PEER_PYTHON}"
    base = next((python for python in interpreters() if works(python, able)), None)
    if base is None:
        return f"no Python >= {'.'.join(map(str, PEER_PYTHON))} was found"
    print(f"  installing {PEER} {PEER_VERSION} into {folder}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    make = [str(base), "-m", "venv", str(folder)]
    install = [str(inside), "-m", "pip", "install", "--quiet", f"{PEER}=={PEER_VERSION}"]
    try:
        for command in (make, install):
            subprocess.run(
                command, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S
            )
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        said = (getattr(error, "stderr", None) or str(error)).strip()
        return f"{PEER} {PEER_VERSION} could not be installed: {said.splitlines()[-1]}"
    return inside


# -- measuring ------------------------------------------------------------------------------------


def cases(quick: bool) -> list[dict[str, int]]:
    """What is measured, in this order."""
    runs, share = (3, 4) if quick else (5, 1)
    shapes = [(channels, 1, HISTORY) for channels in CHANNELS]
    shapes += [(10, 1, 0)]
    shapes += [(channels, 100, HISTORY) for channels in ((10,) if quick else CHANNELS)]
    return [
        {
            "channels": channels,
            "rooms": rooms,
            "history": history,
            "events": max(EVENTS[channels] // share, rooms),
            "runs": runs,
        }
        for channels, rooms, history in shapes
    ]


def run_case(python: Path, package: str, case: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [python, WORK, package, json.dumps(case)],
        capture_output=True,
        text=True,
        timeout=CASE_TIMEOUT_S,
    )
    if done.returncode:
        raise RuntimeError(f"{package} {case}: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    result["cpu_us"] = statistics.median(result["us"])
    return result


def line_through(points: list[tuple[int, float]]) -> tuple[float, float]:
    """Intercept and slope with the least squares of relative errors; at least two points."""
    weights = [1 / y**2 for _, y in points]
    total = sum(weights)
    x_mean = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
    y_mean = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
    above = sum(w * (x - x_mean) * (y - y_mean) for w, (x, y) in zip(weights, points, strict=True))
    below = sum(w * (x - x_mean) ** 2 for w, (x, _) in zip(weights, points, strict=True))
    slope = above / below
    return y_mean - slope * x_mean, slope


def fitted(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per event and per delivery, for each package and number of rooms that has several points."""
    rows = []
    for package in dict.fromkeys(result["package"] for result in results):
        for rooms in (1, 100):
            chosen = [
                result
                for result in results
                if (result["package"], result["rooms"]) == (package, rooms) and result["history"]
            ]
            row: dict[str, Any] = {"package": package, "rooms": rooms}
            row["ms"] = {result["channels"]: result["cpu_us"] / 1000 for result in chosen}
            if len(chosen) > 1:
                points = [(result["channels"] - 1, result["cpu_us"]) for result in chosen]
                row["event_us"], row["delivery_us"] = line_through(points)
            rows.append(row)
    return rows


def histories(results: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Per package: an event in a room without and with a past, 10 channels, in ms."""
    found: dict[str, dict[bool, float]] = {}
    for result in results:
        if (result["channels"], result["rooms"]) == (10, 1):
            of_package = found.setdefault(result["package"], {})
            of_package[bool(result["history"])] = result["cpu_us"] / 1000
    return {package: (both[False], both[True]) for package, both in found.items()}


def missed(rows: list[dict[str, Any]], past: dict[str, tuple[float, float]]) -> list[str]:
    over = []
    for row in rows:
        if row["package"] != "salon" or "event_us" not in row:
            continue
        if row["event_us"] > LIMIT_EVENT_US:
            over.append(f"per event, {rooms_of(row)}")
        if row["delivery_us"] > LIMIT_DELIVERY_US:
            over.append(f"per delivery, {rooms_of(row)}")
    without, with_past = past["salon"]
    if with_past > LIMIT_HISTORY * without:
        over.append("not flat over history")
    return over


# -- telling --------------------------------------------------------------------------------------


def rooms_of(row: dict[str, Any]) -> str:
    return "one room" if row["rooms"] == 1 else f"{row['rooms']} rooms"


def show(rows: list[dict[str, Any]], past: dict[str, tuple[float, float]]) -> None:
    columns = "".join(f"{channels:>9}" for channels in CHANNELS)
    print(f"{'CPU ms per event, by channels':<30}{columns}{'per event':>12}{'per delivery':>14}")
    for row in rows:
        name = f"{row['package']}, {rooms_of(row)}"
        figures = "".join(
            f"{row['ms'][channels]:>9.3f}" if channels in row["ms"] else f"{'':>9}"
            for channels in CHANNELS
        )
        fit = ""
        if "event_us" in row:
            fit = f"{row['event_us'] / 1000:>9.3f} ms{row['delivery_us']:>11.1f} us"
        if fit and row["package"] == "salon":
            fit += f"   limits {LIMIT_EVENT_US / 1000:.2f} ms, {LIMIT_DELIVERY_US:.0f} us"
        print(f"{name:<30}{figures}{fit}")
    for package, (without, with_past) in past.items():
        print(
            f"{package}, 10 channels: {without:.3f} ms in a new room, {with_past:.3f} ms"
            f" after {HISTORY:,} events"
        )


def profile(target: Path) -> None:
    """The functions in which a message to 10 channels spends its time, twice: by what they take
    themselves, and with all they call."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "profile"
        case = {"channels": 10, "rooms": 1, "history": HISTORY, "events": 1000, "runs": 1}
        run_case(Path(sys.executable), "salon", case | {"profile": str(raw)})
        text = io.StringIO()
        stats = pstats.Stats(str(raw), stream=text)
        for order in ("tottime", "cumtime"):
            stats.sort_stats(order).print_stats(45)
        target.write_text(text.getvalue())
    print(f"profile of 1000 messages to 10 channels: {target}")


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure and print; the figures as a dictionary."""
    parser = argparse.ArgumentParser(description="CPU time of a message through a room")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    parser.add_argument("--peer", type=Path, help=f"an interpreter that has {PEER}")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--profile", type=Path, help="write a profile to this file instead")
    options = parser.parse_args(arguments or [])
    if options.profile:
        profile(options.profile)
        return {"over": []}
    peer = "left out" if options.no_peer else find_peer(options.peer)
    runners = {"salon": Path(sys.executable)}
    if isinstance(peer, Path):
        runners[PEER] = peer
    results = [
        run_case(python, package, case)
        for case in cases(options.quick)
        for package, python in runners.items()
    ]
    rows, past = fitted(results), histories(results)
    over = missed(rows, past)
    summary = {
        "bench": "core",
        "python": platform.python_version(),
        "peer": f"{PEER} {PEER_VERSION}" if isinstance(peer, Path) else peer,
        "rows": rows,
        "history_ms": past,
        "results": results,
        "over": over,
    }
    if options.json:
        print(json.dumps(summary))
        return summary
    show(rows, past)
    if isinstance(peer, str):
        print(f"no figures of {PEER} in this run: {peer}")
        print(f"  before, {PEER} {PEER_VERSION} took with 2 / 10 / 50 channels {PEER_BEFORE}")
    print("over the limit: " + ", ".join(over) if over else "all within their limits")
    return summary


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        raise SystemExit(1 if main(sys.argv[1:])["over"] else 0)
