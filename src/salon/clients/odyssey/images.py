"""Pictures a stream begins with, as data URLs of the size of the stream (O65-O69)."""

from __future__ import annotations

import asyncio
import base64
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from salon.clients.odyssey.errors import RequestError
from salon.clients.odyssey.types import LANDSCAPE, PORTRAIT

if TYPE_CHECKING:
    from PIL import Image

MAX_IMAGE_BYTES: Final = 25 * 1024 * 1024
"""Largest file or bytes, before they are resized (O65)."""
_QUALITY: Final = 90
"""Of JPEG (O66, O67)."""
_SHORTEST: Final = 12
"""Bytes it takes to tell what an image is (O68)."""
_SIGNATURES: Final = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
)
_BRANDS: Final = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"), "image/heic"),
    **dict.fromkeys((b"mif1", b"msf1"), "image/heif"),
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
}
_SMOOTH: Final = {"1": "L", "P": "RGB", "PA": "RGBA"}
"""Modes that can't be resized smoothly, and what they become."""

ImageInput = Any
"""A path, a data URL, bytes, a Pillow image, or an array Pillow makes one of (uint8[h, w, 3])."""


async def image_data_url(image: ImageInput, *, portrait: bool) -> str:
    """The picture as a data URL, resized to cover 704x1280 (`portrait`) or 1280x704 and cut at the
    centre.

    A data URL passes as it is; a picture of that size goes byte for byte, and so does one that
    can't be decoded here. `ValueError` for a file that is not there, for more than 25 MB and for
    anything that is no picture. Work runs in a thread; cancelled, its result is dropped.
    """
    if isinstance(image, str) and image.startswith("data:"):
        return image
    size = PORTRAIT if portrait else LANDSCAPE
    return await asyncio.to_thread(_data_url, image, size)


def mime_type(data: bytes) -> str:
    """What the first bytes say the picture is (O68)."""
    if len(data) < _SHORTEST:
        return "application/octet-stream"
    for signature, mime in _SIGNATURES:
        if data.startswith(signature):
            return mime
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "image/jpeg")
    return "image/jpeg"


def _data_url(image: ImageInput, size: tuple[int, int]) -> str:
    if isinstance(image, str | os.PathLike):
        data = _resized(_read(Path(image)), size)
    elif isinstance(image, bytes):
        _check_size(len(image))
        data = _resized(image, size)
    else:
        data = _encoded(image, size)
    return f"data:{mime_type(data)};base64,{base64.b64encode(data).decode('ascii')}"


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise RequestError(f"Image file not found: {path}")
        with path.open("rb") as file:
            _check_size(os.fstat(file.fileno()).st_size)
            data = file.read(MAX_IMAGE_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError(f"Image file not found: {path} ({error})") from error
    _check_size(len(data))
    return data


def _check_size(size: int) -> None:
    if size > MAX_IMAGE_BYTES:
        provided = size / (1024 * 1024)
        raise RequestError(f"Image exceeds maximum size of 25MB ({provided:.2f}MB provided)")


def _encoded(image: ImageInput, size: tuple[int, int]) -> bytes:
    """A Pillow image or an array, as JPEG of the size of the stream (O66)."""
    is_array = isinstance(image, np.ndarray)
    try:
        from PIL import Image
    except ImportError:
        if is_array:
            text = 'an array as image needs Pillow: pip install "salon[images]"'
            raise RequestError(text) from None
        raise RequestError(f"Unsupported image type: {type(image).__name__}") from None
    if is_array:
        image = Image.fromarray(image)
    elif not isinstance(image, Image.Image):
        raise RequestError(f"Unsupported image type: {type(image).__name__}")
    plain = image if image.mode in {"RGB", "L"} else image.convert("RGB")
    out = io.BytesIO()
    _cover(plain, size).save(out, format="JPEG", quality=_QUALITY, optimize=True)
    return out.getvalue()


def _resized(data: bytes, size: tuple[int, int]) -> bytes:
    """A file of the size of the stream, in its own format (O67); `data` itself if it has that size
    or Pillow is missing or can't read or write it."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        return data
    try:
        with Image.open(io.BytesIO(data)) as found:
            if found.size == size:
                return data
            kind = "JPEG" if found.format in {"JPEG", "MPO"} else found.format
            upright = ImageOps.exif_transpose(found)
            smooth = _SMOOTH.get(upright.mode)
            made = _cover(upright.convert(smooth) if smooth else upright, size)
        out = io.BytesIO()
        options = {"quality": _QUALITY} if kind in {"JPEG", "WEBP", "AVIF"} else {}
        made.save(out, format=kind, **options)
    except (OSError, ValueError, KeyError, SyntaxError, Image.DecompressionBombError):
        return data
    return out.getvalue()


def _cover(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """`image` at the smallest scale that covers `size`, the rest cut off evenly."""
    from PIL import Image, ImageOps

    if image.size == size:
        return image
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS, centering=(0.5, 0.5))
