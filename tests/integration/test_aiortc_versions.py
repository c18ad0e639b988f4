"""The lowest and the newest aiortc that the `webrtc` extra allows: packets can be had from both."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TESTS = ("tests/unit/transport/test_aiortc_peer.py", "tests/unit/transport/test_carriers.py")
INSTALL_TIMEOUT_S = 300
RUN_TIMEOUT_S = 180


def allowed() -> str:
    """The bounds of aiortc, as the extra has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = project["optional-dependencies"]["webrtc"]
    return next(item for item in extra if item.startswith("aiortc"))


def lowest(bounds: str) -> str:
    found = re.search(r">=([0-9.]+)", bounds)
    assert found, bounds
    return f"aiortc=={found[1]}.*"


@pytest.mark.parametrize("which", ["lowest", "newest"])
def test_packets_can_be_had_from_every_allowed_aiortc(which: str, tmp_path: Path) -> None:
    wanted = lowest(allowed()) if which == "lowest" else allowed()
    overlay = tmp_path / "overlay"  # comes before what is installed
    pip = [sys.executable, "-m", "pip", "install", "-q", "--only-binary", ":all:"]
    subprocess.run(
        [*pip, "--target", overlay, wanted],
        check=True,
        timeout=INSTALL_TIMEOUT_S,
    )
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("COV_CORE")
    } | {"PYTHONPATH": str(overlay)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    version = next(overlay.glob("aiortc-*.dist-info")).name
    if which == "lowest":
        assert version.startswith("aiortc-" + lowest(allowed()).removeprefix("aiortc==")[:-1])
