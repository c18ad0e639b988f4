"""Files of sherpa-onnx models, looked at before they are loaded.

The library ends the whole process when it cannot use a model, so that whatever can be known of a
file is checked here: whether it is there, is an ONNX model as long as it should be, and says what
the library will ask it for.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

from salon.base.errors import ConfigurationError, MissingExtraError

_METADATA: Final = 14
"""Of ONNX's ModelProto; 8 are the operator sets, 7 the graph, 1 the version."""
_GRAPH: Final = 7
_LONGEST: Final = 64 * 1024 * 1024
"""Bytes of one entry of metadata."""
_PROVIDERS: Final = ("cpu", "cuda", "coreml", "xnnpack", "directml", "trt")


def sherpa_library(what: str) -> Any:
    """The library. `MissingExtraError` if it is not installed."""
    try:
        return importlib.import_module("sherpa_onnx")
    except ImportError as error:
        raise MissingExtraError("sherpa", what) from error


def model_file(path: str, setting: str) -> str:
    """The path of a file that is there. `ConfigurationError` otherwise, naming `setting`."""
    if not path:
        raise ConfigurationError(f"{setting} is not set; the path of a file is needed")
    where = Path(path)
    if where.is_dir():
        raise ConfigurationError(f"{setting} is {path!r}, a directory; a file in it is needed")
    if not where.is_file():
        raise ConfigurationError(f"{setting} is {path!r}, and there is no such file")
    return path


def model_directory(path: str, setting: str) -> str:
    """The same for a directory."""
    if not Path(path).is_dir():
        raise ConfigurationError(f"{setting} is {path!r}, and there is no such directory")
    return path


def tokens_file(path: str, setting: str) -> str:
    """A list of tokens: a symbol and its number a line."""
    model_file(path, setting)
    try:
        with Path(path).open(encoding="utf-8") as file:
            first = file.readline(1_000).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{setting} is {path!r}, which is no text: {error}") from error
    if not first.rpartition(" ")[2].isdecimal() and not first.rpartition("\t")[2].isdecimal():
        raise ConfigurationError(f"{setting} is {path!r}, which is no list of tokens")
    return path


def onnx_file(path: str, setting: str, needs: Sequence[str] = ()) -> dict[str, str]:
    """What the model says of itself. `ConfigurationError` if it is none, or does not say all of
    `needs`: then it was made for something else. An ``.ort`` file says nothing."""
    model_file(path, setting)
    if path.endswith(".ort"):
        return {}
    try:
        with Path(path).open("rb") as file:
            found = _metadata(file, Path(path).stat().st_size)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{setting} is {path!r}, which is no ONNX model: {error}") from (
            error
        )
    missing = [name for name in needs if name not in found]
    if missing:
        raise ConfigurationError(
            f"{setting} is {path!r}, a model of another kind: it does not tell {', '.join(missing)}"
        )
    return found


def check_compute(num_threads: int, provider: str) -> None:
    """`ConfigurationError` for what onnxruntime cannot be asked."""
    if num_threads < 1:
        raise ConfigurationError(f"num_threads is {num_threads}, at least 1 is needed")
    if provider not in _PROVIDERS:
        known = ", ".join(_PROVIDERS)
        raise ConfigurationError(f"provider is {provider!r}, not one of {known}")


def _metadata(file: IO[bytes], size: int) -> dict[str, str]:
    """Walks over the top level of the message; the graph is stepped over, not read."""
    found: dict[str, str] = {}
    seen_graph = False
    while file.tell() < size:
        number, kind = divmod(_varint(file), 8)
        if kind == 0:
            _varint(file)
        elif kind in (1, 5):
            file.seek(8 if kind == 1 else 4, 1)
        elif kind == 2:
            length = _varint(file)
            if file.tell() + length > size:
                raise ValueError("it is not whole")
            if number == _METADATA and length <= _LONGEST:
                found.update([_entry(file.read(length))])
            else:
                file.seek(length, 1)
            seen_graph = seen_graph or number == _GRAPH
        else:
            raise ValueError("it has another form")
    if not seen_graph:
        raise ValueError("it holds no graph")
    return found


def _entry(data: bytes) -> tuple[str, str]:
    from io import BytesIO

    file, parts = BytesIO(data), {1: "", 2: ""}
    while file.tell() < len(data):
        number, kind = divmod(_varint(file), 8)
        if kind != 2:
            raise ValueError("its metadata has another form")
        parts[number] = file.read(_varint(file)).decode("utf-8", "replace")
    return parts[1], parts[2]


def _varint(file: IO[bytes]) -> int:
    value = shift = 0
    while True:
        byte = file.read(1)
        if not byte or shift > 63:
            raise ValueError("it is not whole")
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
        shift += 7
