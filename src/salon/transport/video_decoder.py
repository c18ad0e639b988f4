"""Decoding of one picture, in a thread of its own; the newest wins (D8)."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from av.video.reformatter import VideoReformatter

from salon.transport.video_frame import Picture, ViewerFrame
from salon.transport.video_h264 import has_slice
from salon.transport.video_payload import EncodedFrame

_log = logging.getLogger("salon.transport")

MAX_WAITING = 32
"""Frames that wait to be decoded: above a second of picture nothing is caught up any more."""
MAX_UNSHOWN_S = 0.1
"""A decoder that falls behind still shows a picture this often."""
MAX_PARAMETER_BYTES = 4096
_CODECS = {"VP8": ("vp8", "libvpx"), "H264": ("h264",)}


class VideoDecoder:
    """Takes encoded frames, gives the newest picture.

    `wake` is called in the decoder's thread when there is a picture to `take` or a failure to see
    in `failed`; once until the next `take`.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Condition()
        self._waiting: deque[EncodedFrame] = deque()
        self._newest: ViewerFrame | None = None
        self._failed = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self.decoded = self.dropped = self.errors = self.overflowed = 0

    def put(self, frame: EncodedFrame) -> bool:
        """Decode this frame after those before it. False if too many wait: then all of them are
        let go, and only a key frame is of use."""
        with self._lock:
            if self._closed:
                return True
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="salon video decoder", daemon=True
                )
                self._thread.start()
            if len(self._waiting) >= MAX_WAITING:
                self.overflowed += len(self._waiting) + 1
                self._waiting.clear()
                return False
            self._waiting.append(frame)
            self._lock.notify()
            return True

    def take(self) -> ViewerFrame | None:
        """The newest picture, if there is one that was not taken."""
        with self._lock:
            newest, self._newest = self._newest, None
            return newest

    def failed(self) -> bool:
        """Whether decoding failed since this was last asked."""
        with self._lock:
            failed, self._failed = self._failed, False
            return failed

    def close(self) -> threading.Thread | None:
        """No more frames; the thread ends by itself, at the latest after the frame it is at."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            self._newest = None
            self._lock.notify()
            return self._thread

    # -- in the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        work = _Work()
        shown = 0.0
        while True:
            with self._lock:
                while not self._waiting and not self._closed:
                    self._lock.wait()
                if self._closed:
                    return
                frame = self._waiting.popleft()
                behind = bool(self._waiting)
            try:
                images = work.decode(frame)
                newest = images[-1] if images else None
                if behind and newest is not None and time.monotonic() - shown < MAX_UNSHOWN_S:
                    newest = None
                picture = work.picture(newest) if newest is not None else None
            except Exception as error:  # noqa: BLE001 - the edge of the thread: PyAV on foreign data
                _log.debug("a %s frame can't be decoded: %s", frame.codec, error)
                self._fail()
                continue
            self.decoded += len(images)
            self.dropped += len(images) - (picture is not None)
            if picture is not None:
                shown = time.monotonic()
                self._show(picture)

    def _show(self, picture: ViewerFrame) -> None:
        with self._lock:
            if self._closed:
                return
            replaced, self._newest = self._newest, picture
            self.dropped += replaced is not None
        if replaced is None:
            self._wake()

    def _fail(self) -> None:
        with self._lock:
            self.errors += 1
            if self._closed:
                return
            first, self._failed = not self._failed, True
        if first:
            self._wake()


class _Work:
    """The decoder's tools, used by its thread alone."""

    def __init__(self) -> None:
        self._codec: Any = None
        self._name = ""
        self._needs_key = True
        self._held = b""
        self._reformatter = VideoReformatter()
        self._last: int | None = None
        self._clock = 0

    def decode(self, frame: EncodedFrame) -> list[Any]:
        """The images of one frame. After a failure everything before a key frame is let go."""
        if frame.codec != self._name:
            self._codec, self._name = _open(frame.codec), frame.codec
            self._needs_key = True
        if self._needs_key and not frame.key:
            return []
        data, self._held = self._held + frame.data, b""
        if frame.codec == "H264" and len(data) < MAX_PARAMETER_BYTES and not has_slice(data):
            self._held = data  # parameters that were sent alone belong to what follows
            return []
        packet = av.Packet(data)
        packet.pts = self._unwrapped(frame.timestamp)
        try:
            images = self._codec.decode(packet)
        except Exception:
            self._needs_key = True
            raise
        if any(image.is_corrupt for image in images):
            self._needs_key = True
            raise ValueError("the picture is damaged")
        self._needs_key = False
        return list(images)

    def picture(self, image: Any) -> ViewerFrame:
        """The image as RGB."""
        pts = image.pts if image.pts is not None else self._clock
        rgb = self._reformatter.reformat(image, format="rgb24")
        return ViewerFrame(_array(rgb), rgb.width, rgb.height, max(0, pts) // 90)

    def _unwrapped(self, timestamp: int) -> int:
        """The sender's clock from the first frame on, without its wraps."""
        if self._last is not None:
            step = (timestamp - self._last) & 0xFFFFFFFF
            self._clock += step if step < 1 << 31 else step - (1 << 32)
        self._last = timestamp
        return self._clock


def _open(codec: str) -> Any:
    for name in _CODECS[codec]:
        try:
            context: Any = av.CodecContext.create(name, "r")
        except av.FFmpegError:
            continue
        # frames of a later packet would come out only with it: no frame threads, no reordering
        context.thread_count = 1
        context.flags |= Flags.low_delay
        return context
    raise ValueError(f"PyAV has no decoder for {codec}")


def _array(image: Any) -> Picture:
    """Its bytes as they are, where lines follow each other without a gap."""
    picture: Picture = np.ascontiguousarray(image.to_ndarray())
    return picture
