"""What a session is told before it starts (A89, A91)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

TransportFrames = Callable[[bytes, bool], None]
"""Takes one whole serialized message as it came, and whether it is the request's last (A51)."""
OnError = Callable[[Exception], None]
OnClose = Callable[[], None]
OnEncodedAudio = Callable[[str, bytes], None]
"""Takes a request's id and its complete Ogg Opus stream (A100)."""


class AudioFormat(str, Enum):  # noqa: UP042 - str() as published
    """How sound travels to the server."""

    PCM_S16LE = "pcm_s16le"
    """Mono, signed 16 bit, little-endian, no header (A41)."""
    OGG_OPUS = "ogg_opus"
    """One Ogg Opus stream per request, mono (A96)."""


@dataclass
class OggOpusEncoderConfig:
    """Lets the session encode PCM itself (A98).

    `frame_duration_ms`: 10, 20, 40 or 60. `application`: ``audio``, ``voip`` or
    ``restricted_lowdelay``. Checked when the first sound is sent.
    """

    frame_duration_ms: int = 20
    application: str = "audio"


@dataclass
class LiveKitEgressConfig:
    """The LiveKit room that the server publishes into.

    `api_token` is a LiveKit token for `publisher_id`. Giving the server the key and the secret
    instead still works, with a `FutureWarning`. `idle_timeout` in seconds without sound, 0 = the
    server's own.
    """

    url: str = ""
    api_key: str = field(default="", repr=False)
    api_secret: str = field(default="", repr=False)
    api_token: str = field(default="", repr=False)
    room_name: str = ""
    publisher_id: str = ""
    extra_attributes: dict[str, str] = field(default_factory=dict)
    idle_timeout: int = 0

    def __post_init__(self) -> None:
        if self.api_key or self.api_secret:
            warnings.warn(
                "api_key and api_secret of LiveKitEgressConfig are deprecated: "
                "make a token for publisher_id and pass it as api_token",
                FutureWarning,
                stacklevel=3,
            )


@dataclass
class AgoraEgressConfig:
    """The Agora channel that the server publishes into. `uid` 0 = assigned by the channel."""

    channel_name: str = ""
    token: str = field(default="", repr=False)
    uid: int = 0
    publisher_id: str = ""


def _no_frames(data: bytes, last: bool) -> None:
    """Drops animation that nobody asked for."""


def _no_error(err: Exception) -> None:
    """Drops errors that nobody asked for."""


def _no_close() -> None:
    """Nobody asked to be told."""


@dataclass
class SessionConfig:
    """Everything about one session; nothing is checked before it is used (A90).

    `expire_at` is when the session token shall expire, an aware time. `sample_rate` in Hz,
    `bitrate` in bit/s (0 = the encoder's own). The callbacks run on the event loop, one at a
    time; what they raise is logged and goes no further (A56).
    """

    avatar_id: str = ""
    api_key: str = field(default="", repr=False)
    app_id: str = ""
    use_query_auth: bool = False
    expire_at: datetime | None = None
    sample_rate: int = 16_000
    bitrate: int = 0
    audio_format: AudioFormat = AudioFormat.PCM_S16LE
    ogg_opus_encoder: OggOpusEncoderConfig | None = None
    on_encoded_audio: OnEncodedAudio | None = None
    transport_frames: TransportFrames = _no_frames
    on_error: OnError = _no_error
    on_close: OnClose = _no_close
    console_endpoint_url: str = ""
    ingress_endpoint_url: str = ""
    livekit_egress: LiveKitEgressConfig | None = None
    agora_egress: AgoraEgressConfig | None = None

    def __post_init__(self) -> None:
        self.audio_format = AudioFormat(self.audio_format)


class SessionConfigBuilder:
    """Fills one `SessionConfig`; every `with_` method returns the builder (A89)."""

    def __init__(self) -> None:
        self._config = SessionConfig()

    def with_avatar_id(self, avatar_id: str) -> SessionConfigBuilder:
        """Which avatar."""
        self._config.avatar_id = avatar_id
        return self

    def with_api_key(self, api_key: str) -> SessionConfigBuilder:
        """The key that the console takes."""
        self._config.api_key = api_key
        return self

    def with_app_id(self, app_id: str) -> SessionConfigBuilder:
        """The app that owns the key (A6)."""
        self._config.app_id = app_id
        return self

    def with_use_query_auth(self, use_query_auth: bool) -> SessionConfigBuilder:
        """Whether app and token travel in the URL, not in headers (A15)."""
        self._config.use_query_auth = use_query_auth
        return self

    def with_expire_at(self, expire_at: datetime) -> SessionConfigBuilder:
        """When the token expires, an aware time."""
        self._config.expire_at = expire_at
        return self

    def with_sample_rate(self, sample_rate: int) -> SessionConfigBuilder:
        """Hz."""
        self._config.sample_rate = sample_rate
        return self

    def with_bitrate(self, bitrate: int) -> SessionConfigBuilder:
        """Bit/s; 0 = the encoder's own."""
        self._config.bitrate = bitrate
        return self

    def with_audio_format(self, audio_format: AudioFormat | str) -> SessionConfigBuilder:
        """The format or its name; `ValueError` for another name."""
        self._config.audio_format = AudioFormat(audio_format)
        return self

    def with_ogg_opus_encoder(
        self, config: OggOpusEncoderConfig | None = None
    ) -> SessionConfigBuilder:
        """Let the session encode PCM; without argument with the defaults."""
        self._config.ogg_opus_encoder = config if config is not None else OggOpusEncoderConfig()
        return self

    def with_on_encoded_audio(self, handler: OnEncodedAudio) -> SessionConfigBuilder:
        """Told of every request's whole stream."""
        self._config.on_encoded_audio = handler
        return self

    def with_transport_frames(self, handler: TransportFrames) -> SessionConfigBuilder:
        """Takes the animation."""
        self._config.transport_frames = handler
        return self

    def with_on_error(self, handler: OnError) -> SessionConfigBuilder:
        """Told of failures in a running session."""
        self._config.on_error = handler
        return self

    def with_on_close(self, handler: OnClose) -> SessionConfigBuilder:
        """Told once when a started session is over."""
        self._config.on_close = handler
        return self

    def with_console_endpoint_url(self, url: str) -> SessionConfigBuilder:
        """Where tokens come from."""
        self._config.console_endpoint_url = url
        return self

    def with_ingress_endpoint_url(self, url: str) -> SessionConfigBuilder:
        """Where sound goes."""
        self._config.ingress_endpoint_url = url
        return self

    def with_livekit_egress(self, config: LiveKitEgressConfig) -> SessionConfigBuilder:
        """Publish into a LiveKit room."""
        self._config.livekit_egress = config
        return self

    def with_agora_egress(self, config: AgoraEgressConfig) -> SessionConfigBuilder:
        """Publish into an Agora channel."""
        self._config.agora_egress = config
        return self

    def build(self) -> SessionConfig:
        """The configuration itself, the same object every time."""
        return self._config
