"""Minutes of scripted calls that barge in, hang up and vanish; nothing may break or be left.

    python benchmarks/soak.py [--seconds 180] [--calls 20] [--json]

A real server with the embedded engines in a process of its own. At every moment `--calls` calls
are live; each does something at random (seeded): asks, talks over the answer, types, interrupts,
hangs up, closes without a word, or vanishes with its connection reset. Checked at the end: no
traceback in the log, memory flat after warm-up, no call, socket, thread or worker left.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import psutil
from load import FRAME_BYTES, FRAME_S, LoadCall, frame

from salon.clients.call import CallClient, ClientError
from salon.testing.server import ServerProcess, running_server
from salon.testing.speech import speak

GROWTH_MB = 12.0
"""Memory may grow by this much between the first and the last fifth after warm-up."""
WARM_UP = 0.2
SETTLE_S = 6.0
"""After this long without calls everything of theirs has to be gone."""
QUESTIONS = (
    ("slt", "What is salon?"),
    ("rms", "What are your opening hours?"),
    ("kal16", "How do I write my own agent?"),
    ("awb", "What can I say?"),
)
TYPED = ("What is Salon?", "Does it work offline?", "Who are you?", "Goodbye")


@dataclass
class Tally:
    """What happened."""

    actions: Counter[str] = field(default_factory=Counter)
    replies: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)
    rss: list[tuple[float, float]] = field(default_factory=list)


async def talking_call(server: ServerProcess, tally: Tally, dice: random.Random, n: int) -> None:
    """One well-behaved call, from 4 to 20 s."""
    strategy = dice.choice(("immediate", "confirmed"))
    room = f"soak-{n % 40}"
    async with (
        CallClient.connect(
            server.ws_url,
            handler="room",
            room=room,
            name=f"Caller {n}",
            params={"interruption": strategy},
        ) as call,
    ):
        await call.invite(codec=dice.choice(("pcm", "pcmu", "g722")))
        async with call.microphone() as microphone:
            until = time.monotonic() + dice.uniform(4, 20)
            while time.monotonic() < until:
                action = dice.choice(("ask", "ask", "barge", "type", "interrupt", "wait"))
                tally.actions[action] += 1
                await act(call, microphone, action, dice)
            tally.replies += 1 if call.received.packets else 0
        if dice.random() < 0.6:
            tally.actions["hangup"] += 1
            await call.hangup()
            if not await call.wait_closed(6):
                tally.failures.append("a call did not close within 6 s of its hangup")
        else:
            tally.actions["close"] += 1


async def act(call: CallClient, microphone: Any, action: str, dice: random.Random) -> None:
    """One thing a caller does."""
    if action in ("ask", "barge"):
        voice, text = dice.choice(QUESTIONS)
        await microphone.say(speak(text, voice=voice))
        await asyncio.sleep(dice.uniform(0.6, 1.2) if action == "barge" else dice.uniform(1.5, 4))
        if action == "barge":
            voice, text = dice.choice(QUESTIONS)
            await microphone.say(speak(text, voice=voice))
            await asyncio.sleep(1.0)
    elif action == "type":
        await call.chat(dice.choice(TYPED))
        await asyncio.sleep(dice.uniform(0.5, 2))
    elif action == "interrupt":
        await call.interrupt()
        await asyncio.sleep(0.3)
    else:
        await asyncio.sleep(dice.uniform(0.2, 1.5))


async def vanishing_call(server: ServerProcess, tally: Tally, dice: random.Random, n: int) -> None:
    """Sends sound, then its connection is reset, perhaps in the middle of a frame."""
    loop = asyncio.get_running_loop()
    command: dict[str, object] = {"command": "invite", "option": {"codec": "pcm"}}
    transport, call = await loop.create_connection(
        lambda: LoadCall("127.0.0.1", f"/ws?handler=room&room=soak-{n % 40}", [command]),
        "127.0.0.1",
        server.port,
    )
    if not await asyncio.wait_for(call.open, 10):
        tally.refused += 1
        return
    tally.actions["vanish"] += 1
    voice, text = dice.choice(QUESTIONS)
    sound = speak(text, voice=voice).tobytes()
    for start in range(0, len(sound) - FRAME_BYTES, FRAME_BYTES):
        call.write(frame(2, sound[start : start + FRAME_BYTES]))
        await asyncio.sleep(FRAME_S)
        if dice.random() < 0.01:
            break
    call.write(frame(2, bytes(FRAME_BYTES))[: dice.randrange(1, 200)])
    transport.abort()


async def worker(server: ServerProcess, tally: Tally, until: float, number: int) -> None:
    """Keeps one call live until the end."""
    dice = random.Random(number)
    n = number
    while time.monotonic() < until:
        n += 100
        kind = vanishing_call if dice.random() < 0.2 else talking_call
        try:
            await kind(server, tally, dice, n)
        except (ClientError, OSError, TimeoutError) as error:
            tally.failures.append(f"{kind.__name__}: {type(error).__name__}: {error}")
        await asyncio.sleep(dice.uniform(0, 0.3))


async def watch(server: ServerProcess, tally: Tally, began: float) -> None:
    process = psutil.Process(server.pid)
    while True:
        tally.rss.append((time.monotonic() - began, process.memory_info().rss / 2**20))
        await asyncio.sleep(2.0)


def leftovers(server: ServerProcess, before: dict[str, int]) -> list[str]:
    """What is still there a few seconds after the last call."""
    found = []
    now = inventory(server)
    if now["calls"]:
        found.append(f"{now['calls']} calls")
    for key in ("children", "threads"):
        if now[key] > before[key] + (2 if key == "threads" else 0):
            found.append(f"{key}: {before[key]} before, {now[key]} after")
    if now["sockets"] > before["sockets"] + 2:
        found.append(f"sockets: {before['sockets']} before, {now['sockets']} after")
    return found


def inventory(server: ServerProcess) -> dict[str, int]:
    process = psutil.Process(server.pid)
    return {
        "calls": server.get("/health")["calls"],
        "children": len(process.children(recursive=True)),
        "threads": process.num_threads(),
        "sockets": process.num_fds(),
    }


async def crowd(
    server: ServerProcess, tally: Tally, seconds: float, calls: int, *, first: int
) -> None:
    until = time.monotonic() + seconds
    await asyncio.gather(*(worker(server, tally, until, first + number) for number in range(calls)))


async def run(server: ServerProcess, seconds: float, calls: int) -> dict[str, Any]:
    for voice, text in QUESTIONS:
        speak(text, voice=voice)
    # pools of threads and connections grow to their size in a first round, which does not count
    warm = Tally()
    await crowd(server, warm, min(20.0, seconds / 4), calls, first=1000)
    await asyncio.sleep(SETTLE_S)
    tally = Tally(failures=warm.failures)
    before = await asyncio.to_thread(inventory, server)
    began = time.monotonic()
    watching = asyncio.create_task(watch(server, tally, began))
    try:
        await crowd(server, tally, seconds, calls, first=0)
        await asyncio.sleep(SETTLE_S)
        left = await asyncio.to_thread(leftovers, server, before)
    finally:
        watching.cancel()
    metrics = server.get("/metrics")
    return {"tally": tally, "left": left, "batch": mean_batch(metrics), "seconds": seconds}


def mean_batch(metrics: str) -> float:
    """The mean of `salon_vad_batch_size`."""
    values = {
        line.split(" ")[0]: float(line.split(" ")[1])
        for line in metrics.splitlines()
        if line.startswith(("salon_vad_batch_size_sum", "salon_vad_batch_size_count"))
    }
    count = values.get("salon_vad_batch_size_count", 0.0)
    return values.get("salon_vad_batch_size_sum", 0.0) / count if count else 0.0


def growth(rss: list[tuple[float, float]], seconds: float) -> float:
    """MB between the first and the last fifth of what follows the warm-up."""
    late = [mb for at, mb in rss if at >= seconds * WARM_UP and at <= seconds]
    fifth = max(len(late) // 5, 1)
    return statistics.median(late[-fifth:]) - statistics.median(late[:fifth])


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run and print; `problems` is empty if all held."""
    parser = argparse.ArgumentParser(description="minutes of unruly calls")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments or [])
    with running_server() as server:
        found = asyncio.run(run(server, options.seconds, options.calls))
        log = server.log_text()
    tally: Tally = found["tally"]
    grown = growth(tally.rss, options.seconds)
    problems = [*found["left"], *sorted(set(tally.failures))]
    if "Traceback" in log:
        problems.append("traceback in the log: " + log[log.index("Traceback") :][:1500])
    if grown > GROWTH_MB:
        problems.append(f"memory grew by {grown:.1f} MB after warm-up")
    if not tally.replies:
        problems.append("no call ever heard a reply")
    result = {
        "bench": "soak",
        "seconds": options.seconds,
        "calls": options.calls,
        "actions": dict(tally.actions),
        "with_reply": tally.replies,
        "mean_vad_batch": round(found["batch"], 1),
        "rss_mb": [round(tally.rss[0][1], 1), round(tally.rss[-1][1], 1)],
        "growth_after_warm_up_mb": round(grown, 1),
        "problems": problems,
    }
    print(json.dumps(result, indent=None if options.json else 1))
    return result


if __name__ == "__main__":
    raise SystemExit(1 if main(sys.argv[1:])["problems"] else 0)
