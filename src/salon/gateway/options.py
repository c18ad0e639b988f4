"""Option objects of the call protocol (G60-G72a), one frozen model each.

Keys are camelCase (snake_case is understood too); unknown keys are ignored; null is the same as
absent (G2), but for `vad` (T48). Whether a field was given stands in `model_fields_set`, which
the merge rules (G56, G292) read. Numbers are strict: no strings, no booleans, no fractions for
integers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from salon.base.redaction import MASK, redact
from salon.gateway.passwords import hide_password, hide_passwords

UInt = Annotated[int, Field(ge=0, le=0xFFFF_FFFF)]
"""An unsigned integer of the wire (G5)."""
StringMap = dict[str, str]
"""`map` of the wire (G5)."""


def _also(name: str, *others: str) -> Any:
    """Alias settings of an optional string that has older names on the wire."""
    return Field(
        default=None, validation_alias=AliasChoices(name, *others), serialization_alias=name
    )


class StrictModel(BaseModel):
    """Common ground: camelCase on the wire, frozen, strict types, unknown keys ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        strict=True,
        extra="ignore",
        allow_inf_nan=False,
    )


class WireModel(StrictModel):
    """A model for which null is the same as absent (G2)."""

    null_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys for which null is a value of its own."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        if isinstance(data, dict) and None in data.values():
            return {k: v for k, v in data.items() if v is not None or k in cls.null_keys}
        return data


class VADOption(StrictModel):
    """Voice activity (G62). Unknown `type` names mean the built-in detector. Times in ms."""

    type: str = "silero"
    samplerate: UInt = 16_000
    speech_padding: UInt = 250
    silence_padding: UInt = 100
    ratio: float = 0.5
    voice_threshold: float = 0.5
    max_buffer_duration_secs: UInt = 50
    silence_timeout: UInt | None = None
    endpoint: str | None = None
    secret_key: str | None = None
    secret_id: str | None = None


class AGCOption(WireModel):
    """Automatic gain (G63); `{}` switches it on with these values."""

    headroom_db: float = 5.0
    max_gain_db: float = 50.0
    initial_gain_db: float = 15.0
    max_gain_change_db_per_second: float = 6.0
    max_output_noise_level_dbfs: float = -50.0
    adjacent_speech_frames_threshold: UInt = 12
    enable_limiter: bool = True


class TranscriptionOption(WireModel):
    """Recognition (G64)."""

    provider: str | None = None
    language: str | None = None
    app_id: str | None = None
    secret_id: str | None = None
    secret_key: str | None = _also("secretKey", "apiKey")
    model_type: str | None = _also("modelType", "model")
    buffer_size: UInt | None = None
    samplerate: UInt | None = None
    endpoint: str | None = None
    extra: StringMap | None = None
    start_when_answer: bool = False


class SynthesisOption(WireModel):
    """Synthesis (G65). `speed` 1.0 and `volume` 5 are normal for every provider (G291)."""

    samplerate: UInt = 16_000
    provider: str | None = None
    speed: float = 1.0
    app_id: str | None = None
    secret_id: str | None = None
    secret_key: str | None = _also("secretKey", "apiKey")
    volume: int = 5
    speaker: str | None = None
    codec: str = "pcm"
    subtitle: bool = False
    model: str | None = _also("model", "voice")
    language: str | None = None
    emotion: str | None = None
    endpoint: str | None = None
    extra: StringMap | None = None
    max_concurrent_tasks: UInt | None = None
    session_id: str | None = None

    def over(self, base: SynthesisOption | None) -> SynthesisOption:
        """This option with every field that was left out taken from `base` (G292)."""
        if base is None:
            return self
        return base.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})


class RecorderOption(WireModel):
    """Recording (G66). `samplerate` 8000 or 16000 (G270), `ptime` ms between flushes."""

    recorder_file: str = ""
    samplerate: UInt = 16_000
    ptime: UInt = 200
    format: str | None = None


class MediaPassOption(WireModel):
    """Raw audio to and from a WebSocket of the client's (G67)."""

    url: str
    input_sample_rate: UInt
    output_sample_rate: UInt
    packet_size: UInt = 3200
    ptime: UInt | None = None


class AmbianceOption(WireModel):
    """Looped background (G68). Fields not given come from the server's setting."""

    path: str | None = None
    duck_level: float = 0.1
    normal_level: float = 0.3
    transition_speed: float = 0.01
    enabled: bool = True


class EouOption(WireModel):
    """End-of-utterance engine (G69). `timeout` in ms."""

    type: str | None = None
    endpoint: str | None = None
    secret_key: str | None = _also("secretKey", "apiKey")
    secret_id: str | None = None
    timeout: UInt | None = None
    extra: StringMap | None = None


