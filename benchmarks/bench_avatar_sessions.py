"""What an avatar session costs its client: sound out and animation in, at real time.

    python benchmarks/bench_avatar_sessions.py [--sessions 100] [--seconds 20] [--quick] [--json]
                                               [--check] [--no-peer]

Every session sends 20 ms of PCM at 16 kHz each 20 ms and gets 25 keyframes a second back. The
server is the stand-in, in a process of its own. Salon's client and avatarkit from its package run
one after the other, each in a process of its own with the same driver, event loop and sound: only
the package differs. "Client" is process CPU per second of session, from when all sessions are open
to the last animation, in milliseconds; the server's is counted over the same stretch. `--check`:
exit 1 if sessions failed, the machine could not keep up, or Salon's client costs more than 1.15
times the peer (the default without `--json`).
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil

OWN, PEER = "salon.clients.avatarkit", "avatarkit"
RATE, PIECE_S, PIECE_BYTES = 16_000, 0.02, 640
FPS = 25
START_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 30.0
BEHIND_S = 2.0
"""How late the last animation may be; beyond that the machine is too busy for the figures."""
SLACK = 1.15
"""Of the peer's figure: what two runs of one program may differ by."""


def sound(seconds: float) -> bytes:
    """PCM that grows louder and softer."""
    at = np.arange(int(RATE * seconds)) / RATE
    wave = 9000 * np.sin(2 * np.pi * 180 * at) * (1 + np.sin(2 * np.pi * 3 * at)) / 2
    return wave.astype("<i2").tobytes()


class Line:
    """One session and what came back on it."""

    def __init__(self, kit: Any, where: dict[str, str]) -> None:
        self.bytes = 0
        self.messages = 0
        self.errors: list[str] = []
        self.over = asyncio.Event()
        self.session = kit.new_avatar_session(
            avatar_id=where["avatar_id"],
            app_id=where["app_id"],
            api_key=where["api_key"],
            console_endpoint_url=where["console_url"],
            ingress_endpoint_url=where["ingress_url"],
            expire_at=datetime.now(UTC) + timedelta(minutes=30),
            sample_rate=RATE,
            transport_frames=self._frame,
            on_error=self._error,
        )

    def _frame(self, data: bytes, last: bool) -> None:
        self.messages += 1
        self.bytes += len(data)
        if last:
            self.over.set()

    def _error(self, error: Exception) -> None:
        self.errors.append(str(error))
        self.over.set()

    async def speak(self, pcm: bytes, begin: float) -> float:
        """Send it at real time from `begin` on; the worst lateness in seconds."""
        worst, clock = 0.0, asyncio.get_running_loop().time
        for number, at in enumerate(range(0, len(pcm), PIECE_BYTES)):
            due = begin + number * PIECE_S
            if (early := due - clock()) > 0:
                await asyncio.sleep(early)
            worst = max(worst, clock() - due)
            end = at + PIECE_BYTES >= len(pcm)
            await self.session.send_audio(pcm[at : at + PIECE_BYTES], end=end)
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await self.over.wait()
        return worst


async def client(package: str, where: dict[str, Any]) -> dict[str, Any]:
    """All sessions of one client."""
    kit = importlib.import_module(package)
    pcm = sound(where["seconds"])
    lines = [Line(kit, where) for _ in range(where["sessions"])]
    server = psutil.Process(where["server_pid"])
    for line in lines:
        await line.session.init()
        await line.session.start()
    loop = asyncio.get_running_loop()
    cpu, theirs, began = time.process_time(), server.cpu_times(), loop.time()
    begins = (began + number * PIECE_S / len(lines) for number in range(len(lines)))
    results = await asyncio.gather(
        *(line.speak(pcm, begin) for line, begin in zip(lines, begins, strict=True)),
        return_exceptions=True,
    )
    cpu, wall, served = time.process_time() - cpu, loop.time() - began, server.cpu_times()
    await asyncio.gather(*(line.session.close() for line in lines), return_exceptions=True)
    late = [one for one in results if isinstance(one, float)]
    failures = [repr(one) for one in results if isinstance(one, BaseException)]
    failures += [error for line in lines for error in line.errors]
    length = where["sessions"] * where["seconds"]
    spent = served.user + served.system - theirs.user - theirs.system
    return {
        "client_ms": round(cpu * 1000 / length, 3),
        "server_ms": round(spent * 1000 / length, 3),
        "wall_s": round(wall, 2),
        "worst_late_ms": round(max(late, default=0.0) * 1000, 1),
        "messages": sum(line.messages for line in lines),
        "bytes": sum(line.bytes for line in lines),
        "failures": failures[:5],
        "failed": len(failures),
    }


