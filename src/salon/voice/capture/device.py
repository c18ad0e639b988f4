"""The sound card, by way of `sounddevice` (PortAudio)."""

from __future__ import annotations

import importlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from salon.base import MissingExtraError, UnavailableError


class DeviceStream(Protocol):
    """A stream of the device, in one direction."""

    latency: float

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...


class DeviceModule(Protocol):
    """What is used of `sounddevice`; anything with these two can stand in for it."""

    def RawInputStream(self, **settings: Any) -> DeviceStream: ...  # noqa: N802
    def RawOutputStream(self, **settings: Any) -> DeviceStream: ...  # noqa: N802


def sound_device() -> DeviceModule:
    """The library. `MissingExtraError` if it, or PortAudio, is not installed."""
    try:
        with _signals_kept():
            module: DeviceModule = importlib.import_module("sounddevice")
    except ImportError as error:
        raise MissingExtraError("local", f"the sound card ({error.name})") from None
    except OSError as error:  # it is there, but PortAudio is not
        raise MissingExtraError("local", f"the sound card ({error})") from None
    return module


@contextmanager
def _signals_kept() -> Iterator[None]:
    """PortAudio may load JACK's library, which blocks SIGPIPE in the thread that loads it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def opened(make: Any, what: str, **settings: Any) -> DeviceStream:
    """A started stream. `UnavailableError` if the device refuses; blocks for up to a second."""
    stream: DeviceStream | None = None
    try:
        stream = make(**settings)
        stream.start()
    except Exception as error:  # PortAudio's errors share no base but this one
        if stream is not None:
            stream.close()
        raise UnavailableError(f"the {what} can't be opened: {error}") from error
    return stream
