"""Sounds named by path or URL, under the policy of the server (G80)."""

from __future__ import annotations

import asyncio
import gzip
import io
import socket
import struct
import sys
import threading
import time
import wave
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from salon.base import UrlPolicy
from salon.gateway import sounds
from salon.gateway.sounds import SoundError, SoundLoader
from salon.media import Samples, wav_bytes, write_wav
from salon.testing import tone

SOUND = tone(200)


def load(loader: SoundLoader, url: str) -> Samples:
    """In a loop of its own, with real time."""
    with asyncio.Runner() as runner:
        return runner.run(loader.load(url))


def refused(loader: SoundLoader, url: str) -> str:
    with pytest.raises(SoundError) as caught:
        load(loader, url)
    return str(caught.value)


# -- files ----------------------------------------------------------------------------------------


def test_a_file_below_a_media_folder(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    write_wav(second / "bell.wav", SOUND, 16_000)
    assert np.array_equal(load(SoundLoader(roots=(first, second)), "bell.wav"), SOUND)


def test_stereo_of_another_rate_becomes_mono_16_khz(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "music.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(np.repeat(np.full(48_000, 1000, dtype="<i2"), 2).tobytes())
    samples = load(SoundLoader(roots=(tmp_path,)), "music.wav")
    assert samples.dtype == np.int16
    assert len(samples) == pytest.approx(16_000, abs=16)
    assert np.abs(samples[1000:-1000].astype(int) - 1000).max() <= 2


@pytest.mark.parametrize("name", ["../bell.wav", "missing.wav", "", "link.wav", "/etc/hostname"])
def test_nothing_outside_the_media_folders(tmp_path: Path, name: str) -> None:
    write_wav(tmp_path / "bell.wav", SOUND, 16_000)
    media = tmp_path / "media"
    media.mkdir()
    (media / "link.wav").symlink_to(tmp_path / "bell.wav")
    assert "not found" in refused(SoundLoader(roots=(media,)), name)
    assert "not found" in refused(SoundLoader(), name)


def test_a_file_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wav(tmp_path / "bell.wav", SOUND, 16_000)
    monkeypatch.setattr(sounds, "MAX_BYTES", 100)
    assert "larger" in refused(SoundLoader(roots=(tmp_path,)), "bell.wav")


def test_a_file_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wav(tmp_path / "bell.wav", SOUND, 16_000)

    def broken(_path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", broken)
    assert "Permission denied" in refused(SoundLoader(roots=(tmp_path,)), "bell.wav")


@pytest.mark.parametrize("content", [b"RIFF", b"RIFF" + bytes(60), b"no sound at all" * 20, b""])
def test_what_is_no_sound_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "noise.wav").write_bytes(content)
    refused(SoundLoader(roots=(tmp_path,)), "noise.wav")


# -- other formats --------------------------------------------------------------------------------


def encoded(format_name: str, codec: str, rate: int) -> bytes:
    import av

    out = io.BytesIO()
    with av.open(out, "w", format=format_name) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(tone(1000).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = 16_000
        resampler = av.AudioResampler(
            format=stream.codec_context.format,
            layout="mono",
            rate=rate,
            frame_size=stream.codec_context.frame_size or None,
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return out.getvalue()


@pytest.mark.parametrize(
    ("format_name", "codec", "rate"),
    [("mp3", "libmp3lame", 44_100), ("ogg", "libopus", 48_000), ("flac", "flac", 16_000)],
)
def test_G80_other_formats(tmp_path: Path, format_name: str, codec: str, rate: int) -> None:
    (tmp_path / "song").write_bytes(encoded(format_name, codec, rate))
    samples = load(SoundLoader(roots=(tmp_path,)), "song")
    assert len(samples) == pytest.approx(16_000, rel=0.1)
    assert 5000 < np.abs(samples).max() < 14_000


def test_a_sound_that_is_too_long_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "song").write_bytes(encoded("flac", "flac", 16_000))
    monkeypatch.setattr(sounds, "MAX_SECONDS", 0.1)
    assert "longer" in refused(SoundLoader(roots=(tmp_path,)), "song")


def test_G80_a_short_file_of_a_long_sound_is_refused(tmp_path: Path) -> None:
    """Two megabytes at 1 kHz are half an hour and more; at 16 kHz they would fill the memory."""
    count = (sounds.MAX_SECONDS + 1) * 1000
    with wave.open(str(tmp_path / "slow.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(1000)
        file.writeframes(bytes(count))
    assert "longer" in refused(SoundLoader(roots=(tmp_path,)), "slow.wav")


@pytest.mark.parametrize(
    "content",
    [
        b"ffconcat version 1.0\nfile other.wav\n",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.wav\n#EXT-X-ENDLIST\n",
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        b"m=audio 9 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n",
    ],
    ids=["list of files", "play list", "session description"],
)
@pytest.mark.parametrize("name", ["list", "list.mp3"])
def test_G80_a_sound_names_no_other_file_or_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, name: str
) -> None:
    """The policy is asked about what the call names, so nothing else is opened."""
    media = tmp_path / "media"
    media.mkdir()
    (media / name).write_bytes(content)
    write_wav(tmp_path / "other.wav", SOUND, 16_000)
    monkeypatch.chdir(tmp_path)
    started = time.monotonic()
    assert "not a readable sound" in refused(SoundLoader(roots=(media,)), name)
    assert time.monotonic() - started < 5  # a session description is listened to for ten seconds


@pytest.mark.parametrize(("module", "name"), [("av", "song.mp3"), ("httpx", "http://h/x.wav")])
def test_a_missing_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str
) -> None:
    (tmp_path / "song.mp3").write_bytes(b"ID3" + bytes(100))
    monkeypatch.setitem(sys.modules, module, None)
    assert "salon[" in refused(SoundLoader(roots=(tmp_path,)), name)


# -- URLs -----------------------------------------------------------------------------------------


class _Web(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        match self.path:
            case "/bell.wav":
                self._answer(200, wav_bytes(SOUND))
            case "/moved":
                self._answer(302, b"", "/bell.wav")
            case "/loop":
                self._answer(302, b"", "/loop")
            case "/inside":
                self._answer(302, b"", "http://10.0.0.1/bell.wav")
            case "/cut":
                self.send_response(200)
                self.send_header("Content-Length", "100")
                self.end_headers()
                self.wfile.write(b"RIFF")
                self.connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            case "/packed" | "/packed-twice":
                times = 2 if self.path.endswith("twice") else 1
                body = wav_bytes(SOUND)
                for _ in range(times):
                    body = gzip.compress(body)
                self._answer(200, body, encoding=", ".join(["gzip"] * times))
            case "/plain":
                asked = self.headers["Accept-Encoding"]
                body = wav_bytes(SOUND) if asked == "identity" else b""
                self._answer(200, body, encoding="Identity")
            case _:
                self._answer(404, b"nothing here")

    def _answer(
        self, status: int, body: bytes, location: str | None = None, encoding: str | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if location is not None:
            self.send_header("Location", location)
        if encoding is not None:
            self.send_header("Content-Encoding", encoding)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Web)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


HERE = SoundLoader(policy=UrlPolicy(allowed_hosts=frozenset({"127.0.0.1"})))


@pytest.mark.parametrize("path", ["/bell.wav", "/moved", "/plain"])
def test_a_url_that_the_policy_allows(web: str, path: str) -> None:
    assert np.array_equal(load(HERE, web + path), SOUND)


def test_private_addresses_if_all_are_allowed(web: str) -> None:
    loader = SoundLoader(policy=UrlPolicy(allow_private=True))
    assert np.array_equal(load(loader, f"{web}/bell.wav"), SOUND)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/missing", "404"),
        ("/loop", "redirects"),
        ("/inside", "private"),
        ("/cut", "not loaded"),
        ("/packed", "compressed"),
        ("/packed-twice", "compressed"),
    ],
)
def test_a_url_that_gives_no_sound(web: str, path: str, why: str) -> None:
    assert why in refused(HERE, web + path)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/x.wav",
        "http://localhost/x.wav",
        "http://user:secret@example.org/x.wav",
        "file:///etc/passwd",
        "ftp://example.org/x.wav",
        "http://[::1]/x.wav",
        "http:///x.wav",
        "http://169.254.169.254/latest",
        "http://[bad/x.wav",
    ],
)
def test_urls_that_the_policy_refuses(url: str) -> None:
    assert "secret" not in refused(SoundLoader(), url)


