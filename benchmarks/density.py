"""How many calls one core carries before sound comes late.

    python benchmarks/density.py [--kind ws webrtc] [--from 100] [--to 500] [--step 25]
                                 [--seconds 20] [--limit-ms 20] [--json]

The server process is kept on one core; its workers of recognition and synthesis (idle here: the
calls play a file) and this client share the others. A call of either kind has voice activity
detection on, says something all the time and hears a sound all the time. A number of calls holds
if all of them are answered and stay, and of the frames that come back 99 % are less than
`--limit-ms` late against the 20 ms grid and no more than 1 % are missing. The numbers are searched
by halving; the largest that held is the result, with the server's CPU time per call-second there.

Nothing else should run meanwhile: what the client itself was late stands in the table, and a number
at which that is more than half of the figure says nothing ("client").

At the end, for each kind, the largest number that held is placed once more on a server that allows
exactly so many calls (row "limit"). While they are held, five more connections a second come at
once: each has to be refused with 503 and Retry-After, none may be let in, and the calls there are
have to stay on time as before.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import math
import os
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import uvloop
from bench_call import Meter, speech_like
from bench_webrtc import Server, salon
from webrtc_load import Crowd, opus_sound

from salon.clients.call.load import Load, LoadPlan, LoadStatus, late_ticks

LIMIT_MS = 20.0
MISSING_PERCENT = 1.0
WAITED_PERCENT = 5.0
PLAYED: dict[str, object] = {"command": "play", "url": "music.wav"}
SETTLE_S = 2.0
KNOCKS = 5
"""Connections a second past the limit."""


@dataclass
class Step:
    """What came of one number of calls."""

    kind: str
    wanted: int
    held: int = 0
    p50_ms: float = math.nan
    p99_ms: float = math.nan
    max_ms: float = math.nan
    missing_percent: float = math.nan
    server_ms: float = math.nan
    """CPU milliseconds per call-second."""
    busy_percent: float = math.nan
    client_p99_ms: float = math.nan
    late_ticks: int | None = None
    """Ticks of the server's media clock that began more than 5 ms late, if it says so."""
    waited_percent: float = math.nan
    """Of the time the server's main thread wanted to run and other processes had the core."""
    refused: int | None = None
    """Connections past the limit that got 503 with Retry-After; None where none was tried."""
    let_in: int = 0
    """Connections past the limit that got anything else."""
    why: str = ""
    """Why it does not count as held."""

    def judge(self, limit_ms: float) -> Step:
        """Fill in `why`."""
        if self.held < self.wanted:
            self.why = f"only {self.held} held"
        elif not self.p99_ms < limit_ms:
            self.why = "late"
            if self.client_p99_ms > self.p99_ms / 2:
                self.why = "late (client)"
            elif self.waited_percent > WAITED_PERCENT:
                self.why = "late (others had the core)"
        elif self.missing_percent > MISSING_PERCENT:
            self.why = "frames missing"
        elif self.let_in or self.refused == 0:
            self.why = f"{self.let_in} past the limit were not refused as they should be"
        return self


class Knocker:
    """Five connections at once each second, past the limit, from `begin` to `end`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._path = parts.path
        self._task: asyncio.Task[None] | None = None
        self.refused = 0
        self.let_in = 0

    def begin(self) -> None:
        """Idempotent."""
        if self._task is None:
            self._task = asyncio.create_task(self._knock())

    async def end(self) -> None:
        """No more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _knock(self) -> None:
        number = 0
        while True:
            await asyncio.gather(*(self._one(number + more) for more in range(KNOCKS)))
            number += KNOCKS
            await asyncio.sleep(1)

    async def _one(self, number: int) -> None:
        """An upgrade like any other."""
        lines = (
            f"GET {self._path}?id=past-{number} HTTP/1.1",
            f"Host: {self._host}:{self._port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
        )
        try:
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection(self._host, self._port)
                writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                writer.close()
        except (OSError, EOFError, TimeoutError):
            self.let_in += 1  # no answer is no refusal
            return
        status = head.split(b" ", 2)[1]
        if status == b"503" and b"\r\nretry-after:" in head:
            self.refused += 1
        else:
            self.let_in += 1


