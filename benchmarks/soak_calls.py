"""Ten minutes of two hundred `/ws` calls that come, go, are bridged and passed on.

    python benchmarks/soak_calls.py [--calls 200] [--seconds 600] [--window 30] [--json]
                                    [--out FILE] [--set NAME=VALUE ...]

A real server in a process of its own. A tenth of the calls stays from beginning to end, hears a
sound without a break and measures how late its frames come; all others live for 10 to 60 s each,
say something all the time, and do something at random (seeded) every few seconds: have another
sound played, interrupt, pause, mute, bridge to another call and part again; one in eight has its
sound passed to an echo server here (media pass). They hang up, close, or vanish. Every `--window`
seconds a row: calls, lateness of the staying calls, memory. At the end: no traceback in the log,
memory flat, lateness no worse than at the beginning, no call, socket, thread or worker left.

`--out` writes the figures as JSON too: `minutes` has, for each minute, the memory at its end and
how late the frames of its worst window came. `--set` gives the server further settings; media
passes to this machine are allowed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
import uvloop
from bench_call import speech_like
from soak import inventory, leftovers

from salon.clients.call.load import connect, encoded
from salon.clients.call.load_call import BINARY, FRAME_S, Lateness, LoadCall, frame
from salon.media.wav import WavWriter
from salon.testing.server import ServerProcess, running_server

STAYING = 10
"""One call in so many stays from beginning to end."""
PASSED = 8
"""One call in so many has a media pass."""
GROUPS = 10
GROWTH_MB = 16.0
"""Memory may grow by so much between the first and the last quarter."""
DRIFT_MS = 5.0
"""The lateness of 99 % may be so much worse in the last quarter than in the first."""
SETTLE_S = 6.0
WARM_UP_S = 15.0
PLAY = {"command": "play", "url": "music.wav"}
EXPECTED = (
    "bridge target session not found",
    "cannot bridge a call to itself",
    "can't be bridged to more than",
    "track does not support pausing",
    "nothing plays",
)
"""Errors that come of acting at random."""


@dataclass
class Row:
    """One window."""

    at: float
    live: int
    begun: int
    p99_ms: float
    max_ms: float
    client_p99_ms: float
    rss_mb: float
    cpu_percent: float


@dataclass
class Tally:
    """What happened."""

    actions: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    bridges: int = 0
    passes: int = 0
    begun: int = 0
    rows: list[Row] = field(default_factory=list)


class Crowd:
    """All calls that are live, and the one loop that speaks for them."""

    def __init__(self, server: ServerProcess, tally: Tally, pass_url: str) -> None:
        self.server = server
        self.tally = tally
        self.pass_url = pass_url
        self.live: dict[str, LoadCall] = {}
        self.late = Lateness()
        self.own = Lateness()
        self.frames = [frame(BINARY, item) for item in encoded(speech_like(8), "pcm")]
        self._rest = Lateness()

    async def speak(self) -> None:
        """A frame of every call each 20 ms, spread over them."""
        began, step, tick = time.perf_counter(), FRAME_S / GROUPS, 0
        while True:
            for number, call in enumerate(tuple(self.live.values())):
                if number % GROUPS == tick % GROUPS and call.answered:
                    call.sound(self.frames[(tick // GROUPS + 7 * number) % len(self.frames)])
            tick += 1
            wait = began + tick * step - time.perf_counter()
            self.own.add(-wait)
            await asyncio.sleep(max(0.0, wait))

    async def call(self, name: str, *, staying: bool, passing: bool) -> LoadCall | None:
        """A call that was answered, or None and a problem."""
        url = f"{self.server.ws_url}/ws?id={name}"
        made = LoadCall(url, self.late if staying else self._rest, on_event=self.event)
        try:
            async with asyncio.timeout(10):
                await connect(url, lambda: made, None)
                if not await made.open:
                    self.tally.problems[f"refused with {made.status}"] += 1
                    return None
                option: dict[str, Any] = {"codec": "pcm", "vad": {}}
                if passing:
                    option["mediaPass"] = {
                        "url": self.pass_url,
                        "inputSampleRate": 16_000,
                        "outputSampleRate": 16_000,
                    }
                made.command("invite", option=option)
                while not made.answered and not made.lost:
                    await asyncio.sleep(0.02)
        except (OSError, TimeoutError) as error:
            self.tally.problems[f"no call: {type(error).__name__}"] += 1
            made.abort()
            return None
        if made.lost:
            self.tally.problems["lost before its answer"] += 1
            return None
        self.tally.begun += 1
        self.live[name] = made
        if not passing:
            self.play(made)
        return made

    def play(self, call: LoadCall) -> None:
        call.command("play", url=PLAY["url"])

    def event(self, call: LoadCall, event: Mapping[str, Any]) -> None:
        name, track = str(event["event"]), str(event.get("trackId"))
        self.tally.events[name] += 1
        if name == "trackStart" and track.startswith("bridge:"):
            self.tally.bridges += 1
        elif name == "trackStart" and not event.get("playId") and track == "server-side-track":
            self.tally.passes += 1
        elif name == "trackEnd" and call.grid.late is self.late and not call.ended:
            self.play(call)  # those that stay are never without sound
        elif name == "error":
            self.tally.errors[f"{event.get('sender')}: {event.get('error')}"[:80]] += 1

    async def stay(self, number: int, until: float) -> None:
        """One that is there all the time."""
        call = await self.call(f"stay-{number}", staying=True, passing=False)
        if call is None:
            return
        await asyncio.sleep(max(0.0, until - time.monotonic()))
        if call.lost:
            self.tally.problems["a staying call was lost"] += 1
        await self.leave(f"stay-{number}", call, "hangup")

    async def churn(self, number: int, until: float) -> None:
        """One after the other in one place."""
        dice = random.Random(number)
        turn = 0
        await asyncio.sleep(dice.uniform(0, 4))
        while time.monotonic() < until:
            turn += 1
            name = f"soak-{number}-{turn}"
            passing = bool(self.pass_url) and dice.randrange(PASSED) == 0
            call = await self.call(name, staying=False, passing=passing)
            if call is None:
                await asyncio.sleep(1)
                continue
            ends = min(until, time.monotonic() + dice.uniform(10, 60))
            while time.monotonic() < ends and not call.lost:
                self.act(call, dice)
                await asyncio.sleep(dice.uniform(1, 5))
            if call.lost:
                self.tally.problems["a call was lost"] += 1
            how = dice.choices(("hangup", "close", "vanish"), (6, 3, 1))[0]
            await self.leave(name, call, how)

    def act(self, call: LoadCall, dice: random.Random) -> None:
        """One thing a client does."""
        kinds = ("play", "interrupt", "pause", "resume", "mute", "unmute", "custom", "bridge")
        action = dice.choice((*kinds, "bridge", "unbridge"))
        self.tally.actions[action] += 1
        if action == "play":
            self.play(call)
        elif action in ("bridge", "unbridge"):
            call.command(action, targetSessionId=dice.choice(tuple(self.live)))
        elif action == "custom":
            call.command("custom", data={"n": dice.random()})
        else:
            call.command(action)

    async def leave(self, name: str, call: LoadCall, how: str) -> None:
        """The end, of one kind or another."""
        self.live.pop(name, None)
        self.tally.ends[how] += 1
        if how == "hangup":
            call.ended = True  # whatever it is told now, it wants no more sound
            call.command("hangup")
            await asyncio.wait({call.gone}, timeout=6)
            if not call.lost:
                self.tally.problems["did not close within 6 s of its hangup"] += 1
        elif how == "close":
            call.write(frame(8, (1000).to_bytes(2)))
            await asyncio.wait({call.gone}, timeout=6)
        call.abort()


async def watch(crowd: Crowd, seconds: float, window: float) -> None:
    """A row per window."""
    process = psutil.Process(crowd.server.pid)
    began = time.monotonic()
    process.cpu_percent()
    while True:
        crowd.late, before = Lateness(), crowd.late
        crowd.own = Lateness()
        for call in crowd.live.values():
            if call.grid.late is before:
                call.grid.late = crowd.late
        await asyncio.sleep(window)
        row = Row(
            time.monotonic() - began,
            sum(not call.lost for call in crowd.live.values()),
            crowd.tally.begun,
            crowd.late.quantile(0.99) if crowd.late.total else math.nan,
            crowd.late.max_ms,
            crowd.own.quantile(0.99),
            process.memory_info().rss / 2**20,
            process.cpu_percent(),
        )
        crowd.tally.rows.append(row)
        if row.at > seconds:
            return


@contextlib.asynccontextmanager
async def echo() -> AsyncIterator[str]:
    """The other end of every media pass: sends back what it hears."""
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.exceptions import ConnectionClosed

    async def back(socket: ServerConnection) -> None:
        with contextlib.suppress(OSError, ConnectionClosed):
            async for message in socket:
                if isinstance(message, bytes):
                    await socket.send(message)

    async with serve(back, "127.0.0.1", 0, compression=None) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/echo"


async def soak(server: ServerProcess, options: argparse.Namespace, tally: Tally) -> list[str]:
    """All of it; what was left behind."""
    async with echo() as url:
        # pools of threads grow to their size in a first round, which does not count
        warm = Crowd(server, Tally(), "" if options.no_media_pass else url)
        until = time.monotonic() + min(WARM_UP_S, options.seconds / 4)
        speaking = asyncio.create_task(warm.speak())
        await asyncio.gather(*(warm.churn(1000 + n, until) for n in range(min(40, options.calls))))
        speaking.cancel()
        await asyncio.sleep(SETTLE_S)
        before = await asyncio.to_thread(inventory, server)
        crowd = Crowd(server, tally, "" if options.no_media_pass else url)
        until = time.monotonic() + options.seconds
        staying = max(1, options.calls // STAYING)
        speaking = asyncio.create_task(crowd.speak())
        watching = asyncio.create_task(watch(crowd, options.seconds, options.window))
        try:
            await asyncio.gather(
                *(crowd.stay(number, until) for number in range(staying)),
                *(crowd.churn(number, until) for number in range(options.calls - staying)),
            )
        finally:
            for task in (speaking, watching):
                task.cancel()
            await asyncio.gather(speaking, watching, return_exceptions=True)
        await asyncio.sleep(SETTLE_S)
    return await asyncio.to_thread(leftovers, server, before)


def quarters(values: list[float]) -> tuple[float, float]:
    """The medians of the first and the last quarter, the first window left out: it fills caches."""
    known = [value for value in values[1:] if not math.isnan(value)]
    quarter = max(1, len(known) // 4)
    if not known:
        return math.nan, math.nan
    return statistics.median(known[:quarter]), statistics.median(known[-quarter:])


def minutes(rows: list[Row]) -> list[dict[str, float]]:
    """Minute by minute: memory and number of calls at its end, the lateness of its worst window, of
    the server's frames and of this program."""
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(max(0, math.ceil(row.at / 60 - 0.1) - 1), []).append(row)
    return [
        {
            "minute": minute + 1,
            "live": part[-1].live,
            "rss_mb": round(part[-1].rss_mb, 1),
            "p99_ms": max(row.p99_ms for row in part),
            "max_ms": round(max(row.max_ms for row in part), 1),
            "client_p99_ms": max(row.client_p99_ms for row in part),
            "cpu_percent": round(statistics.mean(row.cpu_percent for row in part), 1),
        }
        for minute, part in sorted(found.items())
    ]


