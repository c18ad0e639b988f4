"""What goes to ElevenLabs and what comes back, apart from the connections."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, Final
from urllib.parse import quote, urlencode

import numpy as np

from salon.base.redaction import MASK, redact_text
from salon.media.frame import SAMPLE_RATE, Samples
from salon.media.resample import Resampler
from salon.voice.errors import SpeechError
from salon.voice.tts.base import VoiceSettings
from salon.voice.tts.elevenlabs_config import ElevenLabsConfig

ENGINE: Final = "ElevenLabsTTS"
MAX_PIECE_S: Final = 900
"""Sound of one piece, in seconds; a service that sends more is cut off."""
_SLOWEST, _FASTEST = 0.7, 1.2
_LATENCY_MODELS: Final = ("eleven_multilingual_v2", "eleven_flash_v2", "eleven_turbo_v2")
_LANGUAGE_MODELS: Final = ("eleven_flash_v2_5", "eleven_turbo_v2_5", "eleven_v3", "eleven_v4")
"""Others refuse a language; they hear it from the text."""
_TOKEN: Final = re.compile(r"[\w*.-]*[*\d][\w*.-]{15,}|\b[a-z]{2}[-_][\w*-]{4,}", re.ASCII)


class Sound:
    """PCM as it comes from the network becomes samples at 16 kHz."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._bytes = 0
        self._odd = b""
        self._resampler = Resampler(rate, SAMPLE_RATE)

    @property
    def ms(self) -> float:
        """How much has come."""
        return self._bytes / 2 * 1000 / self._rate

    def feed(self, data: bytes) -> Samples:
        """Sound that is complete now, perhaps none. `SpeechError` if there is too much of it."""
        self._bytes += len(data)
        if self._bytes > MAX_PIECE_S * self._rate * 2:
            raise SpeechError(ENGINE, f"over {MAX_PIECE_S} s of sound in one answer")
        data = self._odd + data
        whole = len(data) // 2 * 2
        self._odd = data[whole:]
        samples = np.frombuffer(data[:whole], dtype="<i2").astype(np.int16)
        return np.array(self._resampler.process(samples))

    def finish(self) -> Samples:
        """The rest."""
        return np.array(self._resampler.flush())


def voice_settings(config: ElevenLabsConfig, speed: float) -> dict[str, Any]:
    """Speeds beyond what the service can do become the nearest it can."""
    made: dict[str, Any] = {
        "stability": config.stability,
        "similarity_boost": config.similarity_boost,
        "style": config.style,
        "use_speaker_boost": config.use_speaker_boost,
    }
    if speed != 1.0:
        made["speed"] = min(max(speed, _SLOWEST), _FASTEST)
    return made


def language_code(config: ElevenLabsConfig, settings: VoiceSettings) -> str | None:
    """ISO 639-1, for the models that take one."""
    if not settings.language or not config.model_id.startswith(_LANGUAGE_MODELS):
        return None
    return settings.language.replace("_", "-").partition("-")[0].lower()


def query(config: ElevenLabsConfig, output_format: str) -> dict[str, str]:
    """Of a request for speech."""
    made = {"output_format": output_format}
    latency = config.optimize_streaming_latency
    if latency is not None and config.model_id.startswith(_LATENCY_MODELS):
        made["optimize_streaming_latency"] = str(latency)
    return made


def speech_path(config: ElevenLabsConfig, settings: VoiceSettings, tail: str) -> str:
    """A voice comes from outside: in the path it is one segment."""
    return f"/v1/text-to-speech/{quote(settings.voice or config.voice_id, safe='')}{tail}"


def socket_url(config: ElevenLabsConfig, settings: VoiceSettings) -> str:
    """Where a piece is spoken."""
    asked = query(config, config.speech_format)
    asked |= {"model_id": config.model_id, "sync_alignment": "true"}
    if (code := language_code(config, settings)) is not None:
        asked["language_code"] = code
    base = "ws" + config.base_url.removeprefix("http")
    return base + speech_path(config, settings, "/stream-input") + "?" + urlencode(asked)


def opening(config: ElevenLabsConfig, settings: VoiceSettings) -> str:
    """The first message."""
    schedule = {"chunk_length_schedule": list(config.chunk_length_schedule)}
    made = {
        "text": " ",
        "voice_settings": voice_settings(config, settings.speed),
        "generation_config": schedule,
    }
    return json.dumps(made)


def body(
    config: ElevenLabsConfig, text: str, settings: VoiceSettings, before: str
) -> dict[str, Any]:
    """Of a HTTP request; `before` is what was said last."""
    made: dict[str, Any] = {
        "text": text,
        "model_id": config.model_id,
        "voice_settings": voice_settings(config, settings.speed),
    }
    if (code := language_code(config, settings)) is not None:
        made["language_code"] = code
    if before:
        made["previous_text"] = before
    return made


def message(data: str | bytes, api_key: str) -> dict[str, Any]:
    """One message of the service. `SpeechError` for an error it tells and for what is none."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SpeechError(ENGINE, "the service sent what is no JSON") from error
    if not isinstance(found, dict):
        raise SpeechError(ENGINE, "the service sent no message")
    if not found.get("audio") and not found.get("isFinal"):
        said = found.get("message") or found.get("error") or found.get("detail")
        if said:
            raise SpeechError(ENGINE, f"the service says: {harmless(_told(said), api_key)}")
    return found


def sound_in(found: dict[str, Any]) -> bytes:
    """The sound of a message."""
    audio = found.get("audio")
    if not audio:
        return b""
    try:
        return base64.b64decode(audio, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise SpeechError(ENGINE, "the service sent sound that is not base64") from error


def refusal(status: int, data: bytes, api_key: str) -> SpeechError:
    """What a HTTP answer other than 200 says."""
    try:
        found = json.loads(data)
        said = _told(found.get("detail", found) if isinstance(found, dict) else found)
    except (ValueError, RecursionError):
        said = data.decode("utf-8", "replace")
    return SpeechError(ENGINE, f"HTTP {status}: {harmless(said, api_key)}")


def harmless(said: str, api_key: str) -> str:
    """The beginning of what a service says, without secrets: some repeat the key they refuse."""
    text = redact_text(said.replace(api_key, MASK))
    return " ".join(_TOKEN.sub(MASK, text).split())[:300]


def _told(said: object) -> str:
    if isinstance(said, dict):
        told = [str(said[name]) for name in ("status", "code", "message") if said.get(name)]
        return ": ".join(told) or json.dumps(said)
    return str(said)
