"""Frames of every kind against the call gateway, led by what they reach in the code.

    python scripts/fuzz_frames.py [--seconds 300] [--seed 1] [--corpus FOLDER] [--keep FOLDER]
    python scripts/fuzz_frames.py --replay FAILURE.json

Episodes of steps (`tests/fuzz/episodes.py`) are played in virtual time. One that reaches a branch
of the gateway or of a call's media nobody reached before is kept, and others are made of those
kept by changing a little. What breaks a rule is cut down to the steps it takes, written to
`--keep` (default ``build/fuzz``) and makes the exit code 1. `--corpus` keeps what was found for
the next run.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.fuzz.episodes import PATHS, SLOTS, Step, media_folder, play  # noqa: E402
from tests.fuzz.seeds import COMMANDS, KEYS, KNOWN, QUERIES, SEEDS, VALUES  # noqa: E402

from salon.testing import run_virtual  # noqa: E402

WATCHED = (
    "/salon/gateway/",
    *(
        f"/salon/voice/{name}.py"
        for name in [
            "session",
            "playback",
            "speaking",
            "call_bridge",
            "packet_leg",
            "leg",
            "hearing",
            "mailbox",
        ]
    ),
)
HANGS_S = 30
"""Real seconds an episode may take."""
MAX_STEPS = 40
MINIMIZE_S = 60.0
NUMBERS = (0, 1, 2, 3, 7, 19, 20, 21, 50, 100, 320, 641, 1000, 2999, -1, 4096, 65_535)
Episode = list[Step]
Arc = tuple[CodeType, int, int]


class Reached:
    """Which steps from line to line were taken in the watched files; ``with`` watches."""

    def __init__(self) -> None:
        self.arcs: set[Arc] = set()
        self._wanted: dict[CodeType, bool] = {}

    def __enter__(self) -> Reached:
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        code = frame.f_code
        wanted = self._wanted.get(code)
        if wanted is None:
            wanted = any(part in code.co_filename for part in WATCHED)
            self._wanted[code] = wanted
        if not wanted:
            return None
        last, add = frame.f_lineno, self.arcs.add

        def line(inner: FrameType, event: str, _arg: Any) -> Any:
            nonlocal last
            if event == "line":
                add((code, last, inner.f_lineno))
                last = inner.f_lineno
            return line

        return line


class Changes:
    """Makes episodes of others."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice

    def of(self, kept: list[Episode]) -> Episode:
        """One of those kept, changed in one to five places."""
        dice = self.dice
        # the newest found lead on best
        base = kept[-1 - min(int(dice.expovariate(0.1)), len(kept) - 1)]
        made = copy.deepcopy(base if dice.random() < 0.5 else dice.choice(kept))
        for _ in range(dice.randint(1, 5)):
            change = dice.choice(
                (
                    self.insert,
                    self.insert,
                    self.drop,
                    self.move,
                    self.alter,
                    self.alter,
                    self.alter,
                    self.splice,
                )
            )
            made = change(made, kept)
        return made[:MAX_STEPS]

    def insert(self, steps: Episode, _kept: list[Episode]) -> Episode:
        calls = [step[1] for step in steps if step[0] == "connect"]
        slot = self.dice.choice(calls) if calls and self.dice.random() < 0.9 else None
        steps.insert(self.dice.randint(min(2, len(steps)), len(steps)), self.step(slot))
        return steps

    def drop(self, steps: Episode, _kept: list[Episode]) -> Episode:
        if steps:
            del steps[self.dice.randrange(len(steps))]
        return steps

    def move(self, steps: Episode, _kept: list[Episode]) -> Episode:
        if steps:
            step = steps[self.dice.randrange(len(steps))]
            steps.insert(self.dice.randint(0, len(steps)), copy.deepcopy(step))
        return steps

    def splice(self, steps: Episode, kept: list[Episode]) -> Episode:
        other = copy.deepcopy(self.dice.choice(kept))
        at = self.dice.randint(0, len(steps))
        return steps[:at] + other[self.dice.randint(0, len(other)) :]

    def alter(self, steps: Episode, _kept: list[Episode]) -> Episode:
        dice = self.dice
        if not steps:
            return steps
        step = dice.choice(steps)
        if step[0] == "json":
            if dice.random() < 0.15:
                step[0], step[2] = "text", self.damage(json.dumps(step[2]))
            else:
                step[2] = self.value_of(step[2])
        elif step[0] == "text":
            step[2] = self.damage(step[2])
        elif step[0] == "connect":
            step[dice.choice((2, 3))] = dice.choice(PATHS)
            step[2], step[3] = dice.choice(PATHS), dice.choice(QUERIES)
        else:
            numbers = [n for n, part in enumerate(step) if type(part) is int]
            if numbers:
                step[dice.choice(numbers)] = dice.choice(NUMBERS)
        if len(step) > 2 and type(step[1]) is int:
            step[1] %= SLOTS
        return steps

    def value_of(self, value: Any) -> Any:
        """Another JSON value, close to this one."""
        dice = self.dice
        if isinstance(value, dict) and value and dice.random() < 0.9:
            key = dice.choice(list(value))
            what = dice.random()
            if what < 0.2:
                del value[key]
            elif what < 0.5:
                value[dice.choice(KEYS)] = dice.choice(VALUES)
            elif what < 0.55:
                value["command"] = dice.choice(COMMANDS)
            else:
                value[key] = self.value_of(value[key])
            return value
        if isinstance(value, list) and value and dice.random() < 0.5:
            at = dice.randrange(len(value))
            return [*value[:at], self.value_of(value[at]), *value[at:]]
        if isinstance(value, str) and dice.random() < 0.4:
            return self.damage(value)
        if type(value) is int and dice.random() < 0.5:
            return value + dice.choice((-1, 1, 10, 1000))
        return copy.deepcopy(dice.choice(VALUES))

    def damage(self, text: str) -> str:
        """A few characters taken out, doubled or put in."""
        dice = self.dice
        for _ in range(dice.randint(1, 3)):
            at = dice.randint(0, len(text))
            put = dice.choice(('"', "{", "}", "[", ",", ":", "\\", "\0", "1e999", "null", "é", ""))
            text = text[:at] + put + text[at + dice.randint(0, 3) :]
        return text

    def step(self, slot: int | None) -> Step:
        """A new step, best for a call that there is."""
        dice = self.dice
        if slot is None:
            slot = dice.randrange(SLOTS)
        kind = dice.random()
        if kind < 0.35:
            return ["json", slot, copy.deepcopy(dice.choice(KNOWN))]
        kind = dice.random()
        if kind < 0.15:
            return ["connect", slot, dice.choice(PATHS), dice.choice(QUERIES)]
        if kind < 0.65:
            more = {dice.choice(KEYS): dice.choice(VALUES) for _ in range(dice.randint(0, 4))}
            return ["json", slot, {"command": dice.choice(COMMANDS), **copy.deepcopy(more)}]
        number = dice.choice(NUMBERS)
        return dice.choice(
            (
                ["noise", slot, number, dice.randrange(9)],
                ["tone", slot, number],
                ["talk", slot, number],
                ["reading", slot, dice.random() < 0.5],
                ["wait", number],
                ["close", slot, dice.choice((0, 6, 1))],
            )
        )