def judge(tally: Tally, left: list[str], log: str, options: argparse.Namespace) -> list[str]:
    """What went wrong."""
    problems = [*left, *(f"{what} ({count}x)" for what, count in tally.problems.items())]
    problems += [
        f"error told: {what} ({count}x)"
        for what, count in tally.errors.items()
        if not any(part in what for part in EXPECTED)
    ]
    if "Traceback" in log:
        problems.append("traceback in the log: " + log[log.index("Traceback") :][:1500])
    memory, late = (
        quarters([row.rss_mb for row in tally.rows]),
        quarters([row.p99_ms for row in tally.rows]),
    )
    if memory[1] - memory[0] > GROWTH_MB:
        problems.append(f"memory grew from {memory[0]:.0f} to {memory[1]:.0f} MB")
    if late[1] - late[0] > DRIFT_MS:
        problems.append(f"p99 lateness went from {late[0]:.1f} to {late[1]:.1f} ms")
    if not tally.bridges:
        problems.append("no call was ever bridged")
    if not tally.passes and not options.no_media_pass:
        problems.append("no media pass ever began")
    return problems


HEAD = (
    f"{'s':>6}{'live':>6}{'begun':>7}{'p99 ms':>8}{'max ms':>8}{'client':>8}{'MB':>7}{'CPU %':>7}"
)


