"""Option objects (G60-G72a), their merging (G56, G292) and how they are shown (G200)."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from salon.gateway import CallOption
from salon.gateway.options import (
    AGCOption,
    AmbianceOption,
    MediaPassOption,
    RealtimeOption,
    RecorderOption,
    ReferOption,
    SipOption,
    StrictModel,
    SynthesisOption,
    TranscriptionOption,
    VADOption,
    masked,
)


def option(**fields: Any) -> CallOption:
    return CallOption.model_validate(fields)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            VADOption,
            {"type": "silero", "speech_padding": 250, "silence_padding": 100, "ratio": 0.5}
            | {"voice_threshold": 0.5, "silence_timeout": None, "samplerate": 16_000},
        ),
        (
            AGCOption,
            {"headroom_db": 5.0, "max_gain_db": 50.0, "initial_gain_db": 15.0}
            | {"adjacent_speech_frames_threshold": 12, "enable_limiter": True},
        ),
        (SynthesisOption, {"samplerate": 16_000, "speed": 1.0, "volume": 5, "codec": "pcm"}),
        (RecorderOption, {"recorder_file": "", "ptime": 200}),
        (
            AmbianceOption,
            {"duck_level": 0.1, "normal_level": 0.3, "transition_speed": 0.01, "enabled": True},
        ),
        (ReferOption, {"timeout": 30, "auto_hangup": True, "forward_dtmf": True}),
        (CallOption, {"codec": "pcm", "offer": "", "subscribe": False, "inactivity_timeout": None}),
    ],
)
def test_defaults_of_the_tables(model: type[StrictModel], expected: dict[str, Any]) -> None:
    made = model.model_validate({})
    assert {name: getattr(made, name) for name in expected} == expected


def test_G2_null_is_absent_but_in_vad() -> None:
    assert option(codec=None, tts=None, asr={"provider": None}).asr == TranscriptionOption()
    with pytest.raises(ValidationError):
        option(vad={"speechPadding": None})
    assert option(vad={"silenceTimeout": None}).vad == VADOption()


def test_G61_what_guides_show_and_the_protocol_has_not_is_ignored() -> None:
    assert option(sdp="x", playbook="y", sampleRate=8000) == CallOption()


@pytest.mark.parametrize(
    ("model", "key", "field"),
    [
        (TranscriptionOption, "apiKey", "secret_key"),
        (TranscriptionOption, "model", "model_type"),
        (SynthesisOption, "apiKey", "secret_key"),
        (SynthesisOption, "voice", "model"),
        (RealtimeOption, "apiKey", "secret_key"),
    ],
)
def test_older_names_are_understood(model: type[StrictModel], key: str, field: str) -> None:
    assert getattr(model.model_validate({key: "x"}), field) == "x"


@pytest.mark.parametrize("key", ["hangup_headers", "hangupHeaders"])
def test_G70_sip_has_snake_case_and_takes_both(key: str) -> None:
    made = SipOption.model_validate({key: {"a": "b"}, "enable_srtp": True})
    assert made.hangup_headers == {"a": "b"}
    assert made.model_dump(by_alias=True, exclude_unset=True) == {
        "hangup_headers": {"a": "b"},
        "enable_srtp": True,
    }


def test_G67_media_pass_needs_its_url_and_rates() -> None:
    made = MediaPassOption.model_validate(
        {"url": "ws://x", "inputSampleRate": 8000, "outputSampleRate": 16_000}
    )
    assert made.packet_size == 3200
    with pytest.raises(ValidationError):
        MediaPassOption.model_validate({"url": "ws://x"})


def test_G292_a_command_option_overrides_only_what_it_names() -> None:
    call = SynthesisOption(speaker="anna", speed=1.5, volume=7)
    command = SynthesisOption.model_validate({"speed": 1.0})
    merged = command.over(call)
    assert (merged.speaker, merged.speed, merged.volume) == ("anna", 1.0, 7)
    assert command.over(None) is command


def test_G56_what_an_invite_omits_is_inherited() -> None:
    configured = option(
        asr={"language": "de"}, tts={"speaker": "anna"}, codec="pcmu", realtime={"provider": "p"}
    )
    asked = option(tts={"speaker": "ben"})
    merged = asked.inherit(configured)
    assert merged.asr == configured.asr
    assert merged.realtime == configured.realtime
    assert merged.tts == asked.tts
    assert merged.codec == "pcm"


def test_G200_secrets_are_masked_at_every_depth() -> None:
    made = option(
        caller="sip:ann@example.org",
        offer="v=0\na=ice-pwd:topsecret\na=mid:0",
        asr={"secretKey": "hush", "language": "de"},
        tts={"apiKey": "hush", "extra": {"token": "hush"}},
        sip={"password": "hush", "extractHeaders": ["X-A"]},
        mediaPass={"url": "ws://u:hush@h/x", "inputSampleRate": 1, "outputSampleRate": 1},
    )
    shown = masked(made)
    assert "hush" not in str(shown)
    assert "topsecret" not in str(shown)
    assert shown["asr"]["language"] == "de"
    assert shown["caller"] == "sip:ann@example.org"
    assert "a=mid:0" in shown["offer"]
    assert masked(CallOption()) == {}
