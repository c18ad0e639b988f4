"""Ready sound on its way to a room."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from salon.media.frame import SAMPLE_RATE, Samples
from salon.media.resample import Resampler
from salon.media.wav import read_wav
from salon.models import AudioContent, ProviderDeliveryError

_DATA = "data:"


def wav_sound(audio: str | Path | bytes) -> Samples:
    """A WAV file, by path or as bytes, as ``int16[n]`` 16 kHz. `ValueError` if it is none,
    `TypeError` if it is neither path nor bytes."""
    if not isinstance(audio, str | Path | bytes | bytearray | memoryview):
        raise TypeError(f"audio is {type(audio).__name__}, not a path or bytes")
    samples, rate = read_wav(audio)
    if rate == SAMPLE_RATE:
        return samples
    resampler = Resampler(rate, SAMPLE_RATE)
    return resampler.process(samples)


def ready_sound(content: AudioContent) -> Samples:
    """The sound of an event, if it carries it with it: a WAV as a ``data:`` URL.
    `ProviderDeliveryError` otherwise; nothing is fetched from anywhere."""
    head, comma, body = content.url.partition(",")
    if not comma or not head.startswith(_DATA) or not head.endswith(";base64"):
        raise ProviderDeliveryError(
            "unsupported_content", "only sound within the message (a data: URL) can be played"
        )
    try:
        return wav_sound(base64.b64decode(body, validate=True))
    except (binascii.Error, ValueError) as error:
        raise ProviderDeliveryError("unreadable_audio", str(error)) from None
