"""Speech is made once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import numpy as np
import pytest

from salon.base import ConfigurationError
from salon.testing.contracts.voice_tts import Spoken, spoken
from salon.voice.errors import SpeechError
from salon.voice.tts import (
    DEFAULT_VOICE,
    CachedTextToSpeech,
    MockTextToSpeech,
    SpeechChunk,
    TTSProvider,
    VoiceSettings,
)
from salon.voice.tts.cache import AHEAD

TEXT = "Hello there, my friend."
NOTHING: dict[str, list[SpeechChunk]] = {}


async def cached(
    engine: TTSProvider, max_bytes: int = 1 << 20, directory: Path | None = None, **options: object
) -> CachedTextToSpeech:
    made = CachedTextToSpeech(engine, max_bytes, directory, **options)  # type: ignore[arg-type]
    await made.start()
    return made


def same(first: Spoken, second: Spoken) -> bool:
    return np.array_equal(first.samples, second.samples) and [
        word for chunk in first.chunks for word in chunk.words
    ] == [word for chunk in second.chunks for word in chunk.words]


async def test_the_second_time_comes_from_memory_with_word_times() -> None:
    mock = MockTextToSpeech()
    engine = await cached(mock)
    first, second = await spoken(engine, TEXT), await spoken(engine, TEXT)
    assert same(first, second)
    assert len(mock.spoken) == 1
    for chunk, at in zip(second.chunks, range(0, 10_000, 500), strict=False):
        assert all(at <= word.start_ms < at + 500 for word in chunk.words)
    figures = engine.statistics()
    assert (figures.hits, figures.misses, figures.stored, figures.entries) == (1, 1, 1, 1)


async def test_another_voice_setting_or_text_is_another_piece() -> None:
    mock = MockTextToSpeech()
    engine = await cached(mock)
    asked = [
        (TEXT, DEFAULT_VOICE),
        (TEXT + " ", DEFAULT_VOICE),
        (TEXT, VoiceSettings(voice="anna")),
        (TEXT, VoiceSettings(speed=1.5)),
        (TEXT, VoiceSettings(volume=4)),
        (TEXT, VoiceSettings(language="de")),
    ]
    for text, settings in asked * 2:
        await spoken(engine, text, settings)
    assert list(mock.spoken) == asked


async def test_memory_is_bounded_and_drops_what_was_not_used_for_longest() -> None:
    mock = MockTextToSpeech(char_ms=100)  # 3.2 kB a character
    engine = await cached(mock, 15_000)
    for text in ("ab", "cd", "ab", "ef", "ab", "cd"):
        await spoken(engine, text)
    assert [text for text, _ in mock.spoken] == ["ab", "cd", "ef", "cd"]
    assert engine.statistics().evicted == 2
    assert engine.statistics().bytes <= 15_000
    await spoken(engine, "far too long")
    assert engine.statistics().entries == 2
    engine.clear()
    assert engine.statistics().bytes == 0


async def test_equal_requests_at_once_make_one_synthesis() -> None:
    mock = MockTextToSpeech()
    engine = await cached(mock)
    said = await asyncio.gather(*(spoken(engine, TEXT) for _ in range(5)))
    assert len(mock.spoken) == 1
    assert all(same(one, said[0]) for one in said)
    assert engine.statistics().shared == 4


async def test_one_listener_leaving_does_not_stop_the_other() -> None:
    mock = MockTextToSpeech()
    engine = await cached(mock)
    leaving, staying = engine.speak(TEXT), engine.speak(TEXT)
    await anext(leaving)
    first = await anext(staying)
    await leaving.aclose()
    rest = [chunk async for chunk in staying]
    assert len(Spoken([first, *rest]).samples) == mock.duration_ms(TEXT) * 16
    assert not mock.cancelled
    assert engine.statistics().stored == 1


async def test_the_last_listener_stops_the_engine_and_nothing_is_kept() -> None:
    mock = MockTextToSpeech()
    engine = await cached(mock)
    stream = engine.speak(TEXT * 50)
    await anext(stream)
    await stream.aclose()
    assert list(mock.cancelled) == [TEXT * 50]
    assert engine.statistics().stored == 0
    await spoken(engine, TEXT)
    assert engine.statistics().stored == 1


async def test_a_failed_piece_is_not_kept_and_fails_for_all_who_listen() -> None:
    mock = MockTextToSpeech(failures={TEXT: "broken"}, fail_after=2)
    engine = await cached(mock)
    results = await asyncio.gather(
        spoken(engine, TEXT), spoken(engine, TEXT), return_exceptions=True
    )
    assert all(isinstance(one, SpeechError) for one in results)
    assert engine.statistics().entries == 0


async def test_an_engine_that_raises_anything_is_a_speech_error() -> None:
    class Broken(MockTextToSpeech):
        async def speak(
            self, text: str, settings: VoiceSettings = DEFAULT_VOICE
        ) -> AsyncGenerator[SpeechChunk, None]:
            for piece in NOTHING[text]:
                yield piece

    with pytest.raises(SpeechError, match="KeyError"):
        await spoken(await cached(Broken()), TEXT)


async def test_the_engine_rests_while_nobody_takes_the_sound() -> None:
    mock = MockTextToSpeech()
    engine = await cached(mock)
    stream = engine.speak(TEXT * 60)  # 82 s
    await anext(stream)
    for _ in range(2000):
        await asyncio.sleep(0)
    (making,) = engine._making.values()
    assert AHEAD <= making.samples <= AHEAD + 3200
    got = 1600 + sum([len(chunk.samples) async for chunk in stream])
    assert got == mock.duration_ms(TEXT * 60) * 16


async def test_long_texts_pass_by() -> None:
    mock = MockTextToSpeech(char_ms=1)
    engine = await cached(mock)
    for _ in range(2):
        await spoken(engine, "word " * 500)
    assert len(mock.spoken) == 2
    assert engine.statistics().passed == 2


async def test_a_flood_of_sound_is_given_up() -> None:
    mock = MockTextToSpeech(char_ms=20_000, chunk_ms=10_000)
    engine = await cached(mock)
    with pytest.raises(SpeechError, match="over 300 s"):
        await spoken(engine, TEXT)


async def test_the_directory_outlives_the_process(tmp_path: Path) -> None:
    first = await cached(MockTextToSpeech(), 1 << 20, tmp_path / "a" / "b")
    said = await spoken(first, TEXT)
    await first.close()
    mock = MockTextToSpeech()
    second = await cached(mock, 1 << 20, tmp_path / "a" / "b")
    assert same(await spoken(second, TEXT), said)
    assert same(await spoken(second, TEXT), said)
    assert not mock.spoken
    assert (second.statistics().disk_hits, second.statistics().hits) == (1, 1)
    await second.close()


async def test_files_are_named_by_hash_and_hold_no_text(tmp_path: Path) -> None:
    engine = await cached(MockTextToSpeech(), 0, tmp_path)
    await spoken(engine, "secret words")
    await engine.close()
    (file,) = tmp_path.iterdir()
    assert "secret" not in file.name
    assert b"secret" not in file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", ["cut", "flip", "other", "empty"])
async def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: str) -> None:
    engine = await cached(MockTextToSpeech(), 0, tmp_path)
    said = await spoken(engine, TEXT)
    await engine.close()
    (file,) = tmp_path.iterdir()
    data = bytearray(file.read_bytes())
    data[-1] ^= damage == "flip"
    damaged = {"cut": data[:-50], "flip": data, "other": b"#!/bin/sh" * 9, "empty": b""}
    file.write_bytes(bytes(damaged[damage]))
    engine = await cached(MockTextToSpeech(), 0, tmp_path)
    assert same(await spoken(engine, TEXT), said)
    await engine.close()
    assert engine.statistics().damaged == 1
    assert engine.statistics().misses == 1


async def test_the_directory_is_bounded(tmp_path: Path) -> None:
    engine = await cached(MockTextToSpeech(char_ms=100), 0, tmp_path, max_disk_bytes=20_000)
    for text in ("ab", "cd", "ef", "gh", "much too long"):
        await spoken(engine, text)
    await engine.close()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 20_000
    assert engine.statistics().evicted == 2


async def test_a_directory_that_cannot_be_is_said_at_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigurationError, match="cannot use"):
        await cached(MockTextToSpeech(), 0, tmp_path / "file" / "sub")
    for sizes in ((-1, 0), (0, -1)):
        with pytest.raises(ConfigurationError):
            CachedTextToSpeech(MockTextToSpeech(), sizes[0], max_disk_bytes=sizes[1])


async def test_a_disk_that_refuses_costs_only_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await cached(MockTextToSpeech(), 0, tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert len((await spoken(engine, TEXT)).samples)
    await engine.close()
    assert "could not write" in caplog.text
