"""Messages of a session as bytes, both ways (chapter 3)."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError

from salon.clients.avatarkit.proto.generated import message_pb2 as pb
from salon.clients.avatarkit.session_config import AudioFormat, SessionConfig

_FORMATS: Final = {
    AudioFormat.PCM_S16LE: pb.AUDIO_FORMAT_PCM_S16LE,
    AudioFormat.OGG_OPUS: pb.AUDIO_FORMAT_OGG_OPUS,
}


class Undecodable(ValueError):
    """Bytes that are no `Message`; the text is the decoder's reason."""


def decode(payload: bytes) -> pb.Message:
    """The message in these bytes; unknown fields pass (A30). `Undecodable` else."""
    message = pb.Message()
    try:
        message.ParseFromString(payload)
    except (DecodeError, ValueError) as error:
        raise Undecodable(str(error)) from None
    return message


def configure_message(config: SessionConfig) -> bytes:
    """First message of a session (A33)."""
    configure = pb.ClientConfigureSession(
        sample_rate=int(config.sample_rate),
        bitrate=int(config.bitrate),
        audio_format=_FORMATS[AudioFormat(config.audio_format)],
        transport_compression=pb.TRANSPORT_COMPRESSION_NONE,
    )
    if (livekit := config.livekit_egress) is not None:
        configure.egress_type = pb.EGRESS_TYPE_LIVEKIT
        configure.livekit_egress.CopyFrom(
            pb.LiveKitEgressConfig(
                url=livekit.url,
                api_key=livekit.api_key,
                api_secret=livekit.api_secret,
                api_token=livekit.api_token,
                room_name=livekit.room_name,
                publisher_id=livekit.publisher_id,
                extra_attributes=livekit.extra_attributes,
                idle_timeout=livekit.idle_timeout,
            )
        )
    if (agora := config.agora_egress) is not None:
        configure.egress_type = pb.EGRESS_TYPE_AGORA
        configure.agora_egress.CopyFrom(
            pb.AgoraEgressConfig(
                channel_name=agora.channel_name,
                token=agora.token,
                uid=agora.uid,
                publisher_id=agora.publisher_id,
            )
        )
    return _serialized(
        pb.Message(type=pb.MESSAGE_CLIENT_CONFIGURE_SESSION, client_configure_session=configure)
    )


def audio_message(req_id: str, audio: bytes, end: bool) -> bytes:
    """A piece of a request's sound (A42, A45)."""
    return _serialized(
        pb.Message(
            type=pb.MESSAGE_CLIENT_AUDIO_INPUT,
            client_audio_input=pb.ClientAudioInput(req_id=req_id, end=end, audio=audio),
        )
    )


def interrupt_message(req_id: str) -> bytes:
    """Ends a request early (A57)."""
    return _serialized(
        pb.Message(
            type=pb.MESSAGE_CLIENT_INTERRUPT, client_interrupt=pb.ClientInterrupt(req_id=req_id)
        )
    )


def _serialized(message: pb.Message) -> bytes:
    data: bytes = message.SerializeToString()
    return data
