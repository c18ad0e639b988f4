"""A recording while it is made: video, preview, thumbnail and events as files (O91)."""

from __future__ import annotations

import json
import queue
import threading
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av

from salon.base import UnavailableError
from salon.testing.odyssey import archive
from salon.testing.odyssey.picture import Planes, video_frame

WAITING: Final = 12
"""Frames that wait for the encoder; what comes then is dropped and counted."""
CLOCK: Final = 1000
_SHRINK: Final = 4


class FilmWriter:
    """Writes the files of one recording into `folder`, which exists; frames are yuv420p planes of
    one size. Not for two threads at once."""

    def __init__(self, folder: Path, width: int, height: int, fps: int) -> None:
        self.frames = 0
        self._folder = folder
        self._small = (width // _SHRINK & ~1, height // _SHRINK & ~1)
        self._last_ms = -1
        self._stack = ExitStack()
        self._video = self._movie(archive.VIDEO, width, height, fps)
        self._preview = self._movie(archive.PREVIEW, *self._small, fps)
        self._events = self._stack.enter_context((folder / archive.EVENTS).open("w"))

    def _movie(self, name: str, width: int, height: int, fps: int) -> tuple[Any, Any]:
        options = {"movflags": "faststart"}
        path = str(self._folder / name)
        container = self._stack.enter_context(av.open(path, "w", format="mp4", options=options))
        stream: Any = container.add_stream("h264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, CLOCK)
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"preset": "ultrafast", "crf": "30"}
        return container, stream

    def add(self, planes: Planes, at_ms: int) -> None:
        """One frame, `at_ms` after the start; times that do not grow are pushed on."""
        at_ms = max(at_ms, self._last_ms + 1)
        if self.frames == 0:
            self._thumbnail(planes)
        _encode(*self._video, video_frame(planes, at_ms, CLOCK))
        if self.frames % 2 == 0:
            width, height = self._small
            small = video_frame(planes, at_ms, CLOCK).reformat(width=width, height=height)
            _encode(*self._preview, small)
        self._last_ms = at_ms
        self.frames += 1

    def event(self, at_ms: int, kind: str, **fields: Any) -> None:
        """One line of the events."""
        self._events.write(json.dumps({"timestamp_ms": at_ms, "type": kind, **fields}) + "\n")

    def close(self) -> frozenset[str]:
        """Complete the files; the names of those that have something in them."""
        try:
            if self.frames:
                _encode(*self._video, None)
                _encode(*self._preview, None)
        finally:
            self._stack.close()
        return frozenset(archive.FILES if self.frames else {archive.EVENTS})

    def _thumbnail(self, planes: Planes) -> None:
        width, height = self._small
        context: Any = av.CodecContext.create("mjpeg", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuvj420p"
        context.time_base = Fraction(1, CLOCK)
        frame = video_frame(planes, 0, CLOCK)
        frame = frame.reformat(width=width, height=height, format="yuvj420p")
        frame.pts = 0
        data = b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
        (self._folder / archive.THUMBNAIL).write_bytes(data)


def _encode(container: Any, stream: Any, frame: av.VideoFrame | None) -> None:
    for packet in stream.encode(frame):
        container.mux(packet)


class LiveFilm:
    """A `FilmWriter` in a thread of its own, so that a stream never waits for it."""

    def __init__(self, folder: Path, width: int, height: int, fps: int) -> None:
        self.dropped = 0
        self.frames = 0
        self.last_ms = 0
        self._work: queue.Queue[tuple[Any, ...] | None] = queue.Queue()
        self._files: frozenset[str] = frozenset()
        self._failure: Exception | None = None
        self._waiting = threading.BoundedSemaphore(WAITING)
        self._arguments = (folder, width, height, fps)
        self._thread = threading.Thread(target=self._run, name="film", daemon=True)
        self._thread.start()

    def add(self, planes: Planes, at_ms: int) -> None:
        """Record a frame, or drop and count it if the encoder is behind."""
        if not self._waiting.acquire(blocking=False):
            self.dropped += 1
            return
        self.last_ms = max(self.last_ms, at_ms)
        self._work.put(("frame", planes, at_ms))

    def event(self, at_ms: int, kind: str, **fields: Any) -> None:
        """Note an event; they are few and never dropped."""
        self._work.put(("event", at_ms, kind, fields))

    def close(self) -> frozenset[str]:
        """Wait until all is written; the names of the files. Blocks: call it in a thread.
        `UnavailableError` if writing failed."""
        self._work.put(None)
        self._thread.join()
        if self._failure is not None:
            raise UnavailableError(f"the recording failed: {self._failure}")
        return self._files

    def _run(self) -> None:
        try:
            writer = FilmWriter(*self._arguments)
            while (item := self._work.get()) is not None:
                if item[0] == "event":
                    writer.event(item[1], item[2], **item[3])
                    continue
                writer.add(item[1], item[2])
                self.frames = writer.frames
                self._waiting.release()
            self._files = writer.close()
        except Exception as error:  # noqa: BLE001 - the thread's outer edge; close raises it
            self._failure = error
