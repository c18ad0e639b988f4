"""A sound card without sound: the streams that `sounddevice` would give."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class FakeStream:
    """Called by the test in place of PortAudio's thread."""

    latency = 0.012

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.callback = settings["callback"]
        self.running = False
        self.closed = False

    def start(self) -> None:
        if self.settings["device"] == "broken":
            raise RuntimeError("device unavailable")
        self.running = True

    def stop(self) -> None:
        self.running = False

    def close(self) -> None:
        self.closed = True

    def capture(self, data: bytes, *, overflow: bool = False) -> None:
        status = SimpleNamespace(input_overflow=True) if overflow else None
        self.callback(memoryview(data), len(data) // 2, None, status)

    def play(self, frames: int | None = None) -> bytes:
        frames = self.settings["blocksize"] if frames is None else frames
        out = bytearray(frames * 2)
        self.callback(memoryview(out), frames, None, None)
        return bytes(out)


class FakeDevices:
    """In place of the module."""

    def __init__(self) -> None:
        self.microphones: list[FakeStream] = []
        self.loudspeakers: list[FakeStream] = []

    def RawInputStream(self, **settings: Any) -> FakeStream:
        self.microphones.append(FakeStream(**settings))
        return self.microphones[-1]

    def RawOutputStream(self, **settings: Any) -> FakeStream:
        self.loudspeakers.append(FakeStream(**settings))
        return self.loudspeakers[-1]
