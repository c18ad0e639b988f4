"""The program `salon` in a process of its own, with an environment of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished program left."""

    code: int
    out: str
    err: str


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without any setting of Salon, and with `extra`."""
    settings = ("SALON_", "HOST", "PORT", "LOG_LEVEL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(settings)}
    return kept | {"PYTHONUNBUFFERED": "1", "COLUMNS": "200"} | dict(extra or {})


async def salon(
    *arguments: str,
    folder: Path,
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT_S,
) -> Outcome:
    """Run ``salon`` with these arguments in `folder` to its end."""
    return await run(
        "-m",
        "salon.cli",
        *arguments,
        folder=folder,
        stdin=stdin,
        environment=environment,
        timeout=timeout,
    )


async def run(
    *arguments: str,
    folder: Path,
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT_S,
) -> Outcome:
    """Run this Python with these arguments to its end; killed if it takes longer."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=folder,
        env=clean_environment(environment),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout):
            out, err = await process.communicate(stdin.encode())
    finally:
        await end(process, signal.SIGKILL)
    assert process.returncode is not None
    return Outcome(process.returncode, out.decode(), err.decode())


@contextlib.asynccontextmanager
async def background(
    *arguments: str, folder: Path, log: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """This Python with these arguments for the length of a ``with``; it prints into `log`."""
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=folder,
            env=clean_environment(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        await end(process)


async def end(
    process: asyncio.subprocess.Process,
    number: signal.Signals = signal.SIGTERM,
    timeout: float = TIMEOUT_S,
) -> int:
    """Send a signal, wait, kill what is still there; the exit code."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            async with asyncio.timeout(timeout):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode
