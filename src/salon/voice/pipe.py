"""One call's place in an audio pipeline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from salon.media.conform import FrameResampler
from salon.media.frame import FRAME_MS, SAMPLE_RATE, AudioFrame, Samples
from salon.media.framer import Framer
from salon.voice.backends.session import VoiceSession

if TYPE_CHECKING:
    from salon.voice.pipeline.diarization.base import DiarizationResult
    from salon.voice.pipeline.dtmf.base import DTMFEvent
    from salon.voice.pipeline.engine import AudioPipeline
    from salon.voice.pipeline.vad.base import VADEvent


NOTHING: Samples = np.zeros(0, dtype=np.int16)


@dataclass(slots=True, eq=False)
class Piped:
    """One frame on the other side, ``int16[n]`` 16 kHz, and what the detectors say about it."""

    samples: Samples
    vad: VADEvent | None = None
    dtmf: DTMFEvent | None = None
    speaker: DiarizationResult | None = None


class Pipe:
    """Takes the sound of one session through `pipeline`, both ways, and conforms what comes out to
    the one format inside. Without a pipeline it only conforms.

    Who owns the pipeline hands on what its callbacks say about this session (`processed`, ...).
    """

    def __init__(self, pipeline: AudioPipeline | None, session: VoiceSession | None) -> None:
        self.pipeline = pipeline
        self._session = session
        self._framer = Framer()
        self._conform = FrameResampler()
        self._played_as = FrameResampler()
        self._heard = 0
        self._played = 0
        self._now = Piped(NOTHING)

    def inbound(self, samples: Samples) -> list[Piped]:
        """Sound of any length, ``int16[n]`` 16 kHz, cut into frames of 20 ms."""
        piped = []
        for whole in self._framer.push(samples):
            frame = AudioFrame.of(whole, SAMPLE_RATE, float(self._heard))
            self._heard += FRAME_MS
            piped.append(self.inbound_frame(frame))
        return piped

    def inbound_frame(self, frame: AudioFrame) -> Piped:
        """One frame of any format the pipeline takes."""
        if self.pipeline is None or self._session is None:
            return Piped(self._conform.process(frame).samples)
        piped = self._now = Piped(NOTHING)
        self.pipeline.process_inbound(self._session, frame)
        return piped

    def processed(self, frame: AudioFrame) -> None:
        """The frame, as the last stage left it."""
        out = self._conform.process(frame)
        self._now.samples = out.samples
        event = self._now.vad
        if event is not None and out is not frame:
            self._now.vad = replace(event, audio_bytes=None)  # of a format other than ours

    def noticed(
        self,
        *,
        vad: VADEvent | None = None,
        dtmf: DTMFEvent | None = None,
        speaker: DiarizationResult | None = None,
    ) -> None:
        """What a detector says about it."""
        now = self._now
        now.vad, now.dtmf, now.speaker = vad or now.vad, dtmf or now.dtmf, speaker or now.speaker

    def outbound(self, samples: Samples) -> Samples:
        """What the listener hears next, ``int16[320]``, as the pipeline leaves it."""
        if self.pipeline is None or self._session is None:
            return samples
        frame = AudioFrame.of(samples, SAMPLE_RATE, float(self._played))
        self._played += FRAME_MS
        return self._played_as.process(self.pipeline.process_outbound(self._session, frame)).samples
