"""How long a caller waits: end of speech to first reply byte, and barge-in to silence.

    python benchmarks/latency.py [--json] [--turns 200] [--barge-ins 40] [--parallel 2]

A real server with the embedded engines in a process of its own; real speech (Flite) over `/ws` with
`handler=room`, as a microphone sends it: 20 ms frames that never stop. The true end and the true
onset of speech are found in the recording by energy. Reply means the first binary frame that
arrives.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from salon.clients.call import CallClient, Microphone, speech_bounds
from salon.testing.server import ServerProcess, running_server
from salon.testing.speech import speak

REPLY_P50_MS = 500.0
IMMEDIATE_P95_MS = 300.0
MIN_SPEECH_MS = 300
CONFIRMED_P95_MS = MIN_SPEECH_MS + 200.0
TURNS_PER_CALL = 10
QUESTIONS = (
    ("slt", "What are your opening hours?"),
    ("rms", "What is salon?"),
    ("kal16", "How do I write my own agent?"),
    ("awb", "Does it work offline?"),
    ("slt", "Who are you?"),
    ("rms", "What can I say?"),
)
LONG_QUESTION = ("slt", "What is salon?")
INTERRUPTION = ("rms", "Stop please, what are your opening hours?")
QUIET_S = 0.25
"""No reply byte for this long: the agent has stopped."""


@dataclass
class Figures:
    """What was measured, in ms."""

    replies: list[float] = field(default_factory=list)
    server: list[dict[str, float]] = field(default_factory=list)
    barge_in: list[float] = field(default_factory=list)
    missed: int = 0


def percentile(values: list[float], share: float) -> float:
    """The value below which this share lies."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(round(share * (len(ordered) - 1)), len(ordered) - 1)]


async def quiet(call: CallClient, since: float, seconds: float, limit: float) -> float | None:
    """When the last reply byte came, once none came for `seconds`; None after `limit`."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        packets = call.received.packets
        last = packets[-1].at if packets else since
        if time.monotonic() - max(last, since) >= seconds:
            return last
        await asyncio.sleep(0.02)
    return None


async def reply_calls(server: ServerProcess, turns: int, figures: Figures, number: int) -> None:
    """Calls of ten turns each, until `turns` are done."""
    done = 0
    while done < turns:
        room = f"latency-{number}-{done}"
        async with (
            CallClient.connect(server.ws_url, handler="room", room=room) as call,
            opened(call) as microphone,
        ):
            collecting = asyncio.create_task(collect(call, figures))
            await asyncio.sleep(0.5)
            for _ in range(min(TURNS_PER_CALL, turns - done)):
                voice, text = QUESTIONS[(done + number) % len(QUESTIONS)]
                samples = speak(text, voice=voice)
                bounds = speech_bounds(samples)
                assert bounds is not None
                spoken = await microphone.say(samples)
                end = spoken.at(bounds[1])
                first = None
                deadline = time.monotonic() + 5.0
                while first is None and time.monotonic() < deadline:
                    first = call.received.first_after(end)
                    await asyncio.sleep(0.005)
                done += 1
                if first is None:
                    figures.missed += 1
                    continue
                figures.replies.append((first.at - end) * 1000)
                await asyncio.sleep(0.3)
                await call.interrupt()
                await quiet(call, time.monotonic(), QUIET_S, 5.0)
                await asyncio.sleep(0.4)
            collecting.cancel()


@asynccontextmanager
async def opened(call: CallClient) -> AsyncIterator[Microphone]:
    """The call answered, its microphone open."""
    await call.invite()
    async with call.microphone() as microphone:
        yield microphone


async def collect(call: CallClient, figures: Figures) -> None:
    """The server's own measure of each turn."""
    async for event in call.events():
        if event.name == "metrics" and event.data.get("key") == "turn.latency":
            figures.server.append(event.data["data"])


