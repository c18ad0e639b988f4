"""How to reach ElevenLabs and how it shall speak."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from salon.base.errors import ConfigurationError

BASE_URL: Final = "https://api.elevenlabs.io"
EXPRESSIVE_MODEL: Final = "eleven_v4_turbo"
_TAG_MODELS: Final = ("eleven_v3", "eleven_v4")
_NO_SOCKET: Final = ("eleven_v3", "eleven_v4")
_CODECS: Final = ("pcm", "mp3", "opus", "ulaw", "alaw", "wav")
_SPOKEN_RATES: Final = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_SPEECH_FORMAT: Final = "pcm_16000"


@dataclass
class ElevenLabsConfig:
    """`stability`, `similarity_boost`, `style` lie in 0..1.

    `output_format` ``pcm_<rate>`` is what speech is asked in; with another one (``mp3_44100_128``)
    speech comes as ``pcm_16000`` and only `synthesize` gives that format.

    `stream_input`: None and True speak over the WebSocket, with word times, if the model has one
    (``eleven_v3`` and ``eleven_v4`` have not); False by one HTTP request a piece, without.
    `use_context` tells a HTTP request what was said before. `expressive` chooses a model that acts
    out tags such as ``[laughs]``.
    `chunk_length_schedule`: characters the service waits for before it speaks, each 50..500.

    `base_url` (and a ``/v1`` behind it) may be another host with the same interface. Times are in
    seconds: `connect_timeout`, and `read_timeout` for the longest silence of the service.
    """

    api_key: str = field(repr=False)
    voice_id: str = "21m00Tcm4TlvDq8ikWAM"
    model_id: str = "eleven_multilingual_v2"
    stability: float = 0.5
    similarity_boost: float = 0.75
    style: float = 0.0
    use_speaker_boost: bool = True
    output_format: str = "mp3_44100_128"
    optimize_streaming_latency: int | None = None
    expressive: bool = False
    use_context: bool = True
    stream_input: bool | None = None
    base_url: str = BASE_URL
    chunk_length_schedule: tuple[int, ...] = (50, 120, 160, 290)
    connect_timeout: float = 5.0
    read_timeout: float = 10.0
    max_connections: int = 32

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(f"base_url {self.base_url!r} is not an http(s) address")
        self.base_url = self.base_url.rstrip("/").removesuffix("/v1")
        if not self.api_key or not self.api_key.isprintable() or not self.api_key.isascii():
            raise ConfigurationError("api_key is empty or no header can carry it")
        if self.expressive and not self.model_id.startswith(_TAG_MODELS):
            self.model_id = EXPRESSIVE_MODEL
        for name in ("stability", "similarity_boost", "style"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(f"{name} is {getattr(self, name)}, not within 0..1")
        if not all(50 <= length <= 500 for length in self.chunk_length_schedule):
            raise ConfigurationError(
                f"chunk_length_schedule is {self.chunk_length_schedule}, each is 50 to 500"
            )
        if self.connect_timeout <= 0 or self.read_timeout <= 0 or self.max_connections < 1:
            raise ConfigurationError("timeouts are more than 0, max_connections at least 1")
        self._check_format()

    def _check_format(self) -> None:
        codec, _, rest = self.output_format.partition("_")
        rate = rest.partition("_")[0]
        if codec not in _CODECS or not rate.isdecimal():
            raise ConfigurationError(
                f"output_format is {self.output_format!r}, not like pcm_16000 or mp3_44100_128"
            )
        if codec == "pcm" and int(rate) not in _SPOKEN_RATES:
            rates = ", ".join(map(str, _SPOKEN_RATES))
            raise ConfigurationError(f"output_format is {self.output_format!r}; rates are {rates}")

    @property
    def has_socket(self) -> bool:
        """Whether the model speaks over the WebSocket."""
        return not self.model_id.startswith(_NO_SOCKET)

    @property
    def uses_socket(self) -> bool:
        """Whether this engine does."""
        return self.has_socket and self.stream_input is not False

    @property
    def speech_format(self) -> str:
        """What speech is asked in."""
        return self.output_format if self.output_format.startswith("pcm_") else _SPEECH_FORMAT

    @property
    def speech_rate(self) -> int:
        """Its samples per second."""
        return int(self.speech_format.partition("_")[2])
