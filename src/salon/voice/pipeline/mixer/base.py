"""What adds up voices for a bridge (V139)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from salon.media.frame import AudioFrame


class MixerProvider(ABC):
    """Sums frames of one window. Keeps no state; may be called from any thread."""

    @property
    @abstractmethod
    def name(self) -> str:
        """For logs and statistics."""

    @abstractmethod
    def mix(self, frames: list[AudioFrame]) -> AudioFrame:
        """The sum of `frames`, at least one, all of one format with 16-bit samples.

        As long as the shortest; stamps and notes are the first one's. A single frame comes back as
        it is. `ValueError` for none, or for formats that differ.
        """
