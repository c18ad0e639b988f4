"""What is played, as the echo canceller gets it: in the capture's format (V64, V65)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salon.media.frame import AudioFormat, AudioFrame
from salon.voice.pipeline.stages import default_resampler

if TYPE_CHECKING:
    from salon.voice.pipeline.aec.base import AECProvider
    from salon.voice.pipeline.resampler.base import ResamplerProvider


class Reference:
    """Feeds one canceller. `feed` may be called from the thread that plays; its filters are its
    own, so that it shares no state with the frames on their way out.

    The format is `internal`, or where nothing fixes that, the one the stream's capture has.
    """

    def __init__(self, aec: AECProvider, internal: AudioFormat | None) -> None:
        self._aec = aec
        self._internal = internal
        self._captured: dict[str, AudioFormat] = {}
        self._resampler: ResamplerProvider | None = None
        self._active: dict[str, set[str]] = {}

    def captured(self, stream: str, form: AudioFormat) -> None:
        """The stream's sound comes in as `form`."""
        if self._internal is None:
            self._captured[stream] = form

    def feed(self, frame: AudioFrame, stream: str) -> None:
        """Raises what the canceller or the conversion raises."""
        form = self._internal or self._captured.get(stream)
        if form is not None and (
            frame.sample_rate != form.sample_rate
            or frame.channels != form.channels
            or frame.sample_width != form.sample_width
        ):
            if self._resampler is None:
                self._resampler = default_resampler()
            frame = self._resampler.resample(
                frame, form.sample_rate, form.channels, form.sample_width, stream
            )
        self._aec.feed_reference(frame, stream)

    def set_active(self, stream: str, active: bool, source: str) -> None:
        """One of the sources that play into the stream began or ended; the canceller is switched
        with the first and the last of them."""
        sources = self._active.setdefault(stream, set())
        was = bool(sources)
        if active:
            sources.add(source)
        else:
            sources.discard(source)
        if not sources:
            del self._active[stream]
        if bool(sources) != was:
            self._aec.set_stream_active(stream, active)

    def forget(self, stream: str) -> None:
        """The stream has ended or begins anew."""
        self._captured.pop(stream, None)
        self._active.pop(stream, None)
        if self._resampler is not None:
            self._resampler.reset(stream)

    def close(self) -> None:
        """Free the filters; the canceller is not this one's to close."""
        if self._resampler is not None:
            self._resampler.close()
