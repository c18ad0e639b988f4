"""From who speaks to the transport: the order of part 8, built once per session."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from salon.media.frame import AudioFormat
from salon.voice.pipeline.inbound import Surroundings
from salon.voice.pipeline.metrics import Step, timed
from salon.voice.pipeline.recording import Recording
from salon.voice.pipeline.reference import Reference
from salon.voice.pipeline.stages import Stages, default_resampler
from salon.voice.pipeline.steps import (
    frame_step,
    level_step,
    record_step,
    reference_step,
    resample_step,
    tap_step,
)

if TYPE_CHECKING:
    from salon.voice.backends.session import VoiceSession


def outbound_key(key: str) -> str:
    """What the resampler knows the outbound half of a stream by."""
    return f"{key}/outbound"


class OutboundStream:
    """What one listener is played, on its way.

    `lock` keeps a bridge and a synthesizer that play into one session apart; `steps` is replaced as
    a whole. `target` is the session's own format, None for the contract's.
    """

    __slots__ = ("key", "lock", "recording", "session", "steps", "target")

    def __init__(self, session: VoiceSession) -> None:
        self.key = session.id
        self.session = session
        self.lock = threading.RLock()
        self.recording: Recording | None = None
        self.target: AudioFormat | None = None
        self.steps: tuple[Step, ...] = ()

    def build(self, stages: Stages, around: Surroundings, reference: Reference | None) -> None:
        """Put the steps together anew. With a `reference` the echo canceller is fed here."""
        key, failures, taps = self.key, around.failures, around.taps
        named: list[tuple[str, Step]] = []
        if taps is not None and taps.captures("outbound_raw"):
            named.append(("tap_outbound_raw", tap_step(taps, "outbound_raw", key)))
        for stage in stages.postprocessors:
            slot = f"postprocessor:{stage.name}"
            named.append((slot, frame_step(slot, stage.process, key, failures)))
        levels = around.listeners.output_level
        if levels:
            step = level_step("on_output_level", levels, self.session, failures)
            named.append(("output_level", step))
        recording = self.recording
        if recording is not None and recording.captures_outbound:
            tap = recording.recorder.tap_outbound
            named.append(("recorder", record_step(tap, recording.handle, key, failures)))
        if reference is not None:
            named.append(("aec_reference", reference_step(reference.feed, key, failures)))
        if taps is not None and taps.captures("outbound_final"):
            named.append(("tap_outbound_final", tap_step(taps, "outbound_final", key)))
        target = self.target or stages.outbound
        if target is not None:
            if stages.resampler is None:
                stages.resampler = default_resampler()
            state_key = outbound_key(key)
            step = resample_step(stages.resampler, target, key, state_key, failures)
            named.append(("outbound_resampler", step))
        self.steps = tuple(step for _, step in named)
        if around.timer is not None and named:
            self.steps = (timed(tuple(named), around.timer, key, around.gauges.clock),)
