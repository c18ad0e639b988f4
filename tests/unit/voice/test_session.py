"""One call's media: what it plays, measures and records, and how it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from tests.unit.voice.scripted_call import calling, ears

from salon.testing import silence, tone, virtual_time
from salon.voice.events import (
    Final,
    TrackEnded,
    TrackStarted,
    TurnMeasured,
)
from salon.voice.playback import Playback, SoundTrack
from salon.voice.recorder import RecordingWriter, StereoRecorder


@virtual_time
async def test_a_ready_sound_goes_out_frame_by_frame() -> None:
    async with calling() as call:
        call.session.play(Playback(SoundTrack(tone(100)), "bell"))
        await asyncio.sleep(0.5)
        assert b"".join(call.sent) == tone(100).tobytes()
        assert call.session.frames_out == 5
        assert [type(event) for event in call.events] == [TrackStarted, TrackEnded]


@virtual_time
async def test_interrupt_is_idempotent() -> None:
    async with calling() as call:
        assert call.session.interrupt() is None
        call.speak("hello there")
        await asyncio.sleep(0.3)
        assert call.session.interrupt() is not None
        assert call.session.interrupt() is None


@virtual_time
async def test_the_latency_of_an_answer_is_measured_from_the_end_of_the_speech() -> None:
    async with calling(["what time is it"]) as call:
        call.listen()
        await call.talk(np.concatenate((silence(320), tone(640), silence(500))))
        assert call.of(Final)
        call.session.answer_begins()
        call.session.answer_begins()
        call.speak("noon")
        await asyncio.sleep(1)
        (measured,) = call.of(TurnMeasured)
        assert (measured.index, measured.text) == (0, "what time is it")
        assert 200 <= measured.recognised_ms <= measured.first_word_ms <= measured.first_audio_ms
        assert measured.first_audio_ms <= 600
        call.session.answer_begins()  # nothing new to answer
        call.speak("noon again")
        await asyncio.sleep(1)
        assert len(call.of(TurnMeasured)) == 1


@virtual_time
async def test_an_empty_turn_is_not_measured() -> None:
    async with calling([""]) as call:
        call.listen()
        await call.talk(np.concatenate((silence(320), tone(640), silence(500))))
        call.session.answer_begins()
        call.speak("what?")
        await asyncio.sleep(1)
        assert not call.of(TurnMeasured)


@virtual_time
async def test_muted_sound_is_silence_but_counts() -> None:
    async with calling(["x"]) as call:
        call.listen()
        call.session.muted = True
        await call.talk(tone(500))
        assert call.events == []
        assert call.session.frames_in == 25


@virtual_time
async def test_a_recording_follows_both_sides(tmp_path: Path) -> None:
    writer = RecordingWriter()
    async with calling() as call:
        call.session.recorder = StereoRecorder(tmp_path / "call.wav", writer)
        call.speak("hello")
        await call.talk(tone(500))
        await call.session.close()
    writer.close()
    assert (tmp_path / "call.wav").stat().st_size == pytest.approx(44 + 500 * 64, abs=64 * 40)


@virtual_time
async def test_after_its_end_a_session_does_nothing() -> None:
    async with calling(["x"]) as call:
        call.listen()
        call.speak("this is cut by the end")
        await call.talk(tone(320))
        await call.session.close()
        await call.session.close()
        frames = len(call.sent)
        call.listen()
        call.leg.receive(tone(20).tobytes())
        call.session.play(Playback(SoundTrack(tone(100)), "bell"))
        await asyncio.sleep(1)
        assert len(call.sent) == frames
        assert call.session.frames_in == 16
        assert ears(call).heard[0].cancelled
        assert isinstance(call.events[-1], TrackEnded)
        assert call.engine.vad.statistics().streams == 0
