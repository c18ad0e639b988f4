"""Keyframes to animation messages: FLAME as public clients know it, and the open form (A122)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from salon.clients.avatarkit.proto.generated import animation_pb2 as pb
from salon.clients.avatarkit.proto.generated import message_pb2
from salon.testing.avatar.animator import ARKIT_52, FPS, FRAME_MS, Keyframe

SCHEMA: Final = "arkit-52"
_VOICED: Final = 0.1
_ZEROS_3: Final = (0.0, 0.0, 0.0)
_EYES: Final = (0.0,) * 6
_EXPRESSION: Final = (0.0,) * 100
"""Left at rest: what they mean is licensed (A121)."""
_LID_RAD: Final = -0.3


def encode(
    connection_id: str,
    req_id: str,
    avatar_id: str,
    keyframes: Sequence[Keyframe],
    *,
    end: bool,
    extension: bool = True,
) -> bytes:
    """One `Message` with keyframes (A50); about 500 bytes each, 750 with the `extension`."""
    message = pb.AnimationMessage(type=message_pb2.MESSAGE_SERVER_RESPONSE_ANIMATION)
    said = message.server_response_animation
    said.connection_id, said.req_id, said.end, said.avatar_id = (
        connection_id,
        req_id,
        end,
        avatar_id,
    )
    said.animation.keyframes.extend(_flame(one) for one in keyframes)
    if extension and keyframes:
        _extend(said.blendshapes, keyframes)
    data: bytes = message.SerializeToString()
    return data


def decode(data: bytes) -> pb.AnimationResponse:
    """The animation in a `Message`. `google.protobuf.message.DecodeError` if it is none."""
    message = pb.AnimationMessage()
    message.ParseFromString(data)
    return message.server_response_animation


def _flame(one: Keyframe) -> pb.Flame:
    lid = one.lid * _LID_RAD
    return pb.Flame(
        translation=_ZEROS_3,
        rotation=_ZEROS_3,
        neck_pose=one.neck,
        jaw_pose=(one.jaw, 0.0, 0.0),
        eye_pose=_EYES,
        eye_lid=(lid, lid),
        expression=_EXPRESSION,
    )


def _extend(said: pb.Blendshapes, keyframes: Sequence[Keyframe]) -> None:
    first = keyframes[0].index
    said.schema, said.fps, said.first_index = SCHEMA, float(FPS), first
    if first == 0:
        said.names.extend(ARKIT_52)
    for one in keyframes:
        said.frames.add(weights=one.weights, head=one.neck)
        if one.opening >= _VOICED:
            said.visemes.add(
                t_ms=one.index * FRAME_MS, id="aa", weight=one.opening, duration_ms=FRAME_MS
            )
