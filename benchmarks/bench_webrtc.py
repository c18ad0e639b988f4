"""CPU time of the server per second of a `/webrtc` call, beside stock aiortc in the same run.

    python benchmarks/bench_webrtc.py [--quick] [--json] [--calls 10 50] [--only salon stock]

Every server runs in a process of its own, under uvloop; one client (`webrtc_load`) calls them all.
A call of Salon is whole: transport, Opus, jitter buffer, pipeline and voice activity detection, a
sound playing all the time and speech coming in. Stock aiortc decodes and encodes (stereo Opus, as
it does) and has nothing behind it; "packets only" is Salon's carrier sending every packet back, the
floor under a call. A server that loses more than 5 % of its packets, or sends fewer than 45 a
second, has collapsed: its figure says what it used, not what a call needs. "per 50" divides by the
packets that came; limits apply to it. A server that had less than 60 % of a core meanwhile was kept
from running by others, which is said instead.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import uvloop
from bench_call import Meter
from webrtc_load import Crowd, RtcCall, Sound, opus_sound, pcmu_sound, speech_like

from salon.media.wav import WavWriter
from salon.testing.server import free_port, running_server

LIMIT_MS = 22.0
NATIVE_LIMIT_MS = 15.0
LOST_PERCENT = 5.0
PACKETS_A_SECOND = 45.0
BUSY_PERCENT = 60.0
"""A server that falls behind with less of a core than this was kept from running by others."""
PLAYED_S = 10
"""Length of the sound that calls play over and over; each holds it decoded, 32 kB a second."""
SETTLE_S = 3.0
GROW_TIMEOUT_S = 30.0
PEER = Path(__file__).resolve().parent / "webrtc_stock.py"


@dataclass(frozen=True)
class Server:
    """Where it listens and who it is."""

    url: str
    pid: int


@dataclass(frozen=True)
class Variant:
    """One server and how it is called."""

    name: str
    what: str
    start: Callable[[int], contextlib.AbstractContextManager[Server]]
    sound: Sound
    limit: float | None = None
    every_count: bool = True
    """Measured at every number of calls, else only at the largest."""
    commands: tuple[dict[str, object], ...] = ()
    option: dict[str, object] = field(default_factory=dict)


@contextlib.contextmanager
def salon(carrier: str, calls: int, *, spare: int = 8) -> Iterator[Server]:
    """A whole server, with a sound to play, that takes `spare` calls more than `calls`."""
    environment = {
        "SALON_MAX_CALLS": str(calls + spare),
        "SALON_STORE_URL": "memory://",
        "SALON_WEBRTC": carrier,
    }
    with running_server(environment=environment) as server:
        media = server.data_dir / "media"
        media.mkdir(parents=True, exist_ok=True)
        wav = WavWriter(media / "music.wav", 16_000, 1)
        wav.write(speech_like(PLAYED_S, 16_000))
        wav.close()
        yield Server(f"{server.ws_url}/webrtc", server.pid)


@contextlib.contextmanager
def peer(kind: str, _calls: int) -> Iterator[Server]:
    """A server of `webrtc_stock`."""
    port = free_port()
    process = subprocess.Popen([sys.executable, str(PEER), kind, str(port)], env=dict(os.environ))
    try:
        deadline = time.monotonic() + 20
        while not listening(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the {kind} server did not start")
            time.sleep(0.1)
        yield Server(f"ws://127.0.0.1:{port}/", process.pid)
    finally:
        process.kill()
        process.wait()


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def variants() -> list[Variant]:
    """What is measured, in this order."""
    opus, pcmu = opus_sound(), pcmu_sound()
    whole: dict[str, Any] = {
        "commands": ({"command": "play", "url": "music.wav"},),
        "option": {"vad": {"type": "silero"}},
    }
    found = [
        Variant("salon", "Salon, Opus", lambda n: salon("aiortc", n), opus, LIMIT_MS, **whole),
        Variant("stock", "stock aiortc, Opus", lambda n: peer("stock", n), opus),
        Variant("packets", "packets only", lambda n: peer("echo", n), opus, every_count=False),
        Variant(
            "pcmu", "Salon, PCMU", lambda n: salon("aiortc", n), pcmu, every_count=False, **whole
        ),
    ]
    if find_spec("libdatachannel"):
        found.insert(
            1,
            Variant(
                "native",
                "Salon, native carrier",
                lambda n: salon("native", n),
                opus,
                NATIVE_LIMIT_MS,
                every_count=False,
                **whole,
            ),
        )
    return found


def rss_mb(pid: int) -> float:
    return psutil.Process(pid).memory_info().rss / 2**20


async def measure(
    variant: Variant, server: Server, counts: list[int], windows: int, seconds: float
) -> list[dict[str, Any]]:
    """The variant at each number of calls."""
    first = RtcCall(server.url + "?id=first", variant.sound, variant.option)
    await first.open(*variant.commands)
    await first.end("hangup" if "webrtc" in server.url else "close")
    await asyncio.sleep(1.0)
    empty = rss_mb(server.pid)
    crowd = Crowd()
    results = []
    try:
        for count in counts:
            connected = await crowd.grow(
                server.url,
                count - len(crowd.calls),
                variant.sound,
                *variant.commands,
                option=variant.option,
                timeout=GROW_TIMEOUT_S,
            )
            await asyncio.sleep(SETTLE_S)
            result = await measure_windows(crowd, server.pid, windows, seconds)
            result |= {
                "variant": variant.name,
                "wanted": count,
                "mb_per_call": (rss_mb(server.pid) - empty) / max(len(crowd.calls), 1),
                "rss_mb": rss_mb(server.pid),
                "connect_ms": 1000 * statistics.median(connected) if connected else math.nan,
                "connect_p95_ms": 1000 * percentile(connected, 0.95),
            }
            results.append(result)
    finally:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(crowd.end(), 15)
    return results


async def measure_windows(crowd: Crowd, pid: int, windows: int, seconds: float) -> dict[str, Any]:
    """Medians of `windows` stretches of `seconds`."""
    meter = Meter(pid)
    own = psutil.Process()
    found: list[dict[str, float]] = []
    dropped = crowd.refused_datagrams()
    for _ in range(windows):
        mine = sum(own.cpu_times()[:2])
        crowd.begin_window()
        began = time.perf_counter()
        meter.tell(True)
        await asyncio.sleep(seconds)
        meter.tell(False)
        took = time.perf_counter() - began
        window = crowd.window(took)
        calls = len(crowd.calls)
        window["ms"] = meter.own * 1000 / calls / took
        # of a second of sound that was delivered: more than `ms` if the server fell behind
        window["ms_delivered"] = window["ms"] * 50 / max(window["packets_per_call_second"], 0.1)
        window["busy_percent"] = 100 * meter.own / took
        window["workers_ms"] = meter.children * 1000 / calls / took
        window["client_ms"] = (sum(own.cpu_times()[:2]) - mine) * 1000 / calls / took
        found.append(window)
    result: dict[str, Any] = {
        key: statistics.median(window[key] for window in found) for key in found[0]
    }
    result["ms_all"] = [round(window["ms"], 2) for window in found]
    result["calls"] = len(crowd.calls)
    result["refused_datagrams"] = crowd.refused_datagrams() - dropped
    behind = (
        result["lost_percent"] > LOST_PERCENT
        or result["packets_per_call_second"] < PACKETS_A_SECOND
        or result["held"] < result["calls"]
    )
    result["collapsed"] = behind and result["busy_percent"] >= BUSY_PERCENT
    result["starved"] = behind and not result["collapsed"]
    return result


def percentile(values: list[float], part: float) -> float:
    if not values:
        return math.nan
    return sorted(values)[min(len(values) - 1, round(part * (len(values) - 1)))]


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every variant after the other."""
    windows, seconds = (1, 4.0) if options.quick else (options.windows, options.seconds)
    results = []
    for variant in variants():
        if options.only and variant.name not in options.only:
            continue
        counts = sorted(options.calls)
        if options.quick or not variant.every_count:
            counts = counts[-1:]
        with variant.start(counts[-1]) as server:
            found = uvloop.run(measure(variant, server, counts, windows, seconds))
        for result in found:
            result |= {"what": variant.what, "limit_ms": variant.limit}
            results.append(result)
            if not options.json:
                print(line(result), flush=True)
    return results


