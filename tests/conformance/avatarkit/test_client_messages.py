"""The bytes of messages: A29 to A32."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message as AnyMessage
from tests.conformance.avatarkit.scripted_server import (
    Socket,
    Told,
    parsed,
    scripted_server,
    soon,
    started,
    until_closed,
)

from salon.clients.avatarkit import (
    AgoraEgressConfig,
    AudioFormat,
    LiveKitEgressConfig,
    SessionConfig,
)
from salon.clients.avatarkit.proto.generated import animation_pb2
from salon.clients.avatarkit.proto.generated import message_pb2 as pb
from salon.clients.avatarkit.wire import audio_message, configure_message, interrupt_message

REQUEST = "20250101000000_abcdefghijkl"
ID = REQUEST.encode().hex()

GOLDEN: dict[str, tuple[pb.Message, str]] = {
    "configure": (
        pb.Message(type=1, client_configure_session=pb.ClientConfigureSession(sample_rate=16_000)),
        "0801 1203 08807d",
    ),
    "configure Opus": (
        pb.Message(
            type=1,
            client_configure_session=pb.ClientConfigureSession(
                sample_rate=24_000, bitrate=32_000, audio_format=pb.AUDIO_FORMAT_OGG_OPUS
            ),
        ),
        "0801 120a 08c0bb01 1080fa01 1801",
    ),
    "configure LiveKit": (
        pb.Message(
            type=1,
            client_configure_session=pb.ClientConfigureSession(
                sample_rate=16_000,
                egress_type=pb.EGRESS_TYPE_LIVEKIT,
                livekit_egress=pb.LiveKitEgressConfig(
                    url="ws://lk",
                    api_token="t",
                    room_name="r",
                    publisher_id="p",
                    extra_attributes={"k": "v"},
                    idle_timeout=60,
                ),
            ),
        ),
        "0801 1223 08807d 2801 321c 0a0777733a2f2f6c6b 220172 2a0170 32060a016b120176 383c 420174",
    ),
    "configure Agora": (
        pb.Message(
            type=1,
            client_configure_session=pb.ClientConfigureSession(
                sample_rate=16_000,
                egress_type=pb.EGRESS_TYPE_AGORA,
                agora_egress=pb.AgoraEgressConfig(
                    channel_name="c", token="t", uid=7, publisher_id="p"
                ),
            ),
        ),
        "0801 1212 08807d 2802 3a0b 0a0163 120174 1807 220170",
    ),
    "confirm": (
        pb.Message(type=2, server_confirm_session=pb.ServerConfirmSession(connection_id="conn-1")),
        "0802 1a08 0a06636f6e6e2d31",
    ),
    "audio": (
        pb.Message(
            type=3,
            client_audio_input=pb.ClientAudioInput(req_id=REQUEST, audio=bytes.fromhex("01000200")),
        ),
        f"0803 2223 0a1b{ID} 1a0401000200",
    ),
    "audio, empty end": (
        pb.Message(type=3, client_audio_input=pb.ClientAudioInput(req_id=REQUEST, end=True)),
        f"0803 221f 0a1b{ID} 1001",
    ),
    "error": (
        pb.Message(
            type=4,
            server_error=pb.ServerError(
                connection_id="conn-1",
                req_id=REQUEST,
                code=4001,
                message="credits exhausted",
            ),
        ),
        f"0804 2a3b 0a06636f6e6e2d31 121b{ID} 18a11f 22116372656469747320657868617573746564",
    ),
    "animation end": (
        pb.Message(
            type=5,
            server_response_animation=pb.ServerResponseAnimation(
                connection_id="conn-1", req_id=REQUEST, end=True
            ),
        ),
        f"0805 3227 0a06636f6e6e2d31 121b{ID} 1801",
    ),
    "interrupt": (
        pb.Message(type=7, client_interrupt=pb.ClientInterrupt(req_id=REQUEST)),
        f"0807 421d 0a1b{ID}",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_A32_T1_golden_bytes_are_produced_and_accepted(name: str) -> None:
    message, hexadecimal = GOLDEN[name]
    golden = bytes.fromhex(hexadecimal)
    assert message.SerializeToString() == golden
    assert parsed(golden) == message


def test_A32_what_the_client_writes_is_golden() -> None:
    written = {
        "configure": configure_message(SessionConfig()),
        "configure Opus": configure_message(
            SessionConfig(sample_rate=24_000, bitrate=32_000, audio_format=AudioFormat.OGG_OPUS)
        ),
        "configure LiveKit": configure_message(
            SessionConfig(
                livekit_egress=LiveKitEgressConfig(
                    url="ws://lk",
                    api_token="t",
                    room_name="r",
                    publisher_id="p",
                    extra_attributes={"k": "v"},
                    idle_timeout=60,
                )
            )
        ),
        "configure Agora": configure_message(
            SessionConfig(
                agora_egress=AgoraEgressConfig(channel_name="c", token="t", uid=7, publisher_id="p")
            )
        ),
        "audio": audio_message(REQUEST, bytes.fromhex("01000200"), False),
        "audio, empty end": audio_message(REQUEST, b"", True),
        "interrupt": interrupt_message(REQUEST),
    }
    for name, data in written.items():
        assert data == bytes.fromhex(GOLDEN[name][1]), name


NUMBERS = {
    "Message": "type 1, client_configure_session 2, server_confirm_session 3, "
    "client_audio_input 4, server_error 5, server_response_animation 6, client_interrupt 8, "
    "client_pause 9, client_resume 10, server_playback_state 11",
    "ClientConfigureSession": "sample_rate 1, bitrate 2, audio_format 3, transport_compression 4, "
    "egress_type 5, livekit_egress 6, agora_egress 7, extra_params 8",
    "LiveKitEgressConfig": "url 1, api_key 2, api_secret 3, room_name 4, publisher_id 5, "
    "extra_attributes 6, idle_timeout 7, api_token 8",
    "AgoraEgressConfig": "channel_name 1, token 2, uid 3, publisher_id 4",
    "ServerConfirmSession": "connection_id 1, capabilities 2",
    "ClientAudioInput": "req_id 1, end 2, audio 3, trace_context 4",
    "ServerError": "connection_id 1, req_id 2, code 3, message 4",
    "ServerResponseAnimation": "connection_id 1, req_id 2, end 3",
    "ClientInterrupt": "req_id 1",
    "ClientPause": "req_id 1",
    "ClientResume": "req_id 1",
    "ServerPlaybackState": "connection_id 1, req_id 2, state 3, played_ms 4, reason 5",
}


@pytest.mark.parametrize("name", NUMBERS)
def test_A31_names_and_numbers_of_fields(name: str) -> None:
    kind: type[AnyMessage] = getattr(pb, name)
    fields = {field.name: field.number for field in kind.DESCRIPTOR.fields}
    assert fields == {
        field: int(number) for field, number in (part.split() for part in NUMBERS[name].split(", "))
    }


def test_A31_enumerations() -> None:
    assert dict(pb.MessageType.items()) == {
        "MESSAGE_UNSPECIFIED": 0,
        "MESSAGE_CLIENT_CONFIGURE_SESSION": 1,
        "MESSAGE_SERVER_CONFIRM_SESSION": 2,
        "MESSAGE_CLIENT_AUDIO_INPUT": 3,
        "MESSAGE_SERVER_ERROR": 4,
        "MESSAGE_SERVER_RESPONSE_ANIMATION": 5,
        "MESSAGE_CLIENT_INTERRUPT": 7,
        "MESSAGE_CLIENT_PAUSE": 8,
        "MESSAGE_CLIENT_RESUME": 9,
        "MESSAGE_SERVER_PLAYBACK_STATE": 10,
    }
    assert (pb.AUDIO_FORMAT_PCM_S16LE, pb.AUDIO_FORMAT_OGG_OPUS) == (0, 1)
    assert pb.TRANSPORT_COMPRESSION_NONE == 0
    assert (pb.EGRESS_TYPE_UNSPECIFIED, pb.EGRESS_TYPE_LIVEKIT, pb.EGRESS_TYPE_AGORA) == (0, 1, 2)


def test_A30_unknown_fields_and_types_are_skipped() -> None:
    known = bytes.fromhex(GOLDEN["animation end"][1])
    # field 500, length-delimited, and an enumeration value that nobody has
    more = known + bytes.fromhex("a21f03616263") + bytes.fromhex("08e707")
    message = parsed(more)
    assert message.type == 999
    assert message.server_response_animation.end


async def test_A29_A51_T1_frames_are_the_bytes_that_came_with_what_the_schema_lacks() -> None:
    rich = animation_pb2.AnimationMessage(
        type=pb.MESSAGE_SERVER_RESPONSE_ANIMATION,
        server_response_animation=animation_pb2.AnimationResponse(
            connection_id="conn-1",
            req_id=REQUEST,
            animation=animation_pb2.FlameAnimation(
                keyframes=[animation_pb2.Flame(jaw_pose=[0.05, 0, 0], expression=[0.0] * 100)]
            ),
            avatar_id="avatar-1",
            blendshapes=animation_pb2.Blendshapes(schema="arkit-52", fps=25, first_index=3),
        ),
    ).SerializeToString()
    # a field order and a padded number that no serializer would write
    odd = bytes.fromhex("32081203723131188100") + bytes.fromhex("0885" + "00")
    told = Told()

    async def script(socket: Socket) -> None:
        await socket.send_bytes(rich)
        await socket.send_bytes(odd)
        await until_closed(socket)

    async with scripted_server() as server:
        server.script = script
        async with started(server, **told.settings()):
            await soon(lambda: len(told.frames) == 2)
    assert told.frames == [(rich, False), (odd, True)]
    assert all(type(data) is bytes for data, _ in told.frames)
    assert parsed(rich).SerializeToString() != b""
    again = animation_pb2.AnimationMessage()
    again.ParseFromString(told.frames[0][0])
    assert again.server_response_animation.blendshapes.first_index == 3
