"""Starts the last stage as a container would be started, and tries what the image promises.

Process 1 of a process namespace, not root, without capabilities, on a read-only root: as
compose.yaml asks for it.
"""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .build import Built
from .dockerfile import DockerfileError, Instruction
from .roots import Mounts, StepFailed, inside, run

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
CALL_TIMEOUT_S = 60.0


def size_mb(root: Path) -> float:
    """What a root takes on disk, in MB (10^6 bytes)."""
    done = subprocess.run(["du", "-sxB1", root], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0]) / 1e6


class Trial:
    """One start of the image. Call it once; `StepFailed` says what was not as promised."""

    def __init__(self, built: Built, scratch: Path) -> None:
        self._built = built
        self._stage = built.stage
        self._log = scratch / "salon.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self._key = secrets.token_hex(16)
        self._health = health_command(self._stage.last("HEALTHCHECK"))

    def __call__(self) -> None:
        """Start, ask, call, stop."""
        with Mounts(self._built.root) as mounts:
            mounts.system()
            self._read_only(mounts)
            self._refuses_without_key()
            with self._started() as server:
                began = time.monotonic()
                self._healthy(server)
                print(f"  healthy after {time.monotonic() - began:.1f} s", flush=True)
                self._pages()
                self._refuses_strangers()
                self._call()
                self._stops(server)
            if "Traceback" in (said := self._said()):
                raise StepFailed(f"the log holds a traceback\n{said}")

    def _read_only(self, mounts: Mounts) -> None:
        """The root can't be written to; the volume and /tmp can."""
        root = self._built.root
        volume = self._stage.last("VOLUME")
        if volume is None:
            raise DockerfileError("no VOLUME")
        mounts.bind(root / volume.text.lstrip("/"), Path(volume.text), read_only=False)
        mounts.memory(Path("/tmp"), "1777")
        mounts.seal()

    def _command(self, *command: str, key: bool = True) -> list[str]:
        """`command` in the image, as process 1 and as the image's user."""
        user, _, group = self._built.user.partition(":")
        if not user.isdigit() or not group.isdigit() or int(user) == 0:
            raise DockerfileError(f"USER {self._built.user}: numbers, and not root's, are wanted")
        given = {"SALON_PORT": str(self._port), "HOME": self._built.folder}
        variables = self._built.variables | given | ({"SALON_API_KEY": self._key} if key else {})
        root = self._built.root
        rights = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        rights += ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
        namespace = ["unshare", "--pid", "--fork", "--kill-child", f"--mount-proc={root}/proc"]
        return [*namespace, *inside(root, self._built.folder, variables, *rights, *command)]

    def _starts(self) -> list[str]:
        entry, arguments = self._stage.last("ENTRYPOINT"), self._stage.last("CMD")
        parts = [part.exec_form() for part in (entry, arguments) if part is not None]
        return [word for part in parts for word in part]

    def _refuses_without_key(self) -> None:
        done = subprocess.run(
            self._command(*self._starts(), key=False),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
        )
        if done.returncode != 2 or "SALON_API_KEY" not in done.stderr:
            raise StepFailed(f"started without a key: {done.returncode}\n{done.stderr[-2000:]}")

    @contextmanager
    def _started(self) -> Iterator[subprocess.Popen[bytes]]:
        with self._log.open("wb") as log:
            server = subprocess.Popen(
                self._command(*self._starts()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield server
        finally:
            server.kill()  # its child, process 1, goes with it
            server.wait(STOP_TIMEOUT_S)

    def _said(self) -> str:
        return self._log.read_text(errors="replace")[-6000:]

    def _healthy(self, server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with suppress(StepFailed):
                run(*self._command(*self._health), timeout=10)
                return
            if server.poll() is not None or time.monotonic() > deadline:
                raise StepFailed(f"not healthy (exit code {server.poll()})\n{self._said()}")
            time.sleep(0.2)

    def _ask(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._port}{path}", timeout=10
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""

    def _pages(self) -> None:
        for path, holds in {"/": "<script", "/client.js": "export"}.items():
            status, text = self._ask(path)
            if status != 200 or holds not in text:
                raise StepFailed(f"GET {path}: {status}, {text[:400]!r}")

    def _refuses_strangers(self) -> None:
        status, _ = self._ask("/list")
        if status != 401:
            raise StepFailed(f"GET /list without the key: {status}, not 401")

    def _call(self) -> None:
        """A call over /ws into a room, whose agent answers by the image's own voice."""
        if self._built.variables.get("SALON_TTS") == "none":
            print("  no call was placed: this image has no voice to answer with", flush=True)
            return
        url = f"ws://127.0.0.1:{self._port}"
        probe = ("salon", "probe", "websocket", "--sine", "--handler", "room", "--url", url)
        began = time.monotonic()
        try:
            run(*self._command(*probe, "--timeout", "30"), timeout=CALL_TIMEOUT_S)
        except StepFailed as error:
            raise StepFailed(f"the call was not answered: {error}\n{self._said()}") from None
        print(f"  a call was answered, {time.monotonic() - began:.1f} s", flush=True)

    def _stops(self, server: subprocess.Popen[bytes]) -> None:
        wanted = self._stage.last("STOPSIGNAL")
        number = signal.Signals[wanted.text if wanted else "SIGTERM"]
        began = time.monotonic()
        _child(server.pid, number)
        try:
            code = server.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise StepFailed(f"runs on {STOP_TIMEOUT_S:g} s after {number.name}") from None
        if code != 0:
            raise StepFailed(f"exit code {code} after {number.name}\n{self._said()}")
        print(f"  ended by {number.name} after {time.monotonic() - began:.1f} s", flush=True)


def _child(pid: int, number: signal.Signals) -> None:
    """Send a signal to the only child of a process: unshare passes none on."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    subprocess.run(["kill", f"-{number.value}", child], check=True)


def health_command(check: Instruction | None) -> list[str]:
    """The arguments of ``HEALTHCHECK CMD [...]``."""
    if check is None or not check.text.startswith("CMD "):
        raise DockerfileError("no HEALTHCHECK CMD")
    return Instruction("HEALTHCHECK CMD", check.text[4:].strip(), line=check.line).exec_form()
