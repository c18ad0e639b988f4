"""One stage bound to one stream: what runs per frame, and nothing else.

Each step takes a frame and gives the next step's frame. None of them raises: a stage that does, or
that gives nonsense, is counted, and the frame goes on as the stage before left it (V204).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from salon.base import RAISED
from salon.media.frame import AudioFormat, AudioFrame
from salon.media.level import LevelMeter
from salon.voice.pipeline.debug_taps import DebugTaps
from salon.voice.pipeline.failures import Failures
from salon.voice.pipeline.metrics import Step

if TYPE_CHECKING:
    from salon.voice.pipeline.recorder.base import RecordingHandle
    from salon.voice.pipeline.resampler.base import ResamplerProvider

LEVEL_FLOOR_DB = -60.0
_LEVELS_PER_SECOND = 10


class StageResultError(TypeError):
    """A stage gave something else than its kind gives."""


def _require_frame(given: object, form: AudioFormat | AudioFrame) -> AudioFrame:
    """`given`, if it is a frame in the format of `form`; frames can be written to, so that one may
    have ceased to be one."""
    if not isinstance(given, AudioFrame):
        raise StageResultError(f"it gave {type(given).__name__}, no AudioFrame")
    rate, channels, width = given.sample_rate, given.channels, given.sample_width
    if rate != form.sample_rate or channels != form.channels or width != form.sample_width:
        raise StageResultError(f"it gave {rate} Hz, {channels} channels, {width} bytes a sample")
    data = given.data
    if type(data) is not bytes or len(data) % (channels * width):
        raise StageResultError("it gave a frame whose data is no whole number of samples")
    if width == 2:
        samples = given.samples
        if samples.dtype != np.int16 or samples.ndim != 1:
            raise StageResultError(f"it gave samples of {samples.dtype}[{samples.shape}]")
    return given


def frame_step(
    slot: str,
    process: Callable[[AudioFrame, str], AudioFrame],
    key: str,
    failures: Failures,
    *,
    keeps_sound: bool = False,
) -> Step:
    """A stage that gives a frame in the format of the one it got; with `keeps_sound` never an empty
    one for one with sound."""

    def step(frame: AudioFrame) -> AudioFrame:
        try:
            given = _require_frame(process(frame, key), frame)
            if keeps_sound and frame.data and not given.data:
                raise StageResultError("it gave an empty frame")
        except RAISED as error:
            failures.note(slot, key, error)
            return frame
        return given

    return step


def notice_step(
    slot: str,
    process: Callable[[AudioFrame, str], Any],
    key: str,
    failures: Failures,
    noticed: Callable[[Any, AudioFrame], None],
    kind: type | None = None,
) -> Step:
    """A stage that looks at the frame and may tell of something; `noticed` takes that, if it is of
    `kind`."""

    def step(frame: AudioFrame) -> AudioFrame:
        try:
            event = process(frame, key)
            if event is not None:
                if kind is not None and not isinstance(event, kind):
                    raise StageResultError(f"it gave {type(event).__name__}, no {kind.__name__}")
                noticed(event, frame)
        except RAISED as error:
            failures.note(slot, key, error)
        return frame

    return step


def _nothing(event: Any, frame: AudioFrame) -> None:
    """For what gives nothing worth telling."""


def resample_step(
    resampler: ResamplerProvider, target: AudioFormat, key: str, state_key: str, failures: Failures
) -> Step:
    """Gives frames the rate, channels and width of `target`; right ones pass as they are.

    `state_key` is the resampler's, so that the directions of a stream have each their own filter.
    """
    rate, channels, width = target.sample_rate, target.channels, target.sample_width
    resample = resampler.resample

    def step(frame: AudioFrame) -> AudioFrame:
        right = frame.sample_rate == rate and frame.channels == channels
        if right and frame.sample_width == width:
            return frame
        try:
            return _require_frame(resample(frame, rate, channels, width, state_key), target)
        except RAISED as error:
            failures.note("resampler", key, error)
            return frame

    return step


def record_step(
    tap: Callable[[RecordingHandle, AudioFrame], None],
    handle: RecordingHandle,
    key: str,
    failures: Failures,
) -> Step:
    """Shows the frame to the recorder (V50, V58)."""
    return notice_step("recorder", lambda frame, _: tap(handle, frame), key, failures, _nothing)


def reference_step(feed: Callable[[AudioFrame, str], None], key: str, failures: Failures) -> Step:
    """Shows the frame to the echo canceller as what is being played (V59)."""
    return notice_step("aec", feed, key, failures, _nothing)


def tap_step(taps: DebugTaps, stage: str, key: str) -> Step:
    """Copies the frame to a debug file (V78)."""
    write = taps.write

    def step(frame: AudioFrame) -> AudioFrame:
        write(key, stage, frame)
        return frame

    return step


def level_step(
    where: str, listeners: Sequence[Callable[[Any, float], Any]], session: Any, failures: Failures
) -> Step:
    """Tells how loud the sound is, at most ten times per second of it (V128)."""
    meter = LevelMeter(1, 1)
    form = 0, 0

    def measure(frame: AudioFrame, _key: str) -> float | None:
        nonlocal meter, form
        if form != (frame.sample_rate, frame.channels):
            form = frame.sample_rate, frame.channels
            meter = LevelMeter(frame.sample_rate * frame.channels, _LEVELS_PER_SECOND)
        level = meter.push(frame.samples)
        return None if level is None else max(LEVEL_FLOOR_DB, level.rms_dbfs)

    def noticed(level_db: Any, _frame: AudioFrame) -> None:
        failures.tell(where, listeners, session, level_db)

    return notice_step(where, measure, session.id, failures, noticed)
