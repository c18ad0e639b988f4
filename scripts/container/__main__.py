"""Every step of the Dockerfile without Docker, then a trial of what came out.

Works in namespaces of its own: whatever it mounts or starts is gone with it, however it ends.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from .build import Build
from .dockerfile import DockerfileError, stages
from .machine import Machine
from .roots import StepFailed, base, run
from .trial import Trial, size_mb

NEEDS = ("debootstrap", "unshare", "setpriv", "chroot", "mount", "tar")


ROOM_KIB = 6 * 2**20
"""Free memory from which on the roots are kept in it: faster, and nothing to take away."""


def parsed(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/container.sh", description=__doc__)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "salon"
    parser.add_argument("--cache", type=Path, default=cache, help="where the clean Debian is kept")
    parser.add_argument("--fresh", action="store_true", help="make the clean Debian anew")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def missing() -> str | None:
    """What keeps this from running here, in words."""
    if os.geteuid() != 0:
        return "this needs root, for chroot and mounts of its own"
    absent = [name for name in NEEDS if shutil.which(name) is None]
    return f"please install {', '.join(absent)} (apt-get install debootstrap)" if absent else None


def outside(arguments: list[str]) -> int:
    """Start `inside` in namespaces of its own and clean up after it."""
    if problem := missing():
        print(f"Error: {problem}", file=sys.stderr)
        return 2

    def ended(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, ended)
    scratch = Path(tempfile.mkdtemp(prefix="salon-container-"))
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    own = [sys.executable, "-m", "scripts.container", "--inside", str(scratch), *arguments]
    child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *namespaces, *own])
    try:
        return child.wait()
    finally:
        child.kill()  # and with it process 1 of the namespace, and so all that is in it
        child.wait(30)
        _removed(scratch)


def _removed(scratch: Path) -> None:
    """The mounts went with the last process of the namespace, which may take a moment."""
    for _ in range(50):
        with contextlib.suppress(OSError):
            shutil.rmtree(scratch)
            return
        time.sleep(0.1)
    shutil.rmtree(scratch)


def free_kib() -> int:
    """Memory that could be had, in KiB."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), 0)


def inside(options: argparse.Namespace) -> None:
    """Build every stage, then try the last one."""
    began = time.monotonic()
    scratch: Path = options.inside
    if free_kib() > ROOM_KIB:
        run("mount", "-t", "tmpfs", "-o", "mode=0755,size=5g", "tmpfs", scratch)
    given = dict(pair.split("=", 1) for pair in options.build_arg)
    archive = base(options.cache, scratch, fresh=options.fresh)
    print(f"  {archive.name} ready after {time.monotonic() - began:.1f} s", flush=True)
    build = Build(Path.cwd(), scratch, archive, Machine(scratch / "machine"), given)
    built = [build.stage(stage) for stage in stages(Path("Dockerfile").read_text())][-1]
    print(f"  image {size_mb(built.root):.0f} MB, {time.monotonic() - began:.1f} s", flush=True)
    Trial(built, scratch)()
    print(f"the image's steps ran and it works: {time.monotonic() - began:.1f} s in all")


def main() -> int:
    """Exit codes: 0 it works; 1 it does not; 2 this machine or the Dockerfile does not allow it."""
    arguments = sys.argv[1:]
    options = parsed(arguments)
    if options.inside is None:
        return outside(arguments)
    try:
        inside(options)
    except StepFailed as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except DockerfileError as error:
        print(f"Error: Dockerfile: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
