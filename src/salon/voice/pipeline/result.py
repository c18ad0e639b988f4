"""What a pipeline made of one inbound frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from salon.media.frame import AudioFrame

if TYPE_CHECKING:
    from salon.voice.pipeline.diarization.base import DiarizationResult
    from salon.voice.pipeline.dtmf.base import DTMFEvent
    from salon.voice.pipeline.vad.base import VADEvent


@dataclass(slots=True)
class InboundResult:
    """The frame as the last stage left it, and what stages noticed in it, if anything.

    `speaker` is what diarization said of this frame, a change or not.
    """

    frame: AudioFrame
    vad_event: VADEvent | None = None
    dtmf: DTMFEvent | None = None
    speaker: DiarizationResult | None = None
