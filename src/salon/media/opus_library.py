"""Where libopus comes from: the system's, else the one inside PyAV's wheel.

Loaded once, when first needed. The functions are called with the interpreter's lock held: a frame
takes some tens of microseconds, less than a thread may wait to get the lock back, and no two
threads can ever be inside the same state.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from salon.base import MissingExtraError

_SYSTEM_NAMES: Final = {
    "darwin": ("libopus.0.dylib", "libopus.dylib"),
    "win32": ("opus.dll", "libopus-0.dll", "libopus.dll"),
}
_UNIX_NAMES: Final = ("libopus.so.0", "libopus.so")

_INT: Final = ctypes.c_int
_INT32: Final = ctypes.c_int32
_STATE: Final = ctypes.c_void_p
_BUFFER: Final = ctypes.c_void_p
_PACKET: Final = ctypes.c_char_p

_PROTOTYPES: Final[dict[str, tuple[type, tuple[type, ...]]]] = {
    "opus_encoder_get_size": (_INT, (_INT,)),
    "opus_encoder_init": (_INT, (_STATE, _INT32, _INT, _INT)),
    "opus_encode": (_INT32, (_STATE, _BUFFER, _INT, _BUFFER, _INT32)),
    # Variadic: only the fixed arguments are named, as some platforms pass the others differently.
    "opus_encoder_ctl": (_INT, (_STATE, _INT)),
    "opus_decoder_get_size": (_INT, (_INT,)),
    "opus_decoder_init": (_INT, (_STATE, _INT32, _INT)),
    "opus_decode": (_INT, (_STATE, _PACKET, _INT32, _BUFFER, _INT, _INT)),
    "opus_decoder_ctl": (_INT, (_STATE, _INT)),
    "opus_packet_parse": (_INT, (_PACKET, _INT32, _BUFFER, _BUFFER, _BUFFER, _BUFFER)),
    "opus_strerror": (ctypes.c_char_p, (_INT,)),
    "opus_get_version_string": (ctypes.c_char_p, ()),
}


def opus_library() -> str:
    """Which libopus is used, for people: its version and its file.

    `MissingExtraError` if there is none.
    """
    library, place = load_opus()
    version: bytes = library.opus_get_version_string()
    return f"{version.decode('ascii', 'replace')} ({place})"


@cache
def load_opus() -> tuple[ctypes.PyDLL, str]:
    """The library, with its prototypes set, and the name it was found by.

    `MissingExtraError` if there is none; the next call looks again.
    """
    for name in _candidates():
        library = _open(name)
        if library is not None:
            return library, name
    raise MissingExtraError("webrtc", "Opus (no libopus on this system)")


def _candidates() -> Iterator[str]:
    """Names and paths to try in turn."""
    yield from _SYSTEM_NAMES.get(sys.platform, _UNIX_NAMES)
    if sys.platform in _SYSTEM_NAMES:
        # Elsewhere the search runs programs, and finds what the loader finds by name.
        found = ctypes.util.find_library("opus")
        if found:
            yield found
    yield from _bundled()


def _bundled() -> list[str]:
    """Copies that PyAV's wheel brings along, found without importing PyAV."""
    spec = find_spec("av")
    if spec is None or not spec.submodule_search_locations:
        return []
    package = Path(next(iter(spec.submodule_search_locations)))
    folders = package.with_name("av.libs"), package / ".dylibs"
    return [
        str(path)
        for folder in folders
        if folder.is_dir()
        for path in sorted(folder.iterdir())
        if path.name.startswith(("libopus", "opus")) and "opusfile" not in path.name
    ]


def _open(name: str) -> ctypes.PyDLL | None:
    """None if it can't be loaded or is no libopus."""
    try:
        library = ctypes.PyDLL(name)
        for function, (result, arguments) in _PROTOTYPES.items():
            entry = getattr(library, function)
            entry.restype, entry.argtypes = result, arguments
    except (OSError, AttributeError):
        return None
    return library
