"""What a soak of failing backends and engines found: nobody was told of these."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from tests.unit.voice.scripted_call import calling, ears

from salon.media.frame import AudioChunk, Samples
from salon.testing import silence, tone, virtual_time
from salon.transport.ticker import Phase, Ticker
from salon.voice.backend_leg import CANCEL_S, TAKE_S, BackendLeg
from salon.voice.backends.base import VoiceCapability
from salon.voice.backends.mock import MockVoiceBackend
from salon.voice.backends.session import VoiceSession
from salon.voice.errors import SpeechError
from salon.voice.events import MediaEvent, TurnEnded
from salon.voice.interruption import classifier_of
from salon.voice.pipeline.backchannel.base import BackchannelDetector
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.engine import AudioPipeline
from salon.voice.pipeline.recorder.base import RecordingConfig
from salon.voice.pipeline.recorder.mock import MockAudioRecorder
from salon.voice.tts.adapt import voice_of
from salon.voice.tts.provider import TTSProvider
from salon.voice.vad.batch import BatchedVad

FRAME: Samples = np.ones(320, dtype=np.int16)


class Broken(MockVoiceBackend):
    """Its calls do what they are told to."""

    def __init__(self, does: str) -> None:
        super().__init__(capabilities=VoiceCapability.INTERRUPTION)
        self.does = does

    async def _do(self) -> None:
        if self.does == "hang":
            await asyncio.Event().wait()
        if self.does == "cancelled":
            raise asyncio.CancelledError
        raise RuntimeError("broken")

    async def send_audio(self, session: VoiceSession, audio: Any) -> None:
        await self._do()

    async def cancel_audio(self, session: VoiceSession) -> bool:
        await self._do()
        return True


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "salon.voice"]


@pytest.mark.parametrize("does", ["cancelled", "raise"])
@virtual_time
async def test_a_backend_that_cannot_play_is_told_of_whatever_it_raises(
    does: str, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Broken(does)
    leg = BackendLeg(backend, await backend.connect("room", "ann", "voice"))
    leg.send(FRAME)
    await asyncio.sleep(0.1)
    leg.send(FRAME)  # the next utterance is tried again
    await asyncio.sleep(0.1)
    leg.flush()
    await asyncio.sleep(0.1)
    leg.close()
    name = backend.name
    assert logged(caplog) == [
        f"backend {name} could not play",
        f"backend {name} could not play",
        f"backend {name} could not stop playing",
    ]


@virtual_time
async def test_a_backend_that_never_takes_an_utterance_is_told_of_and_given_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = Broken("hang")
    leg = BackendLeg(backend, await backend.connect("room", "ann", "voice"))
    for _ in range(3):
        leg.send(FRAME)
        leg.send(FRAME)
        await asyncio.sleep(0.1)
        leg.boundary()
    leg.flush()
    await asyncio.sleep(TAKE_S - 1)
    assert len(leg._scope) == 3
    await asyncio.sleep(2)
    assert len(leg._scope) == 0
    assert leg.dropped == 9
    leg.close()
    name = backend.name
    assert logged(caplog) == [
        f"backend {name} did not stop playing within {CANCEL_S:g} s",
        *[f"backend {name} did not take an utterance within {TAKE_S:g} s"] * 3,
    ]


class Sticky(MockVoiceBackend):
    """Its first `hangs` utterances are stuck after so many chunks, its others play."""

    def __init__(self, hangs: int = 1, after: int = 0) -> None:
        super().__init__(capabilities=VoiceCapability.INTERRUPTION)
        self.hangs = hangs
        self.after = after
        self.taken: list[int] = []

    async def send_audio(self, session: VoiceSession, audio: Any) -> None:
        self.taken.append(0)
        stuck = len(self.taken) <= self.hangs
        if stuck and not self.after:
            await asyncio.Event().wait()
        async for _ in audio:
            self.taken[-1] += 1
            if stuck and self.taken[-1] == self.after:
                await asyncio.Event().wait()


@pytest.mark.parametrize("after", [0, 3])
@virtual_time
async def test_a_backend_that_is_stuck_in_a_long_utterance_is_told_of_before_its_end(
    after: int, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Sticky(after=after)
    name = backend.name
    leg = BackendLeg(backend, await backend.connect("room", "ann", "voice"))
    for _ in range(int((TAKE_S + 5) * 50)):
        leg.send(FRAME)
        await asyncio.sleep(0.02)
    assert logged(caplog) == [f"backend {name} did not take an utterance within {TAKE_S:g} s"]
    assert backend.taken[0] == after
    assert len(backend.taken) == 2
    assert backend.taken[1] == pytest.approx(5 * 50, abs=5)  # the rest is heard
    assert leg.dropped == pytest.approx(TAKE_S * 50, abs=5)
    leg.close()


@virtual_time
async def test_a_stuck_backend_that_is_slow_to_stop_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The limit of the whole utterance is reached, and then that of its only chunk."""

    class Slow(Sticky):
        async def send_audio(self, session: VoiceSession, audio: Any) -> None:
            await asyncio.sleep(2)
            try:
                await super().send_audio(session, audio)
            finally:
                await asyncio.sleep(4)

    backend = Slow(after=1)
    leg = BackendLeg(backend, await backend.connect("room", "ann", "voice"))
    leg.send(FRAME)
    leg.boundary()
    await asyncio.sleep(TAKE_S + 10)
    name = backend.name
    assert [(record.name, record.getMessage()) for record in caplog.records] == [
        ("salon.voice", f"backend {name} did not take an utterance within {TAKE_S:g} s")
    ]
    assert len(leg._scope) == 0
    leg.close()