class Hangs(Exception):
    """An episode does not come to its end."""


def _alarm(_signal: int, _frame: FrameType | None) -> None:
    raise Hangs(f"no end within {HANGS_S} s")


def failure(steps: Episode, media: Path, told: set[Any] | None = None) -> str:
    """What breaks, "" if nothing does."""
    signal.signal(signal.SIGALRM, _alarm)
    signal.alarm(HANGS_S)
    try:
        run_virtual(play(steps, media, told))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    return ""


def kind_of(why: str) -> str:
    """The same for the same fault: its first line without what changes."""
    return re.sub(r"\S*\d\S*", "#", why.splitlines()[0])[:100] if why else ""


def smallest(steps: Episode, why: str, media: Path) -> Episode:
    """Without the steps it does not take."""
    until = time.monotonic() + MINIMIZE_S
    size = max(1, len(steps) // 2)
    while size and time.monotonic() < until:
        at = 0
        while at < len(steps) and time.monotonic() < until:
            fewer = steps[:at] + steps[at + size :]
            if kind_of(failure(fewer, media)) == kind_of(why):
                steps = fewer
            else:
                at += size
        size //= 2
    return steps


class Fuzzer:
    """The loop: play, keep what reaches more, change, play again."""

    def __init__(self, options: argparse.Namespace, media: Path) -> None:
        self.options = options
        self.media = media
        self.reached = Reached()
        self.told: set[Any] = set()
        """Pairs of events that followed each other: another measure of what was reached."""
        self.kept: list[Episode] = []
        self.found: dict[str, Path] = {}
        self.again: Counter[str] = Counter()
        self.runs = 0

    def start(self) -> None:
        """The seeds, and what an earlier run kept."""
        for seed in SEEDS:
            self.one(copy.deepcopy(seed))
        corpus: Path | None = self.options.corpus
        if corpus is not None and corpus.is_dir():
            for file in sorted(corpus.glob("*.json")):
                self.one(json.loads(file.read_text()))

    def one(self, steps: Episode) -> None:
        """Play one episode; keep it or its failure."""
        before = len(self.reached.arcs) + len(self.told)
        with self.reached:
            why = failure(steps, self.media, self.told)
        self.runs += 1
        if why:
            self.failed(steps, why)
        elif len(self.reached.arcs) + len(self.told) > before or self.runs <= len(SEEDS):
            self.kept.append(steps)
            self.save(self.options.corpus, steps)

    def failed(self, steps: Episode, why: str) -> None:
        kind = kind_of(why)
        self.again[kind] += 1
        if kind in self.found:
            return
        small = smallest(steps, why, self.media)
        path = self.save(self.options.keep, small)
        self.found[kind] = path or Path()
        print(f"\nFAILED: {why}\n  {len(small)} steps, kept in {path}", flush=True)
        for step in small:
            print(f"    {json.dumps(step)[:150]}")

    @staticmethod
    def save(folder: Path | None, steps: Episode) -> Path | None:
        if folder is None:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(steps, indent=1)
        path = folder / f"{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}.json"
        path.write_text(text)
        return path

    def run(self) -> None:
        """Until the time is over."""
        dice = random.Random(self.options.seed)
        changes = Changes(dice)
        began = told = time.monotonic()
        self.start()
        while time.monotonic() - began < self.options.seconds:
            self.one(changes.of(self.kept))
            if time.monotonic() - told > 10:
                told = time.monotonic()
                self.tell(told - began)
        self.tell(time.monotonic() - began)

    def tell(self, spent: float) -> None:
        print(
            f"{spent:6.0f} s  {self.runs} episodes, {len(self.reached.arcs)} branches, "
            f"{len(self.told)} pairs of events, {len(self.kept)} kept, "
            f"{len(self.found)} kinds of failure",
            flush=True,
        )


def main() -> int:
    """Run; 1 if something was found."""
    parser = argparse.ArgumentParser(description="frames of every kind, led by coverage")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--keep", type=Path, default=ROOT / "build" / "fuzz")
    parser.add_argument("--replay", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="salon-fuzz-") as folder:
        media = media_folder(Path(folder))
        if options.replay is not None:
            why = failure(json.loads(options.replay.read_text()), media)
            print(why or "nothing breaks")
            return 1 if why else 0
        fuzzer = Fuzzer(options, media)
        fuzzer.run()
    for kind, path in fuzzer.found.items():
        print(f"{fuzzer.again[kind]}x  {kind}  ({path})")
    return 1 if fuzzer.found else 0


if __name__ == "__main__":
    raise SystemExit(main())
