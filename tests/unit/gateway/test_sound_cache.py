"""Sound kept on disk, and what `play` decodes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from salon.base import UrlPolicy
from salon.gateway.sound_cache import SoundCache, sound_key
from salon.gateway.sound_files import SoundFiles
from salon.gateway.sounds import SoundError, SoundLoader
from salon.media import make_codec, write_wav
from salon.testing import tone

CLIENT = httpx.AsyncClient
SOUND = np.arange(1, 1001, dtype=np.int16)


def files(folder: Path, max_bytes: int = 100_000) -> SoundFiles:
    return SoundFiles(folder / "cache", max_bytes)


async def test_what_was_put_is_there(tmp_path: Path) -> None:
    kept = files(tmp_path)
    assert await kept.get("key") is None
    assert not await kept.has("key")
    assert await kept.put("key", SOUND)
    assert await kept.has("key")
    found = await kept.get("key")
    assert found is not None
    assert np.array_equal(found, SOUND)
    assert (kept.hits, kept.misses) == (1, 1)
    assert (tmp_path / "cache" / "key.pcm").read_bytes() == SOUND.tobytes()
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0
    assert kept.path("key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("key", ["../../etc/passwd", "a/b", "", "x" * 5000, "\0", ".hidden"])
async def test_keys_from_outside_stay_in_the_folder(tmp_path: Path, key: str) -> None:
    kept = files(tmp_path)
    assert await kept.put(key, SOUND)
    assert await kept.get(key) is not None
    assert [path.parent for path in tmp_path.rglob("*.pcm")] == [tmp_path / "cache"]


async def test_the_oldest_go_when_the_folder_is_full(tmp_path: Path) -> None:
    kept = files(tmp_path, 3 * SOUND.nbytes)
    for number, key in enumerate("abc"):
        await kept.put(key, SOUND)
        os.utime(kept.path(key), (1000 + number, 1000 + number))
    await kept.get("a")  # used: it is the newest now
    await kept.put("d", SOUND)
    assert [key for key in "abcd" if await kept.has(key)] == ["a", "d"]
    assert not list((tmp_path / "cache").glob(".*"))


async def test_a_later_process_counts_what_is_there(tmp_path: Path) -> None:
    await files(tmp_path).put("old", SOUND)
    os.utime(files(tmp_path).path("old"), (1000, 1000))
    kept = files(tmp_path, SOUND.nbytes + 10)
    await kept.put("new", SOUND)
    assert [key for key in ("old", "new") if await kept.has(key)] == ["new"]
    await kept.put("new", SOUND)  # replaced, not added
    assert await kept.has("new")


async def test_what_a_process_left_unfinished_goes(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / ".old.new").write_bytes(b"half")
    (folder / ".now.new").write_bytes(b"half")
    os.utime(folder / ".old.new", (1000, 1000))
    await files(tmp_path).put("key", SOUND)
    assert sorted(path.name for path in folder.iterdir()) == [".now.new", "key.pcm"]


async def test_a_file_that_vanishes_while_the_folder_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = files(tmp_path)
    await kept.put("gone", SOUND)
    real = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        if path.name == "gone.pcm":
            raise FileNotFoundError(2, "gone")
        return real(path, **options)

    monkeypatch.setattr(Path, "stat", stat)
    later = files(tmp_path, SOUND.nbytes)
    assert await later.put("key", SOUND)
    assert await later.has("key")


async def test_what_is_larger_than_the_cache_is_not_kept(tmp_path: Path) -> None:
    kept = files(tmp_path, 100)
    assert not await kept.put("key", SOUND)
    assert not await kept.has("key")


async def test_a_folder_that_cannot_be_used_costs_only_the_cache(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file")
    kept = files(tmp_path)
    assert not await kept.put("key", SOUND)
    assert await kept.get("key") is None
    assert "cannot be written" in caplog.text
    assert "cannot be read" in caplog.text


async def test_a_write_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: Path, _target: Path) -> Path:
        raise OSError(28, "No space left on device")

    kept = files(tmp_path)
    monkeypatch.setattr(Path, "replace", full)
    assert not await kept.put("key", SOUND)
    assert list((tmp_path / "cache").iterdir()) == []


# -- play -------------------------------------------------------------------------------------


async def test_G219_a_file_is_decoded_once_until_it_changes(tmp_path: Path) -> None:
    cache = SoundCache(files(tmp_path))
    loader = SoundLoader(roots=(tmp_path,), cache=cache)
    path = tmp_path / "bell.wav"
    write_wav(path, tone(100), 16_000)
    os.utime(path, (1000, 1000))
    first = await loader.load("bell.wav")
    assert await cache.files.has(sound_key(str(path)))
    second = await loader.load("bell.wav")
    assert second is first, "one copy for all who play it"
    assert not first.flags.writeable
    sound = first.copy()
    del first, second
    first = await loader.load("bell.wav")
    assert np.array_equal(first, sound)
    assert (cache.files.hits, cache.files.misses) == (1, 1)
    write_wav(path, tone(200), 16_000)
    os.utime(path, (time.time() + 60, time.time() + 60))
    assert len(await loader.load("bell.wav")) == 2 * len(first)
    path.unlink()
    with pytest.raises(SoundError, match="not found"):  # the cache opens nothing
        await loader.load("bell.wav")


def served(monkeypatch: pytest.MonkeyPatch, content: bytes, content_type: str) -> list[str]:
    """All requests get this answer; returns the URLs asked for."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, content=content, headers={"Content-Type": content_type})

    def client(**options: object) -> httpx.AsyncClient:
        return CLIENT(transport=httpx.MockTransport(answer), **options)  # type: ignore[arg-type]

    monkeypatch.setattr(httpx, "AsyncClient", client)
    return asked


