"""Who said it, as the pipeline's diarization stage tells speakers apart (V236)."""

from __future__ import annotations

from collections import deque
from dataclasses import fields
from itertools import pairwise

from salon.base import ConfigurationError
from salon.channels.voice_people import Caller
from salon.voice.events import Final, MediaEvent
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.diarization.base import DiarizationResult
from salon.voice.speakers import SpokenBy

MAX_CHANGES = 1024
"""Changes of voice that are remembered of one line."""


class PipelineSpeakers:
    """Gives each utterance to the speaker who was heard longest in it.

    A result holds until the next one: a stage may tell of every frame, or of changes alone. Labels
    are of one line; words of nobody in particular stay nobody's (V233). `ConfigurationError` where
    there is nothing that tells speakers apart, and in batch mode, which has no utterances.
    """

    def __init__(self, config: AudioPipelineConfig | None, *, batch: bool) -> None:
        if config is None or config.diarization is None:
            raise ConfigurationError("pipeline_speakers needs a pipeline with diarization")
        if batch:
            raise ConfigurationError("pipeline_speakers can't name the speakers of a batch")
        self._heard: dict[Caller, deque[tuple[int, str | None]]] = {}

    def heard(self, caller: Caller, result: DiarizationResult) -> None:
        """Whose frame comes next."""
        marks = self._heard.setdefault(caller, deque(maxlen=MAX_CHANGES))
        label = result.speaker_id or None
        if not marks or marks[-1][1] != label:
            marks.append((caller.session.hearing.instant_ms(), label))

    def forget(self, caller: Caller) -> None:
        """The line is gone; idempotent."""
        self._heard.pop(caller, None)

    def name(self, caller: Caller, event: MediaEvent) -> MediaEvent:
        """Words with their speaker; everything else, and what has a speaker already, as it is."""
        if not isinstance(event, Final) or isinstance(event, SpokenBy):
            return event
        given = {item.name: getattr(event, item.name) for item in fields(Final)}
        start_ms = event.start_ms
        if event.speech_ms is not None:  # what lies before the onset is not part of it
            start_ms = max(start_ms, event.end_ms - event.speech_ms)
        return SpokenBy(**given, label=self._longest(caller, start_ms, event.end_ms))

    def _longest(self, caller: Caller, start_ms: int, end_ms: int) -> str | None:
        marks = self._heard.get(caller)
        if not marks:
            return None
        spans: dict[str, int] = {}
        for (begin, label), (end, _) in pairwise((*marks, (max(end_ms, marks[-1][0]), None))):
            shared = min(end, end_ms) - max(begin, start_ms)
            if label is not None and shared > 0:
                spans[label] = spans.get(label, 0) + shared
        return max(spans, key=lambda label: spans[label], default=None)
