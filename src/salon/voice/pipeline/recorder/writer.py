"""The threads that write: one for the sound of all recordings, one for what comes after.

They are two because finishing a file (encryption, an upload) may take long, and the sound of the
other calls must not wait for it.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from functools import cache

_log = logging.getLogger("salon.voice.recorder")

Job = Callable[[], None]


class RecordingThread:
    """Runs jobs in order. It starts with the first, and does not keep the process alive.

    The queue itself has no bound: each recording bounds what it has in it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, job: Job) -> None:
        """Run `job` after those before it. It must handle its errors."""
        self._queue.put(job)
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        while True:
            job = self._queue.get()
            try:
                job()
            except Exception:  # noqa: BLE001 - the thread serves every call
                _log.exception("a job of thread %s failed", self._name)
            del job


@cache
def sound_thread() -> RecordingThread:
    """The process's thread for sound."""
    return RecordingThread("recordings")


@cache
def finishing_thread() -> RecordingThread:
    """The process's thread for encryption and storage."""
    return RecordingThread("recordings-finishing")