class SipOption(WireModel):
    """SIP details (G70): snake_case on the wire, camelCase understood (G258)."""

    model_config = ConfigDict(alias_generator=None)

    username: str | None = None
    password: str | None = None
    realm: str | None = None
    contact: str | None = None
    headers: StringMap | None = None
    hangup_headers: StringMap | None = _also("hangup_headers", "hangupHeaders")
    extract_headers: list[str] | None = _also("extract_headers", "extractHeaders")
    enable_srtp: bool | None = _also("enable_srtp", "enableSrtp")


class RealtimeOption(WireModel):
    """Speech-to-speech model (G72)."""

    provider: str | None = None
    model: str | None = None
    secret_key: str | None = _also("secretKey", "apiKey")
    secret_id: str | None = None
    endpoint: str | None = None
    turn_detection: Any = None
    tools: list[Any] | None = None
    extra: StringMap | None = None


class RingbackDetectionOption(WireModel):
    """Early-media classifier (G72a)."""

    enabled: bool = False
    model_weights_path: str = "./telcoclassifier_weights.bin"
    min_buffer_secs: float = 6.0
    detection_interval_secs: float = 2.0
    confidence_threshold: float = 0.5
    on_state_change_only: bool = True
    sliding_window_size: UInt = 6
    final_confidence_threshold: float = 0.9


class ReferOption(WireModel):
    """A transfer leg (G71). `timeout` in seconds."""

    denoise: bool = False
    agc: AGCOption | None = None
    timeout: UInt = 30
    moh: str | None = None
    vad: VADOption | None = None
    asr: TranscriptionOption | None = None
    auto_hangup: bool = True
    sip: SipOption | None = None
    call_id: str | None = None
    pause_parent_asr: bool = False
    forward_dtmf: bool = True


class CallOption(WireModel):
    """What `invite` and `accept` ask for (G60). Timeouts in seconds."""

    inherited: ClassVar[frozenset[str]] = frozenset(
        {"asr", "tts", "vad", "denoise", "agc", "recorder", "eou", "extra", "ambiance"}
        | {"ringback_detection", "realtime", "sip"}
    )

    denoise: bool = False
    agc: AGCOption | None = None
    offer: str = ""
    caller: str | None = None
    callee: str | None = None
    recorder: RecorderOption | None = None
    vad: VADOption | None = None
    asr: TranscriptionOption | None = None
    tts: SynthesisOption | None = None
    media_pass: MediaPassOption | None = None
    handshake_timeout: UInt | None = None
    enable_ipv6: bool = False
    inactivity_timeout: UInt | None = None
    sip: SipOption | None = None
    extra: StringMap | None = None
    codec: str = "pcm"
    ambiance: AmbianceOption | None = None
    eou: EouOption | None = None
    realtime: RealtimeOption | None = None
    subscribe: bool = False
    enable_ice_lite: bool | None = None
    ringback_detection: RingbackDetectionOption | None = None

    def inherit(self, configured: CallOption) -> Self:
        """This option with what it omits taken from what a playbook configured (G56)."""
        missing = (self.inherited & configured.model_fields_set) - self.model_fields_set
        return self.model_copy(update={name: getattr(configured, name) for name in missing})


_ADDRESSES = frozenset({"caller", "callee"})
"""Keys of addresses, which are those of SIP although they do not say so (G60)."""
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")
_ICE_SECRET = re.compile(r"(?m)^(a=(?:ice-pwd|crypto):).*$")


def masked(option: StrictModel) -> dict[str, Any]:
    """What was given, as JSON-like data with every secret masked (G200): for lists and logs."""
    given = option.model_dump(by_alias=True, exclude_unset=True, exclude_none=True)
    shown: dict[str, Any] = masked_data(given)
    return shown


def masked_data(value: Any) -> Any:
    """JSON-like data with every secret masked, also those in texts: credentials in URLs, what
    SDP agrees on."""
    return _mask_text(redact(value))


def _mask_text(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _mask_text(_address(key, item)) for key, item in value.items()}
    if isinstance(value, list):
        return [_mask_text(item) for item in value]
    if isinstance(value, str):
        if "@" in value:
            value = hide_passwords(_USER_INFO.sub(f"{MASK}@", value), f":{MASK}")
        return _ICE_SECRET.sub(rf"\g<1>{MASK}", value)
    return value


def _address(key: Any, item: Any) -> Any:
    """What stands under `key`, without the password if it is an address without a scheme."""
    if key in _ADDRESSES and isinstance(item, str):
        return hide_password(item, f":{MASK}")
    return item