HEAD = (
    f"{'':24}{'calls':>6}{'ms':>8}{'per 50':>8}{'packets/s':>11}{'lost %':>8}{'late p95':>10}"
    f"{'MB/call':>9}{'connect':>9}{'p95':>7}"
)


def line(result: dict[str, Any]) -> str:
    """One row of the table."""
    row = (
        f"{result['what']:24}{result['calls']:>6}{result['ms']:>8.2f}{result['ms_delivered']:>8.2f}"
        f"{result['packets_per_call_second']:>11.1f}{result['lost_percent']:>8.2f}"
        f"{result['late_p95_ms']:>10.1f}{result['mb_per_call']:>9.2f}"
        f"{result['connect_ms']:>9.0f}{result['connect_p95_ms']:>7.0f}"
    )
    notes = []
    if result["limit_ms"] is not None and result["calls"] >= 50:
        notes.append(f"limit {result['limit_ms']:.0f}")
    if result["collapsed"]:
        notes.append("collapsed")
    if result["starved"]:
        notes.append(f"the machine gave it only {result['busy_percent']:.0f} % of a core")
    if result["calls"] < result["wanted"]:
        notes.append(f"{result['wanted'] - result['calls']} calls were not opened in time")
    if result["refused_datagrams"]:
        notes.append(f"{result['refused_datagrams']} datagrams dropped at full sockets")
    return row + ("   " + ", ".join(notes) if notes else "")


def missed(results: list[dict[str, Any]]) -> list[str]:
    """Variants over their limit at the largest number of calls, or collapsed although limited."""
    largest = max((result["wanted"] for result in results), default=0)
    return [
        result["variant"]
        for result in results
        if result["limit_ms"] is not None
        and result["wanted"] == largest
        and (result["ms_delivered"] > result["limit_ms"] or result["collapsed"])
    ]


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure and print; the figures as a dictionary."""
    parser = argparse.ArgumentParser(description="server CPU per call-second of a /webrtc call")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="the largest number, one window")
    parser.add_argument("--calls", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="salon native stock packets pcmu")
    options = parser.parse_args(arguments or [])
    load = [round(os.getloadavg()[0], 1)]
    if not options.json:
        print("/webrtc call, sound both ways: CPU ms of the server per call-second")
        print(HEAD, flush=True)
    results = run(options)
    load.append(round(os.getloadavg()[0], 1))
    summary = {
        "bench": "webrtc",
        "limit_ms": LIMIT_MS,
        "native": bool(find_spec("libdatachannel")),
        "load": load,
        "results": results,
        "over": missed(results),
    }
    if options.json:
        print(json.dumps(summary))
    else:
        if not summary["native"]:
            print("  the native carrier is not installed here (it needs Python 3.12)")
        print(f"  load of the machine {load[0]} before, {load[1]} after, {os.cpu_count()} cores")
    return summary


if __name__ == "__main__":
    raise SystemExit(1 if main(sys.argv[1:])["over"] else 0)
