"""Where libspeexdsp comes from: the system's."""

from __future__ import annotations

import ctypes
import ctypes.util
from functools import cache
from typing import Final

from salon.base import ConfigurationError

SET_SAMPLING_RATE: Final = 24

_STATE: Final = ctypes.c_void_p
_BUFFER: Final = ctypes.c_void_p
_INT: Final = ctypes.c_int
_PROTOTYPES: Final[dict[str, tuple[type | None, tuple[type, ...]]]] = {
    "speex_echo_state_init": (_STATE, (_INT, _INT)),
    "speex_echo_state_destroy": (None, (_STATE,)),
    "speex_echo_cancellation": (None, (_STATE, _BUFFER, _BUFFER, _BUFFER)),
    "speex_echo_ctl": (_INT, (_STATE, _INT, _BUFFER)),
}


@cache
def load_speexdsp() -> ctypes.PyDLL:
    """The library, with its functions declared; `ConfigurationError` if there is none.

    Its functions are called with the interpreter's lock held: they take tens of microseconds.
    """
    names = [ctypes.util.find_library("speexdsp"), "libspeexdsp.so.1", "libspeexdsp.1.dylib"]
    for name in names:
        if name is None:
            continue
        try:
            library = ctypes.PyDLL(name)
        except OSError:
            continue
        for function, (result, arguments) in _PROTOTYPES.items():
            entry = getattr(library, function)
            entry.restype, entry.argtypes = result, arguments
        return library
    raise ConfigurationError(
        "SpeexAECProvider needs the library libspeexdsp: on Debian and Ubuntu the package "
        '"libspeexdsp1", elsewhere "speexdsp"'
    )
