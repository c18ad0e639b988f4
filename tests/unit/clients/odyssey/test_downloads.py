"""Fetching the files of a recording (O88, O91)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from tests.unit.clients.odyssey.service import Answer, Asked, Service, serving

from salon.clients.odyssey.downloads import download
from salon.clients.odyssey.errors import InvalidReplyError, RequestError, UnreachableError

DATA = bytes(range(256)) * 8000
TAG = '"v1"'


def ranged(data: bytes = DATA, tag: str = TAG) -> Callable[[Asked], Answer]:
    """A file on a server that can send a part of it."""

    def answer(asked: Asked) -> Answer:
        found = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("Range", ""))
        if found is None or asked.headers.get("If-Range", tag) != tag:
            return Answer(200, data, {"ETag": tag})
        begin = int(found[1])
        if begin >= len(data):
            return Answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        ranges = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        return Answer(206, data[begin:], {"ETag": tag, "Content-Range": ranges})

    return answer


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving() as made:
        made.on("GET", "/v.mp4", ranged())
        yield made


@asynccontextmanager
async def breaking(sent: int, seen: asyncio.Event) -> AsyncIterator[str]:
    """A server that sends so many bytes of the file, and closes when some have been seen."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(DATA)}\r\nETag: {TAG}\r\n\r\n"
        writer.write(head.encode() + DATA[:sent])
        await writer.drain()
        await seen.wait()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v.mp4"


async def test_O88_a_file_is_fetched_without_credentials(
    service: Service, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    told: list[tuple[int, int | None]] = []
    path = tmp_path / "v.mp4"
    size = await download(
        http, f"{service.url}/v.mp4?sig=1", path, progress=lambda *now: told.append(now)
    )
    assert (size, path.read_bytes()) == (len(DATA), DATA)
    assert told[-1] == (len(DATA), len(DATA))
    assert told == sorted(told)
    assert [each.name for each in tmp_path.iterdir()] == ["v.mp4"]
    assert "Authorization" not in service.last().headers


async def test_O91_what_broke_off_goes_on(
    service: Service, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    path = tmp_path / "v.mp4"
    seen = asyncio.Event()
    async with breaking(300_000, seen) as url:
        with pytest.raises(UnreachableError, match="try again"):
            await download(http, url, path, progress=lambda *_: seen.set())
    assert not path.exists()
    had = (tmp_path / "v.mp4.part").stat().st_size
    assert 0 < had <= 300_000
    assert await download(http, f"{service.url}/v.mp4", path) == len(DATA)
    assert path.read_bytes() == DATA
    assert service.last().headers["Range"] == f"bytes={had}-"
    assert [each.name for each in tmp_path.iterdir()] == ["v.mp4"]


@pytest.mark.parametrize("tag", ['"v2"', 'W/"v1"', ""])
async def test_O91_another_version_is_fetched_from_the_start(
    service: Service, http: aiohttp.ClientSession, tmp_path: Path, tag: str
) -> None:
    path = tmp_path / "v.mp4"
    (tmp_path / "v.mp4.part").write_bytes(b"old" * 1000)
    (tmp_path / "v.mp4.part.tag").write_text(tag)
    await download(http, f"{service.url}/v.mp4", path)
    assert path.read_bytes() == DATA


async def test_O91_a_part_of_unknown_origin_is_not_used(
    service: Service, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    (tmp_path / "v.mp4.part").write_bytes(b"old" * 1000)
    await download(http, f"{service.url}/v.mp4", tmp_path / "v.mp4")
    assert (tmp_path / "v.mp4").read_bytes() == DATA
    assert "Range" not in service.last().headers


@pytest.mark.parametrize("extra", [b"", b"more"])
async def test_O91_a_part_that_is_all_or_more(
    service: Service, http: aiohttp.ClientSession, tmp_path: Path, extra: bytes
) -> None:
    (tmp_path / "v.mp4.part").write_bytes(DATA + extra)
    (tmp_path / "v.mp4.part.tag").write_text(TAG)
    await download(http, f"{service.url}/v.mp4", tmp_path / "v.mp4")
    assert (tmp_path / "v.mp4").read_bytes() == DATA
    assert len(service.asked) == (2 if extra else 1)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(206, b"x", {"Content-Range": "bytes 0-0/1"}),
        Answer(206, b"x", {"Content-Range": "bytes 9-9/10"}),
        Answer(206, b"x"),
    ],
)
async def test_O91_a_wrong_range_is_refused(
    service: Service, http: aiohttp.ClientSession, tmp_path: Path, answer: Answer
) -> None:
    (tmp_path / "v.mp4.part").write_bytes(b"12345")
    (tmp_path / "v.mp4.part.tag").write_text(TAG)
    service.on("GET", "/v.mp4", answer)
    with pytest.raises(InvalidReplyError):
        await download(http, f"{service.url}/v.mp4", tmp_path / "v.mp4")
    assert (tmp_path / "v.mp4.part").read_bytes() == b"12345"


async def test_O91_a_file_larger_than_allowed_is_refused(
    service: Service, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    path = tmp_path / "v.mp4"
    with pytest.raises(RequestError, match="more than 1000"):
        await download(http, f"{service.url}/v.mp4", path, max_bytes=1000)
    assert not list(tmp_path.iterdir())


async def test_O91_a_file_of_unknown_length_is_bounded_too(
    http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while not writer.is_closing():
            try:
                writer.write(bytes(65536))
                await writer.drain()
            except ConnectionError:
                break

    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(RequestError, match="more than 200000 bytes"):
            await download(http, url, tmp_path / "v.mp4", max_bytes=200_000)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "url",
    ["file:///etc/hostname", "ftp://127.0.0.1/a", "/etc/hostname", "", "http://u:p@127.0.0.1/"],
)
async def test_O88_only_http_addresses_are_opened(
    http: aiohttp.ClientSession, tmp_path: Path, url: str
) -> None:
    with pytest.raises(RequestError, match="can't be used"):
        await download(http, url, tmp_path / "v.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("status", "kind"), [(403, RequestError), (404, RequestError), (500, UnreachableError)]
)
async def test_O88_a_refusal_leaves_nothing_behind(
    service: Service,
    http: aiohttp.ClientSession,
    tmp_path: Path,
    status: int,
    kind: type[Exception],
) -> None:
    service.on("GET", "/v.mp4", Answer(status))
    with pytest.raises(kind, match=str(status)):
        await download(http, f"{service.url}/v.mp4?X-Signature=abc", tmp_path / "v.mp4")
    assert not list(tmp_path.iterdir())


async def test_O88_an_empty_file_is_a_file(
    service: Service, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    service.on("GET", "/v.mp4", Answer(200, b""))
    assert await download(http, f"{service.url}/v.mp4", tmp_path / "v.mp4") == 0
    assert (tmp_path / "v.mp4").read_bytes() == b""
