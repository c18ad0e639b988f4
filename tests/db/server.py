"""A PostgreSQL server of the tests' own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

USER = "salon"
PASSWORD = "correct horse/battery@staple"
TIMEOUT = 60


def give_up(reason: str) -> None:
    """Where everything is required, a missing server is a failure."""
    if os.environ.get("SALON_REQUIRE_ALL"):
        pytest.fail(reason)
    pytest.skip(reason)


def binaries() -> Path:
    """The folder of initdb and pg_ctl, the newest there is."""
    found = shutil.which("initdb")
    if found and shutil.which("postgres"):
        return Path(found).resolve().parent
    versions = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        key=lambda path: float(path.parent.name),
    )
    if not versions:
        give_up("needs a PostgreSQL server: apt-get install postgresql")
    return versions[-1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Server:
    """Started with `start`; data, sockets and log in `folder`. fsync is on, as it comes."""

    folder: Path
    programs: Path
    port: int

    def as_owner(self, *command: str) -> None:
        """Run a program of PostgreSQL, which refuses to run as root."""
        prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        done = subprocess.run(
            [*prefix, *command], cwd=self.folder, capture_output=True, text=True, timeout=TIMEOUT
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")

    def make(self) -> None:
        (self.folder / "password").write_text(PASSWORD + "\n")
        if os.geteuid() == 0:
            for path in (self.folder, self.folder / "password"):
                shutil.chown(path, "postgres")
        self.as_owner(
            *(str(self.programs / "initdb"), "-D", str(self.folder / "data"), "-U", USER),
            *("--auth=scram-sha-256", "--pwfile", str(self.folder / "password")),
            *("--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"),
        )

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        log = str(self.folder / "log")
        self._control("-l", log, "-o", options, "-w", "-t", str(TIMEOUT), "start")

    def stop(self, mode: str = "fast") -> None:
        self._control("-m", mode, "-w", "-t", str(TIMEOUT), "stop")

    def _control(self, *arguments: str) -> None:
        data = str(self.folder / "data")
        self.as_owner(str(self.programs / "pg_ctl"), "-D", data, *arguments)

    def url(self, database: str) -> str:
        password = quote(PASSWORD, safe="")
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"


def new_server() -> Server:
    """Made, not started. The folder is short: a socket's path may have about 100 bytes."""
    if os.geteuid() == 0 and shutil.which("runuser") is None:
        give_up("needs runuser, for PostgreSQL does not run as root: apt-get install util-linux")
    programs = binaries()
    server = Server(Path(tempfile.mkdtemp(prefix="salon-pg-")), programs, free_port())
    try:
        server.make()
    except BaseException:
        shutil.rmtree(server.folder)
        raise
    return server
