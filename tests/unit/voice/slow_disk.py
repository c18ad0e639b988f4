"""A disk that takes its time."""

from __future__ import annotations

import threading

from salon.voice.recorder import RecordingWriter


class Blocked:
    """The writing thread is busy until it is let go."""

    def __init__(self, writer: RecordingWriter) -> None:
        self.free = threading.Event()
        busy = threading.Event()

        def block() -> None:
            busy.set()
            self.free.wait(10)

        writer.submit(block)
        assert busy.wait(10)
