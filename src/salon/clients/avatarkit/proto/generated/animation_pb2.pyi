# Generated from ../animation.proto by scripts/proto.sh; do not edit.
# mypy: ignore-errors
# ruff: noqa: E501, I001, UP007, UP035, UP045
# fmt: off
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AnimationMessage(_message.Message):
    __slots__ = ["server_response_animation", "type"]
    SERVER_RESPONSE_ANIMATION_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    server_response_animation: AnimationResponse
    type: int
    def __init__(self, type: _Optional[int] = ..., server_response_animation: _Optional[_Union[AnimationResponse, _Mapping]] = ...) -> None: ...

class AnimationResponse(_message.Message):
    __slots__ = ["animation", "avatar_id", "blendshapes", "connection_id", "end", "req_id"]
    ANIMATION_FIELD_NUMBER: _ClassVar[int]
    AVATAR_ID_FIELD_NUMBER: _ClassVar[int]
    BLENDSHAPES_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    REQ_ID_FIELD_NUMBER: _ClassVar[int]
    animation: FlameAnimation
    avatar_id: str
    blendshapes: Blendshapes
    connection_id: str
    end: bool
    req_id: str
    def __init__(self, connection_id: _Optional[str] = ..., req_id: _Optional[str] = ..., end: bool = ..., animation: _Optional[_Union[FlameAnimation, _Mapping]] = ..., avatar_id: _Optional[str] = ..., blendshapes: _Optional[_Union[Blendshapes, _Mapping]] = ...) -> None: ...

class BlendshapeFrame(_message.Message):
    __slots__ = ["head", "weights"]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    head: _containers.RepeatedScalarFieldContainer[float]
    weights: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, weights: _Optional[_Iterable[float]] = ..., head: _Optional[_Iterable[float]] = ...) -> None: ...

class Blendshapes(_message.Message):
    __slots__ = ["first_index", "fps", "frames", "names", "schema", "visemes"]
    FIRST_INDEX_FIELD_NUMBER: _ClassVar[int]
    FPS_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    VISEMES_FIELD_NUMBER: _ClassVar[int]
    first_index: int
    fps: float
    frames: _containers.RepeatedCompositeFieldContainer[BlendshapeFrame]
    names: _containers.RepeatedScalarFieldContainer[str]
    schema: str
    visemes: _containers.RepeatedCompositeFieldContainer[Viseme]
    def __init__(self, schema: _Optional[str] = ..., fps: _Optional[float] = ..., first_index: _Optional[int] = ..., names: _Optional[_Iterable[str]] = ..., frames: _Optional[_Iterable[_Union[BlendshapeFrame, _Mapping]]] = ..., visemes: _Optional[_Iterable[_Union[Viseme, _Mapping]]] = ...) -> None: ...

class Flame(_message.Message):
    __slots__ = ["expression", "eye_lid", "eye_pose", "jaw_pose", "neck_pose", "rotation", "translation"]
    EXPRESSION_FIELD_NUMBER: _ClassVar[int]
    EYE_LID_FIELD_NUMBER: _ClassVar[int]
    EYE_POSE_FIELD_NUMBER: _ClassVar[int]
    JAW_POSE_FIELD_NUMBER: _ClassVar[int]
    NECK_POSE_FIELD_NUMBER: _ClassVar[int]
    ROTATION_FIELD_NUMBER: _ClassVar[int]
    TRANSLATION_FIELD_NUMBER: _ClassVar[int]
    expression: _containers.RepeatedScalarFieldContainer[float]
    eye_lid: _containers.RepeatedScalarFieldContainer[float]
    eye_pose: _containers.RepeatedScalarFieldContainer[float]
    jaw_pose: _containers.RepeatedScalarFieldContainer[float]
    neck_pose: _containers.RepeatedScalarFieldContainer[float]
    rotation: _containers.RepeatedScalarFieldContainer[float]
    translation: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, translation: _Optional[_Iterable[float]] = ..., rotation: _Optional[_Iterable[float]] = ..., neck_pose: _Optional[_Iterable[float]] = ..., jaw_pose: _Optional[_Iterable[float]] = ..., eye_pose: _Optional[_Iterable[float]] = ..., eye_lid: _Optional[_Iterable[float]] = ..., expression: _Optional[_Iterable[float]] = ...) -> None: ...

class FlameAnimation(_message.Message):
    __slots__ = ["keyframes"]
    KEYFRAMES_FIELD_NUMBER: _ClassVar[int]
    keyframes: _containers.RepeatedCompositeFieldContainer[Flame]
    def __init__(self, keyframes: _Optional[_Iterable[_Union[Flame, _Mapping]]] = ...) -> None: ...

class Viseme(_message.Message):
    __slots__ = ["duration_ms", "id", "t_ms", "weight"]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    T_MS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    duration_ms: int
    id: str
    t_ms: int
    weight: float
    def __init__(self, t_ms: _Optional[int] = ..., id: _Optional[str] = ..., weight: _Optional[float] = ..., duration_ms: _Optional[int] = ...) -> None: ...
