"""A thousand WebRTC calls opened and ended in mid-media; nothing may be left of them.

    python benchmarks/churn_webrtc.py [--calls 1000] [--parallel 20] [--carrier aiortc] [--json]

The server runs in a process of its own and tells what lives in it. Half of the calls hang up, a
quarter closes its socket, a quarter vanishes without a word. A first hundred calls, which do not
count, bring pools and caches to their size. Afterwards tasks, objects of a call, file descriptors
and threads have to be what they were, and memory flat. Before memory is read the allocator gives
back what it only keeps (glibc's `malloc_trim`), so that what counts is in use.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import uvloop
import websockets
from webrtc_load import FRAME_S, Ending, RtcCall, Sound, opus_sound, speech_like

from salon.media.wav import WavWriter
from salon.testing.server import free_port

WARM_UP_CALLS = 100
GROWTH_MB = 16.0
"""Memory may grow by this much after the warm-up: caches and arenas are still filling."""
LATE_GROWTH_MB = 4.0
"""And by this much in the second half of the calls."""
SPARE_OBJECTS = 10
START_TIMEOUT_S = 60.0
SETTLE_S = 4.0
QUIET_TIMEOUT_S = 30.0
OPEN_TIMEOUT_S = 30.0
ENDINGS: tuple[Ending, ...] = ("hangup", "hangup", "close", "vanish")

SERVER = """
import asyncio, ctypes, gc, json, os, sys, threading
from collections import Counter

WATCHED = ("salon.", "aiortc.", "aioice.", "pylibsrtp", "libdatachannel")

def living():
    gc.collect()
    found = Counter()
    for item in gc.get_objects():
        kind = type(item)
        name = f"{kind.__module__}.{kind.__qualname__}"
        if name.startswith(WATCHED):
            found[name] += 1
        elif isinstance(item, asyncio.Future) and not item.done():
            found["task" if hasattr(item, "get_coro") else "future"] += 1
    return found

def answer(pipe):
    for _ in sys.stdin:
        found = living()
        if hasattr(ctypes.CDLL(None), "malloc_trim"):
            ctypes.CDLL(None).malloc_trim(0)
        os.write(pipe, json.dumps(found).encode() + bytes([10]))

threading.Thread(target=answer, args=(int(sys.argv[1]),), name="census", daemon=True).start()
sys.argv = ["salon", "serve"]
from salon.cli import main
main()
"""


@dataclass
class Census:
    """What a server holds at one moment."""

    rss_mb: float
    descriptors: int
    threads: int
    children: int
    living: Counter[str] = field(default_factory=Counter)


class Subject:
    """A server that can be asked what lives in it."""

    def __init__(self, folder: Path, carrier: str, parallel: int) -> None:
        self.port = free_port()
        data = folder / "data"
        (data / "media").mkdir(parents=True)
        wav = WavWriter(data / "media" / "music.wav", 16_000, 1)
        wav.write(speech_like(5, 16_000))
        wav.close()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SALON_")}
        self._log = folder / "log"
        answers, given = os.pipe()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", SERVER, str(given)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=kept
                | {
                    "SALON_DATA_DIR": str(data),
                    "SALON_PORT": str(self.port),
                    "SALON_WEBRTC": carrier,
                    "SALON_MAX_CALLS": str(parallel * 4 + 20),
                },
                pass_fds=(given,),
                text=True,
            )
        os.close(given)
        self._answers = os.fdopen(answers)

    def wait_ready(self) -> None:
        """Until it prints that it is open."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while "is open" not in self.log():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start:\n{self.log()[-3000:]}")
            time.sleep(0.1)

    def census(self) -> Census:
        """What is there now."""
        if self._process.stdin is None:
            raise RuntimeError("the server has no input")
        self._process.stdin.write("?\n")
        self._process.stdin.flush()
        answer = self._answers.readline()
        process = psutil.Process(self._process.pid)
        return Census(
            process.memory_info().rss / 2**20,
            process.num_fds(),
            process.num_threads(),
            len(process.children(recursive=True)),
            Counter(json.loads(answer)),
        )

    def log(self) -> str:
        """All it said."""
        return self._log.read_text(errors="replace")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._answers.close()


@contextlib.contextmanager
def subject(carrier: str, parallel: int) -> Iterator[Subject]:
    """A server for the length of a ``with``."""
    with tempfile.TemporaryDirectory(prefix="salon-churn-") as folder:
        server = Subject(Path(folder), carrier, parallel)
        try:
            server.wait_ready()
            yield server
        finally:
            server.stop()


