"""Render a script offline: the first prompt starts the stream, each further one changes it.

    simulation.py "a lighthouse at noon" "a storm comes up" "the sun breaks through"

The key comes from ODYSSEY_API_KEY and the address from ODYSSEY_API_URL (or --api-url). Interrupted
or out of patience, the job is cancelled if it can still be. Exit codes: 0 rendered, 1 failed,
2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from salon.clients.odyssey import (
    Odyssey,
    OdysseyError,
    SimulationJobDetail,
    SimulationJobStatus,
)

SHORTEST_S = 3.0
"""What is advised between two changes."""


def script_of(prompts: Sequence[str], seconds: float, image: str | None) -> list[dict[str, Any]]:
    """The prompts, `seconds` apart; the end as long after the last one."""
    start: dict[str, Any] = {"prompt": prompts[0]}
    if image is not None:
        start["image"] = image
    step = round(seconds * 1000)
    changes = [
        {"timestamp_ms": step * number, "interact": {"prompt": prompt}}
        for number, prompt in enumerate(prompts[1:], start=1)
    ]
    return [
        {"timestamp_ms": 0, "start": start},
        *changes,
        {"timestamp_ms": step * len(prompts), "end": {}},
    ]


async def rendered(
    client: Odyssey, job: SimulationJobDetail, every_s: float
) -> SimulationJobDetail:
    """Ask how far it is until it is over, and say so whenever that changes."""
    before: SimulationJobStatus | None = None
    while True:
        if job.status is not before:
            print(f"{job.job_id}: {job.status.value}", file=sys.stderr)
            before = job.status
        if not job.status.is_active:
            return job
        await asyncio.sleep(every_s)
        job = await client.get_simulate_status(job.job_id)


async def render(client: Odyssey, arguments: argparse.Namespace) -> int:
    """Submit, wait, and print where the result is."""
    script = script_of(arguments.prompts, arguments.seconds, arguments.image)
    job = await client.simulate(script=script, portrait=not arguments.landscape)
    try:
        async with asyncio.timeout(arguments.patience):
            job = await rendered(client, job, arguments.every)
    except (TimeoutError, asyncio.CancelledError):
        with contextlib.suppress(OdysseyError, TimeoutError):
            async with asyncio.timeout(10):
                await client.cancel_simulation(job.job_id)
        raise
    if job.status is not SimulationJobStatus.COMPLETED:
        reason = job.error_message or "no reason given"
        print(f"simulation: {job.status.value}: {reason}", file=sys.stderr)
        return 1
    for stream in job.streams:
        print(f"{stream.stream_id}  {stream.video_url}")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description="Render prompts offline.")
    made.add_argument("prompts", nargs="+", metavar="PROMPT")
    made.add_argument("--seconds", type=float, default=5.0, help="between two prompts")
    made.add_argument("--image", help="file the stream begins with")
    made.add_argument("--landscape", action="store_true", help="1280x704 instead of 704x1280")
    made.add_argument("--every", type=float, default=2.0, help="seconds between two questions")
    made.add_argument("--patience", type=float, default=1800.0, help="longest wait in seconds")
    made.add_argument("--api-url", help="address of the service; default: ODYSSEY_API_URL")
    return made


async def run(words: list[str]) -> int:
    """Do what the command line says; the exit code."""
    arguments = parser().parse_args(words)
    if arguments.seconds < SHORTEST_S:
        print(f"simulation: --seconds should be at least {SHORTEST_S:g}", file=sys.stderr)
        return 2
    settings = {"api_url": arguments.api_url} if arguments.api_url else {}
    try:
        async with Odyssey(os.environ.get("ODYSSEY_API_KEY", ""), **settings) as client:
            return await render(client, arguments)
    except TimeoutError:
        print(f"simulation: not rendered in {arguments.patience:g} s", file=sys.stderr)
        return 1
    except (OdysseyError, OSError) as error:
        print(f"simulation: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(run(sys.argv[1:])))
    except KeyboardInterrupt:
        sys.exit(130)
