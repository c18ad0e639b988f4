"""Recordings of interactive-video streams: list them, look at one, fetch its files.

    recordings.py list --limit 10
    recordings.py get STREAM_ID
    recordings.py download STREAM_ID --files video events --to clips

The key comes from ODYSSEY_API_KEY and the address from ODYSSEY_API_URL (or --api-url). A download
that broke off goes on where it stopped when it is started again. Exit codes: 0 done, 1 failed,
2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

import aiohttp

from salon.base import safe_name
from salon.clients.odyssey import Odyssey, OdysseyError, Recording
from salon.clients.odyssey.downloads import MAX_DOWNLOAD, download

ENDINGS = {
    "video": ".mp4",
    "preview": ".preview.mp4",
    "thumbnail": ".jpg",
    "events": ".jsonl",
}
"""The files of a recording, and what their names end with here."""


def urls_of(recording: Recording) -> dict[str, str]:
    """The addresses of the files there are."""
    found = {
        "video": recording.video_url,
        "preview": recording.preview_url,
        "thumbnail": recording.thumbnail_url,
        "events": recording.events_url,
    }
    return {name: url for name, url in found.items() if url}


async def show_list(client: Odyssey, arguments: argparse.Namespace) -> int:
    """A line for each stream, newest first."""
    page = await client.list_stream_recordings(limit=arguments.limit, offset=arguments.offset)
    for row in page.recordings:
        lasted = "running" if row.duration_seconds is None else f"{row.duration_seconds:.1f} s"
        print(f"{row.stream_id}  {row.started_at}  {row.width}x{row.height}  {lasted}")
    print(f"{len(page.recordings)} of {page.total}, from {page.offset}")
    return 0


async def show_one(client: Odyssey, arguments: argparse.Namespace) -> int:
    """What a recording has. The addresses are good for about an hour, for whoever has them."""
    recording = await client.get_recording(arguments.stream_id)
    print(f"stream    {recording.stream_id}")
    if recording.duration_seconds is not None:
        print(f"length    {recording.duration_seconds:.1f} s")
    if recording.frame_count is not None:
        print(f"pictures  {recording.frame_count}")
    for name, url in urls_of(recording).items():
        print(f"{name:9} {url}")
    return 0


async def fetch(client: Odyssey, arguments: argparse.Namespace) -> int:
    """Fetch files into a folder, named after the stream."""
    recording = await client.get_recording(arguments.stream_id)
    urls = urls_of(recording)
    missing = [name for name in arguments.files if name not in urls]
    for name in missing:
        print(f"{name}: the recording has none (yet)", file=sys.stderr)
    folder = Path(arguments.to)
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    async with aiohttp.ClientSession() as http:
        for name in arguments.files:
            if name not in urls:
                continue
            path = folder / (safe_name(recording.stream_id) + ENDINGS[name])
            shown = Shown(path.name)
            size = await download(
                http, urls[name], path, max_bytes=arguments.max_bytes, progress=shown.update
            )
            shown.end()
            print(f"{path}  {size} bytes")
    return 1 if missing else 0


class Shown:
    """Progress on a terminal: one line that changes; nothing when errors go to a file."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._on = sys.stderr.isatty()
        self._last = -1

    def update(self, had: int, total: int | None) -> None:
        """Show percent, or megabytes when nobody said how much it will be."""
        step = had * 100 // total if total else had // 1_000_000
        if self._on and step != self._last:
            self._last = step
            print(f"\r{self._name} {step}{'%' if total else ' MB'}", end="", file=sys.stderr)

    def end(self) -> None:
        """Leave the line."""
        if self._on and self._last >= 0:
            print(file=sys.stderr)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description="Recordings of interactive-video streams.")
    made.add_argument("--api-url", help="address of the service; default: ODYSSEY_API_URL")
    commands = made.add_subparsers(required=True)
    listing = commands.add_parser("list", help="your streams, newest first")
    listing.add_argument("--limit", type=int)
    listing.add_argument("--offset", type=int)
    listing.set_defaults(run=show_list)
    one = commands.add_parser("get", help="what a recording has")
    one.add_argument("stream_id")
    one.set_defaults(run=show_one)
    fetching = commands.add_parser("download", help="fetch files of a recording")
    fetching.add_argument("stream_id")
    fetching.add_argument("--files", nargs="+", choices=list(ENDINGS), default=["video"])
    fetching.add_argument("--to", default=".", help="folder; default: this one")
    fetching.add_argument("--max-bytes", type=int, default=MAX_DOWNLOAD)
    fetching.set_defaults(run=fetch)
    return made


async def run(words: list[str]) -> int:
    """Do what the command line says; the exit code."""
    arguments = parser().parse_args(words)
    settings = {"api_url": arguments.api_url} if arguments.api_url else {}
    try:
        async with Odyssey(os.environ.get("ODYSSEY_API_KEY", ""), **settings) as client:
            code: int = await arguments.run(client, arguments)
            return code
    except (OdysseyError, OSError) as error:
        print(f"recordings: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(run(sys.argv[1:])))
    except KeyboardInterrupt:
        sys.exit(130)