@dataclass
class Tally:
    """What happened."""

    endings: Counter[str] = field(default_factory=Counter)
    received: int = 0
    silent: int = 0
    """Calls that heard nothing."""
    failures: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Both together."""
        self.endings += other.endings
        self.received += other.received
        self.silent += other.silent
        self.failures += other.failures


async def one_call(server: Subject, number: int, sound: Sound, tally: Tally) -> None:
    """Opens a call, talks a moment with music in its ear, and ends it in the middle."""
    dice = random.Random(number)
    how = ENDINGS[number % len(ENDINGS)]
    call = RtcCall(f"ws://127.0.0.1:{server.port}/webrtc?id=churn-{number}", sound, {"vad": {}})
    try:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            await call.open({"command": "play", "url": "music.wav"})
    except (OSError, TimeoutError, websockets.WebSocketException) as error:
        tally.failures.append(f"not opened: {type(error).__name__}: {error}")
        await call.end("vanish")
        return
    for tick in range(dice.randrange(5, 25)):
        call.send(tick)
        await asyncio.sleep(FRAME_S)
    tally.received += call.received
    tally.silent += call.received == 0
    await call.end(how)
    tally.endings[how] += 1


async def churn(server: Subject, first: int, calls: int, parallel: int) -> Tally:
    """`calls` calls, `parallel` at a time."""
    tally = Tally()
    sound = opus_sound()
    numbers = iter(range(first, first + calls))

    async def worker() -> None:
        for number in numbers:
            await one_call(server, number, sound, tally)

    await asyncio.gather(*(worker() for _ in range(parallel)))
    return tally


async def quiet(server: Subject) -> Census:
    """The census once no call is left, or when waiting for that has no use any more."""
    deadline = time.monotonic() + QUIET_TIMEOUT_S
    await asyncio.sleep(SETTLE_S)
    while True:
        found = await asyncio.to_thread(server.census)
        if not calls_left(found) or time.monotonic() > deadline:
            return found
        await asyncio.sleep(1.0)


def calls_left(census: Census) -> int:
    return sum(
        census.living[name]
        for name in census.living
        if name.endswith((".WebRtcTransport", ".AiortcPeer", ".LibdatachannelPeer"))
    )


async def run(server: Subject, calls: int, parallel: int) -> dict[str, Any]:
    """Warm-up, the calls, and what is left of them."""
    warm = await churn(server, 0, WARM_UP_CALLS, parallel)
    before = await quiet(server)
    began = time.monotonic()
    tally = await churn(server, 10_000, calls // 2, parallel)
    took = time.monotonic() - began
    half = await quiet(server)
    began = time.monotonic()
    rest = await churn(server, 20_000, calls - calls // 2, parallel)
    took += time.monotonic() - began
    after = await quiet(server)
    tally.add(rest)
    tally.failures += warm.failures
    return {
        "calls": calls,
        "parallel": parallel,
        "seconds": round(took, 1),
        "endings": dict(tally.endings),
        "packets_received": tally.received,
        "silent_calls": tally.silent,
        "rss_mb": [round(one.rss_mb, 1) for one in (before, half, after)],
        "descriptors": [before.descriptors, after.descriptors],
        "threads": [before.threads, after.threads],
        "tasks": [before.living["task"], after.living["task"]],
        "more_objects": more_objects(before, after),
        "problems": problems(before, half, after) + misbehaviour(tally, calls, server.log()),
    }


def more_objects(before: Census, after: Census) -> dict[str, int]:
    """Kinds of which there are more than before."""
    more = after.living - before.living
    return dict(more.most_common(20))


def problems(before: Census, half: Census, after: Census) -> list[str]:
    """What is left that must not be."""
    found = []
    for name, grown, limit in (
        ("memory", after.rss_mb - before.rss_mb, GROWTH_MB),
        ("in the second half memory", after.rss_mb - half.rss_mb, LATE_GROWTH_MB),
    ):
        if grown > limit:
            found.append(f"{name} grew by {grown:.1f} MB")
    for name, one, other, spare in (
        ("descriptors", before.descriptors, after.descriptors, 2),
        ("threads", before.threads, after.threads, 2),
        ("processes", before.children, after.children, 0),
        ("tasks", before.living["task"], after.living["task"], 2),
    ):
        if other > one + spare:
            found.append(f"{name}: {one} before, {other} after")
    # a few objects come and go with no call, such as those of a log line
    found += [
        f"{count} more of {name}"
        for name, count in more_objects(before, after).items()
        if count > SPARE_OBJECTS
    ]
    if left := calls_left(after):
        found.append(f"{left} objects of calls are left")
    return found


def misbehaviour(tally: Tally, calls: int, log: str) -> list[str]:
    """What went wrong on the way."""
    found = sorted(set(tally.failures))
    if tally.silent > calls // 20:
        found.append(f"{tally.silent} calls heard nothing")
    if "Traceback" in log:
        found.append("traceback in the log: " + log[log.index("Traceback") :][:1500])
    return found


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run and print; `problems` is empty if nothing is left."""
    parser = argparse.ArgumentParser(description="WebRTC calls opened and ended in mid-media")
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--parallel", type=int, default=20)
    parser.add_argument("--carrier", default="aiortc", choices=("aiortc", "native", "stock"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments or [])
    load = [round(os.getloadavg()[0], 1)]
    with subject(options.carrier, options.parallel) as server:
        found = uvloop.run(run(server, options.calls, options.parallel))
    load.append(round(os.getloadavg()[0], 1))
    result = {"bench": "churn_webrtc", "carrier": options.carrier, **found, "load": load}
    print(json.dumps(result, indent=None if options.json else 1))
    return result


if __name__ == "__main__":
    raise SystemExit(1 if main(sys.argv[1:])["problems"] else 0)