@pytest.mark.parametrize(
    ("address", "why"), [("10.1.2.3", "private"), ("127.0.0.1", "private"), (None, "not known")]
)
def test_the_addresses_of_a_name_are_checked(
    monkeypatch: pytest.MonkeyPatch, address: str | None, why: str
) -> None:
    async def found(*_args: object, **_options: object) -> list[tuple[object, ...]]:
        if address is None:
            raise socket.gaierror("no such host")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]

    async def run() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)
        with pytest.raises(SoundError, match=why):
            await SoundLoader().load("http://sound.example/x.wav")

    with asyncio.Runner() as runner:
        runner.run(run())


def test_a_name_that_changes_its_address_after_the_check_is_refused(
    web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(web.rpartition(":")[2])
    answers = ["93.184.215.14"]

    async def found(*_args: object, **_options: object) -> list[tuple[object, ...]]:
        address = answers.pop() if answers else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    async def run() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "getaddrinfo", found)
        with pytest.raises(SoundError):
            await SoundLoader().load(f"http://sound.example:{port}/bell.wav")

    monkeypatch.setattr(sounds, "FETCH_TIMEOUT_S", 2.0)
    with asyncio.Runner() as runner:
        runner.run(run())


def test_a_body_that_is_too_large_is_refused(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sounds, "MAX_BYTES", 100)
    assert "larger" in refused(HERE, f"{web}/bell.wav")


def test_a_server_that_is_too_slow(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sounds, "FETCH_TIMEOUT_S", 0.0)
    assert "within" in refused(HERE, f"{web}/bell.wav")