def line(row: Row) -> str:
    return (
        f"{row.at:>6.0f}{row.live:>6}{row.begun:>7}{row.p99_ms:>8.2f}{row.max_ms:>8.1f}"
        f"{row.client_p99_ms:>8.2f}{row.rss_mb:>7.0f}{row.cpu_percent:>7.0f}"
    )


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run and print; `problems` is empty if all held."""
    parser = argparse.ArgumentParser(description="minutes of many calls")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--window", type=float, default=30.0)
    parser.add_argument("--no-media-pass", action="store_true")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, metavar="FILE")
    options = parser.parse_args(arguments or [])
    environment = {
        "SALON_MAX_CALLS": str(options.calls + 50),
        "SALON_STORE_URL": "memory://",
        "SALON_MEDIA_HOSTS": "127.0.0.1",
    }
    environment |= dict(item.split("=", 1) for item in options.set)
    tally = Tally()
    with running_server(environment=environment) as server:
        media = server.data_dir / "media"
        media.mkdir(parents=True, exist_ok=True)
        wav = WavWriter(media / "music.wav", 16_000, 1)
        wav.write(speech_like(20))
        wav.close()
        left = uvloop.run(soak(server, options, tally))
        log = server.log_text()
    result = {
        "bench": "soak_calls",
        "calls": options.calls,
        "seconds": options.seconds,
        "begun": tally.begun,
        "bridges": tally.bridges // 2,
        "media_passes": tally.passes,
        "actions": dict(tally.actions),
        "ends": dict(tally.ends),
        "minutes": minutes(tally.rows),
        "rows": [asdict(row) for row in tally.rows],
        "problems": judge(tally, left, log, options),
    }
    if options.out is not None:
        options.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    if options.json:
        print(json.dumps(result))
        return result
    print(HEAD)
    for row in tally.rows:
        print(line(row))
    del result["rows"]
    print(json.dumps(result, indent=1))
    return result


if __name__ == "__main__":
    raise SystemExit(1 if main(sys.argv[1:])["problems"] else 0)
