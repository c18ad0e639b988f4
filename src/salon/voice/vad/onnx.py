"""Reads constant tensors out of an ONNX file.

Knows the protocol-buffer wire format and the handful of ONNX fields that lead from the model to
the constants of its graph; runs nothing. Only for files whose hash was checked: a damaged one
raises whatever the bytes lead to.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Tensors = dict[str, NDArray[np.float32]]

# Field numbers of onnx.proto
_MODEL_GRAPH = 7
_GRAPH_NODE = 1
_NODE_OPERATOR, _NODE_ATTRIBUTE = 4, 5
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH = 5, 6
_TENSOR_DIMENSION, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
_TYPE_FLOAT = 1

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_branches(model: bytes) -> list[Tensors]:
    """The named float32 constants of each branch of the `If` nodes of the main graph, in order."""
    branches = []
    graph = _message(memoryview(model), _MODEL_GRAPH)
    for node in _messages(graph, _GRAPH_NODE):
        if bytes(_message(node, _NODE_OPERATOR)) == b"If":
            for attribute in _messages(node, _NODE_ATTRIBUTE):
                branches.append(_constants(_message(attribute, _ATTRIBUTE_GRAPH)))
    return branches


def _constants(graph: memoryview) -> Tensors:
    found: Tensors = {}
    for node in _messages(graph, _GRAPH_NODE):
        if bytes(_message(node, _NODE_OPERATOR)) != b"Constant":
            continue
        for attribute in _messages(node, _NODE_ATTRIBUTE):
            tensor = _message(attribute, _ATTRIBUTE_TENSOR)
            name = bytes(_message(tensor, _TENSOR_NAME)).decode()
            numbers = list(_fields(tensor))
            if name and (_TENSOR_TYPE, _TYPE_FLOAT) in numbers:
                shape = [
                    size
                    for field, size in numbers
                    if field == _TENSOR_DIMENSION and isinstance(size, int)
                ]
                raw = np.frombuffer(_message(tensor, _TENSOR_RAW), dtype="<f4")
                found[name] = raw.reshape(shape).astype(np.float32)
    return found


def _message(buffer: memoryview, number: int) -> memoryview:
    """The first field of this number, empty if there is none."""
    return next(_messages(buffer, number), memoryview(b""))


def _messages(buffer: memoryview, number: int) -> Iterator[memoryview]:
    for field, value in _fields(buffer):
        if field == number and not isinstance(value, int):
            yield value


def _fields(buffer: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    at = 0
    while at < len(buffer):
        key, at = _varint(buffer, at)
        field, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(buffer, at)
            yield field, value
            continue
        if kind == _BYTES:
            size, at = _varint(buffer, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"field {field} has the unknown wire type {kind}")
        yield field, buffer[at : at + size]
        at += size


def _varint(buffer: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
