"""Which format sound has at the pipeline's ends and within, and whether its stages take it
(V37-V39)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from salon.base import ConfigurationError
from salon.media.frame import AudioFormat

_log = logging.getLogger("salon.voice.pipeline")


@dataclass
class AudioPipelineContract:
    """Formats of the sound that comes in, goes out, and is worked on (V37).

    `codec` is what the transport negotiates; the pipeline converts rate, channels and width.
    """

    transport_inbound_format: AudioFormat = field(default_factory=AudioFormat)
    transport_outbound_format: AudioFormat = field(default_factory=AudioFormat)
    internal_format: AudioFormat = field(default_factory=AudioFormat)

    @property
    def input_format(self) -> AudioFormat:
        """The same as `transport_inbound_format`."""
        return self.transport_inbound_format

    @property
    def output_format(self) -> AudioFormat:
        """The same as `transport_outbound_format`."""
        return self.transport_outbound_format


def same_pcm(one: AudioFormat, other: AudioFormat) -> bool:
    """Whether two formats hold the same kind of samples, whatever codec carries them."""
    return (one.sample_rate, one.channels, one.sample_width) == (
        other.sample_rate,
        other.channels,
        other.sample_width,
    )


def spell(form: AudioFormat) -> str:
    """For messages."""
    return f"{form.sample_rate} Hz, {form.channels} ch, {form.sample_width * 8} bit"


def required_by(stage: Any) -> AudioFormat | None:
    """The one format a stage takes, None for any."""
    form: AudioFormat | None = getattr(stage, "required_format", None)
    return form


def agreed_format(stages: Iterable[tuple[str, Any]]) -> AudioFormat | None:
    """The format that all `stages` (slot, stage) take, None if they take any.

    `ConfigurationError` when two of them need different ones.
    """
    agreed: AudioFormat | None = None
    holder = ""
    for slot, stage in stages:
        form = required_by(stage)
        if form is None:
            continue
        if agreed is None:
            agreed, holder = form, slot
        elif not same_pcm(form, agreed):
            raise ConfigurationError(
                f"the pipeline's {holder} needs {spell(agreed)}, its {slot} {spell(form)};"
                " no format suits both"
            )
    return agreed


def check_stages(stages: Iterable[tuple[str, Any]], given: AudioFormat) -> None:
    """`ConfigurationError` when a stage cannot take `given`; a warning when it only prefers
    another (``preferred_format``) (V38, V39)."""
    for slot, stage in stages:
        form = required_by(stage)
        if form is not None and not same_pcm(form, given):
            raise ConfigurationError(
                f"the pipeline's {slot} needs {spell(form)} and would get {spell(given)}:"
                " set a resampler and contract.internal_format to match"
            )
        preferred = getattr(stage, "preferred_format", None)
        if preferred is not None and not same_pcm(preferred, given):
            _log.warning(
                "the pipeline's %s prefers %s and gets %s", slot, spell(preferred), spell(given)
            )
