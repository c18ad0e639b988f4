"""Sound inside `AudioContent`: a ``data:`` URL of WAV or bare PCM, 16 kHz or what it says."""

from __future__ import annotations

import base64
import binascii
from email.message import Message
from typing import Final
from urllib.parse import unquote_to_bytes

import numpy as np

from salon.media.frame import SAMPLE_RATE, Samples
from salon.media.pcm import decode_pcm
from salon.media.resample import resample
from salon.media.wav import read_wav, wav_bytes
from salon.models.content import AudioContent

MAX_URL: Final = 64 * 1024 * 1024
"""Characters of a ``data:`` URL."""
_WAV: Final = frozenset({"audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"})
_PCM: Final = frozenset({"audio/pcm", "audio/l16", "audio/x-raw"})


def audio_content(samples: Samples, transcript: str) -> AudioContent:
    """``int16[n]`` 16 kHz mono as WAV in a ``data:`` URL."""
    wav = wav_bytes(samples)
    return AudioContent(
        url="data:audio/wav;base64," + base64.b64encode(wav).decode("ascii"),
        mime_type="audio/wav",
        duration_seconds=len(samples) / SAMPLE_RATE,
        size_bytes=len(wav),
        transcript=transcript,
    )


def sound_of(audio: AudioContent, consumer: str) -> Samples:
    """The sound as ``int16[n]`` 16 kHz mono.

    `ValueError` for anything but a ``data:`` URL of WAV or 16-bit PCM (its rate from the media
    type's ``rate`` parameter, else 16 kHz): nothing is fetched here.
    """
    if not isinstance(audio, AudioContent):
        raise ValueError(f"{consumer} got {type(audio).__name__}, which is no sound")
    if not audio.url.startswith("data:"):
        raise ValueError(f"{consumer} reads sound from data: URLs only; fetch it before")
    if len(audio.url) > MAX_URL:
        raise ValueError(f"{consumer} got a data: URL of over {MAX_URL} characters")
    head, comma, body = audio.url[5:].partition(",")
    if not comma:
        raise ValueError(f"{consumer} got a data: URL without data")
    media = Message()
    media["content-type"] = head.removesuffix(";base64") or audio.mime_type
    try:
        data = unquote_to_bytes(body)
        data = base64.b64decode(data, validate=True) if head.endswith(";base64") else data
    except binascii.Error as error:
        raise ValueError(f"{consumer} got a data: URL that is not base64") from error
    return _decoded(data, media, consumer)


def _decoded(data: bytes, media: Message, consumer: str) -> Samples:
    kind = media.get_content_type()
    if kind in _WAV:
        samples, rate = read_wav(data)
    elif kind in _PCM:
        said, count = media.get_param("rate", SAMPLE_RATE), media.get_param("channels", 1)
        rate, channels = int(str(said)), int(str(count))
        samples = decode_pcm(data, channels=channels)
    else:
        raise ValueError(f"{consumer} cannot read {kind}; it reads WAV and PCM")
    return np.array(resample(samples, rate, SAMPLE_RATE))
