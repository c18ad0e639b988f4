"""Speech for tests, made when it is needed by the Flite program or, without it, eSpeak NG."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from salon.media import Samples, read_wav, resample

_TIMEOUT_S = 30

# A child process: the library keeps global state and may be in use by other tests.
_ESPEAK = """
import ctypes, sys, espeakng_loader
library = ctypes.CDLL(espeakng_loader.get_library_path())
data = str(espeakng_loader.get_data_path()).encode()
rate = library.espeak_Initialize(2, 100, data, 0)
Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
sound = bytearray()

@Callback
def collect(samples, count, events):
    if samples and count > 0:
        sound.extend(ctypes.string_at(samples, count * 2))
    return 0

library.espeak_SetSynthCallback(collect)
library.espeak_SetVoiceByName(b"en")
text = sys.argv[1].encode() + b"\\0"
library.espeak_Synth(text, len(text), 0, 0, 0, 1, None, None)
library.espeak_Synchronize()
sys.stdout.buffer.write(rate.to_bytes(4, "little") + sound)
"""


@cache
def speak(text: str) -> Samples:
    """`text` spoken, ``int16[n]`` at 16 kHz; skips the test on a machine without any voice.

    Lengths and bytes differ between machines: assert neither.
    """
    if shutil.which("flite") is not None:
        samples, rate = _flite(text)
    elif find_spec("espeakng_loader") is not None:
        samples, rate = _espeak(text)
    else:
        pytest.skip("needs flite or espeakng-loader")
    speech = resample(samples, rate, 16_000).copy()
    speech.flags.writeable = False
    return speech


def _flite(text: str) -> tuple[Samples, int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "speech.wav")
        command = ["flite", "-voice", "slt", "-t", text, "-o", str(path)]
        subprocess.run(command, check=True, timeout=_TIMEOUT_S)
        return read_wav(path)


def _espeak(text: str) -> tuple[Samples, int]:
    command = [sys.executable, "-c", _ESPEAK, text]
    out = subprocess.run(command, check=True, timeout=_TIMEOUT_S, capture_output=True).stdout
    return np.frombuffer(out[4:], dtype="<i2").astype(np.int16), int.from_bytes(out[:4], "little")