ANYWHERE = UrlPolicy(allow_private=True)


async def test_G219_a_url_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_wav(tmp_path / "bell.wav", tone(100), 16_000)
    asked = served(monkeypatch, (tmp_path / "bell.wav").read_bytes(), "audio/wav")
    loader = SoundLoader(policy=ANYWHERE, cache=SoundCache(files(tmp_path)))
    url = "http://sounds.example.com/bell.wav?token=secret-token-1"
    assert np.array_equal(await loader.load(url), await loader.load(url))
    assert len(asked) == 1
    assert "token" not in " ".join(path.name for path in (tmp_path / "cache").iterdir())
    forbidden = SoundLoader(policy=UrlPolicy(schemes=frozenset({"https"})), cache=loader.cache)
    with pytest.raises(SoundError, match="scheme"):
        await forbidden.load(url)


@pytest.mark.parametrize(
    ("name", "content_type", "readable"),
    [
        ("greeting", "audio/basic", True),
        ("greeting", "audio/PCMU; rate=8000", True),
        ("greeting.ulaw", "application/octet-stream", True),
        ("greeting", "text/plain", False),
        ("greeting.txt", "audio/basic", False),
    ],
)
async def test_G80_the_content_type_counts_where_the_name_has_no_extension(
    monkeypatch: pytest.MonkeyPatch, name: str, content_type: str, readable: bool
) -> None:
    codec = make_codec("pcmu")
    samples = tone(400)
    packets = [codec.encode(samples[at : at + 320]) for at in range(0, len(samples), 320)]
    served(monkeypatch, b"".join(packets), content_type)
    loader = SoundLoader(policy=ANYWHERE)
    url = f"http://sounds.example.com/{name}"
    if not readable:
        with pytest.raises(SoundError):
            await loader.load(url)
        return
    found = await loader.load(url)
    assert len(found) == pytest.approx(len(samples), rel=0.02)
    spectrum = np.abs(np.fft.rfft(found.astype(float)))
    assert np.argmax(spectrum) * 16_000 / len(found) == pytest.approx(440, abs=5)


async def test_G80_a_type_that_is_wrong_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import av

    with av.open(str(tmp_path / "song.flac"), "w") as container:
        stream = container.add_stream("flac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(tone(200).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    served(monkeypatch, (tmp_path / "song.flac").read_bytes(), "audio/mpeg")
    found = await SoundLoader(policy=ANYWHERE).load("http://sounds.example.com/song")
    assert len(found) == pytest.approx(3200, rel=0.02)
    served(monkeypatch, b"not a sound" * 50, "audio/mpeg")
    with pytest.raises(SoundError):
        await SoundLoader(policy=ANYWHERE).load("http://sounds.example.com/song")
