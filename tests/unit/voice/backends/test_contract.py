"""What the contract offers to a backend that does the least."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from salon.voice.backends import AudioChunk, VoiceBackend, VoiceCapability, VoiceSession


class Least(VoiceBackend):
    """Nothing but what must be."""

    def __init__(self) -> None:
        self.log: list[Any] = []

    @property
    def name(self) -> str:
        return "least"

    async def disconnect(self, session: VoiceSession) -> None:
        self.log.append("disconnect")

    async def send_audio(
        self, session: VoiceSession, audio: bytes | AsyncIterator[AudioChunk]
    ) -> None:
        self.log.append(audio)

    def send_audio_sync(self, session: VoiceSession, chunk: AudioChunk) -> None:
        self.log.append(chunk)

    def on_audio_received(self, callback: Any) -> None:
        self.log.append(callback)

    def on_client_disconnected(self, callback: Any) -> None:
        self.log.append(("gone", callback))


SESSION = VoiceSession("s", "room", "ann", "voice")


def test_a_backend_says_that_it_can_nothing_special() -> None:
    least = Least()
    assert least.capabilities is VoiceCapability.NONE
    assert least.auto_connect is least.feeds_aec_reference is False
    assert least.supports_playback_callback is least.is_playing(SESSION) is False
    assert least.get_session("s") is None
    assert least.list_sessions("room") == []


async def test_V24_what_it_cannot_do_is_refused_by_name() -> None:
    least = Least()
    with pytest.raises(NotImplementedError, match="least"):
        least.send_dtmf(SESSION, "1")
    with pytest.raises(NotImplementedError, match="least"):
        await least.connect("room", "ann", "voice")
    with pytest.raises(NotImplementedError, match="least"):
        await least.accept(SESSION, object())


async def test_what_it_need_not_do_has_no_effect() -> None:
    least = Least()
    for register in (
        least.on_session_ready,
        least.on_barge_in,
        least.on_audio_played,
        least.on_speaker_change,
        least.set_trace_emitter,
    ):
        register(print)
    least.set_input_muted(SESSION, True)
    least.set_input_gated(SESSION, True)
    least.end_of_response(SESSION)
    assert not await least.cancel_audio(SESSION)
    await least.send_transcription(SESSION, "hello")
    await least.close()
    assert least.log == []


def test_the_two_names_of_a_disconnected_client_are_one() -> None:
    least = Least()
    least.on_transport_disconnect(print)
    assert least.log == [("gone", print)]


def test_V21_there_is_no_speech_detection_in_a_transport() -> None:
    names = set(dir(VoiceBackend))
    assert not names & {"on_speech_start", "on_speech_end", "on_silence", "on_audio_level"}
