"""The names and defaults of the SDK: A88 to A95."""

from __future__ import annotations

import importlib
import inspect
import warnings
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest

from salon.clients import avatarkit
from salon.clients.avatarkit import (
    AgoraEgressConfig,
    AudioFormat,
    AvatarSDKError,
    AvatarSDKErrorCode,
    AvatarSession,
    LiveKitEgressConfig,
    OggOpusEncoderConfig,
    SessionConfig,
    SessionConfigBuilder,
    SessionTokenError,
    new_avatar_session,
)


def test_A88_top_level_names() -> None:
    assert set(avatarkit.__all__) == {
        "AvatarSession",
        "new_avatar_session",
        "SessionConfig",
        "SessionConfigBuilder",
        "AudioFormat",
        "OggOpusEncoderConfig",
        "LiveKitEgressConfig",
        "AgoraEgressConfig",
        "AvatarSDKError",
        "AvatarSDKErrorCode",
        "SessionTokenError",
        "generate_log_id",
    }
    assert all(hasattr(avatarkit, name) for name in avatarkit.__all__)
    assert isinstance(avatarkit.__version__, str)


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("avatar_session", ("AvatarSession", "new_avatar_session", "aiohttp", "websockets")),
        ("session_config", ("SessionConfig", "SessionConfigBuilder", "AudioFormat")),
        ("errors", ("AvatarSDKError", "AvatarSDKErrorCode", "SessionTokenError")),
        ("logid", ("generate_log_id",)),
        ("audio_encoder", ("OggOpusStreamEncoder",)),
        ("proto.generated.message_pb2", ("Message",)),
    ],
)
def test_A88_A95_submodules(module: str, names: tuple[str, ...]) -> None:
    loaded = importlib.import_module(f"salon.clients.avatarkit.{module}")
    assert all(hasattr(loaded, name) for name in names)


DEFAULTS: dict[str, Any] = {
    "avatar_id": "",
    "api_key": "",
    "app_id": "",
    "use_query_auth": False,
    "expire_at": None,
    "sample_rate": 16_000,
    "bitrate": 0,
    "audio_format": AudioFormat.PCM_S16LE,
    "ogg_opus_encoder": None,
    "on_encoded_audio": None,
    "console_endpoint_url": "",
    "ingress_endpoint_url": "",
    "livekit_egress": None,
    "agora_egress": None,
}
CALLBACKS = {"transport_frames": (b"", True), "on_error": (ValueError(),), "on_close": ()}


def test_A89_defaults() -> None:
    config = SessionConfig()
    assert {field.name for field in fields(config)} == {*DEFAULTS, *CALLBACKS}
    for name, default in DEFAULTS.items():
        assert getattr(config, name) == default, name
    for name, arguments in CALLBACKS.items():
        assert getattr(config, name)(*arguments) is None


def test_A89_the_key_is_not_shown() -> None:
    assert "hush" not in repr(SessionConfig(api_key="hush"))


VALUES: dict[str, Any] = {
    "avatar_id": "a",
    "api_key": "k",
    "app_id": "p",
    "use_query_auth": True,
    "expire_at": datetime(2030, 1, 1, tzinfo=UTC),
    "sample_rate": 48_000,
    "bitrate": 32_000,
    "audio_format": AudioFormat.OGG_OPUS,
    "ogg_opus_encoder": OggOpusEncoderConfig(40, "voip"),
    "on_encoded_audio": print,
    "transport_frames": lambda data, last: None,
    "on_error": print,
    "on_close": lambda: None,
    "console_endpoint_url": "c",
    "ingress_endpoint_url": "i",
    "livekit_egress": LiveKitEgressConfig(),
    "agora_egress": AgoraEgressConfig(),
}


@pytest.mark.parametrize("name", VALUES)
def test_A89_by_builder_and_by_keyword(name: str) -> None:
    builder = SessionConfigBuilder()
    assert getattr(builder, f"with_{name}")(VALUES[name]) is builder
    config = builder.build()
    assert builder.build() is config
    assert getattr(config, name) == VALUES[name]
    assert getattr(new_avatar_session(**{name: VALUES[name]}).config, name) == VALUES[name]


