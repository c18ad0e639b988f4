"""Messages of the session protocol as the server sees them (chapter 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, cast

from google.protobuf.message import DecodeError

from salon.base.errors import RemoteProtocolError
from salon.clients.avatarkit.proto.generated import message_pb2 as pb

PCM: Final = 0
OGG_OPUS: Final = 1
EGRESS_NONE: Final = 0
EGRESS_LIVEKIT: Final = 1
EGRESS_AGORA: Final = 2


class WireError(RemoteProtocolError):
    """A message cannot be decoded."""

    code = "avatar_wire"


@dataclass(frozen=True, slots=True)
class LiveKitEgress:
    """Room to publish into (A102, A104). Secrets stay out of `repr`: whether they are there is all
    that is kept of `api_key` and `api_secret`."""

    url: str
    room_name: str
    publisher_id: str
    api_token: str
    has_key: bool
    has_secret: bool
    extra_attributes: Mapping[str, str]
    idle_timeout: int

    def __repr__(self) -> str:
        return f"LiveKitEgress(room_name={self.room_name!r}, publisher_id={self.publisher_id!r})"


@dataclass(frozen=True, slots=True)
class AgoraEgress:
    """Channel to publish into (A108)."""

    channel_name: str
    uid: int
    publisher_id: str


@dataclass(frozen=True, slots=True)
class Configure:
    """First message of a client (A33). Enumerations are numbers: unknown ones pass (A30)."""

    sample_rate: int
    bitrate: int
    audio_format: int
    transport_compression: int
    egress_type: int
    livekit: LiveKitEgress | None
    agora: AgoraEgress | None
    extra_params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Audio:
    """A piece of a request's sound."""

    req_id: str
    end: bool
    audio: bytes
    traceparent: str = ""
    tracestate: str = ""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Drop what is left of a request (A59)."""

    req_id: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Hold the playout of a request (A61)."""

    req_id: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on with the playout of a request (A61)."""

    req_id: str


@dataclass(frozen=True, slots=True)
class Hollow:
    """A message of a known type without that type's content."""

    type: int


@dataclass(frozen=True, slots=True)
class Other:
    """A message of a type that clients do not send, or that is not known."""

    type: int


ClientMessage = Configure | Audio | Interrupt | Pause | Resume | Hollow | Other

_CONTENT: Final[dict[int, str]] = {
    pb.MESSAGE_CLIENT_CONFIGURE_SESSION: "client_configure_session",
    pb.MESSAGE_CLIENT_AUDIO_INPUT: "client_audio_input",
    pb.MESSAGE_CLIENT_INTERRUPT: "client_interrupt",
    pb.MESSAGE_CLIENT_PAUSE: "client_pause",
    pb.MESSAGE_CLIENT_RESUME: "client_resume",
}


def read(data: bytes) -> ClientMessage:
    """Decode a client's message. `WireError` if it is no `Message`."""
    message = pb.Message()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise WireError(f"a message of {len(data)} bytes cannot be decoded: {error}") from error
    kind = int(message.type)
    content = _CONTENT.get(kind)
    if content is None:
        return Other(kind)
    if not message.HasField(content):
        return Hollow(kind)
    if kind == pb.MESSAGE_CLIENT_AUDIO_INPUT:
        sound = message.client_audio_input
        trace = sound.trace_context
        return Audio(sound.req_id, sound.end, sound.audio, trace.traceparent, trace.tracestate)
    if kind == pb.MESSAGE_CLIENT_INTERRUPT:
        return Interrupt(message.client_interrupt.req_id)
    if kind == pb.MESSAGE_CLIENT_PAUSE:
        return Pause(message.client_pause.req_id)
    if kind == pb.MESSAGE_CLIENT_RESUME:
        return Resume(message.client_resume.req_id)
    return _configure(message.client_configure_session)


def _configure(said: pb.ClientConfigureSession) -> Configure:
    return Configure(
        sample_rate=said.sample_rate,
        bitrate=said.bitrate,
        audio_format=int(said.audio_format),
        transport_compression=int(said.transport_compression),
        egress_type=int(said.egress_type),
        livekit=_livekit(said.livekit_egress) if said.HasField("livekit_egress") else None,
        agora=_agora(said.agora_egress) if said.HasField("agora_egress") else None,
        extra_params=dict(said.extra_params),
    )


def _livekit(said: pb.LiveKitEgressConfig) -> LiveKitEgress:
    return LiveKitEgress(
        url=said.url,
        room_name=said.room_name,
        publisher_id=said.publisher_id,
        api_token=said.api_token,
        has_key=bool(said.api_key),
        has_secret=bool(said.api_secret),
        extra_attributes=dict(said.extra_attributes),
        idle_timeout=said.idle_timeout,
    )


def _agora(said: pb.AgoraEgressConfig) -> AgoraEgress:
    return AgoraEgress(said.channel_name, said.uid, said.publisher_id)


def confirm(connection_id: str, capabilities: Iterable[str] = ()) -> bytes:
    """`ServerConfirmSession` (A35)."""
    message = pb.Message(type=pb.MESSAGE_SERVER_CONFIRM_SESSION)
    message.server_confirm_session.connection_id = connection_id
    message.server_confirm_session.capabilities.extend(capabilities)
    message.server_confirm_session.SetInParent()
    return _bytes(message)


def error(connection_id: str, req_id: str, code: int, text: str) -> bytes:
    """`ServerError` (A62, A63)."""
    message = pb.Message(type=pb.MESSAGE_SERVER_ERROR)
    said = message.server_error
    said.connection_id, said.req_id, said.code, said.message = connection_id, req_id, code, text
    return _bytes(message)


def signal(connection_id: str, req_id: str, *, end: bool) -> bytes:
    """`ServerResponseAnimation` without keyframes (A54, A103)."""
    message = pb.Message(type=pb.MESSAGE_SERVER_RESPONSE_ANIMATION)
    said = message.server_response_animation
    said.connection_id, said.req_id, said.end = connection_id, req_id, end
    return _bytes(message)


def playback_state(
    connection_id: str,
    req_id: str,
    state: pb.PlaybackState,
    played_ms: int,
    reason: str = "",
) -> bytes:
    """`ServerPlaybackState` (A61)."""
    message = pb.Message(type=pb.MESSAGE_SERVER_PLAYBACK_STATE)
    said = message.server_playback_state
    said.connection_id, said.req_id = connection_id, req_id
    said.state = state
    said.played_ms, said.reason = played_ms, reason
    return _bytes(message)


def bare(kind: int) -> bytes:
    """A message of some type with nothing in it, for what a server should not send."""
    return _bytes(pb.Message(type=cast("pb.MessageType", kind)))


def _bytes(message: pb.Message) -> bytes:
    data: bytes = message.SerializeToString()
    return data
