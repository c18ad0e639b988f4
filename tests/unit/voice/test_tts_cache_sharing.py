"""What is kept belongs to nobody: neither who listens nor what fails spoils it for others."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import numpy as np
import pytest

from salon.testing.contracts.voice_tts import spoken
from salon.voice.tts import (
    DEFAULT_VOICE,
    CachedTextToSpeech,
    MockTextToSpeech,
    SpeechChunk,
    VoiceSettings,
)

TEXT = "Hello there, my friend."


async def test_who_listens_may_change_the_sound_and_nobody_else_hears_it() -> None:
    mock = MockTextToSpeech()
    engine = CachedTextToSpeech(mock)
    await engine.start()

    async def listen(*, spoil: bool) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
        parts = []
        async for chunk in engine.speak(TEXT):
            parts.append(chunk.samples.copy())
            if spoil:
                chunk.samples[:] = 0
        return np.concatenate(parts)

    # while it is made, and from memory
    for _ in range(2):
        spoilt, whole = await asyncio.gather(listen(spoil=True), listen(spoil=False))
        assert np.array_equal(spoilt, whole)
        assert np.abs(whole).max() > 1000
    assert np.array_equal(await listen(spoil=False), whole)
    assert len(mock.spoken) == 1
    await engine.close()


async def test_in_one_directory_another_variant_is_another_piece(tmp_path: Path) -> None:
    mock = MockTextToSpeech()
    for variant in ("small", "large", "small"):
        engine = CachedTextToSpeech(mock, 0, tmp_path, variant=variant)
        await engine.start()
        await spoken(engine, TEXT)
        await engine.close()
    assert len(mock.spoken) == 2
    assert len(list(tmp_path.iterdir())) == 2


async def test_a_piece_that_is_just_being_given_up_may_be_asked_for_again() -> None:
    closing = asyncio.Event()

    class Reluctant(MockTextToSpeech):
        """Takes its time to stop."""

        async def speak(
            self, text: str, settings: VoiceSettings = DEFAULT_VOICE
        ) -> AsyncGenerator[SpeechChunk, None]:
            sound = super().speak(text, settings)
            try:
                async for chunk in sound:
                    yield chunk
            finally:
                await sound.aclose()
                await closing.wait()

    mock = Reluctant()
    engine = CachedTextToSpeech(mock)
    await engine.start()
    stream = engine.speak(TEXT * 50)
    await anext(stream)
    leaving = asyncio.create_task(stream.aclose())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not leaving.done()
    again = asyncio.create_task(spoken(engine, TEXT * 50))
    for _ in range(20):
        await asyncio.sleep(0)
    closing.set()
    await leaving
    assert len((await again).samples) == mock.duration_ms(TEXT * 50) * 16
    assert len(mock.spoken) == 2
    await engine.close()


async def test_of_a_full_directory_the_files_not_used_for_longest_go(tmp_path: Path) -> None:
    mock = MockTextToSpeech(char_ms=100)

    async def speak(text: str) -> None:
        engine = CachedTextToSpeech(mock, 0, tmp_path, max_disk_bytes=20_000)
        await engine.start()
        await spoken(engine, text)
        await engine.close()

    for age, text in ((3000, "ab"), (2000, "cd"), (1000, "ef")):
        before = set(tmp_path.iterdir())
        await speak(text)
        (file,) = set(tmp_path.iterdir()) - before
        then = file.stat().st_mtime - age
        os.utime(file, (then, then))
    await speak("ab")
    await speak("gh")
    for text in ("ab", "gh", "cd"):
        await speak(text)
    assert [text for text, _ in mock.spoken] == ["ab", "cd", "ef", "gh", "cd"]


async def test_a_write_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_self: Path, _target: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    engine = CachedTextToSpeech(MockTextToSpeech(), 0, tmp_path)
    await engine.start()
    assert len((await spoken(engine, TEXT)).samples)
    await engine.close()
    assert list(tmp_path.iterdir()) == []
    assert "could not write" in caplog.text
