# Generated from ../message.proto by scripts/proto.sh; do not edit.
# mypy: ignore-errors
# ruff: noqa: E501, I001, UP007, UP035, UP045
# fmt: off
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

AUDIO_FORMAT_OGG_OPUS: AudioFormat
AUDIO_FORMAT_PCM_S16LE: AudioFormat
DESCRIPTOR: _descriptor.FileDescriptor
EGRESS_TYPE_AGORA: EgressType
EGRESS_TYPE_LIVEKIT: EgressType
EGRESS_TYPE_UNSPECIFIED: EgressType
MESSAGE_CLIENT_AUDIO_INPUT: MessageType
MESSAGE_CLIENT_CONFIGURE_SESSION: MessageType
MESSAGE_CLIENT_INTERRUPT: MessageType
MESSAGE_CLIENT_PAUSE: MessageType
MESSAGE_CLIENT_RESUME: MessageType
MESSAGE_SERVER_CONFIRM_SESSION: MessageType
MESSAGE_SERVER_ERROR: MessageType
MESSAGE_SERVER_PLAYBACK_STATE: MessageType
MESSAGE_SERVER_RESPONSE_ANIMATION: MessageType
MESSAGE_UNSPECIFIED: MessageType
PLAYBACK_STATE_ENDED: PlaybackState
PLAYBACK_STATE_INTERRUPTED: PlaybackState
PLAYBACK_STATE_PAUSED: PlaybackState
PLAYBACK_STATE_PLAYING: PlaybackState
PLAYBACK_STATE_UNSPECIFIED: PlaybackState
TRANSPORT_COMPRESSION_NONE: TransportCompression

class AgoraEgressConfig(_message.Message):
    __slots__ = ["channel_name", "publisher_id", "token", "uid"]
    CHANNEL_NAME_FIELD_NUMBER: _ClassVar[int]
    PUBLISHER_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    channel_name: str
    publisher_id: str
    token: str
    uid: int
    def __init__(self, channel_name: _Optional[str] = ..., token: _Optional[str] = ..., uid: _Optional[int] = ..., publisher_id: _Optional[str] = ...) -> None: ...

class ClientAudioInput(_message.Message):
    __slots__ = ["audio", "end", "req_id", "trace_context"]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    REQ_ID_FIELD_NUMBER: _ClassVar[int]
    TRACE_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    audio: bytes
    end: bool
    req_id: str
    trace_context: TraceContext
    def __init__(self, req_id: _Optional[str] = ..., end: bool = ..., audio: _Optional[bytes] = ..., trace_context: _Optional[_Union[TraceContext, _Mapping]] = ...) -> None: ...

