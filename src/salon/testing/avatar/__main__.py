"""A stand-in in a process of its own.

    python -m salon.testing.avatar [--port 0] [--pace 1.0] [--no-extension]

Prints one line of JSON (`console_url`, `ingress_url`, `api_key`, `app_id`, `avatar_id`), then
serves until it gets SIGTERM or SIGINT, or its standard input (a pipe or a terminal) ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys

from salon.testing.avatar.settings import API_KEY, APP_ID, AVATAR_ID, AvatarSettings
from salon.testing.avatar.stand_in import AvatarStandIn


async def serve(settings: AvatarSettings, port: int) -> None:
    """Until the end of standard input, SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    loop.add_signal_handler(signal.SIGINT, over.set)
    with contextlib.suppress(PermissionError):  # a file or /dev/null: nothing ends there
        loop.add_reader(0, lambda: None if os.read(0, 1024) else over.set())
    async with AvatarStandIn(settings, port=port) as stand_in:
        ready = {
            "console_url": stand_in.console_url,
            "ingress_url": stand_in.ingress_url,
            "api_key": API_KEY,
            "app_id": APP_ID,
            "avatar_id": AVATAR_ID,
        }
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        await over.wait()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="a stand-in for an avatar service")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--pace", type=float, help="keyframes at so many times real time")
    parser.add_argument("--no-extension", action="store_true", help="FLAME only")
    options = parser.parse_args()
    settings = AvatarSettings(pace=options.pace, extension=not options.no_extension)
    asyncio.run(serve(settings, options.port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
