"""``python -m salon.testing.odyssey``: the stand-in in a process of its own, until it is ended.

The first line it writes is JSON with ``url`` and ``api_key``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys

from salon.testing.odyssey.settings import StandInSettings
from salon.testing.odyssey.stand_in import OdysseyStandIn


async def _serve(settings: StandInSettings, port: int) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # where loops take no signals
            loop.add_signal_handler(number, ended.set)
    async with OdysseyStandIn(settings, port=port) as server:
        said = {"url": server.url, "api_key": server.api_key}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
        await ended.wait()


def main() -> None:
    """Read the arguments and serve."""
    usual = StandInSettings()
    parser = argparse.ArgumentParser(prog="python -m salon.testing.odyssey", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--fps", type=int, default=usual.fps)
    parser.add_argument(
        "--width", type=int, default=usual.portrait[0], help="of a portrait picture"
    )
    parser.add_argument("--height", type=int, default=usual.portrait[1])
    parser.add_argument("--streamers", type=int, default=usual.streamers)
    parser.add_argument("--no-record", action="store_true")
    given = parser.parse_args()
    settings = StandInSettings(
        fps=given.fps,
        portrait=(given.width, given.height),
        streamers=given.streamers,
        record=not given.no_record,
    )
    asyncio.run(_serve(settings, given.port))


if __name__ == "__main__":
    main()
