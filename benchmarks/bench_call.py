"""CPU time of the server per second of a `/ws` call, sound both ways.

    python benchmarks/bench_call.py [--json] [--calls 50] [--seconds 10] [--runs 3]

The server runs in a process of its own; every call sends 640-byte frames, has voice activity
detection on, and plays a sound back. Worker processes of recognition and synthesis are reported
apart (idle here: the calls play a file). The floor is the same protocol class echoing frames, with
no call behind it, in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np
import psutil
from load import run_calls

from salon.media.wav import WavWriter
from salon.testing.server import free_port, running_server

LIMIT_MS = 5.0
ECHO = """
import asyncio, sys
import uvloop
from salon.transport.sockets import SocketHandler
from salon.transport.upgrade import media_protocol

class Echo(SocketHandler):
    def connected(self, socket): self.socket = socket
    def text(self, data): pass
    def binary(self, data): self.socket.send_binary(data)
    def closed(self, code, reason): pass

async def main():
    loop = asyncio.get_running_loop()
    protocol = media_protocol(lambda request: Echo())
    server = await loop.create_server(protocol, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()

uvloop.run(main())
"""


def speech_like(seconds: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    """A buzz with pauses, so that the detector has something to decide."""
    t = np.arange(seconds * 16_000) / 16_000
    buzz = sum(np.sin(2 * np.pi * 130 * k * t) / k for k in range(1, 20))
    sound = buzz * (np.sin(2 * np.pi * 3 * t) > -0.2) * (np.sin(2 * np.pi * 0.3 * t) > 0)
    return (sound * 3000).astype(np.int16)


class Meter:
    """CPU seconds of a process and of its children between two calls."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._before = (0.0, 0.0)
        self.own = 0.0
        self.children = 0.0

    def _now(self) -> tuple[float, float]:
        times = self._process.cpu_times()
        children = sum(
            child.cpu_times().user + child.cpu_times().system
            for child in self._process.children(recursive=True)
        )
        return times.user + times.system, children

    def tell(self, begins: bool) -> None:
        now = self._now()
        if begins:
            self._before = now
        else:
            self.own = now[0] - self._before[0]
            self.children = now[1] - self._before[1]


def measure_salon(calls: int, seconds: float) -> dict[str, float]:
    """One run against a whole server."""
    environment = {"SALON_MAX_CALLS": str(calls + 8), "SALON_STORE_URL": "memory://"}
    with running_server(environment=environment) as server:
        media = server.data_dir / "media"
        media.mkdir(parents=True, exist_ok=True)
        wav = WavWriter(media / "long.wav", 16_000, 1)
        wav.write(speech_like(60))
        wav.close()
        commands: list[dict[str, object]] = [
            {"command": "invite", "option": {"codec": "pcm", "vad": {"type": "silero"}}},
            {"command": "play", "url": "long.wav"},
        ]
        meter = Meter(server.pid)
        result = asyncio.run(
            run_calls(
                server.port,
                "/ws",
                calls,
                seconds,
                speech_like(8).tobytes(),
                commands,
                on_measure=meter.tell,
            )
        )
        memory = psutil.Process(server.pid).memory_info().rss / 2**20
    return {
        "ms": meter.own * 1000 / calls / seconds,
        "workers_ms": meter.children * 1000 / calls / seconds,
        "frames_back": result["bytes_per_call_second"] / 644,
        "held": result["held"],
        "rss_mb": memory,
    }


def measure_echo(calls: int, seconds: float) -> float:
    """The floor: frames in and out of the same protocol class."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", ECHO, str(port)], env=dict(os.environ))
    try:
        time.sleep(2.0)
        meter = Meter(process.pid)
        sound = speech_like(8).tobytes()
        asyncio.run(run_calls(port, "/ws", calls, seconds, sound, [], on_measure=meter.tell))
    finally:
        process.kill()
        process.wait()
    return meter.own * 1000 / calls / seconds


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure and print; the figures as a dictionary."""
    parser = argparse.ArgumentParser(description="server CPU per call-second of a /ws call")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args(arguments or [])
    runs = [measure_salon(options.calls, options.seconds) for _ in range(options.runs)]
    floors = [measure_echo(options.calls, options.seconds) for _ in range(options.runs)]
    middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    result = {
        "bench": "call",
        "calls": options.calls,
        "limit_ms": LIMIT_MS,
        "floor_echo_ms": statistics.median(floors),
        **middle,
        "over": ["call"] if middle["ms"] > LIMIT_MS else [],
    }
    if options.json:
        print(json.dumps(result))
        return result
    print(f"/ws call, sound both ways, {options.calls} calls, CPU ms per call-second")
    print(f"  server      {middle['ms']:.2f}   (limit {LIMIT_MS:.0f})")
    print(f"  workers     {middle['workers_ms']:.2f}")
    print(f"  bare echo   {result['floor_echo_ms']:.2f}   (floor: the same protocol class)")
    print(
        f"  {middle['frames_back']:.1f} frames back per call-second, {middle['held']:.0f} calls "
        f"held, {middle['rss_mb']:.0f} MB"
    )
    return result


if __name__ == "__main__":
    raise SystemExit(1 if main(sys.argv[1:])["over"] else 0)
