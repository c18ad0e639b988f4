"""A real server in a process of its own, for tests and benchmarks that want to be users."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0


def free_port() -> int:
    """A TCP port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ServerProcess:
    """``salon serve`` on loopback. Its log goes to `log`; `stop` ends it kindly, `kill` does not.

    `arguments` follow ``serve``; `environment` is added to a clean one: no ``SALON_`` variable of
    the caller is inherited.
    """

    def __init__(
        self,
        data_dir: Path,
        *arguments: str,
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.port = port or free_port()
        self.log = data_dir.parent / f"{data_dir.name}-server-{self.port}.log"
        self._arguments = arguments
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """``ws://127.0.0.1:port``."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id; `RuntimeError` if it does not run."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    def start(self) -> None:
        """Start and wait until it is ready. `RuntimeError` with the end of the log if it is not
        ready within 60 s."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SALON_")}
        kept |= {"SALON_DATA_DIR": str(self.data_dir), "SALON_PORT": str(self.port)}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "salon.cli", "serve", *self._arguments],
                cwd=self.data_dir.parent,
                env=kept | self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                if self.get("/ready", timeout=1.0) is not None:
                    return
            time.sleep(0.1)
        self.kill()
        raise RuntimeError(f"the server did not start:\n{self.log_text()[-3000:]}")

    def get(self, path: str, *, timeout: float = 10.0) -> Any:
        """The JSON (or text) that a GET gives. Raises `OSError`, also for error statuses."""
        with urllib.request.urlopen(self.url + path, timeout=timeout) as answer:  # nosec B310
            body = answer.read().decode()
            if "json" in answer.headers.get("content-type", ""):
                return json.loads(body)
            return body

    def log_text(self) -> str:
        """What the server printed so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self) -> int:
        """End it with SIGTERM; the exit code. Killed if it takes more than 20 s."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """End it with SIGKILL."""
        return self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            return process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


@contextlib.contextmanager
def running_server(
    *arguments: str, environment: Mapping[str, str] | None = None, data_dir: Path | None = None
) -> Iterator[ServerProcess]:
    """A server for the length of a ``with``, in a folder of its own unless one is given."""
    with tempfile.TemporaryDirectory(prefix="salon-") as folder:
        server = ServerProcess(
            data_dir or Path(folder) / "data", *arguments, environment=environment
        )
        server.start()
        try:
            yield server
        finally:
            server.stop()
