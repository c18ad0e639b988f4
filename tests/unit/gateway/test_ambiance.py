"""A background behind a call: `ambiance` (G68, G135)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from salon.base import SalonError
from salon.gateway import Gateway
from salon.gateway.ambiance import Ambiance, AmbianceError, AmbianceStore
from salon.gateway.options import AmbianceOption
from salon.gateway.rights import CallRights
from salon.gateway.sounds import SoundLoader
from salon.media import write_wav
from salon.media.frame import Samples
from salon.testing import CallPair, scripted_gateway, tone
from salon.voice.engine import VoiceEngine

HUM: Samples = np.full(16_000, 10_000, dtype=np.int16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_wav(tmp_path / "hum.wav", HUM, 16_000)
    write_wav(tmp_path / "own.wav", HUM // 2, 16_000)
    write_wav(tmp_path / "empty.wav", HUM[:0], 16_000)
    (tmp_path / "bad.wav").write_bytes(b"RIFF....")
    return tmp_path


@pytest.fixture
async def store(folder: Path) -> AsyncIterator[AmbianceStore]:
    made = AmbianceStore(SoundLoader((folder,)))
    yield made
    await made.close()


@pytest.fixture
async def house(engine: VoiceEngine, store: AmbianceStore) -> AsyncIterator[Gateway]:
    async with scripted_gateway(engine, companions=lambda _s: (Ambiance(store),)) as gateway:
        yield gateway


async def calling(gateway: Gateway, **option: object) -> CallPair:
    call = CallPair.connect(gateway.acceptor, "/ws?id=a")
    await call.invite(ambiance=option)
    return call


async def test_G135_alone_at_its_normal_level_and_softer_under_speech(house: Gateway) -> None:
    call = await calling(house, path="hum.wav", transitionSpeed=0.1)
    assert "audio" not in call.order
    await asyncio.sleep(1)
    assert np.all(abs(call.sound[320:].astype(int) - 3000) <= 1)
    assert np.allclose(np.diff([packet.at for packet in call.audio]), 0.02)
    start = len(call.audio)
    call.send({"command": "tts", "text": "hello"})
    await call.expect("trackEnd", trackId="server-side-track")
    said = call.sound[start * 320 + 1600 :][:1600].astype(int)
    assert abs(said.mean() - 1000) < 600
    assert np.abs(said - 1000).max() > 3000
    await asyncio.sleep(0.2)
    assert abs(int(call.sound[-1]) - 3000) <= 1
    assert not call.of("error")


async def test_G135_one_decode_serves_all_calls(house: Gateway, store: AmbianceStore) -> None:
    first = await calling(house, path="hum.wav")
    await asyncio.sleep(0.1)
    sound = store.kept("hum.wav")
    assert sound is not None
    second = CallPair.connect(house.acceptor, "/ws?id=b")
    await second.invite(ambiance={"path": "hum.wav"})
    await asyncio.sleep(0.1)
    assert store.kept("hum.wav") is sound
    assert len(second.audio) >= 5  # it was there at the answer
    first.send({"command": "hangup"})
    await first.closed()


async def test_G135_without_it_nothing_is_sent_while_nothing_plays(house: Gateway) -> None:
    call = CallPair.connect(house.acceptor)
    await call.invite()
    await asyncio.sleep(1)
    assert not call.audio
    call = await calling(house, path="hum.wav", enabled=False)
    await asyncio.sleep(1)
    assert not call.audio
    assert not call.of("error")


async def test_G68_what_is_missing_comes_from_the_setting(
    engine: VoiceEngine, folder: Path
) -> None:
    store = AmbianceStore(
        SoundLoader((folder,)), AmbianceOption(path="hum.wav", normal_level=0.5, duck_level=0.2)
    )
    assert store.merged(None) == store.configured
    merged = store.merged(AmbianceOption(path="own.wav", duck_level=0.0))
    assert merged is not None
    assert (merged.path, merged.normal_level, merged.duck_level) == ("own.wav", 0.5, 0.0)
    assert store.merged(AmbianceOption(enabled=False)) is None
    async with scripted_gateway(engine, companions=lambda _s: (Ambiance(store),)) as gateway:
        call = CallPair.connect(gateway.acceptor)
        await call.invite()
        await asyncio.sleep(1)
        assert abs(int(call.sound[-1]) - 5000) <= 1
    await store.close()


async def test_G68_a_setting_without_a_sound_is_no_background() -> None:
    store = AmbianceStore(SoundLoader(), AmbianceOption(normal_level=0.5))
    assert store.merged(None) is None


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({}, "ambiance has no path"),
        ({"path": "none.wav"}, "no background: file not found"),
        ({"path": "../x.wav"}, "no background: file not found"),
        ({"path": "bad.wav"}, "no background: "),
        ({"path": "empty.wav"}, "no background: the sound is empty"),
        ({"path": "file:///etc/passwd"}, "no background: scheme 'file'"),
        ({"path": "hum.wav", "duckLevel": -1}, "duckLevel is -1"),
        ({"path": "hum.wav", "normalLevel": 9}, "normalLevel is 9"),
        ({"path": "hum.wav", "transitionSpeed": -0.5}, "transitionSpeed is -0.5"),
    ],
)
async def test_what_cannot_be_had_is_told_and_the_call_goes_on(
    house: Gateway, option: dict[str, object], told: str
) -> None:
    call = await calling(house, **option)
    await asyncio.sleep(0.5)
    (error,) = call.of("error")
    assert error["sender"] == "ambiance"
    assert error["error"].startswith(told)
    assert not call.audio
    call.send({"command": "tts", "text": "hello"})
    await call.expect("trackEnd", trackId="server-side-track")


async def test_a_call_that_may_not_name_files_gets_that_of_the_server(
    engine: VoiceEngine, folder: Path
) -> None:
    store = AmbianceStore(SoundLoader((folder,)), AmbianceOption(path="hum.wav"))
    async with scripted_gateway(
        engine,
        companions=lambda _s: (Ambiance(store),),
        rights_for=lambda _q: CallRights(files=False),
    ) as gateway:
        call = await calling(gateway, path="own.wav")
        await asyncio.sleep(0.5)
        assert store.kept("own.wav") is None
        assert abs(int(call.sound[-1]) - 3000) <= 1
    await store.close()


class SlowLoader(SoundLoader):
    """A loader that takes ten seconds."""

    loads: ClassVar[list[str]] = []

    async def load(self, url: str) -> Samples:
        self.loads.append(url)
        await asyncio.sleep(10)
        if url == "broken":
            raise AmbianceError("broken")
        return HUM


@pytest.fixture
def slow() -> AmbianceStore:
    SlowLoader.loads.clear()
    return AmbianceStore(SlowLoader())


async def test_the_answer_does_not_wait_for_the_sound(
    engine: VoiceEngine, slow: AmbianceStore
) -> None:
    async with scripted_gateway(engine, companions=lambda _s: (Ambiance(slow),)) as gateway:
        call = await calling(gateway, path="late")
        other = CallPair.connect(gateway.acceptor, "/ws?id=b")
        await other.invite(ambiance={"path": "late"})
        other.send({"command": "hangup"})
        await other.closed()
        await asyncio.sleep(5)
        assert not call.audio
        await asyncio.sleep(6)
        assert call.audio
    await slow.close()


async def test_those_who_ask_for_the_same_wait_for_the_same(slow: AmbianceStore) -> None:
    one, two = await asyncio.gather(slow.load("a"), slow.load("a"))
    assert one is two
    assert await slow.load("a") is one
    results = await asyncio.gather(slow.load("broken"), slow.load("broken"), return_exceptions=True)
    assert all(isinstance(result, SalonError) for result in results)
    assert slow.kept("broken") is None
    assert SlowLoader.loads == ["a", "broken"]
    with pytest.raises(AmbianceError):
        await slow.load("broken")
    assert SlowLoader.loads == ["a", "broken", "broken"]


async def test_loading_is_bounded(slow: AmbianceStore) -> None:
    tasks = [asyncio.ensure_future(slow.load(str(number))) for number in range(8)]
    await asyncio.sleep(1)
    with pytest.raises(AmbianceError, match="too many"):
        await slow.load("one more")
    await asyncio.gather(*tasks)


async def test_what_was_used_longest_ago_goes_first(folder: Path) -> None:
    for number in range(4):
        write_wav(folder / f"{number}.wav", tone(1000), 16_000)
    store = AmbianceStore(SoundLoader((folder,)), max_bytes=3 * 32_000)
    for name in ("0.wav", "1.wav", "2.wav"):
        await store.load(name)
    store.kept("0.wav")
    await store.load("3.wav")
    assert [name for name in ("0.wav", "1.wav", "2.wav", "3.wav") if store.kept(name) is None] == [
        "1.wav"
    ]


async def test_a_call_that_is_over_gets_no_background(
    engine: VoiceEngine, slow: AmbianceStore
) -> None:
    async with scripted_gateway(engine, companions=lambda _s: (Ambiance(slow),)) as gateway:
        call = await calling(gateway, path="broken")
        session = gateway.get("a")
        assert session is not None
        await asyncio.sleep(9)
        call.send({"command": "hangup"})
        await call.closed()
        await asyncio.sleep(5)
        assert session.media.background is None
        assert call.names[-1] == "hangup"
    await slow.close()