def pin(pid: int, core: int) -> None:
    """The process on `core`, all its threads; its children on the others."""
    others = set(os.sched_getaffinity(0)) - {core}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(task.name), {core})
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(OSError, psutil.Error):
            os.sched_setaffinity(child.pid, others or {core})


def waited_s(pid: int) -> float:
    """Seconds that its main thread was ready to run and did not."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[1]) / 1e9


class Pinned:
    """Keeps a server where it belongs, and this client elsewhere."""

    def __init__(self, pid: int) -> None:
        cores = sorted(os.sched_getaffinity(0))
        self.alone = len(cores) > 1
        self._pid, self._core = pid, cores[0]

    def again(self) -> None:
        """Threads begin later, too."""
        if self.alone:
            pin(self._pid, self._core)

    def leave(self) -> None:
        """This process goes to the other cores."""
        if self.alone:
            os.sched_setaffinity(0, set(os.sched_getaffinity(0)) - {self._core})


async def ws_step(server: Server, calls: int, seconds: float, knocker: Knocker | None) -> Step:
    """`/ws` calls by the same client as `salon probe load`."""
    meter, pinned = Meter(server.pid), Pinned(server.pid)
    pinned.again()
    pinned.leave()
    took: list[float] = []
    waits: list[float] = []

    def metrics() -> str:
        url = server.url.removesuffix("/webrtc").replace("ws:", "http:", 1) + "/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:  # nosec B310
            return str(answer.read().decode())

    def ticks() -> int | None:
        """Asked at both ends of what is measured: the CPU time belongs to the same stretch."""
        begins = not took
        meter.tell(begins)
        waits.append(waited_s(server.pid))
        took.append(time.perf_counter())
        try:
            return late_ticks(metrics())
        except OSError:
            return None

    def status(now: LoadStatus) -> None:
        pinned.again()
        if knocker is not None and now.phase == "hold":
            knocker.begin()

    plan = LoadPlan(
        server.url.removesuffix("/webrtc"),
        calls,
        speech_like(8),
        seconds=seconds,
        rate=50,
        reply=PLAYED,
        prefix="density",
    )
    report = await Load(plan, tell=status, late_ticks=ticks).run()
    stretch = took[1] - took[0] if len(took) > 1 else math.nan
    return Step(
        "ws",
        calls,
        report.answered - report.lost - report.stuck,
        report.p50_ms,
        report.p99_ms,
        report.max_ms,
        100 * report.missing / max(report.expected, 1),
        meter.own * 1000 / calls / stretch,
        100 * meter.own / stretch,
        report.client_p99_ms,
        report.server_late_ticks,
        100 * (waits[-1] - waits[0]) / stretch,
    )


async def webrtc_step(server: Server, calls: int, seconds: float, knocker: Knocker | None) -> Step:
    """`/webrtc` calls over aiortc, Opus both ways."""
    meter, pinned = Meter(server.pid), Pinned(server.pid)
    pinned.again()
    pinned.leave()
    crowd = Crowd()
    try:
        option: dict[str, object] = {"vad": {}}
        await crowd.grow(
            server.url, calls, opus_sound(), PLAYED, option=option, parallel=4, timeout=120
        )
        await asyncio.sleep(SETTLE_S)
        pinned.again()
        crowd.begin_window()
        meter.tell(True)
        began = time.perf_counter()
        if knocker is not None:
            knocker.begin()
        await asyncio.sleep(seconds)
        meter.tell(False)
        took = time.perf_counter() - began
        found = crowd.window(took)
        late = sorted(ms for call in crowd.calls for ms in call.window.late_ms())
    finally:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(crowd.end(), 30)
    share = 100 * (1 - min(1.0, found["packets_per_call_second"] / 50))
    return Step(
        "webrtc",
        calls,
        int(found["held"]),
        statistics.median(late) if late else math.nan,
        late[int(len(late) * 0.99)] if late else math.nan,
        late[-1] if late else math.nan,
        max(share, found["lost_percent"]),
        meter.own * 1000 / calls / took,
        100 * meter.own / took,
        # a client that was more than a frame behind once a second
        1000 * 0.02 if found["client_slips"] > seconds else 0.0,
    )


KINDS: dict[str, Callable[[Server, int, float, Knocker | None], Any]] = {
    "ws": ws_step,
    "webrtc": webrtc_step,
}
RANGES = {"ws": (100, 500), "webrtc": (20, 120)}
HEAD = (
    f"{'':13}{'calls':>6}{'held':>6}{'p50 ms':>8}{'p99 ms':>8}{'max ms':>8}{'missing %':>11}"
    f"{'CPU ms':>8}{'core %':>8}{'client p99':>12}{'late ticks':>12}{'waited %':>10}"
)


def line(step: Step) -> str:
    """One row of the table."""
    past = "" if step.refused is None else f"   {step.refused} past the limit refused"
    return (
        f"{step.kind:13}{step.wanted:>6}{step.held:>6}{step.p50_ms:>8.2f}{step.p99_ms:>8.2f}"
        f"{step.max_ms:>8.1f}{step.missing_percent:>11.2f}{step.server_ms:>8.2f}"
        f"{step.busy_percent:>8.0f}{step.client_p99_ms:>12.2f}"
        f"{'-' if step.late_ticks is None else step.late_ticks:>12}"
        f"{step.waited_percent:>10.1f}   {step.why or 'ok'}{past}"
    )


def measure(kind: str, calls: int, options: argparse.Namespace, *, at_limit: bool = False) -> Step:
    """One number of calls against a fresh server, from a process of its own core; `at_limit` with
    more of them at the door."""
    affinity = os.sched_getaffinity(0)

    async def run(server: Server) -> Step:
        url = server.url if kind == "webrtc" else server.url.removesuffix("/webrtc") + "/ws"
        knocker = Knocker(url) if at_limit else None
        try:
            step: Step = await KINDS[kind](server, calls, options.seconds, knocker)
        finally:
            if knocker is not None:
                await knocker.end()
        if knocker is not None:
            step.kind = f"{kind} limit"
            step.refused, step.let_in = knocker.refused, knocker.let_in
        return step

    try:
        with salon("aiortc", calls, spare=0 if at_limit else 8) as server:
            step = uvloop.run(run(server))
    finally:
        os.sched_setaffinity(0, affinity)
    step.judge(options.limit_ms)
    if not options.json:
        print(line(step), flush=True)
    return step


def search(kind: str, options: argparse.Namespace) -> list[Step]:
    """Halve until the largest number that holds is known to `--step` calls."""
    low, high = RANGES[kind]
    low, high = options.first or low, options.last or high
    steps = [measure(kind, low, options)]
    if steps[0].why:
        return steps
    steps.append(measure(kind, high, options))
    if not steps[-1].why:
        return steps
    while high - low > options.step:
        middle = (low + high) // 2
        steps.append(measure(kind, middle, options))
        if steps[-1].why:
            high = middle
        else:
            low = middle
    return steps


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure and print; the figures as a dictionary."""
    parser = argparse.ArgumentParser(description="calls per core")
    parser.add_argument("--kind", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--from", dest="first", type=int)
    parser.add_argument("--to", dest="last", type=int)
    parser.add_argument("--step", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--limit-ms", type=float, default=LIMIT_MS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments or [])
    if not options.json:
        print(HEAD)
    steps: list[Step] = []
    for kind in options.kind:
        steps += search(kind, options)
    best = {
        kind: max((step.wanted for step in steps if step.kind == kind and not step.why), default=0)
        for kind in options.kind
    }
    limits = [measure(kind, calls, options, at_limit=True) for kind, calls in best.items() if calls]
    result = {
        "bench": "density",
        "limit_ms": options.limit_ms,
        "seconds": options.seconds,
        "cores": len(os.sched_getaffinity(0)),
        "calls_per_core": best,
        "steps": [asdict(step) for step in steps],
        "limits": [asdict(step) for step in limits],
    }
    if options.json:
        print(json.dumps(result))
    else:
        for kind, calls in best.items():
            print(f"{kind}: {calls} calls on one core (99 % within {options.limit_ms:g} ms)")
    return result


if __name__ == "__main__":
    main(sys.argv[1:])