async def barge_ins(server: ServerProcess, count: int, strategy: str) -> Figures:
    """Talk over the agent; from the true onset to its last byte."""
    figures = Figures()
    question = speak(LONG_QUESTION[1], voice=LONG_QUESTION[0])
    over = speak(INTERRUPTION[1], voice=INTERRUPTION[0])
    onset = speech_bounds(over)
    assert onset is not None
    for number in range(count):
        room = f"barge-{strategy}-{number}"
        async with (
            CallClient.connect(
                server.ws_url, handler="room", room=room, params={"interruption": strategy}
            ) as call,
            opened(call) as microphone,
        ):
            await asyncio.sleep(0.3)
            asked = await microphone.say(question)
            deadline = time.monotonic() + 5.0
            while call.received.first_after(asked.end) is None and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.8)
            spoken = await microphone.say(over)
            begun = spoken.at(onset[0])
            event = await call.wait_for("interruption", timeout=3)
            if event is None:
                figures.missed += 1
                continue
            before = [p.at for p in call.received.packets if p.at <= event.at + 0.05]
            figures.barge_in.append((before[-1] - begun) * 1000)
    return figures


async def measure(server: ServerProcess, turns: int, barges: int, parallel: int) -> dict[str, Any]:
    figures = Figures()
    share = turns // parallel
    await asyncio.gather(
        *(reply_calls(server, share, figures, number) for number in range(parallel))
    )
    immediate = await barge_ins(server, barges, "immediate")
    confirmed = await barge_ins(server, barges, "confirmed")
    stages = {
        key: round(statistics.median(item[key] for item in figures.server), 1)
        for key in ("recognised", "firstWord", "firstAudio")
        if figures.server
    }
    return {
        "bench": "latency",
        "turns": len(figures.replies),
        "missed": figures.missed,
        "reply_ms": {
            "p50": percentile(figures.replies, 0.5),
            "p95": percentile(figures.replies, 0.95),
            "server_p50": stages,
        },
        "barge_in_ms": {
            name: {
                "count": len(found.barge_in),
                "missed": found.missed,
                "p50": percentile(found.barge_in, 0.5),
                "p95": percentile(found.barge_in, 0.95),
            }
            for name, found in (("immediate", immediate), ("confirmed", confirmed))
        },
    }


def over(result: dict[str, Any]) -> list[str]:
    """Which limits were missed."""
    found = []
    if not result["reply_ms"]["p50"] <= REPLY_P50_MS:
        found.append("reply p50")
    barge = result["barge_in_ms"]
    if not barge["immediate"]["p95"] <= IMMEDIATE_P95_MS:
        found.append("barge-in immediate p95")
    if not barge["confirmed"]["p95"] <= CONFIRMED_P95_MS:
        found.append("barge-in confirmed p95")
    return found


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure and print; the figures as a dictionary."""
    parser = argparse.ArgumentParser(description="latency of turns and of barge-in")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--barge-ins", type=int, default=40)
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--save", type=Path, help="write the figures to this JSON file")
    options = parser.parse_args(arguments or [])
    with running_server(environment={"SALON_STORE_URL": ""}) as server:
        result = asyncio.run(measure(server, options.turns, options.barge_ins, options.parallel))
    result["over"] = over(result)
    if options.save:
        options.save.write_text(json.dumps(result, indent=1))
    if options.json:
        print(json.dumps(result))
        return result
    reply, barge = result["reply_ms"], result["barge_in_ms"]
    print(f"latency over {result['turns']} turns, {result['missed']} without an answer, ms")
    print(
        f"  true end of speech -> first reply byte  p50 {reply['p50']:.0f} (limit 500)"
        f"  p95 {reply['p95']:.0f}   stages {reply['server_p50']}"
    )
    for name, limit in (("immediate", IMMEDIATE_P95_MS), ("confirmed", CONFIRMED_P95_MS)):
        row = barge[name]
        print(
            f"  barge-in {name:<10} p50 {row['p50']:.0f}  p95 {row['p95']:.0f} (limit {limit:.0f})"
            f"  of {row['count']}, {row['missed']} missed"
        )
    return result


if __name__ == "__main__":
    raise SystemExit(1 if main(sys.argv[1:])["over"] else 0)
