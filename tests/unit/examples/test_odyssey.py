"""The programs in examples/odyssey run against a whole server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.clients.odyssey import Odyssey, VideoFrame
from salon.testing.odyssey import API_KEY, OdysseyStandIn

FOLDER = Path(__file__).parents[3] / "examples" / "odyssey"


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A program finds what lies beside it; these find theirs, and leave nothing behind."""
    monkeypatch.syspath_prepend(str(FOLDER))
    names = {path.stem for path in FOLDER.glob("*.py")}
    yield
    for name in names & set(sys.modules):
        del sys.modules[name]


def load(name: str) -> Any:
    return import_module(name)


async def test_the_window_without_a_window(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    window = load("window")
    async with OdysseyStandIn() as server:
        monkeypatch.setenv("ODYSSEY_API_KEY", API_KEY)
        options = window.arguments(
            [
                "a dog",
                "--headless",
                "5",
                "--api-url",
                server.url,
                "--landscape",
                "--then",
                "it barks",
            ]
        )
        async with asyncio.timeout(30):
            assert await window.run(options) == 0
    said = capsys.readouterr().out.splitlines()
    assert "applied: it barks" in said
    assert "5 pictures" in said
    assert said[-1] == "disconnected"


async def test_the_window_says_what_is_wrong_with_the_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    window = load("window")
    async with OdysseyStandIn() as server:
        monkeypatch.setenv("ODYSSEY_API_KEY", "ody_wrong")
        options = window.arguments(["a dog", "--headless", "5", "--api-url", server.url])
        assert await window.run(options) == 1
    assert "Invalid API key" in capsys.readouterr().err


def test_without_opencv_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    window = load("window")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SystemExit, match="pip install opencv-python"):
        window.Window()


def test_typing() -> None:
    typed = load("window").Typed()
    for code in (*b" a cax", 255, 8, *b"t ", 1):
        assert typed.key(code) is None
    assert typed.text == " a cat "
    assert typed.key(13) == "a cat"
    assert typed.key(13) is None
    assert not typed.left
    typed.key(27)
    assert typed.left


async def test_a_spectator_saves_the_last_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spectator = load("spectator")
    from PIL import Image

    target = tmp_path / "last.png"
    ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    async with OdysseyStandIn() as server, Odyssey(API_KEY, api_url=server.url) as client:
        await client.connect(on_broadcast_ready=ready.set_result)
        await client.start_stream("a dog", broadcast=True)
        info = await ready
        options = spectator.arguments(
            [info.webrtc_url, info.spectator_token, "--pictures", "3", "--save", str(target)]
        )
        async with asyncio.timeout(30):
            assert await spectator.run(options) == 0
        refused = spectator.arguments([info.webrtc_url, "wrong"])
        assert await spectator.run(refused) == 1
    assert capsys.readouterr().out.splitlines() == ["disconnected", "3 pictures"]
    with Image.open(target) as image:
        assert image.size == (704, 1280)


def test_adapters() -> None:
    adapters = load("adapters")
    data = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    frame = VideoFrame(data, 3, 2, 0)
    assert adapters.to_rgb(frame) is data
    bgr = adapters.to_bgr(frame)
    assert bgr.flags.c_contiguous
    assert (bgr[0, 0] == [2, 1, 0]).all()
    image = adapters.to_pil(frame)
    assert image.size == (3, 2)
    assert image.getpixel((0, 0)) == (0, 1, 2)


def test_a_picture_for_pygame() -> None:
    pytest.importorskip("pygame")
    frame = VideoFrame(np.arange(18, dtype=np.uint8).reshape(2, 3, 3), 3, 2, 0)
    surface = load("adapters").to_pygame(frame)
    assert surface.get_size() == (3, 2)
    assert tuple(surface.get_at((0, 0)))[:3] == (0, 1, 2)
