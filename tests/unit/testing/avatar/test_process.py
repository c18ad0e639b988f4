"""The stand-in as a program of its own, and the hygiene of its driver."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

END_TIMEOUT_S = 30.0


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [sys.executable, "-m", "salon.testing.avatar", "--no-extension", "--pace", "2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with started:
        yield started
        started.kill()


def ready(process: subprocess.Popen[str]) -> dict[str, str]:
    assert process.stdout is not None
    said: dict[str, str] = json.loads(process.stdout.readline())
    return said


def test_it_says_where_it_is_and_serves_until_its_input_ends(
    process: subprocess.Popen[str],
) -> None:
    said = ready(process)
    assert said["ingress_url"].startswith("ws://127.0.0.1:")
    request = urllib.request.Request(f"{said['console_url']}/session-tokens", b"{}", method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=END_TIMEOUT_S)
    assert refused.value.code == 401
    refused.value.close()
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(END_TIMEOUT_S) == 0


def test_it_ends_with_sigterm(process: subprocess.Popen[str]) -> None:
    ready(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(END_TIMEOUT_S) == 0


def test_it_runs_without_an_input() -> None:
    started = subprocess.Popen(
        [sys.executable, "-m", "salon.testing.avatar"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    with started:
        try:
            assert ready(started)["console_url"]
            started.send_signal(signal.SIGTERM)
            assert started.wait(END_TIMEOUT_S) == 0
        finally:
            started.kill()
