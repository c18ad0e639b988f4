"""Keep connections to an avatar service open and serve requests from them.

    python examples/avatarkit/pool.py --size 100 --at-once 5 --rounds 10 --every 30

Prints how long each round took, and what failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any

from service import murmur, parser_for, session_settings

from salon.clients.avatarkit import AnimationCollector, AvatarConnectionPool, AvatarSDKError

SAMPLE_RATE = 16_000


async def ask(pool: AvatarConnectionPool, sound: bytes, timeout: float) -> str | None:
    """What went wrong, if anything."""
    try:
        async with pool.borrow(timeout) as one:
            await one.session.send_audio(sound, end=True)
            await one.collector.wait(timeout)
    except (AvatarSDKError, TimeoutError) as error:
        return str(error) or "too late"
    return None


async def run(options: argparse.Namespace) -> int:
    service = session_settings(options)

    def config(collector: AnimationCollector) -> dict[str, Any]:
        return {
            **service,
            "sample_rate": SAMPLE_RATE,
            "transport_frames": collector.transport_frame,
            "on_error": collector.on_error,
            "on_close": collector.on_close,
        }

    pool = AvatarConnectionPool(options.size, config, session_ttl_minutes=60)
    try:
        await pool.initialize()
    except RuntimeError as error:
        raise SystemExit(f"{error}: {error.__cause__}") from error
    print(f"{pool.total_count} connections")
    sound = await asyncio.to_thread(murmur, options.seconds, SAMPLE_RATE)
    failures = 0
    try:
        for number in range(options.rounds):
            if number:
                await asyncio.sleep(options.every)
            began = time.monotonic()
            errors = await asyncio.gather(
                *(ask(pool, sound, options.timeout) for _ in range(options.at_once))
            )
            failed = [error for error in errors if error is not None]
            failures += len(failed)
            took = time.monotonic() - began
            print(f"round {number + 1}: {len(errors) - len(failed)} done in {took:.2f} s", *failed)
        stats = pool.get_stats()
        del stats["connections"]
        print(json.dumps(stats))
    finally:
        await pool.close()
    return 1 if failures else 0


def main() -> None:
    parser = parser_for("a pool of connections")
    parser.add_argument("--size", type=int, default=100, help="connections")
    parser.add_argument("--at-once", type=int, default=5, help="requests in a round")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--every", type=float, default=30.0, help="seconds between rounds")
    parser.add_argument("--seconds", type=float, default=17.0, help="length of a clip")
    parser.add_argument("--timeout", type=float, default=45.0, help="seconds for a request")
    raise SystemExit(asyncio.run(run(parser.parse_args())))


if __name__ == "__main__":
    main()