def test_A89_audio_formats() -> None:
    assert SessionConfigBuilder().with_audio_format("ogg_opus").build().audio_format is (
        AudioFormat.OGG_OPUS
    )
    assert new_avatar_session(audio_format="pcm_s16le").config.audio_format is AudioFormat.PCM_S16LE
    assert AudioFormat.OGG_OPUS == "ogg_opus"
    for wrong in ("mp3", "PCM_S16LE"):
        with pytest.raises(ValueError, match=wrong):
            SessionConfigBuilder().with_audio_format(wrong)
        with pytest.raises(ValueError, match=wrong):
            new_avatar_session(audio_format=wrong)


def test_A89_the_default_encoder() -> None:
    config = SessionConfigBuilder().with_ogg_opus_encoder().build()
    assert config.ogg_opus_encoder == OggOpusEncoderConfig(20, "audio")


def test_A90_unknown_arguments_and_odd_values_pass() -> None:
    session = new_avatar_session(region="eu", sample_rate=-1, ingress_endpoint_url="?")
    assert session.config.sample_rate == -1
    assert not hasattr(session.config, "region")


def test_A91_egress_defaults_and_secrets() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        empty = LiveKitEgressConfig()
        token = LiveKitEgressConfig(api_token="hush-token")
    assert [getattr(empty, field.name) for field in fields(empty)] == [
        "", "", "", "", "", "", {}, 0
    ]  # fmt: skip
    assert [field.name for field in fields(empty)] == [
        "url",
        "api_key",
        "api_secret",
        "api_token",
        "room_name",
        "publisher_id",
        "extra_attributes",
        "idle_timeout",
    ]
    with pytest.warns(FutureWarning):
        secret = LiveKitEgressConfig(api_key="hush-key", api_secret="hush-secret")
    agora = AgoraEgressConfig(token="hush-agora")
    assert (agora.channel_name, agora.uid, agora.publisher_id) == ("", 0, "")
    for one in (token, secret, agora):
        assert "hush" not in repr(one)
    assert LiveKitEgressConfig().extra_attributes is not empty.extra_attributes


@pytest.mark.parametrize(
    "given", [{"api_key": "a"}, {"api_secret": "b"}, {"api_key": "a", "api_secret": "b"}]
)
def test_A91_one_warning_that_names_the_better_way(given: dict[str, str]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        LiveKitEgressConfig(**given)  # type: ignore[arg-type]
    [warning] = caught
    assert warning.category is FutureWarning
    assert "api_token" in str(warning.message)
    assert "deprecated" in str(warning.message)
    assert warning.filename == __file__


def test_A92_methods() -> None:
    config = SessionConfig()
    assert AvatarSession(config).config is config
    for name in ("init", "start", "send_audio", "interrupt", "close"):
        assert inspect.iscoroutinefunction(getattr(AvatarSession, name)), name


def test_A93_codes() -> None:
    names = [
        "sessionTokenExpired",
        "sessionTokenInvalid",
        "appIDUnrecognized",
        "appIDMismatch",
        "avatarNotFound",
        "billingRequired",
        "creditsExhausted",
        "sessionDurationExceeded",
        "unsupportedSampleRate",
        "invalidEgressConfig",
        "egressUnavailable",
        "idleTimeout",
        "upstreamError",
        "invalidRequest",
        "connectionFailed",
        "connectionClosed",
        "protocolError",
        "serverError",
        "unknown",
    ]
    assert [code.name for code in AvatarSDKErrorCode] == names
    assert [code.value for code in AvatarSDKErrorCode] == names
    assert AvatarSDKErrorCode.unknown == "unknown"


FURTHER = [
    "http_status",
    "server_code",
    "server_title",
    "server_detail",
    "connection_id",
    "req_id",
    "raw_body",
    "close_code",
    "close_reason",
]


def test_A94_errors() -> None:
    error = AvatarSDKError(AvatarSDKErrorCode.serverError, "boom")
    assert str(error) == "serverError: boom"
    assert (error.code, error.message, error.phase) == ("serverError", "boom", "unknown")
    assert [getattr(error, name) for name in FURTHER] == [None] * len(FURTHER)
    token = SessionTokenError("none")
    assert isinstance(token, AvatarSDKError)
    assert (token.code, token.phase) == ("invalidRequest", "session_token")
    given: dict[str, Any] = {name: number for number, name in enumerate(FURTHER)}
    for full in (
        AvatarSDKError(AvatarSDKErrorCode.unknown, "x", phase="p", **given),
        SessionTokenError("x", code=AvatarSDKErrorCode.unknown, phase="p", **given),
    ):
        assert (full.code, full.phase) == ("unknown", "p")
        assert [getattr(full, name) for name in FURTHER] == list(given.values())
