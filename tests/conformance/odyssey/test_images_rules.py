"""Pictures a stream begins with (O65-O69)."""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from salon.clients.odyssey import images
from salon.clients.odyssey.images import MAX_IMAGE_BYTES, image_data_url, mime_type

SIZES = {True: (704, 1280), False: (1280, 704)}
FORMATS = ["JPEG", "PNG", "BMP", "GIF", "WEBP"]


def picture(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """Left half red, right half blue; with a green line in the middle of each side."""
    made = Image.new("RGB", size, "red")
    made.paste("blue", (size[0] // 2, 0, size[0], size[1]))
    return made.convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format=kind, **options)
    return out.getvalue()


def taken_apart(url: str) -> tuple[str, bytes]:
    head, _, body = url.partition(",")
    assert head.startswith("data:")
    assert head.endswith(";base64")
    return head.removeprefix("data:").removesuffix(";base64"), base64.b64decode(body, validate=True)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def hues(image: Image.Image) -> tuple[str, str]:
    """What is on the left and on the right."""
    plain = image.convert("RGB")
    found = []
    for x in (plain.width // 8, plain.width * 7 // 8):
        pixel = plain.getpixel((x, plain.height // 2))
        assert isinstance(pixel, tuple)
        found.append("red" if pixel[0] > 150 > pixel[2] else "blue" if pixel[2] > 150 else "other")
    return found[0], found[1]


async def test_O65_a_data_url_passes_as_it_is() -> None:
    for url in ("data:image/png;base64,AAAA", "data:", "data:text/plain,anything"):
        assert await image_data_url(url, portrait=True) == url


@pytest.mark.parametrize("portrait", [True, False])
async def test_O65_paths_bytes_images_and_arrays_are_taken(tmp_path: Path, portrait: bool) -> None:
    image = picture((300, 200))
    path = tmp_path / "a.png"
    path.write_bytes(encoded(image, "PNG"))
    for given in (str(path), path, path.read_bytes(), image, np.asarray(image)):
        mime, data = taken_apart(await image_data_url(given, portrait=portrait))
        assert opened(data).size == SIZES[portrait]
        assert hues(opened(data)) == ("red", "blue")
        assert mime == (
            "image/jpeg" if given is image or isinstance(given, np.ndarray) else "image/png"
        )


@pytest.mark.parametrize("given", ["http://127.0.0.1/a.png", "nowhere/a.png", "", "\0"])
async def test_O65_what_is_no_file_is_not_found(given: str) -> None:
    with pytest.raises(ValueError, match=r"^Image file not found: "):
        await image_data_url(given, portrait=True)


async def test_O65_more_than_25_megabytes_are_refused(tmp_path: Path) -> None:
    text = r"^Image exceeds maximum size of 25MB \(25\.50MB provided\)$"
    much = bytes(MAX_IMAGE_BYTES + 512 * 1024)
    with pytest.raises(ValueError, match=text):
        await image_data_url(much, portrait=True)
    path = tmp_path / "big"
    path.write_bytes(much)
    with pytest.raises(ValueError, match=text):
        await image_data_url(str(path), portrait=True)
    exact = await image_data_url(bytes(MAX_IMAGE_BYTES), portrait=True)
    assert len(taken_apart(exact)[1]) == MAX_IMAGE_BYTES


@pytest.mark.parametrize("given", [None, 5, ["a"], object(), bytearray(20)])
async def test_O65_other_types_are_refused(given: Any) -> None:
    with pytest.raises(ValueError, match=r"^Unsupported image type: "):
        await image_data_url(given, portrait=True)


async def test_O65_an_array_of_a_wrong_type_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        await image_data_url(np.zeros((4, 4, 3), np.complex128), portrait=True)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1", "LA"])
async def test_O66_images_become_jpeg(mode: str) -> None:
    mime, data = taken_apart(await image_data_url(picture((704, 1280), mode), portrait=True))
    made = opened(data)
    assert (mime, made.format, made.size) == ("image/jpeg", "JPEG", (704, 1280))
    assert made.mode == ("L" if mode == "L" else "RGB")


@pytest.mark.parametrize("portrait", [True, False])
@pytest.mark.parametrize("kind", FORMATS)
async def test_O67_the_format_stays_and_the_size_is_that_of_the_stream(
    kind: str, portrait: bool
) -> None:
    for size in ((100, 400), (2000, 300), (1280, 1280)):
        data = encoded(picture(size), kind)
        mime, made = taken_apart(await image_data_url(data, portrait=portrait))
        assert mime == f"image/{kind.lower()}"
        assert opened(made).format == kind
        assert opened(made).size == SIZES[portrait]


@pytest.mark.parametrize("kind", FORMATS)
async def test_O67_a_picture_of_that_size_goes_byte_for_byte(kind: str) -> None:
    for portrait, size in SIZES.items():
        data = encoded(picture(size), kind)
        assert taken_apart(await image_data_url(data, portrait=portrait))[1] == data
        other = taken_apart(await image_data_url(data, portrait=not portrait))[1]
        assert other != data


async def test_O67_the_centre_is_kept_and_nothing_is_squeezed() -> None:
    wide = Image.new("RGB", (4000, 1000), "red")
    wide.paste("blue", (1500, 0, 2500, 1000))
    _, data = taken_apart(await image_data_url(encoded(wide, "PNG"), portrait=True))
    assert hues(opened(data)) == ("blue", "blue")
    tall = Image.new("RGB", (704, 5000), "red")
    tall.paste("blue", (0, 1900, 704, 3100))
    _, data = taken_apart(await image_data_url(encoded(tall, "PNG"), portrait=True))
    made = opened(data).convert("RGB")
    assert made.getpixel((350, 10)) == (255, 0, 0)
    assert made.getpixel((350, 640)) == (0, 0, 255)


async def test_O67_a_photograph_keeps_its_orientation() -> None:
    turned = picture((400, 300)).rotate(90, expand=True)  # what a camera held upright stores
    exif = Image.Exif()
    exif[0x0112] = 6
    _, data = taken_apart(await image_data_url(encoded(turned, "JPEG", exif=exif), portrait=False))
    assert hues(opened(data)) == ("red", "blue")


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"\xff\xd8\xff" + bytes(100),
        b"\0\0\0\x18ftypheic" + bytes(100),
        b"no picture at all",
        b"",
        encoded(picture((50, 50)), "PNG")[:100],
        encoded(Image.new("I;16", (50, 50)), "PNG"),
    ],
)
async def test_O67_what_can_not_be_decoded_goes_as_it_is(data: bytes) -> None:
    found = taken_apart(await image_data_url(data, portrait=True))[1]
    assert found == data or opened(found).size == SIZES[True]


async def test_O67_a_picture_that_would_fill_the_memory_goes_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    data = encoded(picture((300, 300)), "PNG")
    assert taken_apart(await image_data_url(data, portrait=True))[1] == data


async def test_O67_without_pillow_the_bytes_go_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(picture((50, 50)), "PNG")
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert taken_apart(await image_data_url(data, portrait=True)) == ("image/png", data)
    with pytest.raises(ValueError, match="Pillow"):
        await image_data_url(np.zeros((4, 4, 3), np.uint8), portrait=True)
    with pytest.raises(ValueError, match="Unsupported image type: int"):
        await image_data_url(5, portrait=True)


@pytest.mark.parametrize(
    ("start", "mime"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBP", "image/webp"),
        (b"RIFF\0\0\0\0WAVE", "image/jpeg"),
        (b"BM", "image/bmp"),
        (b"\0\0\0\x20ftypheic", "image/heic"),
        (b"\0\0\0\x20ftypheix", "image/heic"),
        (b"\0\0\0\x20ftypmif1", "image/heif"),
        (b"\0\0\0\x20ftypavif", "image/avif"),
        (b"\0\0\0\x20ftypmp42", "image/jpeg"),
        (b"anything", "image/jpeg"),
    ],
)
def test_O68_the_first_bytes_say_what_it_is(start: bytes, mime: str) -> None:
    assert mime_type(start + bytes(20)) == mime
    assert mime_type(start[:11]) == "application/octet-stream"


async def test_O69_the_wire_form_is_standard_base64() -> None:
    data = b"\xfb\xff\xfe" * 10
    url = await image_data_url(data, portrait=True)
    assert url == f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


async def test_O69_work_is_not_done_in_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    seen: list[int] = []
    plain = images.mime_type
    monkeypatch.setattr(
        images, "mime_type", lambda data: seen.append(threading.get_ident()) or plain(data)
    )
    await image_data_url(b"x" * 40, portrait=True)
    assert len(seen) == 1
    assert seen[0] != threading.get_ident()
