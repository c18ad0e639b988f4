"""A picture of a stream for other libraries. `frame.data` is uint8[height, width, 3], RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from salon.clients.odyssey import VideoFrame


def to_rgb(frame: VideoFrame) -> NDArray[np.uint8]:
    """For numpy, matplotlib, imageio: the array itself, not copied."""
    return frame.data


def to_bgr(frame: VideoFrame) -> NDArray[np.uint8]:
    """For OpenCV: a copy with the colours the other way round, which may be drawn on."""
    return np.ascontiguousarray(frame.data[:, :, ::-1])


def to_pil(frame: VideoFrame) -> Any:
    """For Pillow, and through it for files and Tk. Needs Pillow."""
    from PIL import Image

    return Image.fromarray(frame.data)


def to_pygame(frame: VideoFrame) -> Any:
    """For pygame: a surface of the picture's size. Needs pygame."""
    import pygame

    size = (frame.width, frame.height)
    return pygame.image.frombuffer(frame.data.tobytes(), size, "RGB")
