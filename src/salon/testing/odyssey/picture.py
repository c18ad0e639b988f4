"""The moving test picture: a stamp, a bar that wanders, and colours that follow the prompt."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from salon.testing.odyssey import stamp as stamps
from salon.testing.odyssey.settings import StandInSettings
from salon.testing.odyssey.stamp import Stamp

Planes = NDArray[np.uint8]
"""``uint8[height * 3 // 2, width]``: yuv420p, which no encoder has to convert. Two encoders that
convert one shared RGB frame bring the process down."""

VIDEO_CLOCK: Final = 90_000
_STEP: Final = 8
"""Pixels that the bar goes in one frame."""


class ImageError(ValueError):
    """An image that can't be used; `reason` is that of `interactive_stream_error`."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Look:
    """What the picture shows: hues from 0 to 255, and an image behind the bar."""

    u: int = 128
    v: int = 128
    image: Planes | None = None


IDLE: Final = Look()


def look_of(prompt: str, image: Planes | None = None) -> Look:
    """The same prompt always looks the same, another one different."""
    digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()
    return Look(48 + digest[0] % 160, 48 + digest[1] % 160, image)


class Painter:
    """Paints frames of one size; both sides even."""

    def __init__(self, width: int, height: int) -> None:
        if width % 2 or height % 2:
            raise ValueError(f"a picture of {width}x{height} has an odd side")
        stamps.place(width, height)
        self.width, self.height = width, height
        self._bar = max(16, width // 16)
        self._top = stamps.place(width, height).height * (stamps.ROWS + 2)
        self._look = Look(-1, -1)
        self._base: Planes = np.empty((0, 0), np.uint8)

    def paint(self, look: Look, stamp: Stamp) -> Planes:
        """One frame, in an array of its own."""
        if look is not self._look:
            self._look, self._base = look, self._background(look)
        planes = self._base.copy()
        luma = planes[: self.height]
        left = stamp.frame * _STEP % max(1, self.width - self._bar)
        luma[self._top :, left : left + self._bar] = stamps.WHITE
        stamps.draw(luma, stamp)
        return planes

    def _background(self, look: Look) -> Planes:
        size = self.width * self.height
        flat = np.empty(size * 3 // 2, np.uint8)
        if look.image is not None:
            flat[:] = look.image.ravel()
        else:
            flat[:size] = np.linspace(60, 140, self.height, dtype=np.uint8).repeat(self.width)
            flat[size : size + size // 4] = look.u
            flat[size + size // 4 :] = look.v
        planes = flat.reshape(self.height * 3 // 2, self.width)
        planes[: self._top] = stamps.BLACK
        half = self._top // 2 * (self.width // 2)
        flat[size : size + half] = 128
        flat[size + size // 4 : size + size // 4 + half] = 128
        return planes


def video_frame(planes: Planes, pts: int, clock: int = VIDEO_CLOCK) -> av.VideoFrame:
    """A frame of its own for one encoder; `pts` in ticks of `clock` a second."""
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    frame.pts, frame.time_base = pts, Fraction(1, clock)
    return frame


def image_planes(data_url: str, width: int, height: int, settings: StandInSettings) -> Planes:
    """The image of a data URL in this size. `ImageError` if it is too big or can't be decoded; the
    type it declares is not looked at (O68). Takes long enough to want a thread."""
    head, comma, body = data_url.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64") or not comma:
        raise ImageError("invalid_image", "The image must be a data URL in base64")
    if len(body) > settings.image_bytes * 4 // 3 + 4:
        raise ImageError("image_too_large", f"An image has at most {settings.image_bytes} bytes")
    try:
        data = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise ImageError("invalid_image", "The image is not base64") from None
    if len(data) > settings.image_bytes:
        raise ImageError("image_too_large", f"An image has at most {settings.image_bytes} bytes")
    return _decoded(data, width, height, settings.image_pixels)


def _decoded(data: bytes, width: int, height: int, pixels: int) -> Planes:
    kind = _format_of(data)
    if kind is None:
        raise ImageError("invalid_image", "The image is of a kind that is not understood")
    try:
        with av.open(io.BytesIO(data), mode="r", format=kind) as container:
            video = container.streams.video[0]
            video.codec_context.thread_count = 1
            if video.width * video.height > pixels:
                raise ImageError("image_too_large", f"An image has at most {pixels} pixels")
            frame = next(container.decode(video))
            if frame.width * frame.height > pixels:
                raise ImageError("image_too_large", f"An image has at most {pixels} pixels")
            fitting = frame.reformat(width=width, height=height, format="yuv420p")
            planes = fitting.to_ndarray().astype(np.uint8, copy=False)
    except (av.error.FFmpegError, StopIteration, IndexError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError("invalid_image", "The image can't be decoded") from error
    return planes


def _format_of(data: bytes) -> str | None:
    """The demuxer for what the first bytes say; nothing else is ever tried."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg_pipe"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png_pipe"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp_pipe"
    if data[:4] == b"GIF8":
        return "gif"
    if data[:2] == b"BM":
        return "bmp_pipe"
    if data[4:8] == b"ftyp":
        return "mov"
    return None
