"""Watch a stream that is broadcast; no key needed.

    python examples/odyssey/spectator.py http://127.0.0.1:8000/live/... TOKEN --save last.png

URL and token are what `on_broadcast_ready` hands to whoever runs the stream.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from adapters import to_pil

from salon.clients.odyssey import VideoFrame, connect_to_stream


async def run(options: argparse.Namespace) -> int:
    """The whole program; 0 if all went well."""
    last: VideoFrame | None = None
    shown = 0
    try:
        connection = await connect_to_stream(
            options.webrtc_url, options.token, on_disconnected=lambda: print("disconnected")
        )
    except (ValueError, ConnectionError) as error:
        print(error, file=sys.stderr)
        return 1
    async with connection:
        async for frame in connection.frames():
            last, shown = frame, shown + 1
            if shown == options.pictures:
                break
    print(f"{shown} pictures")
    if options.save and last is not None:
        to_pil(last).save(options.save)
    return 0


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description="Watch a stream that is broadcast.")
    parser.add_argument("webrtc_url")
    parser.add_argument("token")
    parser.add_argument("--pictures", type=int, metavar="N", help="end after N pictures")
    parser.add_argument("--save", help="a file for the last picture")
    return parser.parse_args(argv)


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(run(arguments())))
    except KeyboardInterrupt:
        sys.exit(130)
