"""A viewer of live video, beside a plain aiortc receiver in the same run.

    python benchmarks/bench_interactive_video.py [--quick] [--json] [--check] [--no-peer]

Glass to glass: from the moment a picture is made, which is written into it, to the moment it is
there as an RGB array; the sender is stock aiortc (VP8, 24 pictures a second of 1280 x 704) in a
process of its own. Each receiver has a process of its own too: CPU is that of the whole process per
picture, connecting left out. "connect" is from the offer to the state connected, with a STUN server
that never answers. Rounds alternate, figures are medians of them. `--check`: exit 1 if a limit is
missed (the default without `--json`).
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
from pathlib import Path
from typing import Any

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from video_sender import BITS, now_us, read_time

from salon.transport.packets import IceServer
from salon.transport.video_viewer import VideoViewer

LIMIT_P50_MS = 30.0
LIMIT_P95_MS = 45.0
LIMIT_CONNECT_MS = 500.0
RATE, WIDTH, HEIGHT = 24, 1280, 704
SETTLE = 48
"""Pictures before measuring: the estimate of the bandwidth rises."""
SILENT_STUN = "stun:192.0.2.1:3478"
"""An address of documentation (RFC 5737): nobody answers."""
CONNECT_TIMEOUT_S = 30.0
HERE = Path(__file__).resolve().parent


class Sender:
    """The sending process."""

    def __init__(self) -> None:
        arguments = [str(item) for item in (RATE, WIDTH, HEIGHT)]
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "video_sender.py"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    async def offer(self) -> str:
        """The offer of the next connection."""
        assert self._process.stdout is not None
        line = await asyncio.to_thread(self._process.stdout.readline)
        return str(json.loads(line)["sdp"])

    def answer(self, sdp: str) -> None:
        """Take it."""
        self._say(json.dumps({"sdp": sdp}))

    def next(self) -> None:
        """End this connection."""
        self._say("")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


class Meter:
    """Latency and CPU of the pictures that were received."""

    def __init__(self, wanted: int) -> None:
        self.latencies: list[float] = []
        self.done = asyncio.Event()
        self._wanted = wanted
        self.seen = 0
        self._cpu = 0.0
        self._began = 0.0
        self.cpu_ms = self.took_s = 0.0

    def picture(self, data: Any) -> None:
        """One is there."""
        age = (now_us() - read_time(data)) % (1 << BITS)
        self.seen += 1
        if self.seen == SETTLE:
            self._cpu, self._began = time.process_time(), time.perf_counter()
        elif SETTLE < self.seen <= SETTLE + self._wanted:
            self.latencies.append(age / 1000)
            if self.seen == SETTLE + self._wanted:
                self.cpu_ms = 1000 * (time.process_time() - self._cpu) / self._wanted
                self.took_s = time.perf_counter() - self._began
                self.done.set()


async def ours(sender: Sender, meter: Meter) -> dict[str, Any]:
    """Through our viewer."""
    connected = asyncio.Event()
    viewer = VideoViewer(
        ice_servers=[IceServer((SILENT_STUN,))],
        on_frame=lambda frame: meter.picture(frame.data),
        on_state=lambda state: connected.set() if state == "connected" else None,
    )
    offer = await sender.offer()
    began = time.perf_counter()
    sender.answer(await viewer.answer(offer))
    answered = time.perf_counter() - began
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await connected.wait()
            connect = time.perf_counter() - began
            await asyncio.wait_for(meter.done.wait(), 120)
    finally:
        statistics_ = viewer.statistics()
        await viewer.close()
        sender.next()
    video = statistics_.video
    return {
        "answer_ms": 1000 * answered,
        "connect_ms": 1000 * connect,
        "path": statistics_.path,
        "dropped": video.dropped,
        "skipped": video.skipped,
        "packets_per_picture": video.packets_received / max(video.complete, 1),
    }


async def plain(sender: Sender, meter: Meter) -> dict[str, Any]:
    """Through aiortc as it is."""
    connected = asyncio.Event()
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[RTCIceServer(SILENT_STUN)]))
    tasks: list[asyncio.Task[None]] = []

    async def receive(track: Any) -> None:
        while not meter.done.is_set():
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            meter.picture(frame.to_ndarray(format="rgb24"))

    pc.on("track", lambda track: tasks.append(asyncio.create_task(receive(track))))
    pc.on(
        "connectionstatechange",
        lambda: connected.set() if pc.connectionState == "connected" else None,
    )
    offer = await sender.offer()
    began = time.perf_counter()
    await pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    await pc.setLocalDescription(await pc.createAnswer())
    sender.answer(pc.localDescription.sdp)
    answered = time.perf_counter() - began
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await connected.wait()
            connect = time.perf_counter() - began
            await asyncio.wait_for(meter.done.wait(), 120)
        figures = (await pc.getStats()).values()
        packets = sum(item.packetsReceived for item in figures if item.type == "inbound-rtp")
    finally:
        await pc.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        sender.next()
    return {
        "answer_ms": 1000 * answered,
        "connect_ms": 1000 * connect,
        "packets_per_picture": packets / meter.seen,
    }


RECEIVERS = {"salon": ours, "aiortc": plain}
WHAT = {"salon": "Salon's viewer", "aiortc": "aiortc as it is"}


async def receive(name: str, pictures: int) -> dict[str, Any]:
    """One round in this process."""
    sender = Sender()
    meter = Meter(pictures)
    try:
        result = await RECEIVERS[name](sender, meter)
    finally:
        sender.close()
    ordered = sorted(meter.latencies)
    return result | {
        "variant": name,
        "pictures": len(ordered),
        "p50_ms": statistics.median(ordered),
        "p95_ms": ordered[round(0.95 * (len(ordered) - 1))],
        "cpu_ms": meter.cpu_ms,
        "rate": pictures / meter.took_s,
    }


def round_of(name: str, pictures: int) -> dict[str, Any]:
    """One round in a process of its own."""
    command = [sys.executable, __file__, "--round", name, "--pictures", str(pictures)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=dict(os.environ), timeout=300
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every receiver in turn, `rounds` times."""
    rounds, pictures = (1, 96) if options.quick else (options.rounds, options.pictures)
    names = ["salon"] if options.no_peer else list(RECEIVERS)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            found[name].append(round_of(name, pictures))
    results = []
    for name, rows in found.items():
        result: dict[str, Any] = {
            key: statistics.median(row[key] for row in rows)
            for key, value in rows[0].items()
            if isinstance(value, int | float)
        }
        result |= {"variant": name, "what": WHAT[name], "rounds": len(rows)}
        result["p50_all"] = [round(row["p50_ms"], 1) for row in rows]
        if name == "salon":
            result |= {
                "path": rows[0]["path"],
                "limit_p50_ms": LIMIT_P50_MS,
                "limit_p95_ms": LIMIT_P95_MS,
                "limit_connect_ms": LIMIT_CONNECT_MS,
            }
        results.append(result)
    return results


def missed(results: list[dict[str, Any]]) -> list[str]:
    """Limits that were not held."""
    return [
        f"{result['what']}: {key} {result[key]:.1f}, limit {result['limit_' + key]:.0f}"
        for result in results
        for key in ("p50_ms", "p95_ms", "connect_ms")
        if "limit_" + key in result and result[key] > result["limit_" + key]
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="a viewer of live video")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help="exit 1 if a limit is missed")
    parser.add_argument("--no-peer", action="store_true", help="leave plain aiortc out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=240)
    parser.add_argument("--round", choices=sorted(RECEIVERS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.round:
        print(json.dumps(asyncio.run(receive(options.round, options.pictures))))
        return 0
    results = run(options)
    if options.json:
        for result in results:
            print(json.dumps({"bench": "interactive_video"} | result))
    else:
        print(
            f"{'':18}{'p50 ms':>8}{'p95 ms':>8}{'CPU ms':>8}{'rate':>7}{'answer':>9}{'connect':>9}"
        )
        for result in results:
            print(
                f"{result['what']:18}{result['p50_ms']:>8.1f}{result['p95_ms']:>8.1f}"
                f"{result['cpu_ms']:>8.2f}{result['rate']:>7.1f}"
                f"{result['answer_ms']:>9.0f}{result['connect_ms']:>9.0f}"
            )
    late = missed(results)
    for line in late:
        print(line, file=sys.stderr)
    return 1 if late and (options.check or not options.json) else 0


if __name__ == "__main__":
    raise SystemExit(main())