@virtual_time
async def test_a_backend_that_waits_for_more_is_given_all_the_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = Sticky(hangs=0)
    leg = BackendLeg(backend, await backend.connect("room", "ann", "voice"))
    for _ in range(3):
        leg.send(FRAME)
        await asyncio.sleep(2 * TAKE_S)  # the agent is held
    leg.boundary()
    await asyncio.sleep(0.1)
    assert backend.taken == [4]
    assert (logged(caplog), leg.dropped, len(leg._scope)) == ([], 0, 0)
    leg.close()


@virtual_time
async def test_a_stuck_backend_gets_no_more_time_by_an_interruption(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = Sticky()
    leg = BackendLeg(backend, await backend.connect("room", "ann", "voice"))
    leg.send(FRAME)
    await asyncio.sleep(TAKE_S - 2)
    leg.flush()
    await asyncio.sleep(3)
    name = backend.name
    assert logged(caplog) == [f"backend {name} did not take an utterance within {TAKE_S:g} s"]
    leg.close()


@pytest.mark.parametrize("what", [None, 3.5, b"\x00\x01", AudioChunk(b"\x01\x00", sample_rate=-5)])
@virtual_time
async def test_what_a_voice_gives_in_place_of_sound_is_its_failure(what: Any) -> None:
    class Odd(TTSProvider):
        async def synthesize(self, text: str, *, voice: str | None = None) -> Any:
            raise NotImplementedError

        async def synthesize_stream(self, text: str, **_: Any) -> AsyncIterator[AudioChunk]:
            yield AudioChunk(b"\x01\x00" * 320)
            yield what

    engine = voice_of(Odd())
    await engine.start()
    with pytest.raises(SpeechError):
        async for _ in engine.speak("Some words."):
            pass


class Cancels(BackchannelDetector):
    """Asks a future that was cancelled."""

    name = "cancels"

    def classify(self, context: Any) -> Any:
        raise asyncio.CancelledError


def test_V204_a_backchannel_detector_that_raises_a_cancellation_found_nothing() -> None:
    assert not classifier_of(Cancels())("yes", 300, True).is_backchannel


def test_a_call_whose_window_raises_a_cancellation_leaves_the_others_their_windows() -> None:
    vad = BatchedVad(None)
    heard: list[float] = []

    def broken(probability: float, end: int) -> None:
        raise asyncio.CancelledError

    streams = [vad.open(broken), vad.open(lambda probability, end: heard.append(probability))]
    for stream in streams:
        stream.push(np.zeros(512, dtype=np.int16))
    vad.run()
    assert len(heard) == 1
    assert vad.statistics().failures == 1


@virtual_time
async def test_a_callback_that_raises_a_cancellation_does_not_stop_the_ticker() -> None:
    ticker = Ticker()
    ticks: list[int] = []

    def broken(tick: int) -> None:
        raise asyncio.CancelledError

    handles = [ticker.add(broken, Phase.INBOUND), ticker.add(ticks.append, Phase.OUTBOUND)]
    await asyncio.sleep(0.1)
    for handle in handles:
        handle.cancel()
    assert len(ticks) >= 4


@pytest.mark.parametrize("gives", [asyncio.CancelledError(), None, 3])
@virtual_time
async def test_V204_a_recorder_that_ends_badly_is_counted_and_the_session_ends(gives: Any) -> None:
    class Odd(MockAudioRecorder):
        async def finish(self, handle: Any) -> Any:
            if isinstance(gives, BaseException):
                raise gives
            return gives

    config = AudioPipelineConfig(
        recorder=Odd(), recording_config=RecordingConfig(storage_encrypted_at_rest=True)
    )
    pipeline = AudioPipeline(config)
    session = VoiceSession("s", "room", "ann", "voice")
    pipeline.on_session_active(session)
    await pipeline.end_session(session)
    assert pipeline.failures == {"recorder": 1}


@virtual_time
async def test_a_session_that_ends_in_the_tick_of_its_turn_frees_the_recogniser() -> None:
    async with calling(["never asked for"]) as call:
        call.listen()
        hearing = call.session.hearing
        post = hearing._post

        def leave() -> None:
            hearing.close()
            call.session.scope.cancel()

        def told(event: MediaEvent) -> None:
            post(event)
            if isinstance(event, TurnEnded):  # before the task that asks for the words begins
                asyncio.get_running_loop().call_soon(leave)

        hearing._post = told
        await call.talk(np.concatenate((silence(500), tone(640), silence(800))))
        (heard,) = ears(call).heard
        assert not heard.finished
        assert heard.cancelled
