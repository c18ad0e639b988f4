"""``salon dev``: the server with one agent file, started again whenever a file changes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import click

from salon.cli.options import PLACES, SERVER, SPEECH, setting_options

STOP_TIMEOUT = 10.0
WATCHED = frozenset({".py", ".md", ".env", ".toml", ".yaml", ".yml", ".json"})
_IGNORED = frozenset({"__pycache__", ".git", ".venv", "node_modules", "data"})


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("agent", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@setting_options(*SERVER, *PLACES, *SPEECH)
def dev(agent: Path, **flags: Any) -> None:
    """Serve AGENT (a Python file) and start again when it or a file beside it changes.

    An error in the file is printed, and the server comes back when it is mended.
    """
    from watchfiles import watch

    command = worker_command(agent, flags)
    worker = Worker(command)
    stop = threading.Event()
    folder = agent.resolve().parent
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    click.echo(f"watching {folder}")
    try:
        _start(worker, agent)
        for _ in watch(
            folder,
            watch_filter=lambda _change, path: is_watched(folder, Path(path)),
            stop_event=stop,
            raise_interrupt=False,
            debounce=300,
        ):
            click.echo("changed: starting again")
            worker.stop()
            _start(worker, agent)
    finally:
        signal.signal(signal.SIGTERM, before)
        worker.stop()


def _start(worker: Worker, agent: Path) -> None:
    problem = problem_of(agent)
    if problem is None:
        worker.start()
    else:
        click.secho(f"{problem}\nwaiting for a change", fg="red", err=True)


class Worker:
    """The server process; at most one at a time."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        # a session of its own: Ctrl-C reaches it through `stop` alone, once
        self._process = subprocess.Popen(self._command, start_new_session=True)

    def stop(self) -> None:
        """End it, kindly first; returns when it is gone."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def worker_command(agent: Path, flags: dict[str, Any]) -> list[str]:
    """The command line of the server process. Calls don't hold a restart up."""
    command = [sys.executable, "-m", "salon.cli", "serve", "--agent", str(agent)]
    for name, value in flags.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            command.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            command += [f"--{flag}", str(value)]
    return [*command, "--shutdown-timeout", "0"]


def problem_of(file: Path) -> str | None:
    """Why this Python file can't be loaded, as far as its text tells."""
    try:
        compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
    except SyntaxError as error:
        line = (error.text or "").strip()
        return f"{file}:{error.lineno}: {error.msg}\n    {line}" if line else f"{file}: {error.msg}"
    except (OSError, ValueError) as error:
        return f"{file}: {error}"
    return None


def is_watched(root: Path, path: Path) -> bool:
    """Whether a change of `path` matters."""
    try:
        inside = path.relative_to(root).parts
    except ValueError:
        return False
    if _IGNORED & set(inside[:-1]):
        return False
    return path.suffix in WATCHED or path.name == ".env"