def start_server() -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """The stand-in, and what it says of itself."""
    process = subprocess.Popen(
        [sys.executable, "-m", "salon.testing.avatar"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def stop_server(process: subprocess.Popen[str]) -> None:
    """It ends with its standard input."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(START_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run(package: str, sessions: int, seconds: float) -> dict[str, Any] | str:
    """The figures of one client, or why there are none."""
    try:
        if find_spec(package) is None:
            return f"{package} is not installed"
    except ModuleNotFoundError as error:
        return str(error)
    process, where = start_server()
    try:
        case = where | {"sessions": sessions, "seconds": seconds, "server_pid": process.pid}
        done = subprocess.run(
            [sys.executable, str(Path(__file__).resolve()), "--client", package],
            input=json.dumps(case),
            capture_output=True,
            text=True,
            timeout=seconds + START_TIMEOUT_S + ANSWER_TIMEOUT_S + sessions,
        )
    finally:
        stop_server(process)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "it failed"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Both clients in turn, `runs` times; the run with the median figure of each counts."""
    found: dict[str, Any] = {"sessions": args.sessions, "seconds": args.seconds, "unit": "ms/s"}
    names = {"salon": OWN} if args.no_peer else {"salon": OWN, "avatarkit": PEER}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(args.runs):
        for name, package in names.items():
            one = run(package, args.sessions, args.seconds)
            if isinstance(one, str):
                found[name] = one
            else:
                runs[name].append(one)
    for name, ones in runs.items():
        if ones:
            ones.sort(key=lambda one: float(one["client_ms"]))
            found[name] = ones[len(ones) // 2]
    if isinstance(found.get("avatarkit"), dict):
        try:
            found["avatarkit"]["version"] = version(PEER)
        except PackageNotFoundError:
            found["avatarkit"]["version"] = "unknown"
    return found


def missed(found: dict[str, Any]) -> list[str]:
    """What is wrong with the figures."""
    own, peer = found["salon"], found.get("avatarkit")
    if isinstance(own, str):
        return [f"no figures: {own}"]
    wrong = [f"{own['failed']} sessions failed"] if own["failed"] else []
    expected = found["sessions"] * FPS * found["seconds"]
    wrong += [
        f"{name} was not at real time: {one['wall_s']} s for {found['seconds']:g} s of sound"
        for name, one in (("salon", own), ("avatarkit", peer))
        if isinstance(one, dict) and one["wall_s"] > found["seconds"] + BEHIND_S
    ]
    if own["bytes"] < expected * 495:
        wrong.append("keyframes are missing")
    if isinstance(peer, dict) and own["client_ms"] > peer["client_ms"] * SLACK:
        wrong.append(f"{own['client_ms']} ms/s against the peer's {peer['client_ms']}")
    return wrong


def show(found: dict[str, Any]) -> None:
    print(f"{found['sessions']} sessions of {found['seconds']:g} s, CPU ms per session-second")
    for name in ("salon", "avatarkit"):
        one = found.get(name)
        if one is None:
            continue
        if isinstance(one, str):
            print(f"  {name:<10} skipped: {one}")
            continue
        print(
            f"  {name:<10} client {one['client_ms']:7.3f}   server {one['server_ms']:7.3f}   "
            f"late at most {one['worst_late_ms']:.0f} ms   failed {one['failed']}"
            + (f"   ({one['version']})" if "version" in one else "")
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one short run, rougher figures")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help="with --json too: exit 1 on a miss")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.client:
        print(json.dumps(asyncio.run(client(args.client, json.load(sys.stdin)))))
        return 0
    if args.quick:
        args.runs, args.seconds = 1, min(args.seconds, 5.0)
    found = measure(args)
    wrong = missed(found)
    if args.json:
        print(json.dumps(found))
        return 1 if args.check and wrong else 0
    show(found)
    for line in wrong:
        print(f"  missed: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
