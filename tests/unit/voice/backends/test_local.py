"""A session on the sound card, with streams that a test calls in place of PortAudio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from tests.unit.voice.backends.hearing import chunk, frequency
from tests.unit.voice.capture.devices import FakeDevices, FakeStream

from salon.base import LocalProtocolError, UnavailableError
from salon.media import AudioFrame
from salon.media.frame import Samples
from salon.testing import VirtualClock, tone, virtual_time
from salon.voice.backends import VoiceCapability, VoiceSession, VoiceSessionState
from salon.voice.backends.local import LocalAudioBackend, SpeakerRing
from salon.voice.capture import MockCaptureSource


class Room:
    """A backend on fake devices."""

    def __init__(self, **settings: Any) -> None:
        self.devices = FakeDevices()
        self.backend = LocalAudioBackend(module=self.devices, clock=VirtualClock(), **settings)
        self.frames: list[AudioFrame] = []
        self.ready: list[str] = []
        self.backend.on_audio_received(lambda _session, frame: self.frames.append(frame))
        self.backend.on_session_ready(lambda session: self.ready.append(session.id))
        self.session: VoiceSession

    @property
    def microphone(self) -> FakeStream:
        return self.devices.microphones[-1]

    @property
    def loudspeaker(self) -> FakeStream:
        return self.devices.loudspeakers[-1]

    async def speak(self, samples: Samples) -> None:
        """Into the microphone, block by block."""
        for at in range(0, len(samples), 320):
            self.microphone.capture(samples[at : at + 320].tobytes())
            await asyncio.sleep(0)

    async def listen(self, blocks: int) -> bytes:
        """What the loudspeaker plays, in its own time."""
        out = b""
        for _ in range(blocks):
            await asyncio.sleep(0.02)
            out += self.loudspeaker.play()
        await asyncio.sleep(0)
        return out


@asynccontextmanager
async def room(**settings: Any) -> AsyncIterator[Room]:
    one = Room(**settings)
    one.session = await one.backend.connect("room", "ann", "voice")
    await asyncio.sleep(0)
    try:
        yield one
    finally:
        await one.backend.close()


def test_it_says_what_it_is() -> None:
    backend = LocalAudioBackend(module=FakeDevices())
    assert (backend.name, backend.auto_connect) == ("LocalAudio", True)
    assert backend.capabilities is VoiceCapability.INTERRUPTION
    assert (backend.feeds_aec_reference, backend.supports_playback_callback) == (False, True)
    assert (backend.input_sample_rate, backend.output_sample_rate) == (16_000, 24_000)


@virtual_time
async def test_both_devices_open_and_close_with_the_session() -> None:
    async with room(input_device="mic", output_device=2, input_sample_rate=48_000) as one:
        assert one.ready == [one.session.id]
        assert one.session.state is VoiceSessionState.ACTIVE
        assert one.session.metadata["backend"] == "local_audio"
        assert one.microphone.settings["device"] == "mic"
        assert one.microphone.settings["blocksize"] == 960
        assert one.loudspeaker.settings["device"] == 2
        assert one.loudspeaker.settings["blocksize"] == 480
        assert one.microphone.running
        await one.backend.start_listening(one.session)  # is done already
        assert len(one.devices.microphones) == 1
        await one.backend.disconnect(one.session)
        assert one.microphone.closed
        assert one.loudspeaker.closed
        with pytest.raises(LocalProtocolError):
            await one.backend.start_listening(one.session)
        one.microphone.capture(bytes(1920))  # a late block of the device
        await asyncio.sleep(0)
        assert one.frames == []


@virtual_time
async def test_what_the_microphone_hears_is_heard() -> None:
    async with room() as one:
        said = tone(200)
        await one.speak(said)
        assert np.array_equal(np.concatenate([frame.samples for frame in one.frames]), said)
        await one.backend.stop_listening(one.session)
        assert one.microphone.closed
        await one.backend.stop_listening(one.session)
        await one.backend.start_listening(one.session)
        assert len(one.devices.microphones) == 2
        await one.speak(said)
        assert len(one.frames) == 20


@virtual_time
async def test_what_is_sent_is_played_at_the_rate_of_the_device() -> None:
    async with room() as one:
        played: list[AudioFrame] = []
        one.backend.on_audio_played(lambda *_args: 1 / 0)
        one.backend.on_audio_played(lambda _session, frame: played.append(frame))
        await one.backend.send_audio(one.session, chunk(500, 400, 24_000).data)
        heard = np.frombuffer(await one.listen(30), "<i2")
        loud = np.flatnonzero(np.abs(heard) > 500)
        assert frequency(heard[loud[0] + 480 : loud[0] + 5280], 24_000) == pytest.approx(500, abs=8)
        assert 9000 <= loud[-1] - loud[0] <= 9700  # 400 ms, without holes
        assert 20 <= len(played) <= 23
        assert {frame.sample_rate for frame in played} == {16_000}
        assert one.backend.failures == len(played)
        assert one.backend.rt_underruns <= 1
        assert not one.backend.is_playing(one.session)


@virtual_time
async def test_an_interruption_is_silent_at_once() -> None:
    async with room() as one:
        await one.backend.send_audio(one.session, chunk(500, 3000, 24_000).data)
        await one.listen(10)
        assert one.backend.is_playing(one.session)
        one.backend.interrupt(one.session)
        rest = np.frombuffer(await one.listen(10), "<i2")
        assert np.count_nonzero(np.abs(rest) > 500) <= 1000  # a frame that fades


@virtual_time
async def test_our_own_voice_is_not_heard_unless_told_otherwise() -> None:
    async with room() as one:
        await one.backend.send_audio(one.session, chunk(500, 200, 24_000).data)
        await one.speak(tone(100))
        assert one.frames == []
        await one.listen(30)
        await one.speak(tone(100))
        assert len(one.frames) == 5
    async with room(mute_mic_during_playback=False) as one:
        await one.backend.send_audio(one.session, chunk(500, 200, 24_000).data)
        await one.speak(tone(100))
        assert len(one.frames) == 5


class NotedCanceller:
    """Halves what is captured and notes the order."""

    def __init__(self) -> None:
        self.log: list[tuple[str, int]] = []
        self.wrong = False
        self.forgotten: list[str] = []

    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        self.log.append(("heard", len(frame.samples)))
        if self.wrong:
            raise ValueError("no")
        return frame.with_samples(frame.samples // 2)

    def feed_reference(self, frame: AudioFrame, stream: str) -> None:
        self.log.append(("played", len(frame.samples)))

    def reset(self, stream: str) -> None:
        self.forgotten.append(stream)


@virtual_time
async def test_V22_V59_its_own_canceller_gets_both_sides_in_order() -> None:
    canceller = NotedCanceller()
    async with room(aec=canceller) as one:
        assert one.backend.capabilities & VoiceCapability.NATIVE_AEC
        assert one.backend.feeds_aec_reference
        await one.backend.send_audio(one.session, chunk(500, 1000, 24_000).data)
        one.loudspeaker.play()
        one.microphone.capture(tone(20).tobytes())
        one.loudspeaker.play()
        one.microphone.capture(tone(20).tobytes())
        await asyncio.sleep(0)
        assert canceller.log == [("played", 320), ("heard", 320)] * 2
        assert len(one.frames) == 2  # though something plays
        assert np.array_equal(one.frames[0].samples, tone(20) // 2)
        canceller.wrong = True
        await one.speak(tone(20))
        assert np.array_equal(one.frames[-1].samples, tone(20))  # V204: as it was
    assert canceller.forgotten == [one.session.id]


@virtual_time
async def test_V251_a_shared_source_is_listened_to_from_a_mark_on() -> None:
    source = MockCaptureSource(sample_rate=8000, channels=2)
    mark = source.mark()
    source.feed_blocks(3, fill=1)
    one = Room(source=source)
    assert one.backend.input_sample_rate == 8000
    session = await one.backend.connect("room", "ann", "voice", metadata={"capture_since": mark})
    await asyncio.sleep(0)
    source.feed_blocks(1, fill=2)
    await asyncio.sleep(0)
    assert len(one.frames) == 4
    assert one.devices.microphones == []
    source.start()
    await one.backend.disconnect(session)
    assert source.running  # it is not ours to stop
    await one.backend.close()


@virtual_time
async def test_listening_may_begin_later() -> None:
    async with room(auto_listen=False) as one:
        assert one.devices.microphones == []
        assert one.ready == [one.session.id]
        await one.backend.start_listening(one.session)
        assert one.microphone.running


@virtual_time
@pytest.mark.parametrize("which", ["input_device", "output_device"])
async def test_a_device_that_refuses_leaves_nothing_open(which: str) -> None:
    one = Room(**{which: "broken"})
    with pytest.raises(UnavailableError):
        await one.backend.connect("room", "ann", "voice")
    assert one.backend.list_sessions("room") == []
    assert all(stream.closed for stream in one.devices.loudspeakers + one.devices.microphones)
    await one.backend.close()
    session = VoiceSession("x", "room", "ann", "voice")
    await one.backend.stop_listening(session)


@virtual_time
async def test_blocks_that_the_loop_does_not_fetch_are_bounded_and_counted() -> None:
    async with room() as one:
        for _ in range(130):
            one.microphone.capture(bytes(640))
        await asyncio.sleep(0)
        assert len(one.frames) == 100
        assert one.backend.dropped_frames(one.session) == 30


def test_the_ring_of_the_loudspeaker_is_bounded() -> None:
    ring = SpeakerRing(8)
    ring.put(b"abcdef")
    ring.put(b"ghij")
    assert ring.dropped_bytes == 2
    assert ring.take(6) == b"cdefgh"
    assert ring.take(4) == b"ij\0\0"
    assert ring.take(2) == b"\0\0"
    assert ring.underruns == 1
    ring.put(b"kl")
    ring.end()
    assert ring.take(4) == b"kl\0\0"
    assert ring.underruns == 1
    ring.put(b"mn")
    ring.clear()
    assert len(ring) == 0


def test_a_device_that_outlives_the_loop_does_no_harm() -> None:
    one = Room()

    async def begin() -> None:
        await one.backend.connect("room", "ann", "voice")

    asyncio.run(begin())
    one.microphone.capture(bytes(640))
    one.microphone.capture(bytes(640))
    assert one.frames == []
