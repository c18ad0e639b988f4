"""Speakers named by the pipeline (V236)."""

from __future__ import annotations

from collections import deque

import pytest
from tests.conformance.voice.stage import Stage, stage

from salon.base import ConfigurationError
from salon.channels.voice import VoiceChannel
from salon.media.frame import AudioFrame
from salon.models import HookTrigger
from salon.testing import virtual_time
from salon.voice.backends.mock import MockVoiceBackend
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.diarization.base import DiarizationProvider, DiarizationResult
from salon.voice.pipeline.diarization.mock import MockDiarizationProvider
from salon.voice.stt.mock import MockSTTProvider
from salon.voice.stt.provider import STTProvider

T = HookTrigger


class Told(DiarizationProvider):
    """Says of the next frames who speaks, one label a frame; ``-`` is no result, ``?`` nobody."""

    def __init__(self) -> None:
        self.labels: deque[str] = deque()

    @property
    def name(self) -> str:
        return "Told"

    def process(self, frame: AudioFrame, stream: str) -> DiarizationResult | None:
        label = self.labels.popleft() if self.labels else "-"
        if label == "-":
            return None
        return DiarizationResult(None if label == "?" else label, None, False)


async def spoken(room: Stage, told: Told, labels: str) -> None:
    """Speech in which these are heard, 20 ms a letter."""
    told.labels.extend(labels)
    await room.speak(20 * len(labels))
    await room.quiet(500)


async def senders(room: Stage) -> list[tuple[object, object, object]]:
    return [
        (message.metadata.get("sender_name"), message.metadata.get("speaker_label"), message.text)
        for message in await room.messages()
    ]


@virtual_time
async def test_V236_the_speaker_heard_longest_over_the_utterance() -> None:
    told = Told()
    texts = ["one", "two", "three", "four"]
    async with stage(
        transcripts=texts, pipeline={"diarization": told}, pipeline_speakers=True
    ) as room:
        room.watch(T.ON_TRANSCRIPTION, T.ON_SPEAKER_CHANGE)
        await spoken(room, told, "A" * 5 + "B" * 15)
        await spoken(room, told, "C" * 6 + "B" * 8 + "C" * 6)
        await spoken(room, told, "?" * 20)
        await spoken(room, told, "A" + "-" * 19)  # one that tells of changes alone
        assert await senders(room) == [
            ("Speaker B", "B", "one"),
            ("Speaker C", "C", "two"),
            ("Unknown speaker", None, "three"),
            ("Speaker A", "A", "four"),
        ]
        words = room.given(T.ON_TRANSCRIPTION)
        assert [(event.speaker, event.speaker_epoch) for event in words][:2] == [("B", 0), ("C", 0)]
        changes = room.given(T.ON_SPEAKER_CHANGE)
        assert {event.source for event in changes} == {"pipeline"}


@virtual_time
async def test_V236_only_who_asks_for_it_gets_it() -> None:
    told = Told()
    async with stage(transcripts=["one"], pipeline={"diarization": told}) as room:
        await spoken(room, told, "A" * 20)
        (message,) = await room.messages()
        assert "speaker_label" not in message.metadata
        assert message.source.participant_id == "ann"


@virtual_time
async def test_V236_lines_are_kept_apart_and_forgotten() -> None:
    told = Told()
    async with stage(
        transcripts=["one", "two"], pipeline={"diarization": told}, pipeline_speakers=True
    ) as room:
        bob = await room.join("bob")
        await spoken(room, told, "A" * 20)
        await room.speak(400, bob)
        await room.quiet(500)
        assert [name for name, _, _ in await senders(room)] == ["Speaker A", "Unknown speaker"]
        for session in (room.session, bob):
            await room.channel.disconnect_session(session, "room")
        assert room.channel._speakers is not None
        assert not room.channel._speakers._heard


@pytest.mark.parametrize("how", ["no pipeline", "no stage", "batch"])
def test_V236_V214_it_is_refused_without_a_stage_and_in_batch_mode(how: str) -> None:
    stage_of_it = MockDiarizationProvider() if how == "batch" else None
    stt: STTProvider = MockSTTProvider()
    with pytest.raises(ConfigurationError, match="pipeline_speakers"):
        VoiceChannel(
            "voice",
            stt=stt,
            backend=MockVoiceBackend(),
            pipeline=None if how == "no pipeline" else AudioPipelineConfig(diarization=stage_of_it),
            batch_mode=how == "batch",
            pipeline_speakers=True,
        )
