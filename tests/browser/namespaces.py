"""Networks of our own for a server and a browser, to be cut and filtered: Linux namespaces."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shlex
import ssl
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import pytest

from salon.testing.server import ServerProcess

SERVER_ADDRESS: Final = "10.77.0.1"
CLIENT_ADDRESS: Final = "10.77.0.2"
DEVICE: Final = "salon0"
"""The network device of either end of a link."""
_FOLDER = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_COMMAND_TIMEOUT_S = 20.0
_numbers = itertools.count(1)

Result = TypeVar("Result")


class Namespace:
    """A network namespace. It begins with a loopback device that is up, and nothing else."""

    def __init__(self, name: str) -> None:
        self.name = name

    def ip(self, command: str) -> None:
        """``ip`` in here: ``link set salon0 down``."""
        _run("ip", "-n", self.name, *command.split())

    def inside(self, work: Callable[[], Result]) -> Result:
        """Call `work` in a thread that is in here; the processes it starts are in here, too."""
        with ThreadPoolExecutor(1, initializer=self._enter) as pool:
            return pool.submit(work).result()

    def _enter(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        with (_FOLDER / self.name).open() as handle:
            if libc.setns(handle.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"cannot enter the namespace {self.name}")

    def program(self, script: Path, program: str) -> Path:
        """Write a `script` that runs `program` in here."""
        enter = f"nsenter --net={shlex.quote(str(_FOLDER / self.name))}"
        script.write_text(f'#!/bin/sh\nexec {enter} -- {shlex.quote(program)} "$@"\n')
        script.chmod(0o700)
        return script


@contextlib.contextmanager
def namespace() -> Iterator[Namespace]:
    """A namespace for the length of a ``with``. Where none can be made the test is skipped, but
    fails where all is required."""
    made = Namespace(f"salon-{os.getpid()}-{next(_numbers)}")
    try:
        _run("ip", "netns", "add", made.name)
    except (OSError, subprocess.SubprocessError) as error:
        _give_up(error)
    try:
        made.ip("link set lo up")
        yield made
    finally:
        _run("ip", "netns", "delete", made.name)


@contextlib.contextmanager
def linked() -> Iterator[tuple[Namespace, Namespace]]:
    """One namespace for a server and one for a client, with a cable between and no way out."""
    with namespace() as server, namespace() as client:
        server.ip(f"link add {DEVICE} type veth peer name {DEVICE} netns {client.name}")
        for end, address in ((server, SERVER_ADDRESS), (client, CLIENT_ADDRESS)):
            end.ip(f"address add {address}/24 dev {DEVICE}")
            end.ip(f"link set {DEVICE} up")
        yield server, client


class TlsServer(ServerProcess):
    """A server that others than this machine may reach, over HTTPS with a certificate of its own
    and with a key."""

    def __init__(self, data_dir: Path, address: str, key: str) -> None:
        environment: Mapping[str, str] = {
            "SALON_HOST": address,
            "SALON_API_KEY": key,
            "SALON_TLS_SELF_SIGNED": "1",
        }
        super().__init__(data_dir, environment=environment)
        self.address = address

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.port}"

    def get(self, path: str, *, timeout: float = 10.0) -> Any:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with urllib.request.urlopen(self.url + path, timeout=timeout, context=context) as answer:
            return answer.read().decode()


@contextlib.contextmanager
def running_in(network: Namespace, server: ServerProcess) -> Iterator[ServerProcess]:
    """`server` in `network` for the length of a ``with``."""
    network.inside(server.start)
    try:
        yield server
    finally:
        server.stop()


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise subprocess.SubprocessError(f"{shlex.join(command)}: {done.stderr.strip()}")


def _give_up(error: Exception) -> NoReturn:
    missing = f"these tests need network namespaces (root, apt install iproute2): {error}"
    if os.environ.get("SALON_REQUIRE_ALL"):
        pytest.fail(missing)
    pytest.skip(missing)