class ClientConfigureSession(_message.Message):
    __slots__ = ["agora_egress", "audio_format", "bitrate", "egress_type", "extra_params", "livekit_egress", "sample_rate", "transport_compression"]
    class ExtraParamsEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    AGORA_EGRESS_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FORMAT_FIELD_NUMBER: _ClassVar[int]
    BITRATE_FIELD_NUMBER: _ClassVar[int]
    EGRESS_TYPE_FIELD_NUMBER: _ClassVar[int]
    EXTRA_PARAMS_FIELD_NUMBER: _ClassVar[int]
    LIVEKIT_EGRESS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    TRANSPORT_COMPRESSION_FIELD_NUMBER: _ClassVar[int]
    agora_egress: AgoraEgressConfig
    audio_format: AudioFormat
    bitrate: int
    egress_type: EgressType
    extra_params: _containers.ScalarMap[str, str]
    livekit_egress: LiveKitEgressConfig
    sample_rate: int
    transport_compression: TransportCompression
    def __init__(self, sample_rate: _Optional[int] = ..., bitrate: _Optional[int] = ..., audio_format: _Optional[_Union[AudioFormat, str]] = ..., transport_compression: _Optional[_Union[TransportCompression, str]] = ..., egress_type: _Optional[_Union[EgressType, str]] = ..., livekit_egress: _Optional[_Union[LiveKitEgressConfig, _Mapping]] = ..., agora_egress: _Optional[_Union[AgoraEgressConfig, _Mapping]] = ..., extra_params: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ClientInterrupt(_message.Message):
    __slots__ = ["req_id"]
    REQ_ID_FIELD_NUMBER: _ClassVar[int]
    req_id: str
    def __init__(self, req_id: _Optional[str] = ...) -> None: ...

class ClientPause(_message.Message):
    __slots__ = ["req_id"]
    REQ_ID_FIELD_NUMBER: _ClassVar[int]
    req_id: str
    def __init__(self, req_id: _Optional[str] = ...) -> None: ...

class ClientResume(_message.Message):
    __slots__ = ["req_id"]
    REQ_ID_FIELD_NUMBER: _ClassVar[int]
    req_id: str
    def __init__(self, req_id: _Optional[str] = ...) -> None: ...

class LiveKitEgressConfig(_message.Message):
    __slots__ = ["api_key", "api_secret", "api_token", "extra_attributes", "idle_timeout", "publisher_id", "room_name", "url"]
    class ExtraAttributesEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    API_SECRET_FIELD_NUMBER: _ClassVar[int]
    API_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXTRA_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    PUBLISHER_ID_FIELD_NUMBER: _ClassVar[int]
    ROOM_NAME_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    api_key: str
    api_secret: str
    api_token: str
    extra_attributes: _containers.ScalarMap[str, str]
    idle_timeout: int
    publisher_id: str
    room_name: str
    url: str
    def __init__(self, url: _Optional[str] = ..., api_key: _Optional[str] = ..., api_secret: _Optional[str] = ..., room_name: _Optional[str] = ..., publisher_id: _Optional[str] = ..., extra_attributes: _Optional[_Mapping[str, str]] = ..., idle_timeout: _Optional[int] = ..., api_token: _Optional[str] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ["client_audio_input", "client_configure_session", "client_interrupt", "client_pause", "client_resume", "server_confirm_session", "server_error", "server_playback_state", "server_response_animation", "type"]
    CLIENT_AUDIO_INPUT_FIELD_NUMBER: _ClassVar[int]
    CLIENT_CONFIGURE_SESSION_FIELD_NUMBER: _ClassVar[int]
    CLIENT_INTERRUPT_FIELD_NUMBER: _ClassVar[int]
    CLIENT_PAUSE_FIELD_NUMBER: _ClassVar[int]
    CLIENT_RESUME_FIELD_NUMBER: _ClassVar[int]
    SERVER_CONFIRM_SESSION_FIELD_NUMBER: _ClassVar[int]
    SERVER_ERROR_FIELD_NUMBER: _ClassVar[int]
    SERVER_PLAYBACK_STATE_FIELD_NUMBER: _ClassVar[int]
    SERVER_RESPONSE_ANIMATION_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    client_audio_input: ClientAudioInput
    client_configure_session: ClientConfigureSession
    client_interrupt: ClientInterrupt
    client_pause: ClientPause
    client_resume: ClientResume
    server_confirm_session: ServerConfirmSession
    server_error: ServerError
    server_playback_state: ServerPlaybackState
    server_response_animation: ServerResponseAnimation
    type: MessageType
    def __init__(self, type: _Optional[_Union[MessageType, str]] = ..., client_configure_session: _Optional[_Union[ClientConfigureSession, _Mapping]] = ..., server_confirm_session: _Optional[_Union[ServerConfirmSession, _Mapping]] = ..., client_audio_input: _Optional[_Union[ClientAudioInput, _Mapping]] = ..., server_error: _Optional[_Union[ServerError, _Mapping]] = ..., server_response_animation: _Optional[_Union[ServerResponseAnimation, _Mapping]] = ..., client_interrupt: _Optional[_Union[ClientInterrupt, _Mapping]] = ..., client_pause: _Optional[_Union[ClientPause, _Mapping]] = ..., client_resume: _Optional[_Union[ClientResume, _Mapping]] = ..., server_playback_state: _Optional[_Union[ServerPlaybackState, _Mapping]] = ...) -> None: ...

class ServerConfirmSession(_message.Message):
    __slots__ = ["capabilities", "connection_id"]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    connection_id: str
    def __init__(self, connection_id: _Optional[str] = ..., capabilities: _Optional[_Iterable[str]] = ...) -> None: ...

class ServerError(_message.Message):
    __slots__ = ["code", "connection_id", "message", "req_id"]
    CODE_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REQ_ID_FIELD_NUMBER: _ClassVar[int]
    code: int
    connection_id: str
    message: str
    req_id: str
    def __init__(self, connection_id: _Optional[str] = ..., req_id: _Optional[str] = ..., code: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class ServerPlaybackState(_message.Message):
    __slots__ = ["connection_id", "played_ms", "reason", "req_id", "state"]
    CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    PLAYED_MS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQ_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    connection_id: str
    played_ms: int
    reason: str
    req_id: str
    state: PlaybackState
    def __init__(self, connection_id: _Optional[str] = ..., req_id: _Optional[str] = ..., state: _Optional[_Union[PlaybackState, str]] = ..., played_ms: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class ServerResponseAnimation(_message.Message):
    __slots__ = ["connection_id", "end", "req_id"]
    CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    REQ_ID_FIELD_NUMBER: _ClassVar[int]
    connection_id: str
    end: bool
    req_id: str
    def __init__(self, connection_id: _Optional[str] = ..., req_id: _Optional[str] = ..., end: bool = ...) -> None: ...

class TraceContext(_message.Message):
    __slots__ = ["traceparent", "tracestate"]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    TRACESTATE_FIELD_NUMBER: _ClassVar[int]
    traceparent: str
    tracestate: str
    def __init__(self, traceparent: _Optional[str] = ..., tracestate: _Optional[str] = ...) -> None: ...

class MessageType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class AudioFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class TransportCompression(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class EgressType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class PlaybackState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []
