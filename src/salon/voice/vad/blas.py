"""Keeps numpy's matrix products in the calling thread.

The products of this package are too small to gain from more threads: OpenBLAS would wake its pool
for each of them and spend several times the CPU.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self

_EXTENSIONS = ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath")
_NAMES = (
    "scipy_openblas_{}_num_threads64_",
    "openblas_{}_num_threads64_",
    "scipy_openblas_{}_num_threads",
    "openblas_{}_num_threads",
)


class SingleThread:
    """A context in which OpenBLAS uses one thread; the number found at construction returns after.

    The setting belongs to the process: other threads' products run single-threaded meanwhile.
    Without OpenBLAS it does nothing.
    """

    __slots__ = ("_normal", "_set")

    def __init__(self) -> None:
        self._set: Callable[[int], object] | None = None
        self._normal = 1
        functions = _find()
        if functions is not None:
            get, self._set = functions
            self._normal = get()

    @property
    def effective(self) -> bool:
        """Whether the thread count can be set."""
        return self._set is not None

    def __enter__(self) -> Self:
        if self._set is not None:
            self._set(1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._set is not None:
            self._set(self._normal)


def _find() -> tuple[Callable[[], int], Callable[[int], object]] | None:
    """OpenBLAS's functions, looked up through numpy's extension module that is linked to it."""
    for module in _EXTENSIONS:
        path = getattr(sys.modules.get(module), "__file__", None)
        if path is None:
            continue
        library = ctypes.PyDLL(path)  # keeps the interpreter lock: the calls take nanoseconds
        for name in _NAMES:
            get = getattr(library, name.format("get"), None)
            put = getattr(library, name.format("set"), None)
            if get is not None and put is not None:
                put.argtypes, put.restype = (ctypes.c_int,), None
                return get, put
    return None
