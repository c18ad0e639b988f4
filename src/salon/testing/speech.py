"""Speech fixtures, spoken when a test needs them: no recording is shipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, NoReturn

import numpy as np

from salon.base import ConfigurationError
from salon.media import SAMPLE_RATE, Samples, read_wav, resample

TIMEOUT_S: Final = 60.0

# A process of its own: the library keeps global state, which the program under test may use.
_ESPEAK_CHILD = """
import ctypes, sys, espeakng_loader
lib = ctypes.CDLL(espeakng_loader.get_library_path())
rate = lib.espeak_Initialize(2, 200, str(espeakng_loader.get_data_path()).encode(), 0)
@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
def take(sound, count, events):
    if sound and count > 0:
        sys.stdout.buffer.write(ctypes.string_at(sound, 2 * count))
    return 0
sys.stdout.buffer.write(rate.to_bytes(4, "little"))
lib.espeak_SetSynthCallback(take)
if lib.espeak_SetVoiceByName(sys.argv[1].encode()):
    sys.exit("no such voice: " + sys.argv[1])
text = sys.argv[2].encode() + bytes(1)
lib.espeak_Synth(text, len(text), 0, 0, 0, 1, None, None)
lib.espeak_Synchronize()
"""


def speak(
    text: str,
    voice: str = "slt",
    engine: Literal["flite", "espeak"] = "flite",
    *,
    rate: int = SAMPLE_RATE,
    noise_db: float | None = None,
) -> Samples:
    """`text` spoken, ``int16[n]`` at `rate`; kept for the life of the process, not to be changed.

    Flite's voices are ``slt rms awb kal kal16``, eSpeak's are named like ``en``, ``en-us+f3``.
    `noise_db` adds white noise at that signal-to-noise ratio. Lengths differ between versions of
    the programs. Without the program the test is skipped, but fails where ``CI`` is set;
    outside pytest `ConfigurationError`.
    """
    samples = _spoken(text, voice, engine, rate)
    return samples if noise_db is None else add_noise(samples, noise_db)


def silence(ms: int, *, rate: int = SAMPLE_RATE) -> Samples:
    """Nothing for `ms` milliseconds, ``int16[n]``."""
    return np.zeros(ms * rate // 1000, dtype=np.int16)


def tone(ms: int, frequency: float = 440.0, *, level: float = 0.3) -> Samples:
    """A sine at 16 kHz that an `EnergyVad` takes for speech; `level` 1.0 is full scale."""
    at = np.arange(ms * SAMPLE_RATE // 1000, dtype=np.float64)
    wave = np.sin(2 * np.pi * frequency / SAMPLE_RATE * at)
    samples: Samples = (level * 32_767 * wave).astype(np.int16)
    return samples


def add_noise(samples: Samples, snr_db: float, seed: int = 1) -> Samples:
    """White noise added at `snr_db` below the mean power of `samples`; the same for a `seed`."""
    signal = samples.astype(np.float64)
    power = float(np.mean(np.square(signal))) if len(signal) else 0.0
    noise = np.random.default_rng(seed).standard_normal(len(signal))
    mixed = signal + noise * np.sqrt(power / 10 ** (snr_db / 10))
    clipped: Samples = np.clip(np.rint(mixed), -32_768, 32_767).astype(np.int16)
    return clipped


@cache
def _spoken(text: str, voice: str, engine: str, rate: int) -> Samples:
    if engine == "flite":
        made, own_rate = _flite(text, voice)
    elif engine == "espeak":
        made, own_rate = _espeak(text, voice if voice != "slt" else "en")
    else:
        raise ValueError(f"engine is {engine!r}; it must be 'flite' or 'espeak'")
    samples: Samples = resample(made, own_rate, rate).copy()
    samples.flags.writeable = False
    return samples


def _flite(text: str, voice: str) -> tuple[Samples, int]:
    program = shutil.which("flite")
    if program is None:
        _missing("speech fixtures need the program flite: apt install flite")
    with tempfile.TemporaryDirectory(prefix="salon-speech-") as folder:
        path = Path(folder, "speech.wav")
        command = [program, "-voice", voice, "-t", text, "-o", str(path)]
        subprocess.run(command, check=True, timeout=TIMEOUT_S, capture_output=True)
        return read_wav(path)


def _espeak(text: str, voice: str) -> tuple[Samples, int]:
    if find_spec("espeakng_loader") is None:
        _missing('speech fixtures need eSpeak NG: pip install "salon[espeak]"')
    command = [sys.executable, "-c", _ESPEAK_CHILD, voice, text]
    out = subprocess.run(command, check=True, timeout=TIMEOUT_S, capture_output=True).stdout
    return np.frombuffer(out[4:], dtype="<i2").astype(np.int16), int.from_bytes(out[:4], "little")


def _missing(what: str) -> NoReturn:
    runner = sys.modules.get("pytest")
    if runner is not None and not os.environ.get("CI"):
        runner.skip(what)
    raise ConfigurationError(what)
