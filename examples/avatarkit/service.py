"""What the examples share: which service, and something to say."""

from __future__ import annotations

import argparse
import array
import math
import os
import wave
from typing import Any

NAMES = {
    "console": "AVATAR_CONSOLE_URL",
    "ingress": "AVATAR_INGRESS_URL",
    "api_key": "AVATAR_API_KEY",
    "app_id": "AVATAR_APP_ID",
    "avatar_id": "AVATAR_ID",
}


def parser_for(what: str) -> argparse.ArgumentParser:
    """A parser with a flag for each part of the service; the environment fills in."""
    parser = argparse.ArgumentParser(description=what)
    for name, variable in NAMES.items():
        if name == "api_key":
            # Flags are seen by everyone on the machine.
            continue
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            default=os.environ.get(variable, ""),
            help=f"or {variable}",
        )
    parser.epilog = "The API key comes from AVATAR_API_KEY."
    return parser


def session_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments for `new_avatar_session`; ends the program if something is missing."""
    settings = {
        "console_endpoint_url": options.console,
        "ingress_endpoint_url": options.ingress,
        "api_key": os.environ.get(NAMES["api_key"], ""),
        "app_id": options.app_id,
        "avatar_id": options.avatar_id,
    }
    missing = [name for name, value in settings.items() if not value]
    if missing:
        raise SystemExit(f"missing: {', '.join(missing)}; set {', '.join(NAMES.values())}")
    return settings


def murmur(seconds: float, sample_rate: int) -> bytes:
    """Something like a voice: mono ``int16``, four syllables a second."""
    samples = array.array("h")
    for n in range(int(seconds * sample_rate)):
        time = n / sample_rate
        loudness = max(0.0, math.sin(2 * math.pi * 2 * time)) ** 2
        voice = sum(math.sin(2 * math.pi * 140 * k * time) / k for k in (1, 2, 3, 5))
        samples.append(int(7_000 * loudness * voice))
    return samples.tobytes()


def wav_sound(path: str) -> tuple[bytes, int]:
    """PCM and rate of a WAV file with one channel of 16 bit."""
    with wave.open(path) as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            raise SystemExit(f"{path} is not mono with 16 bit")
        return file.readframes(file.getnframes()), file.getframerate()
